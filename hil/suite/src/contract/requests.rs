//! Requests: good ones by the contract, bad ones from the fixture data and from chance.

use rand::Rng;
use serde::Deserialize;
use serde_json::json;

use super::response::Response;

/// A request over this many bytes is refused; its `cmd_id` is read if it is whole within them.
pub const REQUEST_BYTES_MAX: usize = 1_024;

/// A request that the contract allows. `parameters` is JSON; `cmd_id` comes first.
#[must_use]
pub fn request(cmd_id: &str, command: &str, parameters: &str) -> Vec<u8> {
    let (cmd_id, command) = (json!(cmd_id), json!(command));
    format!(r#"{{"cmd_id":{cmd_id},"command":{command},"parameters":{parameters}}}"#).into_bytes()
}

/// A request that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// What is wrong with it.
    pub name: String,
    /// The request.
    pub payload: Vec<u8>,
    /// The `cmd_id` that the response must have.
    pub cmd_id: String,
    /// How the response's message must begin.
    pub message: String,
    /// Where it breaks, the byte from 0, if it breaks at a place that only one reading allows.
    pub at: Option<usize>,
}

impl BadRequest {
    /// What is wrong with the answer to this; nothing when it is the promised one.
    #[must_use]
    pub fn misjudged(&self, answer: &Response) -> Option<String> {
        let message = answer.message.as_deref().unwrap_or_default();
        if answer.succeeded || answer.cmd_id != self.cmd_id || !message.starts_with(&self.message) {
            return Some(format!(
                "`{message}` for cmd_id `{}`, not error `{}…` for cmd_id `{}`",
                answer.cmd_id, self.message, self.cmd_id
            ));
        }
        if answer.data != json!({}) {
            return Some(format!("an error with data {}", answer.data));
        }
        if !self.message.starts_with(PARSE_ERROR) {
            return None;
        }
        let at = message
            .strip_prefix(PARSE_ERROR)
            .and_then(|rest| rest.strip_prefix(" at byte "))
            .and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
        match (at, self.at) {
            (None, _) => Some(format!("`{message}`, without the byte")),
            (Some(at), Some(expected)) if at != expected => {
                Some(format!("`{message}`, not at byte {expected}"))
            }
            (Some(at), _) if at > self.payload.len() => {
                Some(format!("`{message}`, of {} bytes", self.payload.len()))
            }
            _ => None,
        }
    }
}

/// How the message begins for what is not JSON.
const PARSE_ERROR: &str = "JSON parse error";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    request: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: String,
    payload: Option<String>,
    payload_hex: Option<String>,
    message: String,
}

