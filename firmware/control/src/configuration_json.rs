//! The HTTP interface's JSON: the configuration read and written, and the MQTT status.
//!
//! A change names the fields it changes; the others stay. It is taken whole or not at all.

use core::fmt::{self, Write};

use crate::DeviceStatus;
use crate::configuration::{
    BadField, Configuration, INTERVAL_TAKES, LEVEL_TAKES, PASSWORD_SHOWN, PASSWORD_TAKES,
    PORT_TAKES, USERNAME_TAKES, field,
};
use crate::document::{self, JsonError, Text, Value, Whole};
use crate::json::Object;
use crate::mutants::{self, Mutant};

/// The longest body that is read, bytes.
pub const CONFIGURATION_JSON_BYTES_MAX: usize = 2_048;

/// Why a change of the configuration is refused. Displays as text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationError<'b> {
    /// Over [`CONFIGURATION_JSON_BYTES_MAX`].
    TooLarge,
    /// Not JSON, or not an object.
    Json(JsonError),
    /// There is no such field.
    Unknown(Text<'b>),
    /// A field has another type than it should.
    Type(&'static str),
    /// A field can't have this value.
    Value(BadField),
}

impl ConfigurationError<'_> {
    /// Writes it as the body of the answer 400: `error`, and `field` where one is to blame.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut body = Object::begin(out)?;
        body.text("error", self)?;
        match self {
            Self::TooLarge | Self::Json(_) => {}
            Self::Unknown(name) => body.text("field", name)?,
            Self::Type(name) => body.text("field", name)?,
            Self::Value(bad) => body.text("field", bad.field)?,
        }
        body.end()
    }
}

impl fmt::Display for ConfigurationError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(
                f,
                "Request too large: at most {CONFIGURATION_JSON_BYTES_MAX} bytes"
            ),
            Self::Json(error) => error.fmt(f),
            Self::Unknown(name) => write!(f, "Unknown field: {name}"),
            Self::Type(name) => write!(f, "Invalid type: {name}"),
            Self::Value(bad) => bad.fmt(f),
        }
    }
}

