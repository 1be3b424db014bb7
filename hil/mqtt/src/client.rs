//! The host's MQTT client: everything it is told to do is acknowledged, everything that comes is numbered.
//!
//! A task of its own polls the connection, so that publishing never waits for receiving. Messages go to
//! every [`Subscription`] whose filter matches, each with its own bounded queue; one that is not read loses
//! messages of its own only, and counts them.

mod driver;
mod options;
mod subscription;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
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
    requests: AsyncClient,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    packet_bytes_max: usize,
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
        let packet_bytes_max = options.packet_bytes_max;
        let (requests, shared, task) = driver::connect(options).await?;
        Ok(Self {
            requests,
            shared,
            task,
            packet_bytes_max,
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
        if bytes + topic.as_str().len() + PACKET_OVERHEAD_BYTES > self.packet_bytes_max {
            return Err(ClientError::TooLarge {
                topic: topic.to_string(),
                bytes,
                limit: self.packet_bytes_max,
            });
        }
        let sent_at = Instant::now();
        self.shared.observe(&Observed::Sending {
            client_id: self.client_id(),
            topic: topic.as_str(),
            payload: &payload,
            qos,
            retain,
            at: sent_at,
        });
        let how = PublishOptions::new(qos.into()).retain(retain);
        let notice = self
            .requests
            .publish_tracked(topic.as_str(), payload, how)
            .await
            .map_err(|error| self.shared.disconnected(&error))?;
        match notice.wait_completion_async().await {
            Ok(()) => Ok(Published {
                sent_at,
                acknowledged_at: Instant::now(),
            }),
            Err(_) if self.shared.has_ended() => Err(self.shared.disconnected(&"it has ended")),
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
        // Known before SUBSCRIBE leaves, since retained messages may come before SUBACK is seen.
        let subscription = self.shared.add(filter.clone(), qos, self.requests.clone());
        let notice = self
            .requests
            .subscribe_tracked(filter.as_str(), qos.into())
            .await
            .map_err(|error| self.shared.disconnected(&error))?;
        let answer = notice
            .wait_async()
            .await
            .map_err(|error| self.shared.disconnected(&error))?;
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
        self.shared.client_id()
    }

    /// Whether it is connected now.
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected()
    }

    /// Messages that came so far, whatever subscription they were for.
    pub fn received(&self) -> u64 {
        self.shared.received()
    }

    /// Ends politely: DISCONNECT, so that the broker discards the will. Waits until it has left. Messages
    /// already received can still be read from the subscriptions.
    ///
    /// # Errors
    /// When the connection had already ended.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.shared.end_is_wanted();
        self.requests
            .disconnect()
            .await
            .map_err(|error| self.shared.disconnected(&error))?;
        let _ = (&mut self.task).await;
        Ok(())
    }
}

impl Drop for Client {
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
