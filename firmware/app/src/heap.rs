//! The heap: its regions, its counters, and the largest block it could give.
//!
//! What the world outside asks for is taken from it by [`vec`] alone, which leaves a reserve for what
//! the device itself needs to go on.

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::RefCell,
    mem::MaybeUninit,
};

use critical_section::Mutex;
use esp_alloc::{EspHeap, HEAP, HeapRegion, MemoryCapability};
use firmware_mutants::image;
use firmware_wire::{HeapSample, TraceEvent};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::allocation_trace;

/// Bytes of the region that every device has: room for a TLS session at the height of its handshake,
/// 59 KiB, and the reserve.
const REGION_BYTES: usize = 80 * 1024;
/// Bytes of the region that is added for the radio: memory that the second-stage bootloader left
/// behind.
const RADIO_REGION_BYTES: usize = 64 * 1024;

/// What a request from outside must leave free, bytes.
pub const RESERVE_BYTES: usize = 10 * 1024;

/// The allocator rounds sizes up to this.
const UNIT_BYTES: usize = 8;

static ALLOCATIONS: AtomicU32 = AtomicU32::new(0);
static FREES: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);
static FREE_MIN: AtomicU32 = AtomicU32::new(u32::MAX);
/// While the largest block is searched: its trial allocations are neither counted nor traced.
static SEARCHING: AtomicBool = AtomicBool::new(false);

/// Address and size of each region.
static REGIONS: Mutex<RefCell<heapless::Vec<(u32, u32), 2>>> =
    Mutex::new(RefCell::new(heapless::Vec::new()));

/// Memory that begins where the allocator's units do: nothing of it is lost at its ends.
#[repr(align(16))]
struct Region<const BYTES: usize>([u8; BYTES]);

/// Gives the heap its first region. Call once.
///
/// One region, not two: the largest block can't be larger than a region, so that two of one size
/// would look like a heap half in fragments.
pub fn init() {
    static mut REGION: MaybeUninit<Region<REGION_BYTES>> = MaybeUninit::uninit();
    // Safety: the static lives forever and is named nowhere else; `init` is called once.
    unsafe { add_region((&raw mut REGION).cast(), REGION_BYTES) };
}

/// Gives the heap a second region, for the radio, which fills most of the first. Call once.
pub fn add_radio_region() {
    let region = take_spare_region();
    // Safety: the region is nobody else's any more, and lives forever.
    unsafe { add_region(region.as_mut_ptr().cast(), region.len()) };
}

/// The memory that the second-stage bootloader left behind, for what only one of the two networks
/// needs: the radio's heap, or the Ethernet MAC's buffers. Aligned to 16 bytes.
///
/// # Panics
/// When it was taken before.
pub fn take_spare_region() -> &'static mut [MaybeUninit<u8>] {
    #[esp_hal::ram(reclaimed)]
    static mut REGION: MaybeUninit<Region<RADIO_REGION_BYTES>> = MaybeUninit::uninit();
    static TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(!TAKEN.swap(true, Relaxed), "one network");
    // Safety: the static lives forever and is named nowhere else; this is reached once. Any bytes are
    // uninitialised bytes.
    unsafe { core::slice::from_raw_parts_mut((&raw mut REGION).cast(), RADIO_REGION_BYTES) }
}

/// # Safety
/// `start` points to `size` bytes that live forever and that nobody else has.
unsafe fn add_region(start: *mut u8, size: usize) {
    let capabilities = MemoryCapability::Internal.into();
    // Safety: the caller's promise.
    unsafe { HEAP.add_region(HeapRegion::new(start, size, capabilities)) };
    FREE_MIN.fetch_min(HEAP.free() as u32, Relaxed);
    let region = (start as u32, size as u32);
    critical_section::with(|cs| {
        // There are no more than there is room for: see the two callers.
        let _ = REGIONS.borrow_ref_mut(cs).push(region);
    });
    trace_region(region);
}

fn trace_region((address, size): (u32, u32)) {
    allocation_trace::send(TraceEvent::Region { address, size });
}

/// Tells the trace of all regions, for a host that begins to listen.
pub(crate) fn trace_regions() {
    let regions = critical_section::with(|cs| REGIONS.borrow_ref(cs).clone());
    regions.into_iter().for_each(trace_region);
}

/// Too little memory is left for a request from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// An empty vector with room for `bytes`, for a request from outside. For all such memory: TLS
/// records, certificates, requests.
///
/// # Errors
/// [`Refused`], and counted, when less than [`RESERVE_BYTES`] would be left, or no free block is as
/// large.
pub fn vec(bytes: usize) -> Result<Vec<u8>, Refused> {
    let mut vec = Vec::new();
    if !leaves_reserve(bytes) || vec.try_reserve_exact(bytes).is_err() {
        refuse(bytes);
        return Err(Refused);
    }
    Ok(vec)
}

/// Whether `bytes` can be taken for a request from outside, `block` of them in one block; counted
/// when not. For memory that somebody else allocates right after.
pub fn may_take(bytes: usize, block: usize) -> bool {
    let may = leaves_reserve(bytes) && largest_free_block() as usize >= block;
    if !may {
        refuse(bytes);
    }
    may
}

fn leaves_reserve(bytes: usize) -> bool {
    if image::active(image::Mutant::GuardOff) {
        return true;
    }
    bytes.saturating_add(RESERVE_BYTES) <= HEAP.free()
}

fn refuse(bytes: usize) {
    REFUSED.add(1, Relaxed);
    defmt::warn!(
        "{=usize} bytes refused: {=usize} are free",
        bytes,
        HEAP.free()
    );
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
