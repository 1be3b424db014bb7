//! Tests of the controller as a whole: grids, order, what is kept.

use serde_json::json;

use super::*;
use crate::testing::{
    Flash, actions, at, command, controller, done, measure, read, refused, respond_kept,
};
use crate::{EVENT_BYTES_MAX, POINTS};

fn with_interval(interval_s: u32) -> Controller {
    let configuration = Configuration {
        telemetry_interval_s: interval_s,
        ..Configuration::default()
    };
    Controller::new(Identity::new("0.1.0", 7), configuration)
}

#[test]
fn telemetry_keeps_its_grid_however_late_it_is_polled() {
    let mut c = with_interval(60);
    assert_eq!(c.poll(at(59_999)), None);
    assert_eq!(c.poll(at(60_400)), Some(Action::PublishTelemetry));
    assert_eq!(c.poll(at(60_400)), None);
    assert_eq!(c.poll_at(), 120_000);
    assert_eq!(c.poll(at(120_000)), Some(Action::PublishTelemetry));
}

#[test]
fn intervals_slept_through_are_left_out() {
    let mut c = with_interval(10);
    assert_eq!(actions(&mut c, at(35_000)), [Action::PublishTelemetry]);
    assert_eq!(c.poll_at(), 40_000);
}

#[test]
fn a_new_interval_counts_from_now() {
    let mut c = with_interval(60);
    let mut configuration = with_interval(1).configuration().clone();
    c.configure(at(5_000), configuration.clone());
    actions(&mut c, at(5_000));
    assert_eq!(c.poll_at(), 6_000);
    configuration.device_name = "e".try_into().expect("short");
    c.configure(at(5_500), configuration);
    actions(&mut c, at(5_500));
    assert_eq!(c.poll_at(), 6_000, "another change leaves the grid alone");
}

#[test]
fn an_interval_of_zero_is_one_second() {
    assert_eq!(with_interval(0).poll_at(), 1_000);
}

#[test]
fn a_threshold_is_answered_kept_and_applied_by_the_next_measurement() {
    let mut c = controller();
    measure(&mut c, at(0), 5, 300);
    let low = r#"{"point_id":5,"threshold_type":"high","value":25.04,"hysteresis":0.5}"#;
    assert_eq!(
        done(&mut c, at(1), "set_threshold", low),
        json!({
            "point_id": 5, "threshold_type": "high", "old_value": 85.0, "new_value": 25.0,
            "old_hysteresis": 2.0, "new_hysteresis": 0.5,
        })
    );
    assert_eq!(actions(&mut c, at(1)), [], "it is kept already");
    measure(&mut c, at(2), 5, 300);
    assert!(matches!(
        actions(&mut c, at(2))[..],
        [Action::PublishAlarm(_)]
    ));
    done(&mut c, at(3), "set_threshold", low);
    assert_eq!(actions(&mut c, at(3)), [], "the same is not kept again");
    let value_only = r#"{"point_id":5,"threshold_type":"high","value":26}"#;
    let data = done(&mut c, at(4), "set_threshold", value_only);
    assert_eq!(data["new_hysteresis"], 0.5);
    let below_low = r#"{"point_id":5,"threshold_type":"high","value":-20}"#;
    assert_eq!(
        refused(&mut c, at(5), "set_threshold", below_low),
        "Invalid parameter value: value takes a low threshold below the high one"
    );
}