impl Configuration {
    /// This configuration with the changes of a request's body.
    ///
    /// The password [`PASSWORD_SHOWN`] stands for the one that is there: what was read can be sent
    /// back.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn changed<'b>(&self, body: &'b [u8]) -> Result<Self, ConfigurationError<'b>> {
        let mut changed = self.clone();
        changed.take(body)?;
        Ok(changed)
    }

    /// Takes the changes; on an error, whatever came before it.
    pub(crate) fn take<'b>(&mut self, body: &'b [u8]) -> Result<(), ConfigurationError<'b>> {
        if body.len() > CONFIGURATION_JSON_BYTES_MAX {
            return Err(ConfigurationError::TooLarge);
        }
        let members = document::object(body).map_err(ConfigurationError::Json)?;
        for (name, value) in members.iter() {
            self.set(name, value)?;
        }
        self.check().map_err(ConfigurationError::Value)
    }

    fn set<'b>(&mut self, name: Text<'b>, value: Value<'b>) -> Result<(), ConfigurationError<'b>> {
        if name.is(field::ENABLED) {
            self.mqtt_enabled = truth(field::ENABLED, value)?;
        } else if name.is(field::BROKER) {
            let takes = "a host name or an IPv4 address of at most 64 characters";
            self.broker = text(field::BROKER, value, takes)?;
        } else if name.is(field::PORT) {
            self.port = number(field::PORT, value, PORT_TAKES)?;
        } else if name.is(field::USERNAME) {
            self.username = text(field::USERNAME, value, USERNAME_TAKES)?;
        } else if name.is(field::PASSWORD) {
            let password = text(field::PASSWORD, value, PASSWORD_TAKES)?;
            if password != PASSWORD_SHOWN {
                self.password = password;
            }
        } else if name.is(field::DEVICE_NAME) {
            self.device_name = text(field::DEVICE_NAME, value, LEVEL_TAKES)?;
        } else if name.is(field::TELEMETRY_INTERVAL) {
            self.telemetry_interval_s = number(field::TELEMETRY_INTERVAL, value, INTERVAL_TAKES)?;
        } else if name.is(field::USE_TLS) {
            self.use_tls = truth(field::USE_TLS, value)?;
        } else if name.is(field::RETAIN) {
            self.retain_telemetry = truth(field::RETAIN, value)?;
        } else if let Some(level) = field::LEVEL_TYPE.iter().position(|f| name.is(f)) {
            self.topic_levels[level].used = level_type(field::LEVEL_TYPE[level], value)?;
        } else if let Some(level) = field::LEVEL_VALUE.iter().position(|f| name.is(f)) {
            let value = text(field::LEVEL_VALUE[level], value, LEVEL_TAKES)?;
            self.topic_levels[level].value = value;
        } else {
            return Err(ConfigurationError::Unknown(name));
        }
        Ok(())
    }

    /// Writes it, as `GET /api/mqtt/config` answers; the password as [`PASSWORD_SHOWN`].
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut body = Object::begin(out)?;
        body.truth(field::ENABLED, self.mqtt_enabled)?;
        body.text(field::BROKER, &self.broker)?;
        body.number(field::PORT, self.port)?;
        body.text(field::USERNAME, &self.username)?;
        if mutants::active(Mutant::PasswordWrittenOut) {
            body.text(field::PASSWORD, &self.password)?;
        } else {
            body.text(field::PASSWORD, PASSWORD_SHOWN)?;
        }
        body.text(field::DEVICE_NAME, &self.device_name)?;
        body.number(field::TELEMETRY_INTERVAL, self.telemetry_interval_s)?;
        body.truth(field::USE_TLS, self.use_tls)?;
        body.truth(field::RETAIN, self.retain_telemetry)?;
        for (index, level) in self.topic_levels.iter().enumerate() {
            let kind = if level.used { "custom" } else { "skip" };
            body.text(field::LEVEL_TYPE[index], kind)?;
            body.text(field::LEVEL_VALUE[index], &level.value)?;
        }
        body.end()
    }

    /// Writes the MQTT status, as `GET /api/mqtt/status` answers. `last_error` says why the latest
    /// session ended or could not be opened; none when there was nothing.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn write_mqtt_status(
        &self,
        status: &DeviceStatus,
        last_error: Option<&str>,
        out: &mut dyn Write,
    ) -> fmt::Result {
        let mut body = Object::begin(out)?;
        body.truth("connected", status.mqtt_connected)?;
        body.text("broker", format_args!("{}:{}", self.broker, self.port))?;
        body.number("messages_sent", status.messages_published)?;
        match last_error {
            Some(error) => body.text("last_error", error)?,
            None => body.number("last_error", "null")?,
        }
        body.end()
    }
}

fn truth<'b>(field: &'static str, value: Value<'b>) -> Result<bool, ConfigurationError<'b>> {
    match value {
        Value::Truth(truth) => Ok(truth),
        _ => Err(ConfigurationError::Type(field)),
    }
}

fn text<'b, const N: usize>(
    field: &'static str,
    value: Value<'b>,
    takes: &'static str,
) -> Result<heapless::String<N>, ConfigurationError<'b>> {
    match value {
        Value::Text(text) => text
            .copied()
            .ok_or(ConfigurationError::Value(BadField { field, takes })),
        _ => Err(ConfigurationError::Type(field)),
    }
}

fn number<'b, T: TryFrom<i64>>(
    field: &'static str,
    value: Value<'b>,
    takes: &'static str,
) -> Result<T, ConfigurationError<'b>> {
    let Value::Number(number) = value else {
        return Err(ConfigurationError::Type(field));
    };
    match number.whole() {
        Whole::Number(number) => {
            T::try_from(number).map_err(|_| ConfigurationError::Value(BadField { field, takes }))
        }
        Whole::Beyond => Err(ConfigurationError::Value(BadField { field, takes })),
        Whole::Fraction => Err(ConfigurationError::Type(field)),
    }
}

