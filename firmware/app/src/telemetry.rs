//! Frames to the bench over RTT up channel 1, and the samples sent at an interval.

use core::{cell::RefCell, iter};

use critical_section::Mutex;
use embassy_futures::select::{Either, select};
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::{Duration, Instant, Timer};
use firmware_wire::{DEVICE_FRAME_BYTES_MAX, DeviceBody, DeviceFrame, MemorySample, encode};
use rtt_target::UpChannel;

use crate::{heap, log, rtt, stack, status, threads};

/// The interval of the samples until the bench sets another.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

static SENDER: Mutex<RefCell<Option<Sender>>> = Mutex::new(RefCell::new(None));
static INTERVAL: Signal<CriticalSectionRawMutex, Duration> = Signal::new();

struct Sender {
    channel: UpChannel,
    boot: u32,
    sequence: u32,
}

/// Sends frames to `channel` from now on, as those of boot number `boot`.
pub fn init(channel: UpChannel, boot: u32) {
    let sender = Sender {
        channel,
        boot,
        sequence: 0,
    };
    critical_section::with(|cs| SENDER.replace(cs, Some(sender)));
}

/// Sends one frame, or uses up its sequence number when there is no room.
///
/// Does nothing before [`init`], and within a panic that struck while a frame was sent.
pub fn send(body: DeviceBody) {
    critical_section::with(|cs| {
        let Ok(mut sender) = SENDER.borrow(cs).try_borrow_mut() else {
            return;
        };
        let Some(sender) = sender.as_mut() else {
            return;
        };
        let frame = DeviceFrame {
            boot: sender.boot,
            sequence: sender.sequence,
            uptime_us: Instant::now().as_micros(),
            body,
        };
        sender.sequence = sender.sequence.wrapping_add(1);
        let mut buffer = [0; DEVICE_FRAME_BYTES_MAX];
        // A frame always fits, see `firmware_wire::Frame::BYTES_MAX`; what does not get into the
        // channel is missed by its number.
        if let Ok(bytes) = encode(&frame, &mut buffer) {
            let length = bytes.len();
            write(&mut sender.channel, &mut buffer[..length]);
        }
    });
}

#[cfg(not(feature = "test-hooks"))]
fn write(channel: &mut UpChannel, bytes: &mut [u8]) {
    rtt::write_whole(channel, bytes);
}

#[cfg(feature = "test-hooks")]
fn write(channel: &mut UpChannel, bytes: &mut [u8]) {
    if let Some(bytes) = crate::faults::mangle_telemetry(bytes) {
        rtt::write_whole(channel, bytes);
    }
}

/// Whether the host has read all frames.
pub fn is_drained() -> bool {
    critical_section::with(|cs| {
        SENDER.borrow(cs).try_borrow().is_ok_and(|sender| {
            sender
                .as_ref()
                .is_none_or(|sender| sender.channel.is_empty())
        })
    })
}

/// Sets the interval of the samples.
pub fn set_interval(interval: Duration) {
    INTERVAL.signal(interval);
}

/// Sends a memory and a network sample at the interval, the first one at once.
#[embassy_executor::task]
pub async fn task() -> ! {
    let mut interval = INTERVAL_DEFAULT;
    let mut next = Instant::now();
    loop {
        match select(Timer::at(next), INTERVAL.wait()).await {
            Either::First(()) => {
                stack::arm_guard();
                send(DeviceBody::Memory(memory_sample()));
                send(DeviceBody::Network(status::network_sample()));
                let lost = log::take_lost();
                if lost > 0 {
                    defmt::warn!("{=u32} log lines did not fit the channel", lost);
                }
                next += interval;
                // After a pause, as at a breakpoint: no burst to make up for it.
                next = next.max(Instant::now());
            }
            Either::Second(new) => {
                interval = new;
                next = Instant::now() + interval;
            }
        }
    }
}

/// The memory of the device now.
pub fn memory_sample() -> MemorySample {
    MemorySample {
        heap: heap::sample(),
        stacks: iter::once(stack::sample())
            .chain(threads::samples())
            .collect(),
        buffers: status::buffer_sample(),
    }
}
