//! The simulator thread: owns the network, runs the chip in slices, and does what the pacer says.
//!
//! ```text
//!        ┌────────────── ask the pacer ◀──────────────────────────┐
//!        ▼            ▼               ▼                ▼           │
//!   fire an alarm   run a slice   stand for a poll   sleep ── woken by sockets, probes, clocks
//!                     │                                            │
//!                     └── frames out ─ gateway ─ frames in ────────┘
//! ```
//! A slice is short enough that a probe never waits long. Network sockets are looked at when frames left the chip, when
//! the gateway's own timers are due, when the operating system says so, and every now and then on a busy chip.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
#[cfg(unix)]
use parking_lot::Mutex;
use parking_lot::MutexGuard;
use virtual_network::{FaultPlan, Gateway, GatewayError, Statistics};

use crate::event::{RigEvent, RigEventKind};
use crate::machine::Machine;
use crate::pace::{Activity, Now, Step};
use crate::quiet::Quiet;
#[cfg(unix)]
use crate::serial_line::SerialLine;
use crate::shared::Shared;

/// About 50 us of wall time on a busy chip.
const SLICE_INSTRUCTIONS: u64 = 20_000;
/// Wall time between two looks at the host's sockets while the chip is busy.
const SOCKETS_EVERY: Duration = Duration::from_micros(200);
/// A gateway that always wants to be called at once gets this much chip time in between.
const GATEWAY_STEP: Duration = Duration::from_micros(20);

/// Wall time between two looks whether anybody may still answer what the device sent, at least.
const PEERS_EVERY: Duration = Duration::from_micros(500);
/// And at least so many times what the last look took: looking must not become the work.
const PEERS_SHARE: u32 = 4;

/// What others ask of the network.
pub(crate) enum Command {
    Forward {
        host: std::net::SocketAddr,
        device_port: u16,
        reply: Sender<Result<std::net::SocketAddr, GatewayError>>,
    },
    SetFaults(FaultPlan),
    Statistics(Sender<Report>),
}

/// What only this thread knows.
pub(crate) struct Report {
    pub(crate) network: Statistics,
    pub(crate) busy_time: Duration,
    pub(crate) events_lost: u64,
}

/// State of the chip as the last look found it.
struct View {
    chip: Duration,
    instructions: u64,
    activity: Activity,
}

pub(crate) struct Simulator {
    shared: Arc<Shared>,
    gateway: Gateway,
    commands: Receiver<Command>,
    events: Sender<RigEvent>,
    events_lost: u64,
    /// Probe operations seen so far.
    operations: u64,
    unmodelled: usize,
    sockets_looked_at: Duration,
    /// The fixture board's serial line.
    #[cfg(unix)]
    line: Arc<Mutex<SerialLine>>,
    /// Something waits outside; bring the chip up to date, then look at it.
    called: bool,
    slept: Duration,
    /// From the thread's start on.
    quiet: Option<Quiet>,
    /// Wall time of the next look at who may answer.
    look_at_peers: Duration,
    /// Times that bytes crossed a host socket.
    traffic: u64,
}

impl Simulator {
    pub(crate) fn new(
        shared: Arc<Shared>,
        gateway: Gateway,
        commands: Receiver<Command>,
        events: Sender<RigEvent>,
    ) -> Simulator {
        Simulator {
            shared,
            gateway,
            commands,
            events,
            events_lost: 0,
            operations: 0,
            unmodelled: 0,
            sockets_looked_at: Duration::ZERO,
            #[cfg(unix)]
            line: Arc::default(),
            called: false,
            slept: Duration::ZERO,
            quiet: None,
            look_at_peers: Duration::ZERO,
            traffic: 0,
        }
    }

    /// The fixture board's serial line, for whoever has to do with it.
    #[cfg(unix)]
    pub(crate) fn line(&self) -> Arc<Mutex<SerialLine>> {
        self.line.clone()
    }

