//! From instruction bits to an [`Op`]: eight bytes the interpreter can dispatch on without looking at bits again.
//!
//! What is known at decoding is worked out here: absolute branch targets, `auipc` constants, writes to x0 (they go to a
//! sink slot of the register array, so that x0 stays 0 without a test at run time).

use crate::compressed;
use crate::csr::Privilege;
use crate::pmp::Access;
use crate::{Bus, Exception, Fetched};

/// Index of the register slot that swallows writes to x0.
pub(crate) const SINK: u8 = 32;

/// What an [`Op`] does. Exhaustive in a `u8`, so that dispatch is one jump table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// rd = imm (lui, auipc, li).
    Constant,
    /// rd = rs1 (mv).
    Move,
    Addi,
    Slti,
    Sltiu,
    Xori,
    Ori,
    Andi,
    Slli,
    Srli,
    Srai,
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
    /// Nothing (fence).
    Nop,
    // Memory: imm = offset << 20 | distance of this instruction from the start of its block. Stores keep their own
    // length in rd.
    Lb,
    Lh,
    Lw,
    Lbu,
    Lhu,
    Sb,
    Sh,
    Sw,
    // Ends of blocks. Branches and jumps carry the absolute target.
    Beq,
    Bne,
    Blt,
    Bge,
    Bltu,
    Bgeu,
    Jump,
    JumpRegister,
    /// Anything rare (CSR, ecall, mret, wfi, illegal, ...): imm = instruction bits.
    System,
}

/// One decoded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    pub(crate) rd: u8,
    pub(crate) rs1: u8,
    pub(crate) rs2: u8,
    pub(crate) imm: u32,
}

/// Bits of a memory op's `imm` that hold its distance from the block's start.
pub(crate) const DISTANCE_MASK: u32 = 0xf_ffff;

impl Op {
    pub(crate) fn bare(kind: Kind, imm: u32) -> Op {
        Op {
            kind,
            rd: SINK,
            rs1: 0,
            rs2: 0,
            imm,
        }
    }

    /// Whether no instruction of the same block can follow.
    pub(crate) fn ends_block(self) -> bool {
        self.kind as u8 >= Kind::Beq as u8
    }
}

/// Instruction bits with their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// As fetched: 16 bits when compressed.
    pub(crate) bits: u32,
    /// In bytes: 2 or 4.
    pub(crate) length: u32,
}

/// Why no instruction came back from [`fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoInstruction {
    Emulated,
    Fault(Exception),
}

/// Reads the instruction at `pc`; `may_execute` is asked for each parcel's address.
pub(crate) fn fetch<B: Bus>(
    bus: &mut B,
    pc: u32,
    may_execute: impl Fn(u32) -> bool,
) -> Result<Instruction, NoInstruction> {
    let mut parcel = |address: u32| {
        if !may_execute(address) {
            return Err(NoInstruction::Fault(Exception::InstructionAccessFault(
                address,
            )));
        }
        match bus.fetch(address) {
            Fetched::Parcel(parcel) => Ok(u32::from(parcel)),
            Fetched::Emulated => Err(NoInstruction::Emulated),
            Fetched::Fault(_) => Err(NoInstruction::Fault(Exception::InstructionAccessFault(
                address,
            ))),
        }
    };
    let first = parcel(pc)?;
    if first & 3 != 3 {
        return Ok(Instruction {
            bits: first,
            length: 2,
        });
    }
    let second_at = pc.wrapping_add(2);
    let second = parcel(second_at).map_err(|error| match error {
        // Half an instruction in front of an emulated function can't be one.
        NoInstruction::Emulated => {
            NoInstruction::Fault(Exception::InstructionAccessFault(second_at))
        }
        fault => fault,
    })?;
    Ok(Instruction {
        bits: second << 16 | first,
        length: 4,
    })
}

/// The check [`fetch`] needs: machine mode or user mode against the PMP.
pub(crate) fn execute_permission(
    pmp: &crate::pmp::Pmp,
    privilege: Privilege,
) -> impl Fn(u32) -> bool {
    move |address| pmp.allows(Access::Execute, address, 2, privilege == Privilege::Machine)
}

