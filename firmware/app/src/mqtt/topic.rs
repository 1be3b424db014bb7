//! Where messages go, and how: the contract's table of topics.

use firmware_control::Topics;
use firmware_mqtt::{Class, QoS};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Temperature,
    System,
    Summary,
    Boot,
    Connection,
    Response,
    Alarm,
    Relay,
}

impl Topic {
    pub(crate) fn name(self, topics: &Topics) -> firmware_control::topics::Topic {
        match self {
            Self::Temperature => topics.temperature(),
            Self::System => topics.system(),
            Self::Summary => topics.summary(),
            Self::Boot => topics.boot(),
            Self::Connection => topics.connection(),
            Self::Response => topics.response(),
            Self::Alarm => topics.alarm(),
            Self::Relay => topics.relay(),
        }
    }

    pub(crate) fn qos(self) -> QoS {
        match self {
            Self::Temperature | Self::System => QoS::AtMostOnce,
            Self::Summary
            | Self::Boot
            | Self::Connection
            | Self::Response
            | Self::Alarm
            | Self::Relay => QoS::AtLeastOnce,
        }
    }

    /// What a message is worth when the outbox has no room for all.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Temperature | Self::System => Class::Telemetry,
            Self::Boot | Self::Connection => Class::State,
            Self::Summary | Self::Response | Self::Alarm | Self::Relay => Class::Event,
        }
    }

    /// Whether the broker keeps the newest for later subscribers.
    pub(crate) fn is_retained(self, retain_telemetry: bool) -> bool {
        match self {
            Self::Boot | Self::Connection => true,
            Self::Temperature => retain_telemetry,
            Self::System | Self::Summary | Self::Response | Self::Alarm | Self::Relay => false,
        }
    }
}
