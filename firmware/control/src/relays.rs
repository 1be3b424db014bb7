//! The eight relays: on, off, and back again after a while.
//!
//! `duration` is how long a state is to last. Switched on for a while, a relay goes off after it,
//! whatever it was before: energised is what must not be forgotten. Switched off for a while, it
//! goes on again only if it was to stay on before; one that was off stays off. Whatever switches a
//! relay anew ends its timer.

use core::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::Now;
use crate::events::{Event, Events};
use crate::json::Object;
use crate::mutants::{self, Mutant};
use crate::timestamp::Timestamp;

/// How many relays there are.
pub const RELAYS: usize = 8;

/// The longest `duration`, a week, seconds.
pub const DURATION_S_MAX: u32 = 7 * 86_400;

/// The number of a relay, 1 to [`RELAYS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct RelayId(u8);

impl RelayId {
    /// Every relay.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=RELAYS as u8).map(Self)
    }

    /// The relay of that number, if there is one.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=RELAYS)
            .contains(&usize::from(number))
            .then_some(Self(number))
    }

    /// Its number, 1 to [`RELAYS`].
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its place in a list of all, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// No relay has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRelay;

impl fmt::Display for NoRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relays are numbered 1 to {RELAYS}")
    }
}

impl TryFrom<u8> for RelayId {
    type Error = NoRelay;

    fn try_from(number: u8) -> Result<Self, NoRelay> {
        Self::new(number).ok_or(NoRelay)
    }
}

impl From<RelayId> for u8 {
    fn from(relay: RelayId) -> Self {
        relay.0
    }
}

/// What a relay is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// `ON`
    On,
    /// `OFF`
    Off,
    /// `TOGGLE`
    Toggle,
}

/// What switched a relay: the field `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A command, by itself or by a schedule.
    Command,
    /// Its duration was over.
    Timer,
    /// It follows the alarms: [`crate::Configuration::alarm_relay`].
    Alarm,
}

impl Cause {
    /// As the contract writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Timer => "timer",
            Self::Alarm => "alarm",
        }
    }
}

/// `ON` or `OFF`.
#[must_use]
pub fn state_name(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// One change of one relay: what the message on `event/relay` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayChange {
    /// When.
    pub at: Timestamp,
    /// Which relay.
    pub relay: RelayId,
    /// Whether it is on now.
    pub on: bool,
    /// Why.
    pub cause: Cause,
}

impl RelayChange {
    /// Writes the message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut message = Object::begin(out)?;
        message.number("relay_id", self.relay.number())?;
        message.text("state", state_name(self.on))?;
        message.text("cause", self.cause.name())?;
        message.text("timestamp", self.at)?;
        message.end()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Relay {
    on: bool,
    /// Whether it is on when no timer runs.
    rests_on: bool,
    /// Uptime at which it goes back to rest.
    back_ms: Option<u64>,
}

/// All relays; off at boot.
#[derive(Clone, Debug, Default)]
pub struct Relays {
    relays: [Relay; RELAYS],
    /// Those whose contact is not where it should be, one bit each.
    to_switch: u8,
}

impl Relays {
    /// Whether a relay is on.
    #[must_use]
    pub fn is_on(&self, relay: RelayId) -> bool {
        self.relays[relay.index()].on
    }

    /// Switches a relay, for `duration_s` or, with 0, until it is switched again; whether it was on
    /// before, and is now.
    pub(crate) fn switch(
        &mut self,
        now: Now,
        id: RelayId,
        switch: Switch,
        duration_s: u32,
        cause: Cause,
        events: &mut Events,
    ) -> (bool, bool) {
        let relay = &mut self.relays[id.index()];
        let was_on = relay.on;
        let on = match switch {
            Switch::On => true,
            Switch::Off => false,
            Switch::Toggle => !was_on || mutants::active(Mutant::ToggleAlwaysCloses),
        };
        let duration_ms = if mutants::active(Mutant::DurationInMilliseconds) {
            u64::from(duration_s)
        } else {
            u64::from(duration_s) * 1_000
        };
        match (duration_s, on) {
            (0, _) => relay.rests_on = on,
            (_, true) => relay.rests_on = false,
            (_, false) => {}
        }
        relay.back_ms = (duration_s > 0 && relay.rests_on != on)
            .then_some(now.uptime_ms.saturating_add(duration_ms));
        self.set(now, id, on, cause, events);
        (was_on, on)
    }

    /// When the first timer is over.
    #[must_use]
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.relays.iter().filter_map(|relay| relay.back_ms).min()
    }

    /// Switches back what is due.
    pub(crate) fn poll(&mut self, now: Now, events: &mut Events) {
        for id in RelayId::all() {
            let relay = &mut self.relays[id.index()];
            if relay.back_ms.is_some_and(|due| due <= now.uptime_ms) {
                relay.back_ms = None;
                let on = relay.rests_on;
                self.set(now, id, on, Cause::Timer, events);
            }
        }
    }

    /// A relay whose contact is to be moved, and where to.
    pub(crate) fn next_to_switch(&mut self) -> Option<(RelayId, bool)> {
        let id = RelayId::all().find(|id| self.to_switch & bit(*id) != 0)?;
        self.to_switch &= !bit(id);
        Some((id, self.is_on(id)))
    }

    /// Whether there is a contact to be moved.
    #[must_use]
    pub(crate) fn any_to_switch(&self) -> bool {
        self.to_switch != 0
    }

    fn set(&mut self, now: Now, id: RelayId, on: bool, cause: Cause, events: &mut Events) {
        let relay = &mut self.relays[id.index()];
        if relay.on == on {
            return;
        }
        relay.on = on;
        if !mutants::active(Mutant::ContactNotSwitched) {
            self.to_switch |= bit(id);
        }
        if cause == Cause::Timer && mutants::active(Mutant::TimerEventMissing) {
            return;
        }
        events.push(Event::Relay(RelayChange {
            at: now.timestamp(),
            relay: id,
            on,
            cause,
        }));
    }
}

fn bit(id: RelayId) -> u8 {
    1 << id.index()
}
