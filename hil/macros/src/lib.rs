//! hil-macros.
