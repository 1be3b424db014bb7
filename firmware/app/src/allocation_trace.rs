//! The allocation trace: every allocation and free, with who asked, over RTT up channel 2.
//!
//! esp-alloc calls the two hooks outside its lock, for Rust's allocations and for the C `malloc` of
//! the radio driver alike; a `realloc` shows as an allocation and a free.

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_time::Instant;
use esp_alloc::{EspHeap, MemoryCapability, export::enumset::EnumSet};
use firmware_wire::{CallPath, TRACE_FRAME_BYTES_MAX, TraceEvent, TraceFrame, encode};
use rtt_target::UpChannel;

use crate::{call_path, heap, rtt, threads};

static SENDER: Mutex<RefCell<Option<Sender>>> = Mutex::new(RefCell::new(None));

struct Sender {
    channel: UpChannel,
    boot: u32,
    /// Rises with every event while the trace is on, sent or not.
    sequence: u32,
    enabled: bool,
}

/// Sends events to `channel` from now on, as those of boot number `boot`. Call before the heap has
/// its first region, so that the trace is complete.
pub fn init(channel: UpChannel, boot: u32) {
    let sender = Sender {
        channel,
        boot,
        sequence: 0,
        enabled: true,
    };
    critical_section::with(|cs| SENDER.replace(cs, Some(sender)));
}

/// Turns the trace on or off. Events while it is off are not numbered: nobody asked for them, so they
/// are not lost. Turned on it begins anew, with the heap's regions, as at boot.
pub fn set_enabled(enabled: bool) {
    critical_section::with(|cs| {
        if let Some(sender) = SENDER.borrow(cs).borrow_mut().as_mut() {
            sender.enabled = enabled;
        }
    });
    if enabled {
        heap::trace_regions();
    }
}

/// Sends one event, or uses up its sequence number when there is no room; nothing while the trace is off.
pub fn send(event: TraceEvent) {
    critical_section::with(|cs| {
        let Ok(mut sender) = SENDER.borrow(cs).try_borrow_mut() else {
            return;
        };
        let Some(sender) = sender.as_mut() else {
            return;
        };
        if !sender.enabled {
            return;
        }
        let sequence = sender.sequence;
        sender.sequence = sequence.wrapping_add(1);
        let frame = TraceFrame {
            boot: sender.boot,
            sequence,
            uptime_us: Instant::now().as_micros(),
            event,
        };
        let mut buffer = [0; TRACE_FRAME_BYTES_MAX];
        // A frame always fits, see `firmware_wire::Frame::BYTES_MAX`.
        if let Ok(bytes) = encode(&frame, &mut buffer) {
            rtt::write_whole(&mut sender.channel, bytes);
        }
    });
}

/// esp-alloc's hook: something was allocated, or with address 0: could not be.
// Safety of the name: esp-alloc's feature `alloc-hooks` declares exactly this symbol and signature,
// and nothing else in the image defines it (a second definition would not link).
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "Rust" fn _esp_alloc_alloc(
    heap: &EspHeap,
    _capabilities: EnumSet<MemoryCapability>,
    address: usize,
    size: usize,
) {
    if !heap::count_allocation(heap, address != 0) {
        return;
    }
    if address != 0 {
        threads::note_block(address, size);
    }
    let mut path = CallPath::new();
    call_path::capture(&mut path);
    let size = size as u32;
    send(match address {
        0 => TraceEvent::Failed { size, path },
        _ => TraceEvent::Allocated {
            address: address as u32,
            size,
            path,
        },
    });
}

/// esp-alloc's hook: something is about to be freed.
// Safety of the name: as above.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[inline(never)]
extern "Rust" fn _esp_alloc_dealloc(_heap: &EspHeap, address: usize, size: usize) {
    if address == 0 || !heap::count_free() {
        return;
    }
    send(TraceEvent::Freed {
        address: address as u32,
        size: size as u32,
    });
}
