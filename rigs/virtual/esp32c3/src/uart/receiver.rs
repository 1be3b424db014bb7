//! The receiver of a UART: edges of its line to characters.
//!
//! A falling edge begins a character when the line is still low half a bit later; each bit is sampled in its middle, at
//! the receiver's own rate, and the character is complete in the middle of its stop bit. So a wrong rate garbles, a line
//! that stays low is one break, and after that nothing: there is no further falling edge.

use std::collections::VecDeque;

use super::transmitter::Format;
use crate::time::Ticks;
use crate::wires::Edge;

/// What the receiver heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A character.
    Character {
        value: u8,
        /// The parity bit is wrong.
        parity_error: bool,
        /// The stop bit is low.
        frame_error: bool,
        /// The middle of its stop bit.
        end: Ticks,
    },
    /// A start bit that was over before its middle.
    Glitch,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Level of the line after the last edge looked at.
    level: bool,
    /// Edges not looked at yet.
    edges: VecDeque<Edge>,
    /// The character under way.
    hearing: Option<Hearing>,
}

/// A character under way.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    /// When its start bit began.
    start: Ticks,
    /// The line was still low half a bit later.
    is_start: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            level: true,
            edges: VecDeque::new(),
            hearing: None,
        }
    }
}

impl Receiver {
    /// The line changes its level; in order of time.
    pub(super) fn edge(&mut self, edge: Edge) {
        self.edges.push_back(edge);
    }

    /// Level of the line after all edges told.
    pub(super) fn level(&self) -> bool {
        self.edges.back().map_or(self.level, |last| last.level)
    }

    /// True while a character is under way.
    pub(super) fn is_hearing(&self) -> bool {
        self.hearing.is_some()
    }

    /// When the character under way is complete, if characters look like `format`.
    pub(super) fn complete_at(&self, format: &Format) -> Option<Ticks> {
        let Hearing { start, .. } = self.hearing?;
        Some(sample(start, format, 1 + format.payload_bits()))
    }

    /// The next thing heard, when all edges up to `now` are told and characters look like `format`.
    pub(super) fn hear(&mut self, now: Ticks, format: &Format) -> Option<Heard> {
        let Hearing { start, is_start } = match self.hearing {
            Some(hearing) => hearing,
            None => Hearing {
                start: self.next_start(now)?,
                is_start: false,
            },
        };
        let middle = sample(start, format, 0);
        if !is_start && middle <= now && self.level_at(middle) {
            self.hearing = None;
            return Some(Heard::Glitch);
        }
        self.hearing = Some(Hearing {
            start,
            is_start: middle <= now,
        });
        let end = self.complete_at(format).filter(|end| *end <= now)?;
        self.hearing = None;
        let mut bit = |n| u32::from(self.level_at(sample(start, format, n)));
        let value = (0..format.data_bits).fold(0, |value, n| value | bit(1 + n) << n);
        let parity_error = format
            .parity
            .is_some_and(|parity| parity.bit(value) != (bit(1 + format.data_bits) == 1));
        Some(Heard::Character {
            value: value as u8,
            parity_error,
            frame_error: bit(1 + format.payload_bits()) == 0,
            end,
        })
    }

    /// The next falling edge by `now`.
    fn next_start(&mut self, now: Ticks) -> Option<Ticks> {
        while let Some(edge) = self.edges.pop_front_if(|edge| edge.at <= now) {
            let fell = self.level && !edge.level;
            self.level = edge.level;
            if fell {
                return Some(edge.at);
            }
        }
        None
    }

    fn level_at(&mut self, at: Ticks) -> bool {
        while let Some(edge) = self.edges.pop_front_if(|edge| edge.at <= at) {
            self.level = edge.level;
        }
        self.level
    }
}

/// The middle of bit `n`, the start bit being 0.
fn sample(start: Ticks, format: &Format, n: u64) -> Ticks {
    start + Ticks((2 * n + 1) * format.bit_sixteenths / 32)
}

#[cfg(test)]
mod tests {
    use super::super::transmitter::{Parity, Sending};
    use super::*;

    const BIT: u64 = 100;
    const FORMAT: Format = Format {
        data_bits: 8,
        parity: None,
        stop_half_bits: 2,
        bit_sixteenths: 16 * BIT,
    };

