//! What the debug module needs of a chip.
//!
//! A trait, so that this crate depends on no chip: the rig adapts its chip to it, the tests use a fake one.

use virtual_hart::{BusFault, Width};

/// A chip with one hart, as its debug module sees it.
///
/// Every call is carried out at once and to the end: no operation is ever left half done, so the debug module
/// is never busy.
pub trait DebugTarget {
    /// True while the hart is in debug mode.
    fn is_halted(&self) -> bool;

    /// Puts the hart into debug mode (`dcsr.cause` = 3, haltreq). Nothing happens when it is there already.
    fn halt(&mut self);

    /// Lets the hart leave debug mode at `dpc`; with `dcsr.step` set it comes back after one instruction.
    fn resume(&mut self);

    /// Reads a register by its abstract command number (table 3.3): 0x0000-0x0FFF CSRs, 0x1000-0x101F x0-x31.
    /// Only called while the hart is halted.
    fn read_register(&mut self, number: u16) -> Result<u32, RegisterError>;

    /// Writes a register; numbers as in [`DebugTarget::read_register`].
    fn write_register(&mut self, number: u16, value: u32) -> Result<(), RegisterError>;

    /// Runs instructions from the program buffer on the halted hart, up to an `ebreak` or the end.
    fn execute(&mut self, program: &[u32]) -> Result<(), ExecuteError>;

    /// Reads memory or a peripheral past the hart. The value is zero-extended.
    fn bus_read(&mut self, address: u32, width: Width) -> Result<u32, BusFault>;

    /// Writes memory or a peripheral past the hart; only the low bytes of `value` count.
    fn bus_write(&mut self, address: u32, width: Width, value: u32) -> Result<(), BusFault>;

    /// Resets the hart alone (dmcontrol.hartreset).
    fn reset_hart(&mut self);

    /// Resets everything but the debug module (dmcontrol.ndmreset).
    fn reset_system(&mut self);

    /// True when the hart was reset since the last [`DebugTarget::acknowledge_reset`].
    fn has_reset(&self) -> bool;

    /// Clears what [`DebugTarget::has_reset`] reports.
    fn acknowledge_reset(&mut self);
}

/// Why a register could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The abstract command does not reach registers of this kind (`cmderr` 2).
    Unsupported,
    /// The hart has no such register: reading it raised an exception (`cmderr` 3).
    Exception,
}

/// The program buffer raised an exception (`cmderr` 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecuteError;
