//! Numbers as a document has them: exact, whatever they are written like.

use core::fmt;

/// A number of a checked document, as it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'d>(&'d str);

/// What a number is when it is asked for as a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A whole number; `5.0` and `5e0` are 5.
    Number(i64),
    /// It has a fraction.
    Fraction,
    /// It has no fraction, and is beyond 64 bits.
    Beyond,
}

impl<'d> Number<'d> {
    /// The number that a checker has seen to be one.
    pub(super) fn new(text: &'d str) -> Self {
        Self(text)
    }

    /// As a whole number.
    #[must_use]
    pub fn whole(self) -> Whole {
        match self.scaled(0) {
            Some((number, true)) => Whole::Number(number),
            Some((_, false)) => Whole::Fraction,
            None => Whole::Beyond,
        }
    }

    /// In tenths, rounded to the nearest and halves away from zero; none beyond 64 bits.
    #[must_use]
    pub fn tenths(self) -> Option<i64> {
        self.scaled(1).map(|(number, _)| number)
    }

    /// The number times 10 to the power of `places`, rounded, and whether that is exact.
    fn scaled(self, places: i64) -> Option<(i64, bool)> {
        let (negative, unsigned) = match self.0.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.0),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // An exponent beyond 64 bits is as good as one of a million: the digits are under a thousand.
        let exponent = match exponent.parse::<i64>() {
            Ok(exponent) => exponent.clamp(-1_000_000, 1_000_000),
            Err(_) if exponent.starts_with('-') => -1_000_000,
            Err(_) => 1_000_000,
        };
        let kept = i64::try_from(whole.len()).ok()? + exponent + places;
        let mut number = 0_i64;
        let (mut exact, mut up, mut index) = (true, false, 0_i64);
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = i64::from(digit - b'0');
            if index < kept {
                number = number.checked_mul(10)?.checked_add(digit)?;
            } else {
                up |= index == kept && digit >= 5;
                exact &= digit == 0;
            }
            index += 1;
        }
        while index < kept && number != 0 {
            number = number.checked_mul(10)?;
            index += 1;
        }
        number = number.checked_add(i64::from(up))?;
        Some((if negative { -number } else { number }, exact))
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
