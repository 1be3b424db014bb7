//! Internal memory: 400 KiB of SRAM, seen at two addresses, and 8 KiB of RTC memory.
//!
//! ESP32-C3 Technical Reference Manual, chapter "System and Memory". Data is reached at 0x3FC8_0000
//! (384 KiB), instructions at 0x4037_C000 (16 KiB that the cache leaves free, then the same 384 KiB); RTC
//! memory at 0x5000_0000 for both. It is one array here, so the two views can't disagree.
//!
//! The hart keeps decoded code. So this memory remembers which halfwords were decoded, and a store to one of
//! them, through either view, by the hart or by a peripheral, leaves a range of stale instruction addresses.
//!
//! Not modelled: the permission control of the PMS, and the cache's use of the first 16 KiB (it is plain
//! memory here).

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Start of the data view.
pub(crate) const DRAM_START: u32 = 0x3FC8_0000;
/// End of the data view.
pub(crate) const DRAM_END: u32 = 0x3FCE_0000;
/// Start of the instruction view, with the 16 KiB that have no data view.
pub(crate) const IRAM_START: u32 = 0x4037_C000;
/// End of the instruction view.
pub(crate) const IRAM_END: u32 = 0x403E_0000;
/// Start of RTC memory.
pub(crate) const RTC_START: u32 = 0x5000_0000;
/// End of RTC memory.
pub(crate) const RTC_END: u32 = 0x5000_2000;

/// Bytes below the data view's start that only the instruction view reaches.
const ICACHE_BYTES: u32 = DRAM_START_IN_IRAM - IRAM_START;
/// Where the data view begins, seen as instructions.
const DRAM_START_IN_IRAM: u32 = 0x4038_0000;
const INTERNAL_BYTES: usize = (IRAM_END - IRAM_START) as usize;
const RTC_BYTES: usize = (RTC_END - RTC_START) as usize;
/// All of it: instruction view, then RTC memory.
const BYTES: usize = INTERNAL_BYTES + RTC_BYTES;

/// Bytes one word of the watch map stands for: a bit a halfword, the finest an instruction can be.
const LINE_BYTES: usize = 64;

/// The internal memory of the chip, and the watch over code decoded from it.
pub(crate) struct Sram {
    bytes: Box<[u8; BYTES]>,
    /// One word a line; a bit is set for each halfword that belongs to decoded code.
    watched: Box<[u32; BYTES / LINE_BYTES]>,
    /// Instruction addresses whose decoded code no longer matches, since the last `take_stale`.
    stale: Option<Range<u32>>,
}

impl Sram {
    /// Without power: all zero, nothing watched.
    pub(crate) fn new() -> Sram {
        Sram {
            bytes: boxed_array(vec![0; BYTES]),
            watched: boxed_array(vec![0; BYTES / LINE_BYTES]),
            stale: None,
        }
    }

    /// Place of `length` bytes at `address` in the array; `None` when any of them is not internal memory.
    #[inline(always)]
    fn place(address: u32, length: u32) -> Option<usize> {
        let data = address.wrapping_sub(DRAM_START);
        if data <= (DRAM_END - DRAM_START) - length {
            return Some((data + ICACHE_BYTES) as usize);
        }
        let instruction = address.wrapping_sub(IRAM_START);
        if instruction <= (IRAM_END - IRAM_START) - length {
            return Some(instruction as usize);
        }
        let rtc = address.wrapping_sub(RTC_START);
        (rtc <= (RTC_END - RTC_START) - length).then_some(INTERNAL_BYTES + rtc as usize)
    }

    /// The word at `address`, which need not be aligned; `None` outside internal memory. So for the others.
    #[inline(always)]
    pub(crate) fn read_u32(&self, address: u32) -> Option<u32> {
        let place = Self::place(address, 4)?;
        Some(u32::from_le_bytes(
            self.bytes.get(place..place + 4)?.try_into().ok()?,
        ))
    }

