//! The allocation trace: every allocation and free of the device, with the path of calls to it.

use serde::{Deserialize, Serialize};

/// Return addresses from the allocation outwards, innermost first.
pub type CallPath = heapless::Vec<u32, 8>;

/// One frame of the allocation trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFrame {
    /// The boot this frame belongs to.
    pub boot: u32,
    /// Rises by one with each event of a boot, from 0, also for events that could not be sent:
    /// a lost free looks like a leak, so a gap must be seen.
    pub sequence: u32,
    /// Time since this boot, microseconds.
    pub uptime_us: u64,
    /// What happened.
    pub event: TraceEvent,
}

/// What happened on the heap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceEvent {
    /// A region was added to the heap.
    Region {
        /// First address.
        address: u32,
        /// Bytes.
        size: u32,
    },
    /// A block was allocated.
    Allocated {
        /// Address of the block.
        address: u32,
        /// Bytes asked for.
        size: u32,
        /// Who asked.
        path: CallPath,
    },
    /// A block was freed.
    Freed {
        /// Address of the block.
        address: u32,
        /// Bytes.
        size: u32,
    },
    /// An allocation failed.
    Failed {
        /// Bytes asked for.
        size: u32,
        /// Who asked.
        path: CallPath,
    },
}
