//! What must hold for any input of the controller: the entry functions of the fuzz targets, and
//! their seeds.
//!
//! Shared by file with a test of `firmware-control`, which runs them over the seeds and what is a
//! byte away from them.

#[path = "../../tests/support/stand_in.rs"]
mod stand_in;

use firmware_control::{
    Action, Clock, Configuration, Controller, DeviceStatus, Handled, Identity, KEPT_BYTES_MAX,
    Keeper, Kept, MESSAGE_BYTES_MAX, NotKept, Now,
};
use serde::Deserialize;
use serde_json::Value;

/// Ends a request within an input, and begins the next: no byte of UTF-8.
pub const SEPARATOR: u8 = 0xFF;

/// Where messages are written: as large as the firmware's buffer, and no larger.
struct Buffer(String);

impl core::fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if self.0.len() + text.len() > MESSAGE_BYTES_MAX {
            return Err(core::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn written(write: impl FnOnce(&mut Buffer) -> core::fmt::Result) -> Value {
    let mut buffer = Buffer(String::with_capacity(MESSAGE_BYTES_MAX));
    write(&mut buffer).expect("any message fits the buffer");
    serde_json::from_str(&buffer.0).expect("any message is JSON")
}

fn controller() -> Controller {
    let mut controller = Controller::new(Identity::new("0.1.0", 7), Configuration::default());
    stand_in::measure(&mut controller, at(0));
    controller
}

fn at(uptime_ms: u64) -> Now {
    Now {
        uptime_ms,
        unix_ms: Some(1_795_456_893_870 + uptime_ms),
    }
}

/// Requests, one after the other and ten seconds apart: each is answered with one response that is
/// JSON, with its `cmd_id`; one that is refused changes nothing; what the controller then wants to
/// be done has an end.
///
/// # Panics
/// When anything of that does not hold.
pub fn command(data: &[u8]) {
    let mut controller = controller();
    for (index, payload) in data.split(|b| *b == SEPARATOR).enumerate() {
        let now = at(10_000 * (index as u64 + 1));
        let before = controller.clone();
        let (handled, response) = answered(&mut controller, now, payload);
        assert_eq!(response["status"], handled.status());
        if let Ok(Value::Object(request)) = serde_json::from_slice::<Value>(payload)
            && response["message"]
                .as_str()
                .is_none_or(|message| !message.starts_with("JSON") && !message.contains("large"))
        {
            let cmd_id = request.get("cmd_id").and_then(Value::as_str);
            assert_eq!(
                response["cmd_id"].as_str(),
                Some(cmd_id.unwrap_or_default())
            );
        }
        if handled == Handled::Error {
            assert_eq!(controller, before, "an error changes nothing");
            assert!(response["message"].is_string());
        }
        act(&mut controller, now);
    }
}

fn answered(controller: &mut Controller, now: Now, payload: &[u8]) -> (Handled, Value) {
    let mut handled = Handled::Error;
    let response = written(|buffer| {
        let status = DeviceStatus::default();
        let clock: &dyn Clock = &now;
        handled = controller.handle_request(
            clock,
            now.uptime_ms,
            &status,
            payload,
            &mut Flash,
            buffer,
        )?;
        Ok(())
    });
    (handled, response)
}

/// Does what the controller wants to be done; afterwards it wants nothing before a later time.
fn act(controller: &mut Controller, now: Now) {
    // Eight contacts, 128 messages, sixteen schedules, and what there is one of.
    for _ in 0..200 {
        let Some(action) = controller.poll(now) else {
            assert!(controller.poll_at() > now.uptime_ms);
            return;
        };
        match action {
            Action::SwitchRelay { relay, on } => assert_eq!(controller.relays().is_on(relay), on),
            Action::PublishAlarm(change) => drop(written(|buffer| change.write(buffer))),
            Action::PublishRelay(change) => drop(written(|buffer| change.write(buffer))),
            Action::Keep(kept) => kept_and_restored(controller, kept),
            Action::Reconnect => assert!(controller.configuration().topics().is_some()),
            Action::PublishSummary => {
                drop(written(|buffer| controller.write_summary(now, buffer)));
            }
            Action::PublishTelemetry => {
                drop(written(|buffer| controller.write_temperature(now, buffer)));
                let status = DeviceStatus::default();
                drop(written(|buffer| {
                    controller.write_system(now, &status, buffer)
                }));
            }
        }
    }
    panic!("no end to what is to be done");
}

/// What is kept comes back as it was.
fn kept_and_restored(controller: &Controller, kept: Kept) {
    let mut buffer = [0; KEPT_BYTES_MAX];
    let bytes = controller.keep(kept, &mut buffer).expect("it fits");
    restored(kept, bytes);
}

/// A flash that takes what a boot can read.
struct Flash;

impl Keeper for Flash {
    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), NotKept> {
        restored(kept, bytes);
        Ok(())
    }
}

fn restored(kept: Kept, bytes: &[u8]) {
    let mut other = Controller::new(Identity::new("0.1.0", 8), Configuration::default());
    other
        .restore(at(0), kept, bytes)
        .expect("what was kept is sound");
    let mut again = [0; KEPT_BYTES_MAX];
    assert_eq!(other.keep(kept, &mut again).expect("it fits"), bytes);
}

/// A body for the configuration, and the same bytes as if they came from flash: taken whole, and
/// then sound, or not at all; what is shown is JSON and holds no password.
///
/// # Panics
/// When anything of that does not hold.
pub fn configuration(data: &[u8]) {
    let mut controller = controller();
    let before = controller.clone();
    match controller.configure_json(at(1), data) {
        Ok(()) => assert_eq!(controller.configuration().check(), Ok(())),
        Err(error) => {
            assert!(written(|buffer| error.write(buffer))["error"].is_string());
            assert_eq!(controller, before, "an error changes nothing");
        }
    }
    let shown = written(|buffer| controller.configuration().write(buffer));
    assert_eq!(shown["mqtt_password"], "********");
    act(&mut controller, at(1));
    let as_it_is = controller.clone();
    controller
        .configure_json(at(2), shown.to_string().as_bytes())
        .expect("what is shown can be sent back");
    assert_eq!(controller, as_it_is, "and changes nothing");
    for kept in Kept::ALL {
        let before = controller.clone();
        match controller.restore(at(3), kept, data) {
            Ok(()) => kept_and_restored(&controller, kept),
            Err(_) => assert_eq!(controller, before),
        }
        act(&mut controller, at(3));
    }
}

#[derive(Deserialize)]
struct Requests {
    request: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Request {
    payload: Option<String>,
    payload_hex: Option<String>,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        match (&self.payload, &self.payload_hex) {
            (Some(text), _) => text.replace("{alarm_id}", "ALM-7-1").into_bytes(),
            (None, Some(hex)) => hex
                .split_whitespace()
                .flat_map(|word| word.as_bytes().chunks(2))
                .map(|pair| {
                    let digits = std::str::from_utf8(pair).expect("hex digits");
                    u8::from_str_radix(digits, 16).expect("hex digits")
                })
                .collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// Every request of the fixture data, and all of them in one session.
///
/// # Panics
/// When the fixture data is malformed.
#[must_use]
pub fn command_seeds() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../../../fixtures/data/requests.toml"),
        include_str!("../../../../fixtures/data/bad-requests.toml"),
    ];
    let mut seeds: Vec<Vec<u8>> = files
        .iter()
        .flat_map(|file| {
            let requests: Requests = toml::from_str(file).expect("fixture data");
            requests.request
        })
        .map(|request| request.bytes())
        .collect();
    seeds.push(seeds.join(&SEPARATOR));
    seeds
}

#[derive(Deserialize)]
struct Configurations {
    configuration: Vec<Body>,
}

#[derive(Deserialize)]
struct Body {
    body: String,
}

/// Every body of the fixture data, and what a controller keeps in flash.
///
/// # Panics
/// When the fixture data is malformed.
#[must_use]
pub fn configuration_seeds() -> Vec<Vec<u8>> {
    let file = include_str!("../../../../fixtures/data/configurations.toml");
    let bodies: Configurations = toml::from_str(file).expect("fixture data");
    let bodies = bodies
        .configuration
        .into_iter()
        .map(|c| c.body.into_bytes());
    let mut controller = controller();
    for payload in command_seeds() {
        // Whatever each does: together they leave thresholds and schedules behind.
        let _ = answered(&mut controller, at(0), &payload);
    }
    let kept = Kept::ALL.map(|kept| {
        let mut buffer = [0; KEPT_BYTES_MAX];
        controller
            .keep(kept, &mut buffer)
            .expect("it fits")
            .to_vec()
    });
    bodies.chain(kept).collect()
}
