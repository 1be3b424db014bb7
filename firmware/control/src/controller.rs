//! The controller: state, inputs, and what is to be done about them.
//!
//! ```text
//!   measured ──▶ ┌────────────┐ ──▶ poll: publish this, move that contact, keep this in flash
//!   requests ──▶ │ Controller │
//!       HTTP ──▶ │            │ ──▶ poll_at: when to ask again
//!       time ──▶ └────────────┘
//! ```
//! Whatever was put in, the firmware then asks [`Controller::poll`] until there is nothing more.
//! It does so online and offline: alarms, relays and schedules don't wait for a broker. An
//! [`Action`] that publishes holds all of its message, or asks for one that is written there and
//! then, so that the firmware can put it aside until there is a broker again. While it has no room to
//! put one aside, it asks [`Controller::poll_without_events`].
//!
//! What a command changes for good is kept before it counts and is answered ([`Keeper`]). What
//! changes otherwise, by schedules and by provisioning, counts at once, and is to be kept
//! ([`Action::Keep`]) until it is.

mod carry_out;

use core::fmt::{self, Write};

use heapless::String;

use crate::alarms::{AlarmChange, Alarms};
use crate::configuration::Configuration;
use crate::configuration_json::ConfigurationError;
use crate::events::{Event, Events};
use crate::kept::{self, BadKept, Keeper, Kept, NotKept, TooShort};
use crate::mutants::{self, Mutant};
use crate::orders::Order;
use crate::points::{Measurement, Points, Reading};
use crate::relays::{Cause, RelayChange, RelayId, Relays, Switch};
use crate::responses;
pub use crate::responses::Handled;
use crate::schedules::{Schedules, next_on_grid};
use crate::{Clock, DeviceStatus, Now, telemetry};

/// From a failure to keep something to the next attempt.
const KEEP_AGAIN_MS: u64 = 30_000;

/// What the controller is told once, at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Version of the firmware.
    pub firmware_version: String<24>,
    /// Which boot this is: the first part of alarm ids.
    pub boot_count: u32,
}

impl Identity {
    /// An identity; a version that is too long is cut.
    #[must_use]
    pub fn new(firmware_version: &str, boot_count: u32) -> Self {
        Self {
            firmware_version: firmware_version
                .chars()
                .filter(char::is_ascii)
                .take(24)
                .collect(),
            boot_count,
        }
    }
}

/// What the firmware is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Move the contact of a relay.
    SwitchRelay {
        /// Which.
        relay: RelayId,
        /// Whether it is to be on.
        on: bool,
    },
    /// Publish the change on `alarm/active`, QoS 1: [`AlarmChange::write`].
    PublishAlarm(AlarmChange),
    /// Publish the change on `event/relay`, QoS 1: [`RelayChange::write`].
    PublishRelay(RelayChange),
    /// Keep this in flash: [`Controller::keep`]; or else [`Controller::not_kept`].
    Keep(Kept),
    /// The MQTT session no longer is what [`Controller::configuration`] asks for: end it.
    Reconnect,
    /// Publish [`Controller::write_summary`] on `telemetry/summary`, QoS 1.
    PublishSummary,
    /// Publish [`Controller::write_temperature`] on `telemetry/temperature`, retained as configured,
    /// and [`Controller::write_system`] on `telemetry/system`, QoS 0 both.
    PublishTelemetry,
}

/// What the controller itself counts since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Alarm and relay messages that nobody fetched in time: [`crate::events`].
    pub events_dropped: u32,
    /// Orders of schedules that could not be carried out any more.
    pub schedule_errors: u32,
    /// Times that something could not be kept in flash.
    pub keep_errors: u32,
}

/// The temperature controller.
///
/// Two are equal when nothing could tell them apart: so a test sees that nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    identity: Identity,
    configuration: Configuration,
    points: Points,
    alarms: Alarms,
    relays: Relays,
    schedules: Schedules,
    events: Events,
    /// What has changed and is not in flash, one bit for each of [`Kept::ALL`].
    to_keep: u8,
    /// Uptime before which none of it is handed out, as flash has failed.
    keep_from_ms: u64,
    keep_errors: u32,
    /// Whether the session is to be opened anew.
    reconnect: bool,
    /// Whether the alarm relay was told to be on.
    alarm_output: bool,
    /// Number of the next temperature message.
    sequence: u32,
    /// Uptime at which the next telemetry is due; always on the grid that began at the first.
    telemetry_due_ms: u64,
    schedule_errors: u32,
    #[cfg(feature = "mutants")]
    previous: PreviousRequest,
}

/// When the request before came in, and its `cmd_id`: for [`Mutant::CmdIdOfAnotherRequest`]. No
/// part of the controller's state.
#[cfg(feature = "mutants")]
#[derive(Clone, Debug, Default)]
struct PreviousRequest(u64, String<64>);

