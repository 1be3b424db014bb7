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

use core::fmt::{self, Write};

use crate::Now;
use crate::document::Text;
use crate::events::{Event, Events};
use crate::json::Object;
use crate::mutants::{self, Mutant};
use crate::points::{POINTS, Point, PointName, Reading, Tenths};
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

/// One alarm of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    raised_ms: u64,
    number: u32,
    /// Tenths of a degree; [`NO_TEMPERATURE`] for none.
    temperature: i16,
    state: SlotState,
}

const NO_TEMPERATURE: i16 = i16::MIN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Normal,
    /// Active by a test, and left alone by measurements.
    Held,
    Active,
    Acknowledged,
}

impl Slot {
    const NORMAL: Self = Self {
        raised_ms: 0,
        number: 0,
        temperature: NO_TEMPERATURE,
        state: SlotState::Normal,
    };

    fn state(&self) -> AlarmState {
        match self.state {
            SlotState::Normal => AlarmState::Normal,
            SlotState::Held | SlotState::Active => AlarmState::Active,
            SlotState::Acknowledged => AlarmState::Acknowledged,
        }
    }

    fn held_until(&self) -> Option<u64> {
        (self.state == SlotState::Held).then_some(self.raised_ms + TEST_HOLD_MS)
    }
}

/// Every alarm that there can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarms {
    boot: u32,
    /// Number of the latest alarm of this boot.
    last_number: u32,
    slots: [[Slot; AlarmKind::ALL.len()]; POINTS],
}

impl Alarms {
    /// None active; ids begin with `boot`.
    #[must_use]
    pub fn new(boot: u32) -> Self {
        Self {
            boot,
            last_number: 0,
            slots: [[Slot::NORMAL; AlarmKind::ALL.len()]; POINTS],
        }
    }

    /// The alarm of that kind at that point, if there is one.
    #[must_use]
    pub fn get(&self, point: usize, kind: AlarmKind) -> Option<Alarm> {
        let slot = self.slots.get(point)?.get(kind as usize)?;
        (slot.state != SlotState::Normal).then_some(Alarm {
            id: AlarmId {
                boot: self.boot,
                number: slot.number,
            },
            kind,
            point,
            state: slot.state(),
            temperature: Tenths::new(slot.temperature),
            raised_ms: slot.raised_ms,
        })
    }

