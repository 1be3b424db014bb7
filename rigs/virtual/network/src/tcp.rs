//! TCP between the device and programs on this machine.
//!
//! Each connection is two: one to the device on the stack, one to the host program on a socket. Bytes pass
//! straight from one's buffer to the other's, so a full buffer on either side makes the other sender wait.
//!
//! ```text
//! from the device:  SYN held ──connect──▶ Connecting ──host accepted──▶ Open ──both ended──▶ gone
//!                                             └──host refused──▶ SYN to the stack, which answers RST
//! from the host:    accepted ──▶ Waiting for the device's address ──▶ Open
//! ```
//!
//! The host is asked first: a device sees its connection succeed only when a program has taken it. A FIN
//! passes as a half-close, a reset as a reset.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::IpListenEndpoint;

use crate::stack::Stack;
use crate::{Activity, GatewayConfig, Statistics};

/// Local ports for connections to the device: the dynamic range of RFC 6335.
const LOCAL_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Both ends of a connection as the stack knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) device: SocketAddrV4,
    /// The gateway's end: its own address, or that of a host it stands in for.
    pub(crate) near: SocketAddrV4,
}

/// All connections, and the listeners that make new ones.
pub(crate) struct Tcp {
    flows: BTreeMap<usize, Flow>,
    by_pair: HashMap<Pair, usize>,
    forwards: BTreeMap<usize, Forward>,
    settings: Settings,
    next_local_port: u16,
}

struct Settings {
    buffer_bytes: usize,
    timeout_nanos: u64,
    flows_max: usize,
    gateway: Ipv4Addr,
}

/// A listener on this machine whose connections go to a port of the device.
struct Forward {
    listener: TcpListener,
    device_port: u16,
    ready: bool,
}

struct Flow {
    phase: Phase,
    pair: Option<Pair>,
    /// Gone once both directions have ended, while the stack's side is still in TIME-WAIT.
    host: Option<TcpStream>,
    readable: bool,
    writable: bool,
    /// The host reported an error that has not been asked for yet.
    failed: bool,
    /// The host sent its last byte, and the device has been told.
    host_ended: bool,
    /// The device sent its last byte, and the host has been told.
    device_ended: bool,
    /// Since when this step (opening, bytes or an end the device does not acknowledge) has been waiting.
    waiting_since_nanos: u64,
    /// What it waits for; when this changes, something has moved.
    waiting_for: (State, usize),
    /// Whether it waits at all.
    owed: bool,
}

enum Phase {
    /// The host has not accepted yet; the device's SYN is held back.
    Connecting { syn: Vec<u8>, sequence: i32 },
    /// The device has no address yet.
    Waiting { device_port: u16 },
    /// Both sides are there. `sequence` of the device's SYN, when it opened the connection.
    Open {
        handle: SocketHandle,
        sequence: Option<i32>,
    },
}

/// What to do with a SYN.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Syn {
    /// The connection is being opened to the host; the frame was kept.
    Held,
    /// The stack shall have it: a retransmission, or nobody listens and RST is the answer.
    Pass,
}

/// What a pass over the connections needs of the gateway.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: u64,
    pub(crate) stack: &'a mut Stack,
    pub(crate) device: Option<Ipv4Addr>,
    pub(crate) activity: &'a mut Activity,
    pub(crate) statistics: &'a mut Statistics,
}

