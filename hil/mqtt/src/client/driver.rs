//! The task that owns a client's connection, and what it shares with the client.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, Outgoing, Publish,
    SubscribeFilter,
};
use tokio::sync::mpsc;

use super::{ConnectOptions, Connection, Message, Qos, Queue, Reconnect, Subscription};
use crate::error::{ClientError, ConnectError};
use crate::observer::{Observed, Observer};
use crate::topic::Filter;

/// What client, subscriptions and task have in common.
pub(super) struct Shared {
    client_id: String,
    observer: Option<Observer>,
    connected: AtomicBool,
    end_is_wanted: AtomicBool,
    received: AtomicU64,
    queue_messages: usize,
    state: Mutex<State>,
}

struct State {
    subscriptions: Vec<Subscriber>,
    next_id: u64,
    /// Why the client has ended, once it has.
    ended: Option<String>,
}

struct Subscriber {
    id: u64,
    filter: Filter,
    qos: Qos,
    queue: Queue,
    overflowed: Arc<AtomicU64>,
    /// Topics whose retained message it has had on this connection: another subscription of the client
    /// makes the broker send them again.
    retained: HashSet<String>,
}

/// Connects, and starts the task.
pub(super) async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let library = options.client_options()?;
    let address = options.address();
    let (requests, mut connection) =
        AsyncClient::builder(library)
            .try_build()
            .map_err(|error| ConnectError::Options {
                what: error.to_string(),
            })?;
    let mut network = connection.network_options();
    network.set_tcp_nodelay(true);
    connection.set_network_options(network);

    let session_present = tokio::time::timeout(options.timeout, first_answer(&mut connection))
        .await
        .map_err(|_| ConnectError::NoAnswer {
            address: address.clone(),
            after: options.timeout,
        })?
        .map_err(|error| explain(error, &address, options))?;

    let shared = Arc::new(Shared {
        client_id: options.client_id.clone(),
        observer: options.observer.clone(),
        connected: AtomicBool::new(true),
        end_is_wanted: AtomicBool::new(false),
        received: AtomicU64::new(0),
        queue_messages: options.queue_messages.max(1),
        state: Mutex::new(State {
            subscriptions: Vec::new(),
            next_id: 0,
            ended: None,
        }),
    });
    shared.observe(&Observed::Connected {
        client_id: &shared.client_id,
        session_present,
        at: Instant::now(),
    });
    let task = tokio::spawn(drive(
        connection,
        requests.clone(),
        Arc::clone(&shared),
        options.reconnect,
    ));
    Ok(Connection {
        requests,
        shared,
        task,
    })
}

/// Polls until CONNACK; gives whether the broker had kept a session.
async fn first_answer(connection: &mut EventLoop) -> Result<bool, ConnectionError> {
    loop {
        if let Event::Incoming(Incoming::ConnAck(answer)) = connection.poll().await? {
            return Ok(answer.session_present);
        }
    }
}

