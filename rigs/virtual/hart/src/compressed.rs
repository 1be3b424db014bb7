//! Expansion of 16-bit parcels (RVC) to the 32-bit instruction each stands for.
//!
//! Source: RISC-V Unprivileged ISA, chapter "C", tables for quadrants 0 to 2 (RV32, no floating point). Hints expand
//! to the instruction they look like, which writes x0; reserved encodings have no expansion.

const OP_LOAD: u32 = 0x03;
const OP_IMM: u32 = 0x13;
const OP_STORE: u32 = 0x23;
const OP: u32 = 0x33;
const OP_LUI: u32 = 0x37;
const OP_BRANCH: u32 = 0x63;
const OP_JALR: u32 = 0x67;
const OP_JAL: u32 = 0x6f;
const EBREAK: u32 = 0x0010_0073;

/// The 32-bit form of a parcel whose low two bits are not 11. `None`: illegal.
pub(crate) fn expand(parcel: u16) -> Option<u32> {
    let p = u32::from(parcel);
    let rd = p >> 7 & 31;
    let rs2 = p >> 2 & 31;
    // The three-bit fields name x8 to x15.
    let high = 8 + (p >> 7 & 7);
    let low = 8 + (p >> 2 & 7);
    // Sign-extended six-bit immediate of the CI format.
    let imm6 = (((p >> 7 & 32 | p >> 2 & 31) << 26) as i32 >> 26) as u32;
    let instruction = match (p & 3, p >> 13) {
        (0, 0) => {
            // c.addi4spn
            let imm = p >> 7 & 0x30 | p >> 1 & 0x3c0 | p >> 4 & 4 | p >> 2 & 8;
            if imm == 0 {
                return None;
            }
            i_type(OP_IMM, 0, low, 2, imm)
        }
        (0, 2) => i_type(OP_LOAD, 2, low, high, word_offset(p)), // c.lw
        (0, 6) => s_type(2, high, low, word_offset(p)),          // c.sw
        (1, 0) => i_type(OP_IMM, 0, rd, rd, imm6),               // c.addi, c.nop
        (1, 1) => jal(1, jump_offset(p)),                        // c.jal
        (1, 2) => i_type(OP_IMM, 0, rd, 0, imm6),                // c.li
        (1, 3) if rd == 2 => {
            // c.addi16sp
            let imm =
                p >> 3 & 0x200 | p >> 2 & 0x10 | p << 1 & 0x40 | p << 4 & 0x180 | p << 3 & 0x20;
            if imm == 0 {
                return None;
            }
            i_type(OP_IMM, 0, 2, 2, imm | sign(imm, 9))
        }
        (1, 3) => {
            // c.lui
            if imm6 == 0 {
                return None;
            }
            imm6 << 12 | rd << 7 | OP_LUI
        }
        (1, 4) => return arithmetic(p, high, low, imm6),
        (1, 5) => jal(0, jump_offset(p)),            // c.j
        (1, 6) => branch(0, high, branch_offset(p)), // c.beqz
        (1, 7) => branch(1, high, branch_offset(p)), // c.bnez
        (2, 0) => {
            // c.slli; a shift by 32 or more is reserved on RV32
            if p >> 12 & 1 != 0 {
                return None;
            }
            i_type(OP_IMM, 1, rd, rd, imm6 & 31)
        }
        (2, 2) => {
            // c.lwsp
            if rd == 0 {
                return None;
            }
            i_type(
                OP_LOAD,
                2,
                rd,
                2,
                p >> 7 & 0x20 | p >> 2 & 0x1c | p << 4 & 0xc0,
            )
        }
        (2, 4) => match (p >> 12 & 1, rd, rs2) {
            (0, 0, 0) => return None,
            (0, _, 0) => i_type(OP_JALR, 0, 0, rd, 0), // c.jr
            (0, _, _) => r_type(0, 0, rd, 0, rs2),     // c.mv
            (_, 0, 0) => EBREAK,                       // c.ebreak
            (_, _, 0) => i_type(OP_JALR, 0, 1, rd, 0), // c.jalr
            (_, _, _) => r_type(0, 0, rd, rd, rs2),    // c.add
        },
        (2, 6) => s_type(2, 2, rs2, p >> 7 & 0x3c | p >> 1 & 0xc0), // c.swsp
        _ => return None,
    };
    Some(instruction)
}

/// Quadrant 1, function 4: shifts, c.andi and the register-register group.
fn arithmetic(p: u32, high: u32, low: u32, imm6: u32) -> Option<u32> {
    let wide = p >> 12 & 1 != 0;
    Some(match p >> 10 & 3 {
        0 if !wide => i_type(OP_IMM, 5, high, high, imm6 & 31),
        1 if !wide => i_type(OP_IMM, 5, high, high, imm6 & 31 | 0x400),
        2 => i_type(OP_IMM, 7, high, high, imm6),
        3 if !wide => match p >> 5 & 3 {
            0 => r_type(0x20, 0, high, high, low),
            1 => r_type(0, 4, high, high, low),
            2 => r_type(0, 6, high, high, low),
            _ => r_type(0, 7, high, high, low),
        },
        _ => return None,
    })
}

/// All ones from `bit` up when that bit of `value` is set.
fn sign(value: u32, bit: u32) -> u32 {
    (value >> bit & 1).wrapping_neg() << bit
}

fn word_offset(p: u32) -> u32 {
    p >> 7 & 0x38 | p >> 4 & 4 | p << 1 & 0x40
}

fn jump_offset(p: u32) -> u32 {
    let imm = p >> 1 & 0x800
        | p >> 7 & 0x10
        | p >> 1 & 0x300
        | p << 2 & 0x400
        | p >> 1 & 0x40
        | p << 1 & 0x80
        | p >> 2 & 0xe
        | p << 3 & 0x20;
    imm | sign(imm, 11)
}

fn branch_offset(p: u32) -> u32 {
    let imm = p >> 4 & 0x100 | p >> 7 & 0x18 | p << 1 & 0xc0 | p >> 2 & 6 | p << 3 & 0x20;
    imm | sign(imm, 8)
}

fn r_type(funct7: u32, funct3: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | OP
}

fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

fn s_type(funct3: u32, rs1: u32, rs2: u32, imm: u32) -> u32 {
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | OP_STORE
}

fn branch(funct3: u32, rs1: u32, imm: u32) -> u32 {
    (imm >> 12 & 1) << 31
        | (imm >> 5 & 0x3f) << 25
        | rs1 << 15
        | funct3 << 12
        | (imm >> 1 & 15) << 8
        | (imm >> 11 & 1) << 7
        | OP_BRANCH
}

fn jal(rd: u32, imm: u32) -> u32 {
    (imm >> 20 & 1) << 31
        | (imm >> 1 & 0x3ff) << 21
        | (imm >> 11 & 1) << 20
        | (imm >> 12 & 0xff) << 12
        | rd << 7
        | OP_JAL
}
