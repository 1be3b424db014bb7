//! The inner loop: executes the ops of one block.
//!
//! One `match` over [`Kind`] is the whole dispatcher. It is instantiated twice: with the [`Guard`] look-up in front of
//! loads and stores, and without. Cycles are not counted here; whoever calls adds the length of the block, or the index
//! at which it was left.

use crate::cache::Slot;
use crate::csr::Csrs;
use crate::decode::{DISTANCE_MASK, Kind, Op, SINK};
use crate::guard::{self, Guard, Refusal};
use crate::pmp::Access;
use crate::{Bus, Exception, Stored, Width};

/// x0 to x31, then the sink; 256 long so that an index of one byte needs no bounds check.
pub(crate) type Registers = [u32; 256];

/// The parts of a hart an instruction may touch.
pub(crate) struct Parts<'a> {
    pub(crate) x: &'a mut Registers,
    pub(crate) csrs: &'a mut Csrs,
    pub(crate) guard: &'a Guard,
    pub(crate) debug_mode: bool,
}

/// How a block was left.
pub(crate) enum Exit {
    /// All of it was executed; goes on at the address.
    Done(Slot, u32),
    /// Left at the op with this index, at this address.
    Early { index: usize, pc: u32, why: Leave },
}

/// Why a block was left early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The op is not executed yet and needs more than registers and memory: instruction bits.
    System(u32),
    /// The op raised an exception and had no effect.
    Exception(Exception),
    /// A watchpoint enters debug mode before the op.
    Trigger,
    /// The store is done, `pc` is behind it.
    Stored(Stored),
}

impl From<Refusal> for Leave {
    fn from(refusal: Refusal) -> Leave {
        match refusal {
            Refusal::Exception(exception) => Leave::Exception(exception),
            Refusal::Debug => Leave::Trigger,
        }
    }
}

/// A decoded run of instructions, as the loop needs it.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Address of the last op.
    pub(crate) last: u32,
    pub(crate) ops: &'a [Op],
}

