//! Reads a command request: any bytes in, a request or the reason for an error response out.
//!
//! Field by field, and only then by command, so that each mistake gets the message that the
//! contract promises for it, with the `cmd_id` whenever it can be read.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::REQUEST_BYTES_MAX;

/// A request that holds all that every request holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Repeated in the response.
    pub cmd_id: String,
    /// The command's name.
    pub command: String,
    /// The command's parameters; empty when there are none.
    pub parameters: Parameters,
}

/// Why a request gets an error response. Displays as the contract's `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Over [`REQUEST_BYTES_MAX`]. By how much is not said: the device keeps no more than it reads.
    TooLarge,
    /// Not JSON, or not an object.
    Json {
        /// Where reading stopped, bytes from the start.
        position: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A required field is not there.
    Missing(&'static str),
    /// A field has another type than it should.
    Type(&'static str),
    /// `point_id` is not below [`crate::POINTS`].
    PointRange,
    /// There is no such command.
    Command,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "Request too large: at most {REQUEST_BYTES_MAX} bytes"),
            Self::Json { position, reason } => {
                write!(f, "JSON parse error at byte {position}: {reason}")
            }
            Self::Missing(name) => write!(f, "Missing required field: {name}"),
            Self::Type(name) => write!(f, "Invalid parameter type: {name}"),
            Self::PointRange => write!(f, "Point ID out of range: 0 to {}", crate::POINTS - 1),
            Self::Command => f.write_str("Invalid command: `help` lists the commands"),
        }
    }
}

/// A bad request: what is wrong, and the `cmd_id` if it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// Empty when it could not be read.
    pub cmd_id: String,
    /// What is wrong.
    pub error: RequestError,
}

/// The members of a JSON object, in order, no name twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Vec<(String, Value)>);

impl Parameters {
    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.swap_remove(index).1)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The required parameter `point_id`, a whole number.
    ///
    /// # Errors
    /// Missing, of another type, or not below [`crate::POINTS`].
    pub fn point_id(&self) -> Result<usize, RequestError> {
        const NAME: &str = "point_id";
        let value = self.get(NAME).ok_or(RequestError::Missing(NAME))?;
        let Value::Number(number) = value else {
            return Err(RequestError::Type(NAME));
        };
        // A whole number too large for 64 bits is read as a float: out of range, not of another type.
        match number.as_u64().and_then(|id| usize::try_from(id).ok()) {
            Some(id) if id < crate::POINTS => Ok(id),
            Some(_) => Err(RequestError::PointRange),
            None if number.is_i64() || number.as_f64().is_some_and(is_whole) => {
                Err(RequestError::PointRange)
            }
            None => Err(RequestError::Type(NAME)),
        }
    }
}

