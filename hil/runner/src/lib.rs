//! Plans scenarios, runs them on a bench, judges them, and tells what happened as one stream of events.
//!
//! It knows no product: what a scenario needs is prepared by a [`Product`], which a team writes for
//! its own firmware beside its own scenarios. It prints nothing: every report is made from the
//! [`Event`]s, by whoever wants one.
//!
//! In reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`Scenario`], [`macro@scenario`] | what can be run: the catalogue |
//! | [`Context`], [`Outcome`] | what a scenario sees, and what it returns |
//! | [`Product`] | how a device gets ready for scenarios |
//! | [`TestBench`], [`Occurrence`] | what the runner needs of a bench |
//! | [`Plan`], [`Selection`] | which scenarios run, in which order |
//! | [`Verdict`] | the five verdicts and the rules that give them |
//! | [`Event`], [`Journal`] | what happened, stamped and recorded |
//! | [`run`] | the dispatcher: one `select!`, one event enum, one `handle` |
//! | [`RunSummary`], [`ExitCode`] | what it came to |

// The macro's output names this crate by its full path, in this crate's tests too.
#[cfg(test)]
extern crate self as hil_runner;

mod bench;
mod context;
mod dispatcher;
pub mod event;
mod journal;
mod need;
mod open_rig;
mod outcome;
mod plan;
mod product;
mod scenario;
mod summary;
#[cfg(test)]
mod testing;
mod verdict;

pub use bench::{BoxFuture, Clock, Occurrence, Occurrences, Recovered, Seen, TestBench, Timeout};
pub use context::{Context, Emitter, ResetsAllowed, Step};
pub use dispatcher::{Cancel, RunSettings, run};
pub use event::{
    CrashKind, CrashReport, Event, Failure, FrameLine, LogLevel, MemoryReport, PlannedUnit,
    StackReport, Stamp, UnitKey, What,
};
pub use journal::{Journal, RecordError, Sink};
pub use outcome::{Outcome, ResultExt, ScenarioError};
pub use plan::{Order, Plan, Selection};
pub use product::{PrepareError, Product, Setup, State};
pub use scenario::{Category, Scenario, UnknownCategory, catalogue};
pub use summary::{Abort, Counts, ExitCode, RunSummary, UnitSummary};
pub use verdict::{Evidence, Judgement, Verdict, judge};

pub use hil_macros::scenario;
#[doc(hidden)]
pub use inventory;

/// The version of the event format, in the header of every recording. It changes whenever an
/// event changes its meaning or shape.
pub const EVENT_FORMAT_VERSION: u32 = 1;
