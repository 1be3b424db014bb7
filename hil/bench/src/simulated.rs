//! The virtual rig as a bench needs it: started from the rig file, its clock and its events adapted.

use std::{
    any::Any,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use hil_rig::{BROKER_ELSEWHERE, Fixture, FixtureKind, VirtualProbe};
use virtual_rig::{
    ChipClock, FixtureSettings, Pace, Peers, PollLimits, Poller, RigEventKind, VirtualRig,
    VirtualRigSettings,
};

use crate::{
    BenchError,
    clock::ChipTime,
    event::{BenchEvent, CrashKind},
    session::SessionHandle,
    shared::Shared,
};

/// What sets the rhythm of polling a simulated chip.
pub(crate) trait ChipFlow: Send {
    /// Waits until the chip stands still for a poll: true; or for `limit` of wall time: false.
    fn wait(&mut self, limit: Duration) -> bool;
    /// The poll is done: the chip may go on.
    fn done(&mut self);
    /// The chip need not wait for polls until the next [`ChipFlow::wait`].
    fn pause(&mut self);
    /// While what is returned lives, chip time runs as fast as it can.
    fn hurry(&self) -> Box<dyn Any + Send>;
}

impl ChipTime for ChipClock {
    fn now(&self) -> Duration {
        ChipClock::now(self)
    }

    fn call_at(&self, at: Duration, fire: Box<dyn FnOnce() + Send>) -> Box<dyn Any + Send> {
        Box::new(ChipClock::call_at(self, at, fire))
    }

    fn in_flight(&self) -> Box<dyn Any + Send> {
        Box::new(ChipClock::in_flight(self))
    }
}

/// Polls by chip time.
pub(crate) struct SimulatedFlow {
    clock: ChipClock,
    poller: Option<Poller>,
}

/// What the RTT buffers hold for sure: at the rate of telemetry, and of a firmware that logs
/// without pause.
const LIMITS: PollLimits = PollLimits {
    chip_time: Duration::from_millis(100),
    instructions: 400_000,
};

impl SimulatedFlow {
    pub(crate) fn new(clock: ChipClock) -> Self {
        Self {
            clock,
            poller: None,
        }
    }
}

impl ChipFlow for SimulatedFlow {
    fn wait(&mut self, limit: Duration) -> bool {
        let clock = &self.clock;
        let poller = self.poller.get_or_insert_with(|| clock.poller(LIMITS));
        poller.wait(limit)
    }

    fn done(&mut self) {
        if let Some(poller) = &self.poller {
            poller.done();
        }
    }

    fn pause(&mut self) {
        self.poller = None;
    }

    fn hurry(&self) -> Box<dyn Any + Send> {
        Box::new(self.clock.flat_out())
    }
}

/// How to start a virtual rig, beyond what its file says.
pub(crate) struct Start<'r> {
    pub(crate) name: &'r str,
    pub(crate) probe: &'r VirtualProbe,
    pub(crate) seed: u64,
    pub(crate) epoch: SystemTime,
    /// Where its flash is kept.
    pub(crate) state_directory: PathBuf,
    /// What is on its pins.
    pub(crate) fixture: Option<&'r Fixture>,
    /// The host of a broker that is not on this computer.
    pub(crate) broker_elsewhere: Option<&'r str>,
    /// Who may answer what the device sends.
    pub(crate) peers: Peers,
    /// Where its network traffic is recorded.
    pub(crate) capture: Option<PathBuf>,
}

pub(crate) fn start(start: Start<'_>) -> Result<VirtualRig, BenchError> {
    let flash_file = start
        .probe
        .keep_flash
        .then(|| start.state_directory.join("flash.bin"));
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| BenchError::VirtualRig { source };
    if let Some(directory) = flash_file.as_deref().and_then(|file| file.parent()) {
        std::fs::create_dir_all(directory).map_err(|error| failed(Box::new(error)))?;
    }
    let elsewhere = start.broker_elsewhere.map(address_of).transpose()?;
    let settings = VirtualRigSettings {
        seed: start.seed,
        mac: start.probe.mac,
        revision: start.probe.revision,
        flash_file,
        flash_bytes: start.probe.flash_bytes,
        epoch: start.epoch,
        pace: Pace {
            multiple: start.probe.pace.multiple,
            settle: start.probe.pace.settle,
            peers: start.peers,
        },
        capture: start.capture,
        hosts: elsewhere
            .map(|address| (BROKER_ELSEWHERE, address))
            .into_iter()
            .collect(),
        fixture: start.fixture.map(wiring).unwrap_or_default(),
        ..VirtualRigSettings::new(start.name)
    };
    VirtualRig::start(settings).map_err(|error| failed(Box::new(error)))
}

/// The address of `host`; an IPv4 one, if it has several.
fn address_of(host: &str) -> Result<IpAddr, BenchError> {
    let unknown = |source| BenchError::BrokerHost {
        host: host.to_owned(),
        source,
    };
    let addresses = (host, 0).to_socket_addrs().map_err(unknown)?;
    addresses
        .map(|address| address.ip())
        .min_by_key(IpAddr::is_ipv6)
        .ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))
}

/// How the fixture of a virtual rig is wired to its chip; no sensors are on the bus yet.
#[must_use]
pub fn wiring(fixture: &Fixture) -> FixtureSettings {
    let FixtureKind::Virtual(wired) = &fixture.kind else {
        return FixtureSettings::default();
    };
    FixtureSettings {
        one_wire_pin: wired.one_wire_pin,
        relay_pins: wired.relay_pins.clone(),
        sensors_on_device_supply: wired.sensors_on_device_supply,
        ..FixtureSettings::default()
    }
}

/// Makes bench events of the rig's; ends with the rig.
pub(crate) fn forward_events(
    rig: &VirtualRig,
    shared: Arc<Shared>,
    session: SessionHandle,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<JoinHandle<()>> {
    let events = rig.events();
    thread::Builder::new()
        .name("hil-rig-events".into())
        .spawn(move || {
            for event in events {
                let event = match event.what {
                    RigEventKind::BootFailed { reason } => BenchEvent::BootFailed { reason },
                    RigEventKind::Console { port, bytes } => BenchEvent::Console {
                        port: port.to_owned(),
                        text: String::from_utf8_lossy(&bytes).into_owned(),
                    },
                    RigEventKind::Unmodelled(access) => BenchEvent::Unmodelled {
                        what: access.to_string(),
                    },
                    RigEventKind::Lockup { pc } => {
                        // Only the session knows the image: it finds out where that is.
                        let message = format!("the CPU is stuck in traps at {pc:#010x}");
                        let session = session.clone();
                        runtime.spawn(async move {
                            let told = session
                                .call(move |worker| worker.tell_crash(CrashKind::Lockup, message));
                            let _ = told.await;
                        });
                        continue;
                    }
                    // Resets and boots are noticed as on a real rig, by what the device says.
                    _ => continue,
                };
                shared.report((None, event));
            }
        })
}
