//! What each request is answered: exactly one response, whatever came in.

use core::fmt::{self, Write};

use crate::alarms::Alarm;
use crate::commands::{COMMANDS, Command};
use crate::json::Object;
use crate::kept::Keeper;
use crate::mutants::{self, Mutant};
use crate::points::PointName;
use crate::relays::{RelayId, state_name};
use crate::request::{self, BadRequest, RequestError};
use crate::schedules::Schedule;
use crate::thresholds::{Side, Threshold, Thresholds};
use crate::{Clock, Controller, DeviceStatus, Now, telemetry};

/// Alarms in one response: as many as fit [`crate::MESSAGE_BYTES_MAX`] beside the longest `cmd_id`.
pub const ALARMS_A_RESPONSE: usize = 30;

/// Whether a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The response says `success`.
    Success,
    /// The response says `partial`: it holds what fits, and there is more.
    Partial,
    /// The response says `error`, and nothing has changed.
    Error,
}

impl Handled {
    /// The field `status`.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Error => "error",
        }
    }
}

/// What was done, as the response's `data` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Help,
    Status,
    Point(usize),
    Summary,
    ActiveAlarms {
        offset: usize,
    },
    Threshold {
        point: u8,
        side: Side,
        old: Threshold,
        new: Threshold,
    },
    TestAlarm {
        alarm: Option<Alarm>,
        raised: bool,
    },
    Alarm(Alarm),
    Relay {
        relay: RelayId,
        was_on: bool,
        on: bool,
        duration_s: u32,
    },
    Schedule {
        schedule: Schedule,
        due_ms: u64,
    },
    ScheduleRemoved(crate::schedules::ScheduleId),
    Config {
        interval_s: Option<(u32, u32)>,
        alarm_relay: Option<(Option<RelayId>, Option<RelayId>)>,
    },
}

/// Carries out the request in `payload`, which came in at `received_ms` of uptime, and writes the
/// response.
pub(crate) fn handle(
    controller: &mut Controller,
    clock: &dyn Clock,
    received_ms: u64,
    status: &DeviceStatus,
    payload: &[u8],
    keeper: &mut dyn Keeper,
    out: &mut dyn Write,
) -> Result<Handled, fmt::Error> {
    let now = clock.now();
    let (cmd_id, outcome) = match request::parse(payload) {
        Ok(request) => {
            let outcome = Command::of(request.command, request.parameters)
                .and_then(|command| controller.carry_out(now, command, keeper));
            (request.cmd_id, outcome)
        }
        Err(BadRequest { cmd_id, error }) => (cmd_id, Err(error)),
    };
    let handled = match &outcome {
        Ok(Answer::ActiveAlarms { offset }) if alarms_left(controller, *offset) => Handled::Partial,
        Ok(_) => Handled::Success,
        Err(_) => Handled::Error,
    };
    let mut response = Object::begin(out)?;
    #[cfg(feature = "mutants")]
    let swapped = controller.other_cmd_id(now, cmd_id);
    #[cfg(not(feature = "mutants"))]
    let swapped: Option<&str> = None;
    match &swapped {
        Some(other) => response.text("cmd_id", other)?,
        None => response.text("cmd_id", cmd_id)?,
    }
    response.text("timestamp", now.timestamp())?;
    response.text("status", handled.status())?;
    match &outcome {
        Ok(answer) => response.object("data", |data| {
            write_data(answer, controller, clock.now(), status, data)
        })?,
        Err(error) => {
            response.object("data", |_| Ok(()))?;
            write_message(error, &mut response)?;
        }
    }
    // Last, because it counts the writing of the rest.
    let execution_ms = clock.now().uptime_ms.saturating_sub(received_ms);
    if mutants::active(Mutant::ExecutionTimeAsText) {
        response.text("execution_time", execution_ms)?;
    } else {
        response.number("execution_time", execution_ms)?;
    }
    response.end()?;
    Ok(handled)
}

fn write_message(error: &RequestError, response: &mut Object<'_>) -> fmt::Result {
    if mutants::active(Mutant::ErrorWithoutMessage) {
        return Ok(());
    }
    response.text("message", error)
}

/// Whether there are alarms after those that a response from `offset` on holds.
fn alarms_left(controller: &Controller, offset: usize) -> bool {
    controller.alarms().iter().count() > offset + ALARMS_A_RESPONSE
}

