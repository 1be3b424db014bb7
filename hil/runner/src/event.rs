//! What happened in a run, as one typed stream.
//!
//! Every report is a function of this stream, so whatever a report may want to show is in it.
//! The types are also the recording's format (one JSON object a line, see `EVENT_FORMAT_VERSION`):
//! times are whole microseconds, and names stay once they are released.

use serde::{Deserialize, Serialize};

use crate::scenario::Category;
use crate::summary::RunSummary;
use crate::verdict::Verdict;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the stream, from 0. A recording leaves progress out, so it has gaps.
    pub sequence: u64,
    /// When.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The unit that was running, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitKey>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// One moment on three clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bench time since the bench was opened, µs; 0 before that. On a virtual rig, the chip's time.
    pub bench_us: u64,
    /// The device's uptime, µs, where the device said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_us: Option<u64>,
    /// Wall time, µs since 1970-01-01T00:00:00Z.
    pub wall_us: u64,
}

/// One attempt of one scenario.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// `CON-1`.
    pub id: String,
    /// `device_connects_and_says_so`.
    pub name: String,
    /// From 1.
    pub attempt: u32,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// The first event.
    RunStarted {
        /// Sorts by time, unique.
        run_id: String,
        /// The source of all chance.
        seed: u64,
        /// The rig's name.
        rig: String,
        /// Whose scenarios these are.
        product: String,
        /// Version of this program.
        version: String,
        /// Where the output goes, for people.
        directory: Option<String>,
    },
    /// A step before or between the scenarios began: `firmware`, `rig`, `flash`, `boot`.
    StepStarted {
        /// One word.
        step: String,
        /// What is being done, for a progress display.
        doing: String,
    },
    /// How far a step has come. Not recorded.
    StepProgress {
        /// The step's word.
        step: String,
        /// Done so far.
        done: u64,
        /// Of how many, if known.
        total: Option<u64>,
    },
    /// A step is done.
    StepFinished {
        /// The step's word.
        step: String,
        /// What came of it, for people, in one line.
        result: String,
        /// Wall time, µs.
        took_us: u64,
    },
    /// What will run, in order.
    Planned {
        /// The units to come.
        units: Vec<PlannedUnit>,
    },
    /// An attempt began.
    UnitStarted,
    /// An attempt ended.
    UnitFinished {
        /// What is said of it.
        verdict: Verdict,
        /// Bench time, µs.
        took_us: u64,
        /// Why, in one line; always there unless it passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What was expected and observed, when the firmware failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Box<Failure>>,
        /// The crash, when there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crash: Option<Box<CrashReport>>,
        /// The command that tries this again.
        again: String,
        /// Whether another attempt follows, so that this verdict does not count.
        retried: bool,
    },
    /// An attempt was cancelled before it had a verdict.
    UnitCancelled {
        /// By what.
        reason: String,
    },
    /// The device logged a line.
    Log {
        /// How bad.
        level: LogLevel,
        /// The module that logged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        /// `file:line`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        /// The line.
        text: String,
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
        /// Whether the bench asked for it or the scenario allows it.
        expected: bool,
    },
    /// The device crashed.
    Crashed(CrashReport),
    /// The device's memory.
    Memory(MemoryReport),
    /// Something else the device reported, as the wire format shows it.
    Device {
        /// Which report.
        report: String,
        /// Its content.
        data: serde_json::Value,
    },
    /// Output of the device was lost or could not be read.
    Lost {
        /// The RTT channel.
        channel: String,
        /// Frames, or bytes where frames can't be told.
        count: u64,
        /// How it is known.
        detail: String,
    },
    /// A message passed the bench, such as one over MQTT.
    Message {
        /// `to-device` or `from-device`.
        direction: String,
        /// Where it was sent.
        topic: String,
        /// The content as text; bytes that are no UTF-8 are replaced.
        payload: String,
        /// Quality of service, 0 to 2.
        qos: u8,
        /// Whether it was retained.
        retain: bool,
    },
    /// A fault was injected.
    Fault {
        /// Which, in words.
        fault: String,
    },
    /// A scenario measured something.
    Measured {
        /// What, in words.
        figure: String,
        /// How much.
        #[serde(deserialize_with = "number")]
        value: f64,
        /// Of what: `ms`, `B`, `1/s`. (Not `unit`, which every event has.)
        unit_of_measure: String,
    },
    /// The simulated chip used something that is not modelled.
    Unmodelled {
        /// What, with the place in the firmware; told once for each kind of access.
        what: String,
    },
    /// A scenario or the bench says something.
    Note {
        /// One line.
        text: String,
    },
    /// The bench failed at something.
    Trouble {
        /// What, with its causes.
        reason: String,
    },
    /// The bench or the device was brought back.
    Recovery {
        /// Which measure.
        measure: String,
        /// Whether it helped.
        helped: bool,
        /// What came of it.
        detail: String,
    },
    /// The run was asked to stop.
    Interrupted {
        /// By what.
        reason: String,
    },
    /// The last event.
    RunFinished {
        /// What it came to.
        summary: Box<RunSummary>,
    },
}

