//! How a client connects.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{LastWill, MqttOptions, QoS};

use crate::broker::{Broker, Credentials, join};
use crate::error::ConnectError;
use crate::observer::Observer;
use crate::topic::Topic;

/// Quality of service (MQTT 3.1.1 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

impl Qos {
    /// 0, 1 or 2.
    pub fn level(self) -> u8 {
        self as u8
    }
}

impl From<Qos> for QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
            Qos::ExactlyOnce => QoS::ExactlyOnce,
        }
    }
}

impl From<QoS> for Qos {
    fn from(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Qos::AtMostOnce,
            QoS::AtLeastOnce => Qos::AtLeastOnce,
            QoS::ExactlyOnce => Qos::ExactlyOnce,
        }
    }
}

/// What a client does when its connection ends unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// It ends, and its subscriptions with it.
    Never,
    /// It connects again after this time, again and again, and subscribes anew where the broker has
    /// forgotten its session.
    After(Duration),
}

/// A message the broker publishes when the client ends without DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: Qos,
    /// Whether the broker keeps it.
    pub retain: bool,
}

/// How a client connects.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Host name or address of the broker.
    pub host: String,
    /// TCP port of the broker.
    pub port: u16,
    /// Client identifier. Two clients with one identifier throw each other out.
    pub client_id: String,
    /// Account.
    pub credentials: Option<Credentials>,
    /// Keep-alive in whole seconds up to 65,535; zero turns it off.
    pub keep_alive: Duration,
    /// Whether the broker forgets the session when the connection ends.
    pub clean_session: bool,
    /// Will.
    pub will: Option<Will>,
    /// Largest packet in bytes, both ways.
    pub packet_bytes_max: usize,
    /// How long CONNACK may take.
    pub timeout: Duration,
    /// What to do when the connection ends unasked.
    pub reconnect: Reconnect,
    /// Messages that wait in one subscription until they are read; more are dropped and counted.
    pub queue_messages: usize,
    /// Told of everything that passes.
    pub observer: Option<Observer>,
}

impl ConnectOptions {
    /// Options for a clean session at `host:port`: keep-alive 30 s, packets up to 256 KiB, 5 s for CONNACK,
    /// no reconnect, queues of 8,192 messages.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            credentials: None,
            keep_alive: Duration::from_secs(30),
            clean_session: true,
            will: None,
            packet_bytes_max: 256 * 1024,
            timeout: Duration::from_secs(5),
            reconnect: Reconnect::Never,
            queue_messages: 8_192,
            observer: None,
        }
    }

    /// Options for `broker`, with its account.
    pub fn to(broker: &Broker, client_id: impl Into<String>) -> Self {
        Self {
            credentials: broker.credentials().cloned(),
            ..Self::new(broker.host(), broker.port(), client_id)
        }
    }

    /// `host:port`, for messages.
    pub(crate) fn address(&self) -> String {
        join(&self.host, self.port)
    }

    /// What the protocol library wants to know.
    pub(crate) fn client_options(&self) -> Result<MqttOptions, ConnectError> {
        let refuse = |what: String| ConnectError::Options { what };
        if self.client_id.is_empty() && !self.clean_session {
            let what = "a persistent session needs a client identifier; set `client_id`";
            return Err(refuse(what.to_owned()));
        }
        let keep_alive = self.keep_alive.as_secs();
        let keep_alive = u16::try_from(keep_alive).map_err(|_| {
            refuse(format!(
                "keep-alive of {keep_alive} s is over 65,535 s; choose a shorter one"
            ))
        })?;
        let mut library = MqttOptions::new(
            self.client_id.clone(),
            rumqttc::Broker::tcp(self.host.clone(), self.port),
        );
        library
            .set_keep_alive(keep_alive)
            .set_max_packet_size(self.packet_bytes_max, self.packet_bytes_max)
            .set_request_channel_capacity(256);
        library
            .try_set_clean_session(self.clean_session)
            .map_err(|error| refuse(error.to_string()))?;
        if let Some(Credentials { username, password }) = &self.credentials {
            library.set_credentials(username.clone(), password.clone());
        }
        if let Some(will) = &self.will {
            let topic = Topic::new(will.topic.clone())?;
            library.set_last_will(LastWill::new(
                topic.as_str(),
                will.payload.to_vec(),
                will.qos.into(),
                will.retain,
            ));
        }
        Ok(library)
    }
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("address", &self.address())
            .field("client_id", &self.client_id)
            .field("credentials", &self.credentials)
            .field("clean_session", &self.clean_session)
            .finish_non_exhaustive()
    }
}
