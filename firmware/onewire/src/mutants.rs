//! Deliberate bugs, one at a time: a scenario that passes in spite of its mutant tests nothing.
//!
//! With the feature `mutants` one of them can be switched on while the firmware runs; without it (in
//! every image that ships) [`active`] is `false` at compile time, and nothing of them is left.

#[cfg(feature = "mutants")]
use core::sync::atomic::{AtomicU16, Ordering};

/// A list of mutants: number (the same for ever), variant, name, scenario that is to catch it, what it
/// does.
macro_rules! mutants {
    ($($number:literal, $variant:ident, $name:literal, $scenario:literal, $does:literal;)*) => {
        /// A deliberate bug in the 1-Wire master.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Mutant {
            $(#[doc = $does] $variant = $number,)*
        }

        impl Mutant {
            /// All of them, by their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, kebab-case.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The scenario that is to catch it, by its ID.
            #[must_use]
            pub fn scenario(self) -> &'static str {
                match self {
                    $(Self::$variant => $scenario,)*
                }
            }

            /// What it does.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $does,)*
                }
            }
        }
    };
}

mutants! {
    1, CrcNotChecked, "crc-not-checked", "TEL-2",
        "A scratchpad is believed whatever its CRC.";
    2, AbsentKeepsLast, "absent-keeps-last", "TEL-2",
        "A sensor that is gone keeps the temperature it last had.";
    3, AbsentForever, "absent-forever", "TEL-2",
        "A sensor that was gone once is not read again.";
    4, SensorSignLost, "sensor-sign-lost", "TEL-2",
        "Temperatures below zero are read as above it.";
    5, ResolutionMaskReversed, "resolution-mask-reversed", "TEL-2",
        "The bits that are cleared are those of the opposite resolution: at 12 bits three good ones.";
    6, PowerOnTaken, "power-on-taken", "TEL-2",
        "The power-on value of 85 degrees is taken for a temperature.";
    7, SearchMissesLast, "search-misses-last", "TEL-2",
        "The search stops before its last device.";
    8, NeighboursSwapped, "neighbours-swapped", "TEL-2",
        "Neighbouring points have each other's temperature.";
    9, ConversionNotStarted, "conversion-not-started", "TEL-2",
        "No conversion is started, so temperatures stay what they were.";
}

impl Mutant {
    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The mutant of this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.number() == number)
    }

    /// The mutant of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }
}

/// The number of the one that is switched on; 0: none.
#[cfg(feature = "mutants")]
static ACTIVE: AtomicU16 = AtomicU16::new(0);

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
        for (index, &mutant) in Mutant::ALL.iter().enumerate() {
            assert_eq!(usize::from(mutant.number()), index + 1);
            assert_eq!(Mutant::from_number(mutant.number()), Some(mutant));
            assert_eq!(Mutant::from_name(mutant.name()), Some(mutant));
        }
        assert_eq!(Mutant::from_number(0), None);
        assert_eq!(Mutant::from_name(""), None);
    }
}