    /// Every alarm that is active or acknowledged, by point.
    pub fn iter(&self) -> impl Iterator<Item = Alarm> + '_ {
        (0..POINTS).flat_map(move |point| {
            AlarmKind::ALL
                .into_iter()
                .filter_map(move |kind| self.get(point, kind))
        })
    }

    /// The worst state among the alarms of a point.
    #[must_use]
    pub fn state_of(&self, point: usize) -> AlarmState {
        let slots = self.slots.get(point).into_iter().flatten();
        slots.map(Slot::state).max().unwrap_or_default()
    }

    /// Whether there is an alarm that nobody has acknowledged.
    #[must_use]
    pub fn any_unacknowledged(&self) -> bool {
        let mut slots = self.slots.iter().flatten();
        slots.any(|slot| slot.state() == AlarmState::Active)
    }

    /// The alarm of that id, written as [`AlarmId`] displays.
    #[must_use]
    pub fn find(&self, id: Text<'_>) -> Option<Alarm> {
        self.iter().find(|alarm| {
            let mut text = heapless::String::<32>::new();
            write!(text, "{}", alarm.id).is_ok() && id.is(text.as_str())
        })
    }

    /// Raises and clears what the latest measurement of a point raises and clears.
    pub(crate) fn measured(&mut self, now: Now, id: usize, point: &Point, events: &mut Events) {
        let reading = point.measurement.map(|m| m.reading);
        let temperature = reading.and_then(Reading::temperature);
        let mut change = Changing {
            now,
            id,
            point,
            temperature,
            events,
        };
        // First what ends, so that a jump from one extreme to the other tells it in that order.
        for kind in AlarmKind::ALL {
            if clears(kind, &point.thresholds, reading) {
                self.clear(kind, &mut change);
            }
        }
        for kind in AlarmKind::ALL {
            if raises(kind, &point.thresholds, reading) {
                self.raise(kind, SlotState::Active, &mut change);
            }
        }
    }

    /// Raises an alarm as a test; the alarm, and whether it was raised: it may be active already.
    pub(crate) fn test(
        &mut self,
        now: Now,
        id: usize,
        kind: AlarmKind,
        point: &Point,
        temperature: Option<Tenths>,
        events: &mut Events,
    ) -> (Option<Alarm>, bool) {
        let raised = self.get(id, kind).is_none();
        if raised {
            let mut raising = Changing {
                now,
                id,
                point,
                temperature,
                events,
            };
            self.raise(kind, SlotState::Held, &mut raising);
        }
        (self.get(id, kind), raised)
    }

    /// Acknowledges an alarm; one that is acknowledged stays so, without another message.
    pub(crate) fn acknowledge(
        &mut self,
        now: Now,
        alarm: Alarm,
        point: &Point,
        events: &mut Events,
    ) {
        let slot = &mut self.slots[alarm.point][alarm.kind as usize];
        if slot.state() != AlarmState::Active {
            return;
        }
        slot.state = SlotState::Acknowledged;
        if mutants::active(Mutant::AcknowledgeSaysNothing) {
            return;
        }
        let measured = point.measurement.and_then(|m| m.reading.temperature());
        let mut changing = Changing {
            now,
            id: alarm.point,
            point,
            temperature: measured.or(alarm.temperature),
            events,
        };
        changing.say(alarm.id, alarm.kind, Transition::Acknowledged);
        if point.measurement.is_none() {
            // No measurement will ever clear it.
            self.clear(alarm.kind, &mut changing);
        }
    }

    /// When the first test alarm stops being held.
    #[must_use]
    pub(crate) fn held_until(&self) -> Option<u64> {
        self.slots
            .iter()
            .flatten()
            .filter_map(Slot::held_until)
            .min()
    }

    /// Lets go of test alarms that were held long enough; those without a sensor end here.
    pub(crate) fn release(&mut self, now: Now, points: &crate::Points, events: &mut Events) {
        for (id, point) in points.iter().enumerate() {
            for kind in AlarmKind::ALL {
                let slot = &mut self.slots[id][kind as usize];
                if slot.held_until().is_none_or(|until| until > now.uptime_ms) {
                    continue;
                }
                slot.state = SlotState::Active;
                if point.measurement.is_none() {
                    let mut clearing = Changing {
                        now,
                        id,
                        point,
                        temperature: None,
                        events,
                    };
                    self.clear(kind, &mut clearing);
                }
            }
        }
    }

    fn raise(&mut self, kind: AlarmKind, state: SlotState, change: &mut Changing<'_>) {
        let slot = &mut self.slots[change.id][kind as usize];
        match slot.state {
            SlotState::Normal => {}
            // What was a test is real now.
            SlotState::Held if state == SlotState::Active => {
                slot.state = state;
                return;
            }
            SlotState::Held | SlotState::Active | SlotState::Acknowledged => return,
        }
        self.last_number = self.last_number.wrapping_add(1);
        *slot = Slot {
            raised_ms: change.now.uptime_ms,
            number: self.last_number,
            temperature: change.temperature.map_or(NO_TEMPERATURE, Tenths::get),
            state,
        };
        let id = AlarmId {
            boot: self.boot,
            number: slot.number,
        };
        change.say(id, kind, Transition::Raised);
    }

    fn clear(&mut self, kind: AlarmKind, change: &mut Changing<'_>) {
        let slot = &mut self.slots[change.id][kind as usize];
        let transition = match slot.state {
            SlotState::Active => Transition::Cleared,
            SlotState::Acknowledged => Transition::ClearedAcknowledged,
            SlotState::Normal | SlotState::Held => return,
        };
        let id = AlarmId {
            boot: self.boot,
            number: slot.number,
        };
        *slot = Slot::NORMAL;
        change.say(id, kind, transition);
        if mutants::active(Mutant::ClearSentTwice) {
            change.say(id, kind, transition);
        }
    }
}