    /// Runs until the rig is dropped.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let _ended = Ended(&shared);
        self.quiet = Some(Quiet::new());
        let mut view = self.look();
        while !shared.is_stopping() {
            if shared.take_dirty() {
                if let Some(quiet) = &mut self.quiet {
                    quiet.forget();
                }
                self.obey();
                view = self.look();
                self.called = true;
            }
            self.look_after_peers(&view);
            let step = shared.pacer.lock().next(self.now(&view));
            if self.called && matches!(step, Step::StandForPoll { .. } | Step::Sleep { .. }) {
                self.called = false;
                self.exchange(view.chip, Vec::new());
                view = self.look();
                continue;
            }
            match step {
                Step::Fire(callback) => callback(),
                Step::Run {
                    until,
                    instructions,
                } => {
                    view = self.slice(until, instructions);
                    // As far as it was behind when called: from here on the wall clock may go ahead again.
                    if self.called && view.chip >= until {
                        self.called = false;
                        self.exchange(view.chip, Vec::new());
                        view = self.look();
                    }
                }
                Step::StandForPoll { until } => self.stand(until),
                Step::Sleep { until } => self.sleep(until),
            }
        }
    }

    fn now(&self, view: &View) -> Now {
        let mut activity = view.activity;
        if let Activity::Idle(next) = activity {
            activity = Activity::Idle(
                [next, self.gateway_due(view.chip)]
                    .into_iter()
                    .flatten()
                    .min(),
            );
        }
        Now {
            wall: self.shared.wall(),
            chip: view.chip,
            instructions: view.instructions,
            activity,
            exact: self.called,
        }
    }

    fn gateway_due(&self, chip: Duration) -> Option<Duration> {
        self.gateway.poll_at(nanos(chip)).map(Duration::from_nanos)
    }

    /// Lets the chip run, then carries frames.
    fn slice(&mut self, until: Duration, instructions: u64) -> View {
        let mut until = until;
        let shared = self.shared.clone();
        let mut machine = shared.lock_in_a_lull(&mut self.operations);
        let chip = machine.now();
        match self.gateway_due(chip) {
            Some(due) if due <= chip => {
                drop(machine);
                self.exchange(chip, Vec::new());
                machine = shared.lock();
                until = until.min(chip + GATEWAY_STEP);
            }
            Some(due) => until = until.min(due),
            None => {}
        }
        machine.run(until, instructions.min(SLICE_INSTRUCTIONS));
        let frames: Vec<Vec<u8>> = std::iter::from_fn(|| machine.chip.transmitted()).collect();
        let said = machine.board().has_outgoing();
        let view = self.view(&mut machine);
        drop(machine);
        let wall = shared.wall();
        if said || !frames.is_empty() || wall >= self.sockets_looked_at + SOCKETS_EVERY {
            self.exchange(view.chip, frames);
        }
        shared.pacer.lock().observe(view.chip, view.instructions);
        view
    }

    /// Carries frames from the chip into the network and back, moves the host's sockets, and serves the fixture board.
    fn exchange(&mut self, chip: Duration, frames: Vec<Vec<u8>>) {
        #[cfg(unix)]
        if self.line.lock().serve(&self.shared) {
            // The kernel hands these bytes over in its own time: nobody is awake meanwhile.
            let wall = self.shared.wall();
            self.shared.pacer.lock().note_slow_traffic(wall);
        }
        let now = nanos(chip);
        for frame in &frames {
            self.gateway.transmit(now, frame);
        }
        let wall = self.shared.wall();
        self.sockets_looked_at = wall;
        if self.gateway.poll(now).any() {
            self.note_traffic(wall);
        }
        let mut arrived = std::iter::from_fn(|| self.gateway.receive(now)).peekable();
        if arrived.peek().is_some() {
            let mut machine = self.shared.lock();
            arrived.for_each(|frame| machine.chip.receive(frame));
        }
    }

    fn note_traffic(&mut self, wall: Duration) {
        self.traffic += 1;
        self.shared.pacer.lock().note_traffic(wall);
        if let Some(quiet) = &mut self.quiet {
            quiet.forget();
        }
    }

    /// What the chip is up to; passes its events on.
    fn look(&mut self) -> View {
        let shared = self.shared.clone();
        let mut machine = shared.lock();
        self.view(&mut machine)
    }

    fn view(&mut self, machine: &mut MutexGuard<'_, Machine>) -> View {
        for event in machine.take_events() {
            self.tell(event);
        }
        let unmodelled = machine.chip.unmodelled();
        if unmodelled.len() != self.unmodelled {
            self.unmodelled = unmodelled.len();
            let at = machine.now();
            // The log is sorted by name: what is new has been counted once or a few times, and was not told yet.
            let news: Vec<_> = unmodelled
                .iter()
                .filter(|entry| !machine.told.contains(&key(entry)))
                .collect();
            for entry in news {
                machine.told.insert(key(&entry));
                self.tell(RigEvent {
                    at,
                    what: RigEventKind::Unmodelled(entry),
                });
            }
        }
        View {
            chip: machine.now(),
            instructions: machine.chip.instructions(),
            activity: machine.activity(),
        }
    }

    fn tell(&mut self, event: RigEvent) {
        match self.events.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.events_lost += 1,
        }
    }

    fn stand(&mut self, until: Duration) {
        self.shared.standing.notify_all();
        let wait = until.saturating_sub(self.shared.wall());
        let started = Instant::now();
        let mut pacer = self.shared.pacer.lock();
        if pacer.stands() && !self.shared.is_dirty() {
            self.shared.changed.wait_for(&mut pacer, wait);
        }
        drop(pacer);
        self.slept += started.elapsed();
    }

    /// Ends the time in which the chip is held back for answers, when nobody is left who could give one. What was
    /// answered already must not lie in a socket then: the network is asked last.
    fn look_after_peers(&mut self, view: &View) {
        let wall = self.shared.wall();
        let waits = self.shared.pacer.lock().waits_for_peers(wall);
        let Some(quiet) = &mut self.quiet else { return };
        if !waits || self.called {
            quiet.forget();
            return;
        }
        if wall < self.look_at_peers {
            return;
        }
        let quiet = quiet.look();
        let looked = self.shared.wall();
        self.look_at_peers = looked + PEERS_EVERY.max((looked - wall) * PEERS_SHARE);
        if quiet {
            let traffic = self.traffic;
            self.exchange(view.chip, Vec::new());
            if self.traffic == traffic && !self.shared.is_dirty() {
                self.shared.pacer.lock().settle();
            }
        }
    }

    fn sleep(&mut self, until: Duration) {
        let until = if self.shared.pacer.lock().waits_for_peers(self.shared.wall()) {
            until.min(self.look_at_peers)
        } else {
            until
        };
        let wait = until.saturating_sub(self.shared.wall());
        let started = Instant::now();
        let gateway = &mut self.gateway;
        if self.shared.sleep(|| gateway.wait(Some(wait))) == Some(true) {
            self.called = true;
        }
        self.slept += started.elapsed();
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            // Whoever asked may have gone; then nobody misses the answer.
            match command {
                Command::Forward {
                    host,
                    device_port,
                    reply,
                } => {
                    let _ = reply.send(self.gateway.forward(host, device_port));
                }
                Command::SetFaults(plan) => self.gateway.set_faults(plan),
                Command::Statistics(reply) => {
                    let _ = reply.send(Report {
                        network: self.gateway.statistics(),
                        busy_time: self.shared.wall().saturating_sub(self.slept),
                        events_lost: self.events_lost,
                    });
                }
            }
        }
    }
}

/// However the thread ends, nobody waits for it afterwards.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.mark_stopped();
    }
}

fn key(entry: &virtual_esp32c3::Unmodelled) -> (String, u32, virtual_esp32c3::Access) {
    (entry.name.clone(), entry.offset, entry.access)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
