//! MQTT 3.1.1 for test benches: the broker a run uses, a client that hides nothing, topics checked.
//!
//! A bench wants other things of MQTT than an application does: it wants to know when each message came, in
//! which order, whether one was lost or came twice, and it wants errors that say whose turn it is. Nothing
//! here knows any product.
//!
//! In reading order:
//!
//! - [`topic`]: names and filters, checked before they go anywhere, with the corrected one suggested
//! - [`broker`]: the broker of a run, embedded or at an address
//! - [`client`]: the host's client: publish, subscribe, a message with its time and number
//! - [`observer`]: a callback for everything that passes, for event streams and captures
//! - [`ledger`]: counts what was lost, came twice or out of order
//! - [`error`]: what can fail, and who must act

pub mod broker;
pub mod client;
pub mod error;
pub mod ledger;
pub mod observer;
pub mod topic;

pub use broker::{Broker, BrokerSettings, Credentials, EmbeddedSettings};
pub use client::{Client, ConnectOptions, Message, Published, Qos, Reconnect, Subscription, Will};
pub use error::{BrokerError, ClientError, ConnectError};
pub use ledger::{Ledger, Tally};
pub use observer::{Observed, Observer};
pub use topic::{Filter, Topic, TopicError};