/// Whether a float holds no fraction, as all do beyond 2^53.
fn is_whole(number: f64) -> bool {
    number % 1.0 == 0.0
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Parameters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut members = Parameters::default();
                while let Some(name) = map.next_key::<String>()? {
                    if members.get(&name).is_some() {
                        return Err(A::Error::custom("duplicate field"));
                    }
                    members.0.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Reads a request.
///
/// # Errors
/// The first thing that is wrong, in the order of [`RequestError`].
pub fn parse(payload: &[u8]) -> Result<Request, BadRequest> {
    let without_id = |error| BadRequest {
        cmd_id: String::new(),
        error,
    };
    if payload.len() > REQUEST_BYTES_MAX {
        return Err(without_id(RequestError::TooLarge));
    }
    let mut members: Parameters =
        serde_json::from_slice(payload).map_err(|error| without_id(json_error(payload, &error)))?;
    let cmd_id = match members.take("cmd_id") {
        Some(Value::String(id)) => id,
        Some(_) => return Err(without_id(RequestError::Type("cmd_id"))),
        None => return Err(without_id(RequestError::Missing("cmd_id"))),
    };
    match rest(members) {
        Ok((command, parameters)) => Ok(Request {
            cmd_id,
            command,
            parameters,
        }),
        Err(error) => Err(BadRequest { cmd_id, error }),
    }
}

fn rest(mut members: Parameters) -> Result<(String, Parameters), RequestError> {
    let command = match members.take("command") {
        Some(Value::String(command)) => command,
        Some(_) => return Err(RequestError::Type("command")),
        None => return Err(RequestError::Missing("command")),
    };
    if !matches!(members.get("timestamp"), None | Some(Value::String(_))) {
        return Err(RequestError::Type("timestamp"));
    }
    let parameters = match members.take("parameters") {
        None => Parameters::default(),
        Some(Value::Object(members)) => Parameters(members.into_iter().collect()),
        Some(_) => return Err(RequestError::Type("parameters")),
    };
    Ok((command, parameters))
}

/// serde_json counts lines and columns, the contract bytes.
fn json_error(payload: &[u8], error: &serde_json::Error) -> RequestError {
    let line_start = payload
        .split_inclusive(|b| *b == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    let text = alloc::format!("{error}");
    // The place is said in bytes; drop the library's own.
    let reason = text.split(" at line ").next().unwrap_or(&text);
    RequestError::Json {
        position: (line_start + error.column()).min(payload.len()),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use proptest::prelude::*;

    use super::*;

    fn check(payload: &[u8], cmd_id: &str, message: &str) {
        let bad = parse(payload).expect_err("a bad request");
        assert_eq!(
            (bad.cmd_id.as_str(), bad.error.to_string().as_str()),
            (cmd_id, message)
        );
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = parse(
            br#"{"cmd_id":"a","timestamp":"2026-01-01T00:00:00Z","command":"get_point","parameters":{"point_id":5}}"#,
        )
        .expect("good");
        assert_eq!(
            (request.cmd_id.as_str(), request.command.as_str()),
            ("a", "get_point")
        );
        assert_eq!(request.parameters.point_id(), Ok(5));
    }

    #[test]
    fn what_is_not_json_says_where_it_breaks() {
        check(
            b"",
            "",
            "JSON parse error at byte 0: EOF while parsing a value",
        );
        check(
            br#"{"cmd_id": "test", invalid json}"#,
            "",
            "JSON parse error at byte 20: key must be a string",
        );
        check(
            b"{\"cmd_id\":\"x\",\n\"command\" \"help\"}",
            "",
            "JSON parse error at byte 26: expected `:`",
        );
        check(
            b"[1]",
            "",
            "JSON parse error at byte 0: invalid type: sequence, expected an object",
        );
        check(
            b"{\"cmd_id\":\"\xff\"}",
            "",
            "JSON parse error at byte 12: invalid unicode code point",
        );
        check(
            br#"{"cmd_id":"a","cmd_id":"b"}"#,
            "",
            "JSON parse error at byte 22: duplicate field",
        );
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let nested = format!("{{\"cmd_id\":{}", "[".repeat(900));
        let bad = parse(nested.as_bytes()).expect_err("a bad request");
        assert!(
            bad.error.to_string().contains("recursion limit"),
            "{}",
            bad.error
        );
    }

    #[test]
    fn missing_and_mistyped_fields_are_named() {
        check(
            br#"{"command":"help"}"#,
            "",
            "Missing required field: cmd_id",
        );
        check(
            br#"{"cmd_id":7,"command":"help"}"#,
            "",
            "Invalid parameter type: cmd_id",
        );
        check(br#"{"cmd_id":"a"}"#, "a", "Missing required field: command");
        check(
            br#"{"cmd_id":"a","command":[]}"#,
            "a",
            "Invalid parameter type: command",
        );
        check(
            br#"{"cmd_id":"a","command":"help","timestamp":1}"#,
            "a",
            "Invalid parameter type: timestamp",
        );
        check(
            br#"{"cmd_id":"a","command":"help","parameters":3}"#,
            "a",
            "Invalid parameter type: parameters",
        );
    }

    #[test]
    fn a_request_of_one_byte_too_many_is_refused_unread() {
        let fits = format!("{{\"cmd_id\":\"{}\"}}", "x".repeat(REQUEST_BYTES_MAX - 13));
        assert_eq!(fits.len(), REQUEST_BYTES_MAX);
        assert_eq!(
            parse(fits.as_bytes()).expect_err("no command").error,
            RequestError::Missing("command")
        );
        let over = format!("{fits} ");
        check(over.as_bytes(), "", "Request too large: at most 1024 bytes");
    }

    #[test]
    fn point_ids_are_whole_numbers_below_sixty() {
        for (value, expected) in [
            ("0", Ok(0)),
            ("59", Ok(59)),
            ("60", Err(RequestError::PointRange)),
            ("-1", Err(RequestError::PointRange)),
            ("1e300", Err(RequestError::PointRange)),
            ("18446744073709551616", Err(RequestError::PointRange)),
            ("5.5", Err(RequestError::Type("point_id"))),
            ("\"5\"", Err(RequestError::Type("point_id"))),
            ("null", Err(RequestError::Type("point_id"))),
        ] {
            let payload = format!(
                r#"{{"cmd_id":"a","command":"get_point","parameters":{{"point_id":{value}}}}}"#
            );
            let request = parse(payload.as_bytes()).expect("a request");
            assert_eq!(request.parameters.point_id(), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..1_100)) {
            let _ = parse(&payload);
        }
    }
}