/// Executes a run whose first op happens at `cycles`.
#[inline(always)]
pub(crate) fn execute<B: Bus, const GUARDED: bool>(
    parts: &mut Parts<'_>,
    bus: &mut B,
    run: Run<'_>,
    cycles: u64,
) -> Exit {
    for (index, &op) in run.ops.iter().enumerate() {
        let Op {
            kind,
            rd,
            rs1,
            rs2,
            imm,
        } = op;
        macro_rules! x {
            ($register:expr) => {
                parts.x[usize::from($register)]
            };
        }
        macro_rules! set {
            ($value:expr) => {
                parts.x[usize::from(rd)] = $value
            };
        }
        macro_rules! early {
            ($why:expr) => {
                return Exit::Early {
                    index,
                    pc: run.start.wrapping_add(imm & DISTANCE_MASK),
                    why: $why,
                }
            };
        }
        macro_rules! load {
            ($width:expr, $extend:expr) => {{
                let address = x!(rs1).wrapping_add((imm as i32 >> 20) as u32);
                if GUARDED && parts.guard.doubts_load(address, $width.bytes()) {
                    let (bytes, debug) = ($width.bytes(), parts.debug_mode);
                    if let Some(refusal) =
                        guard::check(parts.csrs, Access::Load, address, bytes, debug)
                    {
                        early!(refusal.into());
                    }
                }
                let pc = run.start.wrapping_add(imm & DISTANCE_MASK);
                match bus.load(cycles + index as u64, pc, address, $width) {
                    Ok(value) => {
                        #[allow(clippy::redundant_closure_call)] // One closure a kind of extension.
                        let value = ($extend)(value);
                        set!(value)
                    }
                    Err(fault) => early!(Leave::Exception(Exception::of_load(fault, address))),
                }
            }};
        }
        macro_rules! store {
            ($width:expr) => {{
                let address = x!(rs1).wrapping_add((imm as i32 >> 20) as u32);
                if GUARDED && parts.guard.doubts_store(address, $width.bytes()) {
                    let (bytes, debug) = ($width.bytes(), parts.debug_mode);
                    if let Some(refusal) =
                        guard::check(parts.csrs, Access::Store, address, bytes, debug)
                    {
                        early!(refusal.into());
                    }
                }
                let pc = run.start.wrapping_add(imm & DISTANCE_MASK);
                match bus.store(cycles + index as u64, pc, address, x!(rs2), $width) {
                    Ok(Stored::Done) => {}
                    Ok(more) => {
                        return Exit::Early {
                            index,
                            pc: pc.wrapping_add(u32::from(rd)),
                            why: Leave::Stored(more),
                        };
                    }
                    Err(fault) => early!(Leave::Exception(Exception::of_store(fault, address))),
                }
            }};
        }
        macro_rules! branch {
            ($condition:expr) => {
                return if $condition {
                    Exit::Done(Slot::Jump, imm)
                } else {
                    Exit::Done(Slot::Behind, run.end)
                }
            };
        }
        match kind {
            Kind::Constant => set!(imm),
            Kind::Move => set!(x!(rs1)),
            Kind::Addi => set!(x!(rs1).wrapping_add(imm)),
            Kind::Slti => set!(u32::from((x!(rs1) as i32) < imm as i32)),
            Kind::Sltiu => set!(u32::from(x!(rs1) < imm)),
            Kind::Xori => set!(x!(rs1) ^ imm),
            Kind::Ori => set!(x!(rs1) | imm),
            Kind::Andi => set!(x!(rs1) & imm),
            Kind::Slli => set!(x!(rs1).wrapping_shl(imm)),
            Kind::Srli => set!(x!(rs1).wrapping_shr(imm)),
            Kind::Srai => set!((x!(rs1) as i32).wrapping_shr(imm) as u32),
            Kind::Add => set!(x!(rs1).wrapping_add(x!(rs2))),
            Kind::Sub => set!(x!(rs1).wrapping_sub(x!(rs2))),
            Kind::Sll => set!(x!(rs1).wrapping_shl(x!(rs2))),
            Kind::Slt => set!(u32::from((x!(rs1) as i32) < x!(rs2) as i32)),
            Kind::Sltu => set!(u32::from(x!(rs1) < x!(rs2))),
            Kind::Xor => set!(x!(rs1) ^ x!(rs2)),
            Kind::Srl => set!(x!(rs1).wrapping_shr(x!(rs2))),
            Kind::Sra => set!((x!(rs1) as i32).wrapping_shr(x!(rs2)) as u32),
            Kind::Or => set!(x!(rs1) | x!(rs2)),
            Kind::And => set!(x!(rs1) & x!(rs2)),
            Kind::Mul => set!(x!(rs1).wrapping_mul(x!(rs2))),
            Kind::Mulh => {
                set!(((i64::from(x!(rs1) as i32) * i64::from(x!(rs2) as i32)) >> 32) as u32)
            }
            Kind::Mulhsu => set!(((i64::from(x!(rs1) as i32) * i64::from(x!(rs2))) >> 32) as u32),
            Kind::Mulhu => set!(((u64::from(x!(rs1)) * u64::from(x!(rs2))) >> 32) as u32),
            Kind::Div => set!(divide(x!(rs1) as i32, x!(rs2) as i32) as u32),
            Kind::Divu => set!(x!(rs1).checked_div(x!(rs2)).unwrap_or(u32::MAX)),
            Kind::Rem => set!(remainder(x!(rs1) as i32, x!(rs2) as i32) as u32),
            Kind::Remu => set!(x!(rs1).checked_rem(x!(rs2)).unwrap_or(x!(rs1))),
            Kind::Nop => {}
            Kind::Lb => load!(Width::Byte, |value| value as i8 as u32),
            Kind::Lh => load!(Width::Half, |value| value as i16 as u32),
            Kind::Lw => load!(Width::Word, |value| value),
            Kind::Lbu => load!(Width::Byte, |value| value),
            Kind::Lhu => load!(Width::Half, |value| value),
            Kind::Sb => store!(Width::Byte),
            Kind::Sh => store!(Width::Half),
            Kind::Sw => store!(Width::Word),
            Kind::Beq => branch!(x!(rs1) == x!(rs2)),
            Kind::Bne => branch!(x!(rs1) != x!(rs2)),
            Kind::Blt => branch!((x!(rs1) as i32) < x!(rs2) as i32),
            Kind::Bge => branch!(x!(rs1) as i32 >= x!(rs2) as i32),
            Kind::Bltu => branch!(x!(rs1) < x!(rs2)),
            Kind::Bgeu => branch!(x!(rs1) >= x!(rs2)),
            Kind::Jump => {
                set!(run.end);
                return Exit::Done(Slot::Jump, imm);
            }
            Kind::JumpRegister => {
                let target = x!(rs1).wrapping_add(imm) & !1;
                set!(run.end);
                return Exit::Done(Slot::Jump, target);
            }
            Kind::System => {
                return Exit::Early {
                    index,
                    pc: run.last,
                    why: Leave::System(imm),
                };
            }
        }
    }
    debug_assert_eq!(parts.x[0], 0, "writes to x0 go to slot {SINK}");
    Exit::Done(Slot::Behind, run.end)
}

/// Division as the M extension defines it: by zero gives -1, the overflow wraps.
fn divide(dividend: i32, divisor: i32) -> i32 {
    if divisor == 0 {
        -1
    } else {
        dividend.wrapping_div(divisor)
    }
}

/// Remainder as the M extension defines it: by zero gives the dividend, the overflow gives 0.
fn remainder(dividend: i32, divisor: i32) -> i32 {
    if divisor == 0 {
        dividend
    } else {
        dividend.wrapping_rem(divisor)
    }
}
