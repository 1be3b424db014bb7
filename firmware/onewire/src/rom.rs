//! ROM codes: the 64 bits that tell one device from all others (data sheet, "64-Bit Lasered ROM
//! Code"), and the CRC-8 that guards them and the scratchpad (application note 27).

use core::fmt;

use crc::{CRC_8_MAXIM_DOW, Crc, NoTable};

/// The CRC-8 of 1-Wire: x⁸ + x⁵ + x⁴ + 1, least significant bit first, starting from 0. Without a
/// table: 256 bytes of flash would save microseconds in a millisecond of slots.
#[must_use]
pub fn crc8(bytes: &[u8]) -> u8 {
    const CRC: Crc<u8, NoTable> = Crc::<u8, NoTable>::new(&CRC_8_MAXIM_DOW);
    CRC.checksum(bytes)
}

/// A ROM code whose CRC fits and whose family is not 0, so that a bus held low has none. Ordered as
/// it reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rom([u8; 8]);

impl Rom {
    /// The family code of the DS18B20 (data sheet, figure 8).
    pub const DS18B20: u8 = 0x28;

    /// The ROM code as it travels: family code first, CRC last. None if the CRC does not fit or the
    /// family is 0.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        let [family, .., crc] = bytes;
        (family != 0 && crc8(&bytes[..7]) == crc).then_some(Self(bytes))
    }

    /// [`Rom::new`] of a number that [`Rom::sensor_id`] gave.
    #[must_use]
    pub fn from_sensor_id(id: u64) -> Option<Self> {
        Self::new(id.to_be_bytes())
    }

    /// The ROM code as a number, family code in the highest byte and CRC in the lowest: in hexadecimal
    /// it reads as the bytes travel, and as [`Display`](fmt::Display) writes it.
    #[must_use]
    pub fn sensor_id(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// As it travels: family code first, CRC last.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// The family code: what kind of device this is.
    #[must_use]
    pub fn family(self) -> u8 {
        self.0[0]
    }
}

impl fmt::Display for Rom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.sensor_id())
    }
}

impl fmt::Debug for Rom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rom({self})")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    const BYTES: [u8; 8] = [0x28, 0x13, 0x9B, 0xBB, 0x0B, 0x00, 0x00, 0x1F];

    #[test]
    fn a_rom_code_reads_as_it_travels() {
        let rom = Rom::new(BYTES).expect("CRC fits");
        assert_eq!(rom.to_string(), "28139BBB0B00001F");
        assert_eq!(rom.sensor_id(), 0x2813_9BBB_0B00_001F);
        assert_eq!(Rom::from_sensor_id(rom.sensor_id()), Some(rom));
        assert_eq!(rom.family(), Rom::DS18B20);
    }

    #[test]
    fn a_rom_code_with_any_bit_turned_over_is_none() {
        for bit in 0..64 {
            let mut bytes = BYTES;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Rom::new(bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_bus_held_low_has_no_rom_code() {
        assert_eq!(Rom::new([0; 8]), None);
        assert_eq!(Rom::new([0xFF; 8]), None);
    }
}
