//! What the device promises, in a form that messages can be checked against.
//!
//! Written from the contract, not from the firmware: it shares no code with the controller, so the
//! two can't be wrong in the same way.

pub mod difference;
pub mod requests;
pub mod response;
pub mod schema;
pub mod telemetry;
