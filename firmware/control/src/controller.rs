//! The controller: state, and when what is due.

use core::fmt::{self, Write};

use heapless::String;

pub use crate::commands::Handled;
use crate::{Clock, DeviceStatus, Now, Points, commands, telemetry};

/// What the controller is told once, and again when its configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The last level of its topics.
    pub device_id: String<32>,
    /// Version of the firmware.
    pub firmware_version: String<24>,
    /// Seconds between two telemetry messages, at least 1.
    pub telemetry_interval_s: u32,
}

impl Settings {
    /// Settings; texts that are too long are cut, an interval of 0 becomes 1.
    #[must_use]
    pub fn new(device_id: &str, firmware_version: &str, telemetry_interval_s: u32) -> Self {
        Self {
            device_id: device_id.chars().take(32).filter(char::is_ascii).collect(),
            firmware_version: firmware_version
                .chars()
                .take(24)
                .filter(char::is_ascii)
                .collect(),
            telemetry_interval_s: telemetry_interval_s.max(1),
        }
    }
}

/// What the firmware is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish [`Controller::write_temperature`] and [`Controller::write_system`].
    PublishTelemetry,
}

/// The temperature controller.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    points: Points,
    /// Number of the next temperature message.
    sequence: u32,
    /// Uptime at which the next telemetry is due; always on the grid that began at the first.
    telemetry_due_ms: u64,
}

impl Controller {
    /// A controller at boot: the first telemetry is due one interval from then.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let telemetry_due_ms = interval_ms(&settings);
        Self {
            settings,
            points: Points::default(),
            sequence: 0,
            telemetry_due_ms,
        }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes new settings; a new interval counts from `now`.
    pub fn configure(&mut self, now: Now, settings: Settings) {
        if settings.telemetry_interval_s != self.settings.telemetry_interval_s {
            self.telemetry_due_ms = now.uptime_ms + interval_ms(&settings);
        }
        self.settings = settings;
    }

    /// The measurement points.
    #[must_use]
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The measurement points, for whoever measures.
    pub fn points_mut(&mut self) -> &mut Points {
        &mut self.points
    }

    /// Carries out the request in `payload`, received at `received_ms` of uptime, and writes
    /// exactly one JSON response to `out`.
    ///
    /// # Errors
    /// What `out` says: it is full; [`crate::MESSAGE_BYTES_MAX`] is always enough.
    pub fn handle_request(
        &mut self,
        clock: &dyn Clock,
        received_ms: u64,
        status: &DeviceStatus,
        payload: &[u8],
        out: &mut dyn Write,
    ) -> Result<Handled, fmt::Error> {
        commands::handle(self, clock, received_ms, status, payload, out)
    }

    /// Uptime, in milliseconds, at which [`Controller::poll`] has something to do.
    #[must_use]
    pub fn poll_at(&self) -> u64 {
        self.telemetry_due_ms
    }

    /// What is due now; ask again until there is nothing.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        if now.uptime_ms < self.telemetry_due_ms {
            return None;
        }
        let interval_ms = interval_ms(&self.settings);
        let behind = (now.uptime_ms - self.telemetry_due_ms) / interval_ms;
        // Intervals that were slept through are left out, so that the rest keep their times.
        self.telemetry_due_ms += (behind + 1) * interval_ms;
        Some(Action::PublishTelemetry)
    }

    /// Writes the next `telemetry/temperature` message; its sequence rises with each call.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_temperature(&mut self, now: Now, out: &mut dyn Write) -> fmt::Result {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        telemetry::write_temperature(now, &self.settings.device_id, sequence, &self.points, out)
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
        telemetry::write_system(now, &self.settings.device_id, status, out)
    }

    /// Writes the `state/boot` message.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_boot(
        &self,
        now: Now,
        count: u32,
        reason: &str,
        out: &mut dyn Write,
    ) -> fmt::Result {
        telemetry::write_boot(now, &self.settings.device_id, count, reason, out)
    }
}

fn interval_ms(settings: &Settings) -> u64 {
    u64::from(settings.telemetry_interval_s) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(uptime_ms: u64) -> Now {
        Now {
            uptime_ms,
            unix_ms: None,
        }
    }

    fn controller(interval_s: u32) -> Controller {
        Controller::new(Settings::new("d", "0.1.0", interval_s))
    }

    #[test]
    fn telemetry_keeps_its_grid_however_late_it_is_polled() {
        let mut c = controller(60);
        assert_eq!(c.poll(at(59_999)), None);
        assert_eq!(c.poll(at(60_400)), Some(Action::PublishTelemetry));
        assert_eq!(c.poll(at(60_400)), None);
        assert_eq!(c.poll_at(), 120_000);
        assert_eq!(c.poll(at(120_000)), Some(Action::PublishTelemetry));
    }

    #[test]
    fn intervals_slept_through_are_left_out() {
        let mut c = controller(10);
        assert_eq!(c.poll(at(35_000)), Some(Action::PublishTelemetry));
        assert_eq!(c.poll(at(35_000)), None);
        assert_eq!(c.poll_at(), 40_000);
    }

    #[test]
    fn a_new_interval_counts_from_now() {
        let mut c = controller(60);
        c.configure(at(5_000), Settings::new("d", "0.1.0", 1));
        assert_eq!(c.poll_at(), 6_000);
        c.configure(at(5_500), Settings::new("e", "0.1.0", 1));
        assert_eq!(c.poll_at(), 6_000, "another change leaves the grid alone");
    }

    #[test]
    fn an_interval_of_zero_is_one_second() {
        assert_eq!(controller(0).poll_at(), 1_000);
    }

    #[test]
    fn the_sequence_rises_by_one() {
        let mut c = controller(60);
        for expected in 0..3 {
            let mut text = alloc::string::String::new();
            c.write_temperature(at(0), &mut text).expect("room");
            let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(message["sequence"], expected);
        }
    }
}