    /// What is heard of a line that changes its level at these times, falling first.
    fn heard(edges: &[u64], format: Format) -> Vec<Heard> {
        let mut receiver = Receiver::default();
        for (n, at) in edges.iter().enumerate() {
            let (at, level) = (Ticks(*at), n % 2 == 1);
            receiver.edge(Edge { at, level });
        }
        std::iter::from_fn(|| receiver.hear(Ticks(1_000_000), &format)).collect()
    }

    /// A character as its transmitter sends it.
    fn sent(start: u64, byte: u8, format: Format) -> Vec<u64> {
        let mut sending = Sending::byte(Ticks(start), byte, &format);
        std::iter::from_fn(|| {
            let at = sending.next_edge()?;
            sending.take_edge();
            Some(at.0)
        })
        .collect()
    }

    fn character(value: u8, frame_error: bool, end: u64) -> Heard {
        Heard::Character {
            value,
            parity_error: false,
            frame_error,
            end: Ticks(end),
        }
    }

    #[test]
    fn every_byte_is_heard_as_it_was_sent() {
        for byte in 0..=255 {
            let line = [sent(7, byte, FORMAT), sent(1007, !byte, FORMAT)].concat();
            assert_eq!(
                heard(&line, FORMAT),
                [character(byte, false, 957), character(!byte, false, 1957)]
            );
        }
    }

    #[test]
    fn a_receiver_samples_at_its_own_rate() {
        let check = |byte: u8, bit: u64, expected: &[Heard]| {
            let format = Format {
                bit_sixteenths: 16 * bit,
                ..FORMAT
            };
            assert_eq!(
                heard(&sent(0, byte, format), FORMAT),
                expected,
                "{byte:#x} {bit}"
            );
        };
        check(0xA5, 99, &[character(0xA5, false, 950)]);
        check(0xA5, 101, &[character(0xA5, false, 950)]);
        // Twelve times slower: the start bit alone is a break.
        check(0xFF, 1200, &[character(0, true, 950)]);
        // Twice slower: every bit twice, and the rest is another character.
        check(0b0000_0101, 200, &[character(0b0110_0110, true, 950)]);
        // Far too fast: no start bit is seen.
        check(0xFF, 8, &[Heard::Glitch]);
    }

    #[test]
    fn a_line_that_stays_low_is_one_break() {
        assert_eq!(heard(&[10], FORMAT), [character(0, true, 960)]);
        let later = [vec![10, 5000], sent(6000, 0x41, FORMAT)].concat();
        assert_eq!(
            heard(&later, FORMAT),
            [character(0, true, 960), character(0x41, false, 6950)]
        );
    }

    #[test]
    fn a_glitch_hides_nothing() {
        let line = [vec![10, 40], sent(70, 0x41, FORMAT)].concat();
        assert_eq!(
            heard(&line, FORMAT),
            [Heard::Glitch, character(0x41, false, 1020)]
        );
    }

    #[test]
    fn parity_is_checked() {
        let odd = Format {
            parity: Some(Parity::Odd),
            ..FORMAT
        };
        let even = Format {
            parity: Some(Parity::Even),
            ..FORMAT
        };
        let check = |line: &[u64], error| match heard(line, odd)[..] {
            [
                Heard::Character {
                    value: 0x41,
                    parity_error,
                    ..
                },
            ] => assert_eq!(parity_error, error),
            ref other => panic!("{other:?}"),
        };
        check(&sent(0, 0x41, odd), false);
        check(&sent(0, 0x41, even), true);
    }

    #[test]
    fn what_is_not_complete_is_not_heard() {
        let mut receiver = Receiver::default();
        for (at, level) in [(0, false), (100, true)] {
            let at = Ticks(at);
            receiver.edge(Edge { at, level });
        }
        assert_eq!(receiver.hear(Ticks(949), &FORMAT), None);
        assert!(receiver.is_hearing());
        assert_eq!(receiver.complete_at(&FORMAT), Some(Ticks(950)));
        assert!(receiver.hear(Ticks(950), &FORMAT).is_some());
        assert!(!receiver.is_hearing());
    }
}
