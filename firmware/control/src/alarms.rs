//! Alarms: what raises, acknowledges and clears them.
//!
//! ```text
//!             beyond the threshold, or test_alarm
//!   NORMAL ────────────────────────────────────────▶ ACTIVE ──acknowledge_alarm──▶ ACKNOWLEDGED
//!     ▲                                                │                               │
//!     └──────── back past the threshold by the ────────┴───────────────────────────────┘
//!               hysteresis; a temperature again, for SENSOR_ERROR
//! ```
//! Each point has one alarm of each kind, and each arrow is exactly one message.
//!
//! An alarm raised by `test_alarm` is held: for [`TEST_HOLD_MS`], or until it is acknowledged,
//! measurements leave it alone, so that whoever tests has the time to see and acknowledge it. Then
//! it is an alarm like any other: the next measurement clears it, if it is back past the threshold
//! (at once, at a point that has no sensor). A test never raises a second alarm over a real one, and
//! a value that is really beyond the threshold makes a test alarm a real one.

mod table;

use core::fmt::{self, Write};

pub use self::table::Alarms;
use crate::Now;
use crate::json::Object;
use crate::points::{POINTS, PointName, Tenths};
use crate::thresholds::{Side, Thresholds};
use crate::timestamp::Timestamp;

/// How long measurements leave an alarm alone that was raised by `test_alarm`, milliseconds.
pub const TEST_HOLD_MS: u64 = 10_000;

/// The most alarms that can be active at once.
pub const ALARMS_MAX: usize = POINTS * AlarmKind::ALL.len();

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AlarmKind {
    /// The temperature is above the high threshold.
    HighTemp,
    /// The temperature is below the low threshold.
    LowTemp,
    /// The sensor gives no temperature.
    SensorError,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::HighTemp, Self::LowTemp, Self::SensorError];

    /// The field `alarm_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HighTemp => "HIGH_TEMP",
            Self::LowTemp => "LOW_TEMP",
            Self::SensorError => "SENSOR_ERROR",
        }
    }

    /// The field `priority`: heat destroys, cold spoils, and a sensor can wait for the morning.
    #[must_use]
    pub fn priority(self) -> &'static str {
        match self {
            Self::HighTemp => "HIGH",
            Self::LowTemp => "MEDIUM",
            Self::SensorError => "LOW",
        }
    }

    fn side(self) -> Option<Side> {
        match self {
            Self::HighTemp => Some(Side::High),
            Self::LowTemp => Some(Side::Low),
            Self::SensorError => None,
        }
    }

    /// The threshold that it is about, if it is about one.
    fn threshold(self, thresholds: &Thresholds) -> Option<Tenths> {
        self.side().map(|side| thresholds.get(side).value)
    }
}

/// An alarm's id, `ALM-<boot>-<number>`: unique over all boots, as long as boots are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmId {
    /// The boot that raised it.
    pub boot: u32,
    /// Counted over that boot, from 1.
    pub number: u32,
}

impl fmt::Display for AlarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ALM-{}-{}", self.boot, self.number)
    }
}

/// The state of an alarm, and of a point by its worst one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmState {
    /// There is none.
    #[default]
    Normal,
    /// Somebody knows of it.
    Acknowledged,
    /// Nobody knows of it.
    Active,
}

impl AlarmState {
    /// As the contract writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Active => "ACTIVE",
        }
    }
}

/// A change of an alarm's state: the field `state_transition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// `NORMAL->ACTIVE`
    Raised,
    /// `ACTIVE->ACKNOWLEDGED`
    Acknowledged,
    /// `ACTIVE->CLEARED`
    Cleared,
    /// `ACKNOWLEDGED->CLEARED`
    ClearedAcknowledged,
}

impl Transition {
    /// As the contract writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raised => "NORMAL->ACTIVE",
            Self::Acknowledged => "ACTIVE->ACKNOWLEDGED",
            Self::Cleared => "ACTIVE->CLEARED",
            Self::ClearedAcknowledged => "ACKNOWLEDGED->CLEARED",
        }
    }
}

/// One change of one alarm: what the message on `alarm/active` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmChange {
    /// When.
    pub at: Timestamp,
    /// Which alarm.
    pub id: AlarmId,
    /// What it is about.
    pub kind: AlarmKind,
    /// The number of its point.
    pub point: u8,
    /// What changed.
    pub transition: Transition,
    /// The temperature that changed it, or the last one known; none when there is none.
    pub temperature: Option<Tenths>,
    /// The threshold it is about; none for a sensor error.
    pub threshold: Option<Tenths>,
}

impl AlarmChange {
    /// Writes the message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut message = Object::begin(out)?;
        message.text("alarm_id", self.id)?;
        message.text("alarm_type", self.kind.name())?;
        message.number("point_id", self.point)?;
        message.text("point_name", PointName(usize::from(self.point)))?;
        message.text("priority", self.kind.priority())?;
        message.text("state_transition", self.transition.name())?;
        message.number_or_null("temperature", self.temperature)?;
        message.number_or_null("threshold", self.threshold)?;
        message.text("timestamp", self.at)?;
        message.end()
    }
}

/// An alarm that is active or acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its id.
    pub id: AlarmId,
    /// What it is about.
    pub kind: AlarmKind,
    /// The number of its point.
    pub point: usize,
    /// [`AlarmState::Active`] or [`AlarmState::Acknowledged`].
    pub state: AlarmState,
    /// The temperature that raised it; none for a sensor error.
    pub temperature: Option<Tenths>,
    /// Uptime when it was raised, milliseconds.
    pub raised_ms: u64,
}

impl Alarm {
    /// Writes its fields, as responses have them.
    ///
    /// # Errors
    /// What the writer says.
    pub(crate) fn write(
        &self,
        now: Now,
        thresholds: &Thresholds,
        entry: &mut Object<'_>,
    ) -> fmt::Result {
        entry.text("alarm_id", self.id)?;
        entry.text("alarm_type", self.kind.name())?;
        entry.number("point_id", self.point)?;
        entry.text("point_name", PointName(self.point))?;
        entry.text("priority", self.kind.priority())?;
        entry.text("state", self.state.name())?;
        entry.number_or_null("temperature", self.temperature)?;
        entry.number_or_null("threshold", self.kind.threshold(thresholds))?;
        entry.text("timestamp", now.timestamp_of(self.raised_ms))
    }
}

#[cfg(test)]
mod tests;
