//! What a scenario sees of the world.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::sync::mpsc;

use crate::bench::{Clock, TestBench, Timeout};
use crate::event::{Failure, UnitKey, What};
use crate::outcome::ScenarioError;
use crate::product::State;

/// The world of one attempt of one scenario.
pub struct Context {
    bench: Arc<dyn TestBench>,
    clock: Arc<dyn Clock>,
    state: State,
    emit: Emitter,
    resets_allowed: Arc<AtomicU32>,
    rng: ChaCha8Rng,
    seed: u64,
}

impl Context {
    pub(crate) fn new(
        bench: Arc<dyn TestBench>,
        state: State,
        emit: Emitter,
        resets_allowed: Arc<AtomicU32>,
        seed: u64,
    ) -> Self {
        let clock = bench.clock();
        Context {
            bench,
            clock,
            state,
            emit,
            resets_allowed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            seed,
        }
    }

    /// What the product prepared.
    ///
    /// # Panics
    /// When the product's state is of another type, which is a bug in the suite.
    pub fn state<T: Any + Send + Sync>(&self) -> Arc<T> {
        Arc::clone(&self.state).downcast().unwrap_or_else(|_| {
            panic!(
                "the product's state is not a `{}`",
                std::any::type_name::<T>()
            )
        })
    }

    /// The bench as what it is.
    ///
    /// # Panics
    /// When the bench is of another kind, which is a bug in the suite.
    pub fn bench_as<B: TestBench>(&self) -> &B {
        (self.bench.as_ref() as &dyn Any)
            .downcast_ref()
            .unwrap_or_else(|| panic!("the bench is not a `{}`", std::any::type_name::<B>()))
    }

    /// Bench time.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Waits for bench time to pass.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// The future's output, unless it takes longer than `limit` of bench time.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Timeout> {
        self.clock.timeout(limit, future).await
    }

    /// Chance, from the run's seed and the scenario's name: the same in every run with that seed.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// The seed behind [`Context::rng`].
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The way to tell the stream of events something; can be cloned into tasks.
    pub fn emit(&self) -> &Emitter {
        &self.emit
    }

    /// A line for the reader of the report.
    pub fn note(&self, text: impl fmt::Display) {
        self.emit.note(text);
    }

    /// A figure for the report: `context.measured("round trip, p95", 12.3, "ms")`.
    pub fn measured(&self, figure: impl fmt::Display, value: f64, unit: &str) {
        self.emit.event(What::Measured {
            figure: figure.to_string(),
            value,
            unit_of_measure: unit.to_owned(),
        });
    }

    /// While the guard lives, a reset or a crash of the device is not held against it.
    /// Keep it until the device is back.
    #[must_use = "resets are allowed only while the guard lives"]
    pub fn allow_resets(&self) -> ResetsAllowed {
        self.resets_allowed.fetch_add(1, Ordering::SeqCst);
        ResetsAllowed(Arc::clone(&self.resets_allowed))
    }

    /// Goes on if `holds`, and else fails with what was expected and what was observed instead.
    #[track_caller]
    pub fn expect(
        &self,
        holds: bool,
        expected: impl fmt::Display,
        observed: impl fmt::Display,
    ) -> Result<(), ScenarioError> {
        match holds {
            true => Ok(()),
            false => Err(ScenarioError::failure(expected, observed)),
        }
    }

    /// Goes on if both are equal: `context.expect_equal("status", "ok", &answer.status)?`.
    #[track_caller]
    pub fn expect_equal<E, O>(
        &self,
        what: impl fmt::Display,
        expected: E,
        observed: O,
    ) -> Result<(), ScenarioError>
    where
        E: PartialEq<O> + fmt::Debug,
        O: fmt::Debug,
    {
        match expected == observed {
            true => Ok(()),
            false => Err(ScenarioError::failure(
                format_args!("{what} {expected:?}"),
                format_args!("{observed:?}"),
            )),
        }
    }

    /// Goes on if `observed` is within `tolerance` of `expected`, both ends included.
    #[track_caller]
    pub fn expect_within(
        &self,
        what: impl fmt::Display,
        expected: Duration,
        tolerance: Duration,
        observed: Duration,
    ) -> Result<(), ScenarioError> {
        match observed.abs_diff(expected) <= tolerance {
            true => Ok(()),
            false => Err(ScenarioError::failure(
                format_args!(
                    "{what} {}, within {}",
                    seconds(expected),
                    seconds(tolerance)
                ),
                seconds(observed),
            )),
        }
    }

    /// The value, or a failure when there is none: `context.expect_some(first, "a boot event", "none in 3 s")?`.
    #[track_caller]
    pub fn expect_some<T>(
        &self,
        value: Option<T>,
        expected: impl fmt::Display,
        observed: impl fmt::Display,
    ) -> Result<T, ScenarioError> {
        let at = Location::caller();
        value.ok_or_else(|| {
            ScenarioError::Failure(Box::new(Failure {
                expected: expected.to_string(),
                observed: observed.to_string(),
                at: Some(format!("{}:{}", at.file(), at.line())),
                notes: Vec::new(),
            }))
        })
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// While it lives, resets are not held against the device. See [`Context::allow_resets`].
pub struct ResetsAllowed(Arc<AtomicU32>);

impl Drop for ResetsAllowed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The way into the stream of events, from any task.
#[derive(Clone)]
pub struct Emitter {
    clock: Arc<dyn Clock>,
    unit: Option<UnitKey>,
    channel: mpsc::UnboundedSender<Emission>,
}

/// An event that is not in the journal yet.
pub(crate) struct Emission {
    pub(crate) bench_time: Duration,
    pub(crate) unit: Option<UnitKey>,
    pub(crate) what: What,
}

impl Emitter {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        unit: Option<UnitKey>,
        channel: mpsc::UnboundedSender<Emission>,
    ) -> Self {
        Emitter {
            clock,
            unit,
            channel,
        }
    }

    /// Adds an event, stamped now. After the run has ended, nothing happens.
    pub fn event(&self, what: What) {
        let emission = Emission {
            bench_time: self.clock.now(),
            unit: self.unit.clone(),
            what,
        };
        let _ = self.channel.send(emission);
    }

    /// A line for the reader of the report.
    pub fn note(&self, text: impl fmt::Display) {
        self.event(What::Note {
            text: text.to_string(),
        });
    }

    /// Begins a step that people see: one word, and what is being done.
    pub fn step(&self, step: &str, doing: impl fmt::Display) -> Step {
        self.event(What::StepStarted {
            step: step.to_owned(),
            doing: doing.to_string(),
        });
        Step {
            emit: self.clone(),
            step: step.to_owned(),
            since: Instant::now(),
        }
    }
}

/// A step under way. Dropped without [`Step::finish`], it simply has no result.
pub struct Step {
    emit: Emitter,
    step: String,
    since: Instant,
}

impl Step {
    /// How far it has come.
    pub fn progress(&self, done: u64, total: Option<u64>) {
        self.emit.event(What::StepProgress {
            step: self.step.clone(),
            done,
            total,
        });
    }

    /// What came of it, in one line.
    pub fn finish(self, result: impl fmt::Display) {
        let took_us = self.since.elapsed().as_micros() as u64;
        self.emit.event(What::StepFinished {
            step: self.step,
            result: result.to_string(),
            took_us,
        });
    }
}
