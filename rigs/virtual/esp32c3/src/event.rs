//! What the chip tells the outside: resets, boots, console output, lock-ups, pins driven from both sides.
//!
//! The rig turns these into its own events; nothing inside the chip waits for them.

use crate::reset::ResetCause;
use crate::time::Ticks;

/// Something the outside should know. Drained with [`crate::Chip::events`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChipEvent {
    /// The chip was reset.
    Reset {
        /// Why.
        cause: ResetCause,
        /// When.
        at: Ticks,
    },
    /// An application image was loaded and is about to run.
    Booted {
        /// When.
        at: Ticks,
        /// Flash offset of the image in bytes.
        image: u32,
        /// Address of its first instruction.
        entry: u32,
    },
    /// No application could be started; the chip stands still until it is reset.
    BootFailed {
        /// When.
        at: Ticks,
        /// Why, in words.
        reason: String,
    },
    /// A console port sent bytes.
    Console {
        /// When the first byte was complete.
        at: Ticks,
        /// "uart0", "uart1", "usb_serial_jtag".
        port: &'static str,
        /// What was sent.
        bytes: Vec<u8>,
    },
    /// The chip drives a pin high that the outside pulls low: a bus on a pin that is not open-drain.
    PinConflict {
        /// When it began. Told once, until the pad is connected otherwise.
        at: Ticks,
        /// The pin.
        pin: u8,
    },
    /// The hart can't go on: a trap inside the fetch of the trap vector.
    Lockup {
        /// When.
        at: Ticks,
        /// Where the hart stands.
        pc: u32,
    },
}
