//! A virtual rig: chip, probe, network and clock as one thing that is started and dropped.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use fixture_protocol::{CutTrigger, Request, Response};
#[cfg(unix)]
use parking_lot::Mutex;
use virtual_esp32c3::{Chip, ChipConfig, Flash};
use virtual_network::{FaultPlan, Gateway, GatewayConfig};

use crate::black_magic::BlackMagicServer;
use crate::clock::ChipClock;
use crate::error::VirtualRigError;
use crate::event::RigEvent;
use crate::fixture::Board;
use crate::machine::Machine;
use crate::pace::Pacer;
use crate::probe::{PRODUCT_ID, VENDOR_ID};
use crate::registry;
#[cfg(unix)]
use crate::serial_line::{FixturePort, LineFault, SerialLine};
use crate::settings::VirtualRigSettings;
use crate::shared::Shared;
use crate::simulator::{Command, Report, Simulator};
use crate::statistics::RigStatistics;

/// Events kept for a receiver that is late; beyond that they are counted as lost.
const EVENTS_MAX: usize = 65_536;
/// The simulator thread answers between two slices; this long means that it is stuck in an alarm's callback.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A running virtual rig. Dropping it stops and joins its thread and writes the flash file.
pub struct VirtualRig {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    events: Receiver<RigEvent>,
    #[cfg(unix)]
    line: Arc<Mutex<SerialLine>>,
    thread: Option<JoinHandle<()>>,
    flash_file: Option<PathBuf>,
}

impl VirtualRig {
    /// Powers a chip on and gives it a thread; its probe can be found from now on.
    ///
    /// # Errors
    /// When the settings contradict themselves, the serial number is taken, or a file can't be used.
    pub fn start(settings: VirtualRigSettings) -> Result<VirtualRig, VirtualRigError> {
        settings.check()?;
        let flash = match &settings.flash_file {
            Some(path) => Flash::load(path, settings.flash_bytes)?,
            None => Flash::new(settings.flash_bytes)?,
        };
        let mut gateway = Gateway::new(GatewayConfig {
            seed: settings.seed,
            wall_epoch_unix_nanos: settings.epoch_unix_nanos(),
            names: settings.names.clone(),
            hosts: settings.hosts.clone(),
            ..GatewayConfig::default()
        })?;
        if let Some(path) = &settings.capture {
            let file = std::fs::File::create(path).map_err(|source| VirtualRigError::Capture {
                path: path.clone(),
                source,
            })?;
            gateway.set_capture(Some(Box::new(std::io::BufWriter::new(file))))?;
        }
        let mut chip = Chip::new(ChipConfig {
            seed: settings.seed,
            mac: settings.mac,
            revision: settings.revision,
            flash,
        });
        let board = Board::new(
            &mut chip,
            &settings.serial,
            settings.seed,
            settings.fixture.clone(),
        );
        let shared = Arc::new(Shared::new(
            settings.serial.clone(),
            Machine::new(chip, board),
            Pacer::new(settings.pace),
            gateway.waker(),
        ));
        if !registry::add(&shared) {
            return Err(VirtualRigError::SerialTaken(settings.serial));
        }
        let (commands, obeyed) = bounded(64);
        let (told, events) = bounded(EVENTS_MAX);
        let simulator = Simulator::new(shared.clone(), gateway, obeyed, told);
        #[cfg(unix)]
        let line = simulator.line();
        let name = format!("virtual-rig {}", settings.serial);
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(|| simulator.run());
        let thread = match thread {
            Ok(thread) => thread,
            Err(source) => {
                registry::remove(&shared);
                return Err(VirtualRigError::Thread { name, source });
            }
        };
        Ok(VirtualRig {
            shared,
            commands,
            events,
            #[cfg(unix)]
            line,
            thread: Some(thread),
            flash_file: settings.flash_file,
        })
    }

    /// How probe-rs is told which probe to open: `f055:00c3:<serial>`.
    pub fn selector(&self) -> String {
        format!("{VENDOR_ID:04x}:{PRODUCT_ID:04x}:{}", self.shared.serial)
    }

