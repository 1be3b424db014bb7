//! The host's MQTT client: everything it is told to do is acknowledged, everything that comes is numbered.
//!
//! A task of its own polls the connection, so that publishing never waits for receiving. Messages go to
//! every [`Subscription`] whose filter matches, each with its own bounded queue; one that is not read loses
//! messages of its own only, and counts them.
//!
//! Filters of one client may overlap. A broker may then send a message once or once for each (MQTT 3.1.1
//! section 3.3.5), and nothing in it says which. So that copies can't be taken for repetitions, a filter that
//! overlaps with another one gets a connection of its own, named after the client: `bench`, `bench-2`, ...

mod driver;
mod options;
mod subscription;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use rumqttc::{AsyncClient, PublishOptions, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{ClientError, ConnectError};
use crate::observer::Observed;
use crate::topic::{Filter, Topic};

pub use options::{ConnectOptions, Qos, Reconnect, Will};
pub use subscription::{Message, Subscription};

use driver::Shared;

/// Bytes an MQTT packet has besides topic and payload, at most: fixed header, topic length, packet identifier.
const PACKET_OVERHEAD_BYTES: usize = 9;

/// A connected client. Dropped, it ends without DISCONNECT, so that its will is sent; see
/// [`disconnect`](Self::disconnect) for the polite end.
pub struct Client {
    first: Connection,
    /// For filters that overlap with those of the connections before.
    more: Mutex<Vec<Connection>>,
    options: ConnectOptions,
}

/// One connection, and the task that polls it.
struct Connection {
    requests: AsyncClient,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// When a message left, and when it was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// When it was handed over to be sent.
    pub sent_at: Instant,
    /// When PUBACK (QoS 1) or PUBCOMP (QoS 2) came; for QoS 0, when it was written to the connection.
    pub acknowledged_at: Instant,
}

impl Client {
    /// Connects, and returns once the broker has accepted.
    ///
    /// # Errors
    /// When nobody listens, the broker refuses, or no CONNACK comes in time: see [`ConnectError`].
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        Ok(Self {
            first: driver::connect(&options).await?,
            more: Mutex::new(Vec::new()),
            options,
        })
    }

    /// Publishes a message and waits for its acknowledgement. Messages published one after another without
    /// waiting in between keep their order.
    ///
    /// Cancelled while it waits for the acknowledgement, the message is sent all the same.
    ///
    /// # Errors
    /// When the topic is unusable, the message too large, or the connection ends before the acknowledgement.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<Published, ClientError> {
        let topic = Topic::new(topic)?;
        let payload = payload.into();
        let bytes = payload.len();
        if bytes + topic.as_str().len() + PACKET_OVERHEAD_BYTES > self.options.packet_bytes_max {
            return Err(ClientError::TooLarge {
                topic: topic.to_string(),
                bytes,
                limit: self.options.packet_bytes_max,
            });
        }
        let Connection {
            requests, shared, ..
        } = &self.first;
        let sent_at = Instant::now();
        shared.observe(&Observed::Sending {
            client_id: self.client_id(),
            topic: topic.as_str(),
            payload: &payload,
            qos,
            retain,
            at: sent_at,
        });
        let how = PublishOptions::new(qos.into()).retain(retain);
        let notice = requests
            .publish_tracked(topic.as_str(), payload, how)
            .await
            .map_err(|error| shared.disconnected(&error))?;
        match notice.wait_completion_async().await {
            Ok(()) => Ok(Published {
                sent_at,
                acknowledged_at: Instant::now(),
            }),
            Err(_) if shared.has_ended() => Err(shared.disconnected(&"it has ended")),
            Err(error) => Err(ClientError::NotAcknowledged {
                topic: topic.to_string(),
                reason: error.to_string(),
            }),
        }
    }

    /// Subscribes, and returns once the broker has granted it. The subscription ends when it is dropped.
    ///
    /// A retained message comes once to a subscription, also when another one of the same client matches it.
    ///
    /// # Errors
    /// When the filter is unusable, the broker refuses it, or the connection has ended.
    pub async fn subscribe(&self, filter: &str, qos: Qos) -> Result<Subscription, ClientError> {
        let filter = Filter::new(filter)?;
        let subscription = match self.place(&filter, qos) {
            Some(subscription) => subscription,
            None => {
                let connection = driver::connect(&self.next_options()).await;
                let connection = connection
                    .map_err(|error| self.first.shared.disconnected(&error.to_string()))?;
                let subscription = connection.add(&filter, qos);
                self.more.lock().push(connection);
                subscription
            }
        };
        let shared = &subscription.shared;
        let notice = subscription
            .requests
            .subscribe_tracked(filter.as_str(), shared.qos_of(&filter, qos).into())
            .await
            .map_err(|error| shared.disconnected(&error))?;
        let answer = notice
            .wait_async()
            .await
            .map_err(|error| shared.disconnected(&error))?;
        let refused = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Failure);
        if answer.return_codes.iter().any(refused) {
            return Err(ClientError::SubscriptionRefused {
                filter: filter.to_string(),
            });
        }
        Ok(subscription)
    }

    /// The client identifier.
    pub fn client_id(&self) -> &str {
        self.first.shared.client_id()
    }

    /// Whether it is connected now, with all its connections.
    pub fn is_connected(&self) -> bool {
        let more = self.more.lock();
        self.first.shared.is_connected() && more.iter().all(|each| each.shared.is_connected())
    }

    /// Messages that came so far, whatever subscription they were for.
    pub fn received(&self) -> u64 {
        let more = self.more.lock();
        let more: u64 = more.iter().map(|each| each.shared.received()).sum();
        self.first.shared.received() + more
    }

    /// Ends politely: DISCONNECT, so that the broker discards the will. Waits until it has left. Messages
    /// already received can still be read from the subscriptions.
    ///
    /// # Errors
    /// When the connection had already ended.
    pub async fn disconnect(self) -> Result<(), ClientError> {
        for connection in self.more.into_inner() {
            // One that has ended already was no more than a help.
            let _ = connection.disconnect().await;
        }
        self.first.disconnect().await
    }

    /// Enters a subscription with the first connection where its filter overlaps with no other one. Known
    /// there before SUBSCRIBE leaves, since retained messages may come before SUBACK is seen.
    fn place(&self, filter: &Filter, qos: Qos) -> Option<Subscription> {
        let more = self.more.lock();
        std::iter::once(&self.first)
            .chain(more.iter())
            .find(|connection| connection.shared.has_room_for(filter))
            .map(|connection| connection.add(filter, qos))
    }

    /// How the next connection connects: as the first, but without what must be there once only.
    fn next_options(&self) -> ConnectOptions {
        let number = self.more.lock().len() + 2;
        ConnectOptions {
            client_id: format!("{}-{number}", self.options.client_id),
            clean_session: true,
            will: None,
            ..self.options.clone()
        }
    }
}

impl Connection {
    fn add(&self, filter: &Filter, qos: Qos) -> Subscription {
        let requests = self.requests.clone();
        self.shared.add(filter.clone(), qos, requests)
    }

    async fn disconnect(mut self) -> Result<(), ClientError> {
        self.shared.end_is_wanted();
        self.requests
            .disconnect()
            .await
            .map_err(|error| self.shared.disconnected(&error))?;
        let _ = (&mut self.task).await;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.end("the client was dropped");
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("client_id", &self.client_id())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// What a subscription's queue is made of.
type Queue = mpsc::Sender<Message>;
