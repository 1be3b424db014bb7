//! The messages that the device publishes on its own.

use core::fmt::{self, Write};

use crate::controller::Counters;
use crate::json::Object;
use crate::points::{Measurement, POINTS, PointName, Points, Summary};
use crate::{DeviceStatus, Now};

/// `telemetry/temperature`: every point that has a sensor, and the summary.
///
/// # Errors
/// What `out` says: it is full.
pub fn write_temperature(
    now: Now,
    device_id: &str,
    sequence: u32,
    points: &Points,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut message = Object::begin(out)?;
    message.text("timestamp", now.timestamp())?;
    message.text("device_id", device_id)?;
    message.number("sequence", sequence)?;
    message.object("points", |list| {
        points.measured().try_for_each(|(id, measured)| {
            let mut name = heapless::String::<4>::new();
            write!(name, "{id}")?;
            list.object(&name, |entry| write_point(id, &measured, entry))
        })
    })?;
    message.object("summary", |summary| {
        write_summary_fields(&points.summary(), summary)
    })?;
    message.end()
}

/// `telemetry/summary`: the summary alone.
///
/// # Errors
/// What `out` says: it is full.
pub fn write_summary(
    now: Now,
    device_id: &str,
    summary: &Summary,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut message = Object::begin(out)?;
    message.text("timestamp", now.timestamp())?;
    message.text("device_id", device_id)?;
    write_summary_fields(summary, &mut message)?;
    message.end()
}

/// `telemetry/system`: uptime, memory, counters.
///
/// # Errors
/// What `out` says: it is full.
pub fn write_system(
    now: Now,
    device_id: &str,
    status: &DeviceStatus,
    counters: &Counters,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut message = Object::begin(out)?;
    message.text("timestamp", now.timestamp())?;
    message.text("device_id", device_id)?;
    write_status(now, status, counters, &mut message)?;
    message.end()
}

/// `state/boot`: that the device booted, when, how often it has, and why. It says the same however
/// late it is said.
///
/// # Errors
/// What `out` says: it is full.
pub fn write_boot(
    now: Now,
    device_id: &str,
    count: u32,
    reason: &str,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut message = Object::begin(out)?;
    message.text("event", "boot")?;
    message.text("timestamp", now.timestamp_of(0))?;
    message.text("device_id", device_id)?;
    message.number("count", count)?;
    message.text("reason", reason)?;
    message.end()
}

pub(crate) fn write_point(
    id: usize,
    measured: &Measurement,
    entry: &mut Object<'_>,
) -> fmt::Result {
    entry.text("name", PointName(id))?;
    entry.number_or_null("temp", measured.reading.temperature())?;
    entry.text("sensor_id", format_args!("{:016X}", measured.sensor_id))?;
    entry.text("status", measured.reading.status())
}

pub(crate) fn write_summary_fields(summary: &Summary, entry: &mut Object<'_>) -> fmt::Result {
    entry.number("total_points", POINTS)?;
    entry.number("active_points", summary.active_points)?;
    entry.number("sensor_errors", summary.sensor_errors)?;
    entry.number_or_null("min_temp", summary.min_temp)?;
    entry.number_or_null("max_temp", summary.max_temp)
}

