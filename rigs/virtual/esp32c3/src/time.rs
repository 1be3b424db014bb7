//! Chip time, counted in ticks of 1/480 MHz.
//!
//! Every clock of the chip that firmware can see divides 480 MHz (CPU 160 MHz = 3 ticks, APB 80 MHz = 6,
//! crystal 40 MHz = 12, SYSTIMER 16 MHz = 30), so timers compare whole numbers and nothing ever drifts
//! by rounding. A `u64` of them lasts 1,218 years.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Ticks in one second: the PLL's frequency in Hz.
pub const TICKS_PER_SECOND: u64 = 480_000_000;

/// A moment of chip time, or a distance between two: ticks of 1/480 MHz since the first power-on.
///
/// Never goes back: neither over resets nor over power cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The first power-on.
    pub const ZERO: Ticks = Ticks(0);
    /// Later than anything that happens.
    pub const MAX: Ticks = Ticks(u64::MAX);

    /// Ticks in `nanos` nanoseconds, rounded up: a deadline given in nanoseconds is never met early.
    pub const fn from_nanos(nanos: u64) -> Ticks {
        Ticks(((nanos as u128 * 12).div_ceil(25)) as u64)
    }

    /// Ticks in `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Ticks {
        Ticks(micros.saturating_mul(480))
    }

    /// Ticks in `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Ticks {
        Ticks(millis.saturating_mul(480_000))
    }

    /// Ticks in `seconds` seconds.
    pub const fn from_seconds(seconds: u64) -> Ticks {
        Ticks(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// Ticks in `duration`, rounded up.
    pub const fn from_duration(duration: Duration) -> Ticks {
        let nanos = duration.as_nanos();
        if nanos > u64::MAX as u128 {
            return Ticks::MAX;
        }
        Ticks::from_nanos(nanos as u64)
    }

    /// Whole nanoseconds, rounded down.
    pub const fn as_nanos(self) -> u64 {
        (self.0 as u128 * 25 / 12) as u64
    }

    /// Whole microseconds, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 480
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 480_000
    }

    /// Seconds as a fraction, for people and statistics.
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }

    /// As a `Duration`, rounded down to nanoseconds.
    pub const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }

    /// Ticks from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }

    /// The sum, or [`Ticks::MAX`].
    pub const fn saturating_add(self, other: Ticks) -> Ticks {
        Ticks(self.0.saturating_add(other.0))
    }
}

impl Add for Ticks {
    type Output = Ticks;

    fn add(self, other: Ticks) -> Ticks {
        Ticks(self.0 + other.0)
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Ticks) {
        self.0 += other.0;
    }
}

impl Sub for Ticks {
    type Output = Ticks;

    fn sub(self, other: Ticks) -> Ticks {
        Ticks(self.0 - other.0)
    }
}

impl fmt::Display for Ticks {
    /// Seconds with microseconds: `1.204007 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.as_micros();
        write!(f, "{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_round_so_that_deadlines_are_not_early() {
        fn check(nanos: u64, ticks: u64) {
            assert_eq!(Ticks::from_nanos(nanos), Ticks(ticks), "{nanos} ns");
        }
        check(0, 0);
        check(1, 1);
        check(2, 1);
        check(3, 2);
        check(25, 12);
        check(1_000, 480);
        check(1_000_000_000, TICKS_PER_SECOND);
    }

    #[test]
    fn ticks_convert_back() {
        assert_eq!(Ticks(12).as_nanos(), 25);
        assert_eq!(Ticks(480).as_micros(), 1);
        assert_eq!(Ticks::from_millis(7).as_millis(), 7);
        assert_eq!(Ticks::from_seconds(3).as_duration(), Duration::from_secs(3));
        assert_eq!(Ticks::from_duration(Duration::MAX), Ticks::MAX);
        assert_eq!(Ticks::from_micros(1_204_007).to_string(), "1.204007 s");
    }
}