    /// The rig's clock: chip time.
    pub fn clock(&self) -> ChipClock {
        ChipClock::new(self.shared.clone())
    }

    /// What happens on the rig from its start on. All receivers share one queue: each event reaches one of them.
    pub fn events(&self) -> Receiver<RigEvent> {
        self.events.clone()
    }

    /// Takes the supply away from the chip. Chip time goes on; RTC memory and a half-done flash write are lost. A cut
    /// that was to come is forgotten.
    pub fn power_off(&self) {
        self.shared.operate(|machine| machine.set_power(false)).ok();
    }

    /// Cuts the supply once, at a chosen moment, and gives it back after `off_for` (to the millisecond, at least one) if
    /// there is one. Replaces a cut that was to come. Both are told as
    /// [`RigEventKind::Power`](crate::RigEventKind::Power).
    pub fn cut_power(&self, when: CutTrigger, off_for: Option<Duration>) {
        // The chip may be behind what the clock reads.
        let told = self.clock().now();
        let off_ms = off_for.map(|off_for| off_for.as_millis().clamp(1, u32::MAX.into()) as u32);
        let cut = |machine: &mut Machine| {
            let trigger = match when {
                CutTrigger::After { delay_us } => {
                    let behind = told.saturating_sub(machine.now()).as_micros() as u32;
                    CutTrigger::After {
                        delay_us: delay_us.saturating_add(behind),
                    }
                }
                other => other,
            };
            machine.ask_board(&Request::CutPower { trigger, off_ms });
        };
        self.shared.operate(cut).ok();
    }

    /// The fixture board's serial port, a pty, which is made by the first call. It speaks `fixture-protocol`, as a real
    /// board does. Whoever waits for its answers holds a guard of [`ChipClock::in_flight`], lest chip time flies by
    /// meanwhile.
    ///
    /// # Errors
    /// When the system has no pty to give.
    #[cfg(unix)]
    pub fn fixture_port(&self) -> Result<FixturePort, VirtualRigError> {
        let opened = self.line.lock().open(&self.shared);
        opened.map_err(VirtualRigError::SerialPort)?;
        Ok(FixturePort::new(self.line.clone()))
    }

    /// Spoils the fixture board's serial line, for every byte that is sent from now on.
    #[cfg(unix)]
    pub fn set_line_fault(&self, fault: &LineFault) {
        self.line.lock().set_fault(fault);
    }

    /// Pulls the cable of the fixture board: its port hangs up, and its path is gone. The board goes on.
    #[cfg(unix)]
    pub fn pull_fixture_cable(&self) {
        // Without the lock: the port waits for its thread.
        let port = self.line.lock().pull();
        drop(port);
    }

    /// Plugs the cable in again: the port is there again, at another path.
    ///
    /// # Errors
    /// When the system has no pty to give.
    #[cfg(unix)]
    pub fn plug_fixture_cable(&self) -> Result<(), VirtualRigError> {
        let plugged = self.line.lock().plug(&self.shared);
        plugged.map_err(VirtualRigError::SerialPort)
    }

    /// Asks the fixture board something without its serial line, as a test of this rig may. What happens on the board
    /// is told on the serial line all the same.
    ///
    /// # Errors
    /// [`VirtualRigError::Stopped`] when the rig's thread has ended.
    pub fn ask_fixture(&self, request: &Request) -> Result<Response, VirtualRigError> {
        self.shared
            .operate(|machine| machine.ask_board(request))
            .map_err(|_| self.stopped())
    }

    /// Gives the supply back: the chip starts with a power-on reset.
    pub fn power_on(&self) {
        self.shared.operate(|machine| machine.set_power(true)).ok();
    }

    /// Pulls or plugs the Ethernet cable.
    pub fn set_link(&self, up: bool) {
        self.shared.operate(|machine| machine.set_link(up)).ok();
    }

