//! What survives a reset, in RTC memory: the boot count, the mark of a panic, a fault to play.
//!
//! RTC fast memory keeps its content over every reset but a power-on (ESP32-C3 Technical Reference
//! Manual, chapter "Reset and Clock"). After a power-on it holds anything, so the record carries a
//! check word.

#![allow(unsafe_code)]

use portable_atomic::{AtomicU32, Ordering::Relaxed};

/// What survives a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootMemory {
    /// Boots since the flash was erased, as far as RTC memory knows; 0 after a loss of power.
    pub boot_count: u32,
    /// Whether the boot before ended in a panic.
    pub panicked: bool,
    /// A fault to be played at the next boot, see `faults`; 0 for none.
    pub fault: u32,
}

const WORDS: usize = 4;

/// The record: boot count, panicked, fault, check word.
#[esp_hal::ram(unstable(rtc_fast, persistent))]
static mut RECORD: [u32; WORDS] = [0; WORDS];

impl BootMemory {
    /// The record as it is now; zeros when it holds none.
    pub fn load() -> Self {
        let words = words().map(|word| word.load(Relaxed));
        if words[3] != check(words[0], words[1], words[2]) {
            return Self::default();
        }
        Self {
            boot_count: words[0],
            panicked: words[1] != 0,
            fault: words[2],
        }
    }

    /// Keeps this record over the next reset.
    pub fn store(self) {
        let panicked = u32::from(self.panicked);
        let check = check(self.boot_count, panicked, self.fault);
        for (word, value) in words()
            .into_iter()
            .zip([self.boot_count, panicked, self.fault, check])
        {
            word.store(value, Relaxed);
        }
    }
}

/// Marks that this boot ended in a panic.
pub fn mark_panic() {
    BootMemory {
        panicked: true,
        ..BootMemory::load()
    }
    .store();
}

fn words() -> [&'static AtomicU32; WORDS] {
    let first = (&raw mut RECORD).cast::<u32>();
    core::array::from_fn(|i| {
        // Safety: `i` is within `RECORD`, which is aligned, lives forever, and is never accessed but
        // through these atomics.
        unsafe { AtomicU32::from_ptr(first.add(i)) }
    })
}

/// Not zero for zeros, so that cleared memory is no record.
fn check(boot_count: u32, panicked: u32, fault: u32) -> u32 {
    [boot_count, panicked, fault]
        .into_iter()
        .fold(0x1B00_7C0D, |sum: u32, word| {
            (sum ^ word).wrapping_mul(0x0100_0193).rotate_left(5)
        })
}
