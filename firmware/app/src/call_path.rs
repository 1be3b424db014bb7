//! Who called: return addresses from the frame-pointer chain.
//!
//! With `-C force-frame-pointers` register s0 points just above a function's saved return address
//! (`[s0 - 4]`) and its caller's s0 (`[s0 - 8]`). Code without frame pointers, such as the radio's,
//! ends the chain; whatever is found on the way is checked against the memory map first.

#![allow(unsafe_code)]

use core::arch::asm;

use crate::chip::{CODE, STACKS};

/// Return addresses from the caller of the function this is used in, outwards, until `path` is full.
#[inline(always)]
pub fn capture<const DEPTH: usize>(path: &mut heapless::Vec<u32, DEPTH>) {
    let frame: u32;
    // Safety: reads a register and nothing else.
    unsafe { asm!("mv {0}, s0", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    walk(frame, path);
}

/// As [`capture`], from a given frame pointer.
pub fn walk<const DEPTH: usize>(mut frame: u32, path: &mut heapless::Vec<u32, DEPTH>) {
    let frames = STACKS.start + 8..=STACKS.end;
    while frame.is_multiple_of(4) && frames.contains(&frame) {
        // Safety: both words lie in internal SRAM and are aligned, and any bits are a valid `u32`;
        // volatile, as the compiler does not know of these writes.
        let (return_address, outer) = unsafe {
            let top = frame as *const u32;
            (top.sub(1).read_volatile(), top.sub(2).read_volatile())
        };
        if !CODE.iter().any(|code| code.contains(&return_address))
            || path.push(return_address).is_err()
            // The stack grows down: an outer frame is higher, or the chain is broken.
            || outer <= frame
        {
            return;
        }
        frame = outer;
    }
}
