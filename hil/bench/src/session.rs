//! The thread that owns the probe session: it polls RTT, and does what others ask of the chip.
//!
//! A probe session blocks and can't be shared. So one thread owns it; everybody else sends it work
//! through a bounded channel and waits for the result. Between pieces of work it polls.

mod first_aid;
mod polling;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use firmware_wire::{CONTROL_FRAME_BYTES_MAX, ControlFrame};
use probe_rs::{Core, MemoryInterface, RegisterId, Session};
use tokio::sync::oneshot;

use crate::{
    BenchError, FirmwareImage,
    backtrace::{BacktraceFrame, unwind},
    event::{BenchEvent, FirstAid},
    monitor::Monitor,
    ontarget::OnTarget,
    probe::Opener,
    rtt::{Memory, Rtt},
    shared::Shared,
    simulated::ChipFlow,
};

/// Pieces of work that may wait; whoever asks waits for the result, so a handful is plenty.
const QUEUE: usize = 64;
/// Halting, resetting: how long the probe may take, wall time.
pub(crate) const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// For how long a control block may be wrong before it is reported, bench time: the firmware needs
/// a moment to start and to set it up, and writes it in pieces.
const RTT_MISSING_FOR: Duration = Duration::from_secs(5);
const RTT_WRONG_FOR: Duration = Duration::from_millis(500);
/// First aid is tried for this long, wall time.
const FIRST_AID_WITHIN: Duration = Duration::from_secs(10);
/// Frame pointer, RISC-V register x8.
const FRAME_POINTER: RegisterId = RegisterId(0x1008);
/// Return address, RISC-V register x1.
const RETURN_ADDRESS: RegisterId = RegisterId(0x1001);

type Work = Box<dyn FnOnce(&mut Worker) + Send>;

enum Message {
    Work(Work),
    Close,
}

/// Sends work to the session's thread; clones send to the same.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    messages: Sender<Message>,
}

impl SessionHandle {
    /// Has `work` done on the session's thread and waits for its result.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> Result<R, BenchError> {
        let (reply, result) = oneshot::channel();
        let work: Work = Box::new(move |worker| {
            // Nobody waits for the result any more: the work is done all the same.
            let _ = reply.send(work(worker));
        });
        let mut message = Message::Work(work);
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(BenchError::Closed),
                Err(TrySendError::Full(back)) => {
                    message = back;
                    tokio::task::yield_now().await;
                }
            }
        }
        result.await.map_err(|_| BenchError::Closed)
    }
}

/// The running thread.
pub(crate) struct SessionThread {
    handle: SessionHandle,
    thread: Option<JoinHandle<()>>,
}

impl SessionThread {
    /// Opens the probe on a new thread; returns once it is attached. A probe that comes with the
    /// device's power is waited for as long as `patience`, wall time.
    pub(crate) async fn start(
        opener: Opener,
        flow: Flow,
        shared: Arc<Shared>,
        silence: Duration,
        patience: Duration,
    ) -> Result<Self, BenchError> {
        let (messages, inbox) = crossbeam_channel::bounded(QUEUE);
        let (ready, started) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("hil-probe".into())
            .spawn(move || {
                // Probe drivers may not be sendable: the probe is opened where it is used.
                match opener.open_within(patience) {
                    Ok((session, probe)) => {
                        shared.report((
                            None,
                            BenchEvent::Attached {
                                probe,
                                chip: session.target().name.clone(),
                            },
                        ));
                        let _ = ready.send(Ok(()));
                        Worker::new(session, opener, flow, shared, silence).run(&inbox);
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })
            .map_err(|error| BenchError::probe("starting the probe's thread", error))?;
        let thread = Self {
            handle: SessionHandle { messages },
            thread: Some(thread),
        };
        started.await.map_err(|_| BenchError::Closed)??;
        Ok(thread)
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        self.handle.clone()
    }

    /// Ends the thread: RTT drained, the chip left running.
    pub(crate) fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.handle.messages.send(Message::Close);
            if thread.join().is_err() {
                tracing::error!("the probe's thread panicked");
            }
        }
    }
}

impl Drop for SessionThread {
    fn drop(&mut self) {
        self.close();
    }
}

/// What sets the rhythm of polling.
pub(crate) enum Flow {
    /// A real chip runs on: polled at an interval that grows while nothing comes.
    Wall {
        /// Until the next poll.
        interval: Duration,
    },
    /// The simulated chip waits for its polls.
    Chip(Box<dyn ChipFlow>),
}

