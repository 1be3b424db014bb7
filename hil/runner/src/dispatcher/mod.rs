//! Runs a plan: one loop, one `select!`, one [`Input`], one `handle`.
//!
//! The dispatcher owns all state of the run. Scenarios, preparation and recovery are tasks that it
//! starts and ends; they talk to it by channel and share nothing with each other. What is going on
//! is one enum:
//!
//! ```text
//!             ┌──────────── next unit ────────────┐
//!             ▼                                   │
//!   Idle ─▶ Preparing ─▶ Idle ─▶ Running ─▶ Idle ─┤
//!             ▲                                   │ infra
//!             └─────────── RecoveringBench ◀──────┘
//! ```

mod activity;
mod ending;
mod names;
mod record;
mod settings;
mod start;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use activity::{Activity, Input, sleep_until};
use names::{doubled_ids, in_words, panic_message};
pub use settings::{Cancel, RunSettings};
use start::BENCH_RECOVERY_WALL;
pub(crate) use start::PREPARE_ID;

use crate::bench::{Clock, Occurrence, Occurrences, TestBench};
use crate::context::Emission;
use crate::event::What;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::product::{PrepareError, Product, State};
use crate::scenario::Scenario;
use crate::summary::{Abort, ExitCode, RunSummary};
use crate::verdict::Ending;

/// Wall time for each step of the end of the run.
const CLOSE_WALL: Duration = Duration::from_secs(10);

/// Runs `plan` on `bench`, closes the bench, and says what it came to. Never fails: whatever goes
/// wrong is in the summary and in the stream of events.
pub async fn run<P: Product>(
    plan: Plan,
    bench: Arc<dyn TestBench>,
    product: Arc<P>,
    settings: RunSettings,
    cancel: Cancel,
    mut journal: Journal,
) -> RunSummary {
    journal.record_at(
        bench.clock().now(),
        None,
        None,
        What::Planned {
            units: plan.units(),
        },
    );
    let (emissions_in, emissions) = mpsc::unbounded_channel();
    let mut dispatcher = Dispatcher {
        occurrences: bench.occurrences(),
        clock: bench.clock(),
        queue: plan
            .scenarios
            .iter()
            .map(|&scenario| (scenario, 1))
            .collect(),
        doubled_ids: doubled_ids(&plan),
        deadline: settings.deadline.map(|limit| Instant::now() + limit),
        product,
        bench,
        settings,
        cancel,
        journal,
        emissions_in,
        emissions,
        activity: Activity::Idle,
        device: Device::Unprepared,
        prepare_attempt: 0,
        bench_is_troubled: false,
        stopping: false,
    };
    dispatcher.run().await;
    dispatcher.finish().await
}

/// How far the device is.
enum Device {
    Unprepared,
    Ready(State),
    /// Something happened to it; it must be made ready again.
    Stale(State),
    /// It can't be made ready.
    Lost(String),
}

struct Dispatcher<P> {
    product: Arc<P>,
    bench: Arc<dyn TestBench>,
    clock: Arc<dyn Clock>,
    settings: RunSettings,
    cancel: Cancel,
    journal: Journal,
    queue: VecDeque<(&'static Scenario, u32)>,
    doubled_ids: Vec<&'static str>,
    occurrences: Box<dyn Occurrences>,
    emissions_in: mpsc::UnboundedSender<Emission>,
    emissions: mpsc::UnboundedReceiver<Emission>,
    deadline: Option<Instant>,
    activity: Activity,
    device: Device,
    prepare_attempt: u32,
    bench_is_troubled: bool,
    stopping: bool,
}

impl<P: Product> Dispatcher<P> {
    async fn run(&mut self) {
        loop {
            self.stop_if_unrecordable().await;
            if matches!(self.activity, Activity::Idle) && !self.start_next() {
                break;
            }
            if self.journal.error().is_some() && !self.stopping {
                // What was just started could not be recorded: it ends before anything is waited for.
                continue;
            }
            let input = self.next_input().await;
            self.handle(input).await;
        }
    }

