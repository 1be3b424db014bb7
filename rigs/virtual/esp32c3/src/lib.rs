//! A simulated ESP32-C3: the chip below the pins, on which real firmware images run.
//!
//! It exists so that the image that is qualified can be run by anybody, with nothing on the desk, and by CI on
//! every commit. Synchronous and without input or output of its own: Ethernet frames, console bytes and debug
//! accesses go in and out through [`Chip`]; the rig around it gives it a thread and a pace.
//!
//! In reading order: time, memory, what a peripheral is; the peripherals; the chip that holds them.

// Lists of register ranges may well hold a single one.
#![allow(clippy::single_range_in_vec_init)]

// What everything is made of.
mod event;
mod memory;
mod peripheral;
mod registers;
mod reset;
mod time;
mod unmodelled;

// Peripherals, by the manual's chapters.
mod apb_ctrl;
mod assist_debug;
mod efuse;
mod i2c_ana;
mod interrupt_core0;
mod rtc_cntl;
mod system;
mod systimer;
mod timg;
mod watchdog;

// Flash, boot, ROM and the ports to the outside.
mod boot;
mod extmem;
mod flash;
mod gpio;
mod io_mux;
mod open_eth;
mod rom;
mod spi_mem;
mod uart;
mod usb_serial_jtag;
mod wires;

// The chip.
mod chip;
mod clock;
mod debug;
mod emulate;
mod map;
mod ports;
mod power;
mod soc;

// Tests.
#[cfg(test)]
mod testing;

pub use chip::{Chip, ChipConfig, Pause};
pub use event::ChipEvent;
pub use flash::{DEFAULT_BYTES, Erase, Flash, FlashError, FlashOperation};
pub use gpio::PinChange;
pub use reset::{ResetCause, ResetKind};
pub use rom::emulated_functions;
pub use time::{TICKS_PER_SECOND, Ticks};
pub use unmodelled::{Access, Unmodelled, UnmodelledLog};
pub use wires::{Low, Wire};
