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

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Relay {
    on: bool,
    /// Whether it is on when no timer runs.
    rests_on: bool,
    /// Uptime at which it goes back to rest.
    back_ms: Option<u64>,
}

/// All relays; off at boot.
#[derive(Clone, Debug, Default, PartialEq)]
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

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{actions, at, controller, done, refused};
    use crate::{Action, Controller};

    /// `set_relay` of relay 1, as `old_state->new_state`.
    fn set(c: &mut Controller, ms: u64, state: &str, duration: u32) -> String {
        let parameters = format!(r#"{{"relay_id":1,"state":"{state}","duration":{duration}}}"#);
        let data = done(c, at(ms), "set_relay", &parameters);
        let text = |name: &str| data[name].as_str().expect("text").to_owned();
        format!("{}->{}", text("old_state"), text("new_state"))
    }

    /// What happens at that time: contacts and events.
    fn happens(c: &mut Controller, ms: u64) -> Vec<String> {
        let described = actions(c, at(ms))
            .into_iter()
            .filter_map(|action| match action {
                Action::SwitchRelay { relay, on } => {
                    Some(format!("contact {} {}", relay.number(), state_name(on)))
                }
                Action::PublishRelay(RelayChange {
                    relay, on, cause, ..
                }) => Some(format!(
                    "event {} {} {}",
                    relay.number(),
                    state_name(on),
                    cause.name()
                )),
                _ => None,
            });
        described.collect()
    }

    #[test]
    fn on_off_and_toggle_switch_and_say_so() {
        let mut c = controller();
        assert_eq!(set(&mut c, 0, "ON", 0), "OFF->ON");
        assert_eq!(happens(&mut c, 0), ["contact 1 ON", "event 1 ON command"]);
        assert_eq!(set(&mut c, 1, "ON", 0), "ON->ON");
        assert_eq!(happens(&mut c, 1), [""; 0], "nothing changed");
        assert_eq!(set(&mut c, 2, "TOGGLE", 0), "ON->OFF");
        assert_eq!(happens(&mut c, 2), ["contact 1 OFF", "event 1 OFF command"]);
        assert_eq!(set(&mut c, 3, "TOGGLE", 0), "OFF->ON");
        assert_eq!(set(&mut c, 3, "OFF", 0), "ON->OFF");
        assert_eq!(
            happens(&mut c, 3),
            ["contact 1 OFF", "event 1 ON command", "event 1 OFF command"],
            "one contact, where it is to be; each change told"
        );
    }

    #[test]
    fn a_relay_on_for_a_while_goes_off_after_it() {
        let mut c = controller();
        set(&mut c, 500, "ON", 5);
        happens(&mut c, 500);
        assert_eq!(c.poll_at(), 5_500);
        assert_eq!(happens(&mut c, 5_499), [""; 0]);
        assert_eq!(
            happens(&mut c, 5_500),
            ["contact 1 OFF", "event 1 OFF timer"]
        );
        assert_eq!(happens(&mut c, 59_000), [""; 0]);
    }

    #[test]
    fn a_relay_on_for_good_that_is_switched_on_for_a_while_goes_off_too() {
        let mut c = controller();
        set(&mut c, 0, "ON", 0);
        set(&mut c, 0, "ON", 5);
        happens(&mut c, 0);
        assert_eq!(
            happens(&mut c, 5_000),
            ["contact 1 OFF", "event 1 OFF timer"]
        );
    }

    #[test]
    fn a_relay_off_for_a_while_goes_on_again_only_if_it_was_on_for_good() {
        let mut c = controller();
        set(&mut c, 0, "OFF", 5);
        assert_eq!(happens(&mut c, 5_000), [""; 0], "it was off");
        set(&mut c, 6_000, "ON", 0);
        set(&mut c, 6_000, "OFF", 5);
        happens(&mut c, 6_000);
        assert_eq!(
            happens(&mut c, 11_000),
            ["contact 1 ON", "event 1 ON timer"]
        );
        set(&mut c, 12_000, "ON", 10);
        set(&mut c, 12_000, "OFF", 5);
        happens(&mut c, 12_000);
        assert_eq!(
            happens(&mut c, 30_000),
            [""; 0],
            "it was on for a while only"
        );
    }

    #[test]
    fn a_new_command_ends_the_timer() {
        let mut c = controller();
        set(&mut c, 0, "ON", 5);
        set(&mut c, 4_000, "ON", 5);
        happens(&mut c, 4_000);
        assert_eq!(happens(&mut c, 8_999), [""; 0], "it began anew");
        set(&mut c, 8_999, "ON", 0);
        assert_eq!(happens(&mut c, 59_000), [""; 0], "on until changed");
    }

    #[test]
    fn relays_have_numbers_from_one_to_eight() {
        let mut c = controller();
        for (parameters, message) in [
            (
                r#"{"relay_id":0,"state":"ON"}"#,
                "Relay ID out of range: 1 to 8",
            ),
            (
                r#"{"relay_id":9,"state":"ON"}"#,
                "Relay ID out of range: 1 to 8",
            ),
            (
                r#"{"relay_id":257,"state":"ON"}"#,
                "Relay ID out of range: 1 to 8",
            ),
            (
                r#"{"relay_id":1,"state":"on"}"#,
                "Invalid parameter value: state takes `ON`, `OFF` or `TOGGLE`",
            ),
            (
                r#"{"relay_id":1,"state":"ON","duration":-1}"#,
                "Parameter out of range: duration takes seconds, 0 to 604800; 0 until changed",
            ),
            (
                r#"{"relay_id":1,"state":"ON","duration":4294967297}"#,
                "Parameter out of range: duration takes seconds, 0 to 604800; 0 until changed",
            ),
            (
                r#"{"relay_id":1,"state":true}"#,
                "Invalid parameter type: state",
            ),
        ] {
            assert_eq!(refused(&mut c, at(0), "set_relay", parameters), message);
        }
        for id in 1..=8 {
            let parameters = format!(r#"{{"relay_id":{id},"state":"ON"}}"#);
            done(&mut c, at(0), "set_relay", &parameters);
        }
        assert!(RelayId::all().all(|id| c.relays().is_on(id)));
    }

    proptest! {
        /// Whatever is commanded when: events alternate, the contact follows them, a relay that was
        /// switched on for a while is off once that is over.
        #[test]
        fn events_and_contact_agree(steps in proptest::collection::vec((0_u64..8_000, 0..3_usize, 0_u32..6), 1..40)) {
            let mut c = controller();
            let (mut now_ms, mut contact, mut told) = (0, false, false);
            let mut off_by = None;
            for (wait_ms, state, duration) in steps {
                let next_ms = now_ms + wait_ms;
                while now_ms <= next_ms {
                    for action in actions(&mut c, at(now_ms)) {
                        match action {
                            Action::SwitchRelay { on, .. } => contact = on,
                            Action::PublishRelay(change) => {
                                prop_assert_ne!(change.on, told);
                                told = change.on;
                            }
                            _ => {}
                        }
                    }
                    prop_assert_eq!(contact, told);
                    prop_assert_eq!(contact, c.relays().is_on(RelayId(1)));
                    prop_assert!(off_by.is_none_or(|off_by| now_ms < off_by || !contact));
                    now_ms = c.poll_at().max(now_ms + 1);
                }
                now_ms = next_ms;
                set(&mut c, now_ms, ["ON", "OFF", "TOGGLE"][state], duration);
                let on = c.relays().is_on(RelayId(1));
                off_by = (on && duration > 0).then(|| now_ms + u64::from(duration) * 1_000);
            }
        }
    }
}
