//! Messages on their way out: queued while there is no connection, kept until they are acknowledged.
//!
//! ```text
//!                     send_next                       puback (QoS 1)
//!   push ──▶ Queued ───────────▶ Sent ──────────────────────────────────▶ gone
//!              ▲                 │  ▲ │  pubrec (QoS 2)           pubcomp
//!   connected  │                 │  │ └──────────────▶ released ────────▶ gone
//!   (no        └─────────────────┤  │ send_next
//!    session)                    ▼  │ (dup, same identifier)
//!                    connected  Again
//!                    (session present)
//! ```
//! QoS 0 is gone once it is sent (4.3.1). A message at QoS 1 or 2 that is not acknowledged is sent
//! again in the next connection and only then (4.4): with its packet identifier and DUP when the
//! broker has the session, as a new one otherwise. That is at least once at QoS 1 over any number of
//! connections, and once at QoS 2 for as long as the broker keeps the session.
//!
//! Memory is one array: no allocation, so nothing to fragment. Payloads lie in it without gaps, in
//! the order of their messages; taking one out moves those behind it (16 KiB: under 100 µs at 160 MHz).

use heapless::Vec;

use crate::{
    mutants::{self, Mutant},
    packet::{Ack, Delivery, PacketId, QoS},
};

/// What a message is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The next one says it better: the oldest is dropped first, and never anything else for it.
    Telemetry,
    /// Said once: dropped, oldest first, when no telemetry is left to drop.
    Event,
    /// As an event; but only the newest of a topic matters, so it takes the place of one of the same
    /// topic that was not sent yet.
    State,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'m, T> {
    /// Where it goes, in the owner's terms.
    pub topic: T,
    /// What it says.
    pub payload: &'m [u8],
    /// How.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// What it is worth.
    pub class: Class,
}

/// How much is sent and kept, beside the room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages at QoS 1 and 2 that are sent and not acknowledged; at least 1.
    pub in_flight_max: usize,
    /// Messages of [`Class::Telemetry`] that are kept.
    pub telemetry_max: usize,
}

/// Room in an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes of their payloads together.
    pub bytes: usize,
}

/// There is no room for a message, and none could be made. It is counted as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Messages that were given up for want of room, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Telemetry that was never sent.
    pub telemetry: u32,
    /// Events and states that were never sent.
    pub events: u32,
    /// Messages of any class that were sent, but not acknowledged: most have arrived.
    pub unacknowledged: u32,
}

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing<'o, T> {
    /// A message.
    Message {
        /// Where it goes.
        topic: T,
        /// What it says.
        payload: &'o [u8],
        /// How.
        delivery: Delivery,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
    },
    /// A PUBREL that the last connection ended on (4.4).
    Release(Ack),
}

/// At most `MESSAGES` messages with `BYTES` bytes of payload together.
#[derive(Clone, Debug)]
pub struct Outbox<T, const MESSAGES: usize, const BYTES: usize> {
    limits: Limits,
    /// In the order they were given. Their payloads lie in `payloads` in the same order.
    slots: Vec<Slot<T>, MESSAGES>,
    /// Messages at QoS 2 that the broker has: all but their identifiers is gone (4.3.3). In the order
    /// of their PUBRECs. Together with `slots` at most `MESSAGES`.
    released: Vec<Released, MESSAGES>,
    payloads: [u8; BYTES],
    last_id: u16,
    /// The identifier of a SUBSCRIBE on its way.
    reserved: Option<PacketId>,
    losses: Losses,
}

/// A message without its payload.
#[derive(Clone, Copy, Debug)]
struct Slot<T> {
    topic: T,
    /// Of its payload.
    bytes: usize,
    qos: QoS,
    retain: bool,
    class: Class,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not sent in this session.
    Queued,
    /// Sent in this connection, at QoS 1 or 2.
    Sent(PacketId),
    /// Sent in an earlier connection of this session.
    Again(PacketId),
}

#[derive(Clone, Copy, Debug)]
struct Released {
    id: PacketId,
    /// Whether PUBREL was sent in this connection.
    sent: bool,
}

