//! What is left in the array when the supply fails in the middle of an operation.
//!
//! A store that claims to survive power cuts is only tested by remains that are as bad as real ones, and they are worse
//! than "old or new". Programming goes through the page byte by byte, so a prefix is there, and the byte under way has
//! bits on which nothing has decided yet. Erasing first programs every cell to 0, so that all start from one charge, and
//! then lets them rise to 1 together: cut early, the sector holds zeros where data was; cut later, noise; cut late, ones
//! with a few zeros among them.
//!
//! Not modelled: cells left between 0 and 1, which read differently from time to time and with temperature.

use super::PAGE_BYTES;

/// Share of an erase that goes to programming everything to 0.
const PREPROGRAM_SHARE: f64 = 0.2;

/// What an operation does to the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// Programs `count` bytes of the page from `column` on, wrapping at its end.
    Program { column: u32, count: u32 },
    /// Erases.
    Erase,
    /// Writes the status registers, which lie outside of the array.
    Status,
}

impl Interrupted {
    /// Turns `array`, which holds the finished operation, into what is there when only `share` (0 to 1) of its time went
    /// by. `before` is what it held when the operation began.
    pub(super) fn leave(self, array: &mut [u8], before: &[u8], share: f64, chance: &mut Chance) {
        match self {
            Interrupted::Program { column, count } => {
                let done = (f64::from(count) * share) as u32;
                for index in done..count {
                    let at = ((column + index) % PAGE_BYTES) as usize;
                    let falling = before[at] & !array[at];
                    let undecided = if index == done { chance.byte() } else { 0 };
                    array[at] = before[at] & !(falling & undecided);
                }
            }
            Interrupted::Erase if share < PREPROGRAM_SHARE => {
                let done = (before.len() as f64 * share / PREPROGRAM_SHARE) as usize;
                array[..done].fill(0);
                array[done..].copy_from_slice(&before[done..]);
                if let Some(byte) = array.get_mut(done) {
                    *byte &= chance.byte();
                }
            }
            Interrupted::Erase => {
                let risen = (share - PREPROGRAM_SHARE) / (1.0 - PREPROGRAM_SHARE);
                for byte in array {
                    *byte = chance.biased_byte(risen);
                }
            }
            Interrupted::Status => {}
        }
    }
}

/// SplitMix64: chance here needs no quality, only to be the same again.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Chance(0x9E37_79B9_7F4A_7C15)
    }
}

impl Chance {
    /// What follows depends on `seed` too.
    pub(super) fn stir(&mut self, seed: u64) {
        self.0 ^= seed;
    }

    /// A number from 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Eight bits, each set with this chance.
    fn biased_byte(&mut self, chance: f64) -> u8 {
        let bound = (chance * 256.0) as u8;
        let bytes = self.next().to_le_bytes();
        bytes
            .iter()
            .fold(0, |bits, byte| bits << 1 | u8::from(*byte < bound))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(kind: Interrupted, before: &[u8], after: &[u8], share: f64, seed: u64) -> Vec<u8> {
        let mut chance = Chance::default();
        chance.stir(seed);
        let mut array = after.to_vec();
        kind.leave(&mut array, before, share, &mut chance);
        array
    }

    #[test]
    fn a_program_leaves_a_prefix_and_one_byte_between() {
        let before = vec![0xF5; 256];
        let mut after = before.clone();
        (250..266).for_each(|n| after[n % 256] = 0x05);
        let kind = Interrupted::Program {
            column: 250,
            count: 16,
        };
        let half = |seed| left(kind, &before, &after, 0.5, seed);
        // Eight of sixteen, wrapped: 250 to 255, 0 and 1; then column 2 is under way.
        assert_eq!(half(1)[250..], [0x05; 6]);
        assert_eq!(half(1)[..2], [0x05; 2]);
        assert_eq!(half(1)[3..250], before[3..250]);
        let between: std::collections::BTreeSet<u8> = (0..64).map(|seed| half(seed)[2]).collect();
        assert!(between.len() > 8, "{between:x?}");
        // Bits that were not to fall never do.
        assert!(between.iter().all(|byte| byte & 0x0F == 0x05));
    }

    #[test]
    fn an_erase_goes_through_zeros_and_noise() {
        let before: Vec<u8> = (0..4096).map(|n| n as u8 | 1).collect();
        let ones = |share| -> u32 {
            left(Interrupted::Erase, &before, &[0xFF; 4096], share, 1)
                .iter()
                .map(|byte| byte.count_ones())
                .sum()
        };
        let early = left(Interrupted::Erase, &before, &[0xFF; 4096], 0.1, 1);
        assert_eq!(early[..2048], [0; 2048]);
        assert_eq!(early[2049..], before[2049..]);
        assert_eq!(ones(0.2), 0);
        assert!((15_000..18_000).contains(&ones(0.6)), "{}", ones(0.6));
        assert!((32_000..32_768).contains(&ones(0.99)), "{}", ones(0.99));
    }

    #[test]
    fn the_same_seed_leaves_the_same() {
        let remains = |seed| left(Interrupted::Erase, &[0; 64], &[0xFF; 64], 0.5, seed);
        assert_eq!(remains(1), remains(1));
        assert_ne!(remains(1), remains(2));
    }
}
