//! hil-runner.
