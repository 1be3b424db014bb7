//! Counters that several tasks add to, and the samples made of them.

use core::cell::Cell;

use critical_section::Mutex;
use firmware_control::DeviceStatus;
use firmware_wire::{BufferSample, NetworkSample};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::{heap, stack};

/// A count that only rises, or a maximum.
#[derive(Debug)]
pub struct Counter(AtomicU32);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more.
    pub fn increment(&self) {
        self.0.add(1, Relaxed);
    }

    /// `value`, if it is more than ever before.
    pub fn raise_to(&self, value: usize) {
        self.0
            .fetch_max(u32::try_from(value).unwrap_or(u32::MAX), Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Frames received by the network driver.
pub static FRAMES_RECEIVED: Counter = Counter::new();
/// Frames sent by the network driver.
pub static FRAMES_SENT: Counter = Counter::new();
/// Frames that the driver had to discard.
pub static FRAMES_DISCARDED: Counter = Counter::new();
/// MQTT messages published.
pub static MESSAGES_PUBLISHED: Counter = Counter::new();
/// Commands received.
pub static COMMANDS_RECEIVED: Counter = Counter::new();
/// MQTT sessions opened.
pub static SESSIONS_OPENED: Counter = Counter::new();
/// The most bytes ever used of the MQTT message buffer.
pub static MQTT_BUFFER_USED_MAX: Counter = Counter::new();
/// The most bytes ever used of the JSON in it.
pub static JSON_USED_MAX: Counter = Counter::new();
/// The most bytes ever used of the messages kept until they are acknowledged.
pub static OUTBOX_USED_MAX: Counter = Counter::new();
/// The most bytes ever used of the HTTP server's buffers.
pub static HTTP_BUFFER_USED_MAX: Counter = Counter::new();
/// Telemetry messages dropped because the queue was full.
pub static TELEMETRY_DROPPED: Counter = Counter::new();
/// Other messages dropped because the queue was full.
pub static MESSAGES_DROPPED: Counter = Counter::new();
/// HTTP requests answered.
pub static HTTP_REQUESTS: Counter = Counter::new();
/// Messages that wait for the broker now.
pub static MESSAGES_QUEUED: AtomicU32 = AtomicU32::new(0);
/// Whether an MQTT session is open.
pub static MQTT_CONNECTED: AtomicBool = AtomicBool::new(false);

static BOOT_COUNT: AtomicU32 = AtomicU32::new(0);

/// Boots since the flash was erased; 0 before [`set_boot_count`].
pub fn boot_count() -> u32 {
    BOOT_COUNT.load(Relaxed)
}

/// Notes which boot this is.
pub fn set_boot_count(count: u32) {
    BOOT_COUNT.store(count, Relaxed);
}

/// The firmware's own buffers.
pub fn buffer_sample() -> BufferSample {
    BufferSample {
        mqtt_used_max: MQTT_BUFFER_USED_MAX.get(),
        json_used_max: JSON_USED_MAX.get(),
        outbox_used_max: OUTBOX_USED_MAX.get(),
        http_used_max: HTTP_BUFFER_USED_MAX.get(),
    }
}

/// The network counters.
pub fn network_sample() -> NetworkSample {
    NetworkSample {
        frames_received: FRAMES_RECEIVED.get(),
        frames_sent: FRAMES_SENT.get(),
        frames_discarded: FRAMES_DISCARDED.get(),
        messages_published: MESSAGES_PUBLISHED.get(),
        commands_received: COMMANDS_RECEIVED.get(),
        sessions_opened: SESSIONS_OPENED.get(),
        messages_queued: MESSAGES_QUEUED.load(Relaxed),
        telemetry_dropped: TELEMETRY_DROPPED.get(),
        messages_dropped: MESSAGES_DROPPED.get(),
        http_requests: HTTP_REQUESTS.get(),
    }
}

/// What the controller reports of the device.
pub fn device_status() -> DeviceStatus {
    let heap = heap::sample();
    let stack = stack::sample();
    let (buffers, network) = (buffer_sample(), network_sample());
    DeviceStatus {
        mqtt_connected: MQTT_CONNECTED.load(Relaxed),
        heap_free: heap.free,
        heap_free_min: heap.free_min,
        largest_free_block: heap.largest_free_block,
        stack_size: stack.size,
        stack_used_max: stack.used_max,
        heap_refused: heap.refused,
        mqtt_used_max: buffers.mqtt_used_max,
        json_used_max: buffers.json_used_max,
        outbox_used_max: buffers.outbox_used_max,
        http_used_max: buffers.http_used_max,
        frames_received: network.frames_received,
        frames_sent: network.frames_sent,
        messages_published: network.messages_published,
        commands_received: network.commands_received,
        sessions_opened: network.sessions_opened,
        messages_queued: network.messages_queued,
        telemetry_dropped: network.telemetry_dropped,
        messages_dropped: network.messages_dropped,
        http_requests: network.http_requests,
        boot_count: boot_count(),
    }
}

/// Why the latest MQTT session ended or could not be opened; empty when one is open, or none was tried.
static LAST_ERROR: Mutex<Cell<&'static str>> = Mutex::new(Cell::new(""));

/// Notes why there is no MQTT session.
pub fn set_last_error(reason: &'static str) {
    critical_section::with(|cs| LAST_ERROR.borrow(cs).set(reason));
}

/// Why there is no MQTT session, if that is known.
#[must_use]
pub fn last_error() -> Option<&'static str> {
    let reason = critical_section::with(|cs| LAST_ERROR.borrow(cs).get());
    (!reason.is_empty()).then_some(reason)
}
