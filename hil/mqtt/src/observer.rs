//! A callback for everything a client sends and gets, so that a runner can put it into its event stream.
//!
//! It is called on the client's own task, in the order things happened, and must return at once: push into
//! a channel, don't write to a file.

use std::sync::Arc;
use std::time::Instant;

use crate::client::{Message, Qos};

/// What a client tells its observer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Observed<'a> {
    /// CONNACK came.
    Connected {
        /// The client identifier.
        client_id: &'a str,
        /// Whether the broker kept the session of an earlier connection.
        session_present: bool,
        /// When.
        at: Instant,
    },
    /// The connection ended, wanted or not.
    Disconnected {
        /// The client identifier.
        client_id: &'a str,
        /// Why.
        reason: &'a str,
        /// When.
        at: Instant,
    },
    /// A message is about to be sent.
    Sending {
        /// The client identifier.
        client_id: &'a str,
        /// Its topic.
        topic: &'a str,
        /// Its payload.
        payload: &'a [u8],
        /// Its quality of service.
        qos: Qos,
        /// Whether the broker shall keep it.
        retain: bool,
        /// When.
        at: Instant,
    },
    /// A message came.
    Received {
        /// The client identifier.
        client_id: &'a str,
        /// The message.
        message: &'a Message,
    },
    /// A subscription's queue was full, and a message was dropped. Whoever relied on it must know.
    Overflowed {
        /// The client identifier.
        client_id: &'a str,
        /// The subscription's filter.
        filter: &'a str,
        /// The message.
        message: &'a Message,
    },
}

/// See the module's page.
pub type Observer = Arc<dyn Fn(&Observed<'_>) + Send + Sync>;
