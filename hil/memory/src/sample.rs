//! One memory sample, and the summary of many, in the figures people use.

use firmware_wire::MemorySample;
use serde::{Deserialize, Serialize};

/// 1 - largest / free, in percent; 0 when nothing is free.
///
/// The contract's definition: how much of the free heap can't be had in one piece.
#[must_use]
pub fn fragmentation_percent(free: u32, largest_free_block: u32) -> f64 {
    if free == 0 {
        return 0.0;
    }
    let share = f64::from(largest_free_block.min(free)) / f64::from(free);
    100.0 * (1.0 - share)
}

/// The memory of a device over a while. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemorySummary {
    /// Free heap at the last sample.
    pub heap_free: u32,
    /// The least that was free since boot, by the device's own count.
    pub heap_free_min: u32,
    /// Fragmentation at the last sample, percent.
    pub fragmentation_percent: f64,
    /// The main stack's high-water mark.
    pub stack_used_max: u32,
    /// Size of the main stack.
    pub stack_size: u32,
}

impl MemorySummary {
    /// The summary of `samples`, in time order; `None` when there are none.
    #[must_use]
    pub fn of<'s>(samples: impl IntoIterator<Item = &'s MemorySample>) -> Option<Self> {
        samples
            .into_iter()
            .fold(None, |so_far: Option<Self>, sample| {
                let main = sample.stacks.iter().find(|stack| stack.name == "main");
                let heap = &sample.heap;
                Some(Self {
                    heap_free: heap.free,
                    heap_free_min: so_far
                        .map_or(u32::MAX, |s| s.heap_free_min)
                        .min(heap.free_min),
                    fragmentation_percent: fragmentation_percent(
                        heap.free,
                        heap.largest_free_block,
                    ),
                    stack_used_max: so_far
                        .map_or(0, |s| s.stack_used_max)
                        .max(main.map_or(0, |stack| stack.used_max)),
                    stack_size: main.map_or(0, |stack| stack.size),
                })
            })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use firmware_wire::{HeapSample, StackSample};

    use super::*;

    /// A sample with the figures that matter; the rest is plausible.
    pub(crate) fn sample(free: u32, largest_free_block: u32, stack_used_max: u32) -> MemorySample {
        let main = StackSample {
            name: "main".try_into().expect("fits"),
            size: 200_000,
            used_max: stack_used_max,
        };
        MemorySample {
            heap: HeapSample {
                size: 65_536,
                free,
                free_min: free - 100,
                largest_free_block,
                allocations: 100,
                frees: 90,
                failed: 0,
                refused: 0,
            },
            stacks: [main].into_iter().collect(),
            buffers: firmware_wire::BufferSample::default(),
        }
    }

    #[test]
    fn fragmentation_is_the_part_that_is_not_in_one_piece() {
        for (free, largest, expected) in [
            (1_000, 1_000, 0.0),
            (1_000, 250, 75.0),
            (0, 0, 0.0),
            (100, 200, 0.0),
        ] {
            let got = fragmentation_percent(free, largest);
            assert!((got - expected).abs() < 1e-9, "{free} {largest}: {got}");
        }
    }

    #[test]
    fn the_summary_keeps_the_extremes_and_the_last() {
        let samples = [
            sample(60_000, 60_000, 2_000),
            sample(50_000, 25_000, 3_000),
            sample(58_000, 57_000, 2_500),
        ];
        let summary = MemorySummary::of(&samples).expect("there are samples");
        assert_eq!(summary.heap_free, 58_000);
        assert_eq!(summary.heap_free_min, 49_900);
        assert_eq!(
            (summary.stack_used_max, summary.stack_size),
            (3_000, 200_000)
        );
        assert!((summary.fragmentation_percent - 1.72).abs() < 0.01);
        assert_eq!(MemorySummary::of([]), None);
    }
}
