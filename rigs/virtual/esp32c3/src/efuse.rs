//! EFUSE: the factory's bits, above all MAC address and chip revision.
//!
//! ESP32-C3 Technical Reference Manual, chapter "eFuse Controller".
//!
//! Not modelled: programming (noted when tried), the parameter checks, read protection.

use std::ops::Range;

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

// Offsets.
const RD_MAC_SPI_SYS_0: u32 = 0x44;
const RD_MAC_SPI_SYS_1: u32 = 0x48;
const RD_MAC_SPI_SYS_3: u32 = 0x50;
const RD_MAC_SPI_SYS_5: u32 = 0x58;
/// First and last register that shows eFuse bits; read only.
const RD_FIRST: u32 = 0x2C;
const RD_LAST: u32 = 0x1C4;
const CMD: u32 = 0x1D4;

const CMD_PROGRAM: u32 = 1 << 1;

const STORED: &[Range<u32>] = &[0x00..0x2C, 0x1C8..0x200];
const RESETS: &[(u32, u32)] = &[
    (0x1C8, 0x02),
    (0x1E8, 0x0001_FE1C),
    (0x1EC, 0x1200_0000),
    (0x1F0, 0x0028_8000),
    (0x1F4, 0x190),
    (0x1FC, 0x0200_7200),
];

/// The controller and the bits behind it.
pub(crate) struct Efuse {
    registers: Registers,
    mac: [u8; 6],
    revision: (u8, u8),
}

impl Efuse {
    /// A chip with this MAC address and wafer revision (major, minor), and nothing else burnt.
    pub(crate) fn new(mac: [u8; 6], revision: (u8, u8)) -> Efuse {
        Efuse {
            registers: Registers::new("efuse", 0x200, STORED, RESETS),
            mac,
            revision,
        }
    }

    fn bits(&self, offset: u32) -> u32 {
        let (major, minor) = (u32::from(self.revision.0), u32::from(self.revision.1));
        match offset {
            RD_MAC_SPI_SYS_0 => {
                u32::from_be_bytes([self.mac[2], self.mac[3], self.mac[4], self.mac[5]])
            }
            RD_MAC_SPI_SYS_1 => u32::from_be_bytes([0, 0, self.mac[0], self.mac[1]]),
            RD_MAC_SPI_SYS_3 => (minor & 7) << 18,
            RD_MAC_SPI_SYS_5 => (major & 3) << 24 | (minor >> 3 & 1) << 23,
            _ => 0,
        }
    }
}

impl Peripheral for Efuse {
    fn name(&self) -> &'static str {
        "efuse"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            RD_FIRST..=RD_LAST => self.bits(offset),
            // Commands are over at once.
            CMD => 0,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            RD_FIRST..=RD_LAST => {}
            CMD => {
                if value & CMD_PROGRAM != 0 {
                    context.unmodelled.used("efuse: programming", context.pc);
                }
            }
            _ => self.registers.write(offset, value, context),
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

    #[test]
    fn mac_and_revision_are_burnt_in() {
        fn check(mac: [u8; 6], revision: (u8, u8), expected: [u32; 4]) {
            let mut bench = Bench::new(Efuse::new(mac, revision));
            assert_eq!(
                [0x44, 0x48, 0x50, 0x58].map(|offset| bench.read(offset)),
                expected
            );
            assert!(bench.unmodelled.is_empty());
        }
        check(
            [0x02, 0x55, 0xC3, 1, 2, 3],
            (0, 3),
            [0xC301_0203, 0x0255, 3 << 18, 0],
        );
        check([0; 6], (1, 9), [0, 0, 1 << 18, 1 << 24 | 1 << 23]);
    }

    #[test]
    fn programming_is_noted_and_changes_nothing() {
        let mut bench = Bench::new(Efuse::new([0; 6], (0, 4)));
        bench.write(0x00, 7);
        bench.write(CMD, CMD_PROGRAM);
        bench.write(0x44, 1);
        assert_eq!(
            (bench.read(0x00), bench.read(CMD), bench.read(0x44)),
            (7, 0, 0)
        );
        let noted: Vec<String> = bench
            .unmodelled
            .iter()
            .map(|entry| entry.to_string())
            .collect();
        assert_eq!(noted, ["efuse: programming: not modelled (pc 0x4200_0000)"]);
    }
}
