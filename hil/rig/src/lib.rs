//! Rig files: what a bench is made of, read from TOML and checked.
//!
//! A rig is a description, not yet a bench: reading one touches no hardware and needs no secrets,
//! so that a list or a plan can be made anywhere. Whoever wrote the file is told of every mistake
//! in it at once, each with its place and what to write instead.
//!
//! In reading order:
//! - [`Rig`]: what a rig file says, once it is known to be right;
//! - [`Rig::load`], [`Rig::find`], [`Rig::list`]: from a path, a name, a project;
//! - [`Rig::resolve`]: with the secrets from the environment, ready to be opened;
//! - [`RigError`]: what can be wrong, as a page for people.

mod check;
mod error;
mod find;
mod fixture;
mod problem;
mod resolve;
mod rig;
mod section;

pub use error::{MissingVariable, RigError};
pub use fixture::{
    BoardPort, Fixture, FixtureBoard, FixtureKind, RELAYS_MAX, SENSORS_MAX, VirtualFixture,
};
pub use problem::{Problem, suggestion};
pub use resolve::{BrokerLogin, ResolvedNetwork, ResolvedRig, Secret};
pub use rig::{
    BROKER_ELSEWHERE, Broker, BrokerEndpoint, Budget, Device, Limits, Network, Pace, Probe, Rig,
    TopicLevel, UsbProbe, UsbSelector, VirtualProbe, WireProtocol,
};
