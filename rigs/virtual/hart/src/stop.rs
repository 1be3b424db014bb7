//! Why a hart stopped running, and why it is halted for a debugger.

use crate::Exception;

/// Why [`Hart::run`](crate::Hart::run) or [`Hart::step`](crate::Hart::step) came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The cycle limit was reached (or, for `step`, the one instruction is done).
    Deadline,
    /// An access had an effect beyond memory: see [`Bus::take_attention`](crate::Bus::take_attention).
    Attention,
    /// A `wfi` was executed and no interrupt line is set; `pc` is behind the `wfi`.
    WaitForInterrupt,
    /// The next instruction is an emulated function; it was not executed and cost nothing.
    Emulated {
        /// Address of the function; also the hart's `pc`.
        pc: u32,
    },
    /// In debug mode. Also the answer of `run` for as long as the hart is not resumed.
    Halted(HaltCause),
    /// An exception at the trap vector itself: the hart would trap for ever.
    Lockup {
        /// Address of the trap vector that can't be executed.
        pc: u32,
        /// What its first instruction raised.
        exception: Exception,
    },
}

/// Why debug mode was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltCause {
    /// `ebreak` with `dcsr.ebreakm` set.
    Ebreak,
    /// A trigger with action 1.
    Trigger,
    /// The debugger asked.
    Request,
    /// One instruction was executed with `dcsr.step` set.
    Step,
    /// The debugger asked for a halt out of reset.
    ResetRequest,
}

impl HaltCause {
    /// The encoding in `dcsr.cause` (Debug specification 0.13, section 4.8.1).
    pub const fn code(self) -> u32 {
        match self {
            HaltCause::Ebreak => 1,
            HaltCause::Trigger => 2,
            HaltCause::Request => 3,
            HaltCause::Step => 4,
            HaltCause::ResetRequest => 5,
        }
    }
}
