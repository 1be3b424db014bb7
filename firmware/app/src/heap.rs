//! The heap: its regions, its counters, and the largest block it could give.

#![allow(unsafe_code)]

use core::{
    alloc::{GlobalAlloc, Layout},
    mem::MaybeUninit,
};

use esp_alloc::{EspHeap, HEAP, HeapRegion, MemoryCapability};
use firmware_wire::{HeapSample, TraceEvent};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::allocation_trace;

/// Bytes of the region that every device has: memory that the second-stage bootloader left behind.
const REGION_BYTES: usize = 64 * 1024;
/// Bytes of the region that is added for the radio.
const RADIO_REGION_BYTES: usize = 64 * 1024;

/// The allocator rounds sizes up to this.
const UNIT_BYTES: usize = 8;

static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);
static FREES: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);
static FREE_MIN: AtomicU32 = AtomicU32::new(u32::MAX);
/// While the largest block is searched: its trial allocations are neither counted nor traced.
static SEARCHING: AtomicBool = AtomicBool::new(false);

/// Gives the heap its first region. Call once.
///
/// One region, not two: the largest block can't be larger than a region, so that two of one size
/// would look like a heap half in fragments.
pub fn init() {
    #[esp_hal::ram(reclaimed)]
    static mut REGION: MaybeUninit<[u8; REGION_BYTES]> = MaybeUninit::uninit();
    // Safety: the static lives forever and is named nowhere else; `init` is called once.
    unsafe { add_region((&raw mut REGION).cast(), REGION_BYTES) };
}

/// Gives the heap a second region, for the radio, which fills most of the first. Call once.
pub fn add_radio_region() {
    static mut REGION: MaybeUninit<[u8; RADIO_REGION_BYTES]> = MaybeUninit::uninit();
    // Safety: as in `init`.
    unsafe { add_region((&raw mut REGION).cast(), RADIO_REGION_BYTES) };
}

/// # Safety
/// `start` points to `size` bytes that live forever and that nobody else has.
unsafe fn add_region(start: *mut u8, size: usize) {
    let capabilities = MemoryCapability::Internal.into();
    // Safety: the caller's promise.
    unsafe { HEAP.add_region(HeapRegion::new(start, size, capabilities)) };
    FREE_MIN.fetch_min(HEAP.free() as u32, Relaxed);
    allocation_trace::send(TraceEvent::Region {
        address: start as u32,
        size: size as u32,
    });
}

/// Counts an allocation, if it is one to be counted.
pub(crate) fn count_allocation(heap: &EspHeap, succeeded: bool) -> bool {
    if SEARCHING.load(Relaxed) {
        return false;
    }
    let counter = if succeeded { &ALLOCATIONS } else { &FAILED };
    counter.add(1, Relaxed);
    FREE_MIN.fetch_min(heap.free() as u32, Relaxed);
    true
}

/// Counts a free, if it is one to be counted.
pub(crate) fn count_free() -> bool {
    if SEARCHING.load(Relaxed) {
        return false;
    }
    FREES.add(1, Relaxed);
    true
}

/// The heap now.
pub fn sample() -> HeapSample {
    let stats = HEAP.stats();
    HeapSample {
        size: stats.size as u32,
        free: HEAP.free() as u32,
        free_min: FREE_MIN.load(Relaxed),
        largest_free_block: largest_free_block(),
        allocations: ALLOCATIONS.load(Relaxed),
        frees: FREES.load(Relaxed),
        failed: FAILED.load(Relaxed),
        refused: REFUSED.load(Relaxed),
    }
}

/// The largest block that could be allocated now, bytes.
///
/// The allocator can't be asked, so this tries, by bisection, with interrupts off: about 15 trial
/// allocations, each given back at once. They leave the heap as it was, the free list included.
pub fn largest_free_block() -> u32 {
    critical_section::with(|_| {
        SEARCHING.store(true, Relaxed);
        // In the allocator's unit.
        let (mut fits, mut too_large) = (0, HEAP.free() / UNIT_BYTES + 1);
        while too_large - fits > 1 {
            let units = fits + (too_large - fits) / 2;
            if can_allocate(units * UNIT_BYTES) {
                fits = units;
            } else {
                too_large = units;
            }
        }
        SEARCHING.store(false, Relaxed);
        (fits * UNIT_BYTES) as u32
    })
}

fn can_allocate(size: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(size, 4) else {
        return false;
    };
    // Safety: `size` is above 0 in the bisection; a block that was given is freed with the same
    // layout and never used.
    unsafe {
        let block = GlobalAlloc::alloc(&HEAP, layout);
        let given = !block.is_null();
        if given {
            GlobalAlloc::dealloc(&HEAP, block, layout);
        }
        given
    }
}
