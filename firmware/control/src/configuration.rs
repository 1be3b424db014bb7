//! The configuration that the HTTP interface shows and changes: fields, limits, defaults.
//!
//! Whatever changes it goes through [`Configuration::check`], so that one that is kept is one that
//! the device can work with. How it looks as JSON is in [`crate::configuration_json`].

use core::fmt;

use heapless::String;
use serde::{Deserialize, Serialize};

use crate::mutants::{self, Mutant};
use crate::relays::RelayId;
use crate::topics::{self, Topics};

/// The longest telemetry interval, seconds.
pub const TELEMETRY_INTERVAL_S_MAX: u32 = 3_600;

/// What stands for the password wherever the configuration is shown.
pub const PASSWORD_SHOWN: &str = "********";

/// How the device talks to its broker.
///
/// `Debug` hides the password. Serialised, it is there: that form goes to flash, and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Whether the device connects to a broker at all.
    pub mqtt_enabled: bool,
    /// A host name or an IPv4 address.
    pub broker: String<64>,
    /// TCP port, not 0.
    pub port: u16,
    /// User name; empty for none.
    pub username: String<32>,
    /// Password; empty for none.
    pub password: String<64>,
    /// The last level of the device's topics, and its MQTT client id.
    pub device_name: String<32>,
    /// Seconds between two telemetry messages, 1 to [`TELEMETRY_INTERVAL_S_MAX`].
    pub telemetry_interval_s: u32,
    /// Whether the broker is talked to over TLS.
    pub use_tls: bool,
    /// Whether temperature telemetry is published with the retain flag.
    pub retain_telemetry: bool,
    /// The three levels above the device name.
    pub topic_levels: [TopicLevel; 3],
    /// The relay that is on while there is an alarm that nobody has acknowledged; none by default.
    /// Set by the command `set_config`, not over HTTP.
    pub alarm_relay: Option<RelayId>,
}

/// One level of the topic above the device name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicLevel {
    /// Whether the level is in the topic (`custom`) or left out (`skip`).
    pub used: bool,
    /// Its value; kept while it is left out.
    pub value: String<32>,
}

impl TopicLevel {
    /// A level with this value, cut to 32 characters.
    #[must_use]
    pub fn custom(value: &str) -> Self {
        Self {
            used: true,
            value: value.chars().filter(char::is_ascii).take(32).collect(),
        }
    }
}

/// Names of the fields as JSON has them, for [`Configuration::check`] and whoever reads and writes.
pub(crate) mod field {
    pub(crate) const ENABLED: &str = "mqtt_enabled";
    pub(crate) const BROKER: &str = "mqtt_broker";
    pub(crate) const PORT: &str = "mqtt_port";
    pub(crate) const USERNAME: &str = "mqtt_username";
    pub(crate) const PASSWORD: &str = "mqtt_password";
    pub(crate) const DEVICE_NAME: &str = "mqtt_device_name";
    pub(crate) const TELEMETRY_INTERVAL: &str = "mqtt_telemetry_interval";
    pub(crate) const USE_TLS: &str = "mqtt_use_tls";
    pub(crate) const RETAIN: &str = "mqtt_retain_telemetry";
    pub(crate) const LEVEL_TYPE: [&str; 3] = [
        "topic_level1_type",
        "topic_level2_type",
        "topic_level3_type",
    ];
    pub(crate) const LEVEL_VALUE: [&str; 3] = [
        "topic_level1_value",
        "topic_level2_value",
        "topic_level3_value",
    ];
}

/// Why a field can't have its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The field, as JSON names it.
    pub field: &'static str,
    /// What it takes.
    pub takes: &'static str,
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid value: {} takes {}", self.field, self.takes)
    }
}

impl Default for Configuration {
    /// The contract's topics, no broker: `mqtt_enabled` is false until somebody names one.
    fn default() -> Self {
        Self {
            mqtt_enabled: false,
            broker: String::new(),
            port: 1_883,
            username: String::new(),
            password: String::new(),
            device_name: text("tempcontroller01"),
            telemetry_interval_s: 60,
            use_tls: false,
            retain_telemetry: false,
            topic_levels: ["plant", "area1", "line2"].map(TopicLevel::custom),
            alarm_relay: None,
        }
    }
}

