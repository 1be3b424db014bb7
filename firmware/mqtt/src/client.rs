//! The client's half of the protocol: what a packet means, what is to be answered, what is due.
//!
//! ```text
//!            connect              CONNACK 0
//!   Closed ───────────▶ Connecting ─────────▶ Open ─── subscribe, send_next, poll ───┐
//!      ▲                    │ CONNACK 1-5      │ ▲                                    │
//!      └────────────────────┴──────────────────┘ └────────────────────────────────────┘
//!              closed, a Violation
//! ```
//! A session (4.1) may outlast its connections: with `clean_session` off the broker keeps the
//! subscriptions, the messages that come meanwhile and what it knows of handshakes, and says at the
//! next CONNACK whether it still does. So does this client, in memory: a restart loses its half. It may
//! then go on with the broker's half all the same (3.2.2.2), but one that publishes at QoS 2 must
//! not: the broker could take a new message for one it knows. A connection with `clean_session` on
//! that is ended with DISCONNECT makes the broker forget.

use crate::{
    inbox::{Inbox, TooManyUnreleased},
    keep_alive::{Due, KeepAlive},
    mutants::{self, Mutant},
    outbox::{Full, Limits, Losses, Message, Outbox, Outgoing, Room},
    packet::{Ack, Connect, Delivery, EncodeError, Filter, PacketId, Subscribe},
    reader::{Packet, ReturnCodes},
};

/// What a packet means to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'p> {
    /// Nothing.
    Nothing,
    /// The broker accepted the connection.
    Connected {
        /// Whether it has the session from before; its subscriptions then are as they were.
        session_present: bool,
    },
    /// The broker refused the connection.
    Refused {
        /// Return code, table 3.1.
        code: u8,
    },
    /// The broker answered the SUBSCRIBE.
    Subscribed {
        /// One for each filter, in order.
        codes: ReturnCodes<'p>,
    },
    /// A message has come. At QoS 2 it comes here once, however often the broker sends it.
    Message {
        /// Where it was published.
        topic: &'p str,
        /// What it says, or as much of its beginning as there was room for.
        payload: &'p [u8],
        /// Bytes of the whole payload.
        payload_bytes: usize,
        /// Whether the broker had kept it.
        retain: bool,
    },
}

/// What a packet means, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'p> {
    /// To be handled first: what is acknowledged will not come again.
    pub event: Event<'p>,
    /// To be sent then.
    pub answer: Option<Ack>,
}

/// The broker does what the standard forbids; the connection is to be closed (4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Something else came before CONNACK (3.2).
    NoConnAck,
    /// CONNACK came again.
    SecondConnAck,
    /// SUBACK came to no SUBSCRIBE, or with more or fewer return codes than filters (3.9.3).
    SubAck,
    /// More messages at QoS 2 are unreleased than this client remembers: no violation of the
    /// standard, but no way to go on either.
    TooManyUnreleased,
}

impl Violation {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoConnAck => "something else came before CONNACK",
            Self::SecondConnAck => "a second CONNACK",
            Self::SubAck => "a SUBACK to no SUBSCRIBE",
            Self::TooManyUnreleased => "too many unreleased messages at QoS 2",
        }
    }
}

/// A client with an [`Outbox`] of `MESSAGES` messages and `BYTES` bytes. Times are milliseconds on
/// any clock that goes on evenly.
#[derive(Clone, Debug)]
pub struct Client<T, const MESSAGES: usize, const BYTES: usize> {
    outbox: Outbox<T, MESSAGES, BYTES>,
    inbox: Inbox,
    keep_alive: KeepAlive,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Connecting { clean_session: bool },
    Open { subscribing: Option<Subscribing> },
}

/// A SUBSCRIBE that is not answered.
#[derive(Clone, Copy, Debug)]
struct Subscribing {
    id: PacketId,
    filters: usize,
}