pub(crate) fn write_status(
    now: Now,
    status: &DeviceStatus,
    counters: &Counters,
    entry: &mut Object<'_>,
) -> fmt::Result {
    entry.number("uptime_ms", now.uptime_ms)?;
    entry.truth("mqtt_connected", status.mqtt_connected)?;
    entry.number("boot_count", status.boot_count)?;
    entry.number("heap_free", status.heap_free)?;
    entry.number("heap_free_min", status.heap_free_min)?;
    entry.number("largest_free_block", status.largest_free_block)?;
    entry.number("fragmentation_percent", status.fragmentation_percent())?;
    entry.number("stack_size", status.stack_size)?;
    entry.number("stack_used_max", status.stack_used_max)?;
    entry.number("heap_refused", status.heap_refused)?;
    entry.number("mqtt_used_max", status.mqtt_used_max)?;
    entry.number("json_used_max", status.json_used_max)?;
    entry.number("outbox_used_max", status.outbox_used_max)?;
    entry.number("http_used_max", status.http_used_max)?;
    entry.number("frames_received", status.frames_received)?;
    entry.number("frames_sent", status.frames_sent)?;
    entry.number("messages_published", status.messages_published)?;
    entry.number("commands_received", status.commands_received)?;
    entry.number("sessions_opened", status.sessions_opened)?;
    entry.number("messages_queued", status.messages_queued)?;
    entry.number("telemetry_dropped", status.telemetry_dropped)?;
    entry.number("messages_dropped", status.messages_dropped)?;
    entry.number("http_requests", status.http_requests)?;
    entry.number("events_dropped", counters.events_dropped)?;
    entry.number("schedule_errors", counters.schedule_errors)?;
    entry.number("keep_errors", counters.keep_errors)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use serde_json::Value;

    use super::*;
    use crate::points::{Reading, Tenths};

    const NOW: Now = Now {
        uptime_ms: 60_000,
        unix_ms: Some(1_795_456_955_120),
    };

    fn stand_in() -> Points {
        let mut controller = crate::testing::controller();
        crate::stand_in::measure(&mut controller, NOW);
        controller.points().clone()
    }

    fn set(points: &mut Points, id: usize, sensor_id: u64, reading: Reading) {
        let point = points.get_mut(id).expect("below 60");
        point.measurement = Some(Measurement { sensor_id, reading });
    }

    fn message(points: &Points) -> (usize, Value) {
        let mut text = String::new();
        write_temperature(NOW, "tempcontroller01", 7, points, &mut text).expect("room");
        (text.len(), serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn a_full_message_has_the_promised_size() {
        let (bytes, message) = message(&stand_in());
        assert!((4_000..=5_500).contains(&bytes), "{bytes} bytes");
        assert_eq!(message["points"].as_object().expect("points").len(), 60);
        assert_eq!(message["summary"]["active_points"], 60);
        assert_eq!(message["sequence"], 7);
    }

    #[test]
    fn the_longest_message_fits_its_buffer() {
        let mut points = Points::default();
        for id in 0..POINTS {
            let reading = if id == 0 {
                Reading::Temperature(Tenths::MAX)
            } else {
                Reading::Disconnected
            };
            set(&mut points, id, u64::MAX, reading);
        }
        let mut text = String::new();
        let device_id = "x".repeat(32);
        write_temperature(NOW, &device_id, u32::MAX, &points, &mut text).expect("room");
        assert!(
            text.len() <= crate::MESSAGE_BYTES_MAX,
            "{} bytes",
            text.len()
        );
    }

    #[test]
    fn points_without_a_sensor_are_left_out() {
        let mut points = Points::default();
        set(&mut points, 3, 1, Reading::Error);
        let (_, message) = message(&points);
        assert_eq!(
            message["points"],
            serde_json::json!({"3": {"name": "Point_3", "temp": null, "sensor_id": "0000000000000001", "status": "ERROR"}})
        );
        assert_eq!(message["summary"]["min_temp"], Value::Null);
    }

    #[test]
    fn a_full_buffer_is_an_error_and_no_half_message() {
        let points = stand_in();
        let mut text = heapless::String::<100>::new();
        assert!(write_temperature(NOW, "d", 0, &points, &mut text).is_err());
    }

    #[test]
    fn boot_and_system_messages_are_json() {
        let mut text = String::new();
        write_boot(NOW, "d", 3, "power-on", &mut text).expect("room");
        assert_eq!(
            text,
            r#"{"event":"boot","timestamp":"2026-11-23T18:01:35.120Z","device_id":"d","count":3,"reason":"power-on"}"#
        );
        text.clear();
        let status = DeviceStatus {
            messages_queued: 3,
            telemetry_dropped: 4,
            ..DeviceStatus::default()
        };
        let counters = Counters {
            events_dropped: 5,
            schedule_errors: 6,
            keep_errors: 7,
        };
        write_system(NOW, "d", &status, &counters, &mut text).expect("room");
        let system: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(system["uptime_ms"], 60_000);
        assert_eq!(system["messages_queued"], 3);
        assert_eq!(system["telemetry_dropped"], 4);
        assert_eq!(system["events_dropped"], 5);
        assert_eq!(system["schedule_errors"], 6);
        assert_eq!(system["keep_errors"], 7);
    }
}
