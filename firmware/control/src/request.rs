//! Reads a command request: any bytes in, a request or the reason for an error response out.
//!
//! Field by field, and only then by command, so that each mistake gets the message that the
//! contract promises for it, with the `cmd_id` whenever it can be read: also before the place where
//! a request breaks off or goes wrong. Nothing is copied: a request is looked at where it was received.

use core::fmt;
use core::ops::RangeInclusive;

use crate::document::{self, JsonError, Members, Text, Value, Whole};
use crate::mutants::{self, Mutant};
use crate::points::{POINTS, Tenths};
use crate::relays::{RELAYS, RelayId};
use crate::timestamp::is_rfc_3339;
use crate::{REQUEST_BYTES_MAX, SCHEDULES_MAX};

/// A request that holds all that every request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'p> {
    /// Repeated in the response.
    pub cmd_id: Text<'p>,
    /// The command's name.
    pub command: Text<'p>,
    /// The command's parameters; empty when there are none.
    pub parameters: Parameters<'p>,
}

/// Why a request gets an error response. Displays as the contract's `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Over [`REQUEST_BYTES_MAX`]. By how much is not said: the device keeps no more than it reads.
    TooLarge,
    /// Not JSON, or not an object.
    Json(JsonError),
    /// A required field is not there.
    Missing(&'static str),
    /// A field has another type than it should.
    Type(&'static str),
    /// `point_id` is not below [`POINTS`].
    PointRange,
    /// `relay_id` is not within 1 to [`RELAYS`].
    RelayRange,
    /// A number is outside its range.
    Range {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// A parameter of the right type can't have this value.
    Value {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// There is no such command.
    Command,
    /// The command exists, but a schedule can't carry it out.
    NotForSchedules,
    /// There are [`SCHEDULES_MAX`] schedules already.
    ScheduleTableFull,
    /// No schedule has this id.
    UnknownSchedule,
    /// No active alarm has this id.
    UnknownAlarm,
    /// Flash does not take the change, which therefore was not made.
    NotKept,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "Request too large: at most {REQUEST_BYTES_MAX} bytes"),
            Self::Json(error) => error.fmt(f),
            Self::Missing(name) => write!(f, "Missing required field: {name}"),
            Self::Type(name) => write!(f, "Invalid parameter type: {name}"),
            Self::PointRange => write!(f, "Point ID out of range: 0 to {}", POINTS - 1),
            Self::RelayRange => write!(f, "Relay ID out of range: 1 to {RELAYS}"),
            Self::Range { name, takes } => {
                write!(f, "Parameter out of range: {name} takes {takes}")
            }
            Self::Value { name, takes } => {
                write!(f, "Invalid parameter value: {name} takes {takes}")
            }
            Self::Command => f.write_str("Invalid command: `help` lists the commands"),
            Self::NotForSchedules => {
                f.write_str("Invalid command: a schedule can't carry this one out")
            }
            Self::ScheduleTableFull => {
                write!(f, "Schedule table full: at most {SCHEDULES_MAX} schedules")
            }
            Self::UnknownSchedule => f.write_str("Unknown schedule: none has this id"),
            Self::UnknownAlarm => f.write_str("Unknown alarm: none with this id is active"),
            Self::NotKept => f.write_str("Not kept: flash does not take the change"),
        }
    }
}

/// A bad request: what is wrong, and the `cmd_id` if it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest<'p> {
    /// Empty when it could not be read.
    pub cmd_id: Text<'p>,
    /// What is wrong.
    pub error: RequestError,
}

