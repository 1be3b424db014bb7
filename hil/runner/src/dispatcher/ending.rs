//! How each activity ends, by itself or from outside, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use super::activity::{Activity, abort};
use super::names::{in_words, panic_message};
use super::start::BENCH_RECOVERY_WALL;
use super::{Device, Dispatcher};
use crate::bench::Recovered;
use crate::event::{Failure, What};
use crate::outcome::ScenarioError;
use crate::product::{PrepareError, Product, State};
use crate::summary::{Abort, ExitCode};
use crate::verdict::{Ending, Verdict, judge};

/// What the bench may need after the scenario's last word, bench time.
const SETTLE_ALLOWED: Duration = Duration::from_secs(1);

impl<P: Product> Dispatcher<P> {
    /// Ends the running task from outside, with the verdict that follows from `ending`.
    pub(super) async fn end_activity(&mut self, ending: Ending) {
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
    pub(super) async fn cancel_activity(&mut self, reason: &str) {
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

    pub(super) fn unit_ended(&mut self, ending: Ending) {
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
        // Nobody knows in what state a scenario that did not come to its end has left it.
        if verdict != Verdict::Pass {
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

    pub(super) fn prepared(&mut self, result: Result<State, PrepareError>) {
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

    pub(super) fn bench_recovered(&mut self, result: Result<Vec<Recovered>, JoinError>) {
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
    pub(super) async fn stop_if_unrecordable(&mut self) {
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

    async fn abort_task(&mut self) {
        match &mut self.activity {
            Activity::Idle => {}
            Activity::Running { task, .. } => abort(task).await,
            Activity::Preparing { task, .. } => abort(task).await,
            Activity::RecoveringBench { task, .. } => abort(task).await,
        }
    }
}
