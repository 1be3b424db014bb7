//! The DS18B20's scratchpad: nine bytes, and what they say about a temperature (data sheet, figures
//! 4, 9 and 10, tables 1 and 2).

use core::fmt;

use crate::{
    mutants::{self, Mutant},
    rom::crc8,
};

/// How finely a sensor measures: from 9 to 12 bits, each a step half as wide and a conversion twice as
/// long (data sheet, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// Steps of 0.5 degrees.
    Bits9,
    /// Steps of 0.25 degrees.
    Bits10,
    /// Steps of 0.125 degrees.
    Bits11,
    /// Steps of 0.0625 degrees: as delivered.
    Bits12,
}

impl Resolution {
    /// The longest that a conversion takes, µs: 93,750, 187,500, 375,000 or 750,000.
    #[must_use]
    pub const fn conversion_us(self) -> u32 {
        750_000 >> self.undefined_bits()
    }

    /// The bits of the temperature that count.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8 + 9
    }

    /// The low bits of the temperature that are undefined.
    const fn undefined_bits(self) -> u32 {
        3 - self as u32
    }

    /// From the configuration register: bits 5 and 6.
    const fn from_register(register: u8) -> Self {
        match register >> 5 & 0b11 {
            0 => Self::Bits9,
            1 => Self::Bits10,
            2 => Self::Bits11,
            _ => Self::Bits12,
        }
    }

    /// The configuration register; the bits that mean nothing read as ones.
    const fn register(self) -> u8 {
        (self as u8) << 5 | 0x1F
    }
}

/// A temperature in sixteenths of a degree Celsius, the unit of the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temperature(i16);

impl Temperature {
    /// The lowest that the sensor measures, -55 degrees.
    pub const MIN: Self = Self(-55 * 16);
    /// The highest that the sensor measures, +125 degrees.
    pub const MAX: Self = Self(125 * 16);
    /// What the register holds after power-on, +85 degrees.
    pub const POWER_ON: Self = Self(85 * 16);

    /// A temperature of so many sixteenths of a degree.
    #[must_use]
    pub const fn from_sixteenths(sixteenths: i16) -> Self {
        Self(sixteenths)
    }

    /// In sixteenths of a degree.
    #[must_use]
    pub const fn sixteenths(self) -> i16 {
        self.0
    }

    /// In tenths of a degree, rounded to the nearest, halves away from zero (+25.25 is +25.3, -25.25 is
    /// -25.3): never further than 0.05 degrees off, and the same above and below zero.
    #[must_use]
    pub const fn tenths(self) -> i16 {
        // 10/16 is 5/8. In i32, because 5 times the register's range leaves i16.
        let eighths = self.0 as i32 * 5;
        let half = if eighths < 0 { -4 } else { 4 };
        ((eighths + half) / 8) as i16
    }

    /// Whether a sensor can measure this at all.
    #[must_use]
    pub const fn is_in_range(self) -> bool {
        Self::MIN.0 <= self.0 && self.0 <= Self::MAX.0
    }
}

/// The registers that the master writes; kept by the sensor until it loses its supply, which brings
/// back those of its EEPROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// TH, the upper alarm threshold in whole degrees, or a byte of the user's.
    pub high: u8,
    /// TL, the lower one.
    pub low: u8,
    /// The resolution of the next conversion.
    pub resolution: Resolution,
}

impl Registers {
    /// As Write Scratchpad takes them: TH, TL, configuration.
    #[must_use]
    pub const fn bytes(self) -> [u8; 3] {
        [self.high, self.low, self.resolution.register()]
    }
}

/// A scratchpad that was read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratchpad {
    bytes: [u8; 9],
}