/// For the literals above, which fit.
fn text<const N: usize>(literal: &str) -> String<N> {
    literal.chars().collect()
}

impl Configuration {
    /// Whether the device can work with it.
    ///
    /// # Errors
    /// The first field that it can't work with, in the order of the fields.
    pub fn check(&self) -> Result<(), BadField> {
        let is = |good: bool, field, takes| {
            if good {
                Ok(())
            } else {
                Err(BadField { field, takes })
            }
        };
        let no_broker = self.broker.is_empty() && !self.mqtt_enabled;
        is(
            no_broker || is_host(&self.broker),
            field::BROKER,
            "a host name or an IPv4 address of at most 64 characters",
        )?;
        let port_good = self.port != 0 || mutants::active(Mutant::BadPortAccepted);
        is(port_good, field::PORT, PORT_TAKES)?;
        is(
            is_printable(&self.username),
            field::USERNAME,
            USERNAME_TAKES,
        )?;
        is(
            is_printable(&self.password),
            field::PASSWORD,
            PASSWORD_TAKES,
        )?;
        is(is_level(&self.device_name), field::DEVICE_NAME, LEVEL_TAKES)?;
        is(
            (1..=TELEMETRY_INTERVAL_S_MAX).contains(&self.telemetry_interval_s),
            field::TELEMETRY_INTERVAL,
            INTERVAL_TAKES,
        )?;
        for (level, field) in self.topic_levels.iter().zip(field::LEVEL_VALUE) {
            let unused = !level.used && level.value.is_empty();
            is(unused || is_level(&level.value), field, LEVEL_TAKES)?;
        }
        Ok(())
    }

    /// The device's topics; none when [`Configuration::check`] finds a bad level.
    #[must_use]
    pub fn topics(&self) -> Option<Topics> {
        let used = self.topic_levels.iter().filter(|level| level.used);
        Topics::new(used.map(|level| level.value.as_str()), &self.device_name).ok()
    }

    /// User name and password for CONNECT; none without a user name.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &str)> {
        (!self.username.is_empty()).then_some((self.username.as_str(), self.password.as_str()))
    }

    /// Whether a device that was configured as `old` comes back to the session that the broker has for
    /// it: the same client at the same broker.
    #[must_use]
    pub fn comes_back_to(&self, old: &Self) -> bool {
        self.mqtt_enabled
            && self.broker == old.broker
            && self.port == old.port
            && self.device_name == old.device_name
    }

    /// Whether an MQTT session opened with `other` is still the one that this one asks for.
    #[must_use]
    pub fn same_session(&self, other: &Self) -> bool {
        self.mqtt_enabled == other.mqtt_enabled
            && self.broker == other.broker
            && self.port == other.port
            && self.username == other.username
            && self.password == other.password
            && self.device_name == other.device_name
            && self.use_tls == other.use_tls
            && self.topic_levels == other.topic_levels
    }
}

pub(crate) const PORT_TAKES: &str = "a port, 1 to 65535";
pub(crate) const INTERVAL_TAKES: &str = "seconds, 1 to 3600";
pub(crate) const USERNAME_TAKES: &str = "at most 32 characters, none of them a control character";
pub(crate) const PASSWORD_TAKES: &str = "at most 64 characters, none of them a control character";
pub(crate) const LEVEL_TAKES: &str =
    "1 to 32 characters, none of them a space, `/`, `+`, `#` or a control character";

fn is_level(level: &str) -> bool {
    topics::check_level(level).is_ok()
}