/// A floating-point number, whatever features serde_json was built with: with
/// `arbitrary_precision`, which other crates turn on, a number in a tagged enum arrives as a map.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    number
        .as_f64()
        .ok_or_else(|| serde::de::Error::custom("a number out of range"))
}

/// One scenario of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// `CON-1`.
    pub id: String,
    /// Function name.
    pub name: String,
    /// What it is about.
    pub category: Category,
    /// Tags.
    pub tags: Vec<String>,
}

/// What was expected of the firmware and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was expected.
    pub expected: String,
    /// What happened instead.
    pub observed: String,
    /// `file:line` of the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// More that helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a device crashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// The kind.
    pub crash: CrashKind,
    /// The whole message.
    pub message: String,
    /// Innermost first; empty when it could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<FrameLine>,
}

/// The kinds of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// A Rust panic.
    Panic,
    /// A trap that nobody handled.
    Exception,
    /// A stack was used up.
    StackOverflow,
    /// A watchdog bit.
    Watchdog,
    /// A reset that nobody asked for.
    UnexpectedReset,
    /// The core is stuck in traps.
    Lockup,
    /// The supply fell too low.
    BrownOut,
    /// The core halted by itself: a breakpoint in the firmware.
    Halt,
    /// The device no longer says anything.
    Silence,
    /// What is in the flash can't be started.
    BootFailed,
}

impl CrashKind {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            CrashKind::Panic => "panic",
            CrashKind::Exception => "exception",
            CrashKind::StackOverflow => "stack overflow",
            CrashKind::Watchdog => "watchdog",
            CrashKind::UnexpectedReset => "unexpected reset",
            CrashKind::Lockup => "lock-up",
            CrashKind::BrownOut => "brown-out",
            CrashKind::Halt => "halt",
            CrashKind::Silence => "silence",
            CrashKind::BootFailed => "boot failed",
        }
    }
}

/// One function of a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameLine {
    /// The address in the code.
    pub pc: u64,
    /// The function, demangled, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `file:line`, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// How bad a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For who writes the firmware.
    Debug,
    /// For who uses it.
    Info,
    /// Odd.
    Warn,
    /// Wrong.
    Error,
}

/// The device's memory at one moment; bytes where not said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// All heap regions together.
    pub heap_size: u64,
    /// Free now.
    pub heap_free: u64,
    /// The least that was ever free since boot.
    pub heap_free_min: u64,
    /// The largest block that could be allocated now.
    pub heap_largest_free_block: u64,
    /// Allocations that failed since boot, a count.
    pub heap_failed: u64,
    /// The stacks; the first is the main stack.
    pub stacks: Vec<StackReport>,
}

impl MemoryReport {
    /// How much of the free heap is out of reach of one large allocation, 0 to 100 %.
    pub fn fragmentation_percent(&self) -> f64 {
        match self.heap_free {
            0 => 0.0,
            free => 100.0 * (1.0 - self.heap_largest_free_block.min(free) as f64 / free as f64),
        }
    }
}

/// One stack, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackReport {
    /// Whose.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// The high-water mark.
    pub used_max: u64,
}
