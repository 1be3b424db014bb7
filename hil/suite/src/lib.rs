//! hil-suite.
