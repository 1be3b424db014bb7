//! The transmitter of a UART: one character as the levels it puts on its line.

use crate::time::Ticks;

/// A character on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// When its start bit begins.
    pub(super) start: Ticks,
    /// When its last stop bit is over.
    pub(super) end: Ticks,
    /// Sixteenths of a tick a bit lasts.
    bit_sixteenths: u64,
    pub(super) symbol: Symbol,
    /// Level of each bit to come, from the lowest: those that were told are shifted out.
    levels: u32,
    /// The bit that the next change of level begins with.
    next: u64,
    /// The level before it.
    level: bool,
}

/// What a character says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// Data bits, from the lowest.
    Byte(u8),
    /// The line low for all the time.
    Break,
}

/// How characters look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Format {
    /// 5 to 8.
    pub(super) data_bits: u64,
    /// Odd or even, if there is one.
    pub(super) parity: Option<Parity>,
    /// 2, 3 or 4.
    pub(super) stop_half_bits: u64,
    /// Sixteenths of a tick a bit lasts.
    pub(super) bit_sixteenths: u64,
}

/// What makes the number of ones, with the parity bit, so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parity {
    Even,
    Odd,
}

impl Parity {
    /// The parity bit of `value`.
    pub(super) fn bit(self, value: u32) -> bool {
        (value.count_ones() & 1 == 1) != (self == Parity::Odd)
    }
}

impl Format {
    /// Bits between start bit and stop bit.
    pub(super) fn payload_bits(&self) -> u64 {
        self.data_bits + u64::from(self.parity.is_some())
    }

    /// How long a character takes.
    pub(super) fn character(&self) -> Ticks {
        self.half_bits(2 * (1 + self.payload_bits()) + self.stop_half_bits)
    }

    fn half_bits(&self, count: u64) -> Ticks {
        Ticks((count * self.bit_sixteenths).div_ceil(32))
    }
}

impl Sending {
    /// A data character, from `start` on.
    pub(super) fn byte(start: Ticks, byte: u8, format: &Format) -> Sending {
        let value = u32::from(byte) & ((1 << format.data_bits) - 1);
        let mut levels = value << 1;
        if let Some(parity) = format.parity {
            levels |= u32::from(parity.bit(value)) << (1 + format.data_bits);
        }
        // The line rests high from the stop bit on.
        levels |= u32::MAX << (1 + format.payload_bits());
        Sending {
            start,
            end: start + format.character(),
            bit_sixteenths: format.bit_sixteenths,
            symbol: Symbol::Byte(byte),
            levels,
            next: 0,
            level: true,
        }
    }

    /// A break of `bits` bits, from `start` on.
    pub(super) fn pause(start: Ticks, bits: u64, format: &Format) -> Sending {
        Sending {
            start,
            end: start + format.half_bits(2 * bits),
            bit_sixteenths: format.bit_sixteenths,
            symbol: Symbol::Break,
            levels: 0,
            next: 0,
            level: true,
        }
    }

    /// When the level changes next, if it does before the character is over.
    pub(super) fn next_edge(&self) -> Option<Ticks> {
        match self.symbol {
            Symbol::Byte(_) if self.level && self.levels == u32::MAX => None,
            Symbol::Break if !self.level => Some(self.end),
            Symbol::Break if self.next > 0 => None,
            _ => Some(self.start + Ticks(self.next * self.bit_sixteenths / 16)),
        }
    }

    /// The level from that change on.
    pub(super) fn take_edge(&mut self) -> bool {
        self.level = !self.level;
        let same = match (self.symbol, self.level) {
            (Symbol::Break, _) => 1,
            (_, true) => self.levels.trailing_ones(),
            (_, false) => self.levels.trailing_zeros(),
        };
        self.next += u64::from(same);
        // Ones come in from above: the line rests high.
        self.levels = !(!self.levels).unbounded_shr(same);
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        data_bits: 8,
        parity: None,
        stop_half_bits: 2,
        bit_sixteenths: 16 * 100,
    };

    fn edges(mut sending: Sending) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| {
            let at = sending.next_edge()?;
            Some((at.0, sending.take_edge()))
        })
        .collect()
    }

    #[test]
    fn characters_as_edges() {
        fn check(byte: u8, format: Format, expected: &[u64], end: u64) {
            let sending = Sending::byte(Ticks(0), byte, &format);
            let edges = edges(sending);
            let times: Vec<u64> = edges.iter().map(|(at, _)| *at).collect();
            assert_eq!(times, expected, "{byte:#x} {format:?}");
            // Falling and rising in turns, high at the end.
            for (n, (_, level)) in edges.iter().enumerate() {
                assert_eq!(*level, n % 2 == 1);
            }
            assert_eq!(sending.end, Ticks(end));
        }
        check(0xFF, FORMAT, &[0, 100], 1000);
        check(0x00, FORMAT, &[0, 900], 1000);
        check(0xF0, FORMAT, &[0, 500], 1000);
        check(
            0x55,
            FORMAT,
            &[0, 100, 200, 300, 400, 500, 600, 700, 800, 900],
            1000,
        );
        check(0x02, FORMAT, &[0, 200, 300, 900], 1000);
        let parity = |parity| Format {
            parity: Some(parity),
            ..FORMAT
        };
        check(0x01, parity(Parity::Even), &[0, 100, 200, 900], 1100);
        check(0x01, parity(Parity::Odd), &[0, 100, 200, 1000], 1100);
        let seven = Format {
            data_bits: 7,
            stop_half_bits: 4,
            ..FORMAT
        };
        check(0x80, seven, &[0, 800], 1000);
    }

    #[test]
    fn a_break_is_low_all_the_time() {
        let sending = Sending::pause(Ticks(50), 12, &FORMAT);
        assert_eq!(edges(sending), [(50, false), (1250, true)]);
        assert_eq!(sending.end, Ticks(1250));
    }
}
