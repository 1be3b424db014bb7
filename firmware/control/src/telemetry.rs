//! The messages that the device publishes on its own.

use core::fmt::{self, Write};

use crate::json::Object;
use crate::points::{POINTS, Point, Points, Summary};
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
        points.iter().try_for_each(|(id, point)| {
            let mut name = heapless::String::<4>::new();
            write!(name, "{id}")?;
            list.object(&name, |entry| write_point(id, &point, entry))
        })
    })?;
    message.object("summary", |summary| {
        write_summary(&points.summary(), summary)
    })?;
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
    out: &mut dyn Write,
) -> fmt::Result {
    let mut message = Object::begin(out)?;
    message.text("timestamp", now.timestamp())?;
    message.text("device_id", device_id)?;
    write_status(now, status, &mut message)?;
    message.end()
}

/// `state/boot`: that the device booted, how often it has, and why.
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
    message.text("timestamp", now.timestamp())?;
    message.text("device_id", device_id)?;
    message.number("count", count)?;
    message.text("reason", reason)?;
    message.end()
}

pub(crate) fn write_point(id: usize, point: &Point, entry: &mut Object<'_>) -> fmt::Result {
    entry.text("name", format_args!("Point_{id}"))?;
    entry.number_or_null("temp", point.reading.temperature())?;
    entry.text("sensor_id", format_args!("{:016X}", point.sensor_id))?;
    entry.text("status", point.reading.status())
}

pub(crate) fn write_summary(summary: &Summary, entry: &mut Object<'_>) -> fmt::Result {
    entry.number("total_points", POINTS)?;
    entry.number("active_points", summary.active_points)?;
    entry.number("sensor_errors", summary.sensor_errors)?;
    entry.number_or_null("min_temp", summary.min_temp)?;
    entry.number_or_null("max_temp", summary.max_temp)
}

pub(crate) fn write_status(now: Now, status: &DeviceStatus, entry: &mut Object<'_>) -> fmt::Result {
    entry.number("uptime_ms", now.uptime_ms)?;
    entry.truth("mqtt_connected", status.mqtt_connected)?;
    entry.number("boot_count", status.boot_count)?;
    entry.number("heap_free", status.heap_free)?;
    entry.number("heap_free_min", status.heap_free_min)?;
    entry.number("largest_free_block", status.largest_free_block)?;
    entry.number("fragmentation_percent", status.fragmentation_percent())?;
    entry.number("stack_size", status.stack_size)?;
    entry.number("stack_used_max", status.stack_used_max)?;
    entry.number("messages_published", status.messages_published)?;
    entry.number("commands_received", status.commands_received)?;
    entry.number("sessions_opened", status.sessions_opened)
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

    fn message(points: &Points) -> (usize, Value) {
        let mut text = String::new();
        write_temperature(NOW, "tempcontroller01", 7, points, &mut text).expect("room");
        (text.len(), serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn a_full_message_has_the_promised_size() {
        let mut points = Points::default();
        crate::stand_in::fill(&mut points, 0);
        let (bytes, message) = message(&points);
        assert!((4_000..=5_500).contains(&bytes), "{bytes} bytes");
        assert_eq!(message["points"].as_object().expect("points").len(), 60);
        assert_eq!(message["summary"]["active_points"], 60);
        assert_eq!(message["sequence"], 7);
    }

    #[test]
    fn the_longest_message_fits_its_buffer() {
        let mut points = Points::default();
        for id in 0..POINTS {
            points.set(
                id,
                Some(Point {
                    sensor_id: u64::MAX,
                    reading: if id == 0 {
                        Reading::Temperature(Tenths::MAX)
                    } else {
                        Reading::Disconnected
                    },
                }),
            );
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
        points.set(
            3,
            Some(Point {
                sensor_id: 1,
                reading: Reading::Error,
            }),
        );
        let (_, message) = message(&points);
        assert_eq!(
            message["points"],
            serde_json::json!({"3": {"name": "Point_3", "temp": null, "sensor_id": "0000000000000001", "status": "ERROR"}})
        );
        assert_eq!(message["summary"]["min_temp"], Value::Null);
    }

    #[test]
    fn a_full_buffer_is_an_error_and_no_half_message() {
        let mut points = Points::default();
        crate::stand_in::fill(&mut points, 0);
        let mut text = heapless::String::<100>::new();
        assert!(write_temperature(NOW, "d", 0, &points, &mut text).is_err());
    }

    #[test]
    fn boot_and_system_messages_are_json() {
        let mut text = String::new();
        write_boot(NOW, "d", 3, "power-on", &mut text).expect("room");
        assert_eq!(
            text,
            r#"{"event":"boot","timestamp":"2026-11-23T18:02:35.120Z","device_id":"d","count":3,"reason":"power-on"}"#
        );
        text.clear();
        write_system(NOW, "d", &DeviceStatus::default(), &mut text).expect("room");
        let system: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(system["uptime_ms"], 60_000);
    }
}