impl Flow {
    const FASTEST: Duration = Duration::from_millis(1);
    const SLOWEST: Duration = Duration::from_millis(10);

    pub(crate) fn wall() -> Self {
        Self::Wall {
            interval: Self::FASTEST,
        }
    }
}

/// RTT as it was last seen.
struct RttState {
    rtt: Rtt,
    /// Since when it is wrong, bench time, and whether that was told in this boot.
    wrong_since: Option<(Duration, bool)>,
    /// It was told that RTT is lost, and not yet that it is back.
    lost: bool,
}

/// What lives on the thread.
pub(crate) struct Worker {
    /// None only while first aid is under way.
    session: Option<Session>,
    opener: Opener,
    flow: Flow,
    pub(crate) shared: Arc<Shared>,
    silence: Duration,
    pub(crate) image: Option<FirmwareImage>,
    monitor: Option<Monitor>,
    rtt: Option<RttState>,
    buffers: [Vec<u8>; 3],
    /// Control frames on their way down.
    outgoing: Vec<u8>,
    /// The chip was found halted, and that was told.
    halt_told: bool,
    /// A test program that runs, whose halts are its own.
    pub(crate) on_target: Option<OnTarget>,
    /// The bench is beyond first aid.
    dead: Option<String>,
    supply: Supply,
}

/// The device's supply, as far as the fixture has told.
#[derive(Debug)]
enum Supply {
    On,
    /// It may go at any moment: a chip that does not answer is no reason for first aid.
    MayGo,
    Off,
    /// It is back, and the bench could not attach.
    Lost(BenchError),
}

