//! A whole virtual rig, used as the bench uses it: through stock probe-rs, its clock, its events.
//!
//! One binary, because linking probe-rs once is enough. Programs on the chip are a few words of machine code, so that
//! these tests need neither firmware nor cross compiler.

#[path = "../../../hart/tests/support/assembler.rs"]
mod assembler;
mod black_magic;
mod clock;
mod debug;
#[cfg(unix)]
mod fixture_port;
mod fixtures;
mod flash;
mod network;
mod one_wire;
mod power;
mod probes;
mod rtt;
mod support;
