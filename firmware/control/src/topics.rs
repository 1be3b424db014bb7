//! The device's topics.
//!
//! Base: up to three levels and the device id; each level may be left out. No topic holds a space,
//! a wildcard, a leading or trailing `/`, or an empty level (MQTT 3.1.1, 4.7).

use core::fmt::Write as _;

use heapless::String;

/// The longest topic, bytes: three levels and the id of 32 each, and the longest name below.
pub const TOPIC_BYTES_MAX: usize = 4 * 33 + 24;

/// A topic.
pub type Topic = String<TOPIC_BYTES_MAX>;

/// The device's topics, by what is published there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    base: Topic,
}

/// Why a level cannot be part of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLevel {
    /// It has no characters.
    Empty,
    /// It holds a space, a control character, `/`, `+` or `#`.
    Character(char),
    /// It is longer than 32 bytes.
    TooLong,
}

impl Topics {
    /// Topics below `levels` (those left out are not in it) and `device_id`.
    ///
    /// # Errors
    /// The index of the first bad level, `levels.len()` for the device id, and what is wrong.
    pub fn new<'l>(
        levels: impl IntoIterator<Item = &'l str>,
        device_id: &'l str,
    ) -> Result<Self, (usize, BadLevel)> {
        let mut base = Topic::new();
        for (index, level) in levels.into_iter().chain([device_id]).enumerate() {
            check_level(level).map_err(|bad| (index, bad))?;
            if index > 0 {
                base.push('/').map_err(|_| (index, BadLevel::TooLong))?;
            }
            base.push_str(level)
                .map_err(|_| (index, BadLevel::TooLong))?;
        }
        Ok(Self { base })
    }

    /// The base, above all topics of the device.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    fn below(&self, name: &str) -> Topic {
        let mut topic = Topic::new();
        // Fits: `check_level` keeps the base to 4 x 33 bytes, and all names are below 24.
        let _ = write!(topic, "{}/{name}", self.base);
        topic
    }

    /// Every point and the summary; out, QoS 0.
    #[must_use]
    pub fn temperature(&self) -> Topic {
        self.below("telemetry/temperature")
    }

    /// Uptime, memory, counters; out, QoS 0.
    #[must_use]
    pub fn system(&self) -> Topic {
        self.below("telemetry/system")
    }

    /// The summary, published by schedules; out, QoS 1.
    #[must_use]
    pub fn summary(&self) -> Topic {
        self.below("telemetry/summary")
    }

    /// One message for each change of an alarm; out, QoS 1.
    #[must_use]
    pub fn alarm(&self) -> Topic {
        self.below("alarm/active")
    }

    /// One message for each change of a relay; out, QoS 1.
    #[must_use]
    pub fn relay(&self) -> Topic {
        self.below("event/relay")
    }

    /// Commands; in, QoS 1.
    #[must_use]
    pub fn request(&self) -> Topic {
        self.below("command/request")
    }

    /// Responses; out, QoS 1.
    #[must_use]
    pub fn response(&self) -> Topic {
        self.below("command/response")
    }

    /// Boot events; out, QoS 1, retained.
    #[must_use]
    pub fn boot(&self) -> Topic {
        self.below("state/boot")
    }

    /// `online`, and `offline` as the will; out, QoS 1, retained.
    #[must_use]
    pub fn connection(&self) -> Topic {
        self.below("state/connection")
    }
}

pub(crate) fn check_level(level: &str) -> Result<(), BadLevel> {
    if level.is_empty() {
        return Err(BadLevel::Empty);
    }
    if level.len() > 32 {
        return Err(BadLevel::TooLong);
    }
    match level
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '+' | '#'))
    {
        Some(c) => Err(BadLevel::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_base_is_the_contract_s() {
        let topics = Topics::new(["plant", "area1", "line2"], "tempcontroller01").expect("good");
        assert_eq!(
            topics.temperature(),
            "plant/area1/line2/tempcontroller01/telemetry/temperature"
        );
        assert_eq!(
            topics.request(),
            "plant/area1/line2/tempcontroller01/command/request"
        );
    }

    #[test]
    fn levels_may_be_left_out() {
        assert_eq!(
            Topics::new([], "dev").expect("good").boot(),
            "dev/state/boot"
        );
    }

    #[test]
    fn the_longest_levels_fit() {
        let level = "abcdefghijklmnopqrstuvwxyz012345";
        let topics = Topics::new([level; 3], level).expect("good");
        assert!(topics.temperature().ends_with("telemetry/temperature"));
    }

    #[test]
    fn bad_levels_are_refused_by_their_place() {
        for (levels, id, expected) in [
            (["a", "b", ""], "d", (2, BadLevel::Empty)),
            (["a", "b c", "c"], "d", (1, BadLevel::Character(' '))),
            (["a/b", "b", "c"], "d", (0, BadLevel::Character('/'))),
            (["a", "b", "c"], "#", (3, BadLevel::Character('#'))),
            (["+", "b", "c"], "d", (0, BadLevel::Character('+'))),
            (
                ["a", "b", "c"],
                "x".repeat(33).leak(),
                (3, BadLevel::TooLong),
            ),
        ] {
            assert_eq!(Topics::new(levels, id), Err(expected));
        }
    }
}