impl Worker {
    fn new(
        session: Session,
        opener: Opener,
        flow: Flow,
        shared: Arc<Shared>,
        silence: Duration,
    ) -> Self {
        Self {
            session: Some(session),
            opener,
            flow,
            shared,
            silence,
            image: None,
            monitor: None,
            rtt: None,
            buffers: Default::default(),
            outgoing: vec![],
            halt_told: false,
            on_target: None,
            dead: None,
            supply: Supply::On,
        }
    }

    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let (message, stands) = match &mut self.flow {
                Flow::Wall { interval } => {
                    let message = match inbox.recv_timeout(*interval) {
                        Err(RecvTimeoutError::Timeout) => None,
                        Ok(message) => Some(message),
                        Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
                    };
                    (message, false)
                }
                Flow::Chip(flow) => match inbox.try_recv() {
                    Ok(message) => (Some(message), false),
                    Err(crossbeam_channel::TryRecvError::Disconnected) => {
                        (Some(Message::Close), false)
                    }
                    // Short, because work may come meanwhile.
                    Err(crossbeam_channel::TryRecvError::Empty) => {
                        (None, flow.wait(Duration::from_millis(2)))
                    }
                },
            };
            match message {
                Some(Message::Work(work)) => work(&mut self),
                Some(Message::Close) => break,
                None => {}
            }
            let bytes = self.poll();
            match &mut self.flow {
                Flow::Wall { interval } => {
                    *interval = if bytes > 0 {
                        Flow::FASTEST
                    } else {
                        (*interval * 2).min(Flow::SLOWEST)
                    };
                }
                Flow::Chip(flow) if stands => flow.done(),
                Flow::Chip(_) => {}
            }
        }
        self.finish();
    }

    /// Leaves the chip running and hands on what it said until now.
    fn finish(&mut self) {
        if self.dead.is_some() || matches!(self.supply, Supply::Off) {
            return;
        }
        let resumed = self.with_core("resuming the chip", |core| {
            if core.core_halted()? {
                core.run()?;
            }
            Ok(())
        });
        if let Err(error) = resumed {
            tracing::warn!("can't leave the chip running: {error}");
        }
        self.poll();
    }

    // --- What others ask for.

    /// The next reset is asked for.
    pub(crate) fn expect_reset(&mut self) {
        if let Some(monitor) = &mut self.monitor {
            monitor.expect_reset();
        }
    }

    /// The device may lose its power from now on, or not any more.
    pub(crate) fn expect_power_loss(&mut self, expected: bool) {
        match (&self.supply, expected) {
            (Supply::On, true) => self.supply = Supply::MayGo,
            // A chip that did not answer meanwhile gets first aid at the next poll.
            (Supply::MayGo, false) => self.supply = Supply::On,
            _ => {}
        }
    }

    /// The fixture tells that the device's supply has gone, or is back. A bench that was beyond first
    /// aid gets another chance when it is back.
    pub(crate) fn power(&mut self, on: bool) {
        if let Some(monitor) = &mut self.monitor {
            monitor.expect_reset();
            monitor.restart();
        }
        self.outgoing.clear();
        self.halt_told = false;
        self.shared.device_restarts();
        if let Some(rtt) = &mut self.rtt {
            rtt.wrong_since = None;
        }
        // What is left of a session with a chip that had no power is of no use.
        self.session = None;
        self.supply = if on {
            match self.reattach(FirstAid::Reattach, Instant::now() + FIRST_AID_WITHIN) {
                Ok(()) => {
                    self.dead = None;
                    Supply::On
                }
                Err(error) => Supply::Lost(error),
            }
        } else {
            Supply::Off
        };
    }

    /// Whether the bench is attached to the device, after its power came back.
    pub(crate) fn attached(&mut self) -> Result<(), BenchError> {
        self.check_alive()?;
        match std::mem::replace(&mut self.supply, Supply::On) {
            Supply::Lost(error) => {
                self.dead = Some(chain(&error));
                Err(error)
            }
            supply => {
                self.supply = supply;
                Ok(())
            }
        }
    }

    /// Queues a control frame.
    pub(crate) fn send(&mut self, frame: &ControlFrame) -> Result<(), BenchError> {
        self.check_alive()?;
        let monitor = self.monitor.as_mut().ok_or(BenchError::NoImage)?;
        let mut buffer = [0; CONTROL_FRAME_BYTES_MAX];
        // Every control frame fits: its texts have bounds.
        let bytes = firmware_wire::encode(frame, &mut buffer).map_err(|_| BenchError::TooLong {
            what: "a control frame",
            value: String::new(),
        })?;
        self.outgoing.extend_from_slice(bytes);
        monitor.sent(&frame.body);
        Ok(())
    }

    /// Listens to `image` from now on, which is in the flash. `fresh`: it was just flashed.
    pub(crate) fn listen_to(&mut self, image: &FirmwareImage, fresh: bool) {
        self.rtt = image.rtt_address().map(|address| RttState {
            rtt: Rtt::new(address, self.ram()),
            wrong_since: None,
            lost: self.rtt.as_ref().is_some_and(|state| state.lost),
        });
        match &mut self.monitor {
            // The same image again: what is known of its boots still holds.
            Some(monitor)
                if self.image.as_ref().map(FirmwareImage::digest) == Some(image.digest()) =>
            {
                if fresh {
                    monitor.forget_boots();
                }
            }
            monitor => *monitor = Some(Monitor::new(image.clone(), self.silence)),
        }
        image.prepare_backtraces();
        self.image = Some(image.clone());
    }

    /// Resets the chip and lets it run, its old control block wiped.
    pub(crate) fn reset(&mut self) -> Result<(), BenchError> {
        // What the device said until now belongs to the boot that ends.
        self.poll();
        self.reset_and_halt()?;
        self.with_core("starting the chip", |core| core.run())?;
        Ok(())
    }

    /// Resets the chip and leaves it halted before its first instruction, its old control block
    /// wiped.
    pub(crate) fn reset_and_halt(&mut self) -> Result<(), BenchError> {
        if let Some(monitor) = &mut self.monitor {
            monitor.expect_reset();
            monitor.restart();
        }
        self.outgoing.clear();
        self.halt_told = false;
        self.on_target = None;
        self.shared.device_restarts();
        let mut rtt = self.rtt.take();
        if let Some(rtt) = &mut rtt {
            rtt.wrong_since = None;
        }
        let result = self.with_core("resetting the chip", |core| {
            core.reset_and_halt(PROBE_WITHIN)?;
            if let Some(rtt) = &rtt {
                rtt.rtt.clear(&mut CoreMemory(core))?;
            }
            Ok(())
        });
        self.rtt = rtt;
        result
    }

    /// Where the firmware is: halts the chip for a moment.
    pub(crate) fn backtrace(&mut self) -> Result<Vec<BacktraceFrame>, BenchError> {
        let image = self.image.clone();
        self.with_core("looking where the firmware is", |core| {
            let was_halted = core.core_halted()?;
            if !was_halted {
                core.halt(PROBE_WITHIN)?;
            }
            let frames = backtrace_of_halted(core, image.as_ref());
            if !was_halted {
                core.run()?;
            }
            frames
        })
    }

    /// Runs `work` on the chip's core, after first aid if need be.
    pub(crate) fn with_core<R>(
        &mut self,
        doing: &str,
        mut work: impl FnMut(&mut Core<'_>) -> Result<R, probe_rs::Error>,
    ) -> Result<R, BenchError> {
        self.with_session(doing, |session| work(&mut session.core(0)?))
    }

    /// Runs `work` on the session; once more after first aid when it fails.
    pub(crate) fn with_session<R>(
        &mut self,
        doing: &str,
        mut work: impl FnMut(&mut Session) -> Result<R, probe_rs::Error>,
    ) -> Result<R, BenchError> {
        self.check_alive()?;
        if matches!(self.supply, Supply::Off) {
            let doing = doing.to_owned();
            return Err(BenchError::NoPower { doing });
        }
        let error = match self.session.as_mut().map(&mut work) {
            Some(Ok(result)) => return Ok(result),
            Some(Err(error)) => error,
            None => return Err(BenchError::Closed),
        };
        self.first_aid(&format!("{doing} failed: {}", chain(&error)))?;
        match self.session.as_mut().map(work) {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => Err(BenchError::probe(doing, error)),
            None => Err(BenchError::Closed),
        }
    }

    /// The session itself, for work that must not be done twice.
    pub(crate) fn session(&mut self) -> Result<&mut Session, BenchError> {
        self.check_alive()?;
        self.session.as_mut().ok_or(BenchError::Closed)
    }

    /// Lets chip time fly while what is returned lives; nothing on a real rig.
    pub(crate) fn hurry(&self) -> Option<Box<dyn std::any::Any + Send>> {
        match &self.flow {
            Flow::Wall { .. } => None,
            Flow::Chip(flow) => Some(flow.hurry()),
        }
    }

    /// Whether a long piece of work should stop waiting for polls: releases the chip until the next
    /// poll.
    pub(crate) fn pause_flow(&mut self) {
        if let Flow::Chip(flow) = &mut self.flow {
            flow.pause();
        }
    }

    fn check_alive(&self) -> Result<(), BenchError> {
        match &self.dead {
            None => Ok(()),
            Some(why) => Err(BenchError::Probe {
                doing: "using a bench that is beyond first aid".into(),
                source: why.clone().into(),
            }),
        }
    }

    /// The RAM of the chip as the debugger knows it.
    fn ram(&self) -> Vec<std::ops::Range<u32>> {
        let map = self
            .session
            .as_ref()
            .map(|session| &session.target().memory_map);
        map.into_iter()
            .flatten()
            .filter_map(|region| region.as_ram_region())
            .filter_map(|region| {
                let start = u32::try_from(region.range.start).ok()?;
                Some(start..u32::try_from(region.range.end).ok()?)
            })
            .collect()
    }
}