impl Tcp {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            flows: BTreeMap::new(),
            by_pair: HashMap::new(),
            forwards: BTreeMap::new(),
            settings: Settings {
                buffer_bytes: config.tcp_buffer_bytes,
                timeout_nanos: config.tcp_timeout_nanos,
                flows_max: config.flows_max,
                gateway: config.subnet.gateway,
            },
            next_local_port: *LOCAL_PORTS.start(),
        }
    }

    /// When the next connection is given up on unless something moves.
    pub(crate) fn give_up_at(&self) -> Option<u64> {
        let open = self.flows.values().filter(|flow| flow.owed);
        open.map(|flow| {
            flow.waiting_since_nanos
                .saturating_add(self.settings.timeout_nanos)
        })
        .min()
    }

    /// Connections now.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The device opens a connection with the SYN in `frame`; `target` is the host's socket, if the address
    /// is allowed at all.
    #[expect(clippy::too_many_arguments, reason = "one SYN is what it is about")]
    pub(crate) fn open(
        &mut self,
        around: &mut Surroundings<'_>,
        registry: &Registry,
        token: Token,
        pair: Pair,
        sequence: i32,
        target: Option<SocketAddr>,
        frame: &[u8],
    ) -> Syn {
        if let Some(id) = self.by_pair.get(&pair)
            && let Some(flow) = self.flows.get_mut(id)
        {
            match &mut flow.phase {
                Phase::Connecting {
                    syn,
                    sequence: held,
                } => {
                    *held = sequence;
                    *syn = frame.to_vec();
                    return Syn::Held;
                }
                Phase::Open { sequence: held, .. } if *held == Some(sequence) => return Syn::Pass,
                // The device has restarted and forgotten the old connection, or uses its port again.
                _ => self.forget(*id, around),
            }
        }
        let refused = |around: &mut Surroundings<'_>| {
            around.statistics.tcp_refused += 1;
            Syn::Pass
        };
        let Some(target) = target.filter(|_| self.flows.len() < self.settings.flows_max) else {
            return refused(around);
        };
        let connecting = TcpStream::connect(target).and_then(|mut stream| {
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match connecting {
            Ok(stream) => {
                let phase = Phase::Connecting {
                    syn: frame.to_vec(),
                    sequence,
                };
                let flow = Flow::new(phase, Some(pair), stream, around.now);
                self.flows.insert(token.0, flow);
                self.by_pair.insert(pair, token.0);
                Syn::Held
            }
            Err(error) => {
                if error.kind() != ErrorKind::ConnectionRefused {
                    tracing::warn!(%target, %error, "can't connect for the device");
                }
                around.activity.host_events += 1;
                refused(around)
            }
        }
    }

    /// Takes in a new listener whose connections go to `device_port`.
    pub(crate) fn forward(&mut self, token: Token, listener: TcpListener, device_port: u16) {
        let forward = Forward {
            listener,
            device_port,
            ready: true,
        };
        self.forwards.insert(token.0, forward);
    }

    /// Notes what the operating system reported for one of our sockets.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        let id = event.token().0;
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.readable |= event.is_readable() || event.is_read_closed();
            flow.writable |= event.is_writable() || event.is_write_closed();
            flow.failed |= event.is_error();
        } else if let Some(forward) = self.forwards.get_mut(&id) {
            forward.ready = true;
        }
    }

    /// Takes waiting connections of host programs.
    pub(crate) fn accept(
        &mut self,
        around: &mut Surroundings<'_>,
        registry: &Registry,
        mut token: impl FnMut() -> Token,
    ) {
        for forward in self.forwards.values_mut().filter(|forward| forward.ready) {
            loop {
                if self.flows.len() >= self.settings.flows_max {
                    break;
                }
                let mut stream = match forward.listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        if error.kind() != ErrorKind::WouldBlock {
                            tracing::warn!(%error, "can't accept a connection for the device");
                        }
                        forward.ready = false;
                        break;
                    }
                };
                let token = token();
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Err(error) = registry.register(&mut stream, token, interest) {
                    tracing::warn!(%error, "can't watch a connection for the device");
                    continue;
                }
                let phase = Phase::Waiting {
                    device_port: forward.device_port,
                };
                let flow = Flow::new(phase, None, stream, around.now);
                self.flows.insert(token.0, flow);
                around.activity.host_events += 1;
                around.statistics.tcp_forwarded += 1;
            }
        }
    }

    /// Moves every connection as far as it goes without waiting.
    pub(crate) fn progress(&mut self, around: &mut Surroundings<'_>) {
        let Self {
            flows,
            by_pair,
            settings,
            next_local_port,
            ..
        } = self;
        flows.retain(|id, flow| {
            let goes_on = match flow.phase {
                Phase::Connecting { .. } => flow.settle(settings, around),
                Phase::Waiting { device_port } => {
                    flow.reach(*id, device_port, settings, by_pair, next_local_port, around)
                }
                Phase::Open { .. } => true,
            };
            let goes_on = goes_on && flow.pump(settings, around);
            if !goes_on && let Some(pair) = flow.pair {
                by_pair.remove(&pair);
            }
            goes_on
        });
    }

    /// Drops a connection the device knows nothing of any more; the host sees a reset.
    fn forget(&mut self, id: usize, around: &mut Surroundings<'_>) {
        let Some(mut flow) = self.flows.remove(&id) else {
            return;
        };
        if let Some(pair) = flow.pair {
            self.by_pair.remove(&pair);
        }
        if let Phase::Open { handle, .. } = flow.phase {
            around.stack.sockets.remove(handle);
        }
        flow.reset_host(around);
    }
}