fn write_data(
    answer: &Answer,
    controller: &Controller,
    now: Now,
    status: &DeviceStatus,
    data: &mut Object<'_>,
) -> fmt::Result {
    match answer {
        Answer::Help => write_help(data),
        Answer::Status => {
            data.text("firmware_version", &controller.identity().firmware_version)?;
            telemetry::write_status(now, status, &controller.counters(), data)?;
            let relay = controller.configuration().alarm_relay;
            data.number("alarm_relay", relay.map_or(0, RelayId::number))
        }
        Answer::Point(id) => write_point(controller, *id, data),
        Answer::Summary => telemetry::write_summary_fields(&controller.points().summary(), data),
        Answer::ActiveAlarms { offset } => write_alarms(controller, now, *offset, data),
        Answer::Threshold {
            point,
            side,
            old,
            new,
        } => {
            data.number("point_id", point)?;
            data.text("threshold_type", side.name())?;
            data.number("old_value", old.value)?;
            data.number("new_value", new.value)?;
            data.number("old_hysteresis", old.hysteresis)?;
            data.number("new_hysteresis", new.hysteresis)
        }
        Answer::TestAlarm { alarm, raised } => {
            if let Some(alarm) = alarm {
                write_alarm(controller, now, alarm, data)?;
            }
            data.truth("raised", *raised)
        }
        Answer::Alarm(alarm) => write_alarm(controller, now, alarm, data),
        Answer::Relay {
            relay,
            was_on,
            on,
            duration_s,
        } => {
            data.number("relay_id", relay.number())?;
            data.text("old_state", state_name(*was_on))?;
            data.text("new_state", state_name(*on))?;
            data.number("duration", duration_s)
        }
        Answer::Schedule { schedule, due_ms } => {
            data.text("schedule_id", &schedule.id)?;
            data.number("interval_seconds", schedule.interval_s)?;
            data.text("next_due", now.timestamp_of(*due_ms))
        }
        Answer::ScheduleRemoved(id) => data.text("schedule_id", id),
        Answer::Config {
            interval_s,
            alarm_relay,
        } => {
            if let Some((old, new)) = interval_s {
                data.object("telemetry_interval", |change| {
                    write_change(*old, *new, change)
                })?;
            }
            if let Some((old, new)) = alarm_relay {
                let number = |relay: &Option<RelayId>| u32::from(relay.map_or(0, RelayId::number));
                data.object("alarm_relay", |change| {
                    write_change(number(old), number(new), change)
                })?;
            }
            Ok(())
        }
    }
}

fn write_change(old: u32, new: u32, change: &mut Object<'_>) -> fmt::Result {
    change.number("old_value", old)?;
    change.number("new_value", new)
}

fn write_help(data: &mut Object<'_>) -> fmt::Result {
    let forgotten = usize::from(mutants::active(Mutant::HelpForgetsACommand));
    let listed = &COMMANDS[..COMMANDS.len() - forgotten];
    data.objects("commands", listed, |entry, help| {
        entry.text("command", help.name)?;
        entry.text("description", help.purpose)?;
        entry.object("parameters", |list| {
            help.parameters
                .iter()
                .try_for_each(|(name, takes)| list.text(name, takes))
        })
    })
}

fn write_point(controller: &Controller, id: usize, data: &mut Object<'_>) -> fmt::Result {
    let point = controller.points().get(id).copied().unwrap_or_default();
    data.number("point_id", id)?;
    match point.measurement {
        Some(measured) => telemetry::write_point(id, &measured, data)?,
        None => {
            data.text("name", PointName(id))?;
            data.number("temp", "null")?;
            data.number("sensor_id", "null")?;
            data.text("status", crate::Reading::Disconnected.status())?;
        }
    }
    data.object("thresholds", |thresholds| {
        let Thresholds { high, low } = point.thresholds;
        thresholds.number("high", high.value)?;
        thresholds.number("high_hysteresis", high.hysteresis)?;
        thresholds.number("low", low.value)?;
        thresholds.number("low_hysteresis", low.hysteresis)
    })?;
    data.text("alarm_state", controller.alarms().state_of(id).name())
}

fn write_alarms(
    controller: &Controller,
    now: Now,
    offset: usize,
    data: &mut Object<'_>,
) -> fmt::Result {
    let alarms = controller.alarms();
    data.number("total", alarms.iter().count())?;
    data.number("offset", offset)?;
    let page = alarms.iter().skip(offset).take(ALARMS_A_RESPONSE);
    data.objects("alarms", page, |entry, alarm| {
        write_alarm(controller, now, &alarm, entry)
    })
}

