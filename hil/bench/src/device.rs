//! The device under test, as scenarios use it: told what to do over RTT, listened to.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use firmware_wire::{
    Connection, ControlBody, ControlFrame, Fault, Hello, MemorySample, Outcome, Provision,
};
use tokio::sync::{broadcast, watch};

use crate::{
    BenchError,
    backtrace::BacktraceFrame,
    event::{Crash, RttProblem},
    monitor::is_connected,
    session::SessionHandle,
    shared::{Losses, Received, Shared},
};

/// How long a control frame may take to be answered, bench time. Provisioning erases a flash sector.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A device answers before it plays a fault, as it might not be able to afterwards; and lets the
/// host read that. By then the fault has struck, bench time.
const STRUCK_WITHIN: Duration = Duration::from_millis(100);

/// The device under test; clones are the same device.
#[derive(Clone)]
pub struct Device {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: SessionHandle,
    sequence: Arc<AtomicU32>,
}

impl Device {
    pub(crate) fn new(shared: Arc<Shared>, session: SessionHandle) -> Self {
        Self {
            shared,
            session,
            sequence: Arc::default(),
        }
    }

    /// Sends a control frame and waits for its answer.
    ///
    /// A device that is told to reset or to crash may do so before it answers; then there is
    /// [`BenchError::NoAnswer`] only if it was not one of these.
    ///
    /// # Errors
    /// [`BenchError::NoAnswer`], [`BenchError::RttLost`], [`BenchError::NoImage`], or the probe's.
    pub async fn control(&self, body: ControlBody) -> Result<Outcome, BenchError> {
        let what = name(&body);
        let injects = matches!(body, ControlBody::Inject(_));
        let may_not_answer = matches!(body, ControlBody::Reset)
            // Which bug to have is kept for the next boot: nothing strikes.
            || injects && !matches!(body, ControlBody::Inject(Fault::Mutant { .. }));
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.await_answer(sequence);
        let mut rtt = self.shared.rtt.subscribe();
        // The device's polling of its channel takes time that nobody should see pass in a flash.
        let guard = self.shared.clock.in_flight();
        let frame = ControlFrame { sequence, body };
        self.session
            .call(move |worker| worker.send(&frame))
            .await??;
        let lost = async {
            match rtt.wait_for(Option::is_some).await {
                Ok(problem) => problem.clone(),
                Err(_) => None,
            }
        };
        let outcome = self.shared.clock.timeout(ANSWER_WITHIN, async {
            tokio::select! {
                biased;
                outcome = answer => Ok(outcome.ok()),
                Some(problem) = lost => Err(BenchError::RttLost(problem)),
            }
        });
        let outcome = outcome.await;
        drop(guard);
        if injects && matches!(outcome, Ok(Ok(Some(Outcome::Done)))) {
            self.shared.clock.sleep(STRUCK_WITHIN).await;
        }
        match outcome {
            Ok(Ok(Some(outcome))) => Ok(outcome),
            // The device was reset in between.
            Ok(Ok(None)) if may_not_answer => Ok(Outcome::Done),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) | Err(_) => Err(BenchError::NoAnswer {
                what,
                within: ANSWER_WITHIN,
            }),
        }
    }

    /// As [`Device::control`], with a refusal as an error.
    ///
    /// # Errors
    /// [`BenchError::Refused`], and those of [`Device::control`].
    pub async fn demand(&self, body: ControlBody) -> Result<(), BenchError> {
        let what = name(&body);
        match self.control(body).await? {
            Outcome::Done => Ok(()),
            Outcome::Refused(reason) => Err(BenchError::Refused { what, reason }),
        }
    }

    /// Gives the device its configuration; it keeps it in flash and connects with it.
    ///
    /// # Errors
    /// As [`Device::demand`].
    pub async fn provision(&self, provision: &Provision) -> Result<(), BenchError> {
        self.demand(ControlBody::Provision(provision.clone())).await
    }

    /// Waits until the device has said hello after the latest reset; at once if it has.
    ///
    /// # Errors
    /// [`BenchError::NoBoot`] with the place where the firmware was, when it does not within
    /// `limit` of bench time; [`BenchError::WireVersion`].
    pub async fn wait_boot(&self, limit: Duration) -> Result<Hello, BenchError> {
        let mut hellos = self.shared.hello.subscribe();
        // The guard that `wait_for` gives is not kept: it can't go from thread to thread.
        let hello = async {
            let hello = hellos.wait_for(Option::is_some).await.ok()?;
            hello.clone()
        };
        match self.shared.clock.timeout(limit, hello).await {
            Ok(hello) => check_version(hello.ok_or(BenchError::Closed)?),
            Err(_) => {
                let rtt = self.shared.rtt.borrow().clone();
                Err(BenchError::NoBoot {
                    within: limit,
                    rtt,
                    place: self.place().await,
                })
            }
        }
    }

    /// Where the firmware is right now, for people; looking halts the chip for a moment, which
    /// turns its watchdogs off until the next reset.
    async fn place(&self) -> Option<String> {
        let backtrace = self.session.call(|worker| worker.backtrace()).await;
        let frames = backtrace.ok()?.ok()?;
        frames.first().map(BacktraceFrame::outside_of_library)
    }

    /// What the device said at this boot; none until it did.
    #[must_use]
    pub fn hello(&self) -> Option<Hello> {
        self.shared.hello.borrow().clone()
    }

    /// The latest memory sample of this boot.
    #[must_use]
    pub fn memory(&self) -> Option<MemorySample> {
        self.shared.memory.borrow().clone()
    }

    /// Waits for the next memory sample. Give it a [`crate::Clock::timeout`].
    ///
    /// # Errors
    /// [`BenchError::Closed`].
    pub async fn next_memory(&self) -> Result<MemorySample, BenchError> {
        let mut samples = self.shared.memory.subscribe();
        samples.borrow_and_update();
        loop {
            samples.changed().await.map_err(|_| BenchError::Closed)?;
            if let Some(sample) = samples.borrow_and_update().clone() {
                return Ok(sample);
            }
        }
    }

    /// The device's address on its network, as it said last; none before it said one.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        *self.shared.address.borrow()
    }

    /// How far the device has come on its way to the broker; none from a boot on until its network
    /// is up.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Option<Connection>> {
        self.shared.connection.subscribe()
    }

    /// Waits until the device has an open session with the broker. Give it a
    /// [`crate::Clock::timeout`]; [`Device::connection`] then says how far it came.
    ///
    /// # Errors
    /// [`BenchError::Closed`].
    pub async fn wait_connected(&self) -> Result<(), BenchError> {
        let connected = |state: &Option<Connection>| state.as_ref().is_some_and(is_connected);
        match self.connection().wait_for(connected).await {
            Ok(_) => Ok(()),
            Err(_) => Err(BenchError::Closed),
        }
    }

    /// Crashes from now on.
    #[must_use]
    pub fn crashes(&self) -> CrashWatch {
        CrashWatch(self.shared.crashes.subscribe())
    }

    /// What is wrong with RTT, if something is.
    #[must_use]
    pub fn rtt(&self) -> watch::Receiver<Option<RttProblem>> {
        self.shared.rtt.subscribe()
    }

    /// What did not arrive whole since the bench was opened.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared.losses()
    }

    /// How many bytes were read from RTT since the bench was opened.
    #[must_use]
    pub fn received(&self) -> Received {
        self.shared.received()
    }

    /// The next reset is part of a scenario: it is no crash.
    ///
    /// # Errors
    /// [`BenchError::Closed`].
    pub async fn expect_reset(&self) -> Result<(), BenchError> {
        self.session.call(|worker| worker.expect_reset()).await
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("hello", &self.hello())
            .finish_non_exhaustive()
    }
}