impl Scratchpad {
    /// Checks what Read Scratchpad gave.
    ///
    /// # Errors
    /// Why these bytes are no scratchpad.
    pub fn parse(bytes: [u8; 9]) -> Result<Self, Unreadable> {
        if bytes == [0xFF; 9] {
            return Err(Unreadable::Silent);
        }
        // The CRC of zeros is zero: it would be a perfect 0 degrees, but for the configuration register,
        // five bits of which are always 1.
        if bytes == [0; 9] {
            return Err(Unreadable::AllZero);
        }
        if crc8(&bytes[..8]) != bytes[8] && !mutants::active(Mutant::CrcNotChecked) {
            return Err(Unreadable::Crc);
        }
        Ok(Self { bytes })
    }

    /// The temperature, bits that are undefined at this resolution cleared. Perhaps one that no sensor
    /// can measure, perhaps [doubtful](Scratchpad::is_doubtful).
    #[must_use]
    pub fn temperature(&self) -> Temperature {
        let undefined = if mutants::active(Mutant::ResolutionMaskReversed) {
            3 - self.registers().resolution.undefined_bits()
        } else {
            self.registers().resolution.undefined_bits()
        };
        let sixteenths = self.register() >> undefined << undefined;
        if mutants::active(Mutant::SensorSignLost) {
            return Temperature(sixteenths.saturating_abs());
        }
        Temperature(sixteenths)
    }

    /// Whether the temperature may be the power-on value: +85 degrees without the sign of a conversion.
    ///
    /// Byte 6 is reserved in today's data sheet; in the early ones it is the count of the last
    /// conversion: 0C from power-on to the first conversion, then 10 less the low four bits of the
    /// temperature, so 10 at +85.0. Maxim's own sensors keep to this; other makers' leave it at 0C for
    /// ever, or lose it when the scratchpad is written. So 10 proves that +85.0 was measured; anything
    /// else proves nothing, and takes a second look.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        const COUNT_AT_85: u8 = 0x10;
        self.register() == Temperature::POWER_ON.0 && self.bytes[6] != COUNT_AT_85
    }

    /// The registers that the master may write.
    #[must_use]
    pub fn registers(&self) -> Registers {
        Registers {
            high: self.bytes[2],
            low: self.bytes[3],
            resolution: Resolution::from_register(self.bytes[4]),
        }
    }

    /// The temperature register as it is.
    fn register(&self) -> i16 {
        i16::from_le_bytes([self.bytes[0], self.bytes[1]])
    }
}

/// Why nine bytes are no scratchpad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing but ones: nobody answered.
    Silent,
    /// Nothing but zeros, whose CRC fits: the bus is held low.
    AllZero,
    /// The CRC does not fit.
    Crc,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "no answer",
            Self::AllZero => "nothing but zeros",
            Self::Crc => "wrong CRC",
        })
    }
}

impl core::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_takes_twice_as_long_for_each_bit() {
        for (resolution, bits, us, register) in [
            (Resolution::Bits9, 9, 93_750, 0x1F),
            (Resolution::Bits10, 10, 187_500, 0x3F),
            (Resolution::Bits11, 11, 375_000, 0x5F),
            (Resolution::Bits12, 12, 750_000, 0x7F),
        ] {
            assert_eq!(resolution.bits(), bits);
            assert_eq!(resolution.conversion_us(), us);
            assert_eq!(resolution.register(), register);
            assert_eq!(Resolution::from_register(register), resolution);
        }
    }

    #[test]
    fn tenths_are_the_nearest_for_every_value_of_the_register() {
        for sixteenths in i16::MIN..=i16::MAX {
            let tenths = i32::from(Temperature(sixteenths).tenths());
            // In 160ths of a degree, where both are whole: half a tenth is 8.
            let off = tenths * 16 - i32::from(sixteenths) * 10;
            assert!(off.abs() <= 8, "{sixteenths}/16 became {tenths}/10");
            let mirrored = Temperature(sixteenths.saturating_neg()).tenths();
            if sixteenths != i16::MIN {
                assert_eq!(tenths, -i32::from(mirrored));
            }
        }
    }
}
