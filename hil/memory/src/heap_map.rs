//! The heap, rebuilt on the host from the allocation trace.
//!
//! The device can't say which blocks are live without walking its allocator's lists; the host can,
//! because it saw every event. It trusts the map only while it did: a gap in the sequence may be a
//! lost free, which would look like a leak, so a gap makes the map incomplete and not a finding.

use std::collections::BTreeMap;

use firmware_wire::{CallPath, TraceEvent, TraceFrame};
use serde::{Deserialize, Serialize};

/// A block that was allocated and not freed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    size: u32,
    path: CallPath,
}

/// The heap as the trace tells it.
#[derive(Clone, Debug, Default)]
pub struct HeapMap {
    /// The boot that the map is of; another boot starts a new map.
    boot: Option<u32>,
    next_sequence: u32,
    lost: u64,
    /// Frees of blocks that the map never saw.
    unknown_frees: u64,
    failed: u64,
    /// First address to size.
    regions: BTreeMap<u32, u32>,
    /// Address to block.
    live: BTreeMap<u32, Block>,
}

/// All live blocks that one path of calls allocated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Return addresses, innermost first.
    pub path: Vec<u32>,
    /// Live blocks.
    pub blocks: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl HeapMap {
    /// A map of a heap that nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame. A frame of another boot clears the map first.
    pub fn apply(&mut self, frame: &TraceFrame) {
        if self.boot != Some(frame.boot) {
            *self = Self {
                boot: Some(frame.boot),
                ..Self::default()
            };
        }
        self.lost += u64::from(frame.sequence.wrapping_sub(self.next_sequence));
        self.next_sequence = frame.sequence.wrapping_add(1);
        match &frame.event {
            TraceEvent::Region { address, size } => {
                self.regions.insert(*address, *size);
            }
            TraceEvent::Allocated {
                address,
                size,
                path,
            } => {
                let block = Block {
                    size: *size,
                    path: path.clone(),
                };
                self.live.insert(*address, block);
            }
            TraceEvent::Freed { address, .. } => {
                if self.live.remove(address).is_none() {
                    self.unknown_frees += 1;
                }
            }
            TraceEvent::Failed { .. } => self.failed += 1,
        }
    }

    /// Whether every event since boot was seen, so that the map can be trusted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.unknown_frees == 0
    }

    /// Events that were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Allocations that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Bytes in live blocks, as asked for, without the allocator's own.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.live.values().map(|block| u64::from(block.size)).sum()
    }

    /// Number of live blocks.
    #[must_use]
    pub fn live_blocks(&self) -> usize {
        self.live.len()
    }

    /// The largest gap between live blocks within a region, bytes: an upper bound of the largest
    /// block that could be allocated, because the allocator's own headers are not in the trace.
    #[must_use]
    pub fn largest_gap(&self) -> u32 {
        let gaps_of = |(start, size): (&u32, &u32)| {
            let end = start.saturating_add(*size);
            let mut largest = 0;
            let mut free_from = *start;
            for (address, block) in self.live.range(*start..end) {
                largest = largest.max(address.saturating_sub(free_from));
                free_from = free_from.max(address.saturating_add(block.size));
            }
            largest.max(end.saturating_sub(free_from))
        };
        self.regions.iter().map(gaps_of).max().unwrap_or(0)
    }

    /// Who holds what is live, most bytes first.
    #[must_use]
    pub fn sites(&self) -> Vec<Site> {
        let mut by_path = BTreeMap::<&[u32], (u32, u64)>::new();
        for block in self.live.values() {
            let held = by_path.entry(&block.path).or_default();
            held.0 += 1;
            held.1 += u64::from(block.size);
        }
        let mut sites: Vec<Site> = by_path
            .into_iter()
            .map(|(path, (blocks, bytes))| Site {
                path: path.to_vec(),
                blocks,
                bytes,
            })
            .collect();
        sites.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        sites
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of boot 1 after `events`, numbered from 0.
    fn map(events: impl IntoIterator<Item = TraceEvent>) -> HeapMap {
        let mut map = HeapMap::new();
        for (sequence, event) in (0..).zip(events) {
            map.apply(&frame(1, sequence, event));
        }
        map
    }

    fn frame(boot: u32, sequence: u32, event: TraceEvent) -> TraceFrame {
        TraceFrame {
            boot,
            sequence,
            uptime_us: 0,
            event,
        }
    }

    fn allocated(address: u32, size: u32, path: &[u32]) -> TraceEvent {
        TraceEvent::Allocated {
            address,
            size,
            path: path.iter().copied().collect(),
        }
    }

    fn freed(address: u32) -> TraceEvent {
        TraceEvent::Freed { address, size: 0 }
    }

    const REGION: TraceEvent = TraceEvent::Region {
        address: 1_000,
        size: 1_000,
    };

    #[test]
    fn live_blocks_are_those_not_freed() {
        let map = map([
            REGION,
            allocated(1_000, 10, &[7]),
            allocated(1_100, 20, &[7]),
            freed(1_000),
        ]);
        assert_eq!((map.live_blocks(), map.live_bytes()), (1, 20));
        assert!(map.is_complete());
    }

    #[test]
    fn the_largest_gap_lies_between_before_or_behind_blocks() {
        assert_eq!(map([REGION]).largest_gap(), 1_000);
        assert_eq!(map([REGION, allocated(1_300, 100, &[])]).largest_gap(), 600);
        assert_eq!(map([REGION, allocated(1_900, 100, &[])]).largest_gap(), 900);
        assert_eq!(
            map([
                REGION,
                allocated(1_000, 100, &[]),
                allocated(1_900, 100, &[])
            ])
            .largest_gap(),
            800
        );
        assert_eq!(map([]).largest_gap(), 0);
    }

    #[test]
    fn sites_are_sorted_by_what_they_hold() {
        let map = map([
            allocated(0x10, 8, &[1, 2]),
            allocated(0x20, 8, &[1, 2]),
            allocated(0x30, 100, &[1, 3]),
        ]);
        let held: Vec<_> = map
            .sites()
            .into_iter()
            .map(|s| (s.path, s.blocks, s.bytes))
            .collect();
        assert_eq!(held, [(vec![1, 3], 1, 100), (vec![1, 2], 2, 16)]);
    }

    #[test]
    fn a_lost_event_makes_the_map_incomplete() {
        let mut map = map([REGION]);
        map.apply(&frame(1, 3, allocated(1_000, 10, &[])));
        assert_eq!(map.lost(), 2);
        assert!(!map.is_complete());
    }

    #[test]
    fn a_free_of_an_unknown_block_makes_the_map_incomplete() {
        assert!(!map([REGION, freed(1_234)]).is_complete());
    }

    #[test]
    fn another_boot_starts_a_new_map() {
        let mut map = map([REGION, allocated(1_000, 10, &[])]);
        map.apply(&frame(2, 0, REGION));
        assert_eq!(map.live_blocks(), 0);
        assert!(map.is_complete());
    }
}