impl Flow {
    fn new(phase: Phase, pair: Option<Pair>, host: TcpStream, now: u64) -> Self {
        Self {
            phase,
            pair,
            host: Some(host),
            readable: false,
            writable: false,
            failed: false,
            host_ended: false,
            device_ended: false,
            waiting_since_nanos: now,
            waiting_for: (State::Closed, 0),
            owed: true,
        }
    }

    /// `Connecting`: has the host accepted or refused? False when the connection is over.
    fn settle(&mut self, settings: &Settings, around: &mut Surroundings<'_>) -> bool {
        if !self.writable && !self.failed {
            return true;
        }
        let (Phase::Connecting { syn, sequence }, Some(pair), Some(host)) =
            (&mut self.phase, self.pair, &self.host)
        else {
            return true;
        };
        let (syn, sequence) = (std::mem::take(syn), *sequence);
        around.activity.host_events += 1;
        let accepted = match (host.take_error(), host.peer_addr(), host.local_addr()) {
            // A connection to itself is what the kernel makes of an unused port of the ephemeral range
            // that it happens to choose as our own.
            (Ok(None), Ok(peer), Ok(own)) => peer != own,
            (Ok(None), Err(error), _) if error.kind() == ErrorKind::NotConnected => {
                self.writable = false;
                self.phase = Phase::Connecting { syn, sequence };
                return true;
            }
            _ => false,
        };
        if !accepted {
            around.statistics.tcp_refused += 1;
            around.stack.push(around.now, syn);
            return false;
        }
        let mut socket = settings.socket();
        let near = IpListenEndpoint {
            addr: Some((*pair.near.ip()).into()),
            port: pair.near.port(),
        };
        if socket.listen(near).is_err() {
            around.stack.push(around.now, syn);
            return false;
        }
        let handle = around.stack.sockets.add(socket);
        around.stack.push(around.now, syn);
        let socket = around.stack.sockets.get::<Socket<'_>>(handle);
        if socket.state() != State::SynReceived {
            tracing::warn!(?pair, "the stack did not take a SYN");
            around.stack.sockets.remove(handle);
            self.reset_host(around);
            return false;
        }
        self.without_delay();
        around.statistics.tcp_accepted += 1;
        self.phase = Phase::Open {
            handle,
            sequence: Some(sequence),
        };
        true
    }

    /// `Waiting`: connects to the device once it has an address. False when the connection is over.
    fn reach(
        &mut self,
        id: usize,
        device_port: u16,
        settings: &Settings,
        by_pair: &mut HashMap<Pair, usize>,
        next_local_port: &mut u16,
        around: &mut Surroundings<'_>,
    ) -> bool {
        let Some(device) = around.device else {
            if around.now.saturating_sub(self.waiting_since_nanos) < settings.timeout_nanos {
                return true;
            }
            self.reset_host(around);
            return false;
        };
        // There are more ports in the range than connections (see `flows_max`), so one is free.
        let pair = loop {
            let near = SocketAddrV4::new(settings.gateway, *next_local_port);
            *next_local_port = match next_local_port.checked_add(1) {
                Some(next) => next,
                None => *LOCAL_PORTS.start(),
            };
            let pair = Pair {
                device: SocketAddrV4::new(device, device_port),
                near,
            };
            if !by_pair.contains_key(&pair) {
                break pair;
            }
        };
        let mut socket = settings.socket();
        let context = around.stack.interface.context();
        if let Err(error) = socket.connect(context, pair.device, pair.near) {
            tracing::warn!(?pair, %error, "can't connect to the device");
            self.reset_host(around);
            return false;
        }
        self.without_delay();
        by_pair.insert(pair, id);
        self.pair = Some(pair);
        self.phase = Phase::Open {
            handle: around.stack.sockets.add(socket),
            sequence: None,
        };
        true
    }