/// The calls that led to where a halted core stands.
pub(crate) fn backtrace_of_halted(
    core: &mut Core<'_>,
    image: Option<&FirmwareImage>,
) -> Result<Vec<BacktraceFrame>, probe_rs::Error> {
    let pc: u32 = core.read_core_reg(core.program_counter().id())?;
    let frame_pointer: u32 = core.read_core_reg(FRAME_POINTER)?;
    let return_address: u32 = core.read_core_reg(RETURN_ADDRESS)?;
    let Some(image) = image else {
        return Ok(vec![BacktraceFrame {
            address: pc,
            places: vec![],
        }]);
    };
    let is_code = |address| image.is_code(address);
    let mut addresses = vec![pc];
    let chain = unwind(frame_pointer, is_code, |at| {
        core.read_word_32(at.into()).ok()
    });
    // A function without a frame of its own has its caller in the register alone.
    if is_code(return_address) && chain.first() != Some(&return_address) {
        addresses.push(return_address);
    }
    addresses.extend(chain);
    let symbolizer = image.symbolizer();
    Ok(match symbolizer {
        Some(symbols) => symbols.backtrace(&addresses, false),
        None => addresses
            .into_iter()
            .map(|address| BacktraceFrame {
                address,
                places: vec![],
            })
            .collect(),
    })
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The memory of a chip, through the probe.
pub(crate) struct CoreMemory<'c, 'p>(pub(crate) &'c mut Core<'p>);

impl Memory for CoreMemory<'_, '_> {
    type Error = probe_rs::Error;

    fn read_words(&mut self, address: u32, words: &mut [u32]) -> Result<(), Self::Error> {
        self.0.read_32(address.into(), words)
    }

    fn read_bytes(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(address.into(), bytes)
    }

    fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(address.into(), bytes)
    }

    fn write_word(&mut self, address: u32, word: u32) -> Result<(), Self::Error> {
        self.0.write_word_32(address.into(), word)
    }
}