    /// The halfword at `address`.
    #[inline(always)]
    pub(crate) fn read_u16(&self, address: u32) -> Option<u16> {
        let place = Self::place(address, 2)?;
        Some(u16::from_le_bytes(
            self.bytes.get(place..place + 2)?.try_into().ok()?,
        ))
    }

    /// The byte at `address`.
    #[inline(always)]
    pub(crate) fn read_u8(&self, address: u32) -> Option<u8> {
        self.bytes.get(Self::place(address, 1)?).copied()
    }

    /// Stores a word; `Some(true)` when decoded code lay there, `None` outside internal memory. So for the others.
    #[inline(always)]
    pub(crate) fn write_u32(&mut self, address: u32, value: u32) -> Option<bool> {
        let place = Self::place(address, 4)?;
        self.bytes
            .get_mut(place..place + 4)?
            .copy_from_slice(&value.to_le_bytes());
        // Both ends: a misaligned word may lie on two lines.
        let watched =
            *self.watched.get(place / LINE_BYTES)? | *self.watched.get((place + 3) / LINE_BYTES)?;
        Some(watched != 0 && self.stored(place, 4))
    }

    /// Stores a halfword.
    #[inline(always)]
    pub(crate) fn write_u16(&mut self, address: u32, value: u16) -> Option<bool> {
        let place = Self::place(address, 2)?;
        self.bytes
            .get_mut(place..place + 2)?
            .copy_from_slice(&value.to_le_bytes());
        let watched =
            *self.watched.get(place / LINE_BYTES)? | *self.watched.get((place + 1) / LINE_BYTES)?;
        Some(watched != 0 && self.stored(place, 2))
    }

    /// Stores a byte.
    #[inline(always)]
    pub(crate) fn write_u8(&mut self, address: u32, value: u8) -> Option<bool> {
        let place = Self::place(address, 1)?;
        *self.bytes.get_mut(place)? = value;
        Some(*self.watched.get(place / LINE_BYTES)? != 0 && self.stored(place, 1))
    }

    /// `length` bytes from `address` on; `None` when they leave internal memory.
    pub(crate) fn slice(&self, address: u32, length: u32) -> Option<&[u8]> {
        let place = Self::range(address, length)?;
        self.bytes.get(place)
    }

    /// As [`Sram::slice`], to be written: decoded code that lies there counts as changed.
    pub(crate) fn slice_mut(&mut self, address: u32, length: u32) -> Option<&mut [u8]> {
        let place = Self::range(address, length)?;
        self.stored(place.start, place.len());
        self.bytes.get_mut(place)
    }

    fn range(address: u32, length: u32) -> Option<Range<usize>> {
        // `place` subtracts the length from each region's size.
        if length as usize > BYTES {
            return None;
        }
        let region_bytes = match address {
            DRAM_START..DRAM_END => DRAM_END - address,
            IRAM_START..IRAM_END => IRAM_END - address,
            RTC_START..RTC_END => RTC_END - address,
            _ => return None,
        };
        if length > region_bytes {
            return None;
        }
        let start = Self::place(address, 0)?;
        Some(start..start + length as usize)
    }

    /// Remembers that instructions in `start..end` (instruction addresses) were decoded.
    pub(crate) fn watch(&mut self, start: u32, end: u32) {
        let Some(place) = Self::range(start, end.saturating_sub(start)) else {
            return;
        };
        for halfword in place.start / 2..place.end.div_ceil(2) {
            self.watched[halfword * 2 / LINE_BYTES] |= 1 << (halfword % (LINE_BYTES / 2));
        }
    }

    /// Bytes at `place` were stored to: when decoded code lay there, their lines become stale and are watched
    /// no longer (the hart drops every block that touches a stale line, and watches anew what it decodes).
    #[cold]
    fn stored(&mut self, place: usize, length: usize) -> bool {
        let mut hit = false;
        if length == 0 {
            return hit;
        }
        for line in place / LINE_BYTES..=(place + length - 1) / LINE_BYTES {
            if self.watched[line] == 0 {
                continue;
            }
            let line_start = line * LINE_BYTES;
            let first = place.max(line_start) / 2 % (LINE_BYTES / 2);
            let last = (place + length).min(line_start + LINE_BYTES).div_ceil(2) - 1;
            let last = last % (LINE_BYTES / 2);
            let bits = (u32::MAX >> (LINE_BYTES / 2 - 1 - last)) & (u32::MAX << first);
            if self.watched[line] & bits != 0 {
                self.watched[line] = 0;
                self.mark_stale(line_start);
                hit = true;
            }
        }
        hit
    }

