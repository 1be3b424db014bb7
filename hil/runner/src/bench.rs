//! What the runner needs of a bench, so that it can be tested without a probe, a chip or a network.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::event::{CrashReport, LogLevel, MemoryReport};

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A rig, opened: the device and everything around it that is not the product's own.
pub trait TestBench: Any + Send + Sync {
    /// Bench time.
    fn clock(&self) -> Arc<dyn Clock>;

    /// What the bench sees from now on. Asked for once, before anything else.
    fn occurrences(&self) -> Box<dyn Occurrences>;

    /// Resets the device, so that it boots from its beginning. The error is in words.
    fn restart(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Why the rig does not offer `need`, or `None` if it does.
    fn unmet(&self, need: &str) -> Option<String>;

    /// Brings a failed bench back, in bounded time: one entry for each measure that was tried.
    fn recover(&self) -> BoxFuture<'_, Vec<Recovered>>;

    /// Ends when everything that the device has said up to now has been seen, so that a crash is
    /// held against the scenario that caused it and not against the next one.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Lets go of the rig. Everything is safe and free afterwards. The runner has no other hold on
    /// the bench at this time.
    fn close(self: Arc<Self>) -> BoxFuture<'static, ()>;
}

/// What a bench sees, one by one.
pub trait Occurrences: Send {
    /// The next; `None` when the bench has stopped. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Option<Seen>>;

    /// The next, if it is there already.
    fn try_next(&mut self) -> Option<Seen>;
}

impl Occurrences for mpsc::UnboundedReceiver<Seen> {
    fn next(&mut self) -> BoxFuture<'_, Option<Seen>> {
        Box::pin(self.recv())
    }

    fn try_next(&mut self) -> Option<Seen> {
        self.try_recv().ok()
    }
}

/// Bench time: on a real rig the wall's, on a virtual rig the chip's.
pub trait Clock: Send + Sync {
    /// Since the bench was opened; never goes back.
    fn now(&self) -> Duration;

    /// Ends when bench time has reached `at`. Simulated time may pass as fast as it can meanwhile.
    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()>;

    /// As [`Clock::sleep_until`], but a mere guard: time passes no faster for it, and it may end
    /// somewhat late.
    fn guard_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(at)
    }
}

impl dyn Clock {
    /// Ends after `duration` of bench time.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now().saturating_add(duration))
    }

    /// The future's output, unless it takes longer than `limit` of bench time.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Timeout> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(limit) => Err(Timeout { limit }),
        }
    }
}

/// A limit in bench time that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing within {limit:?}")]
pub struct Timeout {
    /// The limit.
    pub limit: Duration,
}

/// One measure to bring a bench back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What was done.
    pub measure: String,
    /// Whether it helped.
    pub helped: bool,
    /// What came of it.
    pub detail: String,
}

/// What a bench saw, and when.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Bench time; when it reaches the runner, if the bench does not say.
    pub bench_time: Option<Duration>,
    /// Device uptime, µs, where the device said it.
    pub device_us: Option<u64>,
    /// What.
    pub occurrence: Occurrence,
}

impl From<Occurrence> for Seen {
    fn from(occurrence: Occurrence) -> Self {
        Seen {
            bench_time: None,
            device_us: None,
            occurrence,
        }
    }
}

/// What a bench sees.
#[derive(Clone, Debug)]
pub enum Occurrence {
    /// The device logged a line.
    Log {
        /// How bad.
        level: LogLevel,
        /// Module.
        module: Option<String>,
        /// `file:line`.
        at: Option<String>,
        /// The line.
        text: String,
    },
    /// Memory telemetry.
    Memory(MemoryReport),
    /// Other telemetry.
    Device {
        /// Which report.
        report: String,
        /// Its content.
        data: serde_json::Value,
    },
    /// The device started.
    Booted {
        /// Boots since its flash was erased.
        boot: u32,
        /// The cause, in words.
        reason: String,
    },
    /// The device was reset.
    Reset {
        /// The cause, in words.
        cause: String,
        /// Whether the bench itself asked for it.
        expected: bool,
    },
    /// The device crashed.
    Crashed(CrashReport),
    /// Output of the device was lost.
    Lost {
        /// The RTT channel.
        channel: String,
        /// Frames, or bytes where frames can't be told.
        count: u64,
        /// How it is known.
        detail: String,
    },
    /// The bench lost touch with the device's pins, or has it again: what happened there meanwhile is
    /// not known.
    Outage {
        /// What, in words.
        reason: String,
        /// What was done about it; `None` while the outage lasts.
        recovered: Option<Recovered>,
    },
    /// A fault was injected.
    Fault {
        /// Which, in words.
        fault: String,
    },
    /// The bench helped itself, or tried to.
    Recovered(Recovered),
    /// The simulated chip used something that is not modelled: what passes here may fail on a board.
    Unmodelled {
        /// What, with the place in the firmware; told once for each kind of access.
        what: String,
    },
    /// Something of the bench that was asked for is not to be had; no verdict depends on it.
    Shortcoming {
        /// What, with its causes.
        reason: String,
    },
    /// Something worth a line.
    Note {
        /// The line.
        text: String,
    },
    /// The bench failed, and what runs on it can't go on.
    Trouble {
        /// What, with its causes.
        reason: String,
    },
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.measure, self.detail)
    }
}
