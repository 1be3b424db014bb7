//! Tests of the hart through its public interface, against tables and against a second implementation.

#![allow(unreachable_pub)] // One test program; its modules share freely.

#[path = "../support/assembler.rs"]
mod assembler;
mod debug;
mod differential;
mod encodings;
mod instructions;
mod interrupts;
#[path = "../support/kernels.rs"]
mod kernels;
mod machine;
mod protection;
mod reference;
mod self_modifying;
mod speed;
mod traps;
mod triggers;
