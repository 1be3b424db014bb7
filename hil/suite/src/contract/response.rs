//! Responses to commands, and what the contract promises of each.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::schema::{Kind, Member, violations};

/// Uptime, execution time and counters: any whole number that isn't negative.
const COUNT: Kind = Kind::Integer(0, i64::MAX);

/// What every response has.
const RESPONSE: &[Member] = &[
    Member("cmd_id", Kind::Text),
    Member("timestamp", Kind::Timestamp),
    Member("status", Kind::OneOf(&["success", "error", "partial"])),
    Member("execution_time", Kind::Integer(0, 60_000)),
    Member("data", Kind::AnyObject),
];

/// What an error response has beside.
const ERROR: &[Member] = &[Member("message", Kind::Text)];

/// The telemetry summary, also within telemetry.
pub const SUMMARY: &[Member] = &[
    Member("total_points", Kind::Integer(60, 60)),
    Member("active_points", Kind::Integer(0, 60)),
    Member("sensor_errors", Kind::Integer(0, 60)),
    Member("min_temp", Kind::NumberOrNull(-50.0, 200.0)),
    Member("max_temp", Kind::NumberOrNull(-50.0, 200.0)),
];

/// One measurement point, also within telemetry.
pub const POINT: &[Member] = &[
    Member("name", Kind::Text),
    Member("temp", Kind::NumberOrNull(-50.0, 200.0)),
    Member("sensor_id", Kind::Text),
    Member("status", Kind::OneOf(&["OK", "ERROR", "DISCONNECTED"])),
];

/// A command of the contract: its name, parameters that it accepts, and the `data` it promises.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Name.
    pub name: &'static str,
    /// Parameters that make it succeed, as JSON; `{alarm_id}` stands for the alarm of the `test_alarm` before.
    pub parameters: &'static str,
    /// Members of `data` on success.
    pub data: &'static [Member],
}

/// An alarm that is active or acknowledged.
const ALARM: &[Member] = &[
    Member("alarm_id", Kind::Text),
    Member(
        "alarm_type",
        Kind::OneOf(&["HIGH_TEMP", "LOW_TEMP", "SENSOR_ERROR"]),
    ),
    Member("point_id", Kind::Integer(0, 59)),
    Member("point_name", Kind::Text),
    Member("priority", Kind::OneOf(&["HIGH", "MEDIUM", "LOW"])),
    Member("state", Kind::OneOf(&["ACTIVE", "ACKNOWLEDGED"])),
    Member("temperature", Kind::NumberOrNull(-50.0, 200.0)),
    Member("threshold", Kind::NumberOrNull(-50.0, 200.0)),
    Member("timestamp", Kind::Timestamp),
];

/// Parameters of `test_alarm`.
pub const TEST_ALARM: &str = r#"{"point_id":5,"alarm_type":"HIGH_TEMP","test_value":95.0}"#;

/// The commands of the contract, in an order in which each succeeds with its parameters.
/// `{alarm_id}` in them stands for the alarm of the response before.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        parameters: "{}",
        data: &[Member(
            "commands",
            Kind::List(&[
                Member("command", Kind::Text),
                Member("description", Kind::Text),
                Member("parameters", Kind::AnyObject),
            ]),
        )],
    },
    Command {
        name: "get_status",
        parameters: "{}",
        data: &[
            Member("uptime_ms", COUNT),
            Member("firmware_version", Kind::Text),
            Member("mqtt_connected", Kind::Truth),
            Member("boot_count", Kind::Integer(1, i64::MAX)),
            Member("heap_free", COUNT),
            Member("heap_free_min", COUNT),
            Member("largest_free_block", COUNT),
            Member("fragmentation_percent", Kind::Integer(0, 100)),
            Member("stack_size", COUNT),
            Member("stack_used_max", COUNT),
            Member("messages_published", COUNT),
            Member("commands_received", COUNT),
            Member("sessions_opened", Kind::Integer(1, i64::MAX)),
        ],
    },
    Command {
        name: "get_point",
        parameters: r#"{"point_id":5}"#,
        data: &[
            Member("point_id", Kind::Integer(5, 5)),
            Member("name", Kind::Text),
            Member("temp", Kind::NumberOrNull(-50.0, 200.0)),
            Member("sensor_id", Kind::Text),
            Member("status", Kind::OneOf(&["OK", "ERROR", "DISCONNECTED"])),
            Member(
                "thresholds",
                Kind::Object(&[
                    Member("high", Kind::Number(-50.0, 200.0)),
                    Member("high_hysteresis", Kind::Number(0.0, 50.0)),
                    Member("low", Kind::Number(-50.0, 200.0)),
                    Member("low_hysteresis", Kind::Number(0.0, 50.0)),
                ]),
            ),
            Member(
                "alarm_state",
                Kind::OneOf(&["NORMAL", "ACTIVE", "ACKNOWLEDGED"]),
            ),
        ],
    },
    Command {
        name: "get_summary",
        parameters: "{}",
        data: SUMMARY,
    },
    Command {
        name: "set_threshold",
        parameters: r#"{"point_id":5,"threshold_type":"high","value":85.0,"hysteresis":2.0}"#,
        data: &[
            Member("point_id", Kind::Integer(5, 5)),
            Member("threshold_type", Kind::OneOf(&["high"])),
            Member("old_value", Kind::Number(-50.0, 200.0)),
            Member("new_value", Kind::Number(85.0, 85.0)),
            Member("old_hysteresis", Kind::Number(0.0, 50.0)),
            Member("new_hysteresis", Kind::Number(2.0, 2.0)),
        ],
    },
    Command {
        name: "test_alarm",
        parameters: TEST_ALARM,
        data: ALARM,
    },
    Command {
        name: "get_active_alarms",
        parameters: "{}",
        data: &[
            Member("total", Kind::Integer(0, 180)),
            Member("alarms", Kind::List(ALARM)),
        ],
    },
    Command {
        name: "acknowledge_alarm",
        parameters: r#"{"alarm_id":"{alarm_id}"}"#,
        data: ALARM,
    },
    Command {
        name: "set_relay",
        parameters: r#"{"relay_id":1,"state":"OFF","duration":0}"#,
        data: &[
            Member("relay_id", Kind::Integer(1, 1)),
            Member("old_state", Kind::OneOf(&["ON", "OFF"])),
            Member("new_state", Kind::OneOf(&["OFF"])),
        ],
    },
    Command {
        name: "add_schedule",
        parameters: r#"{"schedule_id":"hourly","schedule_type":"interval","interval_seconds":3600,"command":"get_summary","parameters":{}}"#,
        data: &[
            Member("schedule_id", Kind::OneOf(&["hourly"])),
            Member("next_due", Kind::Timestamp),
        ],
    },
    Command {
        name: "remove_schedule",
        parameters: r#"{"schedule_id":"hourly"}"#,
        data: &[],
    },
    Command {
        // No relay follows the alarms, as by default: nothing is changed for the other scenarios.
        name: "set_config",
        parameters: r#"{"alarm_relay":0}"#,
        data: &[Member(
            "alarm_relay",
            Kind::Object(&[
                Member("old_value", Kind::Integer(0, 8)),
                Member("new_value", Kind::Integer(0, 0)),
            ]),
        )],
    },
];