    /// `Open`: moves bytes and ends both ways. False when the connection is over.
    fn pump(&mut self, settings: &Settings, around: &mut Surroundings<'_>) -> bool {
        let Phase::Open { handle, .. } = self.phase else {
            return true;
        };
        let given_up = self.given_up(handle, settings, around);
        if let Err(error) = self.exchange(handle, around) {
            tracing::debug!(pair = ?self.pair, %error, "the host program reset the connection");
            around.stack.sockets.get_mut::<Socket<'_>>(handle).abort();
            around.statistics.tcp_reset += 1;
            around.activity.host_events += 1;
            self.host = None;
        }
        let socket = around.stack.sockets.get::<Socket<'_>>(handle);
        let (closed, told) = (
            socket.state() == State::Closed,
            // After an abort, the stack keeps the remote end until the RST has left.
            socket.remote_endpoint().is_none(),
        );
        if self.host_ended && self.device_ended {
            self.host = None;
        } else if closed && self.host.is_some() {
            around.statistics.tcp_reset += 1;
            self.reset_host(around);
        }
        if closed && (told || given_up) {
            around.stack.sockets.remove(handle);
            return false;
        }
        true
    }

    /// Aborts a connection on which the device has owed an acknowledgement for too long. smoltcp's own
    /// timeout would end idle connections as well. True once that has happened.
    fn given_up(
        &mut self,
        handle: SocketHandle,
        settings: &Settings,
        around: &mut Surroundings<'_>,
    ) -> bool {
        let socket = around.stack.sockets.get_mut::<Socket<'_>>(handle);
        let waiting_for = (socket.state(), socket.send_queue());
        let owes = match waiting_for {
            (State::Established | State::CloseWait | State::FinWait2, queued) => queued > 0,
            // The stack ends TIME-WAIT by itself.
            (State::TimeWait, _) => false,
            _ => true,
        };
        self.owed = owes;
        if !owes || waiting_for != self.waiting_for {
            self.waiting_for = waiting_for;
            self.waiting_since_nanos = around.now;
            return false;
        }
        let given_up =
            around.now.saturating_sub(self.waiting_since_nanos) >= settings.timeout_nanos;
        if given_up {
            socket.abort();
        }
        given_up
    }

    fn exchange(&mut self, handle: SocketHandle, around: &mut Surroundings<'_>) -> io::Result<()> {
        let socket = around.stack.sockets.get_mut::<Socket<'_>>(handle);
        let Some(host) = &mut self.host else {
            return Ok(());
        };
        if std::mem::take(&mut self.failed)
            && let Some(error) = host.take_error()?
        {
            return Err(error);
        }
        while self.writable && socket.can_recv() {
            let moved = socket.recv(|bytes| split(host.write(bytes)));
            match moved {
                Ok(Ok(count)) => around.activity.bytes_to_host += count as u64,
                Ok(Err(error)) => match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
                Err(_) => break,
            }
        }
        let device_closed = matches!(
            socket.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        if device_closed && !self.device_ended && !socket.can_recv() {
            self.device_ended = true;
            around.activity.host_events += 1;
            host.shutdown(Shutdown::Write)?;
        }
        while self.readable && !self.host_ended && socket.can_send() {
            let moved = socket.send(|room| split(host.read(room)));
            match moved {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    around.activity.host_events += 1;
                    socket.close();
                }
                Ok(Ok(count)) => around.activity.bytes_from_host += count as u64,
                Ok(Err(error)) => match error.kind() {
                    ErrorKind::WouldBlock => self.readable = false,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Ends the host's side so that its program sees a reset, not an orderly end.
    fn reset_host(&mut self, around: &mut Surroundings<'_>) {
        if let Some(host) = self.host.take() {
            around.activity.host_events += 1;
            let _ = socket2::SockRef::from(&host).set_linger(Some(Duration::ZERO));
        }
    }

    fn without_delay(&self) {
        if let Some(host) = &self.host {
            let _ = host.set_nodelay(true);
        }
    }
}

impl Settings {
    /// A socket towards the device that answers at once: no delayed ACK, no waiting for full segments.
    fn socket(&self) -> Socket<'static> {
        let mut socket = Socket::new(
            SocketBuffer::new(vec![0; self.buffer_bytes]),
            SocketBuffer::new(vec![0; self.buffer_bytes]),
        );
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        socket
    }
}

/// A result in the form smoltcp's buffers want: bytes used, and what to return.
fn split(result: io::Result<usize>) -> (usize, io::Result<usize>) {
    match result {
        Ok(count) => (count, Ok(count)),
        Err(error) => (0, Err(error)),
    }
}
