//! Time on a bench: wall time on a real rig, the chip's time on the virtual one.
//!
//! Scenarios never touch tokio's clock. On the virtual rig a sleep is an alarm in chip time; while
//! everyone only waits for alarms, the chip runs as fast as it can, and while a host operation is
//! under way ([`Clock::in_flight`]) chip time is held to wall time, so that latencies stay lifelike.

use std::{any::Any, future::Future, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::sync::oneshot;

/// The clock of one bench; clones share it.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    epoch: OffsetDateTime,
}

#[derive(Clone)]
enum Source {
    Wall(tokio::time::Instant),
    Chip(Arc<dyn ChipTime>),
}

/// Chip time as the clock needs it: of the virtual rig, or of a test.
pub(crate) trait ChipTime: Send + Sync {
    /// Since the virtual rig was started; never goes back.
    fn now(&self) -> Duration;
    /// Calls `fire` once when chip time reaches `at`; dropping what is returned cancels.
    fn call_at(&self, at: Duration, fire: Box<dyn FnOnce() + Send>) -> Box<dyn Any + Send>;
    /// While what is returned lives, chip time is held to wall time.
    fn in_flight(&self) -> Box<dyn Any + Send>;
}

/// The time was up before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done within {:.3} s", .0.as_secs_f64())]
pub struct Elapsed(
    /// The time that was given.
    pub Duration,
);

/// While it lives, a host operation is under way: chip time is held to wall time.
#[must_use = "the guard is what holds chip time to wall time"]
pub struct InFlight(#[allow(dead_code, reason = "held for its drop")] Option<Box<dyn Any + Send>>);

impl Clock {
    /// A clock that shows wall time, from zero now.
    #[must_use]
    pub fn wall(epoch: OffsetDateTime) -> Self {
        Self {
            source: Source::Wall(tokio::time::Instant::now()),
            epoch,
        }
    }

    /// A clock that shows chip time.
    pub(crate) fn chip(chip: Arc<dyn ChipTime>, epoch: OffsetDateTime) -> Self {
        Self {
            source: Source::Chip(chip),
            epoch,
        }
    }

    /// Bench time: since the bench was opened; never goes back.
    #[must_use]
    pub fn now(&self) -> Duration {
        match &self.source {
            Source::Wall(start) => start.elapsed(),
            Source::Chip(chip) => chip.now(),
        }
    }

    /// Bench time as a date: the epoch of the bench plus [`Clock::now`]. The device's clock, set
    /// from it, shows the same.
    #[must_use]
    pub fn wall_time(&self) -> OffsetDateTime {
        self.epoch + self.now()
    }

    /// The date at bench time zero.
    #[must_use]
    pub fn epoch(&self) -> OffsetDateTime {
        self.epoch
    }

    /// Whether this is chip time, which may run faster than wall time.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self.source, Source::Chip(_))
    }

    /// Waits for `duration` of bench time.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().saturating_add(duration)).await;
    }

    /// Waits until bench time is `at`; returns at once when it was.
    pub async fn sleep_until(&self, at: Duration) {
        match &self.source {
            Source::Wall(start) => match start.checked_add(at) {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            },
            Source::Chip(chip) => {
                if chip.now() >= at {
                    return;
                }
                let (fire, fired) = oneshot::channel::<()>();
                let alarm = chip.call_at(
                    at,
                    Box::new(move || {
                        // Nobody waits any more when the future was dropped.
                        let _ = fire.send(());
                    }),
                );
                // The sender is dropped unfired only with the virtual rig itself.
                let _ = fired.await;
                drop(alarm);
            }
        }
    }

    /// Gives `future` `limit` of bench time.
    ///
    /// # Errors
    /// [`Elapsed`] when it was not done by then; it is dropped.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(limit) => Err(Elapsed(limit)),
        }
    }

    /// Ticks every `period` of bench time, first after one period.
    ///
    /// # Panics
    /// When `period` is zero.
    #[must_use]
    pub fn interval(&self, period: Duration) -> Interval {
        assert!(!period.is_zero(), "an interval needs a period");
        Interval {
            clock: self.clone(),
            next: self.now() + period,
            period,
        }
    }

    /// To be held while a host operation is under way whose duration matters: a request to the
    /// broker, an HTTP call.
    pub fn in_flight(&self) -> InFlight {
        match &self.source {
            Source::Wall(_) => InFlight(None),
            Source::Chip(chip) => InFlight(Some(chip.in_flight())),
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now())
            .field("virtual", &self.is_virtual())
            .finish()
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InFlight")
    }
}

