//! What the probe's thread and everybody else share: the device's latest state, and where events go.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use firmware_wire::{Connection, DeviceBody, Hello, MemorySample, Outcome};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    Clock,
    event::{BenchEvent, Channel, Crash, RttProblem, StampedEvent},
    monitor::Timed,
};

/// Crashes that a watcher has not yet looked at; more than any run survives.
const CRASHES: usize = 64;
/// Events that a subscriber may lag behind before it misses some, and is told so.
const EVENTS: usize = 8 * 1024;

/// What did not arrive whole since the bench was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Telemetry frames that never came.
    pub telemetry_frames: u64,
    /// Trace frames that never came.
    pub trace_frames: u64,
    /// Bytes of the log that could not be decoded.
    pub defmt_bytes: u64,
    /// Bytes of the telemetry that could not be decoded.
    pub telemetry_bytes: u64,
    /// Bytes of the trace that could not be decoded.
    pub trace_bytes: u64,
}

impl Losses {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn count(&mut self, event: &BenchEvent) {
        match event {
            BenchEvent::Lost { channel, frames } => {
                let count = match channel {
                    Channel::Telemetry => &mut self.telemetry_frames,
                    // Log lines have no numbers: nobody can say how many are missing.
                    Channel::Trace | Channel::Defmt => &mut self.trace_frames,
                };
                *count += u64::from(*frames);
            }
            BenchEvent::Garbled { channel, bytes } => {
                let count = match channel {
                    Channel::Defmt => &mut self.defmt_bytes,
                    Channel::Telemetry => &mut self.telemetry_bytes,
                    Channel::Trace => &mut self.trace_bytes,
                };
                *count += *bytes as u64;
            }
            _ => {}
        }
    }
}

/// Bytes read from each RTT up channel since the bench was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The log.
    pub defmt: u64,
    /// The telemetry.
    pub telemetry: u64,
    /// The allocation trace.
    pub trace: u64,
}

/// See the file's header.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    sink: Option<mpsc::UnboundedSender<StampedEvent>>,
    pub(crate) events: broadcast::Sender<Arc<StampedEvent>>,
    pub(crate) crashes: broadcast::Sender<Arc<Crash>>,
    /// The hello of this boot; none from a reset on until the device has said it.
    pub(crate) hello: watch::Sender<Option<Hello>>,
    pub(crate) memory: watch::Sender<Option<MemorySample>>,
    /// None from a boot on until the network is up.
    pub(crate) connection: watch::Sender<Option<Connection>>,
    /// The device's address, as it said last; none before it said one.
    pub(crate) address: watch::Sender<Option<Ipv4Addr>>,
    /// What is wrong with RTT, if something is.
    pub(crate) rtt: watch::Sender<Option<RttProblem>>,
    losses: Mutex<Losses>,
    received: Mutex<Received>,
    answers: Mutex<HashMap<u32, oneshot::Sender<Outcome>>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, sink: Option<mpsc::UnboundedSender<StampedEvent>>) -> Self {
        Self {
            clock,
            sink,
            events: broadcast::Sender::new(EVENTS),
            crashes: broadcast::Sender::new(CRASHES),
            hello: watch::Sender::new(None),
            memory: watch::Sender::new(None),
            connection: watch::Sender::new(None),
            address: watch::Sender::new(None),
            rtt: watch::Sender::new(None),
            losses: Mutex::default(),
            received: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    pub(crate) fn losses(&self) -> Losses {
        *self.losses.lock()
    }

    pub(crate) fn received(&self) -> Received {
        *self.received.lock()
    }

    /// Counts bytes that were read from `channel`.
    pub(crate) fn count_received(&self, channel: Channel, bytes: usize) {
        let mut received = self.received.lock();
        let count = match channel {
            Channel::Defmt => &mut received.defmt,
            Channel::Telemetry => &mut received.telemetry,
            Channel::Trace => &mut received.trace,
        };
        *count += bytes as u64;
    }

    /// Where the answer to control frame `sequence` will come.
    pub(crate) fn await_answer(&self, sequence: u32) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut answers = self.answers.lock();
        // Whoever gave up waiting has dropped the receiver.
        answers.retain(|_, waiting| !waiting.is_closed());
        answers.insert(sequence, sender);
        receiver
    }

    /// A reset begins: nothing that the device said before holds any more.
    pub(crate) fn device_restarts(&self) {
        self.hello.send_replace(None);
        self.connection.send_replace(None);
        self.memory.send_replace(None);
        self.rtt.send_replace(None);
        self.answers.lock().clear();
    }

    /// Stamps an event, keeps what it says, and hands it on.
    pub(crate) fn report(&self, (device_us, event): Timed) {
        self.keep(&event);
        let bench = self.clock.now();
        let stamped = StampedEvent {
            bench_us: u64::try_from(bench.as_micros()).unwrap_or(u64::MAX),
            device_us,
            wall: self.clock.epoch() + bench,
            event,
        };
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(Arc::new(stamped.clone()));
        }
        if let Some(sink) = &self.sink {
            // Nobody listens any more: the run is over.
            let _ = sink.send(stamped);
        }
    }

    fn keep(&self, event: &BenchEvent) {
        self.losses.lock().count(event);
        match event {
            BenchEvent::Boot(hello) => {
                self.connection.send_replace(None);
                self.memory.send_replace(None);
                self.hello.send_replace(Some(hello.clone()));
            }
            BenchEvent::Reset {
                expected: false, ..
            } => self.device_restarts(),
            BenchEvent::Crash(crash) => {
                let _ = self.crashes.send(Arc::new(crash.clone()));
            }
            BenchEvent::RttLost { reason } => {
                self.rtt.send_replace(Some(reason.clone()));
            }
            BenchEvent::RttBack => {
                self.rtt.send_replace(None);
            }
            BenchEvent::Telemetry(frame) => match &frame.body {
                DeviceBody::Memory(memory) => {
                    self.memory.send_replace(Some(memory.clone()));
                }
                DeviceBody::Connection(connection) => {
                    if let Connection::Network { address } = *connection {
                        self.address.send_replace(Some(address.into()));
                    }
                    self.connection.send_replace(Some(connection.clone()));
                }
                DeviceBody::Answer { sequence, outcome } => {
                    if let Some(waiting) = self.answers.lock().remove(sequence) {
                        let _ = waiting.send(*outcome);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}
