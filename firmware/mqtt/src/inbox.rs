//! Identifiers of messages at QoS 2 that have come, until the broker has released them (4.3.3).
//!
//! A message is handled when it comes first ("method B" of figure 4.3), so its identifier is all that
//! must be remembered to know it when it comes again. The standard knows no bound for how many a
//! broker leaves unreleased; beyond ours the connection is closed, as 4.8 asks of a receiver that
//! can't go on: forgetting one instead could mean to carry out a command twice.

use heapless::Vec;

use crate::packet::PacketId;

/// How many messages a broker may leave unreleased; brokers allow 10 to 32 in flight unless told otherwise.
const UNRELEASED_MAX: usize = 64;

/// The identifiers that are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    unreleased: Vec<PacketId, UNRELEASED_MAX>,
}

/// The broker leaves too many messages unreleased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnreleased;

impl Inbox {
    pub(crate) const fn new() -> Self {
        Self {
            unreleased: Vec::new(),
        }
    }

    /// Remembers a message that has come; whether it is a new one.
    pub(crate) fn remember(&mut self, id: PacketId) -> Result<bool, TooManyUnreleased> {
        if self.unreleased.contains(&id) {
            return Ok(false);
        }
        self.unreleased.push(id).map_err(|_| TooManyUnreleased)?;
        Ok(true)
    }

    /// Forgets a message that the broker has released.
    pub(crate) fn release(&mut self, id: PacketId) {
        self.unreleased.retain(|unreleased| *unreleased != id);
    }

    /// Forgets all, as the broker has.
    pub(crate) fn clear(&mut self) {
        self.unreleased.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).expect("not 0")
    }

    #[test]
    fn a_message_is_new_once_until_it_is_released() {
        let mut inbox = Inbox::new();
        assert_eq!(inbox.remember(id(7)), Ok(true));
        assert_eq!(inbox.remember(id(7)), Ok(false));
        assert_eq!(inbox.remember(id(8)), Ok(true));
        inbox.release(id(7));
        assert_eq!(inbox.remember(id(7)), Ok(true));
        assert_eq!(inbox.remember(id(8)), Ok(false));
    }

    #[test]
    fn beyond_the_bound_nothing_is_taken_and_nothing_forgotten() {
        let mut inbox = Inbox::new();
        for n in 1..=64 {
            assert_eq!(inbox.remember(id(n)), Ok(true));
        }
        assert_eq!(inbox.remember(id(65)), Err(TooManyUnreleased));
        assert_eq!(inbox.remember(id(1)), Ok(false));
        inbox.release(id(64));
        assert_eq!(inbox.remember(id(65)), Ok(true));
    }
}
