//! A whole virtual rig, used as the bench uses it: through stock probe-rs, its clock, its events.
//!
//! One binary, because linking probe-rs once is enough. Programs on the chip are a few words of machine code, so that
//! these tests need neither firmware nor cross compiler.

mod black_magic;
mod clock;
mod debug;
mod flash;
mod network;
mod power;
mod probes;
mod rtt;
mod support;
