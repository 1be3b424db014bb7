//! What is going on: one task at a time, with its limits and the evidence seen while it ran.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::names::in_words;
use crate::bench::{BoxFuture, Clock, Recovered, Seen};
use crate::context::Emission;
use crate::event::{CrashReport, UnitKey};
use crate::outcome::Outcome;
use crate::product::{PrepareError, State};
use crate::scenario::Scenario;
use crate::verdict::Evidence;

/// Wall time for a task to end once it was told to.
const ABORT_WALL: Duration = Duration::from_secs(2);

/// What the dispatcher reacts to.
pub(super) enum Input {
    Occurred(Seen),
    BenchGone,
    Emitted(Emission),
    UnitReturned(Result<Outcome, JoinError>),
    Prepared(Result<Result<State, PrepareError>, JoinError>),
    BenchRecovered(Result<Vec<Recovered>, JoinError>),
    TimeUp,
    BackstopUp,
    DeadlineUp,
    CancelRequested(String),
}

/// What is going on.
pub(super) enum Activity {
    Idle,
    Preparing {
        task: JoinHandle<Result<State, PrepareError>>,
        watch: Watched,
    },
    Running {
        scenario: &'static Scenario,
        task: JoinHandle<Outcome>,
        watch: Watched,
    },
    RecoveringBench {
        task: JoinHandle<Vec<Recovered>>,
        backstop: Instant,
    },
}

/// The limits of a task and what was seen while it ran.
pub(super) struct Watched {
    pub(super) key: UnitKey,
    pub(super) started: Duration,
    pub(super) limit: Duration,
    pub(super) time_up: BoxFuture<'static, ()>,
    pub(super) backstop: Instant,
    pub(super) backstop_limit: Duration,
    pub(super) crash_grace: Duration,
    pub(super) resets_allowed: Arc<AtomicU32>,
    pub(super) evidence: Evidence,
}

impl Activity {
    /// The next thing that the current activity has to say.
    pub(super) async fn next(&mut self) -> Input {
        match self {
            Activity::Idle => std::future::pending().await,
            Activity::Running { task, watch, .. } => tokio::select! {
                biased;
                result = task => Input::UnitReturned(result),
                input = watch.limits() => input,
            },
            Activity::Preparing { task, watch } => tokio::select! {
                biased;
                result = task => Input::Prepared(result),
                input = watch.limits() => input,
            },
            Activity::RecoveringBench { task, backstop } => tokio::select! {
                biased;
                result = task => Input::BenchRecovered(result),
                () = tokio::time::sleep_until(*backstop) => Input::BackstopUp,
            },
        }
    }

    pub(super) fn watched(&self) -> Option<&Watched> {
        match self {
            Activity::Running { watch, .. } | Activity::Preparing { watch, .. } => Some(watch),
            Activity::Idle | Activity::RecoveringBench { .. } => None,
        }
    }

    pub(super) fn watched_mut(&mut self) -> Option<&mut Watched> {
        match self {
            Activity::Running { watch, .. } | Activity::Preparing { watch, .. } => Some(watch),
            Activity::Idle | Activity::RecoveringBench { .. } => None,
        }
    }
}

impl Watched {
    /// Keeps the evidence. After the first of it, there is time for the rest, but no more.
    pub(super) fn crashed(&mut self, crash: CrashReport, now: Duration, clock: &dyn Clock) {
        if self.evidence.crashes.is_empty() {
            let end = self.started + self.limit;
            self.time_up = clock.guard_until((now + self.crash_grace).min(end));
        }
        self.evidence.crashes.push(crash);
    }

    async fn limits(&mut self) -> Input {
        let time_up: Pin<&mut _> = self.time_up.as_mut();
        tokio::select! {
            biased;
            () = time_up => Input::TimeUp,
            () = tokio::time::sleep_until(self.backstop) => Input::BackstopUp,
        }
    }
}

pub(super) async fn abort<T>(task: &mut JoinHandle<T>) {
    task.abort();
    if tokio::time::timeout(ABORT_WALL, task).await.is_err() {
        tracing::warn!(
            "a task did not end within {} after it was told to",
            in_words(ABORT_WALL)
        );
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
