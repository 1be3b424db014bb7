//! What a virtual rig tells: resets, boots, console output and the like, each with its chip time.

use std::fmt;
use std::time::Duration;

use virtual_esp32c3::{ChipEvent, ResetCause, Unmodelled};

/// Something happened on the rig.
#[derive(Clone, Debug, PartialEq)]
pub struct RigEvent {
    /// Chip time.
    pub at: Duration,
    /// What.
    pub what: RigEventKind,
}

/// What can happen on the rig.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RigEventKind {
    /// The chip was reset.
    Reset(ResetCause),
    /// An application image was found in the flash and is about to run.
    Booted {
        /// Flash offset of the image in bytes.
        image: u32,
        /// Address of its first instruction.
        entry: u32,
    },
    /// There was no application to start; the chip stands still until it is reset.
    BootFailed {
        /// Why, in words.
        reason: String,
    },
    /// A console port of the chip sent bytes.
    Console {
        /// "uart0", "uart1", "usb_serial_jtag".
        port: &'static str,
        /// What was sent.
        bytes: Vec<u8>,
    },
    /// The hart can't go on; only a reset helps.
    Lockup {
        /// Where it stands.
        pc: u32,
    },
    /// The chip drives a pin high that a fixture pulls low: the pin of the bus is not open-drain.
    PinConflict {
        /// The pin.
        pin: u8,
    },
    /// The chip's supply was switched.
    Power {
        /// True when it came on.
        on: bool,
    },
    /// The Ethernet cable was plugged or pulled.
    Link {
        /// True when it was plugged.
        up: bool,
    },
    /// The firmware touched something for the first time that this simulator does not model.
    Unmodelled(Unmodelled),
}

impl From<ChipEvent> for RigEvent {
    fn from(event: ChipEvent) -> RigEvent {
        let (at, what) = match event {
            ChipEvent::Reset { cause, at } => (at, RigEventKind::Reset(cause)),
            ChipEvent::Booted { at, image, entry } => (at, RigEventKind::Booted { image, entry }),
            ChipEvent::BootFailed { at, reason } => (at, RigEventKind::BootFailed { reason }),
            ChipEvent::Console { at, port, bytes } => (at, RigEventKind::Console { port, bytes }),
            ChipEvent::Lockup { at, pc } => (at, RigEventKind::Lockup { pc }),
            ChipEvent::PinConflict { at, pin } => (at, RigEventKind::PinConflict { pin }),
        };
        RigEvent {
            at: at.as_duration(),
            what,
        }
    }
}

impl fmt::Display for RigEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RigEventKind::Reset(cause) => write!(f, "reset: {}", cause.name()),
            RigEventKind::Booted { image, entry } => {
                write!(f, "booted the image at {image:#x}, entry {entry:#x}")
            }
            RigEventKind::BootFailed { reason } => write!(f, "no boot: {reason}"),
            RigEventKind::Console { port, bytes } => {
                write!(
                    f,
                    "{port}: {}",
                    String::from_utf8_lossy(bytes).escape_debug()
                )
            }
            RigEventKind::Lockup { pc } => write!(f, "locked up at {pc:#x}"),
            RigEventKind::PinConflict { pin } => {
                write!(
                    f,
                    "GPIO{pin} is driven high against a fixture: make it open-drain"
                )
            }
            RigEventKind::Power { on } => f.write_str(if *on { "power on" } else { "power off" }),
            RigEventKind::Link { up } => f.write_str(if *up { "link up" } else { "link down" }),
            RigEventKind::Unmodelled(access) => write!(f, "{access}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_well() {
        fn check(what: RigEventKind, expected: &str) {
            assert_eq!(what.to_string(), expected);
        }
        check(
            RigEventKind::Reset(ResetCause::CoreWatchdog0),
            "reset: timer group 0 watchdog (core)",
        );
        check(
            RigEventKind::Booted {
                image: 0x10000,
                entry: 0x4038_0000,
            },
            "booted the image at 0x10000, entry 0x40380000",
        );
        check(
            RigEventKind::Console {
                port: "uart0",
                bytes: b"hi\r\n".to_vec(),
            },
            "uart0: hi\\r\\n",
        );
        check(
            RigEventKind::PinConflict { pin: 10 },
            "GPIO10 is driven high against a fixture: make it open-drain",
        );
        check(RigEventKind::Power { on: false }, "power off");
        check(RigEventKind::Link { up: true }, "link up");
        check(
            RigEventKind::Lockup { pc: 0x4200_0000 },
            "locked up at 0x42000000",
        );
    }
}
