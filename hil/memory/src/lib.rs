//! hil-memory.
