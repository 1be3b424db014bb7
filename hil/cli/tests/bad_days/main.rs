//! Bad days: whatever goes wrong ends in a clear message, the right verdict and exit code, a whole
//! report, and neither a process nor a lock left behind.
//!
//! The real program runs, each time in a project of its own, so that tests don't wait for each
//! other's rigs and nothing of the user's is touched. Only the firmware is built where the user's
//! is, once for all tests, by the program itself.
#![cfg(unix)]

mod drills;
mod firmware;
mod images;
mod own_sensors;
mod project;
mod rigs;
mod toolchain;
mod world;
