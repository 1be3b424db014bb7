//! The temperature controller's scenarios: the project's own suite, and the example of one.
//!
//! A scenario is an async function with a line of facts above it; [`Controller`] is what it works
//! with. In reading order:
//!
//! - [`TemperatureController`]: gets the device ready: broker, provisioning, session.
//! - [`Controller`]: the device at work, as scenarios see it.
//! - [`contract`]: what the device promises, as checks.
//! - `connectivity`, `commands`, `telemetry`, `stability`: the scenarios, one file a behaviour.
//! - `drills`: faults on purpose, for whoever keeps a rig.
//! - [`mutants()`]: bugs on purpose, each to be caught by a scenario.

mod commands;
mod connectivity;
pub mod contract;
mod controller;
mod drills;
mod mutants;
mod product;
mod refusing_broker;
mod stability;
mod telemetry;

pub use controller::Controller;
pub use mutants::{Mutant, arm, mutants};
pub use product::TemperatureController;
