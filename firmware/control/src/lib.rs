//! What the temperature controller decides, and nothing of how it is done.
//!
//! Inputs and time go in, JSON and actions come out: no network, no pins, no clock and no allocator
//! of its own. So the whole product logic is tested on the host in milliseconds, and the firmware
//! around it stays a thin shell of drivers. In reading order:
//!
//! - [`Controller`]: the whole, and the place to start.
//! - [`points`], [`thresholds`], [`alarms`]: the 60 measurement points and what they alarm about.
//! - [`relays`], [`schedules`], [`orders`]: what is switched, and what is done again and again.
//! - [`configuration`], [`configuration_json`]: what the HTTP interface shows and changes.
//! - [`kept`]: what goes to flash.
//! - [`request`], [`commands`], [`responses`]: one JSON command in, one JSON response out.
//! - [`telemetry`], [`events`]: the messages the device publishes on its own.
//! - [`topics`]: where it publishes them.
//! - [`document`], [`json`], [`timestamp`]: how JSON is read and written, and times.
//! - [`mutants`]: deliberate faults, for tests of the tests.
#![no_std]

#[cfg(test)]
extern crate alloc;
// What the tests of this crate share with those beside it names the crate.
#[cfg(test)]
extern crate self as firmware_control;
#[cfg(test)]
#[path = "../tests/support/stand_in.rs"]
mod stand_in;
#[cfg(test)]
mod testing;

pub mod alarms;
pub mod commands;
pub mod configuration;
pub mod configuration_json;
mod controller;
pub mod document;
pub mod events;
pub mod json;
pub mod kept;
pub mod mutants;
pub mod orders;
pub mod points;
pub mod relays;
pub mod request;
pub mod responses;
pub mod schedules;
pub mod status;
pub mod telemetry;
pub mod thresholds;
pub mod timestamp;
pub mod topics;

pub use alarms::AlarmChange;
pub use configuration::{Configuration, TopicLevel};
pub use configuration_json::ConfigurationError;
pub use controller::{Action, Controller, Counters, Handled, Identity};
pub use kept::{KEPT_BYTES_MAX, Keeper, Kept, NotKept};
pub use points::{Measurement, POINTS, Points, Reading, Summary, Tenths};
pub use relays::{RELAYS, RelayChange, RelayId};
pub use schedules::SCHEDULES_MAX;
pub use status::DeviceStatus;
pub use timestamp::{Clock, Now};
pub use topics::Topics;

/// The longest request that is carried out, bytes; of a longer one only the `cmd_id` is looked for.
pub const REQUEST_BYTES_MAX: usize = 1_024;

/// The buffer that any message this crate writes fits, bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1_024;

/// What any message on `alarm/active`, `event/relay` and `telemetry/summary` fits, bytes.
pub const EVENT_BYTES_MAX: usize = 320;
