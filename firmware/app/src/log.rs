//! defmt's logger: a whole frame into RTT, or none.
//!
//! rtt-target's own logger hands each piece of a frame to the channel as it is encoded; with a full
//! channel that leaves frames cut in the middle, which the host decodes to nonsense. Here a frame is
//! put together first and written once. What could not be written is counted.

#![allow(unsafe_code)]

use core::{cell::UnsafeCell, mem};

use portable_atomic::{AtomicU32, Ordering::Relaxed};
use rtt_target::UpChannel;

/// The longest log frame, bytes: a panic's whole message fits.
const FRAME_BYTES_MAX: usize = 768;

static LOST: AtomicU32 = AtomicU32::new(0);
static LOGGER: Shared = Shared(UnsafeCell::new(State {
    channel: None,
    encoder: defmt::Encoder::new(),
    frame: Frame {
        bytes: [0; FRAME_BYTES_MAX],
        length: 0,
        overflow: false,
    },
    taken: false,
    restore: critical_section::RestoreState::invalid(),
}));

#[defmt::global_logger]
struct Logger;

struct State {
    channel: Option<UpChannel>,
    encoder: defmt::Encoder,
    frame: Frame,
    /// Between `acquire` and `release`.
    taken: bool,
    restore: critical_section::RestoreState,
}

struct Frame {
    bytes: [u8; FRAME_BYTES_MAX],
    length: usize,
    /// More bytes came than fit: the frame is dropped.
    overflow: bool,
}

impl Frame {
    fn push(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.length..self.length + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.overflow = true,
        }
    }
}

struct Shared(UnsafeCell<State>);

// Safety: the state is touched between `critical_section::acquire` and `release` only (`Logger`,
// `init`, `break_lock`), and the chip has one core.
unsafe impl Sync for Shared {}

/// Sends logs to `channel` from now on; earlier ones are lost.
pub fn init(channel: UpChannel) {
    // Safety: within a critical section, see `Shared`.
    critical_section::with(|_| unsafe { (*LOGGER.0.get()).channel = Some(channel) });
}

/// Log frames that were dropped since the last call: the channel was full, or they were too long.
pub fn take_lost() -> u32 {
    LOST.swap(0, Relaxed)
}

/// Gives up a frame that has begun, for a panic that struck while one was encoded.
pub fn break_lock() {
    // Safety: the chip has one core, and whoever held the lock does not run again: this is called by
    // the panic handler alone.
    unsafe { (*LOGGER.0.get()).taken = false };
}

/// Whether the host has read all logs.
pub fn is_drained() -> bool {
    critical_section::with(|_| {
        // Safety: within a critical section, see `Shared`.
        let state = unsafe { &*LOGGER.0.get() };
        state.channel.as_ref().is_none_or(UpChannel::is_empty)
    })
}

// Safety: `acquire` enters a critical section and refuses to be entered again, `release` leaves it:
// nothing else can log in between.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // Safety: paired with the release in `release`.
        let restore = unsafe { critical_section::acquire() };
        // Safety: within a critical section, see `Shared`.
        let state = unsafe { &mut *LOGGER.0.get() };
        assert!(!state.taken, "a log line was begun within another");
        state.taken = true;
        state.restore = restore;
        state.frame.length = 0;
        state.frame.overflow = false;
        let frame = &mut state.frame;
        state.encoder.start_frame(|bytes| frame.push(bytes));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // Safety: defmt calls this after `acquire`, so within its critical section.
        let state = unsafe { &mut *LOGGER.0.get() };
        let frame = &mut state.frame;
        state.encoder.end_frame(|bytes| frame.push(bytes));
        if let Some(channel) = &mut state.channel {
            let frame = &state.frame;
            if frame.overflow || !crate::rtt::write_whole(channel, &frame.bytes[..frame.length]) {
                LOST.add(1, Relaxed);
            }
        }
        state.taken = false;
        let restore = mem::replace(
            &mut state.restore,
            critical_section::RestoreState::invalid(),
        );
        // Safety: paired with the acquire in `acquire`, whose state this is.
        unsafe { critical_section::release(restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // Safety: defmt calls this between `acquire` and `release`, so within a critical section.
        let state = unsafe { &mut *LOGGER.0.get() };
        let frame = &mut state.frame;
        state.encoder.write(bytes, |bytes| frame.push(bytes));
    }
}
