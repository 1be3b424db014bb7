//! The commands: one request in, one response out.
//!
//! A command is an entry in [`COMMANDS`] and an arm of `Command::from_request`; `help` reads the
//! same table, so it can't forget one.

use core::fmt::{self, Write};

use crate::json::Object;
use crate::request::{self, BadRequest, Request, RequestError};
use crate::{Clock, Controller, DeviceStatus, points, telemetry};

/// What `help` says of a command.
pub struct Help {
    /// The command's name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Its parameters: name and what it takes.
    pub parameters: &'static [(&'static str, &'static str)],
}

/// Every command there is.
pub const COMMANDS: &[Help] = &[
    Help {
        name: "help",
        purpose: "list the commands",
        parameters: &[],
    },
    Help {
        name: "get_status",
        purpose: "uptime, version, memory, counters",
        parameters: &[],
    },
    Help {
        name: "get_point",
        purpose: "one measurement point",
        parameters: &[("point_id", "integer, 0 to 59")],
    },
    Help {
        name: "get_summary",
        purpose: "the summary of all points",
        parameters: &[],
    },
];

/// A request that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Help,
    GetStatus,
    GetPoint { id: usize },
    GetSummary,
}

impl Command {
    fn from_request(request: &Request) -> Result<Self, RequestError> {
        match request.command.as_str() {
            "help" => Ok(Self::Help),
            "get_status" => Ok(Self::GetStatus),
            "get_point" => Ok(Self::GetPoint {
                id: request.parameters.point_id()?,
            }),
            "get_summary" => Ok(Self::GetSummary),
            _ => Err(RequestError::Command),
        }
    }
}

/// Whether a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The response says `success`.
    Success,
    /// The response says `error`, and nothing has changed.
    Error,
}

/// Carries out the request in `payload`, which came in at `received_ms` of uptime, and writes the
/// response.
pub(crate) fn handle(
    controller: &Controller,
    clock: &dyn Clock,
    received_ms: u64,
    status: &DeviceStatus,
    payload: &[u8],
    out: &mut dyn Write,
) -> Result<Handled, fmt::Error> {
    let decided =
        request::parse(payload).and_then(|request| match Command::from_request(&request) {
            Ok(command) => Ok((request.cmd_id, command)),
            Err(error) => Err(BadRequest {
                cmd_id: request.cmd_id,
                error,
            }),
        });
    let now = clock.now();
    let mut response = Object::begin(out)?;
    let (cmd_id, outcome) = match &decided {
        Ok((cmd_id, _)) => (cmd_id, "success"),
        Err(bad) => (&bad.cmd_id, "error"),
    };
    response.text("cmd_id", cmd_id)?;
    response.text("timestamp", now.timestamp())?;
    response.text("status", outcome)?;
    let handled = match &decided {
        Ok((_, command)) => {
            response.object("data", |data| {
                write_data(*command, controller, clock, status, data)
            })?;
            Handled::Success
        }
        Err(bad) => {
            response.object("data", |_| Ok(()))?;
            response.text("message", &bad.error)?;
            Handled::Error
        }
    };
    // Last, because it counts the writing of the rest.
    let execution_ms = clock.now().uptime_ms.saturating_sub(received_ms);
    response.number("execution_time", execution_ms)?;
    response.end()?;
    Ok(handled)
}

fn write_data(
    command: Command,
    controller: &Controller,
    clock: &dyn Clock,
    status: &DeviceStatus,
    data: &mut Object<'_>,
) -> fmt::Result {
    match command {
        Command::Help => data.objects("commands", COMMANDS, |entry, help| {
            entry.text("command", help.name)?;
            entry.text("description", help.purpose)?;
            entry.object("parameters", |list| {
                help.parameters
                    .iter()
                    .try_for_each(|(name, takes)| list.text(name, takes))
            })
        }),
        Command::GetStatus => {
            data.text("firmware_version", &controller.settings().firmware_version)?;
            telemetry::write_status(clock.now(), status, data)
        }
        Command::GetPoint { id } => write_point(controller, id, data),
        Command::GetSummary => telemetry::write_summary(&controller.points().summary(), data),
    }
}

