//! Where events become a stream: stamped, numbered, and handed to whoever reports.
//!
//! A sink that can't write, such as a recording on a full disk, must not take the run down in
//! disorder: the first error is kept, that sink is left alone from then on, and the dispatcher ends
//! the run in order.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::event::{Event, Stamp, UnitKey, What};
use crate::summary::{Abort, RunSummary};

/// Takes events, one by one.
pub trait Sink: Send {
    /// Takes the next event.
    fn event(&mut self, event: &Event) -> Result<(), RecordError>;
}

/// An event could not be written down.
#[derive(Debug, thiserror::Error)]
#[error("can't write the record `{}`: {source}; free some space or name another directory with `--output`", path.display())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// The stream of one run.
pub struct Journal {
    sinks: Vec<(Box<dyn Sink>, bool)>,
    next: u64,
    summary: RunSummary,
    error: Option<String>,
}

impl Journal {
    /// A stream into `sinks`.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Journal {
            sinks: sinks.into_iter().map(|sink| (sink, true)).collect(),
            next: 0,
            summary: RunSummary::default(),
            error: None,
        }
    }

    /// An event outside of any unit, before bench time began.
    pub fn record(&mut self, what: What) {
        self.record_at(Duration::ZERO, None, None, what);
    }

    pub(crate) fn record_at(
        &mut self,
        bench_time: Duration,
        device_us: Option<u64>,
        unit: Option<UnitKey>,
        what: What,
    ) {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let stamp = Stamp {
            bench_us: bench_time.as_micros() as u64,
            device_us,
            wall_us: wall.as_micros() as u64,
        };
        let event = Event {
            sequence: self.next,
            stamp,
            unit,
            what,
        };
        self.next += 1;
        self.summary.observe(&event);
        for (sink, works) in &mut self.sinks {
            if !*works {
                continue;
            }
            if let Err(error) = sink.event(&event) {
                *works = false;
                tracing::error!("{error}");
                self.error.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// The first error of a sink, if there was one.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What it came to so far.
    pub fn summary(&self) -> &RunSummary {
        &self.summary
    }

    /// Says why the run can't begin or go on; the first reason counts.
    pub fn abort(&mut self, abort: Abort) {
        self.summary.aborted.get_or_insert(abort);
    }

    /// Writes the last event. What it came to is returned.
    pub fn finish(mut self, bench_time: Duration) -> RunSummary {
        let summary = Box::new(self.summary.clone());
        self.record_at(bench_time, None, None, What::RunFinished { summary });
        self.summary
    }
}
