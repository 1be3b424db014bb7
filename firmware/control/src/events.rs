//! What happened and has not been published yet: alarm and relay messages, in order.
//!
//! The firmware takes them out after each call; even if it did so only after a sweep over all points,
//! 60 of them could raise two alarms each. Should the queue ever be full, the newest message is
//! dropped and counted: the states themselves are not lost, `get_active_alarms` and the relays'
//! contacts are right all the same.

use heapless::Deque;

use crate::alarms::AlarmChange;
use crate::relays::RelayChange;

/// Messages that can wait.
pub const EVENTS_MAX: usize = 128;

/// One message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// For `alarm/active`.
    Alarm(AlarmChange),
    /// For `event/relay`.
    Relay(RelayChange),
}

/// The messages that wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    waiting: Deque<Event, EVENTS_MAX>,
    dropped: u32,
}

impl Events {
    /// Appends a message.
    pub fn push(&mut self, event: Event) {
        if self.waiting.push_back(event).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Messages dropped since boot.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relays::{Cause, RelayId};
    use crate::testing::at;

    fn event(on: bool) -> Event {
        Event::Relay(RelayChange {
            at: at(0).timestamp(),
            relay: RelayId::new(1).expect("a relay"),
            on,
            cause: Cause::Timer,
        })
    }

    #[test]
    fn the_newest_message_is_dropped_and_counted_when_there_is_no_room() {
        let mut events = Events::default();
        for _ in 0..EVENTS_MAX {
            events.push(event(true));
        }
        assert_eq!(events.dropped(), 0);
        events.push(event(false));
        events.push(event(false));
        assert_eq!(events.dropped(), 2);
        for _ in 0..EVENTS_MAX {
            assert_eq!(events.pop(), Some(event(true)));
        }
        assert_eq!(events.pop(), None);
    }
}