#[cfg(feature = "mutants")]
impl PartialEq for PreviousRequest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Controller {
    /// A controller at boot: the first telemetry is due one interval from then.
    ///
    /// What was kept in flash is given to it by [`Controller::restore`], before anything else.
    #[must_use]
    pub fn new(identity: Identity, configuration: Configuration) -> Self {
        Self {
            alarms: Alarms::new(identity.boot_count),
            identity,
            telemetry_due_ms: interval_ms(&configuration),
            configuration,
            points: Points::default(),
            relays: Relays::default(),
            schedules: Schedules::default(),
            events: Events::default(),
            to_keep: 0,
            keep_from_ms: 0,
            keep_errors: 0,
            reconnect: false,
            alarm_output: false,
            sequence: 0,
            schedule_errors: 0,
            #[cfg(feature = "mutants")]
            previous: PreviousRequest::default(),
        }
    }

    /// What it was told at boot.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The configuration that it works with.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The measurement points.
    #[must_use]
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The alarms.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The relays.
    #[must_use]
    pub fn relays(&self) -> &Relays {
        &self.relays
    }

    /// The schedules.
    #[must_use]
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            events_dropped: self.events.dropped(),
            schedule_errors: self.schedule_errors,
            keep_errors: self.keep_errors,
        }
    }

    /// Takes what was measured at a point, `None` when it has no sensor, and raises and clears its
    /// alarms.
    ///
    /// # Panics
    /// When `id` is not below [`crate::POINTS`]: a bug of the caller, who numbers the points.
    pub fn measured(&mut self, now: Now, id: usize, measurement: Option<Measurement>) {
        let point = self
            .points
            .get_mut(id)
            .expect("points are numbered below 60");
        if !keeps_its_reading(id, point.measurement, measurement) {
            point.measurement = measurement;
        }
        let point = *point;
        self.alarms.measured(now, id, &point, &mut self.events);
        self.follow_alarms(now);
    }

    /// Takes another configuration, as provisioning has it; a new telemetry interval counts from
    /// `now`. Not for one that was not checked: [`Configuration::check`].
    pub fn configure(&mut self, now: Now, configuration: Configuration) {
        if configuration != self.configuration {
            self.mark(Kept::Configuration);
            self.apply(now, configuration);
        }
    }

    /// Works with another configuration from `now` on.
    fn apply(&mut self, now: Now, configuration: Configuration) {
        let old = core::mem::replace(&mut self.configuration, configuration);
        let new = &self.configuration;
        if new.telemetry_interval_s != old.telemetry_interval_s {
            self.telemetry_due_ms = now.uptime_ms.saturating_add(interval_ms(new));
        }
        self.reconnect |= !new.same_session(&old);
        let relay = new.alarm_relay;
        if relay != old.alarm_relay && self.alarm_output {
            self.switch_alarm_relay(now, old.alarm_relay, false);
            self.switch_alarm_relay(now, relay, true);
        }
    }

    /// Takes the changes of the configuration in the body of a `POST /api/mqtt/config`.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed.
    pub fn configure_json<'b>(
        &mut self,
        now: Now,
        body: &'b [u8],
    ) -> Result<(), ConfigurationError<'b>> {
        let mut changed = self.configuration.clone();
        let result = changed.take(body);
        if result.is_err() {
            if !mutants::active(Mutant::RefusedConfigurationKept) {
                return result;
            }
            changed = Configuration {
                telemetry_interval_s: changed.telemetry_interval_s,
                ..self.configuration.clone()
            };
        }
        self.configure(now, changed);
        result
    }

    /// Carries out the request in `payload`, received at `received_ms` of uptime, and writes
    /// exactly one JSON response to `out`. What it changes for good is kept with `keeper` first; if
    /// that fails, nothing has changed and the response is an error.
    ///
    /// # Errors
    /// What `out` says: it is full; [`crate::MESSAGE_BYTES_MAX`] is always enough.
    pub fn handle_request(
        &mut self,
        clock: &dyn Clock,
        received_ms: u64,
        status: &DeviceStatus,
        payload: &[u8],
        keeper: &mut dyn Keeper,
        out: &mut dyn Write,
    ) -> Result<Handled, fmt::Error> {
        responses::handle(self, clock, received_ms, status, payload, keeper, out)
    }

    /// Uptime, in milliseconds, at which [`Controller::poll`] has something to do.
    #[must_use]
    pub fn poll_at(&self) -> u64 {
        self.due_ms(true)
    }

    /// Uptime, in milliseconds, at which [`Controller::poll_without_events`] has something to do.
    #[must_use]
    pub fn poll_at_without_events(&self) -> u64 {
        self.due_ms(false)
    }

    fn due_ms(&self, with_events: bool) -> u64 {
        let waiting =
            self.relays.any_to_switch() || with_events && !self.events.is_empty() || self.reconnect;
        if waiting {
            return 0;
        }
        [
            self.relays.due_ms(),
            self.schedules.due_ms(with_events),
            self.alarms.held_until(),
            (self.to_keep != 0).then_some(self.keep_from_ms),
        ]
        .into_iter()
        .flatten()
        .fold(self.telemetry_due_ms, u64::min)
    }

    /// What is due now; ask again until there is nothing.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        self.next_action(now, true)
    }

    /// As [`Controller::poll`], while there is no room for messages that must not be lost: alarm and
    /// relay messages wait in [`crate::events`], summaries stay due, everything else goes on.
    pub fn poll_without_events(&mut self, now: Now) -> Option<Action> {
        self.next_action(now, false)
    }

    fn next_action(&mut self, now: Now, with_events: bool) -> Option<Action> {
        self.relays.poll(now, &mut self.events);
        if self
            .alarms
            .held_until()
            .is_some_and(|until| until <= now.uptime_ms)
        {
            self.alarms.release(now, &self.points, &mut self.events);
            self.follow_alarms(now);
        }
        loop {
            if let Some(action) = self.waiting(now, with_events) {
                return Some(action);
            }
            match self.schedules.next_due(now, with_events) {
                Some(Order::Summary) => return Some(Action::PublishSummary),
                Some(order) => {
                    if self.carry_out_order(now, order, None).is_err() {
                        self.schedule_errors = self.schedule_errors.saturating_add(1);
                    }
                }
                None => break,
            }
        }
        if now.uptime_ms < self.telemetry_due_ms {
            return None;
        }
        let interval_ms = interval_ms(&self.configuration);
        self.telemetry_due_ms = next_on_grid(self.telemetry_due_ms, interval_ms, now.uptime_ms);
        Some(Action::PublishTelemetry)
    }

    /// What has been decided and not been fetched; contacts first.
    fn waiting(&mut self, now: Now, with_events: bool) -> Option<Action> {
        if let Some((relay, on)) = self.relays.next_to_switch() {
            return Some(Action::SwitchRelay { relay, on });
        }
        match with_events.then(|| self.events.pop()).flatten() {
            Some(Event::Alarm(change)) => return Some(Action::PublishAlarm(change)),
            Some(Event::Relay(change)) => return Some(Action::PublishRelay(change)),
            None => {}
        }
        for kept in Kept::ALL {
            if self.to_keep & bit(kept) != 0 && self.keep_from_ms <= now.uptime_ms {
                self.to_keep &= !bit(kept);
                if !is_forgotten(kept) {
                    return Some(Action::Keep(kept));
                }
            }
        }
        core::mem::take(&mut self.reconnect).then_some(Action::Reconnect)
    }

    /// The bytes that are to be kept; [`crate::KEPT_BYTES_MAX`] is always enough.
    ///
    /// # Errors
    /// [`TooShort`]: `buffer` is.
    pub fn keep<'b>(&self, kept: Kept, buffer: &'b mut [u8]) -> Result<&'b [u8], TooShort> {
        match kept {
            Kept::Configuration => kept::write_configuration(&self.configuration, buffer),
            Kept::Schedules => kept::write_schedules(&self.schedules, buffer),
            Kept::Thresholds => kept::write_thresholds(&self.points, buffer),
        }
    }

    /// Notes that flash refused what was to be kept: it is to be kept again, but not at once.
    pub fn not_kept(&mut self, now: Now, kept: Kept) {
        self.keep_errors = self.keep_errors.saturating_add(1);
        self.keep_from_ms = now.uptime_ms.saturating_add(KEEP_AGAIN_MS);
        self.mark(kept);
    }

    /// Keeps what a command is about to change.
    fn keep_now(
        &mut self,
        now: Now,
        kept: Kept,
        bytes: Result<&[u8], TooShort>,
        keeper: &mut dyn Keeper,
    ) -> Result<(), NotKept> {
        let bytes = bytes.map_err(|TooShort| NotKept)?;
        if is_forgotten(kept) || keeper.keep(kept, bytes).is_ok() {
            self.to_keep &= !bit(kept);
            Ok(())
        } else {
            // Nobody knows what flash has now: it is to have what the device goes on with.
            self.not_kept(now, kept);
            Err(NotKept)
        }
    }

    /// Takes what was kept; `now` is when the schedules begin.
    ///
    /// # Errors
    /// [`BadKept`]; nothing has changed.
    pub fn restore(&mut self, now: Now, kept: Kept, bytes: &[u8]) -> Result<(), BadKept> {
        match kept {
            Kept::Configuration => {
                self.configuration = kept::read_configuration(bytes)?;
                self.telemetry_due_ms = now
                    .uptime_ms
                    .saturating_add(interval_ms(&self.configuration));
            }
            Kept::Schedules => {
                let schedules = kept::read_schedules(bytes)?;
                self.schedules = Schedules::default();
                for schedule in schedules {
                    // As many as there can be.
                    let _ = self.schedules.add(now, schedule);
                }
            }
            Kept::Thresholds => {
                let list = kept::read_thresholds(bytes)?;
                for (id, thresholds) in list {
                    self.set_thresholds(id, thresholds);
                }
            }
        }
        Ok(())
    }

    /// Writes the next `telemetry/temperature` message; its sequence rises with each call.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_temperature(&mut self, now: Now, out: &mut dyn Write) -> fmt::Result {
        let sequence = self.sequence;
        let skipped = mutants::active(Mutant::SequenceSkips) && sequence % 5 == 3;
        self.sequence = sequence.wrapping_add(1 + u32::from(skipped));
        let device_id = &self.configuration.device_name;
        telemetry::write_temperature(now, device_id, sequence, &self.points, out)
    }

    /// Writes a `telemetry/summary` message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_summary(&self, now: Now, out: &mut dyn Write) -> fmt::Result {
        let device_id = &self.configuration.device_name;
        telemetry::write_summary(now, device_id, &self.points.summary(), out)
    }

    /// Writes a `telemetry/system` message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_system(
        &self,
        now: Now,
        status: &DeviceStatus,
        out: &mut dyn Write,
    ) -> fmt::Result {
        let device_id = &self.configuration.device_name;
        telemetry::write_system(now, device_id, status, &self.counters(), out)
    }

    /// Writes the `state/boot` message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_boot(&self, now: Now, reason: &str, out: &mut dyn Write) -> fmt::Result {
        let device_id = &self.configuration.device_name;
        telemetry::write_boot(now, device_id, self.identity.boot_count, reason, out)
    }

    /// Switches the alarm relay when the first alarm comes and when the last one goes that nobody
    /// has acknowledged. In between it can be switched like any other.
    fn follow_alarms(&mut self, now: Now) {
        let wanted = self.alarms.any_unacknowledged();
        if wanted != self.alarm_output {
            self.alarm_output = wanted;
            self.switch_alarm_relay(now, self.configuration.alarm_relay, wanted);
        }
    }

    fn switch_alarm_relay(&mut self, now: Now, relay: Option<RelayId>, on: bool) {
        let Some(relay) = relay else {
            return;
        };
        let switch = if on { Switch::On } else { Switch::Off };
        self.relays
            .switch(now, relay, switch, 0, Cause::Alarm, &mut self.events);
    }

    fn mark(&mut self, kept: Kept) {
        self.to_keep |= bit(kept);
    }

    /// The id of the request before, if that was just now and the mutant is active.
    #[cfg(feature = "mutants")]
    pub(crate) fn other_cmd_id(
        &mut self,
        now: Now,
        cmd_id: crate::document::Text<'_>,
    ) -> Option<String<64>> {
        let copy = cmd_id.copied().unwrap_or_default();
        let new = PreviousRequest(now.uptime_ms, copy);
        let PreviousRequest(then_ms, other) = core::mem::replace(&mut self.previous, new);
        let soon = now.uptime_ms.abs_diff(then_ms) <= 20 && !other.is_empty();
        (soon && mutants::active(Mutant::CmdIdOfAnotherRequest)).then_some(other)
    }
}