    fn mark_stale(&mut self, line_start: usize) {
        let start = match line_start.checked_sub(INTERNAL_BYTES) {
            Some(rtc) => RTC_START + rtc as u32,
            None => IRAM_START + line_start as u32,
        };
        let end = start + LINE_BYTES as u32;
        self.stale = Some(match self.stale.take() {
            Some(range) => range.start.min(start)..range.end.max(end),
            None => start..end,
        });
    }

    /// Instruction addresses that became stale since the last call, as one range around all of them.
    #[inline]
    pub(crate) fn take_stale(&mut self) -> Option<Range<u32>> {
        self.stale.take()
    }

    /// Power was off: every cell falls to one side or the other, chosen from `seed`.
    ///
    /// A real chip's cells lean, and keep their contents over a short loss of power. Even noise is the harder case
    /// for firmware that takes what it finds for its own.
    pub(crate) fn power_on(&mut self, seed: u64) {
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(self.bytes.as_mut_slice());
        self.watched.fill(0);
        self.stale = Some(IRAM_START..RTC_END);
    }

    /// The digital system was reset: SRAM becomes undefined (here it keeps its bytes, as the real chip mostly
    /// does), RTC memory is kept; decoded code is dropped by the hart.
    pub(crate) fn forget_code(&mut self) {
        self.watched.fill(0);
        self.stale = None;
    }
}