/// What the changes of one point have in common.
struct Changing<'c> {
    now: Now,
    id: usize,
    point: &'c Point,
    temperature: Option<Tenths>,
    events: &'c mut Events,
}

impl Changing<'_> {
    fn say(&mut self, id: AlarmId, kind: AlarmKind, transition: Transition) {
        self.events.push(Event::Alarm(AlarmChange {
            at: self.now.timestamp(),
            id,
            kind,
            // Below `POINTS`.
            point: self.id as u8,
            transition,
            temperature: self.temperature,
            threshold: kind.threshold(&self.point.thresholds),
        }));
    }
}

fn raises(kind: AlarmKind, thresholds: &Thresholds, reading: Option<Reading>) -> bool {
    match (kind.side(), reading) {
        (Some(Side::Low), _) if mutants::active(Mutant::LowAlarmsMissing) => false,
        (Some(side), Some(Reading::Temperature(value))) => thresholds.raises(side, value),
        (None, Some(Reading::Error | Reading::Disconnected)) => true,
        _ => false,
    }
}

/// A sensor that gives no temperature says nothing of the temperature: those alarms stay. A point
/// without a sensor has no alarms.
fn clears(kind: AlarmKind, thresholds: &Thresholds, reading: Option<Reading>) -> bool {
    match (kind.side(), reading) {
        (_, None) => true,
        (Some(side), Some(Reading::Temperature(value))) => {
            if mutants::active(Mutant::HysteresisIgnored) {
                return !thresholds.raises(side, value);
            }
            thresholds.clears(side, value)
        }
        (None, Some(Reading::Temperature(_))) => true,
        (_, Some(Reading::Error | Reading::Disconnected)) => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{actions, at, controller, done, measure, read, refused};
    use crate::{Action, Controller};

    /// The alarm messages that are due, each as `type transition temperature`.
    fn messages(c: &mut Controller, now: Now) -> Vec<String> {
        let changes = actions(c, now)
            .into_iter()
            .filter_map(|action| match action {
                Action::PublishAlarm(change) => Some(change),
                _ => None,
            });
        changes
            .map(|change| {
                let temperature = change.temperature.map_or("-".into(), |t| t.to_string());
                let (kind, transition) = (change.kind.name(), change.transition.name());
                format!("{kind} {transition} {temperature}")
            })
            .collect()
    }

    fn check(readings: &[i16], expected: &[&str]) {
        let mut c = controller();
        let mut found = Vec::new();
        for (index, tenths) in readings.iter().enumerate() {
            let now = at(1_000 * index as u64);
            measure(&mut c, now, 5, *tenths);
            found.extend(messages(&mut c, now));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_temperature_raises_once_and_clears_only_past_the_hysteresis() {
        check(&[850, 849, -200], &[]);
        check(
            &[851, 900, 849, 831, 860, 830, 829],
            &[
                "HIGH_TEMP NORMAL->ACTIVE 85.1",
                "HIGH_TEMP ACTIVE->CLEARED 83.0",
            ],
        );
        check(
            &[-201, -300, -199, -181, -180],
            &[
                "LOW_TEMP NORMAL->ACTIVE -20.1",
                "LOW_TEMP ACTIVE->CLEARED -18.0",
            ],
        );
        check(
            &[900, -300],
            &[
                "HIGH_TEMP NORMAL->ACTIVE 90.0",
                "HIGH_TEMP ACTIVE->CLEARED -30.0",
                "LOW_TEMP NORMAL->ACTIVE -30.0",
            ],
        );
    }

    #[test]
    fn a_sensor_in_error_says_nothing_of_the_temperature() {
        let mut c = controller();
        let now = at(0);
        measure(&mut c, now, 5, 900);
        read(&mut c, now, 5, Reading::Error);
        read(&mut c, now, 5, Reading::Disconnected);
        assert_eq!(
            messages(&mut c, now),
            [
                "HIGH_TEMP NORMAL->ACTIVE 90.0",
                "SENSOR_ERROR NORMAL->ACTIVE -"
            ]
        );
        measure(&mut c, now, 5, 840);
        assert_eq!(messages(&mut c, now), ["SENSOR_ERROR ACTIVE->CLEARED 84.0"]);
    }

    #[test]
    fn a_point_that_loses_its_sensor_loses_its_alarms() {
        let mut c = controller();
        measure(&mut c, at(0), 5, 900);
        c.measured(at(1), 5, None);
        assert_eq!(
            messages(&mut c, at(1)),
            [
                "HIGH_TEMP NORMAL->ACTIVE 90.0",
                "HIGH_TEMP ACTIVE->CLEARED -"
            ]
        );
    }

    #[test]
    fn an_alarm_is_acknowledged_once_and_clears_from_there() {
        let mut c = controller();
        measure(&mut c, at(0), 5, 900);
        let id = r#"{"alarm_id":"ALM-7-1"}"#;
        for _ in 0..2 {
            let alarm = done(&mut c, at(1), "acknowledge_alarm", id);
            assert_eq!(
                (&alarm["alarm_id"], &alarm["state"]),
                (&"ALM-7-1".into(), &"ACKNOWLEDGED".into())
            );
        }
        measure(&mut c, at(2), 5, 910);
        measure(&mut c, at(3), 5, 830);
        assert_eq!(
            messages(&mut c, at(3)),
            [
                "HIGH_TEMP NORMAL->ACTIVE 90.0",
                "HIGH_TEMP ACTIVE->ACKNOWLEDGED 90.0",
                "HIGH_TEMP ACKNOWLEDGED->CLEARED 83.0",
            ]
        );
        assert_eq!(
            refused(&mut c, at(4), "acknowledge_alarm", id),
            "Unknown alarm: none with this id is active"
        );
    }

    #[test]
    fn every_alarm_has_an_id_of_its_own() {
        let mut c = controller();
        let mut ids = Vec::new();
        for round in 0..100 {
            measure(&mut c, at(round), 5, 900);
            ids.extend(c.alarms().iter().map(|alarm| alarm.id.number));
            measure(&mut c, at(round), 5, 200);
        }
        assert_eq!(ids, (1..=100).collect::<Vec<u32>>());
    }

    #[test]
    fn the_message_has_every_field_of_the_contract() {
        let mut c = controller();
        measure(&mut c, at(61_250), 5, 951);
        let Some(Action::PublishAlarm(change)) = c.poll(at(61_250)) else {
            panic!("an alarm");
        };
        let mut text = String::new();
        change.write(&mut text).expect("room");
        expect![[r#"{"alarm_id":"ALM-7-1","alarm_type":"HIGH_TEMP","point_id":5,"point_name":"Point_5","priority":"HIGH","state_transition":"NORMAL->ACTIVE","temperature":95.1,"threshold":85.0,"timestamp":"2026-11-23T18:02:35.120Z"}"#]].assert_eq(&text);
        text.clear();
        read(&mut c, at(61_250), 59, Reading::Error);
        let Some(Action::PublishAlarm(change)) = c.poll(at(61_250)) else {
            panic!("an alarm");
        };
        change.write(&mut text).expect("room");
        expect![[r#"{"alarm_id":"ALM-7-2","alarm_type":"SENSOR_ERROR","point_id":59,"point_name":"Point_59","priority":"LOW","state_transition":"NORMAL->ACTIVE","temperature":null,"threshold":null,"timestamp":"2026-11-23T18:02:35.120Z"}"#]].assert_eq(&text);
    }

    const TEST: &str = r#"{"point_id":5,"alarm_type":"HIGH_TEMP","test_value":95.0}"#;

    #[test]
    fn a_test_alarm_is_held_and_then_cleared_by_a_measurement() {
        let mut c = controller();
        measure(&mut c, at(0), 5, 200);
        let alarm = done(&mut c, at(1_000), "test_alarm", TEST);
        assert_eq!(alarm["raised"], true);
        assert_eq!(alarm["temperature"], 95.0);
        assert_eq!(c.poll_at(), 0);
        assert_eq!(
            messages(&mut c, at(1_000)),
            ["HIGH_TEMP NORMAL->ACTIVE 95.0"]
        );
        assert_eq!(c.poll_at(), 11_000, "when it is let go");
        measure(&mut c, at(10_999), 5, 200);
        assert_eq!(messages(&mut c, at(10_999)), Vec::<String>::new());
        assert_eq!(
            done(&mut c, at(10_999), "test_alarm", TEST)["raised"],
            false
        );
        assert_eq!(messages(&mut c, at(11_000)), Vec::<String>::new());
        measure(&mut c, at(11_001), 5, 840);
        assert_eq!(
            messages(&mut c, at(11_001)),
            Vec::<String>::new(),
            "hysteresis"
        );
        measure(&mut c, at(11_002), 5, 200);
        assert_eq!(
            messages(&mut c, at(11_002)),
            ["HIGH_TEMP ACTIVE->CLEARED 20.0"]
        );
    }

    #[test]
    fn an_acknowledged_test_alarm_clears_with_the_next_measurement() {
        let mut c = controller();
        measure(&mut c, at(0), 5, 200);
        done(&mut c, at(0), "test_alarm", TEST);
        done(
            &mut c,
            at(1),
            "acknowledge_alarm",
            r#"{"alarm_id":"ALM-7-1"}"#,
        );
        measure(&mut c, at(2), 5, 200);
        assert_eq!(
            messages(&mut c, at(2)),
            [
                "HIGH_TEMP NORMAL->ACTIVE 95.0",
                "HIGH_TEMP ACTIVE->ACKNOWLEDGED 20.0",
                "HIGH_TEMP ACKNOWLEDGED->CLEARED 20.0",
            ]
        );
    }

    #[test]
    fn a_test_alarm_at_a_point_without_a_sensor_ends_by_itself() {
        let mut c = controller();
        done(&mut c, at(0), "test_alarm", TEST);
        assert_eq!(messages(&mut c, at(9_999)).len(), 1);
        assert_eq!(
            messages(&mut c, at(10_000)),
            ["HIGH_TEMP ACTIVE->CLEARED -"]
        );
        done(&mut c, at(10_000), "test_alarm", TEST);
        done(
            &mut c,
            at(10_001),
            "acknowledge_alarm",
            r#"{"alarm_id":"ALM-7-2"}"#,
        );
        assert_eq!(messages(&mut c, at(10_001)).len(), 3);
        assert_eq!(c.alarms().iter().count(), 0);
    }

    #[test]
    fn a_value_really_beyond_makes_a_test_alarm_a_real_one() {
        let mut c = controller();
        done(&mut c, at(0), "test_alarm", TEST);
        measure(&mut c, at(1), 5, 900);
        measure(&mut c, at(2), 5, 200);
        assert_eq!(
            messages(&mut c, at(2)),
            [
                "HIGH_TEMP NORMAL->ACTIVE 95.0",
                "HIGH_TEMP ACTIVE->CLEARED 20.0"
            ]
        );
    }

    #[test]
    fn sixty_alarms_at_once_are_sixty_messages() {
        let mut c = controller();
        for id in 0..POINTS {
            measure(&mut c, at(0), id, 900);
            read(&mut c, at(0), id, Reading::Error);
        }
        assert_eq!(messages(&mut c, at(0)).len(), 120);
        assert_eq!(c.counters().events_dropped, 0);
        assert_eq!(c.alarms().iter().count(), 120);
    }

    #[test]
    fn the_relay_that_follows_the_alarms_is_on_while_one_is_unacknowledged() {
        let mut c = controller();
        done(&mut c, at(0), "set_config", r#"{"alarm_relay":3}"#);
        let relay = |c: &mut Controller, now| {
            let changes = actions(c, now)
                .into_iter()
                .filter_map(|action| match action {
                    Action::PublishRelay(change) => {
                        Some((change.relay.number(), change.on, change.cause.name()))
                    }
                    _ => None,
                });
            changes.collect::<Vec<_>>()
        };
        measure(&mut c, at(0), 5, 900);
        assert_eq!(relay(&mut c, at(0)), [(3, true, "alarm")]);
        measure(&mut c, at(1), 6, 900);
        assert_eq!(relay(&mut c, at(1)), vec![]);
        done(
            &mut c,
            at(2),
            "acknowledge_alarm",
            r#"{"alarm_id":"ALM-7-1"}"#,
        );
        assert_eq!(relay(&mut c, at(2)), vec![]);
        done(&mut c, at(3), "set_config", r#"{"alarm_relay":4}"#);
        assert_eq!(
            relay(&mut c, at(3)),
            [(3, false, "alarm"), (4, true, "alarm")]
        );
        measure(&mut c, at(4), 6, 200);
        assert_eq!(relay(&mut c, at(4)), [(4, false, "alarm")]);
        done(&mut c, at(5), "set_config", r#"{"alarm_relay":0}"#);
        measure(&mut c, at(5), 6, 900);
        assert_eq!(relay(&mut c, at(5)), vec![]);
    }

    /// One step of a point's life.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Reading(Reading),
        NoSensor,
        Test(AlarmKind),
        AcknowledgeAll,
        Wait,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (-500_i16..=2_000).prop_map(|t| Step::Reading(Reading::Temperature(Tenths::constant(t)))),
            1 => Just(Step::Reading(Reading::Error)),
            1 => Just(Step::Reading(Reading::Disconnected)),
            1 => Just(Step::NoSensor),
            2 => prop::sample::select(&AlarmKind::ALL[..]).prop_map(Step::Test),
            2 => Just(Step::AcknowledgeAll),
            1 => Just(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens, the messages of each alarm are a walk along the arrows of the diagram,
        /// one message an arrow, and end in the state that the alarm is in.
        #[test]
        fn each_change_of_an_alarm_is_one_message(steps in proptest::collection::vec(step(), 0..60)) {
            let mut c = controller();
            let mut now = at(0);
            let mut told = [AlarmState::Normal; 3];
            for step in steps {
                now = at(now.uptime_ms + 1_000);
                match step {
                    Step::Reading(reading) => read(&mut c, now, 5, reading),
                    Step::NoSensor => c.measured(now, 5, None),
                    Step::Test(kind) => {
                        let parameters = format!(
                            r#"{{"point_id":5,"alarm_type":"{}","test_value":0}}"#,
                            kind.name()
                        );
                        done(&mut c, now, "test_alarm", &parameters);
                    }
                    Step::AcknowledgeAll => {
                        let alarms: Vec<Alarm> = c.alarms().iter().collect();
                        for alarm in alarms {
                            let parameters = format!(r#"{{"alarm_id":"{}"}}"#, alarm.id);
                            done(&mut c, now, "acknowledge_alarm", &parameters);
                        }
                    }
                    Step::Wait => now = at(now.uptime_ms + TEST_HOLD_MS),
                }
                for action in actions(&mut c, now) {
                    let Action::PublishAlarm(change) = action else { continue };
                    let state = &mut told[change.kind as usize];
                    let (from, to) = match change.transition {
                        Transition::Raised => (AlarmState::Normal, AlarmState::Active),
                        Transition::Acknowledged => (AlarmState::Active, AlarmState::Acknowledged),
                        Transition::Cleared => (AlarmState::Active, AlarmState::Normal),
                        Transition::ClearedAcknowledged => (AlarmState::Acknowledged, AlarmState::Normal),
                    };
                    prop_assert_eq!(*state, from, "{:?}", change);
                    *state = to;
                }
                for kind in AlarmKind::ALL {
                    let state = c.alarms().get(5, kind).map_or(AlarmState::Normal, |a| a.state);
                    prop_assert_eq!(told[kind as usize], state);
                }
            }
        }
    }
}
