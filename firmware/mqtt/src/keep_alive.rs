//! When to ping the broker, and when to give it up (3.1.2.10, 3.12).
//!
//! ```text
//!        sent, received                       three quarters of the interval since the last sent
//!   ┌──────────────────────┐      Ping
//!   └─▶ quiet ─────────────┴────────────────▶ waiting ──── a quarter more, 5 s at least ──▶ Dead
//!         ▲                                      │
//!         └───────────── pong ───────────────────┘
//! ```
//!
//! What counts is what the client sends: a client that only receives must ping all the same.

use crate::mutants::{self, Mutant};

/// The least time a broker has to answer a ping, milliseconds.
const ANSWER_MS_MIN: u64 = 5_000;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A PINGREQ is to be sent.
    Ping,
    /// The broker did not answer: the connection is lost.
    Dead,
}

/// The keep-alive of one connection. Times are milliseconds on any clock that goes on evenly.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// 0: none.
    interval_ms: u64,
    last_sent_ms: u64,
    /// When the ping was sent that is not answered yet.
    waiting_since_ms: Option<u64>,
}

impl KeepAlive {
    /// The keep-alive of a connection whose CONNECT was sent at `now_ms`.
    #[must_use]
    pub const fn new(keep_alive_s: u16, now_ms: u64) -> Self {
        Self {
            interval_ms: keep_alive_s as u64 * 1_000,
            last_sent_ms: now_ms,
            waiting_since_ms: None,
        }
    }

    /// Notes that a packet was sent.
    pub fn sent(&mut self, now_ms: u64) {
        self.last_sent_ms = now_ms;
    }

    /// Notes that a PINGRESP came.
    pub fn pong(&mut self) {
        self.waiting_since_ms = None;
    }

    /// What is due at `now_ms`; a [`Due::Ping`] is taken for sent.
    pub fn poll(&mut self, now_ms: u64) -> Due {
        match self.poll_at() {
            Some(due_ms) if due_ms <= now_ms => {}
            _ => return Due::Nothing,
        }
        if self.waiting_since_ms.is_some() {
            return Due::Dead;
        }
        self.last_sent_ms = now_ms;
        self.waiting_since_ms = Some(now_ms);
        Due::Ping
    }

    /// When [`KeepAlive::poll`] has something to say; none without a keep-alive.
    #[must_use]
    pub fn poll_at(&self) -> Option<u64> {
        if self.interval_ms == 0 || mutants::active(Mutant::KeepAliveNeverSent) {
            return None;
        }
        Some(match self.waiting_since_ms {
            Some(since) => since + (self.interval_ms / 4).max(ANSWER_MS_MIN),
            None => self.last_sent_ms + self.interval_ms * 3 / 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_client_pings_within_the_interval() {
        let mut k = KeepAlive::new(40, 1_000);
        assert_eq!(k.poll(30_999), Due::Nothing);
        assert_eq!(k.poll_at(), Some(31_000));
        assert_eq!(k.poll(31_000), Due::Ping);
        k.pong();
        assert_eq!(k.poll_at(), Some(61_000));
    }

    #[test]
    fn sending_puts_the_ping_off() {
        let mut k = KeepAlive::new(40, 0);
        k.sent(20_000);
        assert_eq!(k.poll(30_000), Due::Nothing);
        assert_eq!(k.poll(50_000), Due::Ping);
    }

    #[test]
    fn a_broker_that_does_not_answer_is_dead_whatever_is_sent() {
        let mut k = KeepAlive::new(40, 0);
        assert_eq!(k.poll(30_000), Due::Ping);
        k.sent(35_000);
        assert_eq!(k.poll(39_999), Due::Nothing);
        assert_eq!(k.poll(40_000), Due::Dead);
    }

    #[test]
    fn a_short_interval_still_gives_time_to_answer() {
        let mut k = KeepAlive::new(2, 0);
        assert_eq!(k.poll(1_500), Due::Ping);
        assert_eq!(k.poll_at(), Some(6_500));
    }

    #[test]
    fn no_keep_alive_never_pings() {
        let mut k = KeepAlive::new(0, 0);
        assert_eq!(k.poll_at(), None);
        assert_eq!(k.poll(u64::MAX), Due::Nothing);
    }
}