/// Receives until the end.
async fn drive(
    mut connection: EventLoop,
    requests: AsyncClient,
    shared: Arc<Shared>,
    reconnect: Reconnect,
) {
    loop {
        let reason = match connection.poll().await {
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                shared.dispatch(publish);
                continue;
            }
            Ok(Event::Incoming(Incoming::ConnAck(answer))) => {
                shared.reconnected(answer.session_present, &requests);
                continue;
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => {
                shared.end("it has disconnected as asked");
                return;
            }
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        if shared.end_is_wanted.load(Ordering::SeqCst) {
            shared.end("it has disconnected as asked");
            return;
        }
        match reconnect {
            Reconnect::Never => {
                shared.end(&reason);
                return;
            }
            Reconnect::After(pause) => {
                shared.interrupted(&reason);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

impl Shared {
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::SeqCst)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    pub(super) fn observe(&self, what: &Observed<'_>) {
        if let Some(observer) = &self.observer {
            observer(what);
        }
    }

    pub(super) fn end_is_wanted(&self) {
        self.end_is_wanted.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// The error of whoever asked something of a client that has ended, or is just ending.
    pub(super) fn disconnected(&self, otherwise: &dyn Display) -> ClientError {
        let ended = self.state.lock().ended.clone();
        ClientError::Disconnected {
            client_id: self.client_id.clone(),
            reason: ended.unwrap_or_else(|| otherwise.to_string()),
        }
    }

    /// Ends the client: subscriptions end once they are read empty. Only the first reason counts.
    pub(super) fn end(&self, reason: &str) {
        {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(reason.to_owned());
            state.subscriptions.clear();
        }
        self.interrupted(reason);
    }

    fn interrupted(&self, reason: &str) {
        if self.connected.swap(false, Ordering::SeqCst) {
            self.observe(&Observed::Disconnected {
                client_id: &self.client_id,
                reason,
                at: Instant::now(),
            });
        }
    }

    fn reconnected(&self, session_present: bool, requests: &AsyncClient) {
        self.connected.store(true, Ordering::SeqCst);
        self.observe(&Observed::Connected {
            client_id: &self.client_id,
            session_present,
            at: Instant::now(),
        });
        let mut state = self.state.lock();
        for subscriber in &mut state.subscriptions {
            subscriber.retained.clear();
        }
        if session_present || state.subscriptions.is_empty() {
            return;
        }
        // Of one filter's two subscriptions the later one counts: the higher quality of service.
        state.subscriptions.sort_by_key(|known| known.qos);
        let again: Vec<SubscribeFilter> = (state.subscriptions.iter())
            .map(|known| SubscribeFilter::new(known.filter.to_string(), known.qos.into()))
            .collect();
        let requests = requests.clone();
        // Not from this task: it is the one that empties the queue of requests.
        tokio::spawn(async move {
            if let Err(error) = requests.subscribe_many(again).await {
                tracing::warn!(%error, "can't subscribe again after a reconnect");
            }
        });
    }

    pub(super) fn add(
        self: &Arc<Self>,
        filter: Filter,
        qos: Qos,
        requests: AsyncClient,
    ) -> Subscription {
        let (sender, queue) = mpsc::channel(self.queue_messages);
        let overflowed = Arc::new(AtomicU64::new(0));
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        if state.ended.is_none() {
            state.subscriptions.push(Subscriber {
                id,
                filter: filter.clone(),
                qos,
                queue: sender,
                overflowed: Arc::clone(&overflowed),
                retained: HashSet::new(),
            });
        }
        Subscription {
            id,
            filter,
            queue,
            overflowed,
            shared: Arc::clone(self),
            requests,
        }
    }

    /// Whether `filter` overlaps with no other one here. The same filter again is one subscription to the
    /// broker.
    pub(super) fn has_room_for(&self, filter: &Filter) -> bool {
        let state = self.state.lock();
        let mut others = state.subscriptions.iter().map(|known| &known.filter);
        others.all(|other| other == filter || !other.overlaps(filter))
    }

    /// The quality of service to ask for: a filter's second subscription replaces the first one at the
    /// broker and must not lower it.
    pub(super) fn qos_of(&self, filter: &Filter, qos: Qos) -> Qos {
        let state = self.state.lock();
        let same = state
            .subscriptions
            .iter()
            .filter(|known| known.filter == *filter);
        same.map(|known| known.qos).fold(qos, Qos::max)
    }

    /// Forgets a subscription. True when the broker should forget its filter too.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(place) = state.subscriptions.iter().position(|known| known.id == id) else {
            return false;
        };
        let removed = state.subscriptions.swap_remove(place);
        (state.subscriptions.iter()).all(|known| known.filter != removed.filter)
    }

    /// Gives a message to every subscription it matches.
    fn dispatch(&self, publish: Publish) {
        let message = Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            qos: publish.qos.into(),
            retain: publish.retain,
            dup: publish.dup,
            received_at: Instant::now(),
            sequence: self.received.fetch_add(1, Ordering::SeqCst),
        };
        self.observe(&Observed::Received {
            client_id: &self.client_id,
            message: &message,
        });
        let mut overflowed = Vec::new();
        for subscriber in &mut self.state.lock().subscriptions {
            let wanted = subscriber.filter.matches(&message.topic)
                && (!message.retain || subscriber.retained.insert(message.topic.clone()));
            if wanted && subscriber.queue.try_send(message.clone()).is_err() {
                subscriber.overflowed.fetch_add(1, Ordering::Relaxed);
                overflowed.push(subscriber.filter.clone());
            }
        }
        // Outside the lock: an observer may ask the client something.
        for filter in &overflowed {
            self.observe(&Observed::Overflowed {
                client_id: &self.client_id,
                filter: filter.as_str(),
                message: &message,
            });
        }
    }
}

/// Says in words why there is no connection.
fn explain(error: ConnectionError, address: &str, options: &ConnectOptions) -> ConnectError {
    let address = address.to_owned();
    match error {
        ConnectionError::ConnectionRefused(code) => ConnectError::Refused {
            address,
            client_id: options.client_id.clone(),
            reason: refusal(code, options.credentials.is_some()),
        },
        ConnectionError::Io(source) => match source.kind() {
            ErrorKind::ConnectionRefused => ConnectError::NobodyListens { address },
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => ConnectError::Broken {
                address,
                reason: source.to_string(),
            },
            _ => ConnectError::NoSuchHost { address, source },
        },
        ConnectionError::NetworkTimeout => ConnectError::NoAnswer {
            address,
            after: options.timeout,
        },
        other => ConnectError::Broken {
            address,
            reason: other.to_string(),
        },
    }
}

/// The return codes of CONNACK (MQTT 3.1.1 table 3.1), each with what to do.
fn refusal(code: ConnectReturnCode, with_credentials: bool) -> &'static str {
    match code {
        ConnectReturnCode::Success => "it said yes and hung up",
        ConnectReturnCode::RefusedProtocolVersion => {
            "it does not speak MQTT 3.1.1; choose a broker that does"
        }
        ConnectReturnCode::BadClientId => {
            "it does not accept this client identifier; choose another one"
        }
        ConnectReturnCode::ServiceUnavailable => "it is not available now; try again later",
        ConnectReturnCode::BadUserNamePassword => {
            "the user name or password is wrong; correct the credentials"
        }
        ConnectReturnCode::NotAuthorized if with_credentials => {
            "this account may not connect; correct the credentials or the broker's access list"
        }
        ConnectReturnCode::NotAuthorized => "it wants an account; give a user name and a password",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_words() {
        use ConnectReturnCode::{
            BadClientId, BadUserNamePassword, NotAuthorized, RefusedProtocolVersion,
            ServiceUnavailable, Success,
        };
        let codes = [
            Success,
            RefusedProtocolVersion,
            BadClientId,
            ServiceUnavailable,
            BadUserNamePassword,
            NotAuthorized,
        ];
        let words: HashSet<&str> = codes.map(|code| refusal(code, true)).into_iter().collect();
        assert_eq!(words.len(), codes.len());
        assert_ne!(refusal(NotAuthorized, true), refusal(NotAuthorized, false));
    }
}
