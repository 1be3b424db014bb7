//! The temperature controller's scenarios: the project's own suite, and the example of one.
//!
//! A scenario is an async function with a line of facts above it; [`Controller`] is what it works
//! with. In reading order:
//!
//! - [`TemperatureController`]: gets the device ready: broker, provisioning, session.
//! - [`Controller`]: the device at work, as scenarios see it.
//! - [`contract`]: what the device promises, as checks.
//! - `connectivity`, `held_connections`, `interruptions`, `commands`, `bad_requests`, `load`, `telemetry`, `sensors`, `retained`, `payloads`,
//!   `security`, `configuration`, `alarms`, `relays`, `schedules`, `power`, `stability`, `memory_budget`: the scenarios,
//!   one file a behaviour.
//! - `drills`: faults on purpose, for whoever keeps a rig.
//! - [`mutants()`]: bugs on purpose, each to be caught by a scenario.

mod alarms;
mod bad_requests;
mod commands;
mod configuration;
mod connectivity;
pub mod contract;
mod controller;
mod drills;
mod figures;
mod gate;
mod held_connections;
mod http_client;
mod interruptions;
mod load;
mod memory_budget;
mod mutants;
mod payloads;
mod power;
mod product;
mod refusing_broker;
mod relays;
mod retained;
mod schedules;
mod security;
mod sensors;
mod stability;
mod telemetry;
mod tls_broker;
mod ways;

pub use controller::Controller;
pub use mutants::{Mutant, arm, mutants};
pub use product::TemperatureController;
