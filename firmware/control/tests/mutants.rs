//! Every deliberate fault is one: a device that has it breaks the contract where its scenario looks,
//! and a device without any keeps it.
//!
//! The checks are the scenarios in small, by their IDs: on the host, without a chip, a network or a
//! sensor. That the real scenarios catch the mutants too is for `hil verify` to show.

use std::panic::{AssertUnwindSafe, catch_unwind};

use firmware_control::mutants::{self, Mutant};
use firmware_control::{
    Action, Configuration, Controller, DeviceStatus, Identity, KEPT_BYTES_MAX, Keeper, Kept,
    Measurement, NotKept, Now, Reading, Tenths, commands::COMMANDS,
};
use serde_json::{Value, json};

/// A device as a scenario sees it: what it published, where its contacts are, what is in its flash.
struct Device {
    controller: Controller,
    now_ms: u64,
    messages: Vec<(u64, &'static str, Value)>,
    contacts: [bool; 8],
    flash: Flash,
    requests: u32,
}

/// What each thing was when it was last kept.
#[derive(Clone, Default)]
struct Flash(Vec<(Kept, Vec<u8>)>);

impl Keeper for Flash {
    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), NotKept> {
        self.0.retain(|(other, _)| *other != kept);
        self.0.push((kept, bytes.to_vec()));
        Ok(())
    }
}

impl Device {
    fn new() -> Self {
        let mut device = Self::booted(Flash::default());
        device.measure_all(200);
        device
    }

    fn booted(flash: Flash) -> Self {
        let mut controller = Controller::new(Identity::new("0.1.0", 7), Configuration::default());
        for (kept, bytes) in &flash.0 {
            controller.restore(now(0), *kept, bytes).expect("sound");
        }
        Self {
            controller,
            now_ms: 0,
            messages: Vec::new(),
            contacts: [false; 8],
            flash,
            requests: 0,
        }
    }

    /// Power off, power on.
    fn power_cycle(&mut self) {
        *self = Self::booted(self.flash.clone());
        self.measure_all(200);
    }

    fn measure(&mut self, id: usize, reading: Reading) {
        let measurement = Measurement {
            sensor_id: id as u64,
            reading,
        };
        self.controller
            .measured(now(self.now_ms), id, Some(measurement));
        self.act();
    }

    fn temperature(&mut self, id: usize, tenths: i16) {
        self.measure(
            id,
            Reading::Temperature(Tenths::new(tenths).expect("in range")),
        );
    }

    fn measure_all(&mut self, tenths: i16) {
        (0..60).for_each(|id| self.temperature(id, tenths));
    }

