//! hil-bench.
