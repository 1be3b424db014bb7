//! Times as the device knows them, and RFC 3339 text of them.

use core::fmt;
use core::iter::Peekable;
use core::ops::RangeInclusive;

/// What time it is, on the device's two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since boot; never goes back.
    pub uptime_ms: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z, once the device has been told the time.
    pub unix_ms: Option<u64>,
}

/// A clock that can be read again, for measuring how long something took.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Now;
}

impl Clock for Now {
    fn now(&self) -> Now {
        *self
    }
}

impl Now {
    /// RFC 3339 text of this moment.
    ///
    /// A device that has not been told the time counts from 1970: the text is well-formed, and
    /// nobody takes it for the real time.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp {
            unix_ms: self.unix_ms.unwrap_or(self.uptime_ms),
        }
    }

    /// RFC 3339 text of another moment of this boot, before or after this one, as the clock is now.
    #[must_use]
    pub fn timestamp_of(self, uptime_ms: u64) -> Timestamp {
        let now = self.timestamp().unix_ms;
        Timestamp {
            unix_ms: if uptime_ms < self.uptime_ms {
                now.saturating_sub(self.uptime_ms - uptime_ms)
            } else {
                now.saturating_add(uptime_ms - self.uptime_ms)
            },
        }
    }
}

/// A moment, displayed as RFC 3339 in UTC with milliseconds: `2026-11-23T18:02:35.120Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day_ms) = (self.unix_ms / 86_400_000, self.unix_ms % 86_400_000);
        let (year, month, day) = date(days);
        let seconds = of_day_ms / 1_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
            of_day_ms % 1_000
        )
    }
}

/// Whether this is a moment as RFC 3339, section 5.6, writes it: `2026-11-23T18:02:35Z`, with a
/// fraction of a second or without, in UTC or with an offset.
#[must_use]
pub fn is_rfc_3339(text: impl Iterator<Item = char>) -> bool {
    Reader(text.peekable()).date_time().is_some()
}

/// Reads a moment from left to right; none as soon as it is no moment.
struct Reader<I: Iterator<Item = char>>(Peekable<I>);

impl<I: Iterator<Item = char>> Reader<I> {
    fn date_time(&mut self) -> Option<()> {
        let year = self.number(4, 0..=9_999)?;
        self.one_of("-")?;
        let month = self.number(2, 1..=12)?;
        self.one_of("-")?;
        self.number(2, 1..=days_of(year, month))?;
        self.one_of("Tt ")?;
        self.hour_and_minute()?;
        self.one_of(":")?;
        // 60 for a leap second.
        self.number(2, 0..=60)?;
        if self.0.next_if_eq(&'.').is_some() {
            self.digit()?;
            while self.0.next_if(char::is_ascii_digit).is_some() {}
        }
        if !matches!(self.one_of("Zz+-")?, 'Z' | 'z') {
            self.hour_and_minute()?;
        }
        self.0.next().is_none().then_some(())
    }

    fn hour_and_minute(&mut self) -> Option<()> {
        self.number(2, 0..=23)?;
        self.one_of(":")?;
        self.number(2, 0..=59).map(|_| ())
    }

    fn number(&mut self, digits: u8, range: RangeInclusive<u32>) -> Option<u32> {
        let number = (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))?;
        range.contains(&number).then_some(number)
    }

    fn digit(&mut self) -> Option<u32> {
        self.0.next()?.to_digit(10)
    }

    fn one_of(&mut self, choices: &str) -> Option<char> {
        self.0.next_if(|c| choices.contains(*c))
    }
}

fn days_of(year: u32, month: u32) -> u32 {
    let is_leap_year =
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap_year => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The Gregorian date of a day counted from 1970-01-01.
///
/// Counts in 400-year eras that begin on a 1st of March, so that the leap day is the last of its
/// year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    let since_0000_03_01 = days + 719_468;
    let (era, day_of_era) = (
        since_0000_03_01 / DAYS_PER_ERA,
        since_0000_03_01 % DAYS_PER_ERA,
    );
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn check(unix_ms: u64, expected: &str) {
        assert_eq!(Timestamp { unix_ms }.to_string(), expected);
    }

    #[test]
    fn moments_are_written_as_rfc_3339() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_800_000, "2000-03-01T00:00:00.000Z");
        check(1_709_164_800_000, "2024-02-29T00:00:00.000Z");
        check(1_767_225_599_000, "2025-12-31T23:59:59.000Z");
        check(1_795_456_955_120, "2026-11-23T18:02:35.120Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn moments_are_known_by_their_form() {
        for moment in [
            "2026-11-23T18:02:35Z",
            "2026-11-23t18:02:35.120z",
            "2026-11-23 18:02:35.1+05:30",
            "2024-02-29T23:59:60-00:00",
            "2000-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert!(is_rfc_3339(moment.chars()), "{moment}");
        }
        for other in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T18:02:35",
            "2026-11-23T18:02Z",
            "2026-11-23T18:02:35.Z",
            "2026-11-23T18:02:35Z ",
            "2026-11-23T18:02:35+0530",
            "2026-11-23T18:02:35+24:00",
            "2026-11-23T24:00:00Z",
            "2026-11-23T18:60:00Z",
            "2026-11-23T18:02:61Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "+026-11-23T18:02:35Z",
            "1795456955",
        ] {
            assert!(!is_rfc_3339(other.chars()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_known(unix_ms in 0..253_402_300_800_000_u64) {
            let text = Timestamp { unix_ms }.to_string();
            prop_assert!(is_rfc_3339(text.chars()));
        }
    }

    #[test]
    fn a_device_without_the_time_counts_from_1970() {
        let now = Now {
            uptime_ms: 61_000,
            unix_ms: None,
        };
        assert_eq!(now.timestamp().to_string(), "1970-01-01T00:01:01.000Z");
    }

    #[test]
    fn moments_of_this_boot_have_the_time_that_is_known_now() {
        let now = Now {
            uptime_ms: 61_000,
            unix_ms: Some(1_795_456_955_120),
        };
        for (uptime_ms, expected) in [
            (61_000, "2026-11-23T18:02:35.120Z"),
            (60_000, "2026-11-23T18:02:34.120Z"),
            (71_500, "2026-11-23T18:02:45.620Z"),
        ] {
            assert_eq!(now.timestamp_of(uptime_ms).to_string(), expected);
        }
    }
}