/// Crashes of the device, from the moment it was made.
#[derive(Debug)]
pub struct CrashWatch(broadcast::Receiver<Arc<Crash>>);

impl CrashWatch {
    /// Waits for the next crash; for ever when the bench is closed.
    pub async fn next(&mut self) -> Arc<Crash> {
        loop {
            match self.0.recv().await {
                Ok(crash) => return crash,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// A crash that has happened already, if one has.
    pub fn seen(&mut self) -> Option<Arc<Crash>> {
        loop {
            match self.0.try_recv() {
                Ok(crash) => return Some(crash),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

fn check_version(hello: Hello) -> Result<Hello, BenchError> {
    if hello.wire_version == firmware_wire::VERSION {
        return Ok(hello);
    }
    Err(BenchError::WireVersion {
        device: hello.wire_version,
        host: firmware_wire::VERSION,
    })
}

fn name(body: &ControlBody) -> &'static str {
    match body {
        ControlBody::Ping => "ping",
        ControlBody::Provision(_) => "provision",
        ControlBody::SetTime { .. } => "set time",
        ControlBody::SetTelemetryInterval { .. } => "set telemetry interval",
        ControlBody::SetTrace { .. } => "set trace",
        ControlBody::Reset => "reset",
        ControlBody::Certificate(_) => "certificate",
        ControlBody::SimulateSensors { .. } => "simulate sensors",
        ControlBody::SetSimulatedSensor { .. } => "set simulated sensor",
        ControlBody::Inject(_) => "inject",
    }
}
