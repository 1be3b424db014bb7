//! Decoded basic blocks and the links between them.
//!
//! A block is a straight run of decoded instructions. Each remembers the block it went to last, once for falling
//! through and once for jumping, so that a loop runs without any look-up. A link is a hint: whoever follows it compares
//! the start address, so a dropped block (whose start becomes odd, which no address is) needs no unlinking.

use std::collections::HashMap;

use crate::StaleCode;
use crate::decode::Op;

/// Longest block in instructions: bounds how far a run overshoots its deadline.
pub(crate) const MAX_OPS: usize = 64;

/// Index into the direct-mapped table in front of the map.
const QUICK: usize = 1 << 13;

/// More blocks than any image needs; reached only by code that keeps rewriting itself.
const MAX_BLOCKS: usize = 1 << 17;

/// Start of a block that isn't one.
const NOWHERE: u32 = 1;

/// Which remembered successor: the block behind, or a jump target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Behind = 0,
    Jump = 1,
}

#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Address of the first instruction, or [`NOWHERE`].
    pub(crate) start: u32,
    /// Address behind the last one.
    pub(crate) end: u32,
    /// Address of the last one.
    pub(crate) last: u32,
    /// Index of the last successor, by [`Slot`]. 0 is the block that is nowhere.
    pub(crate) links: [u32; 2],
    pub(crate) ops: Box<[Op]>,
}

#[derive(Debug, Clone)]
pub(crate) struct Cache {
    pub(crate) blocks: Vec<Block>,
    quick: Box<[(u32, u32); QUICK]>,
    by_start: HashMap<u32, u32>,
    free: Vec<u32>,
}

impl Cache {
    pub(crate) fn new() -> Cache {
        let mut cache = Cache {
            blocks: Vec::new(),
            quick: vec![(NOWHERE, 0); QUICK]
                .into_boxed_slice()
                .try_into()
                .expect("the vector was made with this length"),
            by_start: HashMap::new(),
            free: Vec::new(),
        };
        cache.clear();
        cache
    }

    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.blocks.push(Block {
            start: NOWHERE,
            end: NOWHERE,
            last: NOWHERE,
            links: [0; 2],
            ops: Box::default(),
        });
        self.quick.fill((NOWHERE, 0));
        self.by_start.clear();
        self.free.clear();
    }

    /// The block at `start`, if the direct-mapped table has it.
    #[inline(always)]
    pub(crate) fn find_quick(&self, start: u32) -> Option<u32> {
        let (found, index) = self.quick[(start >> 1) as usize % QUICK];
        (found == start).then_some(index)
    }

    /// The block at `start`.
    pub(crate) fn find(&mut self, start: u32) -> Option<u32> {
        if let Some(index) = self.find_quick(start) {
            return Some(index);
        }
        let index = *self.by_start.get(&start)?;
        self.quick[(start >> 1) as usize % QUICK] = (start, index);
        Some(index)
    }

    pub(crate) fn insert(&mut self, block: Block) -> u32 {
        if self.by_start.len() >= MAX_BLOCKS {
            self.clear();
        }
        let start = block.start;
        let index = match self.free.pop() {
            Some(index) => {
                self.blocks[index as usize] = block;
                index
            }
            None => {
                self.blocks.push(block);
                (self.blocks.len() - 1) as u32
            }
        };
        self.by_start.insert(start, index);
        self.quick[(start >> 1) as usize % QUICK] = (start, index);
        index
    }

    /// Drops every block with a byte in the stale range.
    pub(crate) fn invalidate(&mut self, stale: StaleCode) {
        match stale {
            StaleCode::None => {}
            StaleCode::All => self.clear(),
            StaleCode::Range(from, to) => {
                for (index, block) in self.blocks.iter_mut().enumerate().skip(1) {
                    if block.start != NOWHERE && block.start < to && block.end > from {
                        self.by_start.remove(&block.start);
                        let quick = &mut self.quick[(block.start >> 1) as usize % QUICK];
                        if quick.0 == block.start {
                            *quick = (NOWHERE, 0);
                        }
                        block.start = NOWHERE;
                        block.ops = Box::default();
                        self.free.push(index as u32);
                    }
                }
            }
        }
    }
}
