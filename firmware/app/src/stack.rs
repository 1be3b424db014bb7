//! The main stack's high-water mark: painted at boot, read by looking where the paint is gone.
//!
//! The stacks of other threads are in [`crate::threads`]. All async tasks and interrupts share the main stack. Reading all of it each time would cost a
//! millisecond a sample, so a sample looks closely below the mark so far and at one part in turn of
//! the rest: use that grows without a hole is seen at once, a deep frame that leaves over
//! [`WINDOW_BYTES`] of paint above itself within [`PARTS`] samples.

#![allow(unsafe_code)]

use core::arch::asm;

use firmware_wire::StackSample;
use portable_atomic::{AtomicUsize, Ordering::Relaxed};

const PAINT: u32 = 0xC0DE_57AC;
/// esp-hal's guard word at `_stack_end + 60`, watched by the debug unit: painting it would trap.
pub(crate) const GUARD_BYTES: usize = 64;
/// How far below the mark every sample looks.
const WINDOW_BYTES: usize = 4_096;
/// In how many samples the rest is looked through.
const PARTS: usize = 16;

unsafe extern "C" {
    /// Lowest address of the main stack, from esp-hal's linker script.
    static mut _stack_end_cpu0: u32;
    /// One past its highest address.
    static _stack_start_cpu0: u32;
}

/// Lowest address known to have been used; 0 before [`paint`].
static MARK: AtomicUsize = AtomicUsize::new(0);
/// The part of the stack that the next sample looks through.
static PART: AtomicUsize = AtomicUsize::new(0);

fn bottom() -> usize {
    (&raw const _stack_end_cpu0) as usize + GUARD_BYTES
}

fn top() -> usize {
    (&raw const _stack_start_cpu0) as usize
}

/// Paints the unused part of the main stack. Call once, early, from the main stack, before
/// `esp_hal::init` arms the guard.
#[inline(never)]
pub fn paint() {
    let pointer: usize;
    // Safety: reads a register and nothing else.
    unsafe { asm!("mv {0}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    // Room for what this function itself and an interrupt may push meanwhile.
    let end = pointer - 256;
    // Safety: between the stack's lowest address and well below the stack pointer is nothing that
    // anybody reads; aligned, as `bottom` is.
    unsafe { paint_between(bottom(), end) };
    MARK.store(end, Relaxed);
}

/// Paints memory.
///
/// # Safety
/// Nobody uses the memory from `start` up to `end`, and `start` is a multiple of 4.
pub(crate) unsafe fn paint_between(start: usize, end: usize) {
    for address in (start..end).step_by(4) {
        // Safety: the caller's promise.
        unsafe { (address as *mut u32).write_volatile(PAINT) };
    }
}

/// Arms the guard again, which a nested interrupt disarms.
///
/// Taking a trap moves `tcontrol.mte`, which lets watchpoints fire, to `tcontrol.mpte`, and `mret`
/// moves it back (RISC-V Debug Support 0.13.2, 5.2.9); a second trap within the first overwrites
/// `mpte` with 0, and esp-hal, which nests interrupts, does not save it. So every task that works on
/// input from outside arms the guard before it does.
#[inline]
pub fn arm_guard() {
    // Safety: sets one bit, with which watchpoints fire; the only one is esp-hal's on the guard word.
    unsafe { asm!("csrsi 0x7A5, 8", options(nomem, nostack, preserves_flags)) };
}

/// The main stack: its size, and the most of it that was ever used; all of it before [`paint`].
pub fn sample() -> StackSample {
    let (bottom, top) = (bottom(), top());
    let mark = MARK.load(Relaxed).max(bottom);
    let part_bytes = ((top - bottom) / PARTS).next_multiple_of(4);
    let part = PART.load(Relaxed);
    PART.store((part + 1) % PARTS, Relaxed);
    let part_start = bottom + part * part_bytes;
    let mut mark = lowest_used(part_start, (part_start + part_bytes).min(mark)).unwrap_or(mark);
    while let Some(lower) = lowest_used(mark.saturating_sub(WINDOW_BYTES).max(bottom), mark) {
        mark = lower;
    }
    MARK.store(mark, Relaxed);
    StackSample {
        // Fits.
        name: heapless::String::try_from("main").unwrap_or_default(),
        size: (top - bottom + GUARD_BYTES) as u32,
        used_max: (top - mark) as u32,
    }
}

/// The lowest address from `start` up to `end`, all of it RAM, whose paint is gone.
pub(crate) fn lowest_used(start: usize, end: usize) -> Option<usize> {
    (start..end).step_by(4).find(|address| {
        // Safety: within a stack, aligned; any bits are a valid `u32`. Volatile, as the compiler does
        // not know of other writes.
        unsafe { (*address as *const u32).read_volatile() != PAINT }
    })
}
