//! Tests that run on the chip: embedded-test and defmt-test binaries, and plain programs.
//!
//! The engine of `hil runner ELF`. It knows three kinds of program, told apart by the ELF alone:
//!
//! | kind | how it is run | a test passes when |
//! |---|---|---|
//! | embedded-test (protocol 1) | one reset a test; the test's address goes down as the command line | the program exits with success, or with an error if it should panic |
//! | defmt-test | one reset for all; the log says which test runs | the next one begins, or the program exits with success |
//! | plain | one reset | the program exits with success |
//!
//! Programs talk to the bench by semihosting, and log by defmt over RTT like every firmware.

mod inspect;
mod run;

pub use inspect::{OnTargetError, Program, Test, inspect};
pub(crate) use run::OnTarget;
pub use run::{Outcome, RunOptions, TestEvent, TestResult, run};
