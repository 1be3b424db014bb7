//! Reports: what people and machines read of a run.
//!
//! Every report here is a function of the runner's events and of nothing else, so that a recorded
//! run can be shown again, later and elsewhere, with the same text.
//!
//! | module | what it makes of the events |
//! |---|---|
//! | [`TerminalText`] | lines for a person, with or without colour |
//! | [`Terminal`] | those lines on stdout and stderr, with a progress display |
//! | [`Recorder`], [`Recording`] | NDJSON, written and read again |
//! | [`Junit`] | JUnit XML, for CI |
//! | [`write_summary`] | `run.json`: what the run came to |

mod figures;
mod junit;
mod ndjson;
mod style;
mod summary;
mod terminal;
mod text;

pub use junit::Junit;
pub use ndjson::{ReadError, Recorder, Recording};
pub use style::Style;
pub use summary::write_summary;
pub use terminal::{Terminal, spinner_style};
pub use text::{Line, Stream, TerminalText};
