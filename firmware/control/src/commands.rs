//! The commands: what there is, and what a request asks for.
//!
//! A command is an entry in [`COMMANDS`] and an arm of `Command::of`; `help` reads the same
//! table, so it can't forget one. What it answers is in [`crate::responses`].

use crate::alarms::{ALARMS_MAX, AlarmKind};
use crate::configuration::{INTERVAL_TAKES, TELEMETRY_INTERVAL_S_MAX};
use crate::document::Text;
use crate::orders::{Order, SetConfig, SetRelay, SetThreshold, TestAlarm};
use crate::points::Tenths;
use crate::relays::{DURATION_S_MAX, RELAYS, RelayId, Switch};
use crate::request::{Parameters, RequestError};
use crate::schedules::{INTERVAL_S_MAX, Schedule, ScheduleId};
use crate::thresholds::{HYSTERESIS_MAX, Side};

/// What `help` says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Help {
    /// The command's name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Its parameters: name and what it takes.
    pub parameters: &'static [(&'static str, &'static str)],
}

const POINT_ID: (&str, &str) = ("point_id", "integer, 0 to 59");
const SCHEDULE_ID: (&str, &str) = ("schedule_id", SCHEDULE_ID_TAKES);

const TEMPERATURE_TAKES: &str = "degrees Celsius, -50.0 to 200.0";
const HYSTERESIS_TAKES: &str = "kelvin, 0.0 to 50.0";
const DURATION_TAKES: &str = "seconds, 0 to 604800; 0 until changed";
const SCHEDULE_INTERVAL_TAKES: &str = "seconds, 1 to 604800";
const SCHEDULE_ID_TAKES: &str = "text of 1 to 32 bytes";
const SIDE_TAKES: &str = "`high` or `low`";
const KIND_TAKES: &str = "`HIGH_TEMP`, `LOW_TEMP` or `SENSOR_ERROR`";
const SWITCH_TAKES: &str = "`ON`, `OFF` or `TOGGLE`";
const ALARM_RELAY_TAKES: &str = "integer, 0 to 8; 0 for no relay";
const OFFSET_TAKES: &str = "integer, 0 to 180";

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
        parameters: &[POINT_ID],
    },
    Help {
        name: "get_summary",
        purpose: "the summary of all points",
        parameters: &[],
    },
    Help {
        name: "get_active_alarms",
        purpose: "the alarms that are active or acknowledged",
        parameters: &[("offset", "optional: alarms to leave out, for the next page")],
    },
    Help {
        name: "set_threshold",
        purpose: "move a threshold of a point",
        parameters: &[
            POINT_ID,
            ("threshold_type", SIDE_TAKES),
            ("value", TEMPERATURE_TAKES),
            ("hysteresis", "optional: kelvin, 0.0 to 50.0"),
        ],
    },
    Help {
        name: "test_alarm",
        purpose: "raise an alarm as a test",
        parameters: &[
            POINT_ID,
            ("alarm_type", KIND_TAKES),
            ("test_value", "degrees Celsius; not for `SENSOR_ERROR`"),
        ],
    },
    Help {
        name: "acknowledge_alarm",
        purpose: "acknowledge an alarm",
        parameters: &[("alarm_id", "text, from the alarm's message")],
    },
    Help {
        name: "set_relay",
        purpose: "switch a relay",
        parameters: &[
            ("relay_id", "integer, 1 to 8"),
            ("state", SWITCH_TAKES),
            ("duration", "optional: seconds, 0 until changed"),
        ],
    },
    Help {
        name: "add_schedule",
        purpose: "carry out a command again and again",
        parameters: &[
            SCHEDULE_ID,
            ("schedule_type", "`interval`"),
            ("interval_seconds", SCHEDULE_INTERVAL_TAKES),
            ("command", "`get_summary`, or one that sets or tests"),
            ("parameters", "optional: the command's parameters"),
        ],
    },
    Help {
        name: "remove_schedule",
        purpose: "end a schedule",
        parameters: &[SCHEDULE_ID],
    },
    Help {
        name: "set_config",
        purpose: "change the configuration",
        parameters: &[
            ("telemetry_interval", INTERVAL_TAKES),
            (
                "alarm_relay",
                "optional: relay that follows the alarms, 0 for none",
            ),
        ],
    },
];

