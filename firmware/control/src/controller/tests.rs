//! Tests of the controller as a whole: grids, order, what is kept.

use serde_json::json;

use super::*;
use crate::testing::{actions, at, controller, done, measure, refused};

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
    assert_eq!(actions(&mut c, at(1)), [Action::Keep(Kept::Thresholds)]);
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
    assert_eq!(actions(&mut c, at(0)), [Action::Keep(Kept::Configuration)]);
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
