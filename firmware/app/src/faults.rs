//! Faults on command, so that the bench can be shown to notice them. Only with `test-hooks`.
//!
//! Those that strike at a boot are kept in RTC memory, and taken out of it before they strike: one
//! more reset always brings a healthy device back.

#![allow(unsafe_code)]

use alloc::{boxed::Box, vec::Vec};
use core::cell::RefCell;

use critical_section::Mutex;
use embassy_futures::select::{Either, select};
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::{Duration, Instant, Timer};
use firmware_wire::{DeviceBody, Fault};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::{boot_memory::BootMemory, heap, telemetry, watchdog};

static STARVE_WATCHDOG: AtomicBool = AtomicBool::new(false);
static NEVER_CONNECT: AtomicBool = AtomicBool::new(false);
static LEAK_BYTES: AtomicU32 = AtomicU32::new(0);
static LEAK_PLAN: Signal<CriticalSectionRawMutex, LeakPlan> = Signal::new();
/// Until when the network is dropped.
static NETWORK_DROPPED: Signal<CriticalSectionRawMutex, Instant> = Signal::new();
static GARBLE: AtomicU32 = AtomicU32::new(0);
static CUT: AtomicU32 = AtomicU32::new(0);
static LOSE: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    /// rtt-target's control block; begins with its 16-byte identifier.
    static mut _SEGGER_RTT: [u8; 16];
}

/// Plays `fault`, which was announced.
pub fn play(fault: Fault) {
    match fault {
        Fault::Panic => {
            let (requested, available) = core::hint::black_box((42, 7));
            // Longer than a frame of telemetry and a line of the log.
            let table: [u16; 150] =
                core::hint::black_box(core::array::from_fn(|i| 1_000 + i as u16));
            panic!("injected panic: {requested} requested, {available} available, of {table:?}");
        }
        Fault::PanicAtBoot => keep_for_boot(AtBoot::Panic),
        Fault::HangAtBoot => keep_for_boot(AtBoot::Hang),
        Fault::NeverConnect => keep_for_boot(AtBoot::NeverConnect),
        Fault::LoadFault => load_fault(),
        // Without interrupts: one that nests would disarm the guard, and what then happens to the
        // memory below the stack is chance.
        Fault::StackOverflow => critical_section::with(|_| {
            crate::stack::arm_guard();
            overflow_stack()
        }),
        Fault::Hang => loop {
            watchdog::feed();
        },
        Fault::StopFeedingWatchdog => {
            // Once more, as a debugger may have turned it off.
            watchdog::feed();
            STARVE_WATCHDOG.store(true, Relaxed);
        }
        Fault::Reset => esp_hal::system::software_reset(),
        Fault::Leak { bytes } => LEAK_BYTES.store(bytes, Relaxed),
        Fault::LeakEvery {
            bytes,
            interval_ms,
            site,
        } => LEAK_PLAN.signal(LeakPlan {
            bytes: bytes as usize,
            interval: Duration::from_millis(interval_ms.into()),
            site,
        }),
        Fault::FragmentHeap { blocks, bytes } => fragment_heap(blocks.into(), bytes.into()),
        Fault::FillHeap { leave_bytes } => fill_heap(leave_bytes as usize),
        Fault::DeepenStack { bytes } => deepen_stack(bytes),
        Fault::BlockControlLoop { duration_ms } => {
            embassy_time::block_for(Duration::from_millis(duration_ms.into()));
        }
        Fault::DropNetwork { duration_ms } => {
            NETWORK_DROPPED.signal(Instant::now() + Duration::from_millis(duration_ms.into()));
        }
        // Kept in flash by whoever has it: `control_channel`.
        Fault::Mutant { .. } => {}
        Fault::GarbleTelemetry { frames } => GARBLE.store(frames, Relaxed),
        Fault::CutTelemetry { frames } => CUT.store(frames, Relaxed),
        Fault::LoseTelemetry { frames } => LOSE.store(frames, Relaxed),
        Fault::OverwriteRttControlBlock => {
            // Safety: none, on purpose: this is the damage that a stray pointer would do. Nothing in
            // this image reads the identifier; the host does.
            unsafe { (&raw mut _SEGGER_RTT).write_volatile([0xA5; 16]) };
        }
    }
}

/// A fault that is kept for the next boot.
#[derive(Clone, Copy)]
enum AtBoot {
    Panic = 1,
    Hang = 2,
    NeverConnect = 3,
}

fn keep_for_boot(fault: AtBoot) {
    BootMemory {
        fault: fault as u32,
        ..BootMemory::load()
    }
    .store();
}

/// Hangs, when that was kept for this boot; before the watchdog is started and anything is sent.
/// `fault` is what [`BootMemory`] held.
pub fn strike_before_hello(fault: u32) {
    if fault == AtBoot::Hang as u32 {
        loop {
            core::hint::spin_loop();
        }
    }
}

/// Panics, or keeps the device from connecting, when that was kept for this boot; announced.
pub fn strike_after_hello(fault: u32) {
    if fault == AtBoot::Panic as u32 {
        telemetry::send(DeviceBody::Fault(Fault::PanicAtBoot));
        panic!("injected panic at boot {}", crate::status::boot_count());
    }
    if fault == AtBoot::NeverConnect as u32 {
        telemetry::send(DeviceBody::Fault(Fault::NeverConnect));
        NEVER_CONNECT.store(true, Relaxed);
    }
}

/// Whether the watchdog is to be fed no more.
pub fn watchdog_starves() -> bool {
    STARVE_WATCHDOG.load(Relaxed)
}

/// Whether the device is to stay away from the broker for this boot.
pub fn never_connects() -> bool {
    NEVER_CONNECT.load(Relaxed)
}

