//! The cases of `fixtures/data` against the controller: each answered as the file says.

#[path = "support/stand_in.rs"]
mod stand_in;

use firmware_control::{
    Configuration, ConfigurationError, Controller, DeviceStatus, Identity, Keeper, Kept, NotKept,
    Now, REQUEST_BYTES_MAX,
};
use serde::Deserialize;
use serde_json::Value;

const NOW: Now = Now {
    uptime_ms: 30_000,
    unix_ms: None,
};

/// One that takes everything.
struct Flash;

impl Keeper for Flash {
    fn keep(&mut self, _: Kept, _: &[u8]) -> Result<(), NotKept> {
        Ok(())
    }
}

fn controller() -> Controller {
    let mut controller = Controller::new(Identity::new("0.1.0", 7), Configuration::default());
    stand_in::measure(&mut controller, NOW);
    controller
}

fn respond(controller: &mut Controller, payload: &[u8]) -> Value {
    let mut out = String::new();
    controller
        .handle_request(
            &NOW,
            NOW.uptime_ms,
            &DeviceStatus::default(),
            payload,
            &mut Flash,
            &mut out,
        )
        .expect("a String takes everything");
    serde_json::from_str(&out).expect("a response is JSON")
}

#[derive(Deserialize)]
struct Requests {
    request: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Request {
    name: String,
    payload: Option<String>,
    payload_hex: Option<String>,
    /// How the message of an error begins.
    message: Option<String>,
    /// Members of a success's `data`.
    #[serde(default)]
    data: Vec<String>,
}

#[test]
fn requests_that_keep_the_contract_succeed() {
    let file: Requests =
        toml::from_str(include_str!("../../../fixtures/data/requests.toml")).expect("TOML");
    let mut controller = controller();
    let mut alarm_id = String::new();
    for case in file.request {
        let payload = case.payload.expect("text");
        let payload = payload
            .replace("{id}", "c-1")
            .replace("{alarm_id}", &alarm_id);
        let response = respond(&mut controller, payload.as_bytes());
        assert_eq!(response["status"], "success", "{}: {response}", case.name);
        assert_eq!(response["cmd_id"], "c-1", "{}", case.name);
        for member in &case.data {
            assert!(
                response["data"].get(member).is_some(),
                "{}: `{member}` in {response}",
                case.name
            );
        }
        if let Some(id) = response["data"]["alarm_id"].as_str() {
            id.clone_into(&mut alarm_id);
        }
    }
}

#[test]
fn requests_that_break_the_contract_are_refused_and_change_nothing() {
    let file: Requests =
        toml::from_str(include_str!("../../../fixtures/data/bad-requests.toml")).expect("TOML");
    let mut controller = controller();
    for case in file.request {
        let text = case.payload.unwrap_or_default();
        let cmd_id = if text.contains("{id}") { "c-1" } else { "" };
        let payload = match case.payload_hex {
            Some(hex) => bytes(&hex),
            None => text.replace("{id}", "c-1").into_bytes(),
        };
        assert!(payload.len() <= REQUEST_BYTES_MAX, "{}", case.name);
        let before = controller.clone();
        let response = respond(&mut controller, &payload);
        assert_eq!(response["status"], "error", "{}: {response}", case.name);
        assert_eq!(response["cmd_id"], cmd_id, "{}", case.name);
        let message = response["message"].as_str().expect("a message");
        let expected = case.message.expect("an error");
        assert!(message.starts_with(&expected), "{}: {message}", case.name);
        assert_eq!(controller, before, "{}", case.name);
        assert_eq!(controller.poll(NOW), None, "{}: nothing to do", case.name);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[derive(Deserialize)]
struct Configurations {
    configuration: Vec<Body>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    body: String,
    /// The field to blame; empty when none can be named, none when the body is good.
    field: Option<String>,
}

#[test]
fn configurations_are_taken_or_refused_with_the_field() {
    let file: Configurations =
        toml::from_str(include_str!("../../../fixtures/data/configurations.toml")).expect("TOML");
    for case in file.configuration {
        let mut controller = controller();
        let before = controller.clone();
        let result = controller.configure_json(NOW, case.body.as_bytes());
        match (case.field, result) {
            (None, result) => assert_eq!(result, Ok(()), "{}", case.name),
            (Some(field), Err(error)) => {
                assert_eq!(blamed(&error), field, "{}: {error}", case.name);
                assert_eq!(controller, before, "{}", case.name);
            }
            (Some(_), Ok(())) => panic!("{}: taken", case.name),
        }
    }
}

fn blamed(error: &ConfigurationError<'_>) -> String {
    let mut out = String::new();
    error.write(&mut out).expect("a String takes everything");
    let body: Value = serde_json::from_str(&out).expect("an answer is JSON");
    body["field"].as_str().unwrap_or_default().to_owned()
}
