//! What is started next: a unit, or whatever must come before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Activity, Watched};
use super::names::{key_of, unit_seed};
use super::{Device, Dispatcher};
use crate::context::Context;
use crate::event::{UnitKey, What};
use crate::product::{PrepareError, Product, Setup, State};
use crate::scenario::Scenario;
use crate::verdict::{Ending, Evidence, Judgement, judge};

/// The ID under which trouble with getting the device ready is reported.
pub(crate) const PREPARE_ID: &str = "PREPARE";
/// And the name that goes with it.
const PREPARE_NAME: &str = "device_gets_ready";

/// After the first sign of a crash, time for the rest of the evidence: backtrace, reset cause.
const CRASH_GRACE: Duration = Duration::from_secs(2);
/// As [`CRASH_GRACE`], while the device is made ready: it may come up at the next boot.
const PREPARE_CRASH_GRACE: Duration = Duration::from_secs(10);
/// Wall time for the bench's own recovery; each of its measures has a shorter limit of its own.
pub(super) const BENCH_RECOVERY_WALL: Duration = Duration::from_secs(120);

impl<P: Product> Dispatcher<P> {
    /// Starts whatever comes next; false when nothing is left to do.
    pub(super) fn start_next(&mut self) -> bool {
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
}