/// A request that can be carried out, as far as its parameters say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'p> {
    Help,
    GetStatus,
    GetPoint { id: u8 },
    GetActiveAlarms { offset: u32 },
    AcknowledgeAlarm { id: Text<'p> },
    AddSchedule(Schedule),
    RemoveSchedule { id: ScheduleId },
    Order(Order),
}

impl<'p> Command<'p> {
    /// The command that a request asks for.
    pub(crate) fn of(name: Text<'_>, p: Parameters<'p>) -> Result<Self, RequestError> {
        let is = |command: &str| name.is(command);
        if is("help") {
            Ok(Self::Help)
        } else if is("get_status") {
            Ok(Self::GetStatus)
        } else if is("get_point") {
            Ok(Self::GetPoint { id: p.point_id()? })
        } else if is("get_active_alarms") {
            let offset = p.whole_if_there("offset", 0..=ALARMS_MAX as u32, OFFSET_TAKES)?;
            Ok(Self::GetActiveAlarms {
                offset: offset.unwrap_or(0),
            })
        } else if is("acknowledge_alarm") {
            Ok(Self::AcknowledgeAlarm {
                id: p.text("alarm_id")?,
            })
        } else if is("add_schedule") {
            schedule(p).map(Self::AddSchedule)
        } else if is("remove_schedule") {
            Ok(Self::RemoveSchedule {
                id: p.id("schedule_id", SCHEDULE_ID_TAKES)?,
            })
        } else {
            order(name, p).map(Self::Order)
        }
    }
}

fn order(name: Text<'_>, p: Parameters<'_>) -> Result<Order, RequestError> {
    let is = |command: &str| name.is(command);
    if is("get_summary") {
        Ok(Order::Summary)
    } else if is("set_relay") {
        set_relay(p).map(Order::Relay)
    } else if is("set_threshold") {
        set_threshold(p).map(Order::Threshold)
    } else if is("test_alarm") {
        test_alarm(p).map(Order::TestAlarm)
    } else if is("set_config") {
        set_config(p).map(Order::Config)
    } else {
        Err(RequestError::Command)
    }
}

fn set_relay(p: Parameters<'_>) -> Result<SetRelay, RequestError> {
    const STATES: &[(&str, Switch)] = &[
        ("ON", Switch::On),
        ("OFF", Switch::Off),
        ("TOGGLE", Switch::Toggle),
    ];
    Ok(SetRelay {
        relay: p.relay_id()?,
        switch: p.one_of("state", STATES, SWITCH_TAKES)?,
        duration_s: p
            .whole_if_there("duration", 0..=DURATION_S_MAX, DURATION_TAKES)?
            .unwrap_or(0),
    })
}

fn set_threshold(p: Parameters<'_>) -> Result<SetThreshold, RequestError> {
    const SIDES: &[(&str, Side)] = &[("high", Side::High), ("low", Side::Low)];
    Ok(SetThreshold {
        point: p.point_id()?,
        side: p.one_of("threshold_type", SIDES, SIDE_TAKES)?,
        value: p.tenths("value", Tenths::MIN..=Tenths::MAX, TEMPERATURE_TAKES)?,
        hysteresis: if p.has("hysteresis") {
            let range = Tenths::constant(0)..=HYSTERESIS_MAX;
            Some(p.tenths("hysteresis", range, HYSTERESIS_TAKES)?)
        } else {
            None
        },
    })
}

