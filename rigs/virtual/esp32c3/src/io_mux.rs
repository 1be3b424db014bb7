//! IO_MUX: what each pad does electrically, as far as levels depend on it.
//!
//! ESP32-C3 Technical Reference Manual, chapter "IO MUX and GPIO Matrix". One register a pad at +0x04 + 4n: pull-up,
//! pull-down and input enable matter to `gpio`, which is told of every change; drive strength, function and filter are
//! kept.
//!
//! Not modelled: pad functions other than through the GPIO matrix, sleep settings, the input filter, clock outputs.

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

const PADS_START: u32 = 0x04;
/// Pads of the chip.
pub(crate) const PADS: usize = 22;
const PADS_END: u32 = PADS_START + 4 * PADS as u32;

const FUN_WPD: u32 = 1 << 7;
const FUN_WPU: u32 = 1 << 8;
const FUN_IE: u32 = 1 << 9;

/// What the levels of the pads depend on: a bit a pad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pads {
    /// Weak pull-up is on.
    pub(crate) pull_up: u32,
    /// Weak pull-down is on.
    pub(crate) pull_down: u32,
    /// The chip looks at the pad.
    pub(crate) input: u32,
}

/// The block.
pub(crate) struct IoMux {
    registers: Registers,
}

const PAD_RESETS: [(u32, u32); PADS + 2] = {
    let mut resets = [(0, 0x0B00); PADS + 2];
    let mut pad = 0;
    while pad < PADS {
        resets[pad].0 = PADS_START + 4 * pad as u32;
        pad += 1;
    }
    resets[PADS] = (0x00, 0x07FF);
    resets[PADS + 1] = (0xFC, 0x0200_6050);
    resets
};

impl Default for IoMux {
    fn default() -> Self {
        IoMux {
            registers: Registers::new(
                "io_mux",
                0x1000,
                &[0x00..PADS_END, 0xFC..0x100],
                &PAD_RESETS,
            ),
        }
    }
}

impl IoMux {
    /// As configured now.
    pub(crate) fn pads(&self) -> Pads {
        let mut pads = Pads::default();
        for pad in 0..PADS as u32 {
            let value = self.registers.get(PADS_START + 4 * pad);
            let bit = |mask: u32| u32::from(value & mask != 0) << pad;
            pads.pull_up |= bit(FUN_WPU);
            pads.pull_down |= bit(FUN_WPD);
            pads.input |= bit(FUN_IE);
        }
        pads
    }
}

impl Peripheral for IoMux {
    fn name(&self) -> &'static str {
        "io_mux"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        self.registers.read(offset, context)
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let before = self.registers.get(offset);
        self.registers.write(offset, value, context);
        let changed = before ^ value;
        context.requests.pads_changed |= changed & (FUN_WPU | FUN_WPD | FUN_IE) != 0;
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn pulls_and_input_enable_are_told() {
        let mut bench = Bench::new(IoMux::default());
        let all = (1 << PADS) - 1;
        let reset = Pads {
            pull_up: all,
            pull_down: 0,
            input: all,
        };
        assert_eq!(bench.peripheral.pads(), reset);
        bench.write(PADS_START + 4 * 5, FUN_WPD);
        assert!(bench.requests.pads_changed);
        let pads = bench.peripheral.pads();
        assert_eq!(pads.pull_down, 1 << 5);
        assert_eq!(pads.pull_up, all & !(1 << 5));
        assert_eq!(pads.input, all & !(1 << 5));
    }

    #[test]
    fn drive_strength_is_only_kept() {
        let mut bench = Bench::new(IoMux::default());
        bench.write(PADS_START, 0x0B00 | 2 << 10);
        assert!(!bench.requests.pads_changed);
        assert_eq!(bench.read(PADS_START), 0x0B00 | 2 << 10);
    }
}
