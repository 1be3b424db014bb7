//! What can fail in MQTT, and who must act.
//!
//! A topic that can't be is its author's matter and has its own type ([`TopicError`]). Everything here is
//! for whoever tends the bench: a port, a broker, an account. What the device does wrong is no error of
//! this crate.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::topic::TopicError;

/// Why the run has no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Somebody else listens on the port.
    #[error(
        "port {} of {} is taken; end the program that listens there, or choose port 0 for a free one",
        address.port(),
        address.ip()
    )]
    PortTaken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The port can't be listened on for another reason.
    #[error("the embedded broker can't listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker itself refused its settings or ended at once.
    #[error("the embedded broker does not start: {reason}")]
    Start {
        /// What it said.
        reason: String,
    },
    /// The embedded broker did not end in time.
    #[error("the embedded broker has not ended after {} s; its connections were cut", after.as_secs_f32())]
    Stop {
        /// How long it was waited for.
        after: Duration,
    },
    /// The address of an external broker is not `host:port`.
    #[error("`{address}` is no broker address; write `host` or `host:port`")]
    Address {
        /// What was given.
        address: String,
    },
}

/// Why a client has no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("nobody listens at `{address}`; start the broker or correct its address")]
    NobodyListens {
        /// `host:port`.
        address: String,
    },
    /// The host's name has no address.
    #[error("can't find a host for `{address}`; correct the broker's address")]
    NoSuchHost {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker answered with a CONNACK that says no (MQTT 3.1.1 section 3.2.2.3).
    #[error("the broker at `{address}` refused client `{client_id}`: {reason}")]
    Refused {
        /// `host:port`.
        address: String,
        /// The client identifier.
        client_id: String,
        /// The return code in words, with a hint.
        reason: &'static str,
    },
    /// No CONNACK came.
    #[error(
        "the broker at `{address}` has not answered CONNECT within {} s; is it an MQTT broker, and is TLS off?",
        after.as_secs_f32()
    )]
    NoAnswer {
        /// `host:port`.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The options can't be.
    #[error("{what}")]
    Options {
        /// What is wrong with them.
        what: String,
    },
    /// The will's topic can't be.
    #[error("the will's topic is wrong")]
    Will(#[from] TopicError),
    /// The connection broke before CONNACK.
    #[error("the connection to `{address}` ended before CONNACK: {reason}")]
    Broken {
        /// `host:port`.
        address: String,
        /// What the protocol library said.
        reason: String,
    },
}

/// Why a publish or a subscription did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The topic or filter can't be.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The client is no longer connected and does not reconnect.
    #[error("client `{client_id}` is not connected any more: {reason}")]
    Disconnected {
        /// The client identifier.
        client_id: String,
        /// Why the connection ended.
        reason: String,
    },
    /// The message is too large for the client's own limit.
    #[error(
        "a message of {bytes} bytes to `{topic}` is over the limit of {limit} bytes; raise `packet_bytes_max`"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// Length of the payload in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The broker never acknowledged the message.
    #[error("the broker has not acknowledged a message to `{topic}`: {reason}")]
    NotAcknowledged {
        /// The topic.
        topic: String,
        /// Why it never will.
        reason: String,
    },
    /// The broker answered SUBSCRIBE with failure (MQTT 3.1.1 section 3.9.3).
    #[error(
        "the broker refused the subscription to `{filter}`; allow it in the broker's access list"
    )]
    SubscriptionRefused {
        /// The filter.
        filter: String,
    },
}
