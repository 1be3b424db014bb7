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