    /// Sets how badly frames are treated from now on.
    ///
    /// # Errors
    /// [`VirtualRigError::Stopped`] when the rig's thread has ended.
    pub fn set_faults(&self, plan: FaultPlan) -> Result<(), VirtualRigError> {
        self.command(Command::SetFaults(plan))
    }

    /// Opens a port of this machine (port 0: any) whose connections reach `device_port` of the device. Returns the
    /// address that is listened on.
    ///
    /// # Errors
    /// When the address is not of the loopback or can't be listened on.
    pub fn forward(
        &self,
        host: SocketAddr,
        device_port: u16,
    ) -> Result<SocketAddr, VirtualRigError> {
        let (reply, answer) = bounded(1);
        self.command(Command::Forward {
            host,
            device_port,
            reply,
        })?;
        Ok(self.answer(&answer)??)
    }

    /// What the rig has done so far.
    ///
    /// # Errors
    /// [`VirtualRigError::Stopped`] when the rig's thread has ended.
    pub fn statistics(&self) -> Result<RigStatistics, VirtualRigError> {
        let (reply, answer) = bounded(1);
        self.command(Command::Statistics(reply))?;
        let Report {
            network,
            busy_time,
            events_lost,
        } = self.answer(&answer)?;
        let missed_polls = self.shared.pacer.lock().missed_polls();
        let machine = self.shared.lock();
        let (instructions, chip_time) = (machine.chip.instructions(), machine.now());
        let awake = Duration::from_nanos(instructions.saturating_mul(25) / 4); // one cycle each, at 160 MHz
        Ok(RigStatistics {
            instructions,
            chip_time,
            wall_time: self.shared.wall(),
            busy_time,
            idle_share: (1.0 - awake.as_secs_f64() / chip_time.as_secs_f64().max(1e-9))
                .clamp(0.0, 1.0),
            probe_operations: self.shared.operations(),
            missed_polls,
            events_lost,
            unmodelled: machine.chip.unmodelled().iter().collect(),
            network,
        })
    }

    /// Contents of the flash at this moment.
    pub fn flash_contents(&self) -> Vec<u8> {
        self.shared.lock().chip.flash().bytes().to_vec()
    }

    /// Serves this rig's probe on a TCP port, in the protocol of the Black Magic Probe, to one stock tool at a time:
    /// `probe-rs info --probe 1d50:6018:127.0.0.1:<port> --protocol jtag`. Ends when the server is dropped.
    ///
    /// # Errors
    /// When the listener's address can't be asked for, or the system gives no thread.
    pub fn black_magic_server(
        &self,
        listener: TcpListener,
    ) -> Result<BlackMagicServer, VirtualRigError> {
        BlackMagicServer::start(self.shared.clone(), listener)
    }

    fn command(&self, command: Command) -> Result<(), VirtualRigError> {
        self.commands.send(command).map_err(|_| self.stopped())?;
        self.shared.kick();
        Ok(())
    }

    fn answer<T>(&self, answer: &Receiver<T>) -> Result<T, VirtualRigError> {
        answer
            .recv_timeout(ANSWER_WITHIN)
            .map_err(|_| self.stopped())
    }

    fn stopped(&self) -> VirtualRigError {
        VirtualRigError::Stopped(self.shared.serial.clone())
    }
}

impl Drop for VirtualRig {
    fn drop(&mut self) {
        registry::remove(&self.shared);
        // Whoever still has a `FixturePort` finds nothing there.
        #[cfg(unix)]
        self.pull_fixture_cable();
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(rig = self.shared.serial, "the simulator thread panicked");
        }
        if let Some(path) = &self.flash_file {
            let mut machine = self.shared.lock();
            let flash = machine.chip.flash_mut();
            if flash.is_dirty()
                && let Err(error) = flash.save(path)
            {
                tracing::error!(rig = self.shared.serial, "flash contents are lost: {error}");
            }
        }
    }
}

impl fmt::Debug for VirtualRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualRig({})", self.shared.serial)
    }
}
