//! Deliberate faults: each is a mistake that a client could have, and names the scenario that finds it.
//!
//! A test suite is believed once it was seen to fail. With the feature `mutants` one fault at a time
//! is turned on at run time, so that one image serves them all; without it, [`active`] is a constant
//! `false` and nothing of them is in the image.

/// The table: number (stable), variant, name, the ID of the scenario, what goes wrong.
macro_rules! mutants {
    ($($number:literal $variant:ident $name:literal $scenario:literal $what:literal)*) => {
        /// A deliberate fault. Numbers are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mutant {
            $(#[doc = $what] $variant = $number,)*
        }

        impl Mutant {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, for people and command lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The ID of the scenario that must find it.
            #[must_use]
            pub const fn scenario(self) -> &'static str {
                match self {
                    $(Self::$variant => $scenario,)*
                }
            }

            /// What goes wrong.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)*
                }
            }
        }
    };
}

mutants! {
    1 PubAckNeverSent "puback-never-sent" "CON-4"
        "A message at QoS 1 is never acknowledged: the broker sends it again in the next connection."
    2 OutboxDroppedAtReconnect "outbox-dropped-at-reconnect" "CON-4"
        "A new connection begins with an empty outbox."
    3 AcknowledgedSentAgain "acknowledged-sent-again" "CMD-4"
        "Every second message that was acknowledged is sent once more, as a new one."
    4 RetainFlagLost "retain-flag-lost" "TEL-5"
        "Messages are published without their retain flag."
    5 BackOffZero "back-off-zero" "CON-4"
        "There is no wait between two attempts to connect."
    6 ReconnectGivenUp "reconnect-given-up" "CON-4"
        "After the third loss the device stays away."
    7 WillNotRetained "will-not-retained" "TEL-5"
        "The will is not retained: `online` stays for later subscribers after the device is gone."
    8 KeepAliveNeverSent "keep-alive-never-sent" "CON-3"
        "No PINGREQ is ever sent."
    9 TelemetryTwice "telemetry-twice" "TEL-1"
        "Telemetry is published twice. Asked for where telemetry is published."
    10 FourthMessageLost "fourth-message-lost" "LOAD-2"
        "Every fourth message at QoS 1 or 2 is thrown away instead of sent."
    11 LongMessageEndsSession "long-message-ends-session" "TEL-6"
        "A message longer than the device has room for ends the session instead of being answered."
    12 NeverSentAgain "never-sent-again" "CON-4"
        "What was sent in one connection and not acknowledged is not sent again in the next."
}

impl Mutant {
    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.number() == number)
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{activate, active};

/// Whether `mutant` is turned on: never, in an image without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn active(_mutant: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
mod chosen {
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Mutant;

    /// The number of the one that is turned on; 0 for none.
    static ACTIVE: AtomicU8 = AtomicU8::new(0);

    /// Whether `mutant` is turned on.
    #[must_use]
    pub fn active(mutant: Mutant) -> bool {
        ACTIVE.load(Relaxed) == mutant.number()
    }

    /// Turns `mutant` on and any other off.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.store(mutant.map_or(0, Mutant::number), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for (index, mutant) in Mutant::ALL.iter().copied().enumerate() {
            assert_eq!(usize::from(mutant.number()), index + 1);
            assert_eq!(Mutant::from_number(mutant.number()), Some(mutant));
            assert_eq!(Mutant::from_name(mutant.name()), Some(mutant));
        }
        assert_eq!(Mutant::from_number(0), None);
        assert_eq!(Mutant::from_name("none"), None);
    }

    #[test]
    fn names_are_kebab_case() {
        for mutant in Mutant::ALL {
            let name = mutant.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        }
    }

    #[test]
    fn none_is_active_by_default() {
        #[cfg(not(feature = "mutants"))]
        const {
            assert!(!active(Mutant::PubAckNeverSent))
        };
        assert!(!Mutant::ALL.iter().copied().any(active));
    }
}
