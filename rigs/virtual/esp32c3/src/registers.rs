//! Registers that only remember what was written: a store with reset values.
//!
//! Much of the chip is configuration whose effect nothing in the simulation feels (pad drive strength, analog
//! trims). Firmware reads such registers back and changes single bits, so they must hold their value and start
//! from the manual's reset value. Registers outside the listed ranges hold their value too, but are noted as
//! unmodelled.

use std::ops::Range;

use crate::peripheral::{Context, Peripheral, ResetKind};

/// A block of plain registers, also used inside peripherals for those of their registers that have no effect.
pub(crate) struct Registers {
    name: &'static str,
    words: Box<[u32]>,
    /// Offsets known to have no effect here.
    stored: &'static [Range<u32>],
    /// `(offset, value)`; all others reset to 0.
    resets: &'static [(u32, u32)],
}

impl Registers {
    /// A block of `length` bytes, with reset values in place.
    pub(crate) fn new(
        name: &'static str,
        length: u32,
        stored: &'static [Range<u32>],
        resets: &'static [(u32, u32)],
    ) -> Registers {
        let mut registers = Registers {
            name,
            words: vec![0; length.div_ceil(4) as usize].into_boxed_slice(),
            stored,
            resets,
        };
        registers.restore();
        registers
    }

    fn restore(&mut self) {
        self.words.fill(0);
        for (offset, value) in self.resets {
            self.set(*offset, *value);
        }
    }

    /// The word at `offset`, silently; 0 beyond the block.
    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.words.get(offset as usize / 4).copied().unwrap_or(0)
    }

    /// Sets the word at `offset`, silently; nothing beyond the block.
    pub(crate) fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut(offset as usize / 4) {
            *word = value;
        }
    }

    fn is_known(&self, offset: u32) -> bool {
        self.stored.iter().any(|range| range.contains(&offset))
    }
}

impl Peripheral for Registers {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        if !self.is_known(offset) {
            context.unmodelled.read(self.name, offset, context.pc);
        }
        self.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        if !self.is_known(offset) {
            context.unmodelled.write(self.name, offset, context.pc);
        }
        self.set(offset, value);
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind >= ResetKind::Core {
            self.restore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn registers_hold_what_was_written() {
        let new = || Registers::new("block", 0x20, &[0x00..0x10], &[(0x4, 0x55)]);
        let mut bench = Bench::new(new());
        assert_eq!(bench.read(0x4), 0x55);
        bench.write(0x4, 7);
        bench.write(0x1C, 9);
        assert_eq!(
            (bench.read(0x4), bench.read(0x1C), bench.read(0x100)),
            (7, 9, 0)
        );
        bench.peripheral.reset(ResetKind::Cpu);
        assert_eq!(bench.read(0x4), 7);
        bench.peripheral.reset(ResetKind::Core);
        assert_eq!((bench.read(0x4), bench.read(0x1C)), (0x55, 0));
        let names: Vec<String> = bench
            .unmodelled
            .iter()
            .map(|entry| entry.to_string())
            .collect();
        assert_eq!(
            names,
            [
                "block: read of unmodelled register +0x1c (pc 0x4200_0000), 2 times",
                "block: write of unmodelled register +0x1c (pc 0x4200_0000)",
                "block: read of unmodelled register +0x100 (pc 0x4200_0000)",
            ]
        );
    }
}