/// Reads a request.
///
/// # Errors
/// The first thing that is wrong, in the order of [`RequestError`].
pub fn parse(payload: &[u8]) -> Result<Request<'_>, BadRequest<'_>> {
    let damaged = |error| BadRequest {
        cmd_id: cmd_id_before_the_damage(payload),
        error,
    };
    if payload.len() > REQUEST_BYTES_MAX && !mutants::active(Mutant::LongRequestsRead) {
        return Err(damaged(RequestError::TooLarge));
    }
    let members = document::object(payload).map_err(|error| damaged(RequestError::Json(error)))?;
    let members = Parameters(members);
    let cmd_id = members.text("cmd_id").map_err(|error| BadRequest {
        cmd_id: Text::default(),
        error,
    })?;
    let of_id = |error| BadRequest { cmd_id, error };
    let command = members.text("command").map_err(of_id)?;
    if members.has("timestamp") && !is_rfc_3339(members.text("timestamp").map_err(of_id)?.chars()) {
        return Err(of_id(RequestError::Value {
            name: "timestamp",
            takes: "a moment as in RFC 3339",
        }));
    }
    Ok(Request {
        cmd_id,
        command,
        parameters: members.parameters().map_err(of_id)?,
    })
}

/// The `cmd_id`, if it is whole before the request goes wrong or is longer than what is read.
fn cmd_id_before_the_damage(payload: &[u8]) -> Text<'_> {
    let read = &payload[..payload.len().min(REQUEST_BYTES_MAX)];
    match document::whole_members(read).get("cmd_id") {
        Some(Value::Text(cmd_id)) => cmd_id,
        _ => Text::default(),
    }
}

/// The parameters of a command, read by name and type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'p>(Members<'p>);