/// Leaks at a command, when that was asked for.
#[inline(never)]
pub fn leak_at_command() {
    let bytes = LEAK_BYTES.load(Relaxed) as usize;
    if bytes > 0 {
        leak(bytes, 0x1E);
    }
}

/// A leak that goes on.
#[derive(Clone, Copy)]
struct LeakPlan {
    bytes: usize,
    interval: Duration,
    site: u8,
}

/// Leaks at an interval, once that was asked for.
#[embassy_executor::task]
pub async fn leak_task() -> ! {
    let mut plan = LEAK_PLAN.wait().await;
    loop {
        if plan.interval == Duration::MIN {
            plan = LEAK_PLAN.wait().await;
            continue;
        }
        match select(LEAK_PLAN.wait(), Timer::after(plan.interval)).await {
            Either::First(new) => plan = new,
            Either::Second(()) => match plan.site % 4 {
                0 => leak_in_the_parser(plan.bytes),
                1 => leak_in_the_session(plan.bytes),
                2 => leak_in_the_sampler(plan.bytes),
                _ => leak_in_the_server(plan.bytes),
            },
        }
    }
}

// Four places, so that the allocation trace has four call paths to tell apart.

#[inline(never)]
fn leak_in_the_parser(bytes: usize) {
    leak(bytes, 0xA0);
}

#[inline(never)]
fn leak_in_the_session(bytes: usize) {
    leak(bytes, 0xA1);
}

#[inline(never)]
fn leak_in_the_sampler(bytes: usize) {
    leak(bytes, 0xA2);
}

#[inline(never)]
fn leak_in_the_server(bytes: usize) {
    leak(bytes, 0xA3);
}

fn leak(bytes: usize, fill: u8) {
    // `black_box`, or the compiler leaves the allocation out, as nobody looks at it.
    let block: Box<[u8]> = alloc::vec![fill; bytes].into_boxed_slice();
    core::hint::black_box(Box::leak(block));
}

/// Leaves `blocks / 2` blocks with a hole between any two.
#[inline(never)]
fn fragment_heap(blocks: usize, bytes: usize) {
    let mut held: Vec<Option<Box<[u8]>>> = Vec::with_capacity(blocks);
    for _ in 0..blocks {
        held.push(Some(alloc::vec![0xF7; bytes].into_boxed_slice()));
    }
    for block in held.iter_mut().step_by(2) {
        *block = None;
    }
    for block in held.into_iter().flatten() {
        core::hint::black_box(Box::leak(block));
    }
}

/// Takes all of the heap but `leave` bytes, after what was taken before was given back.
#[inline(never)]
fn fill_heap(leave: usize) {
    // Each takes the largest block: few are needed, whatever the fragmentation.
    const BLOCKS_MAX: usize = 32;
    static TAKEN: Mutex<RefCell<heapless::Vec<Vec<u8>, BLOCKS_MAX>>> =
        Mutex::new(RefCell::new(heapless::Vec::new()));
    critical_section::with(|cs| {
        let mut taken = TAKEN.borrow_ref_mut(cs);
        taken.clear();
        while !taken.is_full() {
            let surplus = esp_alloc::HEAP.free().saturating_sub(leave);
            let bytes = surplus.min(heap::largest_free_block() as usize);
            let mut block = Vec::new();
            if bytes == 0 || block.try_reserve_exact(bytes).is_err() {
                return;
            }
            // Checked just above.
            let _ = taken.push(block);
        }
    });
}

/// Uses at least `bytes` of stack.
#[inline(never)]
fn deepen_stack(bytes: u32) {
    const FRAME_BYTES: usize = 256;
    let mut frame = [0x5A_u8; FRAME_BYTES];
    core::hint::black_box(&mut frame);
    if let Some(rest) = bytes.checked_sub(FRAME_BYTES as u32) {
        deepen_stack(rest);
    }
    // After the call, so that the frame is not given up before it.
    core::hint::black_box(&mut frame);
}

/// Ends when the network is to be dropped; says until when. That may be over: the driver may have
/// had nothing to drop before.
pub(crate) async fn network_dropped() -> Instant {
    NETWORK_DROPPED.wait().await
}

/// What is left of a telemetry frame: all of it, something else, less, or nothing.
pub(crate) fn mangle_telemetry(bytes: &mut [u8]) -> Option<&[u8]> {
    if take_one(&LOSE) {
        return None;
    }
    if take_one(&CUT) {
        return Some(&bytes[..bytes.len() / 2]);
    }
    if take_one(&GARBLE) {
        // The last byte is the frame's end, and no other may be 0.
        let end = bytes.len() - 1;
        for byte in bytes[..end].iter_mut().skip(2).step_by(3) {
            *byte = if *byte == 0x55 { 0xAA } else { *byte ^ 0x55 };
        }
    }
    Some(bytes)
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
        .is_ok()
}

#[inline(never)]
fn load_fault() {
    let unmapped = core::hint::black_box(crate::chip::UNMAPPED as *const u32);
    // Safety: none, on purpose; the load traps.
    let value = unsafe { unmapped.read_volatile() };
    defmt::error!(
        "no load fault at {=u32:#x}: {=u32:#x}",
        unmapped as u32,
        value
    );
}

/// Uses up the stack, word by word. Frames of calls would not do: whether one of them writes the
/// very word that the guard watches is chance, because frames have gaps.
#[inline(never)]
fn overflow_stack() -> ! {
    // Safety: none, on purpose. It ends at the guard word, whose watchpoint traps; if that fails,
    // what lies below the stack is lost, and the watchdog ends it.
    unsafe {
        core::arch::asm!(
            "2:",
            "addi sp, sp, -4",
            "sw zero, 0(sp)",
            "j 2b",
            options(noreturn)
        )
    }
}