    async fn next_input(&mut self) -> Input {
        let deadline = self.deadline;
        let activity = &mut self.activity;
        let cancelled = async {
            match self.stopping {
                true => std::future::pending().await,
                false => self.cancel.requested().await,
            }
        };
        // In this order: what the bench and the scenarios say counts before how they ended.
        tokio::select! {
            biased;
            Some(emission) = self.emissions.recv() => Input::Emitted(emission),
            occurrence = self.occurrences.next() => occurrence.map_or(Input::BenchGone, Input::Occurred),
            reason = cancelled => Input::CancelRequested(reason),
            input = activity.next() => input,
            () = sleep_until(deadline) => Input::DeadlineUp,
        }
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Emitted(emission) => self.record_emission(emission),
            Input::Occurred(seen) => {
                let trouble = match &seen.occurrence {
                    Occurrence::Trouble { reason } => Some(reason.clone()),
                    _ => None,
                };
                self.occurred(seen);
                if let Some(reason) = trouble {
                    self.end_activity(Ending::BenchFailed(reason)).await;
                }
            }
            Input::BenchGone => {
                let reason = "the bench stopped by itself".to_owned();
                self.stopping = true;
                self.record(
                    self.current_key(),
                    What::Trouble {
                        reason: reason.clone(),
                    },
                );
                self.end_activity(Ending::BenchFailed(reason.clone())).await;
                self.journal.abort(Abort {
                    exit: ExitCode::Infra,
                    reason,
                });
            }
            Input::UnitReturned(result) => {
                let ending = match result {
                    Ok(outcome) => Ending::Returned(outcome),
                    Err(error) => Ending::Panicked(panic_message(error)),
                };
                self.unit_ended(ending);
            }
            Input::Prepared(result) => {
                let result = result.unwrap_or_else(|error| {
                    Err(PrepareError::Infra {
                        reason: format!(
                            "getting the device ready panicked, which is a bug: {}",
                            panic_message(error)
                        ),
                    })
                });
                self.prepared(result);
            }
            Input::BenchRecovered(result) => self.bench_recovered(result),
            Input::TimeUp => {
                let limit = self
                    .activity
                    .watched()
                    .map(|watch| watch.limit)
                    .unwrap_or_default();
                self.end_activity(Ending::TimedOut {
                    limit: in_words(limit),
                })
                .await;
            }
            Input::BackstopUp => {
                let limit = self
                    .activity
                    .watched()
                    .map_or(BENCH_RECOVERY_WALL, |watch| watch.backstop_limit);
                self.bench_is_troubled = true;
                self.end_activity(Ending::Stuck {
                    limit: in_words(limit),
                })
                .await;
            }
            Input::DeadlineUp => {
                let limit = in_words(self.settings.deadline.unwrap_or_default());
                let reason = format!("the run's time limit of {limit} is reached");
                self.journal.abort(Abort {
                    exit: ExitCode::Infra,
                    reason: reason.clone(),
                });
                self.cancel_activity(&reason).await;
            }
            Input::CancelRequested(reason) => {
                self.record(
                    None,
                    What::Interrupted {
                        reason: reason.clone(),
                    },
                );
                self.cancel_activity(&reason).await;
            }
        }
    }

    /// Lets go of everything, in bounded time, and closes the stream.
    async fn finish(mut self) -> RunSummary {
        if let Device::Ready(state) | Device::Stale(state) =
            std::mem::replace(&mut self.device, Device::Unprepared)
            && tokio::time::timeout(CLOSE_WALL, self.product.finish(state))
                .await
                .is_err()
        {
            let reason = format!(
                "the product was not put away within {}",
                in_words(CLOSE_WALL)
            );
            self.record(None, What::Trouble { reason });
        }
        self.drain();
        let now = self.clock.now();
        let closing = Arc::clone(&self.bench).close();
        // The last hold on the bench but the closing itself.
        let Dispatcher {
            mut journal,
            bench,
            occurrences,
            clock,
            ..
        } = self;
        drop((bench, occurrences, clock));
        if tokio::time::timeout(CLOSE_WALL, closing).await.is_err() {
            let reason = format!("the bench did not close within {}", in_words(CLOSE_WALL));
            journal.record_at(now, None, None, What::Trouble { reason });
        }
        if let Some(reason) = journal.error().map(str::to_owned) {
            journal.abort(Abort {
                exit: ExitCode::Infra,
                reason,
            });
        }
        journal.finish(now)
    }
}