impl<T: Copy + PartialEq, const MESSAGES: usize, const BYTES: usize> Client<T, MESSAGES, BYTES> {
    /// A client without a connection and without a session.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            outbox: Outbox::new(limits),
            inbox: Inbox::new(),
            keep_alive: KeepAlive::new(0, 0),
            phase: Phase::Closed,
        }
    }

    /// Begins a connection: the CONNECT to be sent first, within `buffer`.
    ///
    /// # Errors
    /// [`EncodeError`]; no connection begins.
    pub fn connect<'b>(
        &mut self,
        connect: &Connect<'_>,
        now_ms: u64,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], EncodeError> {
        self.closed();
        let packet = connect.encode(buffer)?;
        self.keep_alive = KeepAlive::new(connect.keep_alive_s, now_ms);
        self.phase = Phase::Connecting {
            clean_session: connect.clean_session,
        };
        Ok(packet)
    }

    /// Notes that the connection is gone.
    pub fn closed(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Whether the broker has accepted the connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// The SUBSCRIBE to be sent, within `buffer`; one at a time. Messages may come before it is
    /// answered (3.8.4).
    ///
    /// # Errors
    /// [`EncodeError`], [`EncodeError::OutOfTurn`] when the connection is not open or another SUBSCRIBE
    /// not answered; nothing has changed.
    pub fn subscribe<'b>(
        &mut self,
        filters: &[Filter<'_>],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], EncodeError> {
        let Phase::Open {
            subscribing: subscribing @ None,
        } = &mut self.phase
        else {
            return Err(EncodeError::OutOfTurn);
        };
        let id = self.outbox.reserve_id();
        let packet = Subscribe { id, filters }.encode(buffer);
        match packet {
            Ok(_) => {
                let filters = filters.len();
                *subscribing = Some(Subscribing { id, filters });
            }
            Err(_) => self.outbox.free_id(),
        }
        packet
    }

    /// Whether a SUBSCRIBE is not answered.
    #[must_use]
    pub fn is_subscribing(&self) -> bool {
        matches!(
            self.phase,
            Phase::Open {
                subscribing: Some(_)
            }
        )
    }

    /// Takes a packet from the broker.
    ///
    /// # Errors
    /// [`Violation`]; the connection counts as gone.
    pub fn receive<'p>(&mut self, packet: Packet<'p>) -> Result<Received<'p>, Violation> {
        let received = match self.phase {
            Phase::Closed => Err(Violation::NoConnAck),
            Phase::Connecting { clean_session } => self.receive_connack(packet, clean_session),
            Phase::Open { subscribing } => self.receive_open(packet, subscribing),
        };
        if received.is_err() {
            self.closed();
        }
        received
    }

    fn receive_connack<'p>(
        &mut self,
        packet: Packet<'p>,
        clean_session: bool,
    ) -> Result<Received<'p>, Violation> {
        match packet {
            Packet::ConnAck {
                session_present,
                code: 0,
            } => {
                // What was not asked for is not there (3.2.2.2).
                let session_present = session_present && !clean_session;
                if !session_present {
                    self.inbox.clear();
                }
                self.outbox.connected(session_present);
                self.phase = Phase::Open { subscribing: None };
                Ok(Event::Connected { session_present }.into())
            }
            Packet::ConnAck { code, .. } => {
                self.closed();
                Ok(Event::Refused { code }.into())
            }
            _ => Err(Violation::NoConnAck),
        }
    }

    fn receive_open<'p>(
        &mut self,
        packet: Packet<'p>,
        subscribing: Option<Subscribing>,
    ) -> Result<Received<'p>, Violation> {
        let answer = match packet {
            Packet::ConnAck { .. } => return Err(Violation::SecondConnAck),
            Packet::Publish {
                topic,
                payload,
                payload_bytes,
                delivery,
                retain,
            } => {
                let message = Event::Message {
                    topic,
                    payload,
                    payload_bytes,
                    retain,
                };
                return self.receive_message(message, delivery);
            }
            Packet::PubAck { id } => {
                self.outbox.puback(id);
                None
            }
            Packet::PubRec { id } => {
                self.outbox.pubrec(id);
                Some(Ack::PubRel(id))
            }
            Packet::PubRel { id } => {
                self.inbox.release(id);
                // Also when it was released before: the answer was lost (4.3.3).
                Some(Ack::PubComp(id))
            }
            Packet::PubComp { id } => {
                self.outbox.pubcomp(id);
                None
            }
            Packet::SubAck { id, codes } => {
                let expected = subscribing.filter(|s| s.id == id && s.filters == codes.len());
                if expected.is_none() {
                    return Err(Violation::SubAck);
                }
                self.outbox.free_id();
                self.phase = Phase::Open { subscribing: None };
                return Ok(Event::Subscribed { codes }.into());
            }
            Packet::PingResp => {
                self.keep_alive.pong();
                None
            }
        };
        Ok(Received {
            event: Event::Nothing,
            answer,
        })
    }

    fn receive_message<'p>(
        &mut self,
        message: Event<'p>,
        delivery: Delivery,
    ) -> Result<Received<'p>, Violation> {
        let (event, answer) = match delivery {
            Delivery::AtMostOnce => (message, None),
            Delivery::AtLeastOnce { .. } if mutants::active(Mutant::PubAckNeverSent) => {
                (message, None)
            }
            // 4.3.2: a message that comes again is a new one, whatever its DUP says.
            Delivery::AtLeastOnce { id, .. } => (message, Some(Ack::PubAck(id))),
            Delivery::ExactlyOnce { id, .. } => {
                let is_new = self
                    .inbox
                    .remember(id)
                    .map_err(|TooManyUnreleased| Violation::TooManyUnreleased)?;
                let event = if is_new { message } else { Event::Nothing };
                (event, Some(Ack::PubRec(id)))
            }
        };
        Ok(Received { event, answer })
    }

    /// Takes a copy of a message to be sent now or later: see [`Outbox::push`].
    ///
    /// # Errors
    /// [`Full`]; the message is counted as lost.
    pub fn push(&mut self, message: Message<'_, T>) -> Result<(), Full> {
        self.outbox.push(message)
    }

    /// Whether an event of at most `bytes` is to be pushed now. With a connection not while another
    /// event would give way to it, or it would take the room that is reserved for answers: whoever has
    /// it keeps it until acknowledgements have made room. Without a connection always: what then gives
    /// way is bounded and counted, and the newest say how things are.
    #[must_use]
    pub fn takes_event(&self, bytes: usize, reserved: Room) -> bool {
        let wanted = Room {
            messages: 1 + reserved.messages,
            bytes: bytes + reserved.bytes,
        };
        !self.is_open() || self.outbox.has_room_for(wanted)
    }

    /// A packet identifier for a last message that does not pass through the outbox, as nobody will be
    /// there to take its acknowledgement. No message gets it before the next connection.
    pub fn last_id(&mut self) -> PacketId {
        self.outbox.reserve_id()
    }

    /// Hands the next packet to be sent to `encode`: see [`Outbox::send_next`]. None without an open
    /// connection.
    pub fn send_next<R>(&mut self, encode: impl FnOnce(Outgoing<'_, T>) -> R) -> Option<R> {
        if !self.is_open() {
            return None;
        }
        self.outbox.send_next(encode)
    }

    /// The messages that are kept.
    #[must_use]
    pub fn outbox(&self) -> &Outbox<T, MESSAGES, BYTES> {
        &self.outbox
    }

    /// What was given up for want of room.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.outbox.losses()
    }

    /// Notes that a packet was sent.
    pub fn sent(&mut self, now_ms: u64) {
        self.keep_alive.sent(now_ms);
    }

    /// What the keep-alive asks for at `now_ms`; a [`Due::Ping`] is taken for sent.
    pub fn poll(&mut self, now_ms: u64) -> Due {
        if self.is_open() {
            self.keep_alive.poll(now_ms)
        } else {
            Due::Nothing
        }
    }

    /// When [`Client::poll`] has something to say; none without keep-alive or connection.
    #[must_use]
    pub fn poll_at(&self) -> Option<u64> {
        self.keep_alive.poll_at().filter(|_| self.is_open())
    }
}

impl<'p> From<Event<'p>> for Received<'p> {
    fn from(event: Event<'p>) -> Self {
        Self {
            event,
            answer: None,
        }
    }
}

#[cfg(test)]
mod tests;
