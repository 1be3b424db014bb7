//! The debugger's operations on the chip: halt, registers, program buffer, system bus, resets.
//!
//! The debug module is another crate; the rig adapts these to what it wants. What a debug access asks of the chip
//! (a reset through `RTC_CNTL_OPTIONS0`, say) is carried out before the operation returns, and takes no chip time.
//! Without power nothing answers.

use virtual_hart::{Bus, BusFault, Exception, HaltCause, Width};

use crate::chip::{Chip, State};
use crate::reset::ResetCause;

/// Debug register number of x0 (Debug specification 0.13.2, table 3.3); the other 31 follow. CSRs begin at 0.
const REGISTER_X0: u16 = 0x1000;

impl Chip {
    /// Whether the hart is in debug mode.
    pub fn is_halted(&self) -> bool {
        self.hart.is_halted()
    }

    /// Halts the hart. Without power nothing happens.
    pub fn halt(&mut self) {
        if self.state == State::Off {
            return;
        }
        self.hart.halt(HaltCause::Request);
        // Debug mode ends a wait: the hart goes on behind the `wfi`.
        if self.state == State::Waits {
            self.state = State::Runs;
        }
    }

    /// Lets the hart go on; with `dcsr.step` set, for one instruction of the next [`Chip::run`].
    pub fn resume(&mut self) {
        self.hart.resume();
        // The debugger may have put it somewhere it can go on from.
        if self.state == State::Stuck {
            self.state = State::Runs;
        }
    }

    /// A register by its debug number: CSRs from 0, x0 to x31 from 0x1000. `None`: there is no such register.
    pub fn read_register(&mut self, number: u16) -> Option<u32> {
        match number.checked_sub(REGISTER_X0) {
            None => self.hart.csr(number),
            Some(n @ 0..32) => Some(self.hart.x(n as u8)),
            Some(_) => None,
        }
    }

    /// Writes a register by its debug number; says whether there is one.
    pub fn write_register(&mut self, number: u16, value: u32) -> bool {
        match number.checked_sub(REGISTER_X0) {
            None => self.hart.set_csr(number, value),
            Some(n @ 0..32) => {
                self.hart.set_x(n as u8, value);
                true
            }
            Some(_) => false,
        }
    }

    /// Executes a program buffer on the halted hart, up to an `ebreak` or its end.
    ///
    /// # Errors
    /// The first exception.
    pub fn execute(&mut self, program: &[u32]) -> Result<(), Exception> {
        if self.state == State::Off {
            return Err(Exception::InstructionAccessFault(0));
        }
        let result = self.hart.execute_program(&mut self.soc, program);
        self.carry_out();
        result
    }

    /// Reads over the system bus, whether the hart runs or not.
    ///
    /// # Errors
    /// [`BusFault`] when nothing answers there, or not so.
    pub fn bus_read(&mut self, address: u32, width: Width) -> Result<u32, BusFault> {
        if self.state == State::Off {
            return Err(BusFault::Unmapped);
        }
        let cycles = self.hart.cycles();
        let result = self.soc.load(cycles, 0, address, width);
        self.carry_out();
        result
    }

    /// Writes over the system bus, whether the hart runs or not.
    ///
    /// # Errors
    /// [`BusFault`] when nothing answers there, or not so.
    pub fn bus_write(&mut self, address: u32, value: u32, width: Width) -> Result<(), BusFault> {
        if self.state == State::Off {
            return Err(BusFault::Unmapped);
        }
        let cycles = self.hart.cycles();
        let result = self.soc.store(cycles, 0, address, value, width);
        self.carry_out();
        result.map(|_| ())
    }

    /// Resets the hart alone (`dmcontrol.hartreset`): it runs from the reset vector, peripherals keep their state.
    pub fn reset_hart(&mut self) {
        if self.state != State::Off {
            self.reset_hart_alone();
        }
    }

    /// Resets the core (`dmcontrol.ndmreset`): the hart runs from the reset vector.
    pub fn reset_system(&mut self) {
        if self.state == State::Off {
            return;
        }
        self.reset(ResetCause::CoreUsbJtag);
        if self.hart.is_halted() {
            self.reset_hart_alone();
        }
    }

    /// Whether the hart was reset since the debugger last acknowledged it.
    pub fn have_reset(&self) -> bool {
        self.has_reset
    }

    /// The debugger has seen the reset.
    pub fn ack_have_reset(&mut self) {
        self.has_reset = false;
    }
}
