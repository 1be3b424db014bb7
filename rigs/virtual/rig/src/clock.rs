//! The clock of the bench: chip time, alarms on it, and what holds it back.
//!
//! Whoever waits for time to pass sets an alarm, whoever waits for the host holds an [`InFlight`] guard; the rules in
//! `pace.rs` make of these how fast the chip runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pace::{Id, PollLimits};
use crate::shared::Shared;

/// Chip time of one virtual rig. Cheap to clone; outlives the rig, and then stands still.
#[derive(Clone)]
pub struct ChipClock {
    shared: Arc<Shared>,
}

impl ChipClock {
    pub(crate) fn new(shared: Arc<Shared>) -> ChipClock {
        ChipClock { shared }
    }

    /// Chip time since the rig was started. Never goes back, not over resets nor power cycles.
    pub fn now(&self) -> Duration {
        self.shared.pacer.lock().chip_time(self.shared.wall())
    }

    /// Something on the host is under way that the device should not find slow: while any guard lives, chip time is
    /// held to the pace's multiple of wall time.
    #[must_use = "chip time is held back only as long as the guard lives"]
    pub fn in_flight(&self) -> InFlight {
        self.shared.pacer.lock().enter_flight();
        self.shared.kick();
        InFlight {
            shared: self.shared.clone(),
        }
    }

    /// Lets a chip that is awake run as fast as it can, alarm or not, as long as the guard lives and nothing is in
    /// flight. For flashing: real erase times in real time are nothing to wait for.
    #[must_use = "chip time flies only as long as the guard lives"]
    pub fn flat_out(&self) -> FlatOut {
        self.shared.pacer.lock().enter_flat_out();
        self.shared.kick();
        FlatOut {
            shared: self.shared.clone(),
        }
    }

    /// Calls `callback` on the simulator thread when chip time reaches `at`, at once when it has. It must be quick:
    /// the chip stands still meanwhile. Dropping the alarm cancels it; when the rig stops first, the callback is
    /// dropped uncalled.
    pub fn call_at(&self, at: Duration, callback: Box<dyn FnOnce() + Send>) -> Alarm {
        let mut pacer = self.shared.pacer.lock();
        if self.shared.is_stopped() {
            drop(pacer);
            return Alarm {
                shared: self.shared.clone(),
                at,
                id: 0,
            };
        }
        let id = pacer.add_alarm(at, callback);
        drop(pacer);
        self.shared.kick();
        Alarm {
            shared: self.shared.clone(),
            at,
            id,
        }
    }

    /// Makes the chip stop every so often for somebody who must read what it wrote: flow control for RTT.
    pub fn poller(&self, limits: PollLimits) -> Poller {
        let id = self.shared.pacer.lock().add_poller(limits);
        self.shared.kick();
        Poller {
            shared: self.shared.clone(),
            id,
        }
    }
}

impl fmt::Debug for ChipClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChipClock({})", self.shared.serial)
    }
}

/// See [`ChipClock::in_flight`].
pub struct InFlight {
    shared: Arc<Shared>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.pacer.lock().leave_flight();
        self.shared.kick();
    }
}

/// See [`ChipClock::flat_out`].
pub struct FlatOut {
    shared: Arc<Shared>,
}

impl Drop for FlatOut {
    fn drop(&mut self) {
        self.shared.pacer.lock().leave_flat_out();
        self.shared.kick();
    }
}

/// A pending alarm; see [`ChipClock::call_at`].
#[must_use = "dropping the alarm cancels it"]
pub struct Alarm {
    shared: Arc<Shared>,
    at: Duration,
    id: Id,
}

impl Alarm {
    /// Chip time it is set for.
    pub fn at(&self) -> Duration {
        self.at
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let cancelled = self.shared.pacer.lock().cancel_alarm(self.at, self.id);
        // Without the lock: the callback may own a clock.
        if cancelled.is_some() {
            drop(cancelled);
            self.shared.kick();
        }
    }
}

/// Stops the chip for polls; see [`ChipClock::poller`].
pub struct Poller {
    shared: Arc<Shared>,
    id: Id,
}

impl Poller {
    /// Blocks until the chip has used up its limits and stands still for a poll: true. Or until the timeout (wall
    /// time), or the end of the rig: false. Either way a poll is welcome; end it with [`Poller::done`].
    pub fn wait(&self, wall_timeout: Duration) -> bool {
        let deadline = Instant::now() + wall_timeout;
        let mut pacer = self.shared.pacer.lock();
        loop {
            if pacer.stands_for(self.id) {
                return true;
            }
            if self.shared.is_stopped()
                || self
                    .shared
                    .standing
                    .wait_until(&mut pacer, deadline)
                    .timed_out()
            {
                return pacer.stands_for(self.id);
            }
        }
    }

    /// The poll is over: the chip may use up its limits anew.
    pub fn done(&self) {
        let mut pacer = self.shared.pacer.lock();
        let stood = pacer.stands_for(self.id);
        pacer.polled(self.id);
        drop(pacer);
        if stood {
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.pacer.lock().remove_poller(self.id);
        self.shared.kick();
    }
}
