//! What the temperature controller decides, and nothing of how it is done.
//!
//! Inputs and time go in, JSON and actions come out: no network, no pins, no clock of its own.
//! So the whole product logic is tested on the host in milliseconds, and the firmware around it
//! stays a thin shell of drivers. In reading order:
//!
//! - [`Controller`]: the whole, and the place to start.
//! - [`Points`], [`Reading`]: the 60 measurement points; [`stand_in`] fills them until sensors do.
//! - [`request`], [`commands`]: one JSON command in, one JSON response out.
//! - [`telemetry`]: the messages the device publishes on its own.
//! - [`topics`]: where it publishes them.
//! - [`json`], [`timestamp`]: how numbers and times are written.
#![no_std]

extern crate alloc;

pub mod commands;
mod controller;
pub mod json;
pub mod points;
pub mod request;
pub mod stand_in;
pub mod status;
pub mod telemetry;
pub mod timestamp;
pub mod topics;

pub use controller::{Action, Controller, Handled, Settings};
pub use points::{POINTS, Points, Reading, Summary, Tenths};
pub use status::DeviceStatus;
pub use timestamp::{Clock, Now};
pub use topics::Topics;

/// The longest request that is read, bytes; a longer one is refused unread.
pub const REQUEST_BYTES_MAX: usize = 1_024;

/// The buffer that any message this crate writes fits, bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1_024;