    fn run(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        loop {
            self.act();
            let next_ms = self.controller.poll_at();
            if next_ms > until_ms {
                break;
            }
            // A loop that is a little late, as real ones are.
            self.now_ms = next_ms.max(self.now_ms) + 3;
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    fn act(&mut self) {
        let at = now(self.now_ms);
        while let Some(action) = self.controller.poll(at) {
            let mut text = String::new();
            let topic = match action {
                Action::SwitchRelay { relay, on } => {
                    self.contacts[relay.index()] = on;
                    continue;
                }
                Action::Keep(kept) => {
                    let mut buffer = [0; KEPT_BYTES_MAX];
                    let bytes = self.controller.keep(kept, &mut buffer).expect("it fits");
                    self.flash.keep(kept, bytes).expect("room");
                    continue;
                }
                Action::Reconnect => continue,
                Action::PublishAlarm(change) => {
                    change.write(&mut text).expect("room");
                    "alarm"
                }
                Action::PublishRelay(change) => {
                    change.write(&mut text).expect("room");
                    "relay"
                }
                Action::PublishSummary => {
                    self.controller.write_summary(at, &mut text).expect("room");
                    "summary"
                }
                Action::PublishTelemetry => {
                    self.controller
                        .write_temperature(at, &mut text)
                        .expect("room");
                    "temperature"
                }
            };
            let message = serde_json::from_str(&text).expect("JSON");
            self.messages.push((self.now_ms, topic, message));
        }
    }

    fn of(&self, topic: &str) -> Vec<&Value> {
        let messages = self.messages.iter();
        messages
            .filter_map(|(_, of, message)| (*of == topic).then_some(message))
            .collect()
    }

    fn times(&self, topic: &str) -> Vec<u64> {
        let messages = self.messages.iter();
        messages
            .filter_map(|(ms, of, _)| (*of == topic).then_some(*ms))
            .collect()
    }

    fn request(&mut self, payload: &str) -> Value {
        let mut text = String::new();
        let at = now(self.now_ms);
        self.controller
            .handle_request(
                &at,
                self.now_ms,
                &DeviceStatus::default(),
                payload.as_bytes(),
                &mut self.flash,
                &mut text,
            )
            .expect("room");
        self.act();
        serde_json::from_str(&text).expect("JSON")
    }

    /// A command's response, a moment after whatever was before.
    fn response(&mut self, command: &str, parameters: Value) -> Value {
        self.now_ms += 100;
        self.requests += 1;
        let cmd_id = format!("r-{}", self.requests);
        let request = json!({"cmd_id": cmd_id, "command": command, "parameters": parameters});
        self.request(&request.to_string())
    }

    fn command(&mut self, command: &str, parameters: Value) -> Value {
        let response = self.response(command, parameters);
        assert_eq!(response["status"], "success", "{response}");
        response["data"].clone()
    }

    fn point(&mut self, id: u32) -> Value {
        self.command("get_point", json!({"point_id": id}))
    }

    fn transitions(&self) -> Vec<String> {
        let alarms = self.of("alarm").into_iter();
        alarms
            .map(|message| {
                let text = |name: &str| message[name].as_str().expect("text").to_owned();
                format!("{} {}", text("alarm_type"), text("state_transition"))
            })
            .collect()
    }
}

fn now(uptime_ms: u64) -> Now {
    Now {
        uptime_ms,
        unix_ms: None,
    }
}

fn high_threshold(id: u32, value: f64) -> Value {
    json!({"point_id": id, "threshold_type": "high", "value": value, "hysteresis": 2.0})
}

type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("CMD-1", every_point_is_answered),
    ("CMD-1", help_is_complete),
    ("CMD-1", the_threshold_that_was_set_is_read_back),
    ("CMD-2", errors_keep_their_schema),
    ("CMD-3", a_long_request_is_refused),
    ("CMD-3", a_refused_threshold_stays),
    ("CMD-4", two_requests_at_once_have_their_own_ids),
    ("TEL-1", the_sequence_has_no_gaps),
    ("TEL-2", the_summary_agrees_with_the_points),
    ("TEL-1", readings_move),
    ("TEL-2", what_is_measured_is_told),
    ("TEL-3", the_interval_is_kept),
    ("INT-1", a_bad_configuration_is_refused_whole),
    ("INT-1", the_password_is_hidden),
    ("INT-2", alarms_are_told_once_and_late_to_clear),
    ("INT-3", relays_do_what_they_say),
    ("INT-4", schedules_keep_their_interval_until_removed),
    ("INT-4", schedules_survive_a_power_cut),
    ("INT-1", the_configuration_survives_a_power_cut),
    ("STAB-3", thresholds_survive_a_power_cut),
    ("CMD-5", no_command_fails_of_hundreds),
];

fn every_point_is_answered() {
    let mut d = Device::new();
    (0..60).for_each(|id| assert_eq!(d.point(id)["point_id"], id));
}

fn help_is_complete() {
    let help = Device::new().command("help", json!({}));
    let listed = help["commands"].as_array().expect("a list").len();
    assert_eq!(listed, COMMANDS.len());
}

fn the_threshold_that_was_set_is_read_back() {
    let mut d = Device::new();
    d.command("set_threshold", high_threshold(5, 30.0));
    assert_eq!(d.point(5)["thresholds"]["high"], 30.0);
}

fn errors_keep_their_schema() {
    let response = Device::new().response("nothing", json!({}));
    assert!(response["message"].is_string());
    assert!(response["execution_time"].is_u64());
}

fn a_long_request_is_refused() {
    let padding = " ".repeat(1_024);
    let payload = format!(r#"{{"cmd_id":"a","command":"help"}}{padding}"#);
    assert_eq!(Device::new().request(&payload)["status"], "error");
}

fn a_refused_threshold_stays() {
    let mut d = Device::new();
    let before = d.point(5);
    let response = d.response("set_threshold", high_threshold(5, -30.0));
    assert_eq!(response["status"], "error");
    assert_eq!(d.point(5), before);
}

fn two_requests_at_once_have_their_own_ids() {
    let mut d = Device::new();
    for id in ["a", "b"] {
        let payload = format!(r#"{{"cmd_id":"{id}","command":"help"}}"#);
        assert_eq!(d.request(&payload)["cmd_id"], id);
    }
}

fn the_sequence_has_no_gaps() {
    let mut d = Device::new();
    d.run(600_000);
    for (expected, message) in d.of("temperature").into_iter().enumerate() {
        assert_eq!(message["sequence"], expected);
    }
}

fn the_summary_agrees_with_the_points() {
    let mut d = Device::new();
    d.measure(1, Reading::Error);
    d.run(60_100);
    let message = d.of("temperature")[0];
    let points = message["points"].as_object().expect("points");
    let good = points.values().filter(|p| p["status"] == "OK").count();
    assert_eq!(message["summary"]["active_points"], good);
}

fn readings_move() {
    let mut d = Device::new();
    d.measure_all(210);
    (0..60).for_each(|id| assert_eq!(d.point(id)["temp"], 21.0));
}

fn what_is_measured_is_told() {
    let mut d = Device::new();
    d.temperature(1, -123);
    assert_eq!(d.point(1)["temp"], -12.3);
    d.measure(1, Reading::Disconnected);
    assert_eq!(d.point(1)["status"], "DISCONNECTED");
    d.measure(1, Reading::Error);
    assert_eq!(d.point(1)["status"], "ERROR");
}

fn the_interval_is_kept() {
    let mut d = Device::new();
    d.run(600_000);
    for pair in d.times("temperature").windows(2) {
        assert!((54_000..=66_000).contains(&(pair[1] - pair[0])), "{pair:?}");
    }
}

fn post(d: &mut Device, body: &str) -> bool {
    let taken = d.controller.configure_json(now(d.now_ms), body.as_bytes());
    let taken = taken.is_ok();
    d.act();
    taken
}

fn shown(d: &Device) -> Value {
    let mut text = String::new();
    d.controller.configuration().write(&mut text).expect("room");
    serde_json::from_str(&text).expect("JSON")
}

fn a_bad_configuration_is_refused_whole() {
    let mut d = Device::new();
    let before = shown(&d);
    assert!(!post(&mut d, r#"{"mqtt_port":0}"#));
    assert!(!post(
        &mut d,
        r#"{"mqtt_telemetry_interval":7,"mqtt_use_tls":1}"#
    ));
    assert_eq!(shown(&d), before);
}

fn the_password_is_hidden() {
    let mut d = Device::new();
    assert!(post(&mut d, r#"{"mqtt_password":"secret"}"#));
    assert!(!shown(&d).to_string().contains("secret"));
}

fn alarms_are_told_once_and_late_to_clear() {
    let mut d = Device::new();
    for tenths in [851, 849, 900, 830] {
        d.temperature(5, tenths);
    }
    d.temperature(6, -201);
    let id = d.of("alarm").last().expect("an alarm")["alarm_id"].clone();
    d.command("acknowledge_alarm", json!({"alarm_id": id}));
    d.temperature(6, -180);
    assert_eq!(
        d.transitions(),
        [
            "HIGH_TEMP NORMAL->ACTIVE",
            "HIGH_TEMP ACTIVE->CLEARED",
            "LOW_TEMP NORMAL->ACTIVE",
            "LOW_TEMP ACTIVE->ACKNOWLEDGED",
            "LOW_TEMP ACKNOWLEDGED->CLEARED",
        ]
    );
}

fn relays_do_what_they_say() {
    let mut d = Device::new();
    let switch = |d: &mut Device, state: &str, duration: u32| {
        let parameters = json!({"relay_id": 1, "state": state, "duration": duration});
        let data = d.command("set_relay", parameters);
        let on = data["new_state"] == "ON";
        assert_eq!(d.contacts[0], on, "the contact follows");
        on
    };
    assert!(switch(&mut d, "TOGGLE", 0));
    assert!(!switch(&mut d, "TOGGLE", 0));
    assert!(switch(&mut d, "ON", 5));
    d.run(4_900);
    assert!(d.contacts[0], "still on");
    d.run(200);
    assert!(!d.contacts[0], "off again");
    let events: Vec<&Value> = d.of("relay").iter().map(|e| &e["cause"]).collect();
    assert_eq!(events, ["command", "command", "command", "timer"]);
}

fn every_10_s() -> Value {
    json!({
        "schedule_id": "a", "schedule_type": "interval", "interval_seconds": 10,
        "command": "get_summary", "parameters": {},
    })
}

fn schedules_keep_their_interval_until_removed() {
    let mut d = Device::new();
    d.command("add_schedule", every_10_s());
    let begin_ms = d.now_ms;
    d.run(60_500);
    for (run, ms) in d.times("summary").into_iter().enumerate() {
        let due_ms = begin_ms + 10_000 * (run as u64 + 1);
        assert!(ms - due_ms < 100, "run {run} at {ms}, due at {due_ms}");
    }
    assert_eq!(d.times("summary").len(), 6);
    d.command("remove_schedule", json!({"schedule_id": "a"}));
    d.run(30_000);
    assert_eq!(d.times("summary").len(), 6);
}

fn schedules_survive_a_power_cut() {
    let mut d = Device::new();
    d.command("add_schedule", every_10_s());
    d.power_cycle();
    d.run(10_100);
    assert_eq!(d.times("summary").len(), 1);
}

fn the_configuration_survives_a_power_cut() {
    let mut d = Device::new();
    assert!(post(&mut d, r#"{"mqtt_telemetry_interval":7}"#));
    d.power_cycle();
    assert_eq!(shown(&d)["mqtt_telemetry_interval"], 7);
}

fn thresholds_survive_a_power_cut() {
    let mut d = Device::new();
    d.command("set_threshold", high_threshold(5, 30.0));
    d.power_cycle();
    assert_eq!(d.point(5)["thresholds"]["high"], 30.0);
}

fn no_command_fails_of_hundreds() {
    let mut d = Device::new();
    for _ in 0..200 {
        d.command("get_summary", json!({}));
    }
}

/// The IDs of the checks that fail.
fn failing() -> Vec<&'static str> {
    let failing = CHECKS
        .iter()
        .filter(|(_, check)| catch_unwind(AssertUnwindSafe(check)).is_err());
    failing.map(|(id, _)| *id).collect()
}

// One test, because there is one active mutant a process.
#[test]
fn every_mutant_is_caught_by_its_scenario_and_none_without_one() {
    assert_eq!(failing(), [""; 0], "without a mutant");
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        mutants::activate(Some(*mutant));
        let failing = failing();
        if !failing.contains(&mutant.scenario()) {
            missed.push((mutant.name(), mutant.scenario(), failing));
        }
    }
    mutants::activate(None);
    let _ = std::panic::take_hook();
    assert_eq!(missed, []);
    assert_eq!(failing(), [""; 0], "with none any more");
}

#[test]
fn mutants_have_numbers_and_names_of_their_own() {
    for (mutant, number) in Mutant::ALL.iter().zip(1..) {
        assert_eq!(mutant.number(), number);
        assert_eq!(Mutant::from_number(number), Some(*mutant));
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(mutant.name().chars().all(kebab), "{}", mutant.name());
    }
    assert_eq!(Mutant::from_number(0), None);
    assert_eq!(Mutant::from_number(Mutant::ALL.len() as u16 + 1), None);
}