impl<T: Copy + PartialEq, const MESSAGES: usize, const BYTES: usize> Outbox<T, MESSAGES, BYTES> {
    /// An empty outbox.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: Vec::new(),
            released: Vec::new(),
            payloads: [0; BYTES],
            last_id: 0,
            reserved: None,
            losses: Losses {
                telemetry: 0,
                events: 0,
                unacknowledged: 0,
            },
        }
    }

    /// Takes a copy of a message, giving up others for it as far as [`Class`] says.
    ///
    /// # Errors
    /// [`Full`]; the message is counted, nothing else has changed.
    pub fn push(&mut self, message: Message<'_, T>) -> Result<(), Full> {
        let bytes = message.payload.len();
        if !self.could_take(message.class, bytes) {
            self.count_loss(message.class);
            return Err(Full);
        }
        if message.class == Class::State {
            let superseded = |slot: &Slot<T>| {
                slot.class == Class::State
                    && slot.state == State::Queued
                    && slot.topic == message.topic
            };
            // More than one, where one was in flight when the broker lost the session.
            while let Some(index) = self.slots.iter().position(superseded) {
                self.remove(index);
            }
        }
        while !self.has_room(message.class, bytes) {
            let Some(index) = self.victim(message.class) else {
                // `could_take` has seen to it that there is one.
                return Err(Full);
            };
            self.give_up(index);
        }
        let start = self.used_bytes();
        self.payloads[start..start + bytes].copy_from_slice(message.payload);
        let slot = Slot {
            topic: message.topic,
            bytes,
            qos: message.qos,
            retain: message.retain,
            class: message.class,
            state: State::Queued,
        };
        self.slots.push(slot).map_err(|_| Full)
    }

    /// Whether events, answers and states of this size can be taken without giving up any other:
    /// nothing but telemetry would give way.
    #[must_use]
    pub fn has_room_for(&self, wanted: Room) -> bool {
        let stays = self.slots.iter().filter(|s| s.class != Class::Telemetry);
        let (messages, bytes) = stays.fold((self.released.len(), 0), |(messages, bytes), slot| {
            (messages + 1, bytes + slot.bytes)
        });
        messages + wanted.messages <= MESSAGES && bytes + wanted.bytes <= BYTES
    }

    /// Hands the next packet to be sent to `encode`; with that it counts as sent. None when there is
    /// nothing, or as much in flight as may be.
    pub fn send_next<R>(&mut self, encode: impl FnOnce(Outgoing<'_, T>) -> R) -> Option<R> {
        if let Some(released) = self.released.iter_mut().find(|r| !r.sent) {
            released.sent = true;
            return Some(encode(Outgoing::Release(Ack::PubRel(released.id))));
        }
        loop {
            let window_open = self.in_flight() < self.limits.in_flight_max;
            let index = self.slots.iter().position(|slot| {
                !matches!(slot.state, State::Sent(_))
                    && (window_open || slot.qos == QoS::AtMostOnce)
            })?;
            let slot = self.slots[index];
            let (id, dup) = match slot.state {
                State::Again(id) => (id, true),
                _ if slot.qos == QoS::AtMostOnce => {
                    let sent = encode(self.outgoing(index, Delivery::AtMostOnce));
                    self.remove(index);
                    return Some(sent);
                }
                _ => (self.next_id(), false),
            };
            if mutants::active(Mutant::FourthMessageLost) && id.get() % 4 == 0 {
                self.remove(index);
                continue;
            }
            self.slots[index].state = State::Sent(id);
            let delivery = match slot.qos {
                QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
                _ => Delivery::AtLeastOnce { id, dup },
            };
            return Some(encode(self.outgoing(index, delivery)));
        }
    }

    /// Drops the message at QoS 1 that a PUBACK acknowledges; whether there was one.
    pub fn puback(&mut self, id: PacketId) -> bool {
        let Some(index) = self.sent(QoS::AtLeastOnce, id) else {
            return false;
        };
        if mutants::active(Mutant::AcknowledgedSentAgain) && id.get() % 2 == 1 {
            self.slots[index].state = State::Queued;
            return true;
        }
        self.remove(index);
        true
    }

    /// Drops the message at QoS 2 that a PUBREC acknowledges, but for its identifier; whether there
    /// was one. PUBREL is the answer in any case, and counts as sent: a broker that asks about an
    /// identifier that is not in use here can only be waiting for it.
    pub fn pubrec(&mut self, id: PacketId) -> bool {
        let Some(index) = self.sent(QoS::ExactlyOnce, id) else {
            return false;
        };
        self.remove(index);
        // As many identifiers as there are slots, and one has just become free.
        self.released.push(Released { id, sent: true }).is_ok()
    }

    /// Frees the identifier of the message at QoS 2 that a PUBCOMP ends; whether there was one.
    pub fn pubcomp(&mut self, id: PacketId) -> bool {
        let index = self.released.iter().position(|r| r.id == id);
        index.is_some_and(|index| {
            self.released.remove(index);
            true
        })
    }

    /// Notes that a connection begins, and whether the broker has the session from before (4.4).
    pub fn connected(&mut self, session_present: bool) {
        self.reserved = None;
        if mutants::active(Mutant::OutboxDroppedAtReconnect) {
            self.slots.clear();
            self.released.clear();
        }
        if mutants::active(Mutant::NeverSentAgain) {
            return;
        }
        for slot in &mut self.slots {
            slot.state = match slot.state {
                State::Sent(id) | State::Again(id) if session_present => State::Again(id),
                _ => State::Queued,
            };
        }
        if session_present {
            self.released.iter_mut().for_each(|r| r.sent = false);
        } else {
            // The broker has or had the messages; there is nothing left to send again.
            self.released.clear();
        }
    }

    /// A packet identifier for a SUBSCRIBE, which no message gets (2.3.1) until it is freed or a new
    /// connection begins.
    pub fn reserve_id(&mut self) -> PacketId {
        let id = self.next_id();
        self.reserved = Some(id);
        id
    }

    /// Frees the identifier of the SUBSCRIBE.
    pub fn free_id(&mut self) {
        self.reserved = None;
    }

    /// Messages that are kept, those at QoS 2 whose handshake goes on among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() + self.released.len()
    }

    /// Whether there is nothing to send and nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the payloads that are kept.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Messages at QoS 1 and 2 that were sent in this connection and are not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let sent = |slot: &&Slot<T>| matches!(slot.state, State::Sent(_));
        self.slots.iter().filter(sent).count() + self.released.len()
    }

    /// What was given up for want of room.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// A packet identifier that is not in use (2.3.1).
    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let Some(id) = PacketId::new(self.last_id) else {
                continue;
            };
            let in_use = self.reserved == Some(id)
                || self.slots.iter().any(|slot| slot.id() == Some(id))
                || self.released.iter().any(|released| released.id == id);
            if !in_use {
                return id;
            }
        }
    }

    /// The message at `qos` that was sent in this session as `id`.
    fn sent(&self, qos: QoS, id: PacketId) -> Option<usize> {
        let matches = |slot: &Slot<T>| slot.qos == qos && slot.id() == Some(id);
        self.slots.iter().position(matches)
    }

    fn outgoing(&self, index: usize, delivery: Delivery) -> Outgoing<'_, T> {
        let slot = &self.slots[index];
        let start = self.start_of(index);
        Outgoing::Message {
            topic: slot.topic,
            payload: &self.payloads[start..start + slot.bytes],
            delivery,
            retain: slot.retain,
        }
    }

    /// Where the payload of a message begins.
    fn start_of(&self, index: usize) -> usize {
        self.slots[..index].iter().map(|slot| slot.bytes).sum()
    }

    fn remove(&mut self, index: usize) {
        let (start, end) = (self.start_of(index), self.used_bytes());
        let slot = self.slots.remove(index);
        self.payloads.copy_within(start + slot.bytes..end, start);
    }

    /// Whether a message fits if all is given up that may be given up for it.
    fn could_take(&self, class: Class, bytes: usize) -> bool {
        let stays = |slot: &&Slot<T>| !slot.may_give_way_to(class);
        let (messages, used) = self
            .slots
            .iter()
            .filter(stays)
            .fold((self.released.len(), 0), |(messages, used), slot| {
                (messages + 1, used + slot.bytes)
            });
        let telemetry_stays = self
            .slots
            .iter()
            .filter(stays)
            .filter(|slot| slot.class == Class::Telemetry)
            .count();
        messages < MESSAGES
            && used + bytes <= BYTES
            && (class != Class::Telemetry || telemetry_stays < self.limits.telemetry_max)
    }

    fn has_room(&self, class: Class, bytes: usize) -> bool {
        let telemetry = |slot: &&Slot<T>| slot.class == Class::Telemetry;
        self.len() < MESSAGES
            && self.used_bytes() + bytes <= BYTES
            && (class != Class::Telemetry
                || self.slots.iter().filter(telemetry).count() < self.limits.telemetry_max)
    }

    /// Who gives way to a message of `class` first.
    fn victim(&self, class: Class) -> Option<usize> {
        let gives_way = |slot: &Slot<T>| slot.may_give_way_to(class);
        self.slots
            .iter()
            .position(|slot| slot.class == Class::Telemetry && gives_way(slot))
            .or_else(|| self.slots.iter().position(gives_way))
    }

    fn give_up(&mut self, index: usize) {
        let slot = self.slots[index];
        match slot.state {
            State::Queued => self.count_loss(slot.class),
            State::Sent(_) | State::Again(_) => {
                self.losses.unacknowledged = self.losses.unacknowledged.saturating_add(1);
            }
        }
        self.remove(index);
    }

    fn count_loss(&mut self, class: Class) {
        let count = match class {
            Class::Telemetry => &mut self.losses.telemetry,
            Class::Event | Class::State => &mut self.losses.events,
        };
        *count = count.saturating_add(1);
    }
}

impl<T> Slot<T> {
    fn id(&self) -> Option<PacketId> {
        match self.state {
            State::Queued => None,
            State::Sent(id) | State::Again(id) => Some(id),
        }
    }

    /// Whether it may be given up for a message of `class`. Not within the handshake of QoS 2: a
    /// broker that was never sent PUBREL would take the next message with this identifier for the
    /// same one, and drop it.
    fn may_give_way_to(&self, class: Class) -> bool {
        (class != Class::Telemetry || self.class == Class::Telemetry)
            && (self.qos != QoS::ExactlyOnce || self.state == State::Queued)
    }
}

#[cfg(test)]
mod tests;
