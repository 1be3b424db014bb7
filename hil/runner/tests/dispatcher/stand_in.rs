//! A bench without hardware, a product without a device, and a sink that keeps lines of text.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hil_runner::{
    BoxFuture, Clock, CrashKind, CrashReport, Event, Failure, Occurrence, Occurrences,
    PrepareError, Product, RecordError, Recovered, Seen, Setup, Sink, State, TestBench, What,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bench time is tokio's paused test clock, unless it is frozen.
pub(crate) struct StandInClock {
    start: Instant,
    frozen: AtomicBool,
}

impl Clock for StandInClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        let at = self.start + at;
        match self.frozen.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => Box::pin(tokio::time::sleep_until(at)),
        }
    }
}

/// A bench that sees what a test makes it see.
pub(crate) struct StandInBench {
    clock: Arc<StandInClock>,
    sender: Mutex<Option<mpsc::UnboundedSender<Seen>>>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Seen>>>,
    /// Whether recovery helps.
    pub(crate) recovers: AtomicBool,
    /// Whether the rig was let go of.
    pub(crate) closed: AtomicBool,
    /// Seen only when the bench has settled.
    late: Mutex<Vec<Occurrence>>,
}

impl StandInBench {
    pub(crate) fn new() -> Arc<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        Arc::new(StandInBench {
            clock: Arc::new(StandInClock {
                start: Instant::now(),
                frozen: AtomicBool::new(false),
            }),
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            recovers: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            late: Mutex::default(),
        })
    }

    pub(crate) fn sees(&self, occurrence: Occurrence) {
        if let Some(sender) = self.sender.lock().unwrap().as_ref() {
            sender.send(occurrence.into()).unwrap();
        }
    }

    pub(crate) fn sees_late(&self, occurrence: Occurrence) {
        self.late.lock().unwrap().push(occurrence);
    }

    /// The device panics.
    pub(crate) fn panics(&self, message: &str) {
        self.sees(Occurrence::Crashed(panic(message)));
    }

    /// The bench stops seeing anything.
    pub(crate) fn stops(&self) {
        self.sender.lock().unwrap().take();
    }

    pub(crate) fn freeze(&self) {
        self.clock.frozen.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn panic(message: &str) -> CrashReport {
    CrashReport {
        crash: CrashKind::Panic,
        message: message.into(),
        backtrace: Vec::new(),
    }
}

impl TestBench for StandInBench {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn occurrences(&self) -> Box<dyn Occurrences> {
        Box::new(
            self.receiver
                .lock()
                .unwrap()
                .take()
                .expect("asked for once"),
        )
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn unmet(&self, need: &str) -> Option<String> {
        (need != "power").then(|| format!("the rig has no `{need}`"))
    }

    fn recover(&self) -> BoxFuture<'_, Vec<Recovered>> {
        let helped = self.recovers.load(Ordering::SeqCst);
        Box::pin(async move {
            vec![Recovered {
                measure: "re-attach".into(),
                helped,
                detail: "tried".into(),
            }]
        })
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        for occurrence in self.late.lock().unwrap().drain(..) {
            self.sees(occurrence);
        }
        Box::pin(async {})
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, ()> {
        self.closed.store(true, Ordering::SeqCst);
        Box::pin(async {})
    }
}

type Preparation = Box<dyn Fn(u32, &StandInBench) -> Result<u32, PrepareError> + Send + Sync>;

/// A product whose state is the number of times it was made ready.
pub(crate) struct StandInProduct {
    pub(crate) prepare: Preparation,
    pub(crate) times: AtomicU32,
    pub(crate) finished: AtomicBool,
    /// The device hangs while it is made ready.
    pub(crate) hangs: bool,
}

impl StandInProduct {
    pub(crate) fn new(
        prepare: impl Fn(u32, &StandInBench) -> Result<u32, PrepareError> + Send + Sync + 'static,
    ) -> StandInProduct {
        StandInProduct {
            prepare: Box::new(prepare),
            times: AtomicU32::new(0),
            finished: AtomicBool::new(false),
            hangs: false,
        }
    }

    async fn make_ready(&self, setup: &mut Setup) -> Result<State, PrepareError> {
        let times = self.times.fetch_add(1, Ordering::SeqCst) + 1;
        let step = setup.emit.step("boot", "waiting for the device");
        let bench = setup
            .bench_as::<StandInBench>()
            .expect("the stand-in bench");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let state: State = Arc::new((self.prepare)(times, bench)?);
        step.finish(format_args!("ready, time {times}"));
        Ok(state)
    }
}

impl Product for StandInProduct {
    fn name(&self) -> String {
        "stand-in".into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["mqtt", "tls"]
    }

    fn unmet(&self, need: &str, _bench: &dyn TestBench) -> Option<String> {
        (need == "tls").then(|| "the broker speaks no TLS".into())
    }

    async fn prepare(&self, setup: &mut Setup) -> Result<State, PrepareError> {
        self.make_ready(setup).await
    }

    async fn recover(&self, _state: &State, setup: &mut Setup) -> Result<State, PrepareError> {
        self.make_ready(setup).await
    }

    async fn finish(&self, _state: State) {
        self.finished.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn device_error(expected: &str, observed: &str) -> PrepareError {
    PrepareError::Device(Box::new(Failure {
        expected: expected.into(),
        observed: observed.into(),
        at: None,
        notes: Vec::new(),
    }))
}

/// Keeps a line for each event, and fails after some when asked to.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) full_after: Option<u64>,
}

impl Sink for Lines {
    fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        if self.full_after.is_some_and(|limit| event.sequence >= limit) {
            return Err(RecordError {
                path: "target/hil/r/events.ndjson".into(),
                source: std::io::Error::from(std::io::ErrorKind::StorageFull),
            });
        }
        let unit = event.unit.as_ref().map_or(String::new(), |unit| {
            format!("{}#{} ", unit.name, unit.attempt)
        });
        let text = match &event.what {
            What::UnitStarted => "started".into(),
            What::UnitFinished {
                verdict,
                reason,
                retried,
                again,
                ..
            } => {
                let reason = reason.as_deref().unwrap_or("-");
                let retried = if *retried { " (again)" } else { "" };
                let again = if reason == "-" {
                    String::new()
                } else {
                    format!(" <{again}>")
                };
                format!("{} {reason}{retried}{again}", verdict.name())
            }
            What::UnitCancelled { reason } => format!("cancelled: {reason}"),
            What::Reset { cause, expected } => format!("reset: {cause}, expected {expected}"),
            What::Crashed(crash) => format!("{}: {}", crash.crash.name(), crash.message),
            What::Lost { channel, count, .. } => format!("lost {count} on {channel}"),
            What::Trouble { reason } => format!("trouble: {reason}"),
            What::Recovery {
                measure, helped, ..
            } => format!("recovery: {measure}, helped {helped}"),
            What::Interrupted { reason } => format!("interrupted: {reason}"),
            What::StepFinished { step, result, .. } => format!("{step}: {result}"),
            What::Note { text } => format!("note: {text}"),
            What::RunFinished { summary } => {
                let counts = summary.counts;
                format!(
                    "{} passed, {} failed, {} crashed, {} infra, {} blocked, {} not run",
                    counts.passed,
                    counts.failed,
                    counts.crashed,
                    counts.infra,
                    counts.blocked,
                    counts.not_run
                )
            }
            _ => return Ok(()),
        };
        self.lines.lock().unwrap().push(format!("{unit}{text}"));
        Ok(())
    }
}
