//! The virtual rig: a simulated ESP32-C3 with debug probe, network and clock, driven like a real one.
//!
//! It exists so that everything above the pins is the same code with and without hardware: probe-rs attaches to it,
//! flashes it and reads RTT from it, and the firmware's packets reach the host's sockets. What it adds to a real rig
//! is a clock that runs as fast as it may.
//!
//! In reading order:
//!
//! | file | what |
//! |---|---|
//! | `rig.rs` | [`VirtualRig`]: start, use, drop |
//! | `settings.rs` | [`VirtualRigSettings`] |
//! | `clock.rs` | [`ChipClock`]: chip time, alarms, what holds time back; [`Poller`] |
//! | `pace.rs` | the rules of time, without threads |
//! | `simulator.rs` | the thread that runs chip and network by these rules |
//! | `quiet.rs` | whether anybody is about to answer the device |
//! | `shared.rs` | where the threads meet, and who goes first |
//! | `machine.rs` | chip and debug module behind the lock |
//! | `fixture.rs` | the fixture board on the chip's pins |
//! | `serial_line.rs`, `serial_port.rs` | its serial port, a pty, and what can be wrong with it |
//! | `registry.rs`, `probe.rs` | the probe-rs plugin: [`register_plugin`] |
//! | `black_magic.rs` | the same probe over TCP, for stock tools |
//! | `event.rs`, `statistics.rs`, `error.rs` | what comes out |

mod black_magic;
mod clock;
mod error;
mod event;
mod fixture;
mod machine;
mod pace;
mod probe;
mod quiet;
mod registry;
mod rig;
#[cfg(unix)]
mod serial_line;
#[cfg(unix)]
mod serial_port;
mod settings;
mod shared;
mod simulator;
mod statistics;

pub use black_magic::BlackMagicServer;
pub use clock::{Alarm, ChipClock, FlatOut, InFlight, Poller};
pub use error::VirtualRigError;
pub use event::{RigEvent, RigEventKind};
pub use pace::{Pace, Peers, PollLimits};
pub use probe::{
    PRODUCT_ID, VENDOR_ID, VirtualProbe, VirtualProbeError, VirtualProbeFactory, register_plugin,
};
pub use rig::VirtualRig;
#[cfg(unix)]
pub use serial_line::{FixturePort, LineFault};
pub use settings::{FixtureSettings, VirtualRigSettings};
pub use statistics::RigStatistics;
