//! Orders: what a command, or a schedule in its place, has the controller change or publish.
//!
//! They are small and plain, so that a schedule keeps the order itself and not the text it came
//! in: it is checked when the schedule is added, and takes a few bytes in flash.

use serde::{Deserialize, Serialize};

use crate::alarms::AlarmKind;
use crate::configuration::TELEMETRY_INTERVAL_S_MAX;
use crate::points::{POINTS, Tenths};
use crate::relays::{DURATION_S_MAX, RelayId, Switch};
use crate::thresholds::{HYSTERESIS_MAX, Side};

/// What can be ordered. Serialised into flash: variants are added at the end, never moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// `get_summary`: a schedule publishes the summary.
    Summary,
    /// `set_relay`
    Relay(SetRelay),
    /// `set_threshold`
    Threshold(SetThreshold),
    /// `test_alarm`
    TestAlarm(TestAlarm),
    /// `set_config`
    Config(SetConfig),
}

/// Switch a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRelay {
    /// Which one.
    pub relay: RelayId,
    /// Where to.
    pub switch: Switch,
    /// For how long, seconds; 0 until it is switched again.
    pub duration_s: u32,
}

/// Move a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetThreshold {
    /// The number of the point.
    pub point: u8,
    /// Which of its thresholds.
    pub side: Side,
    /// Its new value.
    pub value: Tenths,
    /// Its new hysteresis; none to leave it.
    pub hysteresis: Option<Tenths>,
}

/// Raise an alarm as a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestAlarm {
    /// The number of the point.
    pub point: u8,
    /// What the alarm is about.
    pub kind: AlarmKind,
    /// The temperature it tells; none for a sensor error.
    pub temperature: Option<Tenths>,
}

/// Change the configuration; what is none stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetConfig {
    /// Seconds between two telemetry messages.
    pub telemetry_interval_s: Option<u32>,
    /// The relay that follows the alarms; inner none for no relay.
    pub alarm_relay: Option<Option<RelayId>>,
}

impl Order {
    /// Whether its values are in their ranges: what flash holds may be of another version.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Summary => true,
            Self::Relay(order) => order.duration_s <= DURATION_S_MAX,
            Self::Threshold(order) => {
                usize::from(order.point) < POINTS
                    && order
                        .hysteresis
                        .is_none_or(|h| (0..=HYSTERESIS_MAX.get()).contains(&h.get()))
            }
            Self::TestAlarm(order) => usize::from(order.point) < POINTS,
            Self::Config(order) => order
                .telemetry_interval_s
                .is_none_or(|s| (1..=TELEMETRY_INTERVAL_S_MAX).contains(&s)),
        }
    }
}