fn write_point(controller: &Controller, id: usize, data: &mut Object<'_>) -> fmt::Result {
    data.number("point_id", id)?;
    match controller.points().get(id) {
        Some(point) => telemetry::write_point(id, &point, data)?,
        None => {
            data.text("name", format_args!("Point_{id}"))?;
            data.number_or_null("temp", None::<points::Tenths>)?;
            data.number("sensor_id", "null")?;
            data.text("status", points::Reading::Disconnected.status())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{Now, Settings};

    const NOW: Now = Now {
        uptime_ms: 61_250,
        unix_ms: Some(1_795_456_955_120),
    };

    fn respond(payload: &[u8]) -> (Handled, String) {
        let mut controller = Controller::new(Settings::new("tempcontroller01", "0.1.0", 60));
        crate::stand_in::fill(controller.points_mut(), 60_000);
        let status = DeviceStatus {
            mqtt_connected: true,
            heap_free: 60_000,
            heap_free_min: 58_000,
            largest_free_block: 57_000,
            stack_size: 200_000,
            stack_used_max: 2_900,
            boot_count: 1,
            ..DeviceStatus::default()
        };
        let mut out = String::new();
        let handled = controller
            .handle_request(&NOW, NOW.uptime_ms - 2, &status, payload, &mut out)
            .expect("a String takes everything");
        (handled, out)
    }

    fn check(payload: &str, expected: &Expect) {
        expected.assert_eq(&respond(payload.as_bytes()).1);
    }

    #[test]
    fn help_lists_every_command() {
        let (handled, text) = respond(br#"{"cmd_id":"1","command":"help"}"#);
        let response: Value = serde_json::from_str(&text).expect("JSON");
        let names = response["data"]["commands"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|c| c["command"].as_str().expect("a name"));
        assert!(names.eq(COMMANDS.iter().map(|h| h.name)));
        assert_eq!(handled, Handled::Success);
    }

    #[test]
    fn every_listed_command_exists() {
        for help in COMMANDS {
            let payload = alloc::format!(
                r#"{{"cmd_id":"1","command":"{}","parameters":{{"point_id":0}}}}"#,
                help.name
            );
            assert_eq!(
                respond(payload.as_bytes()).0,
                Handled::Success,
                "{}",
                help.name
            );
        }
    }

    #[test]
    fn status_point_and_summary_are_answered() {
        check(
            r#"{"cmd_id":"s-1","command":"get_status","parameters":{}}"#,
            &expect![[
                r#"{"cmd_id":"s-1","timestamp":"2026-11-23T18:02:35.120Z","status":"success","data":{"firmware_version":"0.1.0","uptime_ms":61250,"mqtt_connected":true,"boot_count":1,"heap_free":60000,"heap_free_min":58000,"largest_free_block":57000,"fragmentation_percent":5,"stack_size":200000,"stack_used_max":2900,"messages_published":0,"commands_received":0,"sessions_opened":0},"execution_time":2}"#
            ]],
        );
        check(
            r#"{"cmd_id":"p-1","command":"get_point","parameters":{"point_id":5}}"#,
            &expect![[
                r#"{"cmd_id":"p-1","timestamp":"2026-11-23T18:02:35.120Z","status":"success","data":{"point_id":5,"name":"Point_5","temp":19.7,"sensor_id":"28FF000000000005","status":"OK"},"execution_time":2}"#
            ]],
        );
        check(
            r#"{"cmd_id":"m-1","command":"get_summary"}"#,
            &expect![[
                r#"{"cmd_id":"m-1","timestamp":"2026-11-23T18:02:35.120Z","status":"success","data":{"total_points":60,"active_points":60,"sensor_errors":0,"min_temp":14.0,"max_temp":51.6},"execution_time":2}"#
            ]],
        );
    }

    #[test]
    fn errors_are_answered_with_the_promised_message() {
        check(
            r#"{"cmd_id":"e-1","command":"get_status; rm -rf /","parameters":{}}"#,
            &expect![[
                r#"{"cmd_id":"e-1","timestamp":"2026-11-23T18:02:35.120Z","status":"error","data":{},"message":"Invalid command: `help` lists the commands","execution_time":2}"#
            ]],
        );
        check(
            r#"{"cmd_id":"e-2","command":"get_point","parameters":{"point_id":100}}"#,
            &expect![[
                r#"{"cmd_id":"e-2","timestamp":"2026-11-23T18:02:35.120Z","status":"error","data":{},"message":"Point ID out of range: 0 to 59","execution_time":2}"#
            ]],
        );
        check(
            r#"{"cmd_id":"e-3","command":"get_point"}"#,
            &expect![[
                r#"{"cmd_id":"e-3","timestamp":"2026-11-23T18:02:35.120Z","status":"error","data":{},"message":"Missing required field: point_id","execution_time":2}"#
            ]],
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_the_response_is_json(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_, text) = respond(&payload);
            serde_json::from_str::<Value>(&text).expect("JSON");
        }

        #[test]
        fn any_cmd_id_comes_back(cmd_id: String) {
            let request = serde_json::json!({"cmd_id": cmd_id, "command": "get_summary"});
            let (_, text) = respond(alloc::format!("{request}").as_bytes());
            let response: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(response["cmd_id"].as_str(), Some(cmd_id.as_str()));
        }
    }
}