fn level_type<'b>(field: &'static str, value: Value<'b>) -> Result<bool, ConfigurationError<'b>> {
    match value {
        Value::Text(text) if text.is("custom") => Ok(true),
        Value::Text(text) if text.is("skip") => Ok(false),
        Value::Text(_) => Err(ConfigurationError::Value(BadField {
            field,
            takes: "`custom` or `skip`",
        })),
        _ => Err(ConfigurationError::Type(field)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::testing::{actions, at, controller};
    use crate::{Action, Controller, Kept};

    fn read(c: &Controller) -> String {
        let mut out = String::new();
        c.configuration().write(&mut out).expect("room");
        out
    }

    fn check(body: &str, expected: &Expect) {
        let mut c = controller();
        let before = c.configuration().clone();
        let error = c
            .configure_json(at(0), body.as_bytes())
            .expect_err("a refusal");
        let mut out = String::new();
        error.write(&mut out).expect("room");
        expected.assert_eq(&out);
        assert_eq!(*c.configuration(), before, "nothing has changed");
        assert_eq!(actions(&mut c, at(0)), []);
    }

    #[test]
    fn the_guide_s_configuration_is_taken_and_read_back() {
        let mut c = controller();
        c.configure_json(
            at(0),
            br#"{"mqtt_enabled": true, "mqtt_broker": "test.mosquitto.org", "mqtt_port": 1883,
                "mqtt_username": "testuser", "mqtt_password": "testpass",
                "mqtt_device_name": "test_controller", "mqtt_telemetry_interval": 30,
                "mqtt_use_tls": false, "mqtt_retain_telemetry": true,
                "topic_level1_type": "custom", "topic_level1_value": "test",
                "topic_level2_type": "skip", "topic_level3_type": "skip"}"#,
        )
        .expect("good");
        expect![[r#"{"mqtt_enabled":true,"mqtt_broker":"test.mosquitto.org","mqtt_port":1883,"mqtt_username":"testuser","mqtt_password":"********","mqtt_device_name":"test_controller","mqtt_telemetry_interval":30,"mqtt_use_tls":false,"mqtt_retain_telemetry":true,"topic_level1_type":"custom","topic_level1_value":"test","topic_level2_type":"skip","topic_level2_value":"area1","topic_level3_type":"skip","topic_level3_value":"line2"}"#]].assert_eq(&read(&c));
        assert_eq!(c.configuration().password, "testpass");
        let topics = c.configuration().topics().expect("good levels");
        assert_eq!(topics.base(), "test/test_controller");
        assert_eq!(
            actions(&mut c, at(0)),
            [Action::Keep(Kept::Configuration), Action::Reconnect]
        );
        assert_eq!(c.poll_at(), 30_000);
    }

    #[test]
    fn what_was_read_can_be_sent_back_and_changes_nothing() {
        let mut c = controller();
        c.configure_json(at(0), br#"{"mqtt_password":"secret"}"#)
            .expect("good");
        actions(&mut c, at(0));
        let text = read(&c);
        assert!(!text.contains("secret"));
        c.configure_json(at(1), text.as_bytes()).expect("good");
        assert_eq!(c.configuration().password, "secret");
        assert_eq!(actions(&mut c, at(1)), []);
    }

    #[test]
    fn fields_that_are_not_there_stay() {
        let mut c = controller();
        c.configure_json(at(0), br#"{"mqtt_port":8883}"#)
            .expect("good");
        let expected = Configuration {
            port: 8_883,
            ..Configuration::default()
        };
        assert_eq!(*c.configuration(), expected);
        c.configure_json(at(0), b"{}").expect("nothing to change");
        assert_eq!(*c.configuration(), expected);
    }

    #[test]
    fn only_what_a_session_depends_on_ends_it() {
        let mut c = controller();
        c.configure_json(at(0), br#"{"mqtt_telemetry_interval":5}"#)
            .expect("good");
        assert_eq!(actions(&mut c, at(0)), [Action::Keep(Kept::Configuration)]);
    }

    #[test]
    fn a_refusal_names_the_field() {
        check(
            r#"{"mqtt_port":1883"#,
            &expect![[r#"{"error":"JSON parse error at byte 17: unexpected end"}"#]],
        );
        check(
            r#"{"mqtt_enabled":true}"#,
            &expect![[
                r#"{"error":"Invalid value: mqtt_broker takes a host name or an IPv4 address of at most 64 characters","field":"mqtt_broker"}"#
            ]],
        );
        check(
            r#"{"mqtt_telemetry_interval":5,"mqtt_port":65536}"#,
            &expect![[
                r#"{"error":"Invalid value: mqtt_port takes a port, 1 to 65535","field":"mqtt_port"}"#
            ]],
        );
        check(
            r#"{"mqtt_port":0}"#,
            &expect![[
                r#"{"error":"Invalid value: mqtt_port takes a port, 1 to 65535","field":"mqtt_port"}"#
            ]],
        );
        check(
            r#"{"mqtt_port":"1883"}"#,
            &expect![[r#"{"error":"Invalid type: mqtt_port","field":"mqtt_port"}"#]],
        );
        check(
            r#"{"mqtt_broker":"a b"}"#,
            &expect![[
                r#"{"error":"Invalid value: mqtt_broker takes a host name or an IPv4 address of at most 64 characters","field":"mqtt_broker"}"#
            ]],
        );
        check(
            r#"{"mqtt_use_tls":1}"#,
            &expect![[r#"{"error":"Invalid type: mqtt_use_tls","field":"mqtt_use_tls"}"#]],
        );
        check(
            r#"{"topic_level2_type":"static"}"#,
            &expect![[
                r#"{"error":"Invalid value: topic_level2_type takes `custom` or `skip`","field":"topic_level2_type"}"#
            ]],
        );
        check(
            r#"{"topic_level3_value":"a/b"}"#,
            &expect![[
                r#"{"error":"Invalid value: topic_level3_value takes 1 to 32 characters, none of them a space, `/`, `+`, `#` or a control character","field":"topic_level3_value"}"#
            ]],
        );
        check(
            r#"{"mqtt_tls":true}"#,
            &expect![[r#"{"error":"Unknown field: mqtt_tls","field":"mqtt_tls"}"#]],
        );
        let long = format!(r#"{{"mqtt_username":"{}"}}"#, "x".repeat(33));
        check(
            &long,
            &expect![[
                r#"{"error":"Invalid value: mqtt_username takes at most 32 characters, none of them a control character","field":"mqtt_username"}"#
            ]],
        );
        check(
            &" ".repeat(2_049),
            &expect![[r#"{"error":"Request too large: at most 2048 bytes"}"#]],
        );
    }

    #[test]
    fn the_longest_configuration_is_read() {
        // Every character of 32 or 64, six bytes each.
        let text = |length: usize| "\\u0041".repeat(length);
        let body = format!(
            r#"{{"mqtt_broker":"{}","mqtt_username":"{}","mqtt_password":"{}","mqtt_device_name":"{}"}}"#,
            text(64),
            text(32),
            text(64),
            text(32),
        );
        assert!(body.len() <= CONFIGURATION_JSON_BYTES_MAX);
        controller()
            .configure_json(at(0), body.as_bytes())
            .expect("good");
    }

    #[test]
    fn the_status_says_what_the_session_is_about() {
        let mut c = controller();
        c.configure_json(at(0), br#"{"mqtt_broker":"10.0.2.2"}"#)
            .expect("good");
        let status = DeviceStatus {
            mqtt_connected: true,
            messages_published: 17,
            ..DeviceStatus::default()
        };
        let mut out = String::new();
        c.configuration()
            .write_mqtt_status(&status, None, &mut out)
            .expect("room");
        expect![[
            r#"{"connected":true,"broker":"10.0.2.2:1883","messages_sent":17,"last_error":null}"#
        ]]
        .assert_eq(&out);
        out.clear();
        c.configuration()
            .write_mqtt_status(&DeviceStatus::default(), Some("no CONNACK"), &mut out)
            .expect("room");
        expect![[r#"{"connected":false,"broker":"10.0.2.2:1883","messages_sent":0,"last_error":"no CONNACK"}"#]].assert_eq(&out);
    }

    proptest! {
        #[test]
        fn any_body_is_taken_whole_or_not_at_all(fields in proptest::collection::vec((0..16_usize, 0..12_usize), 0..6)) {
            let values = [
                "true", "false", "null", "0", "1883", "70000", "-1", "2.5", "\"\"", "\"custom\"",
                "\"skip\"", "\"a b\"",
            ];
            let names = [
                "mqtt_enabled", "mqtt_broker", "mqtt_port", "mqtt_username", "mqtt_password",
                "mqtt_device_name", "mqtt_telemetry_interval", "mqtt_use_tls",
                "mqtt_retain_telemetry", "topic_level1_type", "topic_level1_value",
                "topic_level2_type", "topic_level2_value", "topic_level3_type",
                "topic_level3_value", "no_such_field",
            ];
            let members: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("\"{}\":{}", names[*name], values[*value]))
                .collect();
            let body = format!("{{{}}}", members.join(","));
            let mut c = controller();
            let before = c.configuration().clone();
            match c.configure_json(at(0), body.as_bytes()) {
                Ok(()) => prop_assert_eq!(c.configuration().check(), Ok(())),
                Err(error) => {
                    prop_assert!(!error.to_string().is_empty());
                    prop_assert_eq!(c.configuration(), &before);
                }
            }
            serde_json::from_str::<Json>(&read(&c)).expect("JSON");
        }
    }
}