fn boxed_array<T: std::fmt::Debug, const N: usize>(values: Vec<T>) -> Box<[T; N]> {
    values
        .into_boxed_slice()
        .try_into()
        .expect("the vector has the array's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_each_view() {
        fn check(write: u32, read: u32, expected: Option<u32>) {
            let mut sram = Sram::new();
            if sram.write_u32(write, 0x1234_5678).is_none() {
                assert_eq!(None, expected, "write {write:#x}");
                return;
            }
            assert_eq!(
                sram.read_u32(read),
                expected,
                "written {write:#x}, read {read:#x}"
            );
        }
        check(0x3FC8_0000, 0x3FC8_0000, Some(0x1234_5678));
        check(0x3FC8_0000, 0x4038_0000, Some(0x1234_5678));
        check(0x403D_FFFC, 0x3FCD_FFFC, Some(0x1234_5678));
        check(0x4037_C000, 0x4037_C000, Some(0x1234_5678));
        check(0x4037_C000, 0x3FC8_0000, Some(0));
        check(0x4037_C000, 0x3FC7_C000, None);
        check(0x5000_1FFC, 0x5000_1FFC, Some(0x1234_5678));
        check(0x3FC8_0001, 0x4038_0001, Some(0x1234_5678));
        check(0x3FCD_FFFD, 0, None);
        check(0x5000_2000, 0, None);
        check(0x403D_FFFE, 0, None);
        check(0, 0, None);
        check(0xFFFF_FFFF, 0, None);
    }

    #[test]
    fn a_store_to_decoded_code_is_noticed() {
        fn check(code: Range<u32>, store: u32, expected: Option<Range<u32>>) {
            let mut sram = Sram::new();
            sram.watch(code.start, code.end);
            let hit = sram.write_u32(store, 1);
            assert_eq!(hit, Some(expected.is_some()), "{code:x?} {store:#x}");
            assert_eq!(sram.take_stale(), expected, "{code:x?} {store:#x}");
            assert_eq!(sram.write_u32(store, 1), Some(false), "told once");
        }
        // The same view, the other view, beside it, across two lines, and in RTC memory.
        check(
            0x4038_0100..0x4038_0110,
            0x4038_0108,
            Some(0x4038_0100..0x4038_0140),
        );
        check(
            0x4038_0100..0x4038_0110,
            0x3FC8_0108,
            Some(0x4038_0100..0x4038_0140),
        );
        check(0x4038_0100..0x4038_0110, 0x3FC8_0110, None);
        check(0x4038_0104..0x4038_0110, 0x3FC8_0100, None);
        check(
            0x4038_0100..0x4038_0142,
            0x3FC8_013E,
            Some(0x4038_0100..0x4038_0180),
        );
        check(
            0x4038_0140..0x4038_0142,
            0x3FC8_013E,
            Some(0x4038_0140..0x4038_0180),
        );
        check(
            0x4037_C000..0x4037_C002,
            0x4037_C000,
            Some(0x4037_C000..0x4037_C040),
        );
        check(
            0x5000_0000..0x5000_0020,
            0x5000_001C,
            Some(0x5000_0000..0x5000_0040),
        );
        check(0x4200_0000..0x4200_0020, 0x4038_0000, None);
    }

    #[test]
    fn power_leaves_noise_that_follows_the_seed() {
        fn words(seed: u64) -> Vec<u32> {
            let mut sram = Sram::new();
            sram.power_on(seed);
            // The ends of each region.
            let places = [0x4037_C000, 0x403D_FFFC, 0x5000_0000, 0x5000_1FFC];
            places
                .map(|place| sram.read_u32(place).expect("inside"))
                .to_vec()
        }
        assert!(words(7).iter().all(|&word| word != 0 && word != u32::MAX));
        assert_eq!(words(7), words(7));
        assert_ne!(words(7), words(8));
    }

    #[test]
    fn power_makes_decoded_code_stale() {
        let mut sram = Sram::new();
        sram.watch(0x5000_0000, 0x5000_0004);
        sram.power_on(1);
        assert_eq!(sram.take_stale(), Some(0x4037_C000..0x5000_2000));
        assert_eq!(sram.write_u32(0x5000_0000, 1), Some(false));
    }

    #[test]
    fn bytes_and_halfwords_are_watched_too() {
        let mut sram = Sram::new();
        sram.watch(0x4038_0000, 0x4038_0002);
        assert_eq!(sram.write_u8(0x3FC8_0002, 1), Some(false));
        assert_eq!(sram.write_u8(0x3FC8_0001, 1), Some(true));
        sram.watch(0x4038_0000, 0x4038_0002);
        assert_eq!(sram.write_u16(0x3FC8_0000, 1), Some(true));
        assert_eq!(sram.read_u16(0x3FC8_0000), Some(1));
        assert_eq!(sram.read_u8(0x3FC8_0001), Some(0));
    }

    #[test]
    fn slices_stay_inside_one_region() {
        fn check(address: u32, length: u32, expected: bool) {
            let mut sram = Sram::new();
            assert_eq!(
                sram.slice(address, length).is_some(),
                expected,
                "{address:#x}+{length:#x}"
            );
            assert_eq!(
                sram.slice_mut(address, length).is_some(),
                expected,
                "{address:#x}+{length:#x}"
            );
        }
        check(0x3FC8_0000, 0x6_0000, true);
        check(0x3FC8_0000, 0x6_0001, false);
        check(0x3FCD_FFFF, 1, true);
        check(0x3FCD_FFFF, 2, false);
        check(0x4037_C000, 0x6_4000, true);
        check(0x5000_0000, 0x2000, true);
        check(0x5000_0000, u32::MAX, false);
        check(0x5000_0000, 0, true);
        check(0x6000_0000, 0, false);
    }

    #[test]
    fn writing_a_slice_makes_its_code_stale() {
        let mut sram = Sram::new();
        sram.watch(0x4038_0000, 0x4038_0004);
        sram.watch(0x4038_1000, 0x4038_1004);
        sram.slice_mut(0x3FC8_0000, 0x2000).expect("inside").fill(7);
        assert_eq!(sram.take_stale(), Some(0x4038_0000..0x4038_1040));
        assert_eq!(sram.read_u8(0x4038_1FFF), Some(7));
    }
}
