//! A rig opened: lease, virtual rig, probe, RTT and clock, in one hand.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use hil_rig::{FixtureKind, Probe, ResolvedRig};
use time::OffsetDateTime;
use tokio::sync::{broadcast, mpsc};
use virtual_rig::VirtualRig;

use crate::{
    BenchError, BenchEvent, Clock, Device, FileLeases, FirmwareImage, FlashReport, Lease, Leases,
    backtrace::BacktraceFrame,
    event::StampedEvent,
    fixture::{self, BoardSource, Power, Relays, Sensors},
    flash,
    probe::{Opener, register_plugins},
    session::{Flow, SessionThread},
    shared::Shared,
    simulated::{self, SimulatedFlow},
};

/// How a bench is opened, beyond what the rig says.
#[derive(Debug)]
pub struct OpenOptions {
    /// The project: below it, `target/hil/rigs` keeps what belongs to rigs.
    pub project_root: PathBuf,
    /// All chance inside the simulator comes from here.
    pub seed: u64,
    /// What the rig is used for, for whoever finds it in use.
    pub purpose: String,
    /// Where all events go, in order.
    pub events: Option<mpsc::UnboundedSender<StampedEvent>>,
    /// Where the simulated network's traffic is recorded, as pcapng; nothing on a real rig.
    pub capture: Option<PathBuf>,
    /// The date at bench time zero.
    pub epoch: OffsetDateTime,
    /// A device that says nothing for this long, bench time, is silent: a crash.
    pub silence: Duration,
}

impl OpenOptions {
    /// Opens for `purpose` now, with seed 0, nothing recorded.
    #[must_use]
    pub fn new(project_root: impl Into<PathBuf>, purpose: impl Into<String>) -> Self {
        Self {
            project_root: project_root.into(),
            seed: 0,
            purpose: purpose.into(),
            events: None,
            capture: None,
            epoch: OffsetDateTime::now_utc(),
            silence: Duration::from_secs(30),
        }
    }
}

/// The fixture of a bench.
enum Fixture {
    None,
    Board {
        board: fixture::Board,
        switches_power: bool,
        #[expect(dead_code, reason = "held for its drop")]
        port: fixture::PortThread,
    },
    /// Sensors that the firmware simulates.
    Firmware,
}

/// A rig opened.
///
/// Dropping it closes it: RTT drained, the chip left running, the virtual rig stopped with its
/// flash kept, the lease given back. [`Bench::close`] does the same without blocking the runtime.
pub struct Bench {
    // In the order in which they must end.
    fixture: Fixture,
    session: SessionThread,
    virtual_rig: Option<VirtualRig>,
    forwarder: Option<JoinHandle<()>>,
    lease: Option<Box<dyn Lease>>,
    rig: ResolvedRig,
    state_directory: PathBuf,
    device: Device,
    shared: Arc<Shared>,
    /// The network is being recorded.
    captures: AtomicBool,
}

impl Bench {
    /// Opens `rig`: takes its lease, starts it if it is virtual, attaches to its chip, which goes on
    /// running what is in its flash.
    ///
    /// # Errors
    /// [`BenchError`]; nothing is left behind.
    pub async fn open(rig: &ResolvedRig, options: OpenOptions) -> Result<Self, BenchError> {
        let leases = FileLeases::new(options.project_root.join("target/hil/rigs"));
        Self::open_with(rig, options, &leases).await
    }

    /// As [`Bench::open`], with leases from elsewhere.
    ///
    /// # Errors
    /// As [`Bench::open`].
    pub async fn open_with(
        rig: &ResolvedRig,
        options: OpenOptions,
        leases: &dyn Leases,
    ) -> Result<Self, BenchError> {
        let lease = leases.take(&rig.rig.name, &options.purpose)?;
        let state_directory = rig.rig.state_directory(&options.project_root);
        register_plugins();
        let virtual_rig = match &rig.rig.probe {
            Probe::Usb(_) => None,
            Probe::Virtual(probe) => Some(simulated::start(simulated::Start {
                name: &rig.rig.name,
                probe,
                seed: options.seed,
                epoch: options.epoch.into(),
                state_directory: state_directory.clone(),
                fixture: rig.rig.fixture.as_ref(),
                capture: options.capture.clone(),
            })?),
        };
        let (clock, flow) = match &virtual_rig {
            None => (Clock::wall(options.epoch), Flow::wall()),
            Some(rig) => (
                Clock::chip(Arc::new(rig.clock()), options.epoch),
                Flow::Chip(Box::new(SimulatedFlow::new(rig.clock()))),
            ),
        };
        let shared = Arc::new(Shared::new(clock, options.events));
        let opener = Opener::new(&rig.rig, virtual_rig.as_ref().map(VirtualRig::selector));
        let session =
            SessionThread::start(opener, flow, Arc::clone(&shared), options.silence).await?;
        let device = Device::new(Arc::clone(&shared), session.handle());
        let mut bench = Self {
            fixture: Fixture::None,
            session,
            virtual_rig,
            forwarder: None,
            lease: Some(lease),
            rig: rig.clone(),
            state_directory,
            device,
            shared,
            captures: AtomicBool::new(options.capture.is_some()),
        };
        bench.forward_events()?;
        bench.open_fixture().await?;
        Ok(bench)
    }

    fn forward_events(&mut self) -> Result<(), BenchError> {
        let Some(rig) = &self.virtual_rig else {
            return Ok(());
        };
        let forwarder = simulated::forward_events(
            rig,
            Arc::clone(&self.shared),
            self.session.handle(),
            tokio::runtime::Handle::current(),
        );
        let forwarder = forwarder.map_err(|error| BenchError::VirtualRig {
            source: Box::new(error),
        })?;
        self.forwarder = Some(forwarder);
        Ok(())
    }