/// MQTT 3.1.1, 1.5.3: no U+0000; nor would a person type the other control characters.
fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Labels of letters, digits and hyphens, joined by dots (RFC 1123, 2.1).
fn is_host(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("mqtt_enabled", &self.mqtt_enabled)
            .field("broker", &self.broker)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("password", &PASSWORD_SHOWN)
            .field("device_name", &self.device_name)
            .field("telemetry_interval_s", &self.telemetry_interval_s)
            .field("use_tls", &self.use_tls)
            .field("retain_telemetry", &self.retain_telemetry)
            .field("topic_levels", &self.topic_levels)
            .field("alarm_relay", &self.alarm_relay)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn the_same_client_at_the_same_broker_comes_back_to_its_session() {
        let old = Configuration {
            mqtt_enabled: true,
            broker: text("broker.local"),
            ..Configuration::default()
        };
        let check = |change: fn(&mut Configuration), comes_back| {
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(new.comes_back_to(&old), comes_back, "{new:?}");
        };
        check(|_| {}, true);
        check(|new| new.topic_levels[0].used = false, true);
        check(|new| new.password = text("other"), true);
        check(|new| new.mqtt_enabled = false, false);
        check(|new| new.broker = text("other.local"), false);
        check(|new| new.port = 8_883, false);
        check(|new| new.device_name = text("other"), false);
    }

    fn refused(change: impl FnOnce(&mut Configuration)) -> Option<&'static str> {
        let mut configuration = Configuration {
            mqtt_enabled: true,
            broker: text("broker.local"),
            ..Configuration::default()
        };
        change(&mut configuration);
        configuration.check().err().map(|bad| bad.field)
    }

    #[test]
    fn each_bad_field_is_named() {
        assert_eq!(refused(|_| {}), None);
        assert_eq!(Configuration::default().check(), Ok(()));
        assert_eq!(refused(|c| c.broker.clear()), Some("mqtt_broker"));
        assert_eq!(refused(|c| c.port = 0), Some("mqtt_port"));
        assert_eq!(
            refused(|c| c.username = text("a\nb")),
            Some("mqtt_username")
        );
        assert_eq!(
            refused(|c| c.password = text("a\0b")),
            Some("mqtt_password")
        );
        assert_eq!(
            refused(|c| c.device_name = text("a/b")),
            Some("mqtt_device_name")
        );
        assert_eq!(
            refused(|c| c.telemetry_interval_s = 0),
            Some("mqtt_telemetry_interval")
        );
        assert_eq!(
            refused(|c| c.telemetry_interval_s = 3_601),
            Some("mqtt_telemetry_interval")
        );
        assert_eq!(
            refused(|c| c.topic_levels[1].value = text("#")),
            Some("topic_level2_value")
        );
        assert_eq!(
            refused(|c| c.topic_levels[2].value.clear()),
            Some("topic_level3_value")
        );
        assert_eq!(refused(|c| c.topic_levels[2] = TopicLevel::default()), None);
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in ["broker.hivemq.com", "10.0.2.2", "localhost", "a-b.c_d"] {
            assert_eq!(refused(|c| c.broker = text(good)), None, "{good}");
        }
        for bad in ["a b", "a..b", ".a", "a.", "-a", "mqtt://a", "a:1883", "ä"] {
            assert_eq!(
                refused(|c| c.broker = text(bad)),
                Some("mqtt_broker"),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_topics_are_those_of_the_levels_in_use() {
        let mut configuration = Configuration::default();
        configuration.topic_levels[1].used = false;
        let topics = configuration.topics().expect("good levels");
        assert_eq!(topics.base(), "plant/line2/tempcontroller01");
    }

    #[test]
    fn the_password_is_not_in_debug_text() {
        let configuration = Configuration {
            password: text("hunter2"),
            ..Configuration::default()
        };
        assert!(!format!("{configuration:?}").contains("hunter2"));
    }

    #[test]
    fn a_session_depends_on_what_it_was_opened_with() {
        let old = Configuration::default();
        let same = |change: fn(&mut Configuration)| {
            let mut new = old.clone();
            change(&mut new);
            new.same_session(&old)
        };
        assert!(same(|c| c.telemetry_interval_s = 5));
        assert!(same(|c| c.retain_telemetry = true));
        assert!(same(|c| c.alarm_relay = RelayId::new(1)));
        assert!(!same(|c| c.mqtt_enabled = true));
        assert!(!same(|c| c.password = text("x")));
        assert!(!same(|c| c.topic_levels[0].used = false));
    }
}
