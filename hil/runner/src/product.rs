//! How a device gets ready for scenarios: written once for each product, beside its scenarios.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use crate::bench::{Clock, TestBench};
use crate::context::Emitter;
use crate::event::Failure;
use crate::outcome::ScenarioError;

/// What a product keeps while a run lasts: connections, names, whatever its scenarios need.
/// Scenarios get it back by type, with [`Context::state`](crate::Context::state).
pub type State = Arc<dyn Any + Send + Sync>;

/// A product under test.
pub trait Product: Send + Sync + 'static {
    /// What it is called, in reports.
    fn name(&self) -> String;

    /// The needs that its scenarios may name, apart from those that the bench knows.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Why a need out of [`Product::needs`] is not met on this bench, or `None` if it is.
    /// Asked before anything is prepared.
    fn unmet(&self, _need: &str, _bench: &dyn TestBench) -> Option<String> {
        None
    }

    /// Gets the flashed device ready: starts what it talks to, provisions it, waits until it works.
    fn prepare(
        &self,
        setup: &mut Setup,
    ) -> impl Future<Output = Result<State, PrepareError>> + Send;

    /// Gets it ready again after a crash, a reset or trouble with the bench.
    fn recover(
        &self,
        state: &State,
        setup: &mut Setup,
    ) -> impl Future<Output = Result<State, PrepareError>> + Send;

    /// Stops what `prepare` started. Called once, at the end of the run.
    fn finish(&self, _state: State) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What a product may use while it gets a device ready.
pub struct Setup {
    /// The bench.
    pub bench: Arc<dyn TestBench>,
    /// The run's seed.
    pub seed: u64,
    /// The way to say what is being done.
    pub emit: Emitter,
}

impl Setup {
    /// Bench time.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.bench.clock()
    }

    /// The bench as what it is, or `None` if it is another kind.
    pub fn bench_as<B: TestBench>(&self) -> Option<&B> {
        (self.bench.as_ref() as &dyn Any).downcast_ref()
    }
}

/// Why a device could not be made ready.
#[derive(Debug)]
pub enum PrepareError {
    /// The firmware's fault: it did not boot, connect or answer. Evidence of a crash overrides it.
    Device(Box<Failure>),
    /// The bench's fault.
    Infra {
        /// What went wrong, with its causes.
        reason: String,
    },
    /// Whoever started the run must change something first: a port that is taken, a missing
    /// password. The run ends with the exit code for configuration.
    Configuration {
        /// What to change, with a hint in the imperative.
        reason: String,
    },
}

impl From<ScenarioError> for PrepareError {
    fn from(error: ScenarioError) -> Self {
        match error {
            ScenarioError::Failure(failure) => PrepareError::Device(failure),
            ScenarioError::Infra { reason } => PrepareError::Infra { reason },
            ScenarioError::Blocked { reason } => PrepareError::Configuration { reason },
        }
    }
}
