//! What a subscription receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rumqttc::AsyncClient;
use tokio::sync::mpsc;

use super::Qos;
use super::driver::Shared;
use crate::topic::Filter;

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
    /// The quality of service it was delivered with.
    pub qos: Qos,
    /// Whether the broker had kept it before the subscription.
    pub retain: bool,
    /// Whether the broker says that it sends it again.
    pub dup: bool,
    /// When it came.
    pub received_at: Instant,
    /// Its place among all messages of the client, from 0.
    pub sequence: u64,
}

impl Message {
    /// The payload as text, with what is no UTF-8 replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.payload)
    }
}

/// Messages whose topic matches one filter. Unsubscribes when dropped.
pub struct Subscription {
    pub(super) id: u64,
    pub(super) filter: Filter,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) overflowed: Arc<AtomicU64>,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: AsyncClient,
}

impl Subscription {
    /// The next message; `None` once the client has ended and everything was read. May be cancelled.
    pub async fn recv(&mut self) -> Option<Message> {
        self.queue.recv().await
    }

    /// The next message if there is one.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.queue.try_recv().ok()
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Messages dropped because the queue was full. Unless it is zero, nothing may be said about what did
    /// not come.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.shared.remove(self.id)
            && self.requests.try_unsubscribe(self.filter.as_str()).is_err()
        {
            tracing::debug!(filter = %self.filter, "not unsubscribed: the client has ended or is busy");
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("filter", &self.filter.as_str())
            .field("overflowed", &self.overflowed())
            .finish_non_exhaustive()
    }
}
