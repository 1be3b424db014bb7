//! Cheap filter in front of watchpoints and memory protection.
//!
//! Firmware keeps a store watchpoint armed all its life (the stack guard), so an armed trigger must cost little. One
//! byte for each of 4096 hashed 4 KiB pages says whether a load or a store there needs a closer look; every other
//! access passes with one look-up. With nothing armed, the interpreter is instantiated without even that. The closer
//! look compares with the few ranges that made the page doubtful: a busy variable may share a page with a watched word.

use crate::Exception;
use crate::csr::{Csrs, Privilege};
use crate::pmp::Access;
use crate::trigger::Action;

const PAGES: usize = 4096;
const PAGE_SHIFT: u32 = 12;
const LOADS: u8 = 1;
const STORES: u8 = 2;
const EVERYWHERE: (u64, u64) = (0, u64::MAX);

/// Which pages need a closer look, and what is looked for there.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pages: Box<[u8; PAGES]>,
    armed: bool,
    /// What triggers and memory protection may refuse, start and exclusive end.
    loads: Vec<(u64, u64)>,
    stores: Vec<(u64, u64)>,
}

/// What a guarded access runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Exception(Exception),
    Debug,
}

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard {
            pages: Box::new([0; PAGES]),
            armed: false,
            loads: Vec::new(),
            stores: Vec::new(),
        }
    }

    /// A guard that doubts everything.
    pub(crate) fn full() -> Guard {
        Guard {
            pages: Box::new([LOADS | STORES; PAGES]),
            armed: true,
            loads: vec![EVERYWHERE],
            stores: vec![EVERYWHERE],
        }
    }

    /// Whether any access needs a look at all.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Marks anew what triggers and locked PMP entries may refuse.
    pub(crate) fn rebuild(&mut self, csrs: &Csrs) {
        if self.armed {
            self.pages.fill(0);
            self.armed = false;
        }
        self.loads = doubtful(csrs, Access::Load);
        self.stores = doubtful(csrs, Access::Store);
        for index in 0..self.loads.len() {
            self.mark(self.loads[index], LOADS);
        }
        for index in 0..self.stores.len() {
            self.mark(self.stores[index], STORES);
        }
    }

    fn mark(&mut self, (start, end): (u64, u64), mark: u8) {
        self.armed = true;
        // An access of four bytes may begin on the page before.
        let first = start.saturating_sub(3) >> PAGE_SHIFT;
        let last = (end - 1) >> PAGE_SHIFT;
        for page in (first..=last).take(PAGES) {
            self.pages[page as usize % PAGES] |= mark;
        }
    }

    /// Whether a load of `length` bytes at `address` needs [`check`].
    #[inline(always)]
    pub(crate) fn doubts_load(&self, address: u32, length: u32) -> bool {
        self.pages[(address >> PAGE_SHIFT) as usize % PAGES] & LOADS != 0
            && overlaps(&self.loads, address, length)
    }

    /// Whether a store of `length` bytes at `address` needs [`check`].
    #[inline(always)]
    pub(crate) fn doubts_store(&self, address: u32, length: u32) -> bool {
        self.pages[(address >> PAGE_SHIFT) as usize % PAGES] & STORES != 0
            && overlaps(&self.stores, address, length)
    }
}

/// What triggers and locked PMP entries may refuse.
fn doubtful(csrs: &Csrs, access: Access) -> Vec<(u64, u64)> {
    let mut ranges = csrs.triggers.watched(access);
    ranges.extend(csrs.pmp.doubtful_to_machine(access));
    ranges
}

#[inline(never)]
fn overlaps(ranges: &[(u64, u64)], address: u32, length: u32) -> bool {
    let (first, end) = (u64::from(address), u64::from(address) + u64::from(length));
    ranges
        .iter()
        .any(|&(start, stop)| first < stop && start < end)
}

/// The exact check: triggers first (they fire before the access), then memory protection.
#[cold]
pub(crate) fn check(
    csrs: &mut Csrs,
    access: Access,
    address: u32,
    length: u32,
    debug_mode: bool,
) -> Option<Refusal> {
    if !debug_mode {
        match csrs.triggers.fire(access, address, length, csrs.privilege) {
            Some(Action::Debug) => return Some(Refusal::Debug),
            Some(Action::Exception) => {
                return Some(Refusal::Exception(Exception::Breakpoint(address)));
            }
            None => {}
        }
    }
    let machine = csrs.privilege == Privilege::Machine;
    if csrs.pmp.allows(access, address, length, machine) {
        return None;
    }
    Some(Refusal::Exception(match access {
        Access::Load => Exception::LoadAccessFault(address),
        Access::Store => Exception::StoreAccessFault(address),
        Access::Execute => Exception::InstructionAccessFault(address),
    }))
}
