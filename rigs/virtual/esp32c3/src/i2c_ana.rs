//! I2C_ANA: the serial bus inside the chip to its analog blocks (PLL, regulators), "regi2c".
//!
//! Not in the manual; as `esp-hal` and ESP-IDF use it. A write with bit 24 stores a byte at (block, register), one
//! without fetches it into bits 16-23; bit 25 would say that the bus is busy, and transfers here are over at once.
//!
//! Not modelled: what the analog blocks do with their settings. The PLL always says that it is calibrated.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

// Offsets.
const CONTROL: [u32; 2] = [0x00, 0x04];
const ANA_CONF0: u32 = 0x40;

const CONTROL_WRITE: u32 = 1 << 24;
const BBPLL_CAL_DONE: u32 = 1 << 24;

const STORED: &[Range<u32>] = &[0x40..0x50];

/// The bus master and the bytes behind it.
pub(crate) struct I2cAna {
    registers: Registers,
    /// By (block, register).
    bytes: BTreeMap<(u8, u8), u8>,
}

impl I2cAna {
    pub(crate) fn new() -> I2cAna {
        I2cAna {
            registers: Registers::new("i2c_ana", 0x100, STORED, &[]),
            bytes: BTreeMap::new(),
        }
    }
}

impl Peripheral for I2cAna {
    fn name(&self) -> &'static str {
        "i2c_ana"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            _ if CONTROL.contains(&offset) => self.registers.get(offset),
            ANA_CONF0 => self.registers.get(offset) | BBPLL_CAL_DONE,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        if !CONTROL.contains(&offset) {
            return self.registers.write(offset, value, context);
        }
        let place = (value as u8, (value >> 8) as u8);
        if value & CONTROL_WRITE != 0 {
            self.bytes.insert(place, (value >> 16) as u8);
        }
        let byte = self.bytes.get(&place).copied().unwrap_or(0);
        self.registers
            .set(offset, value & 0xFFFF | u32::from(byte) << 16);
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::System {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn analog_registers_hold_their_bytes_and_are_never_busy() {
        let mut bench = Bench::new(I2cAna::new());
        bench.write(0, 0x66 | 3 << 8 | 0x5A << 16 | CONTROL_WRITE);
        bench.write(0, 0x66 | 4 << 8);
        assert_eq!(bench.read(0), 0x66 | 4 << 8);
        bench.write(4, 0x66 | 3 << 8);
        assert_eq!(bench.read(4), 0x66 | 3 << 8 | 0x5A << 16);
    }

    #[test]
    fn the_pll_is_calibrated() {
        let mut bench = Bench::new(I2cAna::new());
        bench.write(ANA_CONF0, 0b1000);
        assert_eq!(bench.read(ANA_CONF0), BBPLL_CAL_DONE | 0b1000);
    }
}
