//! The heap: its two regions, its counters, and the largest block it could give.

#![allow(unsafe_code)]

use core::{
    alloc::{GlobalAlloc, Layout},
    mem::MaybeUninit,
};

use esp_alloc::{EspHeap, HEAP, HeapRegion, MemoryCapability};
use firmware_wire::{HeapSample, TraceEvent};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::allocation_trace;

/// Bytes of the region in memory that the second-stage bootloader has left behind.
const RECLAIMED_BYTES: usize = 64 * 1024;
/// Bytes of the region of our own.
const OWN_BYTES: usize = 64 * 1024;

static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);
static FREES: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);
static FREE_MIN: AtomicU32 = AtomicU32::new(u32::MAX);
/// While the largest block is searched: its trial allocations are neither counted nor traced.
static SEARCHING: AtomicBool = AtomicBool::new(false);

/// Gives the heap its regions, and says so in the trace. Call once.
pub fn init() {
    #[esp_hal::ram(reclaimed)]
    static mut RECLAIMED: MaybeUninit<[u8; RECLAIMED_BYTES]> = MaybeUninit::uninit();
    static mut OWN: MaybeUninit<[u8; OWN_BYTES]> = MaybeUninit::uninit();
    for (start, size) in [
        ((&raw mut RECLAIMED).cast::<u8>(), RECLAIMED_BYTES),
        ((&raw mut OWN).cast::<u8>(), OWN_BYTES),
    ] {
        // Safety: both statics live forever and are named nowhere else, so that the heap alone has
        // them; `init` is called once.
        unsafe {
            HEAP.add_region(HeapRegion::new(
                start,
                size,
                MemoryCapability::Internal.into(),
            ));
        }
        allocation_trace::send(TraceEvent::Region {
            address: start as u32,
            size: size as u32,
        });
    }
    FREE_MIN.fetch_min(HEAP.free() as u32, Relaxed);
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

/// The heap now. `mqtt_buffer_used_max` is not the heap's to know, and 0.
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
        mqtt_buffer_used_max: 0,
    }
}

/// The largest block that could be allocated now, bytes, to within 8.
///
/// The allocator can't be asked, so this tries, by bisection, with interrupts off: about 15 trial
/// allocations, each given back at once. They leave the heap as it was, the free list included.
pub fn largest_free_block() -> u32 {
    critical_section::with(|_| {
        SEARCHING.store(true, Relaxed);
        let (mut fits, mut too_large) = (0, HEAP.free() + 1);
        while too_large - fits > 8 {
            let size = fits + (too_large - fits) / 2;
            if can_allocate(size) {
                fits = size;
            } else {
                too_large = size;
            }
        }
        SEARCHING.store(false, Relaxed);
        fits as u32
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