    async fn open_fixture(&mut self) -> Result<(), BenchError> {
        let Some(of_rig) = &self.rig.rig.fixture else {
            return Ok(());
        };
        let (source, switches_power) = match &of_rig.kind {
            FixtureKind::Firmware => {
                self.fixture = Fixture::Firmware;
                return Ok(());
            }
            FixtureKind::Board(board) => {
                (BoardSource::Rig(board.port.clone()), board.switches_power)
            }
            FixtureKind::Virtual(_) => match &self.virtual_rig {
                Some(rig) => {
                    let port = rig.fixture_port().map_err(|error| BenchError::VirtualRig {
                        source: Box::new(error),
                    })?;
                    (BoardSource::Virtual(Box::new(move || port.path())), true)
                }
                // A rig file that says so was refused.
                None => return Ok(()),
            },
        };
        let (port, board) =
            fixture::open(source, Arc::clone(&self.shared), self.session.handle()).await?;
        self.fixture = Fixture::Board {
            board,
            switches_power,
            port,
        };
        Ok(())
    }

    /// The sensors on the device's bus, if the rig has any.
    #[must_use]
    pub fn sensors(&self) -> Option<Sensors> {
        match &self.fixture {
            Fixture::None => None,
            Fixture::Board { board, .. } => Some(Sensors::of_board(board.clone())),
            Fixture::Firmware => Some(Sensors::of_firmware(
                self.device.clone(),
                self.rig.rig.fixture.as_ref().map_or(0, |f| f.sensors),
            )),
        }
    }

    /// The contacts behind the device's relays, if the rig has any.
    #[must_use]
    pub fn relays(&self) -> Option<Relays> {
        match &self.fixture {
            Fixture::Board { board, .. } if board.capabilities().relays > 0 => {
                Some(Relays::new(board.clone()))
            }
            _ => None,
        }
    }

    /// The device's supply, if the rig can switch it.
    #[must_use]
    pub fn power(&self) -> Option<Power> {
        match &self.fixture {
            Fixture::Board {
                board,
                switches_power: true,
                ..
            } if board.capabilities().power => Some(Power::new(board.clone())),
            _ => None,
        }
    }

    /// The rig this bench is.
    #[must_use]
    pub fn rig(&self) -> &ResolvedRig {
        &self.rig
    }

    /// Its clock: the only one that scenarios use.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The device under test.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The simulated parts of the rig, if it is virtual: network faults, the cable, the power,
    /// port forwards, statistics.
    #[must_use]
    pub fn virtual_rig(&self) -> Option<&VirtualRig> {
        self.virtual_rig.as_ref()
    }

    /// Where what belongs to this rig is kept between runs.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        &self.state_directory
    }

    /// All events from now on. Whoever lags far behind misses some, and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<StampedEvent>> {
        self.shared.events.subscribe()
    }

    /// Sees to it that `image` is in the flash, verified. When it is there already, nothing is
    /// written. Reset the device afterwards: it stands still.
    ///
    /// # Errors
    /// The probe's.
    pub async fn flash(&self, image: &FirmwareImage) -> Result<FlashReport, BenchError> {
        let (image, record) = (image.clone(), flash::record(&self.state_directory));
        let flashing = self.session.handle();
        flashing
            .call(move |worker| worker.flash(&image, &record))
            .await?
    }

    /// Listens to `image`, which is in the flash and runs: joins a running device without a reset.
    ///
    /// # Errors
    /// [`BenchError::Closed`].
    pub async fn listen_to(&self, image: &FirmwareImage) -> Result<(), BenchError> {
        let image = image.clone();
        self.session
            .handle()
            .call(move |worker| worker.listen_to(&image, false))
            .await
    }

    /// Resets the chip; the device then boots, see [`Device::wait_boot`].
    ///
    /// # Errors
    /// The probe's.
    pub async fn reset(&self) -> Result<(), BenchError> {
        self.session.handle().call(|worker| worker.reset()).await?
    }

    /// Where the firmware is right now. Looking halts the chip for a moment, which turns its
    /// watchdogs off until the next reset.
    ///
    /// # Errors
    /// The probe's.
    pub async fn backtrace(&self) -> Result<Vec<BacktraceFrame>, BenchError> {
        self.session
            .handle()
            .call(|worker| worker.backtrace())
            .await?
    }

    /// Waits until everything that the device said until now has become events.
    ///
    /// # Errors
    /// [`BenchError::Closed`].
    pub async fn drain(&self) -> Result<(), BenchError> {
        self.session
            .handle()
            .call(|worker| {
                worker.poll();
            })
            .await?;
        self.look_after_capture();
        Ok(())
    }

    /// A disk that is full ends the record of the network, not the rig: this tells it, once.
    fn look_after_capture(&self) {
        let Some(rig) = &self.virtual_rig else { return };
        if !self.captures.load(Relaxed) {
            return;
        }
        let ended = rig.statistics().ok();
        if let Some(reason) = ended.and_then(|statistics| statistics.network.capture_error) {
            self.captures.store(false, Relaxed);
            self.shared
                .report((None, BenchEvent::CaptureEnded { reason }));
        }
    }

    pub(crate) fn session(&self) -> crate::session::SessionHandle {
        self.session.handle()
    }

    /// Closes the bench: RTT drained, the chip left running, the lease given back.
    pub async fn close(self) {
        // Joining threads blocks.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Before the probe's thread, which it tells of the device's supply.
        self.fixture = Fixture::None;
        self.session.close();
        // Ends the stream of its events.
        self.virtual_rig = None;
        if let Some(forwarder) = self.forwarder.take() {
            let _ = forwarder.join();
        }
        self.lease = None;
    }
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench")
            .field("rig", &self.rig.rig.name)
            .finish_non_exhaustive()
    }
}