fn write_alarm(
    controller: &Controller,
    now: Now,
    alarm: &Alarm,
    entry: &mut Object<'_>,
) -> fmt::Result {
    let point = controller
        .points()
        .get(alarm.point)
        .copied()
        .unwrap_or_default();
    alarm.write(now, &point.thresholds, entry)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::testing::{Flash, at, controller, respond, respond_text};

    fn check(payload: &str, expected: &Expect) {
        let now = at(61_250);
        let mut controller = controller();
        crate::stand_in::measure(&mut controller, at(60_000));
        let status = DeviceStatus {
            mqtt_connected: true,
            heap_free: 60_000,
            heap_free_min: 58_000,
            largest_free_block: 57_000,
            stack_size: 200_000,
            stack_used_max: 2_900,
            boot_count: 7,
            ..DeviceStatus::default()
        };
        let mut out = String::new();
        controller
            .handle_request(
                &now,
                61_248,
                &status,
                payload.as_bytes(),
                &mut Flash::default(),
                &mut out,
            )
            .expect("a String takes everything");
        expected.assert_eq(&out);
    }

    #[test]
    fn help_lists_every_command() {
        let response = respond(
            &mut controller(),
            at(0),
            br#"{"cmd_id":"1","command":"help"}"#,
        );
        let names = response["data"]["commands"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|c| c["command"].as_str().expect("a name"));
        assert!(names.eq(COMMANDS.iter().map(|h| h.name)));
    }

    #[test]
    fn status_point_and_summary_are_answered() {
        check(
            r#"{"cmd_id":"s-1","command":"get_status","parameters":{}}"#,
            &expect![[
                r#"{"cmd_id":"s-1","timestamp":"2026-11-23T18:02:35.120Z","status":"success","data":{"firmware_version":"0.1.0","uptime_ms":61250,"mqtt_connected":true,"boot_count":7,"heap_free":60000,"heap_free_min":58000,"largest_free_block":57000,"fragmentation_percent":5,"stack_size":200000,"stack_used_max":2900,"heap_refused":0,"mqtt_used_max":0,"json_used_max":0,"outbox_used_max":0,"http_used_max":0,"frames_received":0,"frames_sent":0,"messages_published":0,"commands_received":0,"sessions_opened":0,"messages_queued":0,"telemetry_dropped":0,"messages_dropped":0,"http_requests":0,"events_dropped":0,"schedule_errors":0,"keep_errors":0,"alarm_relay":0},"execution_time":2}"#
            ]],
        );
        check(
            r#"{"cmd_id":"p-1","command":"get_point","parameters":{"point_id":5}}"#,
            &expect![[
                r#"{"cmd_id":"p-1","timestamp":"2026-11-23T18:02:35.120Z","status":"success","data":{"point_id":5,"name":"Point_5","temp":19.7,"sensor_id":"28FF000000000005","status":"OK","thresholds":{"high":85.0,"high_hysteresis":2.0,"low":-20.0,"low_hysteresis":2.0},"alarm_state":"NORMAL"},"execution_time":2}"#
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

    #[test]
    fn the_longest_responses_fit_the_buffer() {
        let mut controller = controller();
        for id in 0..crate::POINTS {
            crate::testing::read(&mut controller, at(0), id, crate::Reading::Error);
            for kind in ["HIGH_TEMP", "LOW_TEMP"] {
                let parameters = alloc::format!(
                    r#"{{"point_id":{id},"alarm_type":"{kind}","test_value":-40.5}}"#
                );
                crate::testing::done(&mut controller, at(0), "test_alarm", &parameters);
            }
        }
        let longest_id = "\\b".repeat(480);
        for command in ["help", "get_status", "get_active_alarms"] {
            let payload = alloc::format!(r#"{{"cmd_id":"{longest_id}","command":"{command}"}}"#);
            assert!(payload.len() <= crate::REQUEST_BYTES_MAX);
            let (_, text) = respond_text(&mut controller, at(u64::MAX / 2), payload.as_bytes());
            assert!(
                text.len() <= crate::MESSAGE_BYTES_MAX,
                "{command}: {} bytes",
                text.len()
            );
        }
    }

    #[test]
    fn more_alarms_than_fit_are_answered_page_by_page() {
        let mut controller = controller();
        for id in 0..crate::POINTS {
            crate::testing::read(&mut controller, at(0), id, crate::Reading::Error);
        }
        let mut page = |offset: usize| {
            let parameters = alloc::format!(r#"{{"offset":{offset}}}"#);
            let response =
                crate::testing::command(&mut controller, at(0), "get_active_alarms", &parameters);
            assert_eq!(response["data"]["total"], 60);
            let alarms = response["data"]["alarms"].as_array().expect("a list").len();
            (response["status"].clone(), alarms)
        };
        assert_eq!(page(0), ("partial".into(), 30));
        assert_eq!(page(29), ("partial".into(), 30));
        assert_eq!(page(30), ("success".into(), 30));
        assert_eq!(page(60), ("success".into(), 0));
    }

    proptest! {
        #[test]
        fn whatever_comes_the_response_is_json(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            respond(&mut controller(), at(0), &payload);
        }

        #[test]
        fn any_cmd_id_comes_back(cmd_id: String) {
            let request = serde_json::json!({"cmd_id": cmd_id, "command": "get_summary"});
            let response: Value =
                respond(&mut controller(), at(0), alloc::format!("{request}").as_bytes());
            prop_assert_eq!(response["cmd_id"].as_str(), Some(cmd_id.as_str()));
        }
    }
}