/// See [`Clock::interval`].
#[derive(Debug)]
pub struct Interval {
    clock: Clock,
    next: Duration,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and returns when it was due. Ticks that were missed are left out;
    /// those that follow keep the cadence.
    pub async fn tick(&mut self) -> Duration {
        self.clock.sleep_until(self.next).await;
        let due = self.next;
        let late = self.clock.now().saturating_sub(due);
        let missed = u32::try_from(late.as_nanos() / self.period.as_nanos()).unwrap_or(u32::MAX);
        self.next = due + self.period * missed.saturating_add(1);
        due
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use parking_lot::Mutex;
    use time::macros::datetime;

    use super::*;

    const EPOCH: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    type Pending = (Duration, u64, Box<dyn FnOnce() + Send>);

    /// Chip time that a test moves by hand.
    #[derive(Default)]
    pub(crate) struct ManualTime(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        now: Duration,
        pending: Vec<Pending>,
        alarms: u64,
        in_flight: usize,
    }

    struct OnDrop<F: FnMut()>(F);

    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    impl ManualTime {
        pub(crate) fn advance(&self, by: Duration) {
            let mut state = self.0.lock();
            state.now += by;
            let now = state.now;
            let (due, pending) = std::mem::take(&mut state.pending)
                .into_iter()
                .partition(|(at, ..)| *at <= now);
            state.pending = pending;
            drop(state);
            for (_, _, fire) in Vec::<Pending>::from_iter::<Vec<_>>(due) {
                fire();
            }
        }

        fn pending(&self) -> usize {
            self.0.lock().pending.len()
        }

        fn in_flight_count(&self) -> usize {
            self.0.lock().in_flight
        }
    }

    impl ChipTime for ManualTime {
        fn now(&self) -> Duration {
            self.0.lock().now
        }

        fn call_at(&self, at: Duration, fire: Box<dyn FnOnce() + Send>) -> Box<dyn Any + Send> {
            let mut state = self.0.lock();
            state.alarms += 1;
            let id = state.alarms;
            state.pending.push((at, id, fire));
            let shared = Arc::clone(&self.0);
            Box::new(OnDrop(move || {
                shared.lock().pending.retain(|(_, other, _)| *other != id);
            }))
        }

        fn in_flight(&self) -> Box<dyn Any + Send> {
            self.0.lock().in_flight += 1;
            let shared = Arc::clone(&self.0);
            Box::new(OnDrop(move || shared.lock().in_flight -= 1))
        }
    }

    fn manual() -> (Arc<ManualTime>, Clock) {
        let time = Arc::new(ManualTime::default());
        let chip: Arc<dyn ChipTime> = time.clone();
        (time, Clock::chip(chip, EPOCH))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn chip_time_passes_only_as_the_chip_goes() {
        let (time, clock) = manual();
        let sleeper = clock.clone();
        let sleep = tokio::spawn(async move { sleeper.sleep(3_600 * SECOND).await });
        while time.pending() == 0 {
            tokio::task::yield_now().await;
        }
        time.advance(3_599 * SECOND);
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished());
        time.advance(SECOND);
        sleep.await.expect("the sleep ends");
        assert_eq!(clock.now(), 3_600 * SECOND);
        assert_eq!(clock.wall_time(), datetime!(2026-01-01 01:00 UTC));
    }

    #[tokio::test]
    async fn a_timeout_that_is_not_needed_leaves_no_alarm() {
        let (time, clock) = manual();
        assert_eq!(clock.timeout(SECOND, async { 7 }).await, Ok(7));
        let waiting = clock.timeout(SECOND, async {
            tokio::task::yield_now().await;
            8
        });
        assert_eq!(waiting.await, Ok(8));
        assert_eq!(time.pending(), 0);
    }

    #[tokio::test]
    async fn a_timeout_ends_what_takes_too_long() {
        let (time, clock) = manual();
        let waiter = clock.clone();
        let wait =
            tokio::spawn(async move { waiter.timeout(SECOND, std::future::pending::<()>()).await });
        while time.pending() == 0 {
            tokio::task::yield_now().await;
        }
        time.advance(SECOND);
        assert_eq!(wait.await.expect("no panic"), Err(Elapsed(SECOND)));
    }

    #[tokio::test]
    async fn an_interval_keeps_its_cadence_and_leaves_out_what_was_missed() {
        let (time, clock) = manual();
        let mut interval = clock.interval(SECOND);
        time.advance(SECOND);
        assert_eq!(interval.tick().await, SECOND);
        time.advance(SECOND * 5 / 2);
        assert_eq!(interval.tick().await, 2 * SECOND);
        time.advance(SECOND / 2);
        assert_eq!(interval.tick().await, 4 * SECOND);
    }

    #[test]
    fn in_flight_lasts_as_long_as_its_guard() {
        let (time, clock) = manual();
        let guards = (clock.in_flight(), clock.in_flight());
        assert_eq!(time.in_flight_count(), 2);
        drop(guards);
        assert_eq!(time.in_flight_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_real_rig_has_wall_time() {
        let clock = Clock::wall(EPOCH);
        clock.sleep(90 * SECOND).await;
        assert_eq!(clock.now(), 90 * SECOND);
        assert_eq!(clock.wall_time(), EPOCH + 90 * SECOND);
        let slow = clock.timeout(SECOND, std::future::pending::<()>()).await;
        assert_eq!(slow, Err(Elapsed(SECOND)));
        let mut interval = clock.interval(SECOND);
        assert_eq!(interval.tick().await, 92 * SECOND);
        assert!(!clock.is_virtual());
    }
}
