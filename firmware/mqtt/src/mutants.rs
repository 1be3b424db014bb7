//! Deliberate faults: each is a mistake that a client could have, and names the scenario that finds it.
//!
//! A test suite is believed once it was seen to fail. With the feature `mutants` one fault at a time
//! is turned on at run time, so that one image serves them all; without it, [`active`] is a constant
//! `false` and nothing of them is in the image.

/// A deliberate fault. Numbers are stable: images of different age understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A message at QoS 1 is never acknowledged: the broker sends it again in the next connection.
    PubAckNeverSent = 1,
    /// A new connection begins with an empty outbox.
    OutboxDroppedAtReconnect = 2,
    /// A message that was acknowledged is sent once more, as a new one.
    AcknowledgedSentAgain = 3,
    /// Messages are published without their retain flag.
    RetainFlagLost = 4,
    /// No wait between two attempts to connect.
    BackOffZero = 5,
    /// After the third loss the device stays away.
    ReconnectGivenUp = 6,
    /// The will is not retained: `online` stays for later subscribers after the device is gone.
    WillNotRetained = 7,
    /// No PINGREQ is ever sent.
    KeepAliveNeverSent = 8,
    /// Telemetry is published twice. Asked for where telemetry is published.
    TelemetryTwice = 9,
    /// Every fourth message of the outbox is thrown away.
    FourthMessageLost = 10,
    /// A message longer than the device has room for ends the session instead of being answered.
    LongMessageEndsSession = 11,
    /// A message that did not reach the broker in one connection counts as sent in the next.
    NeverSentAgain = 12,
}

impl Mutant {
    /// All of them, by number.
    pub const ALL: [Self; 12] = [
        Self::PubAckNeverSent,
        Self::OutboxDroppedAtReconnect,
        Self::AcknowledgedSentAgain,
        Self::RetainFlagLost,
        Self::BackOffZero,
        Self::ReconnectGivenUp,
        Self::WillNotRetained,
        Self::KeepAliveNeverSent,
        Self::TelemetryTwice,
        Self::FourthMessageLost,
        Self::LongMessageEndsSession,
        Self::NeverSentAgain,
    ];

    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.number() == number)
    }

    /// Its name, for people and command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PubAckNeverSent => "puback-never-sent",
            Self::OutboxDroppedAtReconnect => "outbox-dropped-at-reconnect",
            Self::AcknowledgedSentAgain => "acknowledged-sent-again",
            Self::RetainFlagLost => "retain-flag-lost",
            Self::BackOffZero => "back-off-zero",
            Self::ReconnectGivenUp => "reconnect-given-up",
            Self::WillNotRetained => "will-not-retained",
            Self::KeepAliveNeverSent => "keep-alive-never-sent",
            Self::TelemetryTwice => "telemetry-twice",
            Self::FourthMessageLost => "fourth-message-lost",
            Self::LongMessageEndsSession => "long-message-ends-session",
            Self::NeverSentAgain => "never-sent-again",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// The ID of the scenario that must find it.
    #[must_use]
    pub const fn scenario(self) -> &'static str {
        match self {
            Self::PubAckNeverSent
            | Self::OutboxDroppedAtReconnect
            | Self::BackOffZero
            | Self::ReconnectGivenUp
            | Self::NeverSentAgain => "CON-4",
            Self::KeepAliveNeverSent => "CON-3",
            Self::AcknowledgedSentAgain => "CMD-4",
            Self::RetainFlagLost | Self::WillNotRetained => "TEL-5",
            Self::TelemetryTwice => "TEL-1",
            Self::FourthMessageLost => "LOAD-2",
            Self::LongMessageEndsSession => "TEL-6",
        }
    }
}

#[cfg(feature = "mutants")]
pub use selected::{active, select};

/// Whether `mutant` is turned on: never, in an image without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn active(_mutant: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
mod selected {
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Mutant;

    /// The number of the one that is turned on; 0 for none.
    static SELECTED: AtomicU8 = AtomicU8::new(0);

    /// Whether `mutant` is turned on.
    #[must_use]
    pub fn active(mutant: Mutant) -> bool {
        SELECTED.load(Relaxed) == mutant.number()
    }

    /// Turns `mutant` on and any other off.
    pub fn select(mutant: Option<Mutant>) {
        SELECTED.store(mutant.map_or(0, Mutant::number), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for (index, mutant) in Mutant::ALL.into_iter().enumerate() {
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
        assert!(!Mutant::ALL.into_iter().any(active));
    }
}