/// A response that keeps the schema of all responses.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// As in the request; empty when the device could not read it.
    pub cmd_id: String,
    /// Whether the command was carried out whole.
    pub succeeded: bool,
    /// When, by the device's clock.
    pub timestamp: OffsetDateTime,
    /// What it answers.
    pub data: Value,
    /// Why not, on an error.
    pub message: Option<String>,
    /// Time on the device, ms.
    pub execution_ms: u64,
}

/// Reads a response.
///
/// # Errors
/// Every violation of the schema that all responses have.
pub fn parse(payload: &[u8]) -> Result<Response, Vec<String>> {
    let value: Value = serde_json::from_slice(payload)
        .map_err(|error| vec![format!("the response is not JSON: {error}")])?;
    let mut found = violations(&value, RESPONSE, "");
    let failed = value["status"] == "error";
    if failed {
        found.extend(violations(&value, ERROR, ""));
    }
    if !found.is_empty() {
        return Err(found);
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let timestamp = moment(&value["timestamp"]).ok_or_else(Vec::new)?;
    Ok(Response {
        cmd_id: text("cmd_id").unwrap_or_default(),
        succeeded: value["status"] == "success",
        timestamp,
        data: value["data"].clone(),
        message: text("message"),
        execution_ms: value["execution_time"].as_u64().unwrap_or_default(),
    })
}

/// A moment in RFC 3339.
#[must_use]
pub fn moment(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}

impl Command {
    /// The command of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name == name)
    }

    /// Every violation of what this command promises in `data`.
    #[must_use]
    pub fn violations(&self, data: &Value) -> Vec<String> {
        violations(data, self.data, "data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"cmd_id":"a","timestamp":"2026-11-23T18:00:00Z","status":"success","execution_time":2,"data":{}}"#;

    #[test]
    fn a_good_response_is_read() {
        let response = parse(GOOD.as_bytes()).expect("good");
        assert_eq!((response.cmd_id.as_str(), response.succeeded), ("a", true));
        assert_eq!(response.execution_ms, 2);
    }

    #[test]
    fn an_error_without_a_message_breaks_the_contract() {
        let error = GOOD.replace("success", "error");
        assert_eq!(
            parse(error.as_bytes()),
            Err(vec!["`message` is missing".to_owned()])
        );
    }

    #[test]
    fn what_is_not_json_or_lacks_members_is_said() {
        assert!(parse(b"{").expect_err("bad")[0].starts_with("the response is not JSON"));
        assert_eq!(parse(b"{}").expect_err("bad").len(), RESPONSE.len());
    }

    #[test]
    fn the_data_of_a_command_is_checked() {
        let point = Command::named("get_point").expect("known");
        let data = serde_json::json!({
            "point_id": 6, "name": "Point_6", "temp": 20.0, "sensor_id": "x", "status": "OK",
            "thresholds": {"high": 85.0, "high_hysteresis": 2.0, "low": -20.0, "low_hysteresis": 2.0},
            "alarm_state": "NORMAL",
        });
        assert_eq!(
            point.violations(&data),
            ["`data.point_id` is `6`, not a whole number from 5 to 5"]
        );
    }
}