#[test]
fn what_set_config_changes_is_answered_and_kept() {
    let mut c = controller();
    let both = r#"{"telemetry_interval":5,"alarm_relay":2}"#;
    assert_eq!(
        done(&mut c, at(0), "set_config", both),
        json!({
            "telemetry_interval": {"old_value": 60, "new_value": 5},
            "alarm_relay": {"old_value": 0, "new_value": 2},
        })
    );
    assert_eq!(actions(&mut c, at(0)), [], "it is kept already");
    assert_eq!(c.poll_at(), 5_000);
    assert_eq!(
        done(&mut c, at(0), "set_config", r#"{"alarm_relay":0}"#),
        json!({"alarm_relay": {"old_value": 2, "new_value": 0}})
    );
}

#[test]
fn contacts_come_before_messages_and_telemetry_last() {
    let mut c = controller();
    done(
        &mut c,
        at(0),
        "set_relay",
        r#"{"relay_id":1,"state":"ON","duration":60}"#,
    );
    done(
        &mut c,
        at(0),
        "set_config",
        r#"{"telemetry_interval":60,"alarm_relay":2}"#,
    );
    actions(&mut c, at(0));
    measure(&mut c, at(60_000), 5, 900);
    let order: alloc::vec::Vec<u8> = actions(&mut c, at(60_000))
        .iter()
        .map(|action| match action {
            Action::SwitchRelay { .. } => 1,
            Action::PublishAlarm(_) | Action::PublishRelay(_) => 2,
            Action::Keep(_) | Action::Reconnect => 3,
            Action::PublishSummary => 4,
            Action::PublishTelemetry => 5,
        })
        .collect();
    assert_eq!(order, [1, 1, 2, 2, 2, 5]);
}

#[test]
fn the_whole_controller_takes_less_than_twelve_kibibytes() {
    let bytes = core::mem::size_of::<Controller>();
    assert!(bytes < 12 * 1_024, "{bytes} bytes");
}

#[test]
fn the_sequence_rises_by_one() {
    let mut c = controller();
    for expected in 0..3 {
        let mut text = alloc::string::String::new();
        c.write_temperature(at(0), &mut text).expect("room");
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(message["sequence"], expected);
    }
}

/// One of each command that changes something for good, and what it changes.
const LASTING: [(&str, &str, Kept); 5] = [
    (
        "set_threshold",
        r#"{"point_id":5,"threshold_type":"high","value":25}"#,
        Kept::Thresholds,
    ),
    (
        "add_schedule",
        r#"{"schedule_id":"new","schedule_type":"interval","interval_seconds":9,"command":"get_summary"}"#,
        Kept::Schedules,
    ),
    (
        "add_schedule",
        r#"{"schedule_id":"old","schedule_type":"interval","interval_seconds":9,"command":"get_summary"}"#,
        Kept::Schedules,
    ),
    (
        "remove_schedule",
        r#"{"schedule_id":"old"}"#,
        Kept::Schedules,
    ),
    (
        "set_config",
        r#"{"telemetry_interval":1000,"alarm_relay":3}"#,
        Kept::Configuration,
    ),
];

/// With a schedule that is there already, and an alarm that a new alarm relay would follow.
fn with_something_to_change() -> Controller {
    let mut c = with_interval(3_600);
    let old = r#"{"schedule_id":"old","schedule_type":"interval","interval_seconds":3000,"command":"get_summary"}"#;
    done(&mut c, at(0), "add_schedule", old);
    measure(&mut c, at(0), 1, 900);
    actions(&mut c, at(0));
    c
}

fn request(command: &str, parameters: &str) -> alloc::vec::Vec<u8> {
    alloc::format!(r#"{{"cmd_id":"t","command":"{command}","parameters":{parameters}}}"#)
        .into_bytes()
}

fn bytes_to_keep(c: &Controller, kept: Kept) -> alloc::vec::Vec<u8> {
    c.keep(kept, &mut [0; crate::KEPT_BYTES_MAX])
        .expect("room")
        .to_vec()
}

#[test]
fn what_a_command_changes_for_good_is_kept_when_it_is_answered() {
    for (command, parameters, kept) in LASTING {
        let mut c = with_something_to_change();
        let before = bytes_to_keep(&c, kept);
        let mut flash = Flash::default();
        let payload = request(command, parameters);
        let (handled, _) = respond_kept(&mut c, at(1), &payload, &mut flash);
        assert_eq!(handled, Handled::Success, "{command}");
        let after = bytes_to_keep(&c, kept);
        assert_ne!(after, before, "{command}");
        assert_eq!(flash.kept, [(kept, after)], "{command}");
        let again = |action: &Action| matches!(action, Action::Keep(_));
        assert!(!actions(&mut c, at(1)).iter().any(again), "{command}");
    }
}

#[test]
fn what_flash_does_not_take_is_refused_changes_nothing_and_is_written_over_later() {
    for (command, parameters, kept) in LASTING {
        let mut c = with_something_to_change();
        let before = c.clone();
        let mut flash = Flash {
            fails: true,
            ..Flash::default()
        };
        let payload = request(command, parameters);
        let (handled, text) = respond_kept(&mut c, at(1), &payload, &mut flash);
        assert_eq!(handled, Handled::Error, "{command}");
        assert!(text.contains(r#""message":"Not kept: "#), "{text}");
        assert_eq!(c.counters().keep_errors, 1);
        // Flash may have taken half of it: it gets what still holds.
        assert_eq!(actions(&mut c, at(30_000)), [], "{command}");
        assert_eq!(c.poll_at(), 30_001, "{command}");
        assert_eq!(actions(&mut c, at(30_001)), [Action::Keep(kept)]);
        c.keep_errors = 0;
        c.keep_from_ms = 0;
        assert_eq!(c, before, "{command}");
    }
}

#[test]
fn what_could_not_be_kept_is_asked_for_again_until_it_is() {
    let mut c = with_interval(3_600);
    let configuration = Configuration {
        retain_telemetry: true,
        ..c.configuration().clone()
    };
    c.configure(at(0), configuration);
    for failures in 0..3 {
        let now = at(u64::from(failures) * 30_000);
        assert_eq!(c.poll_at(), if failures == 0 { 0 } else { now.uptime_ms });
        assert_eq!(actions(&mut c, now), [Action::Keep(Kept::Configuration)]);
        c.not_kept(now, Kept::Configuration);
        assert_eq!(actions(&mut c, now), [], "not at once");
        assert_eq!(c.counters().keep_errors, failures + 1);
    }
    // A command whose change is kept has kept the rest of it.
    done(&mut c, at(70_000), "set_config", r#"{"alarm_relay":1}"#);
    assert_eq!(actions(&mut c, at(90_000)), []);
}

#[test]
fn without_room_messages_that_must_arrive_wait_and_all_else_goes_on() {
    let mut c = with_interval(60);
    for (id, command) in [
        ("s", r#""get_summary""#),
        (
            "r",
            r#""set_relay","parameters":{"relay_id":2,"state":"ON"}"#,
        ),
    ] {
        let parameters = alloc::format!(
            r#"{{"schedule_id":"{id}","schedule_type":"interval","interval_seconds":30,"command":{command}}}"#
        );
        done(&mut c, at(0), "add_schedule", &parameters);
    }
    done(&mut c, at(0), "set_config", r#"{"alarm_relay":1}"#);
    for id in 0..POINTS {
        read(&mut c, at(1), id, Reading::Error);
    }
    let without = |c: &mut Controller, ms| -> alloc::vec::Vec<Action> {
        core::iter::from_fn(|| c.poll_without_events(at(ms))).collect()
    };
    let switched = |number| Action::SwitchRelay {
        relay: RelayId::new(number).expect("a relay"),
        on: true,
    };
    assert_eq!(without(&mut c, 1), [switched(1)]);
    assert_eq!((c.poll_at(), c.poll_at_without_events()), (0, 30_000));
    assert_eq!(without(&mut c, 30_000), [switched(2)]);
    assert_eq!(c.poll_at_without_events(), 60_000, "the summary waits");
    assert_eq!(without(&mut c, 60_000), [Action::PublishTelemetry]);
    // Room again: each change once, in order, and one summary for those that were slept through.
    let all = actions(&mut c, at(60_001));
    let alarms = all.iter().filter_map(|action| match action {
        Action::PublishAlarm(change) => Some(usize::from(change.point)),
        _ => None,
    });
    assert!(alarms.eq(0..POINTS));
    let of = |what: &str| {
        let name = |action: &&Action| alloc::format!("{action:?}").starts_with(what);
        all.iter().filter(name).count()
    };
    assert_eq!((of("PublishRelay"), of("PublishSummary")), (2, 1));
    assert_eq!(all.len(), POINTS + 3);
    assert_eq!(c.counters().events_dropped, 0);
}

#[test]
fn the_longest_events_fit() {
    let configuration = Configuration {
        device_name: "d".repeat(32).as_str().try_into().expect("fits"),
        ..Configuration::default()
    };
    let mut c = Controller::new(Identity::new("0.1.0", u32::MAX), configuration);
    for id in 0..POINTS {
        measure(&mut c, at(0), id, -500);
    }
    let mut longest = 0;
    let mut written = |write: &dyn Fn(&mut dyn Write) -> fmt::Result| {
        let mut text = alloc::string::String::new();
        write(&mut text).expect("room");
        longest = text.len().max(longest);
    };
    for command_and_parameters in [
        ("set_relay", r#"{"relay_id":8,"state":"ON"}"#),
        ("acknowledge_alarm", r#"{"alarm_id":"ALM-4294967295-60"}"#),
    ] {
        let (name, parameters) = command_and_parameters;
        let response = command(&mut c, at(0), name, parameters);
        assert_eq!(response["status"], "success");
    }
    for action in actions(&mut c, at(0)) {
        match action {
            Action::PublishAlarm(change) => written(&|out| change.write(out)),
            Action::PublishRelay(change) => written(&|out| change.write(out)),
            _ => {}
        }
    }
    written(&|out| c.write_summary(at(0), out));
    // The number of an alarm has ten digits at most, and had two.
    assert!(longest > 200 && longest + 8 <= EVENT_BYTES_MAX, "{longest}");
}