/// Decodes one instruction at `pc`, `distance` bytes into its block.
pub(crate) fn decode(instruction: Instruction, pc: u32, distance: u32) -> Op {
    let bits = if instruction.length == 2 {
        match compressed::expand(instruction.bits as u16) {
            Some(bits) => bits,
            None => return Op::bare(Kind::System, instruction.bits),
        }
    } else {
        instruction.bits
    };
    let illegal = Op::bare(Kind::System, instruction.bits);
    let rd = match bits >> 7 & 31 {
        0 => SINK,
        register => register as u8,
    };
    let rs1 = (bits >> 15 & 31) as u8;
    let rs2 = (bits >> 20 & 31) as u8;
    let funct3 = bits >> 12 & 7;
    let funct7 = bits >> 25;
    let imm_i = (bits as i32 >> 20) as u32;
    let op = |kind, imm| Op {
        kind,
        rd,
        rs1,
        rs2,
        imm,
    };
    match bits & 0x7f {
        0x03 => {
            let kind = match funct3 {
                0 => Kind::Lb,
                1 => Kind::Lh,
                2 => Kind::Lw,
                4 => Kind::Lbu,
                5 => Kind::Lhu,
                _ => return illegal,
            };
            op(kind, imm_i << 20 | distance)
        }
        0x23 => {
            let kind = match funct3 {
                0 => Kind::Sb,
                1 => Kind::Sh,
                2 => Kind::Sw,
                _ => return illegal,
            };
            let imm = funct7 << 5 | bits >> 7 & 31;
            // The unused rd says how long the instruction is, for leaving the block behind it.
            Op {
                kind,
                rd: instruction.length as u8,
                rs1,
                rs2,
                imm: imm << 20 | distance,
            }
        }
        0x13 => match (funct3, funct7) {
            (0, _) if rs1 == 0 => op(Kind::Constant, imm_i),
            (0, _) if imm_i == 0 => op(Kind::Move, 0),
            (0, _) => op(Kind::Addi, imm_i),
            (2, _) => op(Kind::Slti, imm_i),
            (3, _) => op(Kind::Sltiu, imm_i),
            (4, _) => op(Kind::Xori, imm_i),
            (6, _) => op(Kind::Ori, imm_i),
            (7, _) => op(Kind::Andi, imm_i),
            (1, 0) => op(Kind::Slli, imm_i & 31),
            (5, 0) => op(Kind::Srli, imm_i & 31),
            (5, 0x20) => op(Kind::Srai, imm_i & 31),
            _ => illegal,
        },
        0x33 => match register_operation(funct3, funct7) {
            // c.mv is an addition to x0.
            Some(Kind::Add) if rs1 == 0 => Op {
                rs1: rs2,
                ..op(Kind::Move, 0)
            },
            Some(kind) => op(kind, 0),
            None => illegal,
        },
        0x37 => op(Kind::Constant, bits & 0xffff_f000),
        0x17 => op(Kind::Constant, pc.wrapping_add(bits & 0xffff_f000)),
        0x63 => {
            let kind = match funct3 {
                0 => Kind::Beq,
                1 => Kind::Bne,
                4 => Kind::Blt,
                5 => Kind::Bge,
                6 => Kind::Bltu,
                7 => Kind::Bgeu,
                _ => return illegal,
            };
            op(kind, pc.wrapping_add(branch_offset(bits)))
        }
        0x6f => op(Kind::Jump, pc.wrapping_add(jump_offset(bits))),
        0x67 if funct3 == 0 => op(Kind::JumpRegister, imm_i),
        0x0f if funct3 == 0 => Op::bare(Kind::Nop, 0),
        // fence.i, SYSTEM, and whatever is illegal.
        _ => illegal,
    }
}

fn register_operation(funct3: u32, funct7: u32) -> Option<Kind> {
    Some(match (funct7, funct3) {
        (0x00, 0) => Kind::Add,
        (0x20, 0) => Kind::Sub,
        (0x00, 1) => Kind::Sll,
        (0x00, 2) => Kind::Slt,
        (0x00, 3) => Kind::Sltu,
        (0x00, 4) => Kind::Xor,
        (0x00, 5) => Kind::Srl,
        (0x20, 5) => Kind::Sra,
        (0x00, 6) => Kind::Or,
        (0x00, 7) => Kind::And,
        (0x01, 0) => Kind::Mul,
        (0x01, 1) => Kind::Mulh,
        (0x01, 2) => Kind::Mulhsu,
        (0x01, 3) => Kind::Mulhu,
        (0x01, 4) => Kind::Div,
        (0x01, 5) => Kind::Divu,
        (0x01, 6) => Kind::Rem,
        (0x01, 7) => Kind::Remu,
        _ => return None,
    })
}

fn branch_offset(bits: u32) -> u32 {
    let sign = (bits as i32 >> 31) as u32;
    sign << 12 | (bits >> 7 & 1) << 11 | (bits >> 25 & 0x3f) << 5 | (bits >> 8 & 15) << 1
}

fn jump_offset(bits: u32) -> u32 {
    let sign = (bits as i32 >> 31) as u32;
    sign << 20 | bits & 0xf_f000 | (bits >> 20 & 1) << 11 | (bits >> 21 & 0x3ff) << 1
}
