//! Where the threads meet: the simulator thread, the probes, the clocks.
//!
//! Two locks, always taken in this order: the machine (chip and debug module), then the pacer. Probes come first: the
//! simulator thread runs the chip in short slices and does not start one while a probe waits or is in the middle of a
//! batch, so that a batch of scans finds the chip standing still.
//!
//! Why that is done by watching for a lull and not by holding the lock over a batch: probe-rs hands a whole batch to
//! `JtagAccess::write_register_batch`, but the types of its arguments can't be named outside of probe-rs, so that
//! method can't be overridden there. Its default calls `write_register` in a tight loop.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use virtual_network::Waker;

use crate::machine::Machine;
use crate::pace::Pacer;

/// What an alarm calls, on the simulator thread.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// Two scans of one batch are never further apart than this, unless their thread lost its processor.
const LULL: Duration = Duration::from_micros(3);
/// Probes that never rest must not stop the chip for good.
const LINGER_MAX: Duration = Duration::from_micros(250);

/// The rig was dropped or its thread has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

pub(crate) struct Shared {
    pub(crate) serial: String,
    machine: Mutex<Machine>,
    pub(crate) pacer: Mutex<Pacer<Callback>>,
    /// Signalled when the chip begins to stand still for a poller, and at the end.
    pub(crate) standing: Condvar,
    /// Signalled when the simulator thread should think again.
    pub(crate) changed: Condvar,
    started: Instant,
    waker: Waker,
    /// The simulator thread is in, or about to enter, a wait that only the waker ends.
    sleeping: AtomicBool,
    /// Something changed that the simulator thread has not seen.
    dirty: AtomicBool,
    stopping: AtomicBool,
    stopped: AtomicBool,
    /// Probes that wait for the machine.
    waiting: AtomicU32,
    /// Operations of probes so far.
    operations: AtomicU64,
    /// Who has the probe, if anybody.
    holder: Mutex<Option<&'static str>>,
}

impl Shared {
    pub(crate) fn new(
        serial: String,
        machine: Machine,
        pacer: Pacer<Callback>,
        waker: Waker,
    ) -> Shared {
        Shared {
            serial,
            machine: Mutex::new(machine),
            pacer: Mutex::new(pacer),
            standing: Condvar::new(),
            changed: Condvar::new(),
            started: Instant::now(),
            waker,
            sleeping: AtomicBool::new(false),
            dirty: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            operations: AtomicU64::new(0),
            holder: Mutex::new(None),
        }
    }

    /// Wall time since the rig was started.
    pub(crate) fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does something to the machine, ahead of the simulator thread.
    pub(crate) fn operate<R>(
        &self,
        operation: impl FnOnce(&mut Machine) -> R,
    ) -> Result<R, Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut machine = self.machine.lock();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.operations.fetch_add(1, Ordering::SeqCst);
        let result = operation(&mut machine);
        let touched = std::mem::take(&mut machine.touched);
        drop(machine);
        if touched {
            self.kick();
        }
        Ok(result)
    }

    /// Operations of probes so far.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// The machine, for the simulator thread: once the probes pause. `seen` is its own count of operations.
    pub(crate) fn lock_in_a_lull(&self, seen: &mut u64) -> MutexGuard<'_, Machine> {
        let mut first = None;
        loop {
            let operations = self.operations();
            let waiting = self.waiting.load(Ordering::SeqCst) != 0;
            if operations == *seen && !waiting {
                return self.machine.lock();
            }
            *seen = operations;
            let now = Instant::now();
            if now.duration_since(*first.get_or_insert(now)) > LINGER_MAX {
                return self.machine.lock();
            }
            if waiting {
                std::thread::yield_now();
            }
            while now.elapsed() < LULL {
                std::hint::spin_loop();
            }
        }
    }

    /// The machine at once, for a look at it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }

    /// Makes the simulator thread look again at everything, wherever it is.
    pub(crate) fn kick(&self) {
        self.dirty.store(true, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) {
            self.waker.wake();
        }
        // Through the lock, so that the thread is either before its look at `dirty` or already waiting.
        drop(self.pacer.lock());
        self.changed.notify_all();
    }

    /// True once after each kick.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// Runs `wait` unless a kick came before; a kick during it uses the waker.
    pub(crate) fn sleep<R>(&self, wait: impl FnOnce() -> R) -> Option<R> {
        self.sleeping.store(true, Ordering::SeqCst);
        let result = (!self.is_dirty()).then(wait);
        self.sleeping.store(false, Ordering::SeqCst);
        result
    }

    /// Asks the simulator thread to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.kick();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The simulator thread has ended: nobody may wait for it any more.
    pub(crate) fn mark_stopped(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let mut pacer = self.pacer.lock();
        pacer.freeze();
        let alarms = pacer.cancel_all();
        drop(pacer);
        self.standing.notify_all();
        // Dropped without the lock: a callback may own anything, a clock too.
        drop(alarms);
    }

    /// Takes the one debug connector, or says who has it.
    pub(crate) fn hold(&self, who: &'static str) -> Result<(), &'static str> {
        let mut holder = self.holder.lock();
        if let Some(other) = *holder {
            return Err(other);
        }
        *holder = Some(who);
        Ok(())
    }

    pub(crate) fn release(&self) {
        *self.holder.lock() = None;
    }
}
