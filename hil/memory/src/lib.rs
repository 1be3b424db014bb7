//! What the device's memory telemetry means.
//!
//! Pure functions: samples and traces in, figures and judgements out; no clock, no device, no
//! output. In reading order:
//!
//! - [`sample`]: one memory sample in the figures people use: fragmentation, high-water mark.
//! - [`heap_map`]: the heap rebuilt from the allocation trace: live blocks, gaps, who holds what.
//! - [`trend`]: whether a series rises or falls, by test instead of by eye.
//! - [`stability`]: the judgement over equal cycles of work.

pub mod heap_map;
pub mod sample;
pub mod stability;
pub mod trend;

pub use heap_map::{HeapMap, Site};
pub use sample::{MemorySummary, fragmentation_percent};
pub use stability::{Cycle, Finding, Limits, Stability, TooFewCycles, judge};
pub use trend::{Trend, mann_kendall};
