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
use virtual_rig::{Peers, VirtualRig};

use crate::{
    BenchError, BenchEvent, Clock, Device, FileLeases, FirmwareImage, FlashReport, Lease, Leases,
    backtrace::BacktraceFrame,
    event::{FirstAid, StampedEvent},
    fixture::{self, BoardSource, Power, Relays, Sensors, Wiring},
    flash,
    probe::{Opener, register_plugins},
    session::{Flow, SessionThread, chain},
    shared::Shared,
    simulated::{self, SimulatedFlow},
};

/// How long a device that was given power may take until its debug port is there, wall time: USB
/// devices are found within about a second.
const PROBE_COMES_WITHIN: Duration = Duration::from_secs(10);
/// For how long the device's power is taken away as first aid, bench time: capacitors run empty.
const POWER_CYCLE: Duration = Duration::from_secs(1);

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
    /// Everybody who may answer what the device sends over the simulated network is a thread of this
    /// process: broker, clients, servers. Then chip time is held back for them no longer than they
    /// take.
    pub peers_are_here: bool,
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
            peers_are_here: false,
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
        #[expect(dead_code, reason = "held for its drop")]
        port: fixture::PortThread,
    },
    /// Sensors that the firmware simulates.
    Firmware,
}

/// A rig opened.
///
/// Dropping it closes it: RTT drained, the chip left running, a fixture board left safe (no sensors,
/// no faults, and no power for the device where the board switches it), the virtual rig stopped with
/// its flash kept, the lease given back. [`Bench::close`] does the same without blocking the runtime.
pub struct Bench {
    // In the order in which they must end.
    session: SessionThread,
    fixture: Fixture,
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
                broker_elsewhere: rig.rig.broker_elsewhere(),
                peers: if options.peers_are_here {
                    Peers::Here
                } else {
                    Peers::Anywhere
                },
                capture: options.capture.clone(),
            })?),
        };
        let clock = match &virtual_rig {
            None => Clock::wall(options.epoch),
            Some(rig) => Clock::chip(Arc::new(rig.clock()), options.epoch),
        };
        let shared = Arc::new(Shared::new(clock, options.events));
        // The probe may be in the device, and the device's power comes from the fixture.
        let fixture = open_fixture(rig, virtual_rig.as_ref(), &shared).await?;
        let opener = || Opener::new(&rig.rig, virtual_rig.as_ref().map(VirtualRig::selector));
        let flow = || match &virtual_rig {
            None => Flow::wall(),
            Some(rig) => Flow::Chip(Box::new(SimulatedFlow::new(rig.clock()))),
        };
        let session = attach(&fixture, opener, flow, &shared, options.silence).await?;
        let device = Device::new(Arc::clone(&shared), session.handle());
        let mut bench = Self {
            session,
            fixture,
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
            Fixture::Board { board, .. } if board.switches_power() => {
                Some(Power::new(board.clone()))
            }
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

    /// Sees whether the fixture board is there, if the rig has one: what is wrong with its line is
    /// known as events afterwards.
    ///
    /// # Errors
    /// The fixture's.
    pub async fn look_at_fixture(&self) -> Result<(), BenchError> {
        match &self.fixture {
            Fixture::Board { board, .. } => board.look().await,
            Fixture::None | Fixture::Firmware => Ok(()),
        }
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

async fn open_fixture(
    rig: &ResolvedRig,
    virtual_rig: Option<&VirtualRig>,
    shared: &Arc<Shared>,
) -> Result<Fixture, BenchError> {
    let Some(of_rig) = &rig.rig.fixture else {
        return Ok(Fixture::None);
    };
    let (source, wiring) = match (&of_rig.kind, virtual_rig) {
        (FixtureKind::Firmware, _) => return Ok(Fixture::Firmware),
        (FixtureKind::Board(board), _) => (
            BoardSource::Rig(board.port.clone()),
            Wiring {
                switches_power: board.switches_power,
                sensors_on_device_supply: board.sensors_on_device_supply,
            },
        ),
        (FixtureKind::Virtual(wired), Some(rig)) => {
            let port = rig.fixture_port().map_err(|error| BenchError::VirtualRig {
                source: Box::new(error),
            })?;
            (
                BoardSource::Virtual(Box::new(move || port.path())),
                Wiring {
                    switches_power: true,
                    sensors_on_device_supply: wired.sensors_on_device_supply,
                },
            )
        }
        // A rig file that says so was refused.
        (FixtureKind::Virtual(_), None) => return Ok(Fixture::None),
    };
    let (port, board) = fixture::open(source, wiring, Arc::clone(shared)).await?;
    Ok(Fixture::Board { board, port })
}

/// Gives the device its power, where the fixture has it, and attaches to it: after a power cycle, if
/// it must be.
async fn attach(
    fixture: &Fixture,
    opener: impl Fn() -> Opener,
    flow: impl Fn() -> Flow,
    shared: &Arc<Shared>,
    silence: Duration,
) -> Result<SessionThread, BenchError> {
    let board = match fixture {
        Fixture::Board { board, .. } if board.switches_power() => Some(board),
        _ => None,
    };
    let mut patience = Duration::ZERO;
    if let Some(board) = board
        && board.power_up().await?
    {
        patience = PROBE_COMES_WITHIN;
    }
    let start =
        |patience| SessionThread::start(opener(), flow(), Arc::clone(shared), silence, patience);
    let session = match (start(patience).await, board) {
        // A device may be in a state that only the loss of its power ends.
        (Err(error @ (BenchError::NoProbe { .. } | BenchError::Probe { .. })), Some(board)) => {
            board.power_cycle(POWER_CYCLE).await?;
            let again = start(PROBE_COMES_WITHIN).await;
            shared.report((
                None,
                BenchEvent::FirstAid {
                    rung: FirstAid::PowerCycle,
                    helped: again.is_ok(),
                    detail: chain(&error),
                },
            ));
            again?
        }
        (outcome, _) => outcome?,
    };
    if let Fixture::Board { board, .. } = fixture {
        board.attached(session.handle());
    }
    Ok(session)
}

impl Drop for Bench {
    fn drop(&mut self) {
        // While the device still has its power, which the board may take as it goes.
        self.session.close();
        self.fixture = Fixture::None;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use hil_rig::Rig;
    use virtual_rig::VirtualRigSettings;

    use super::*;

    /// A rig whose device has no power, as a real board has it when it starts.
    fn unpowered(name: &str) -> (ResolvedRig, VirtualRig, Arc<Shared>) {
        register_plugins();
        let text = format!(
            "schema = 1\nname = \"{name}\"\n[device]\nchip = \"esp32c3\"\nfirmware = \"a\"\n\
             device-id = \"t1\"\n[probe]\nkind = \"virtual\"\n[network]\ndriver = \"ethernet\"\n\
             [broker]\nkind = \"embedded\"\n[fixture]\nkind = \"virtual\"\n"
        );
        let described = Rig::parse(Path::new(&format!("{name}.toml")), &text)
            .and_then(|rig| rig.resolve(|_| None))
            .unwrap_or_else(|error| panic!("{error:?}"));
        let rig = VirtualRig::start(VirtualRigSettings::new(name)).expect("starts");
        rig.power_off();
        let clock = Clock::chip(Arc::new(rig.clock()), OffsetDateTime::UNIX_EPOCH);
        (described, rig, Arc::new(Shared::new(clock, None)))
    }

    /// Attaches through the probe with a selector that each attempt is asked for.
    async fn check_attached(name: &str, selector: impl Fn(usize, String) -> String) {
        let (described, rig, shared) = unpowered(name);
        let mut events = shared.events.subscribe();
        let fixture = open_fixture(&described, Some(&rig), &shared)
            .await
            .expect("opens");
        let attempts = AtomicUsize::new(0);
        let opener = || {
            let selector = selector(attempts.fetch_add(1, Relaxed), rig.selector());
            Opener::new(&described.rig, Some(selector))
        };
        let flow = || Flow::Chip(Box::new(SimulatedFlow::new(rig.clock())));
        let silence = Duration::from_secs(30);
        let session = attach(&fixture, opener, flow, &shared, silence).await;
        let mut session = session.expect("attached");
        let Fixture::Board { board, .. } = &fixture else {
            panic!("no board");
        };
        assert!(board.read_power().await.expect("read").on);
        let mut cycled = false;
        while let Ok(event) = events.try_recv() {
            cycled |= matches!(
                event.event,
                BenchEvent::FirstAid {
                    rung: FirstAid::PowerCycle,
                    helped: true,
                    ..
                }
            );
        }
        assert_eq!(cycled, attempts.load(Relaxed) > 1);
        session.close();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_without_power_is_given_it_before_it_is_attached_to() {
        check_attached("unpowered", |_, selector| selector).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_that_can_t_be_attached_to_loses_its_power_for_a_moment() {
        let nowhere = |attempt, selector| match attempt {
            0 => "f055:0fff:nowhere".to_owned(),
            _ => selector,
        };
        check_attached("stuck", nowhere).await;
    }
}
