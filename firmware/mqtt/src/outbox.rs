//! Messages at QoS 1, kept until the broker has acknowledged them (4.3.2).
//!
//! Sessions are clean ones, so a broker that comes back knows nothing: what was not acknowledged is
//! sent again as new. That is at least once, over reconnects too, within what the outbox holds.

use alloc::{collections::VecDeque, vec::Vec};

/// A message that is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// Its packet identifier.
    pub id: u16,
    /// Where it goes, in the owner's terms.
    pub topic: T,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Whether it was sent in this session.
    sent: bool,
}

/// There is no room for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull;

/// Messages that are not acknowledged, in the order they were given.
#[derive(Clone, Debug)]
pub struct Outbox<T> {
    messages: VecDeque<Message<T>>,
    messages_max: usize,
    payload_bytes_max: usize,
    last_id: u16,
}

impl<T> Outbox<T> {
    /// An outbox of at most `messages_max` messages with `payload_bytes_max` bytes together.
    #[must_use]
    pub fn new(messages_max: usize, payload_bytes_max: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            messages_max,
            payload_bytes_max,
            last_id: 0,
        }
    }

    /// Takes a copy of a message.
    ///
    /// # Errors
    /// [`OutboxFull`]; nothing has changed.
    pub fn push(&mut self, topic: T, payload: &[u8], retain: bool) -> Result<(), OutboxFull> {
        let bytes: usize = self.messages.iter().map(|m| m.payload.len()).sum();
        if self.messages.len() == self.messages_max
            || bytes + payload.len() > self.payload_bytes_max
        {
            return Err(OutboxFull);
        }
        let id = self.next_id();
        self.messages.push_back(Message {
            id,
            topic,
            payload: payload.to_vec(),
            retain,
            sent: false,
        });
        Ok(())
    }

    /// A packet identifier that no message here has: for a message, or for a SUBSCRIBE (2.3.1).
    pub fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.messages.iter().all(|m| m.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The next message to be sent; with this it counts as sent.
    pub fn next_to_send(&mut self) -> Option<&Message<T>> {
        let message = self.messages.iter_mut().find(|m| !m.sent)?;
        message.sent = true;
        Some(message)
    }

    /// Drops the message that the broker has acknowledged; whether there was one.
    pub fn acknowledge(&mut self, id: u16) -> bool {
        let index = self.messages.iter().position(|m| m.sent && m.id == id);
        index.is_some_and(|index| self.messages.remove(index).is_some())
    }

    /// Notes that a new session begins: all messages are to be sent again.
    pub fn new_session(&mut self) {
        for message in &mut self.messages {
            message.sent = false;
        }
    }

    /// Messages that are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether all messages are acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox<&'static str> {
        Outbox::new(3, 10)
    }

    fn send_all(outbox: &mut Outbox<&'static str>) -> Vec<u16> {
        core::iter::from_fn(|| outbox.next_to_send().map(|m| m.id)).collect()
    }

    #[test]
    fn messages_go_out_in_order_once_a_session() {
        let mut o = outbox();
        for payload in [b"a", b"b"] {
            o.push("t", payload, false).expect("room");
        }
        assert_eq!(send_all(&mut o), [1, 2]);
        assert_eq!(send_all(&mut o), []);
        assert!(o.acknowledge(1));
        o.new_session();
        assert_eq!(send_all(&mut o), [2]);
    }

    #[test]
    fn only_what_was_sent_is_acknowledged_and_once() {
        let mut o = outbox();
        o.push("t", b"a", false).expect("room");
        assert!(!o.acknowledge(1));
        send_all(&mut o);
        assert!(!o.acknowledge(2));
        assert!(o.acknowledge(1));
        assert!(!o.acknowledge(1));
        assert!(o.is_empty());
    }

    #[test]
    fn a_full_outbox_says_so_and_keeps_what_it_has() {
        let mut o = outbox();
        assert_eq!(o.push("t", &[0; 11], false), Err(OutboxFull));
        for _ in 0..3 {
            o.push("t", b"abc", false).expect("room");
        }
        assert_eq!(o.push("t", b"", false), Err(OutboxFull));
        assert_eq!(o.len(), 3);
        send_all(&mut o);
        o.acknowledge(2);
        assert_eq!(o.push("t", b"12345", false), Err(OutboxFull));
        o.push("t", b"1234", false).expect("room");
    }

    #[test]
    fn packet_identifiers_are_never_0_nor_in_use() {
        let mut o = outbox();
        o.push("t", b"", false).expect("room");
        assert!((0..70_000).map(|_| o.next_id()).all(|id| id > 1));
    }
}