impl<'p> Parameters<'p> {
    fn optional(self, name: &str) -> Option<Value<'p>> {
        self.0.get(name)
    }

    fn required(self, name: &'static str) -> Result<Value<'p>, RequestError> {
        self.optional(name).ok_or(RequestError::Missing(name))
    }

    /// Whether there is a parameter of that name.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.optional(name).is_some()
    }

    /// A required text.
    ///
    /// # Errors
    /// Missing, or of another type.
    pub fn text(self, name: &'static str) -> Result<Text<'p>, RequestError> {
        match self.required(name)? {
            Value::Text(text) => Ok(text),
            _ => Err(RequestError::Type(name)),
        }
    }

    /// A required text that is one of these; what it stands for.
    ///
    /// # Errors
    /// Missing, of another type, or none of these.
    pub fn one_of<T: Copy>(
        self,
        name: &'static str,
        choices: &[(&str, T)],
        takes: &'static str,
    ) -> Result<T, RequestError> {
        let text = self.text(name)?;
        let choice = choices.iter().find(|(word, _)| text.is(word));
        choice
            .map(|(_, meaning)| *meaning)
            .ok_or(RequestError::Value { name, takes })
    }

    /// A required text of 1 to `N` bytes, copied.
    ///
    /// # Errors
    /// Missing, of another type, empty or too long.
    pub fn id<const N: usize>(
        self,
        name: &'static str,
        takes: &'static str,
    ) -> Result<heapless::String<N>, RequestError> {
        let text = self.text(name)?;
        match text.copied() {
            Some(copy) if !text.is_empty() => Ok(copy),
            _ => Err(RequestError::Value { name, takes }),
        }
    }

    /// A required whole number.
    ///
    /// # Errors
    /// Missing, of another type, or outside the range.
    pub fn whole(
        self,
        name: &'static str,
        range: RangeInclusive<u32>,
        takes: &'static str,
    ) -> Result<u32, RequestError> {
        match self.number(name)? {
            Whole::Number(number) => u32::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
                .ok_or(RequestError::Range { name, takes }),
            Whole::Beyond => Err(RequestError::Range { name, takes }),
            Whole::Fraction => Err(RequestError::Type(name)),
        }
    }

    /// A whole number as [`Parameters::whole`], if it is there.
    ///
    /// # Errors
    /// Of another type, or outside the range.
    pub fn whole_if_there(
        self,
        name: &'static str,
        range: RangeInclusive<u32>,
        takes: &'static str,
    ) -> Result<Option<u32>, RequestError> {
        if !self.has(name) {
            return Ok(None);
        }
        self.whole(name, range, takes).map(Some)
    }

    /// A required temperature, or difference of two, within `range`; rounded to the tenth.
    ///
    /// # Errors
    /// Missing, of another type, or outside the range.
    pub fn tenths(
        self,
        name: &'static str,
        range: RangeInclusive<Tenths>,
        takes: &'static str,
    ) -> Result<Tenths, RequestError> {
        let Value::Number(number) = self.required(name)? else {
            return Err(RequestError::Type(name));
        };
        number
            .tenths()
            .and_then(|tenths| i16::try_from(tenths).ok())
            .and_then(Tenths::new)
            .filter(|tenths| range.contains(tenths))
            .ok_or(RequestError::Range { name, takes })
    }

    /// The required parameter `point_id`.
    ///
    /// # Errors
    /// Missing, of another type, or not below [`POINTS`].
    pub fn point_id(self) -> Result<u8, RequestError> {
        let points = if mutants::active(Mutant::Point59Refused) {
            POINTS - 1
        } else {
            POINTS
        };
        match self.number("point_id")? {
            Whole::Number(number) => u8::try_from(number)
                .ok()
                .filter(|id| usize::from(*id) < points)
                .ok_or(RequestError::PointRange),
            Whole::Beyond => Err(RequestError::PointRange),
            Whole::Fraction => Err(RequestError::Type("point_id")),
        }
    }

    /// The required parameter `relay_id`.
    ///
    /// # Errors
    /// Missing, of another type, or not within 1 to [`RELAYS`].
    pub fn relay_id(self) -> Result<RelayId, RequestError> {
        match self.number("relay_id")? {
            Whole::Number(number) => u8::try_from(number)
                .ok()
                .and_then(RelayId::new)
                .ok_or(RequestError::RelayRange),
            Whole::Beyond => Err(RequestError::RelayRange),
            Whole::Fraction => Err(RequestError::Type("relay_id")),
        }
    }

    /// The parameter `parameters`, an object; empty when it is not there.
    ///
    /// # Errors
    /// Of another type.
    pub fn parameters(self) -> Result<Self, RequestError> {
        match self.optional("parameters") {
            None => Ok(Self::default()),
            Some(Value::Object(members)) => Ok(Self(members)),
            Some(_) => Err(RequestError::Type("parameters")),
        }
    }

    fn number(self, name: &'static str) -> Result<Whole, RequestError> {
        match self.required(name)? {
            Value::Number(number) => Ok(number.whole()),
            _ => Err(RequestError::Type(name)),
        }
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
            (
                bad.cmd_id.to_string().as_str(),
                bad.error.to_string().as_str()
            ),
            (cmd_id, message)
        );
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = parse(
            br#"{"cmd_id":"a","timestamp":"2026-01-01T00:00:00Z","command":"get_point","parameters":{"point_id":5}}"#,
        )
        .expect("good");
        assert!(request.cmd_id.is("a") && request.command.is("get_point"));
        assert_eq!(request.parameters.point_id(), Ok(5));
    }

    #[test]
    fn what_is_not_json_says_where_it_breaks() {
        check(b"", "", "JSON parse error at byte 0: unexpected end");
        check(
            br#"{"cmd_id": "test", invalid json}"#,
            "test",
            "JSON parse error at byte 19: expected a member name in double quotes",
        );
        check(
            b"{\"cmd_id\":\"x\",\n\"command\" \"help\"}",
            "x",
            "JSON parse error at byte 25: expected `:`",
        );
        check(b"[1]", "", "JSON parse error at byte 0: expected an object");
        check(
            b"{\"cmd_id\":\"\xff\"}",
            "",
            "JSON parse error at byte 11: invalid UTF-8",
        );
        check(
            br#"{"cmd_id":"a","cmd_id":"b"}"#,
            "a",
            "JSON parse error at byte 14: duplicate member",
        );
    }

    #[test]
    fn a_cmd_id_is_read_if_it_is_whole_before_the_request_goes_wrong() {
        let check = |payload: &[u8], cmd_id: &str| {
            let bad = parse(payload).expect_err("a bad request");
            assert!(matches!(bad.error, RequestError::Json(_)), "{bad:?}");
            assert_eq!(bad.cmd_id.to_string(), cmd_id);
        };
        let whole = br#"{ "cmd_id" : "a\"\u0062" ,"command":"get_point","parameters":{"x":[1]}}"#;
        let end_of_id = whole.windows(2).position(|w| w == b" ,").expect("there");
        for length in 0..whole.len() {
            let expected = if length < end_of_id { "" } else { "a\"b" };
            check(&whole[..length], expected);
        }
        check(br#"{"command":"x","cmd_id":"late","#, "late");
        check(br#"{"parameters":{"cmd_id":"inner"},"#, "");
        check(br#"[{"cmd_id":"inner"},"#, "");
        check(br#"{"cmd_id":7,"#, "");
        check(br#"{"cmd_id":"a"}{"cmd_id":"b"}"#, "a");
        check(b"{\"cmd_id\":\"a\",\"command\":\"\xff\"}", "a");
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
            br#"{"cmd_id":"a","command":"help","timestamp":"yesterday"}"#,
            "a",
            "Invalid parameter value: timestamp takes a moment as in RFC 3339",
        );
        check(
            br#"{"cmd_id":"a","command":"help","parameters":3}"#,
            "a",
            "Invalid parameter type: parameters",
        );
    }

    #[test]
    fn a_request_of_one_byte_too_many_is_refused() {
        let fits = format!("{{\"cmd_id\":\"{}\"}}", "x".repeat(REQUEST_BYTES_MAX - 13));
        assert_eq!(fits.len(), REQUEST_BYTES_MAX);
        assert_eq!(
            parse(fits.as_bytes()).expect_err("no command").error,
            RequestError::Missing("command")
        );
        let message = "Request too large: at most 1024 bytes";
        let id = "x".repeat(REQUEST_BYTES_MAX - 13);
        check(format!("{fits} ").as_bytes(), &id, message);
        // Only what the device keeps is read.
        check(format!(" {fits}").as_bytes(), &id, message);
        check(format!("   {fits}").as_bytes(), "", message);
    }

    fn parameter<T>(value: &str, read: impl Fn(Parameters<'_>) -> T) -> T {
        let payload = format!(r#"{{"cmd_id":"a","command":"c","parameters":{{"x":{value}}}}}"#);
        read(parse(payload.as_bytes()).expect("a request").parameters)
    }

    #[test]
    fn point_ids_are_whole_numbers_below_sixty() {
        for (value, expected) in [
            ("0", Ok(0)),
            ("59", Ok(59)),
            ("5.0", Ok(5)),
            ("0.5e1", Ok(5)),
            ("60", Err(RequestError::PointRange)),
            ("60.0", Err(RequestError::PointRange)),
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

    #[test]
    fn temperatures_are_rounded_to_the_tenth_and_kept_in_range() {
        let out_of_range = RequestError::Range {
            name: "x",
            takes: "t",
        };
        for (value, expected) in [
            ("85", Ok(850)),
            ("85.25", Ok(853)),
            ("-0.04", Ok(0)),
            ("-0.05", Ok(-1)),
            ("8.5e1", Ok(850)),
            ("200.04", Ok(2_000)),
            ("200.05", Err(out_of_range)),
            ("-50.1", Err(out_of_range)),
            ("1e99", Err(out_of_range)),
            ("\"85\"", Err(RequestError::Type("x"))),
        ] {
            let read = |p: Parameters<'_>| p.tenths("x", Tenths::MIN..=Tenths::MAX, "t");
            assert_eq!(parameter(value, read).map(Tenths::get), expected, "{value}");
        }
    }

    #[test]
    fn ids_have_a_length_and_words_a_choice() {
        let value = RequestError::Value {
            name: "x",
            takes: "t",
        };
        let id = |p: Parameters<'_>| p.id::<3>("x", "t");
        assert_eq!(parameter("\"abc\"", id).as_deref(), Ok("abc"));
        assert_eq!(parameter("\"abcd\"", id), Err(value));
        assert_eq!(parameter("\"\"", id), Err(value));
        assert_eq!(parameter("7", id), Err(RequestError::Type("x")));
        let word = |p: Parameters<'_>| p.one_of("x", &[("a", 1), ("b", 2)], "t");
        assert_eq!(parameter("\"b\"", word), Ok(2));
        assert_eq!(parameter(r#""\u0062""#, word), Ok(2));
        assert_eq!(parameter("\"B\"", word), Err(value));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..1_100)) {
            let _ = parse(&payload);
        }
    }
}
