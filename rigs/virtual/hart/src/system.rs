//! Instructions that do more than registers and memory: CSR access, traps and returns, `wfi`, `fence.i`.
//!
//! Everything the decoder did not know lands here too, and is found illegal.

use crate::csr::number;
use crate::csr::{Clock, Privilege};
use crate::decode::SINK;
use crate::pmp::Access;
use crate::{Bus, Exception, HaltCause, Hart, compressed};

/// Where a system instruction leads.
pub(crate) enum Flow {
    /// On at this address.
    Go(u32),
    /// `wfi`: on at this address, once there is an interrupt.
    Wait(u32),
    /// Into debug mode, `pc` unchanged.
    Halt(HaltCause),
}

const FENCE_I: u32 = 0x0000_100f;
const FENCE_I_MASK: u32 = 0x0000_707f;
const ECALL: u32 = 0x0000_0073;
const EBREAK: u32 = 0x0010_0073;
const MRET: u32 = 0x3020_0073;
const WFI: u32 = 0x1050_0073;

impl Hart {
    /// Executes the instruction at `pc`, `length` bytes long. Nothing has changed when it fails.
    pub(crate) fn system<B: Bus>(
        &mut self,
        bus: &mut B,
        bits: u32,
        length: u32,
    ) -> Result<Flow, Exception> {
        let illegal = Err(Exception::IllegalInstruction(bits));
        let next = self.pc.wrapping_add(length);
        let instruction = if length == 2 {
            match compressed::expand(bits as u16) {
                Some(instruction) => instruction,
                None => return illegal,
            }
        } else {
            bits
        };
        match instruction {
            ECALL => Err(match self.csrs.privilege {
                Privilege::User => Exception::UserEnvironmentCall,
                Privilege::Machine => Exception::MachineEnvironmentCall,
            }),
            EBREAK if self.csrs.ebreak_halts() => Ok(Flow::Halt(HaltCause::Ebreak)),
            EBREAK => Err(Exception::Breakpoint(self.pc)),
            MRET if self.csrs.privilege == Privilege::Machine => {
                Ok(Flow::Go(self.csrs.leave_trap()))
            }
            WFI if !self.csrs.wait_is_illegal() => Ok(Flow::Wait(next)),
            _ if instruction & FENCE_I_MASK == FENCE_I => {
                self.cache.invalidate(bus.take_stale_code());
                Ok(Flow::Go(next))
            }
            _ if instruction & 0x7f == 0x73 => match self.access_csr(instruction, false) {
                Some(()) => Ok(Flow::Go(next)),
                None => illegal,
            },
            _ => illegal,
        }
    }

    /// One of the six CSR instructions. `None`: illegal.
    pub(crate) fn access_csr(&mut self, instruction: u32, debug_mode: bool) -> Option<()> {
        let number = (instruction >> 20) as u16;
        let source = instruction >> 15 & 31;
        let operand = if instruction & 0x4000 != 0 {
            source
        } else {
            self.x[source as usize]
        };
        let operation = instruction >> 12 & 3;
        let writes = match operation {
            0 => return None,
            1 => true,
            _ => source != 0,
        };
        let read_only = number >> 10 == 3;
        if !self.csrs.reachable(number, debug_mode) || (writes && read_only) {
            return None;
        }
        let clock = self.clock();
        let old = self.csrs.read(number, clock)?;
        if writes {
            let new = match operation {
                1 => operand,
                2 => old | operand,
                _ => old & !operand,
            };
            // A counter that is written holds the value at the next instruction.
            let after = if debug_mode {
                clock
            } else {
                Clock {
                    cycles: clock.cycles + 1,
                    instructions: clock.instructions + 1,
                }
            };
            self.csrs.write(number, new, [clock, after], debug_mode);
            self.csr_written(number);
        }
        let rd = match instruction >> 7 & 31 {
            0 => usize::from(SINK),
            register => register as usize,
        };
        self.x[rd] = old;
        Some(())
    }

    /// What depends on a register that was written: the guard, the watched addresses, decoded code.
    pub(crate) fn csr_written(&mut self, number: u16) {
        match number {
            number::TDATA1 | number::TDATA2 => self.registers_changed(),
            0x3a0..=0x3bf => {
                // Code that was decoded may not be executable any more.
                self.cache.clear();
                self.registers_changed();
            }
            _ => {}
        }
    }

    /// Works out anew what triggers and PMP entries watch.
    pub(crate) fn registers_changed(&mut self) {
        self.guard.rebuild(&self.csrs);
        let watches = self.csrs.triggers.watched(Access::Execute);
        if watches != self.execute_watches {
            self.execute_watches = watches;
            // Blocks stop in front of a watched address.
            self.cache.clear();
        }
    }
}
