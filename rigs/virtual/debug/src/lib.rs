//! The debug hardware of a RISC-V chip: JTAG test access port, debug transport module, debug module 0.13.
//!
//! It exists so that stock debuggers can work on a simulated chip without knowing that it is one. Everything
//! here is synchronous and without I/O: bits or words go in, bits or words come out, and whatever the debugger
//! wants of the chip is asked of a [`DebugTarget`].
//!
//! In reading order, from the chip out to the wire:
//!
//! | file | what |
//! |---|---|
//! | `target.rs` | [`DebugTarget`]: what the debug module needs of a chip |
//! | `module.rs` | [`DebugModule`]: the registers behind the debug module interface, run control, resets |
//! | `command.rs` | abstract commands: Access Register, with and without the program buffer |
//! | `system_bus.rs` | system bus access: memory without the hart |
//! | `transport.rs` | [`Dtm`]: DTMCS and DMI, the two data registers that lead to the debug module |
//! | `tap.rs` | [`Tap`]: the IEEE 1149.1 state machine, bit by bit or in whole scans |
//!
//! Source: "RISC-V External Debug Support", version 0.13.2; chapter numbers below are that document's.

mod command;
mod module;
mod system_bus;
mod tap;
mod target;
#[cfg(test)]
mod testing;
mod transport;

pub use module::{DebugModule, register};
pub use tap::{Tap, TapState, instruction};
pub use target::{DebugTarget, ExecuteError, RegisterError};
pub use transport::{DMI_BITS, DTMCS_BITS, Dtm, DtmRegister};
