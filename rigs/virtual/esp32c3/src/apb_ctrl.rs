//! APB_CTRL: mostly radio and memory switches, and the random number generator.
//!
//! ESP32-C3 Technical Reference Manual, chapter "Random Number Generator". The real numbers are noise; here they
//! come from the run's seed, so that a run can be repeated. They are not reset with the chip: noise isn't either.
//!
//! Not modelled: the effect of the other registers, and the entropy a real chip lacks with radio and ADC off.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

// Offsets.
const RND_DATA: u32 = 0xB0;

const STORED: &[Range<u32>] = &[0x00..0xD4, 0x3FC..0x400];
const RESETS: &[(u32, u32)] = &[
    (0x00, 0x01),
    (0x04, 0x0001_0727),
    (0x08, 0x7FF),
    (0x14, 0xFFFC_E030),
    (0x28, 0x03),
    (0x2C, 0x03),
    (0x30, 0x03),
    (0x34, 0x03),
    (0x48, 0x400),
    (0x4C, 0x400),
    (0x50, 0x400),
    (0x54, 0x400),
    (0x9C, 0x15),
    (0xA4, 0x3F),
    (0xAC, 0x3F),
    (0xB4, 0x6480),
    (0x3FC, 0x0200_7210),
];

/// The block, and the noise in it.
pub(crate) struct ApbCtrl {
    registers: Registers,
    noise: ChaCha8Rng,
}

impl ApbCtrl {
    /// With noise from `seed`.
    pub(crate) fn new(seed: u64) -> ApbCtrl {
        ApbCtrl {
            registers: Registers::new("apb_ctrl", 0x400, STORED, RESETS),
            noise: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Peripheral for ApbCtrl {
    fn name(&self) -> &'static str {
        "apb_ctrl"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            RND_DATA => self.noise.next_u32(),
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        if offset != RND_DATA {
            self.registers.write(offset, value, context);
        }
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn numbers(seed: u64) -> Vec<u32> {
        let mut bench = Bench::new(ApbCtrl::new(seed));
        (0..64).map(|_| bench.read(RND_DATA)).collect()
    }

    #[test]
    fn numbers_differ_at_each_read_and_repeat_with_the_seed() {
        let first = numbers(7);
        let distinct: std::collections::HashSet<&u32> = first.iter().collect();
        assert_eq!(distinct.len(), first.len());
        assert_eq!(first, numbers(7));
        assert_ne!(first, numbers(8));
    }

    #[test]
    fn a_reset_does_not_repeat_the_noise() {
        let mut bench = Bench::new(ApbCtrl::new(7));
        let first = bench.read(RND_DATA);
        bench.write(0x9C, 0);
        bench.peripheral.reset(ResetKind::PowerOn);
        assert_ne!(bench.read(RND_DATA), first);
        assert_eq!(bench.read(0x9C), 0x15);
    }
}