/// Every bad request of the fixture data, with `cmd_id` where one is read.
///
/// # Panics
/// When the fixture data is malformed; a test of this crate reads it.
#[must_use]
pub fn listed(cmd_id: &str) -> Vec<BadRequest> {
    const DATA: &str = include_str!("../../../../fixtures/data/bad-requests.toml");
    let file: File = toml::from_str(DATA).expect("bad-requests.toml is valid");
    file.request
        .into_iter()
        .map(|entry| {
            let text = entry.payload.unwrap_or_default();
            let answered = text.contains("{id}");
            BadRequest {
                name: entry.name,
                payload: match entry.payload_hex {
                    Some(hex) => bytes(&hex).expect("payload-hex holds pairs of hex digits"),
                    None => text.replace("{id}", cmd_id).into_bytes(),
                },
                cmd_id: if answered {
                    cmd_id.to_owned()
                } else {
                    String::new()
                },
                message: entry.message,
                at: None,
            }
        })
        .collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Bad requests made by chance: truncated, nested, over-long, beyond all numbers, with bytes and
/// members where none may be. Each would change something if it were taken.
pub fn generated(random: &mut impl Rng, cmd_id: &str) -> Vec<BadRequest> {
    let whole = request(cmd_id, "set_relay", r#"{"relay_id":2,"state":"ON"}"#);
    let mut made = not_json(random, &whole, cmd_id);
    let over = REQUEST_BYTES_MAX + 1 + random.random_range(0..500);
    let mut long = whole;
    long.resize(over, b' ');
    made.push(BadRequest {
        name: format!("{over} bytes long"),
        payload: long,
        cmd_id: cmd_id.to_owned(),
        message: "Request too large".to_owned(),
        at: None,
    });
    made.extend(beyond_numbers(random, cmd_id));
    made
}

fn not_json(random: &mut impl Rng, whole: &[u8], cmd_id: &str) -> Vec<BadRequest> {
    // An id that is whole before the place where the request breaks is answered with.
    let end_of_id = json!({"cmd_id": cmd_id}).to_string().len() - 1;
    let bad = |name: String, payload: Vec<u8>, cmd_id: &str, at: Option<usize>| BadRequest {
        name,
        payload,
        cmd_id: cmd_id.to_owned(),
        message: PARSE_ERROR.to_owned(),
        at,
    };
    let id_before = |at: usize| if at < end_of_id { "" } else { cmd_id };
    let mut made = Vec::new();
    for _ in 0..4 {
        let at = random.random_range(1..whole.len());
        let cut = whole[..at].to_vec();
        made.push(bad(
            format!("cut after {at} bytes"),
            cut,
            id_before(at),
            Some(at),
        ));
    }
    let depth = random.random_range(200..400);
    let nested = format!("{{\"cmd_id\":\"a\",\"parameters\":{}", "[".repeat(depth));
    made.push(bad(
        format!("nested {depth} deep"),
        nested.into_bytes(),
        "a",
        None,
    ));
    let garbage: Vec<u8> = (0..random.random_range(1..200))
        .map(|_| random.random_range(0x80..=0xFF))
        .collect();
    made.push(bad(
        format!("{} bytes of garbage", garbage.len()),
        garbage,
        "",
        Some(0),
    ));
    for byte in [0x00, 0x1F, 0x80, 0xC0, 0xFF] {
        // Neither in a text nor between two tokens; what precedes it is sound.
        let at = random.random_range(1..whole.len());
        let mut payload = whole.to_vec();
        payload.insert(at, byte);
        let name = format!("byte {byte:#04x} at {at}");
        made.push(bad(name, payload, id_before(at), Some(at)));
    }
    // Overlong, a surrogate, beyond Unicode, without its end (RFC 3629, section 3).
    for bytes in [
        &[0xC0, 0xAF][..],
        &[0xED, 0xA0, 0x80],
        &[0xF4, 0x90, 0x80, 0x80],
        &[0xE2, 0x82],
    ] {
        let at = REQUEST_ID_AT + random.random_range(0..2);
        let mut payload = whole.to_vec();
        payload.splice(at..at, bytes.iter().copied());
        let name = format!("no UTF-8, {bytes:02x?} in a text");
        made.push(bad(name, payload, "", Some(at)));
    }
    let text = String::from_utf8_lossy(whole);
    for member in ["cmd_id", "command", "parameters", "relay_id", "state"] {
        let name = format!("\"{member}\":");
        if let Some(at) = text.find(&name) {
            let first = format!("{name}null,");
            let payload = format!("{}{first}{}", &text[..at], &text[at..]);
            // Of two ids the first counts, and that is none.
            let id = if member == "cmd_id" { "" } else { cmd_id };
            let at = Some(at + first.len());
            made.push(bad(
                format!("`{member}` twice"),
                payload.into_bytes(),
                id,
                at,
            ));
        }
    }
    made
}

/// Where the text of `cmd_id` begins in what [`request`] makes.
const REQUEST_ID_AT: usize = r#"{"cmd_id":""#.len();

fn beyond_numbers(random: &mut impl Rng, cmd_id: &str) -> Vec<BadRequest> {
    // Written out: no number type holds them.
    let bad = |name: String, command: &str, parameters: String, message: &str| BadRequest {
        name,
        payload: format!(
            r#"{{"cmd_id":"{cmd_id}","command":"{command}","parameters":{parameters}}}"#
        )
        .into_bytes(),
        cmd_id: cmd_id.to_owned(),
        message: message.to_owned(),
        at: None,
    };
    let point = 60 + u64::from(random.random::<u32>());
    let mut made = vec![bad(
        format!("point {point}"),
        "test_alarm",
        format!(r#"{{"point_id":{point},"alarm_type":"HIGH_TEMP","test_value":95.0}}"#),
        "Point ID out of range",
    )];
    for digits in [3, 9, 10, 19, 40] {
        let exponent: String = (0..digits)
            .map(|_| char::from(random.random_range(b'1'..=b'9')))
            .collect();
        made.push(bad(
            format!("a point with an exponent of {digits} digits"),
            "test_alarm",
            format!(r#"{{"point_id":5e{exponent},"alarm_type":"HIGH_TEMP","test_value":95.0}}"#),
            "Point ID out of range",
        ));
        made.push(bad(
            format!("a threshold with an exponent of {digits} digits"),
            "set_threshold",
            format!(
                r#"{{"point_id":5,"threshold_type":"low","value":-1E+{exponent},"hysteresis":2.0}}"#
            ),
            "Parameter out of range: value",
        ));
        made.push(bad(
            format!("a point with an exponent of -{digits} digits"),
            "test_alarm",
            format!(r#"{{"point_id":5e-{exponent},"alarm_type":"HIGH_TEMP","test_value":95.0}}"#),
            "Invalid parameter type: point_id",
        ));
    }
    made
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde::de::IgnoredAny;

    use super::super::response;
    use super::*;

    #[test]
    fn the_fixture_data_is_valid() {
        let requests = listed("id-1");
        assert!(requests.len() > 20);
        let utf8 = requests
            .iter()
            .find(|r| r.name.contains("UTF-8"))
            .expect("listed");
        assert!(std::str::from_utf8(&utf8.payload).is_err());
        let no_command = requests
            .iter()
            .find(|r| r.name == "no command")
            .expect("listed");
        assert_eq!(
            (no_command.payload.as_slice(), no_command.cmd_id.as_str()),
            (&br#"{"cmd_id":"id-1"}"#[..], "id-1")
        );
    }

    fn check(at: Option<usize>, message: &str, expected: Option<&str>) {
        let case = BadRequest {
            name: String::new(),
            payload: vec![b'{'; 12],
            cmd_id: String::new(),
            message: PARSE_ERROR.to_owned(),
            at,
        };
        let answer = json!({
            "cmd_id": "", "timestamp": "2026-11-23T18:00:00Z", "status": "error",
            "execution_time": 0, "data": {}, "message": message,
        });
        let answer = response::parse(answer.to_string().as_bytes()).expect("a response");
        assert_eq!(case.misjudged(&answer).as_deref(), expected);
    }

    #[test]
    fn an_answer_is_right_only_with_its_byte() {
        check(
            Some(12),
            "JSON parse error at byte 12: unexpected end",
            None,
        );
        check(None, "JSON parse error at byte 3", None);
        check(
            Some(1),
            "JSON parse error at byte 12: unexpected end",
            Some("`JSON parse error at byte 12: unexpected end`, not at byte 1"),
        );
        check(
            None,
            "JSON parse error",
            Some("`JSON parse error`, without the byte"),
        );
        check(
            None,
            "JSON parse error at byte 13",
            Some("`JSON parse error at byte 13`, of 12 bytes"),
        );
        check(
            None,
            "Invalid command",
            Some("`Invalid command` for cmd_id ``, not error `JSON parse error…` for cmd_id ``"),
        );
    }

    #[test]
    fn what_is_generated_is_no_json_where_it_is_to_be_none() {
        for seed in 0..50 {
            for bad in generated(&mut rand::rngs::StdRng::seed_from_u64(seed), "bad-2") {
                // Not from bytes: of a text that is ignored they may be any.
                let text = std::str::from_utf8(&bad.payload).ok();
                let is_json = text.is_some_and(|t| serde_json::from_str::<Twice>(t).is_ok());
                assert_eq!(is_json, bad.message != PARSE_ERROR, "{}", bad.name);
            }
        }
    }

    /// As the device reads: a member twice is an error.
    #[derive(Deserialize)]
    struct Twice {
        #[serde(rename = "cmd_id")]
        _cmd_id: String,
        #[serde(rename = "command")]
        _command: String,
        #[serde(rename = "parameters")]
        _parameters: Option<Parameters>,
    }

    #[derive(Deserialize)]
    struct Parameters {
        #[serde(rename = "relay_id")]
        _relay_id: Option<IgnoredAny>,
        #[serde(rename = "state")]
        _state: Option<IgnoredAny>,
    }

    #[test]
    fn a_request_that_is_cut_is_answered_by_id_once_the_id_is_whole() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..50 {
            for case in generated(&mut random, "bad-2") {
                let whole = br#"{"cmd_id":"bad-2""#;
                if case.name.starts_with("cut") {
                    let expected = if case.payload.starts_with(whole) {
                        "bad-2"
                    } else {
                        ""
                    };
                    assert_eq!(case.cmd_id, expected, "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn chance_follows_the_seed() {
        let made = |seed| generated(&mut rand::rngs::StdRng::seed_from_u64(seed), "a");
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }
}
