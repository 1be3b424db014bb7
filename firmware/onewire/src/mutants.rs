//! Deliberate bugs, one at a time: a scenario that passes in spite of its mutant tests nothing.
//!
//! With the feature `mutants` one of them can be switched on while the firmware runs; without it (in
//! every image that ships) [`active`] is `false` at compile time, and nothing of them is left.

#[cfg(feature = "mutants")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A scratchpad is believed whatever its CRC.
    CrcNotChecked = 1,
    /// A sensor that is gone keeps the temperature it last had.
    AbsentKeepsLast = 2,
    /// A sensor that was gone once is not read again.
    AbsentForever = 3,
    /// Temperatures below zero are reported above it.
    SignLost = 4,
    /// The bits that are cleared are those of the opposite resolution: at 12 bits three good ones, at 9
    /// bits none.
    ResolutionMaskReversed = 5,
    /// The power-on value of 85 degrees is reported as a temperature.
    PowerOnTaken = 6,
    /// The search stops before its last device.
    SearchMissesLast = 7,
    /// Neighbouring points have each other's temperature.
    NeighboursSwapped = 8,
    /// No conversion is started, so temperatures stay what they were.
    ConversionNotStarted = 9,
}

impl Mutant {
    /// All of them, by their numbers.
    pub const ALL: [Self; 9] = [
        Self::CrcNotChecked,
        Self::AbsentKeepsLast,
        Self::AbsentForever,
        Self::SignLost,
        Self::ResolutionMaskReversed,
        Self::PowerOnTaken,
        Self::SearchMissesLast,
        Self::NeighboursSwapped,
        Self::ConversionNotStarted,
    ];

    /// Its number, from 1; the same for ever.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The mutant of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mutant| mutant.number() == number)
    }

    /// Its name, as people type it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CrcNotChecked => "crc-not-checked",
            Self::AbsentKeepsLast => "absent-keeps-last",
            Self::AbsentForever => "absent-forever",
            Self::SignLost => "sign-lost",
            Self::ResolutionMaskReversed => "resolution-mask-reversed",
            Self::PowerOnTaken => "power-on-taken",
            Self::SearchMissesLast => "search-misses-last",
            Self::NeighboursSwapped => "neighbours-swapped",
            Self::ConversionNotStarted => "conversion-not-started",
        }
    }

    /// The mutant of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }

    /// The scenario that is to catch it, by its ID. All of these are wrong temperatures or a wrong
    /// status, so it is the accuracy test that answers for them.
    #[must_use]
    pub const fn caught_by(self) -> &'static str {
        match self {
            Self::CrcNotChecked
            | Self::AbsentKeepsLast
            | Self::AbsentForever
            | Self::SignLost
            | Self::ResolutionMaskReversed
            | Self::PowerOnTaken
            | Self::SearchMissesLast
            | Self::NeighboursSwapped
            | Self::ConversionNotStarted => "TEL-2",
        }
    }
}

#[cfg(feature = "mutants")]
static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Switches a mutant on, and every other off.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.store(mutant.map_or(0, Mutant::number), Ordering::Relaxed);
}

/// Whether this mutant is switched on.
#[cfg(feature = "mutants")]
#[must_use]
pub fn active(mutant: Mutant) -> bool {
    ACTIVE.load(Ordering::Relaxed) == mutant.number()
}

/// Whether this mutant is switched on: there are none in this build.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn active(_: Mutant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_mutants() {
        for (index, mutant) in Mutant::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(mutant.number()), index + 1);
            assert_eq!(Mutant::from_number(mutant.number()), Some(mutant));
            assert_eq!(Mutant::from_name(mutant.name()), Some(mutant));
        }
        assert_eq!(Mutant::from_number(0), None);
        assert_eq!(Mutant::from_name(""), None);
    }
}
