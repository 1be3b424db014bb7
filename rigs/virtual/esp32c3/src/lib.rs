//! A simulated ESP32-C3: the chip below the pins, on which real firmware images run.
//!
//! It exists so that the image that is qualified can be run by anybody, with nothing on the desk, and by CI on
//! every commit. Synchronous and without input or output of its own: Ethernet frames, console bytes and debug
//! accesses go in and out through [`Chip`]; the rig around it gives it a thread and a pace.
//!
//! In reading order: time, memory, what a peripheral is; the peripherals; the chip that holds them.

// What everything is made of.
mod event;
mod memory;
mod peripheral;
mod registers;
mod reset;
mod time;
mod unmodelled;

// Peripherals, by the manual's chapters.

// Flash, boot, ROM and the ports to the outside. (Second author: add `mod` lines and their `pub use` here.)

// The chip.

// Tests.
#[cfg(test)]
mod testing;

pub use event::ChipEvent;
pub use reset::{ResetCause, ResetKind};
pub use time::{TICKS_PER_SECOND, Ticks};
pub use unmodelled::{Access, Unmodelled, UnmodelledLog};
