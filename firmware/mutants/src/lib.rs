//! Deliberate bugs, one at a time: a scenario that passes in spite of its mutant tests nothing.
//!
//! Every crate of the firmware that has some lists them with [`mutants!`]. With its feature `mutants`
//! one of them can be switched on while the firmware runs; without it (in every image that ships)
//! `active` is `false` at compile time, and nothing of them is left.
#![no_std]

pub mod image;

/// How many numbers each crate has in an image that has them all.
pub const RANGE: u16 = 1_000;

/// A list of mutants: number (from 1, the same for ever), variant, name (kebab-case), the ID of the
/// scenario that must catch it, what it does.
///
/// Makes an `enum Mutant` with `ALL`, `number`, `name`, `scenario`, `description` and `from_number`,
/// and the functions `active` and, with the feature `mutants` of the crate that lists them, `activate`.
#[macro_export]
macro_rules! mutants {
    ($($number:literal $variant:ident $name:literal $scenario:literal $does:literal)*) => {
        /// A deliberate bug. Numbers are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Mutant {
            $(#[doc = $does] $variant = $number,)*
        }

        impl Mutant {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its number, from 1: what a host says to have it switched on.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// Its name, kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The ID of the scenario that must catch it.
            #[must_use]
            pub const fn scenario(self) -> &'static str {
                match self {
                    $(Self::$variant => $scenario,)*
                }
            }

            /// What it does.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $does,)*
                }
            }

            /// The mutant of this number.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|mutant| mutant.number() == number)
            }
        }

        /// The number of the one that is switched on; 0 for none.
        #[cfg(feature = "mutants")]
        static ACTIVE: core::sync::atomic::AtomicU16 = core::sync::atomic::AtomicU16::new(0);

        /// Switches a mutant on and every other off.
        #[cfg(feature = "mutants")]
        pub fn activate(mutant: Option<Mutant>) {
            let number = mutant.map_or(0, Mutant::number);
            ACTIVE.store(number, core::sync::atomic::Ordering::Relaxed);
        }

        /// Whether this mutant is switched on.
        #[cfg(feature = "mutants")]
        #[must_use]
        pub fn active(mutant: Mutant) -> bool {
            ACTIVE.load(core::sync::atomic::Ordering::Relaxed) == mutant.number()
        }

        /// Whether this mutant is switched on: never, without the feature `mutants`.
        #[cfg(not(feature = "mutants"))]
        #[inline(always)]
        #[must_use]
        pub const fn active(_: Mutant) -> bool {
            false
        }
    };
}

#[cfg(test)]
mod tests {
    use super::image::{Mutant, active};

    #[test]
    fn each_has_a_number_and_a_name_of_its_own() {
        for (index, &mutant) in Mutant::ALL.iter().enumerate() {
            assert_eq!(usize::from(mutant.number()), index + 1);
            assert_eq!(Mutant::from_number(mutant.number()), Some(mutant));
            let same = |other: &&Mutant| other.name() == mutant.name();
            assert_eq!(Mutant::ALL.iter().filter(same).count(), 1);
            assert!(
                mutant
                    .name()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-')
            );
        }
        assert_eq!(Mutant::from_number(0), None);
    }

    #[test]
    fn none_is_active_by_default() {
        #[cfg(not(feature = "mutants"))]
        const {
            assert!(!active(Mutant::LeakPerRequest))
        };
        assert!(!Mutant::ALL.iter().copied().any(active));
    }
}
