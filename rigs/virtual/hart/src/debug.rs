//! The debugger's side of a hart: halt, resume, step, program buffer.
//!
//! Source: RISC-V Debug Support 0.13.2, chapter 4. In debug mode nothing runs but programs the debugger hands over;
//! `dpc` and `dcsr` say where and why the hart stopped.

use crate::csr::number::{DCSR, DPC};
use crate::decode::{self, Instruction, Kind, Op};
use crate::execute::{self, Exit, Leave, Parts, Run};
use crate::hart::Stepping;
use crate::{Bus, Exception, HaltCause, Hart, Stop, Stored, compressed};

const EBREAK: u32 = 0x0010_0073;

impl Hart {
    /// Whether the hart is in debug mode.
    pub fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Enters debug mode at the current `pc`. Nothing happens when it is there already.
    pub fn halt(&mut self, cause: HaltCause) {
        if self.halted.is_none() {
            self.halted = Some(cause);
            self.stepping = Stepping::No;
            self.csrs.enter_debug(cause, self.pc);
        }
    }

    /// Leaves debug mode for `dpc` and `dcsr.prv`. With `dcsr.step` the next run executes one instruction and halts.
    pub fn resume(&mut self) {
        if self.halted.take().is_some() {
            self.pc = self.csrs.leave_debug();
            self.stepping = if self.csrs.steps() {
                Stepping::Pending
            } else {
                Stepping::No
            };
        }
    }

    /// Executes a program from the program buffer in debug mode, up to an `ebreak` or its end.
    ///
    /// Takes no time; `pc` and `dpc` stay, triggers don't fire. What the bus reports as attention stays with the bus.
    ///
    /// # Errors
    /// The first exception. Jumps, branches, `ecall`, `mret` and `wfi` are illegal here; what came before them is done.
    pub fn execute_program<B: Bus>(
        &mut self,
        bus: &mut B,
        program: &[u32],
    ) -> Result<(), Exception> {
        let parcels: Vec<u16> = program
            .iter()
            .flat_map(|word| [*word as u16, (*word >> 16) as u16])
            .collect();
        let mut rest = parcels.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            let instruction = match (first & 3, behind.split_first()) {
                (3, Some((second, behind))) => {
                    rest = behind;
                    Instruction {
                        bits: u32::from(*second) << 16 | u32::from(*first),
                        length: 4,
                    }
                }
                (3, None) => return Err(Exception::IllegalInstruction(u32::from(*first))),
                _ => {
                    rest = behind;
                    Instruction {
                        bits: u32::from(*first),
                        length: 2,
                    }
                }
            };
            let op = decode::decode(instruction, self.pc, 0);
            match op.kind {
                Kind::System => match self.debug_system(bus, instruction)? {
                    Program::GoesOn => {}
                    Program::Ends => return Ok(()),
                },
                _ if op.ends_block() => {
                    return Err(Exception::IllegalInstruction(instruction.bits));
                }
                _ => self.debug_op(bus, op, instruction.length)?,
            }
        }
        Ok(())
    }

    /// Executes the one instruction of a debugger's step, then halts.
    pub(crate) fn debug_step<B: Bus>(&mut self, bus: &mut B) -> Stop {
        if self.stepping == Stepping::Outside {
            self.halt(HaltCause::Step);
            return Stop::Halted(HaltCause::Step);
        }
        let interrupted = self.csrs.steps_with_interrupts() && self.take_interrupt();
        let stop = if interrupted { None } else { self.one(bus) };
        match stop {
            Some(Stop::Emulated { pc }) => {
                self.stepping = Stepping::Outside;
                Stop::Emulated { pc }
            }
            Some(Stop::Halted(cause)) => Stop::Halted(cause),
            // The halt is reported by the next run; the chip must hear the attention.
            Some(Stop::Attention) => {
                self.halt(HaltCause::Step);
                Stop::Attention
            }
            // A step over wfi doesn't wait, and one into a lockup shows where it is.
            _ => {
                self.halt(HaltCause::Step);
                Stop::Halted(HaltCause::Step)
            }
        }
    }

    fn debug_op<B: Bus>(&mut self, bus: &mut B, op: Op, length: u32) -> Result<(), Exception> {
        let run = Run {
            start: self.pc,
            end: self.pc.wrapping_add(length),
            last: self.pc,
            ops: &[op],
        };
        let mut parts = Parts {
            x: &mut self.x,
            csrs: &mut self.csrs,
            guard: &self.full_guard,
            debug_mode: true,
        };
        match execute::execute::<B, true>(&mut parts, bus, run, self.cycles) {
            Exit::Early {
                why: Leave::Exception(exception),
                ..
            } => Err(exception),
            Exit::Early {
                why: Leave::Stored(Stored::CodeChanged),
                ..
            } => {
                self.cache.invalidate(bus.take_stale_code());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn debug_system<B: Bus>(
        &mut self,
        bus: &mut B,
        instruction: Instruction,
    ) -> Result<Program, Exception> {
        let illegal = Exception::IllegalInstruction(instruction.bits);
        let bits = match instruction.length {
            2 => compressed::expand(instruction.bits as u16).ok_or(illegal)?,
            _ => instruction.bits,
        };
        match bits & 0x707f {
            _ if bits == EBREAK => return Ok(Program::Ends),
            0x100f => self.cache.invalidate(bus.take_stale_code()),
            _ if bits & 0x7f == 0x73 => {
                self.access_csr(bits, true).ok_or(illegal)?;
                // `pc` mirrors `dpc` while halted.
                if matches!((bits >> 20) as u16, DPC | DCSR) {
                    self.pc = self.csrs.dpc;
                }
            }
            _ => return Err(illegal),
        }
        Ok(Program::GoesOn)
    }
}

/// Whether a program goes on behind a system instruction.
enum Program {
    GoesOn,
    Ends,
}
