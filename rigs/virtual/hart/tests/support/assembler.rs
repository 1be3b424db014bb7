//! A small RV32IM assembler: one method an instruction, labels for branches.
//!
//! It exists so that tests and benches can say what they run in readable form, without a cross compiler and without
//! binary files. Encodings: RISC-V Unprivileged ISA, chapter "RV32/64G Instruction Set Listings".

#![allow(dead_code, missing_docs, unreachable_pub)] // Each user takes its part; methods are named as instructions.

pub const ZERO: u32 = 0;
pub const RA: u32 = 1;
pub const SP: u32 = 2;
pub const T0: u32 = 5;
pub const T1: u32 = 6;
pub const T2: u32 = 7;
pub const S0: u32 = 8;
pub const S1: u32 = 9;
pub const A0: u32 = 10;
pub const A1: u32 = 11;
pub const A2: u32 = 12;
pub const A3: u32 = 13;
pub const A4: u32 = 14;
pub const A5: u32 = 15;
pub const A6: u32 = 16;
pub const A7: u32 = 17;
pub const S2: u32 = 18;
pub const S3: u32 = 19;
pub const S4: u32 = 20;
pub const S5: u32 = 21;
pub const T3: u32 = 28;
pub const T4: u32 = 29;
pub const T5: u32 = 30;
pub const T6: u32 = 31;

pub const ECALL: u32 = 0x0000_0073;
pub const EBREAK: u32 = 0x0010_0073;
pub const MRET: u32 = 0x3020_0073;
pub const WFI: u32 = 0x1050_0073;
pub const FENCE_I: u32 = 0x0000_100f;
pub const NOP: u32 = 0x0000_0013;

pub fn r_type(funct7: u32, rs2: u32, rs1: u32, funct3: u32, rd: u32) -> u32 {
    funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x33
}

pub fn i_type(opcode: u32, imm: i32, rs1: u32, funct3: u32, rd: u32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

pub fn s_type(imm: i32, rs2: u32, rs1: u32, funct3: u32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | 0x23
}

pub fn b_type(imm: i32, rs2: u32, rs1: u32, funct3: u32) -> u32 {
    let imm = imm as u32;
    (imm >> 12 & 1) << 31
        | (imm >> 5 & 0x3f) << 25
        | rs2 << 20
        | rs1 << 15
        | funct3 << 12
        | (imm >> 1 & 15) << 8
        | (imm >> 11 & 1) << 7
        | 0x63
}

pub fn j_type(imm: i32, rd: u32) -> u32 {
    let imm = imm as u32;
    (imm >> 20 & 1) << 31
        | (imm >> 1 & 0x3ff) << 21
        | (imm >> 11 & 1) << 20
        | (imm >> 12 & 0xff) << 12
        | rd << 7
        | 0x6f
}

pub fn csr_type(csr: u16, source: u32, funct3: u32, rd: u32) -> u32 {
    u32::from(csr) << 20 | source << 15 | funct3 << 12 | rd << 7 | 0x73
}

pub fn csrrw(rd: u32, csr: u16, rs1: u32) -> u32 {
    csr_type(csr, rs1, 1, rd)
}

pub fn csrrs(rd: u32, csr: u16, rs1: u32) -> u32 {
    csr_type(csr, rs1, 2, rd)
}

/// A place in the program; made by [`Assembler::label`], placed by [`Assembler::bind`].
#[derive(Clone, Copy)]
pub struct Label(usize);

/// A program as it grows, from address `base`.
pub struct Assembler {
    base: u32,
    words: Vec<u32>,
    labels: Vec<Option<usize>>,
    /// Index of a word whose distance to a label is missing.
    fixups: Vec<(usize, Label)>,
}

macro_rules! register_instructions {
    ($($name:ident $funct7:literal $funct3:literal;)*) => {
        $(pub fn $name(&mut self, rd: u32, rs1: u32, rs2: u32) {
            self.word(r_type($funct7, rs2, rs1, $funct3, rd));
        })*
    };
}

macro_rules! immediate_instructions {
    ($($name:ident $opcode:literal $funct3:literal;)*) => {
        $(pub fn $name(&mut self, rd: u32, rs1: u32, imm: i32) {
            self.word(i_type($opcode, imm, rs1, $funct3, rd));
        })*
    };
}

macro_rules! stores {
    ($($name:ident $funct3:literal;)*) => {
        $(pub fn $name(&mut self, rs2: u32, rs1: u32, imm: i32) {
            self.word(s_type(imm, rs2, rs1, $funct3));
        })*
    };
}

macro_rules! branches {
    ($($name:ident $funct3:literal;)*) => {
        $(pub fn $name(&mut self, rs1: u32, rs2: u32, to: Label) {
            self.fixups.push((self.words.len(), to));
            self.word(b_type(0, rs2, rs1, $funct3));
        })*
    };
}

impl Assembler {
    pub fn new(base: u32) -> Assembler {
        Assembler {
            base,
            words: Vec::new(),
            labels: Vec::new(),
            fixups: Vec::new(),
        }
    }

    register_instructions! {
        add 0x00 0; sub 0x20 0; sll 0x00 1; slt 0x00 2; sltu 0x00 3; xor 0x00 4; srl 0x00 5; sra 0x20 5;
        or 0x00 6; and 0x00 7; mul 0x01 0; mulh 0x01 1; mulhsu 0x01 2; mulhu 0x01 3; div 0x01 4; divu 0x01 5;
        rem 0x01 6; remu 0x01 7;
    }

    immediate_instructions! {
        addi 0x13 0; slti 0x13 2; sltiu 0x13 3; xori 0x13 4; ori 0x13 6; andi 0x13 7; slli 0x13 1; srli 0x13 5;
        lb 0x03 0; lh 0x03 1; lw 0x03 2; lbu 0x03 4; lhu 0x03 5; jalr 0x67 0;
    }

    stores! { sb 0; sh 1; sw 2; }

    branches! { beq 0; bne 1; blt 4; bge 5; bltu 6; bgeu 7; }

    pub fn jal(&mut self, rd: u32, to: Label) {
        self.fixups.push((self.words.len(), to));
        self.word(j_type(0, rd));
    }

    /// lui and addi, always two words.
    pub fn li(&mut self, rd: u32, value: u32) {
        let low = (value << 20) as i32 >> 20;
        self.word(value.wrapping_sub(low as u32) & 0xffff_f000 | rd << 7 | 0x37);
        self.addi(rd, rd, low);
    }

    pub fn ret(&mut self) {
        self.jalr(ZERO, RA, 0);
    }

    pub fn word(&mut self, word: u32) {
        self.words.push(word);
    }

    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.words.len());
    }

    /// A label bound here.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Address of the next instruction.
    pub fn address(&self) -> u32 {
        self.base + 4 * self.words.len() as u32
    }

    /// The finished words.
    pub fn finish(mut self) -> Vec<u32> {
        for (at, label) in self.fixups {
            let to = self.labels[label.0].expect("every label used is bound");
            let distance = (to as i32 - at as i32) * 4;
            let word = self.words[at];
            self.words[at] = if word & 0x7f == 0x6f {
                j_type(distance, word >> 7 & 31)
            } else {
                b_type(distance, word >> 20 & 31, word >> 15 & 31, word >> 12 & 7)
            };
        }
        self.words
    }

    /// The finished program as bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.finish()
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect()
    }
}
