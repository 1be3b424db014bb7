//! A bench: a rig opened. Probe, RTT, log, telemetry, clock, crashes; a real board and the virtual
//! rig alike.
//!
//! It exists so that scenarios need not know what is underneath: they wait on the bench's clock,
//! tell the device what to do, and hear what it says. Nothing here knows which product is tested.
//!
//! ```text
//!  scenarios ── Device, Clock ──▶ shared state ◀── events ── monitor ◀── decode ◀── rtt ◀┐
//!      │                                                                                 │
//!      └───── work ──▶ session (one thread owns the probe) ── probe-rs ── probe ── chip ─┘
//! ```
//!
//! In reading order:
//! - [`Bench`]: open, flash, reset, close;
//! - [`Device`]: control, provisioning, boots, memory, connection, crashes;
//! - [`Clock`]: bench time;
//! - [`fixture`]: what is on the device's pins: sensors, relays, power;
//! - [`event`]: what is reported, stamped with three clocks;
//! - [`FirmwareImage`]: an ELF, checked;
//! - [`BacktraceFrame`]: addresses made places;
//! - [`ontarget`]: tests that run on the chip;
//! - [`Leases`]: one run at a time;
//! - [`BenchError`]: what can go wrong, and who must act.

mod backtrace;
mod bench;
mod clock;
mod decode;
mod device;
mod error;
pub mod event;
pub mod fixture;
mod flash;
mod image;
mod lease;
mod monitor;
pub mod ontarget;
mod probe;
mod provision;
mod rtt;
mod session;
mod shared;
mod simulated;
mod tasks;
#[cfg(test)]
mod testing;

pub use backtrace::{BacktraceFrame, Place, Symbolizer};
pub use bench::{Bench, OpenOptions};
pub use clock::{Clock, Elapsed, InFlight, Interval};
pub use device::{CrashWatch, Device};
pub use error::{BenchError, Responsible};
pub use event::{BenchEvent, Crash, CrashKind, StampedEvent};
pub use fixture::{Power, Relays, Sensors};
pub use flash::FlashReport;
pub use image::{FirmwareImage, ImageError};
pub use lease::{FileLeases, Holder, Lease, Leases};
pub use provision::provision;
pub use shared::{Losses, Received};
pub use simulated::wiring;
pub use tasks::TaskSize;
