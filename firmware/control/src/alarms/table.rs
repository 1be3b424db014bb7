//! The table of alarms: one place for each kind at each point, and what moves each along its arrows.

use core::fmt::Write as _;

use super::{Alarm, AlarmChange, AlarmId, AlarmKind, AlarmState, TEST_HOLD_MS, Transition};
use crate::Now;
use crate::document::Text;
use crate::events::{Event, Events};
use crate::mutants::{self, Mutant};
use crate::points::{POINTS, Point, Points, Reading, Tenths};
use crate::thresholds::{Side, Thresholds};

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
    pub(crate) fn release(&mut self, now: Now, points: &Points, events: &mut Events) {
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
