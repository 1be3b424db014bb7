//! Temperature telemetry, and what the contract promises of it.

use std::collections::BTreeMap;

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::response::{POINT, SUMMARY};
use super::schema::{Kind, Member, violations};

/// Readings of a point that may be equal in a row while the stimulus moves.
pub const EQUAL_READINGS_MAX: usize = 10;

const MESSAGE: &[Member] = &[
    Member("timestamp", Kind::Timestamp),
    Member("device_id", Kind::Text),
    Member("sequence", Kind::Integer(0, u32::MAX as i64)),
    Member("points", Kind::AnyObject),
    Member("summary", Kind::Object(SUMMARY)),
];

/// A message that keeps its schema and agrees with itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Temperatures {
    /// When the device says it was.
    pub timestamp: OffsetDateTime,
    /// Rising by one.
    pub sequence: u32,
    /// Temperature of each point, `None` when its sensor has none.
    pub points: BTreeMap<u32, Option<f64>>,
}

/// Reads a message of `telemetry/temperature`.
///
/// # Errors
/// Every violation: of the schema, of the message's size, of the summary against the points.
pub fn parse(payload: &[u8], device_id: &str) -> Result<Temperatures, Vec<String>> {
    let value: Value = serde_json::from_slice(payload)
        .map_err(|error| vec![format!("the message is not JSON: {error}")])?;
    let mut found = violations(&value, MESSAGE, "");
    if value["device_id"] != device_id {
        found.push(format!(
            "`device_id` is {}, not `{device_id}`",
            value["device_id"]
        ));
    }
    let mut points = BTreeMap::new();
    for (name, point) in value["points"].as_object().into_iter().flatten() {
        found.extend(violations(point, POINT, &format!("points.{name}")));
        match name.parse::<u32>() {
            Ok(id) if id < 60 => {
                let has_status = point["status"] == "OK";
                let temperature = point["temp"].as_f64();
                if has_status != temperature.is_some() {
                    found.push(format!(
                        "`points.{name}` has status {} and temperature {}",
                        point["status"], point["temp"]
                    ));
                }
                points.insert(id, temperature);
            }
            _ => found.push(format!("`points.{name}` is not a point from 0 to 59")),
        }
    }
    found.extend(summary_violations(&value["summary"], &points));
    let timestamp = value["timestamp"]
        .as_str()
        .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let sequence = value["sequence"].as_u64().and_then(|n| n.try_into().ok());
    match (timestamp, sequence) {
        (Some(timestamp), Some(sequence)) if found.is_empty() => Ok(Temperatures {
            timestamp,
            sequence,
            points,
        }),
        _ => Err(found),
    }
}

fn summary_violations(summary: &Value, points: &BTreeMap<u32, Option<f64>>) -> Vec<String> {
    let temperatures = || points.values().flatten().copied();
    let active = temperatures().count() as u64;
    let expected = [
        ("active_points", Some(active as f64)),
        ("sensor_errors", Some(points.len() as f64 - active as f64)),
        ("min_temp", temperatures().min_by(f64::total_cmp)),
        ("max_temp", temperatures().max_by(f64::total_cmp)),
    ];
    expected
        .into_iter()
        .filter(|(name, expected)| summary[name].as_f64() != *expected)
        .map(|(name, expected)| {
            let expected = expected.map_or("null".to_owned(), |n| n.to_string());
            format!(
                "`summary.{name}` is {}, the points say {expected}",
                summary[name]
            )
        })
        .collect()
}

/// Every violation of a series of messages: gaps in the sequence, readings that stand still.
#[must_use]
pub fn series_violations(messages: &[Temperatures]) -> Vec<String> {
    let mut found: Vec<String> = messages
        .windows(2)
        .filter(|pair| pair[1].sequence != pair[0].sequence.wrapping_add(1))
        .map(|pair| format!("sequence {} follows {}", pair[1].sequence, pair[0].sequence))
        .collect();
    for id in 0..60 {
        let readings: Vec<f64> = messages
            .iter()
            .filter_map(|m| m.points.get(&id).copied().flatten())
            .collect();
        let longest = readings
            .chunk_by(|a, b| a == b)
            .map(<[f64]>::len)
            .max()
            .unwrap_or(0);
        if longest > EQUAL_READINGS_MAX {
            found.push(format!("point {id} stood still for {longest} readings"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message() -> Value {
        json!({
            "timestamp": "2026-11-23T18:00:00Z", "device_id": "dev", "sequence": 3,
            "points": {
                "0": {"name": "Point_0", "temp": 20.5, "sensor_id": "28", "status": "OK"},
                "7": {"name": "Point_7", "temp": null, "sensor_id": "28", "status": "ERROR"},
            },
            "summary": {"total_points": 60, "active_points": 1, "sensor_errors": 1, "min_temp": 20.5, "max_temp": 20.5},
        })
    }

    fn check(change: impl FnOnce(&mut Value), expected: &str) {
        let mut message = message();
        change(&mut message);
        let found = parse(message.to_string().as_bytes(), "dev").expect_err("a violation");
        assert!(found.iter().any(|f| f == expected), "{found:?}");
    }

    #[test]
    fn a_good_message_is_read() {
        let read = parse(message().to_string().as_bytes(), "dev").expect("good");
        assert_eq!(read.points, BTreeMap::from([(0, Some(20.5)), (7, None)]));
    }

    #[test]
    fn violations_are_named() {
        check(
            |m| m["device_id"] = json!("x"),
            "`device_id` is \"x\", not `dev`",
        );
        check(
            |m| m["points"]["0"]["temp"] = json!(null),
            "`points.0` has status \"OK\" and temperature null",
        );
        check(
            |m| m["points"]["60"] = m["points"]["0"].clone(),
            "`points.60` is not a point from 0 to 59",
        );
        check(
            |m| m["summary"]["active_points"] = json!(2),
            "`summary.active_points` is 2, the points say 1",
        );
        check(
            |m| m["summary"]["max_temp"] = json!(21.0),
            "`summary.max_temp` is 21.0, the points say 20.5",
        );
    }

    fn reading(sequence: u32, temperature: f64) -> Temperatures {
        Temperatures {
            timestamp: OffsetDateTime::UNIX_EPOCH,
            sequence,
            points: BTreeMap::from([(4, Some(temperature))]),
        }
    }

    #[test]
    fn a_gap_in_the_sequence_is_found() {
        let messages = [reading(1, 1.0), reading(2, 2.0), reading(4, 3.0)];
        assert_eq!(series_violations(&messages), ["sequence 4 follows 2"]);
    }

    #[test]
    fn a_point_that_stands_still_is_found_after_ten_readings() {
        let still = |n| (0..n).map(|i| reading(i, 5.0)).collect::<Vec<_>>();
        assert_eq!(series_violations(&still(10)), Vec::<String>::new());
        assert_eq!(
            series_violations(&still(11)),
            ["point 4 stood still for 11 readings"]
        );
    }
}
