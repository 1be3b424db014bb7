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
mod names;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::Instant;

use activity::{Activity, Input, Watched, abort, sleep_until};
use names::{doubled_ids, in_words, key_of, panic_message, unit_seed};
pub use settings::{Cancel, RunSettings};

use crate::bench::{Clock, Occurrence, Occurrences, Recovered, Seen, TestBench};
use crate::context::{Context, Emission, Emitter};
use crate::event::{CrashKind, CrashReport, Failure, UnitKey, What};
use crate::journal::Journal;
use crate::outcome::ScenarioError;
use crate::plan::Plan;
use crate::product::{PrepareError, Product, Setup, State};
use crate::scenario::Scenario;
use crate::summary::{Abort, ExitCode, RunSummary};
use crate::verdict::{Ending, Evidence, Judgement, Verdict, judge};

/// The ID under which trouble with getting the device ready is reported.
pub(crate) const PREPARE_ID: &str = "PREPARE";
const PREPARE_NAME: &str = "device_gets_ready";

/// After the first sign of a crash, time for the rest of the evidence: backtrace, reset cause.
const CRASH_GRACE: Duration = Duration::from_secs(2);
/// As [`CRASH_GRACE`], while the device is made ready: it may come up at the next boot.
const PREPARE_CRASH_GRACE: Duration = Duration::from_secs(10);
/// What the bench may need after the scenario's last word, bench time.
const SETTLE_ALLOWED: Duration = Duration::from_secs(1);
/// Wall time for each step of the end of the run.
const CLOSE_WALL: Duration = Duration::from_secs(10);
/// Wall time for the bench's own recovery; each of its measures has a shorter limit of its own.
const BENCH_RECOVERY_WALL: Duration = Duration::from_secs(120);

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

    /// Starts whatever comes next; false when nothing is left to do.
    fn start_next(&mut self) -> bool {
        while !self.stopping {
            if self.cancel.reason().is_some() {
                // Told before anything was started; `handle` has the same to do in the middle.
                let reason = self.cancel.reason().unwrap_or_default();
                self.record(None, What::Interrupted { reason });
                self.stopping = true;
                break;
            }
            let Some(&(scenario, attempt)) = self.queue.front() else {
                return false;
            };
            let unmet = scenario.needs.iter().find_map(|&need| self.unmet(need));
            let blocked = match (&self.device, unmet) {
                (_, Some(unmet)) => Some(unmet),
                (Device::Lost(reason), None) => Some(reason.clone()),
                _ => None,
            };
            if let Some(reason) = blocked {
                self.queue.pop_front();
                // A first attempt that was the bench's fault is not made better by having no second.
                let judgement = match attempt {
                    1 => Judgement::blocked(reason),
                    _ => judge(Ending::BenchFailed(reason), Evidence::default(), false),
                };
                self.record_judgement(key_of(scenario, attempt), Duration::ZERO, judgement, false);
            } else if self.bench_is_troubled {
                self.start_bench_recovery();
                return true;
            } else if let Device::Ready(state) = &self.device {
                let state = Arc::clone(state);
                self.queue.pop_front();
                self.start_unit(scenario, attempt, state);
                return true;
            } else {
                self.start_preparing();
                return true;
            }
        }
        false
    }

    /// Why `need` is not met, in words.
    fn unmet(&self, need: &str) -> Option<String> {
        match self.product.needs().contains(&need) {
            true => self.product.unmet(need, self.bench.as_ref()),
            false => self.bench.unmet(need),
        }
    }

    fn start_unit(&mut self, scenario: &'static Scenario, attempt: u32, state: State) {
        let key = key_of(scenario, attempt);
        self.record(Some(key.clone()), What::UnitStarted);
        let watch = self.watch(key.clone(), scenario.timeout, CRASH_GRACE);
        let mut context = Context::new(
            Arc::clone(&self.bench),
            state,
            self.emitter(Some(key)),
            Arc::clone(&watch.resets_allowed),
            unit_seed(self.settings.seed, scenario),
        );
        let bench = Arc::clone(&self.bench);
        let task = tokio::spawn(async move {
            let outcome = (scenario.body)(&mut context).await;
            bench.settle().await;
            outcome
        });
        self.activity = Activity::Running {
            scenario,
            task,
            watch,
        };
    }

    fn start_preparing(&mut self) {
        self.prepare_attempt += 1;
        let key = UnitKey {
            id: PREPARE_ID.to_owned(),
            name: PREPARE_NAME.to_owned(),
            attempt: self.prepare_attempt,
        };
        let watch = self.watch(
            key.clone(),
            self.settings.prepare_timeout,
            PREPARE_CRASH_GRACE,
        );
        let before = match &self.device {
            Device::Stale(state) => Some(Arc::clone(state)),
            _ => None,
        };
        let product = Arc::clone(&self.product);
        let mut setup = Setup {
            bench: Arc::clone(&self.bench),
            seed: self.settings.seed,
            emit: self.emitter(Some(key)),
        };
        let task = tokio::spawn(async move {
            match before {
                Some(state) => product.recover(&state, &mut setup).await,
                None => {
                    let restarted = setup.bench.restart().await;
                    restarted.map_err(|reason| PrepareError::Infra { reason })?;
                    product.prepare(&mut setup).await
                }
            }
        });
        self.activity = Activity::Preparing { task, watch };
    }

    fn start_bench_recovery(&mut self) {
        let bench = Arc::clone(&self.bench);
        let task = tokio::spawn(async move { bench.recover().await });
        self.activity = Activity::RecoveringBench {
            task,
            backstop: Instant::now() + BENCH_RECOVERY_WALL,
        };
    }

    fn watch(&self, key: UnitKey, limit: Duration, crash_grace: Duration) -> Watched {
        let started = self.clock.now();
        let backstop_limit =
            (limit * self.settings.backstop_factor).max(self.settings.backstop_min);
        Watched {
            key,
            started,
            limit,
            time_up: self.clock.guard_until(started + limit),
            backstop: Instant::now() + backstop_limit,
            backstop_limit,
            crash_grace,
            resets_allowed: Arc::default(),
            evidence: Evidence::default(),
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

    /// Something the bench saw: into the stream, and into the evidence if it is any.
    fn occurred(&mut self, seen: Seen) {
        let Seen {
            bench_time,
            device_us,
            occurrence,
        } = seen;
        let key = self.current_key();
        let now = self.clock.now();
        let reads_telemetry =
            matches!(&self.activity, Activity::Running { scenario, .. } if scenario.telemetry);
        let mut watched = self.activity.watched_mut();
        let allowed = watched
            .as_ref()
            .is_some_and(|watch| watch.resets_allowed.load(Ordering::SeqCst) > 0);
        let what = match occurrence {
            Occurrence::Log {
                level,
                module,
                at,
                text,
            } => What::Log {
                level,
                module,
                at,
                text,
            },
            Occurrence::Memory(memory) => What::Memory(memory),
            Occurrence::Device { report, data } => What::Device { report, data },
            Occurrence::Booted { boot, reason } => What::Booted { boot, reason },
            Occurrence::Reset { cause, expected } => {
                let expected = expected || allowed;
                if let (false, Some(watch)) = (expected, &mut watched) {
                    let message = cause.clone();
                    let crash = CrashReport {
                        crash: CrashKind::UnexpectedReset,
                        message,
                        backtrace: Vec::new(),
                    };
                    watch.crashed(crash, now, self.clock.as_ref());
                }
                What::Reset { cause, expected }
            }
            Occurrence::Crashed(crash) => {
                if let (false, Some(watch)) = (allowed, &mut watched) {
                    watch.crashed(crash.clone(), now, self.clock.as_ref());
                }
                What::Crashed(crash)
            }
            Occurrence::Lost {
                channel,
                count,
                detail,
            } => {
                if let (true, Some(watch)) = (reads_telemetry, &mut watched) {
                    watch
                        .evidence
                        .losses
                        .push(format!("{count} on `{channel}` ({detail})"));
                }
                What::Lost {
                    channel,
                    count,
                    detail,
                }
            }
            Occurrence::Fault { fault } => What::Fault { fault },
            Occurrence::Recovered(Recovered {
                measure,
                helped,
                detail,
            }) => What::Recovery {
                measure,
                helped,
                detail,
            },
            Occurrence::Unmodelled { what } => What::Unmodelled { what },
            Occurrence::Note { text } => What::Note { text },
            Occurrence::Trouble { reason } => {
                self.bench_is_troubled = true;
                What::Trouble { reason }
            }
        };
        self.journal
            .record_at(bench_time.unwrap_or(now), device_us, key, what);
    }

    /// Takes in everything that was said before the end of a task.
    fn drain(&mut self) {
        while let Ok(emission) = self.emissions.try_recv() {
            self.record_emission(emission);
        }
        while let Some(seen) = self.occurrences.try_next() {
            self.occurred(seen);
        }
    }

    /// Ends the running task from outside, with the verdict that follows from `ending`.
    async fn end_activity(&mut self, ending: Ending) {
        self.abort_task().await;
        match &self.activity {
            Activity::Idle => {}
            Activity::Running { .. } => self.unit_ended(ending),
            Activity::Preparing { .. } => {
                let limit = in_words(self.settings.prepare_timeout);
                self.prepared(Err(match ending {
                    Ending::TimedOut { .. } => PrepareError::Device(Box::new(Failure {
                        expected: format!("the device to get ready within {limit}"),
                        observed: "still not ready then".to_owned(),
                        at: None,
                        notes: Vec::new(),
                    })),
                    Ending::Stuck { limit } => PrepareError::Infra {
                        reason: format!(
                            "bench time stands still; given up after {limit} of wall time"
                        ),
                    },
                    Ending::BenchFailed(reason) | Ending::Panicked(reason) => {
                        PrepareError::Infra { reason }
                    }
                    Ending::Returned(Err(error)) => error.into(),
                    Ending::Returned(Ok(())) => return,
                }));
            }
            Activity::RecoveringBench { .. } => {
                self.bench_recovered(Ok(vec![Recovered {
                    measure: "bench recovery".to_owned(),
                    helped: false,
                    detail: format!(
                        "not done within {} of wall time",
                        in_words(BENCH_RECOVERY_WALL)
                    ),
                }]));
            }
        }
    }

    /// Ends the running task without a verdict, and the run with it.
    async fn cancel_activity(&mut self, reason: &str) {
        self.stopping = true;
        self.abort_task().await;
        self.drain();
        if let Activity::Running { watch, .. } =
            std::mem::replace(&mut self.activity, Activity::Idle)
        {
            self.record(
                Some(watch.key),
                What::UnitCancelled {
                    reason: reason.to_owned(),
                },
            );
        }
    }

    async fn abort_task(&mut self) {
        match &mut self.activity {
            Activity::Idle => {}
            Activity::Running { task, .. } => abort(task).await,
            Activity::Preparing { task, .. } => abort(task).await,
            Activity::RecoveringBench { task, .. } => abort(task).await,
        }
    }

    fn unit_ended(&mut self, ending: Ending) {
        self.drain();
        let Activity::Running {
            scenario, watch, ..
        } = std::mem::replace(&mut self.activity, Activity::Idle)
        else {
            return;
        };
        let took = self.clock.now().saturating_sub(watch.started);
        // The guard of a simulated bench may come late; the limit holds all the same.
        let ending = match ending {
            Ending::Returned(Ok(())) if took > watch.limit + SETTLE_ALLOWED => Ending::TimedOut {
                limit: in_words(watch.limit),
            },
            ending => ending,
        };
        let judgement = judge(ending, watch.evidence, scenario.telemetry);
        let attempt = watch.key.attempt;
        let retried = judgement.retry && attempt <= self.settings.retries && !self.stopping;
        let verdict = judgement.verdict;
        if retried {
            self.queue.push_front((scenario, attempt + 1));
        }
        if judgement.retry {
            self.bench_is_troubled = true;
        }
        // Nobody knows in what state a scenario that went wrong has left it.
        if matches!(verdict, Verdict::Fail | Verdict::Crash | Verdict::Infra) {
            self.device = match std::mem::replace(&mut self.device, Device::Unprepared) {
                Device::Ready(state) => Device::Stale(state),
                other => other,
            };
        }
        if self.settings.fail_fast && matches!(verdict, Verdict::Fail | Verdict::Crash) {
            self.stopping = true;
        }
        self.record_judgement(watch.key, took, judgement, retried);
    }

    fn prepared(&mut self, result: Result<State, PrepareError>) {
        self.drain();
        let Activity::Preparing { watch, .. } =
            std::mem::replace(&mut self.activity, Activity::Idle)
        else {
            return;
        };
        let took = self.clock.now().saturating_sub(watch.started);
        let crashed = !watch.evidence.crashes.is_empty();
        let (ready, ending) = match result {
            Ok(state) => (Some(state), Ending::Returned(Ok(()))),
            Err(PrepareError::Device(failure)) => {
                (None, Ending::Returned(Err(ScenarioError::Failure(failure))))
            }
            Err(PrepareError::Infra { reason }) => (None, Ending::BenchFailed(reason)),
            Err(PrepareError::Configuration { reason }) => {
                self.record(
                    Some(watch.key),
                    What::Trouble {
                        reason: reason.clone(),
                    },
                );
                self.journal.abort(Abort {
                    exit: ExitCode::Usage,
                    reason,
                });
                self.stopping = true;
                return;
            }
        };
        if let (Some(state), false) = (&ready, crashed) {
            self.device = Device::Ready(Arc::clone(state));
            self.prepare_attempt = 0;
            return;
        }
        let judgement = judge(ending, watch.evidence, false);
        let retried =
            judgement.retry && self.prepare_attempt <= self.settings.retries && !self.stopping;
        if retried {
            self.bench_is_troubled = true;
        } else {
            // A device that crashed on its way but is ready now can be tested further.
            self.device = match ready {
                Some(state) => Device::Ready(state),
                None => {
                    let reason = judgement.reason.clone().unwrap_or_default();
                    Device::Lost(format!("the device did not get ready: {reason}"))
                }
            };
        }
        if self.settings.fail_fast && matches!(judgement.verdict, Verdict::Fail | Verdict::Crash) {
            self.stopping = true;
        }
        self.record_judgement(watch.key, took, judgement, retried);
    }

    fn bench_recovered(&mut self, result: Result<Vec<Recovered>, JoinError>) {
        self.activity = Activity::Idle;
        self.bench_is_troubled = false;
        let measures = result.unwrap_or_else(|error| {
            vec![Recovered {
                measure: "bench recovery".to_owned(),
                helped: false,
                detail: format!("panicked, which is a bug: {}", panic_message(error)),
            }]
        });
        let helped = measures.last().is_none_or(|last| last.helped);
        for Recovered {
            measure,
            helped,
            detail,
        } in measures
        {
            self.record(
                None,
                What::Recovery {
                    measure,
                    helped,
                    detail,
                },
            );
        }
        if !helped {
            let reason = "the bench could not be brought back".to_owned();
            self.device = Device::Lost(reason.clone());
            self.journal.abort(Abort {
                exit: ExitCode::Infra,
                reason,
            });
        }
    }

    /// A run that can't be recorded ends: nothing it finds could be shown.
    async fn stop_if_unrecordable(&mut self) {
        let Some(reason) = self.journal.error().map(str::to_owned) else {
            return;
        };
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.end_activity(Ending::BenchFailed(reason.clone())).await;
        self.activity = Activity::Idle;
        self.journal.abort(Abort {
            exit: ExitCode::Infra,
            reason,
        });
    }

    fn record(&mut self, unit: Option<UnitKey>, what: What) {
        self.journal.record_at(self.clock.now(), None, unit, what);
    }

    fn record_emission(&mut self, emission: Emission) {
        self.journal
            .record_at(emission.bench_time, None, emission.unit, emission.what);
    }

    fn record_judgement(
        &mut self,
        key: UnitKey,
        took: Duration,
        judgement: Judgement,
        retried: bool,
    ) {
        let again = self.again(&key);
        self.record(
            Some(key),
            What::UnitFinished {
                verdict: judgement.verdict,
                took_us: took.as_micros() as u64,
                reason: judgement.reason,
                failure: judgement.failure,
                crash: judgement.crash,
                again,
                retried,
            },
        );
    }

    /// What to type to try this again: by ID, or by name where several scenarios share the ID.
    fn again(&self, key: &UnitKey) -> String {
        let (command, rest) = &self.settings.again;
        let what = match key.id.as_str() {
            PREPARE_ID => "",
            id if self.doubled_ids.contains(&id) => &key.name,
            id => id,
        };
        [command.as_str(), what, rest.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn current_key(&self) -> Option<UnitKey> {
        match &self.activity {
            Activity::Running { watch, .. } | Activity::Preparing { watch, .. } => {
                Some(watch.key.clone())
            }
            Activity::Idle | Activity::RecoveringBench { .. } => None,
        }
    }

    fn emitter(&self, unit: Option<UnitKey>) -> Emitter {
        Emitter::new(Arc::clone(&self.clock), unit, self.emissions_in.clone())
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
