//! Tests of alarms: one measurement after the other, and what is told of them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::points::Reading;
use crate::testing::{actions, at, controller, done, measure, read, refused};
use crate::{Action, Controller};

/// The alarm messages that are due, each as `type transition temperature`.
fn messages(c: &mut Controller, now: Now) -> Vec<String> {
    let changes = actions(c, now)
        .into_iter()
        .filter_map(|action| match action {
            Action::PublishAlarm(change) => Some(change),
            _ => None,
        });
    changes
        .map(|change| {
            let temperature = change.temperature.map_or("-".into(), |t| t.to_string());
            let (kind, transition) = (change.kind.name(), change.transition.name());
            format!("{kind} {transition} {temperature}")
        })
        .collect()
}

fn check(readings: &[i16], expected: &[&str]) {
    let mut c = controller();
    let mut found = Vec::new();
    for (index, tenths) in readings.iter().enumerate() {
        let now = at(1_000 * index as u64);
        measure(&mut c, now, 5, *tenths);
        found.extend(messages(&mut c, now));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_temperature_raises_once_and_clears_only_past_the_hysteresis() {
    check(&[850, 849, -200], &[]);
    check(
        &[851, 900, 849, 831, 860, 830, 829],
        &[
            "HIGH_TEMP NORMAL->ACTIVE 85.1",
            "HIGH_TEMP ACTIVE->CLEARED 83.0",
        ],
    );
    check(
        &[-201, -300, -199, -181, -180],
        &[
            "LOW_TEMP NORMAL->ACTIVE -20.1",
            "LOW_TEMP ACTIVE->CLEARED -18.0",
        ],
    );
    check(
        &[900, -300],
        &[
            "HIGH_TEMP NORMAL->ACTIVE 90.0",
            "HIGH_TEMP ACTIVE->CLEARED -30.0",
            "LOW_TEMP NORMAL->ACTIVE -30.0",
        ],
    );
}

#[test]
fn a_sensor_in_error_says_nothing_of_the_temperature() {
    let mut c = controller();
    let now = at(0);
    measure(&mut c, now, 5, 900);
    read(&mut c, now, 5, Reading::Error);
    read(&mut c, now, 5, Reading::Disconnected);
    assert_eq!(
        messages(&mut c, now),
        [
            "HIGH_TEMP NORMAL->ACTIVE 90.0",
            "SENSOR_ERROR NORMAL->ACTIVE -"
        ]
    );
    measure(&mut c, now, 5, 840);
    assert_eq!(messages(&mut c, now), ["SENSOR_ERROR ACTIVE->CLEARED 84.0"]);
}

#[test]
fn a_point_that_loses_its_sensor_loses_its_alarms() {
    let mut c = controller();
    measure(&mut c, at(0), 5, 900);
    c.measured(at(1), 5, None);
    assert_eq!(
        messages(&mut c, at(1)),
        [
            "HIGH_TEMP NORMAL->ACTIVE 90.0",
            "HIGH_TEMP ACTIVE->CLEARED -"
        ]
    );
}

#[test]
fn an_alarm_is_acknowledged_once_and_clears_from_there() {
    let mut c = controller();
    measure(&mut c, at(0), 5, 900);
    let id = r#"{"alarm_id":"ALM-7-1"}"#;
    for _ in 0..2 {
        let alarm = done(&mut c, at(1), "acknowledge_alarm", id);
        assert_eq!(
            (&alarm["alarm_id"], &alarm["state"]),
            (&"ALM-7-1".into(), &"ACKNOWLEDGED".into())
        );
    }
    measure(&mut c, at(2), 5, 910);
    measure(&mut c, at(3), 5, 830);
    assert_eq!(
        messages(&mut c, at(3)),
        [
            "HIGH_TEMP NORMAL->ACTIVE 90.0",
            "HIGH_TEMP ACTIVE->ACKNOWLEDGED 90.0",
            "HIGH_TEMP ACKNOWLEDGED->CLEARED 83.0",
        ]
    );
    assert_eq!(
        refused(&mut c, at(4), "acknowledge_alarm", id),
        "Unknown alarm: none with this id is active"
    );
}

#[test]
fn every_alarm_has_an_id_of_its_own() {
    let mut c = controller();
    let mut ids = Vec::new();
    for round in 0..100 {
        measure(&mut c, at(round), 5, 900);
        ids.extend(c.alarms().iter().map(|alarm| alarm.id.number));
        measure(&mut c, at(round), 5, 200);
    }
    assert_eq!(ids, (1..=100).collect::<Vec<u32>>());
}

#[test]
fn the_message_has_every_field_of_the_contract() {
    let mut c = controller();
    measure(&mut c, at(61_250), 5, 951);
    let Some(Action::PublishAlarm(change)) = c.poll(at(61_250)) else {
        panic!("an alarm");
    };
    let mut text = String::new();
    change.write(&mut text).expect("room");
    expect![[r#"{"alarm_id":"ALM-7-1","alarm_type":"HIGH_TEMP","point_id":5,"point_name":"Point_5","priority":"HIGH","state_transition":"NORMAL->ACTIVE","temperature":95.1,"threshold":85.0,"timestamp":"2026-11-23T18:02:35.120Z"}"#]].assert_eq(&text);
    text.clear();
    read(&mut c, at(61_250), 59, Reading::Error);
    let Some(Action::PublishAlarm(change)) = c.poll(at(61_250)) else {
        panic!("an alarm");
    };
    change.write(&mut text).expect("room");
    expect![[r#"{"alarm_id":"ALM-7-2","alarm_type":"SENSOR_ERROR","point_id":59,"point_name":"Point_59","priority":"LOW","state_transition":"NORMAL->ACTIVE","temperature":null,"threshold":null,"timestamp":"2026-11-23T18:02:35.120Z"}"#]].assert_eq(&text);
}

const TEST: &str = r#"{"point_id":5,"alarm_type":"HIGH_TEMP","test_value":95.0}"#;

#[test]
fn a_test_alarm_is_held_and_then_cleared_by_a_measurement() {
    let mut c = controller();
    measure(&mut c, at(0), 5, 200);
    let alarm = done(&mut c, at(1_000), "test_alarm", TEST);
    assert_eq!(alarm["raised"], true);
    assert_eq!(alarm["temperature"], 95.0);
    assert_eq!(c.poll_at(), 0);
    assert_eq!(
        messages(&mut c, at(1_000)),
        ["HIGH_TEMP NORMAL->ACTIVE 95.0"]
    );
    assert_eq!(c.poll_at(), 11_000, "when it is let go");
    measure(&mut c, at(10_999), 5, 200);
    assert_eq!(messages(&mut c, at(10_999)), Vec::<String>::new());
    assert_eq!(
        done(&mut c, at(10_999), "test_alarm", TEST)["raised"],
        false
    );
    assert_eq!(messages(&mut c, at(11_000)), Vec::<String>::new());
    measure(&mut c, at(11_001), 5, 840);
    assert_eq!(
        messages(&mut c, at(11_001)),
        Vec::<String>::new(),
        "hysteresis"
    );
    measure(&mut c, at(11_002), 5, 200);
    assert_eq!(
        messages(&mut c, at(11_002)),
        ["HIGH_TEMP ACTIVE->CLEARED 20.0"]
    );
}

#[test]
fn an_acknowledged_test_alarm_clears_with_the_next_measurement() {
    let mut c = controller();
    measure(&mut c, at(0), 5, 200);
    done(&mut c, at(0), "test_alarm", TEST);
    done(
        &mut c,
        at(1),
        "acknowledge_alarm",
        r#"{"alarm_id":"ALM-7-1"}"#,
    );
    measure(&mut c, at(2), 5, 200);
    assert_eq!(
        messages(&mut c, at(2)),
        [
            "HIGH_TEMP NORMAL->ACTIVE 95.0",
            "HIGH_TEMP ACTIVE->ACKNOWLEDGED 20.0",
            "HIGH_TEMP ACKNOWLEDGED->CLEARED 20.0",
        ]
    );
}

#[test]
fn a_test_alarm_at_a_point_without_a_sensor_ends_by_itself() {
    let mut c = controller();
    done(&mut c, at(0), "test_alarm", TEST);
    assert_eq!(messages(&mut c, at(9_999)).len(), 1);
    assert_eq!(
        messages(&mut c, at(10_000)),
        ["HIGH_TEMP ACTIVE->CLEARED -"]
    );
    done(&mut c, at(10_000), "test_alarm", TEST);
    done(
        &mut c,
        at(10_001),
        "acknowledge_alarm",
        r#"{"alarm_id":"ALM-7-2"}"#,
    );
    assert_eq!(messages(&mut c, at(10_001)).len(), 3);
    assert_eq!(c.alarms().iter().count(), 0);
}

#[test]
fn a_value_really_beyond_makes_a_test_alarm_a_real_one() {
    let mut c = controller();
    done(&mut c, at(0), "test_alarm", TEST);
    measure(&mut c, at(1), 5, 900);
    measure(&mut c, at(2), 5, 200);
    assert_eq!(
        messages(&mut c, at(2)),
        [
            "HIGH_TEMP NORMAL->ACTIVE 95.0",
            "HIGH_TEMP ACTIVE->CLEARED 20.0"
        ]
    );
}

#[test]
fn sixty_alarms_at_once_are_sixty_messages() {
    let mut c = controller();
    for id in 0..POINTS {
        measure(&mut c, at(0), id, 900);
        read(&mut c, at(0), id, Reading::Error);
    }
    assert_eq!(messages(&mut c, at(0)).len(), 120);
    assert_eq!(c.counters().events_dropped, 0);
    assert_eq!(c.alarms().iter().count(), 120);
}

#[test]
fn the_relay_that_follows_the_alarms_is_on_while_one_is_unacknowledged() {
    let mut c = controller();
    done(&mut c, at(0), "set_config", r#"{"alarm_relay":3}"#);
    let relay = |c: &mut Controller, now| {
        let changes = actions(c, now)
            .into_iter()
            .filter_map(|action| match action {
                Action::PublishRelay(change) => {
                    Some((change.relay.number(), change.on, change.cause.name()))
                }
                _ => None,
            });
        changes.collect::<Vec<_>>()
    };
    measure(&mut c, at(0), 5, 900);
    assert_eq!(relay(&mut c, at(0)), [(3, true, "alarm")]);
    measure(&mut c, at(1), 6, 900);
    assert_eq!(relay(&mut c, at(1)), vec![]);
    done(
        &mut c,
        at(2),
        "acknowledge_alarm",
        r#"{"alarm_id":"ALM-7-1"}"#,
    );
    assert_eq!(relay(&mut c, at(2)), vec![]);
    done(&mut c, at(3), "set_config", r#"{"alarm_relay":4}"#);
    assert_eq!(
        relay(&mut c, at(3)),
        [(3, false, "alarm"), (4, true, "alarm")]
    );
    measure(&mut c, at(4), 6, 200);
    assert_eq!(relay(&mut c, at(4)), [(4, false, "alarm")]);
    done(&mut c, at(5), "set_config", r#"{"alarm_relay":0}"#);
    measure(&mut c, at(5), 6, 900);
    assert_eq!(relay(&mut c, at(5)), vec![]);
}

/// One step of a point's life.
#[derive(Clone, Copy, Debug)]
enum Step {
    Reading(Reading),
    NoSensor,
    Test(AlarmKind),
    AcknowledgeAll,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (-500_i16..=2_000).prop_map(|t| Step::Reading(Reading::Temperature(Tenths::constant(t)))),
        1 => Just(Step::Reading(Reading::Error)),
        1 => Just(Step::Reading(Reading::Disconnected)),
        1 => Just(Step::NoSensor),
        2 => prop::sample::select(&AlarmKind::ALL[..]).prop_map(Step::Test),
        2 => Just(Step::AcknowledgeAll),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, the messages of each alarm are a walk along the arrows of the diagram,
    /// one message an arrow, and end in the state that the alarm is in.
    #[test]
    fn each_change_of_an_alarm_is_one_message(steps in proptest::collection::vec(step(), 0..60)) {
        let mut c = controller();
        let mut now = at(0);
        let mut told = [AlarmState::Normal; 3];
        for step in steps {
            now = at(now.uptime_ms + 1_000);
            match step {
                Step::Reading(reading) => read(&mut c, now, 5, reading),
                Step::NoSensor => c.measured(now, 5, None),
                Step::Test(kind) => {
                    let parameters = format!(
                        r#"{{"point_id":5,"alarm_type":"{}","test_value":0}}"#,
                        kind.name()
                    );
                    done(&mut c, now, "test_alarm", &parameters);
                }
                Step::AcknowledgeAll => {
                    let alarms: Vec<Alarm> = c.alarms().iter().collect();
                    for alarm in alarms {
                        let parameters = format!(r#"{{"alarm_id":"{}"}}"#, alarm.id);
                        done(&mut c, now, "acknowledge_alarm", &parameters);
                    }
                }
                Step::Wait => now = at(now.uptime_ms + TEST_HOLD_MS),
            }
            for action in actions(&mut c, now) {
                let Action::PublishAlarm(change) = action else { continue };
                let state = &mut told[change.kind as usize];
                let (from, to) = match change.transition {
                    Transition::Raised => (AlarmState::Normal, AlarmState::Active),
                    Transition::Acknowledged => (AlarmState::Active, AlarmState::Acknowledged),
                    Transition::Cleared => (AlarmState::Active, AlarmState::Normal),
                    Transition::ClearedAcknowledged => (AlarmState::Acknowledged, AlarmState::Normal),
                };
                prop_assert_eq!(*state, from, "{:?}", change);
                *state = to;
            }
            for kind in AlarmKind::ALL {
                let state = c.alarms().get(5, kind).map_or(AlarmState::Normal, |a| a.state);
                prop_assert_eq!(told[kind as usize], state);
            }
        }
    }
}