fn bit(kept: Kept) -> u8 {
    1 << kept as u8
}

/// What the mutants keep only for as long as there is power.
fn is_forgotten(kept: Kept) -> bool {
    match kept {
        Kept::Configuration => mutants::active(Mutant::ConfigurationNotKept),
        Kept::Schedules => mutants::active(Mutant::SchedulesNotKept),
        Kept::Thresholds => mutants::active(Mutant::ThresholdsNotKept),
    }
}

fn interval_ms(configuration: &Configuration) -> u64 {
    let interval_ms = u64::from(configuration.telemetry_interval_s.max(1)) * 1_000;
    if mutants::active(Mutant::IntervalTooLong) {
        return interval_ms * 115 / 100;
    }
    interval_ms
}

/// What the mutants make of a measurement; without them every one is taken.
fn keeps_its_reading(id: usize, old: Option<Measurement>, new: Option<Measurement>) -> bool {
    let reading = |m: Option<Measurement>| m.map(|m| m.reading);
    let had_temperature = reading(old).and_then(Reading::temperature).is_some();
    let stuck = mutants::active(Mutant::StuckReadings) && id.is_multiple_of(3);
    let gone =
        reading(new) == Some(Reading::Disconnected) && mutants::active(Mutant::DisconnectedIgnored);
    had_temperature && (stuck || gone)
}

#[cfg(test)]
mod tests;