fn test_alarm(p: Parameters<'_>) -> Result<TestAlarm, RequestError> {
    const KINDS: &[(&str, AlarmKind)] = &[
        ("HIGH_TEMP", AlarmKind::HighTemp),
        ("LOW_TEMP", AlarmKind::LowTemp),
        ("SENSOR_ERROR", AlarmKind::SensorError),
    ];
    let point = p.point_id()?;
    let kind = p.one_of("alarm_type", KINDS, KIND_TAKES)?;
    let of_sensor = kind == AlarmKind::SensorError;
    let value = if of_sensor && !p.has("test_value") {
        None
    } else {
        Some(p.tenths("test_value", Tenths::MIN..=Tenths::MAX, TEMPERATURE_TAKES)?)
    };
    Ok(TestAlarm {
        point,
        kind,
        // A sensor in error has none, whatever the test says.
        temperature: value.filter(|_| !of_sensor),
    })
}

fn set_config(p: Parameters<'_>) -> Result<SetConfig, RequestError> {
    const INTERVAL: &str = "telemetry_interval";
    const RELAY: &str = "alarm_relay";
    let relay = p.whole_if_there(RELAY, 0..=RELAYS as u32, ALARM_RELAY_TAKES)?;
    let interval = p.whole_if_there(INTERVAL, 1..=TELEMETRY_INTERVAL_S_MAX, INTERVAL_TAKES)?;
    if relay.is_none() && interval.is_none() {
        return Err(RequestError::Missing(INTERVAL));
    }
    Ok(SetConfig {
        telemetry_interval_s: interval,
        alarm_relay: relay.map(|number| u8::try_from(number).ok().and_then(RelayId::new)),
    })
}

fn schedule(p: Parameters<'_>) -> Result<Schedule, RequestError> {
    let id = p.id("schedule_id", SCHEDULE_ID_TAKES)?;
    p.one_of("schedule_type", &[("interval", ())], "`interval`")?;
    let interval_s = p.whole(
        "interval_seconds",
        1..=INTERVAL_S_MAX,
        SCHEDULE_INTERVAL_TAKES,
    )?;
    let command = p.text("command")?;
    let known = COMMANDS.iter().any(|help| command.is(help.name));
    let order = order(command, p.parameters()?).map_err(|error| match error {
        RequestError::Command if known => RequestError::NotForSchedules,
        other => other,
    })?;
    Ok(Schedule {
        id,
        interval_s,
        order,
    })
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::request;

    fn of(name: &str, parameters: &str) -> Result<(), RequestError> {
        let payload = format!(r#"{{"cmd_id":"a","command":"{name}","parameters":{parameters}}}"#);
        let request = request::parse(payload.as_bytes()).expect("a request");
        Command::of(request.command, request.parameters).map(|_| ())
    }

    #[test]
    fn every_listed_command_exists_and_no_other() {
        for help in COMMANDS {
            assert_ne!(
                of(help.name, "{}"),
                Err(RequestError::Command),
                "{}",
                help.name
            );
        }
        for name in ["", "HELP", "help ", "get_status;", "get_"] {
            assert_eq!(of(name, "{}"), Err(RequestError::Command), "{name}");
        }
    }

    #[test]
    fn a_command_without_its_parameters_misses_the_first_one_that_help_lists() {
        for help in COMMANDS {
            let required = help
                .parameters
                .iter()
                .find(|(_, takes)| !takes.starts_with("optional"));
            let expected = required.map_or(Ok(()), |(name, _)| Err(RequestError::Missing(name)));
            assert_eq!(of(help.name, "{}"), expected, "{}", help.name);
        }
    }

    #[test]
    fn a_sensor_error_has_no_temperature_and_needs_none() {
        assert_eq!(
            of(
                "test_alarm",
                r#"{"point_id":1,"alarm_type":"SENSOR_ERROR"}"#
            ),
            Ok(())
        );
        assert_eq!(
            of(
                "test_alarm",
                r#"{"point_id":1,"alarm_type":"SENSOR_ERROR","test_value":"x"}"#
            ),
            Err(RequestError::Type("test_value"))
        );
    }
}
