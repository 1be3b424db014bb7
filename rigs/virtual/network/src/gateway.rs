//! The gateway: frames in, frames out, host sockets at the edge.
//!
//! [`Gateway`] sorts what the device sends (services are answered here, TCP goes to the stack, UDP to its
//! flows), watches the host's sockets, and says when it wants to be called again. It never blocks except in
//! [`Gateway::wait`].

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use smoltcp::wire::Icmpv4DstUnreachable;

use crate::alarm::Alarm;
use crate::cable::Cable;
use crate::dhcp::{self, Dhcp};
use crate::dns::Dns;
use crate::frame::{self, Content, Datagram, Macs};
use crate::sntp;
use crate::stack::{GATEWAY_MAC, Stack};
use crate::tcp::{Pair, Surroundings, Syn, Tcp};
use crate::udp::Udp;
use crate::{Activity, FaultPlan, GatewayConfig, GatewayError, Statistics};

const DNS_PORT: u16 = 53;
const NTP_PORT: u16 = 123;
/// Events taken from the operating system at once; more stay for the next call.
const EVENTS: usize = 256;
const WAKER: Token = Token(0);
/// The alarm's token.
const ALARM: Token = Token(1);

/// What the device's network cable is plugged into. See the [crate's page](crate).
///
/// All times are chip time in nanoseconds. A time before one already seen counts as that one.
pub struct Gateway {
    config: GatewayConfig,
    hosts: HashMap<Ipv4Addr, IpAddr>,
    cable: Cable,
    stack: Stack,
    dhcp: Dhcp,
    dns: Dns,
    tcp: Tcp,
    udp: Udp,
    sockets: Sockets,
    /// The address the device used last.
    device: Option<Ipv4Addr>,
    activity: Activity,
    now: u64,
    /// When the stack wants to be polled again.
    stack_due: Option<u64>,
}

/// Wakes a [`Gateway::wait`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Makes the current, or else the next, `wait` return.
    pub fn wake(&self) {
        if let Err(error) = self.0.wake() {
            tracing::warn!(%error, "can't wake the gateway");
        }
    }
}

impl Gateway {
    /// The gateway's MAC address: locally administered, the same in every run.
    pub const MAC: [u8; 6] = GATEWAY_MAC.0;

    /// A gateway with no device seen yet, at chip time 0.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or the system has no more file descriptors.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayError> {
        config.check()?;
        Ok(Self {
            hosts: config.hosts.iter().copied().collect(),
            cable: Cable::new(config.seed),
            stack: Stack::new(&config),
            dhcp: Dhcp::new(config.subnet.clone(), config.lease_seconds),
            dns: Dns::new(&config),
            tcp: Tcp::new(&config),
            udp: Udp::new(&config),
            sockets: Sockets::new().map_err(GatewayError::Poller)?,
            device: None,
            activity: Activity::default(),
            now: 0,
            stack_due: None,
            config,
        })
    }

    /// The device sends a frame (from the destination address on, without FCS). It is looked at in the next
    /// [`poll`](Self::poll) at or after its arrival.
    pub fn transmit(&mut self, now_nanos: u64, frame: &[u8]) {
        self.advance(now_nanos);
        self.cable.put_from_device(self.now, frame);
    }

    /// The next frame that has arrived at the device.
    pub fn receive(&mut self, now_nanos: u64) -> Option<Vec<u8>> {
        self.advance(now_nanos);
        self.cable.delivered(self.now)
    }

    /// Moves everything as far as it goes without waiting: frames that arrived, the stack's timers, the
    /// host's sockets. Says what passed on the host side since the last call.
    pub fn poll(&mut self, now_nanos: u64) -> Activity {
        self.advance(now_nanos);
        while let Some(frame) = self.cable.arrived(self.now) {
            self.sort(frame);
        }
        // Frames may have opened connections, whose outcome is often there already.
        self.sockets
            .watch(Some(Duration::ZERO), &mut self.tcp, &mut self.udp);
        self.sockets.unserved = false;
        self.run_flows();
        self.stack.poll(self.now, self.cable.room());
        while let Some(frame) = self.stack.pop() {
            self.cable.put_to_device(self.now, frame);
        }
        self.stack_due = self.stack.poll_at(self.now);
        std::mem::take(&mut self.activity)
    }

    /// Chip time at which [`poll`](Self::poll) and [`receive`](Self::receive) want to be called again, not
    /// before `now_nanos`; `None` when only the device or a host program can bring something new.
    pub fn poll_at(&self, now_nanos: u64) -> Option<u64> {
        // A stack that waits for room in the cable has nothing to do before a frame has left it.
        let stack = self.stack_due.filter(|_| self.cable.room() > 0);
        let due = [stack, self.cable.next_due(), self.tcp.give_up_at()];
        let due = due.into_iter().flatten().min()?;
        Some(due.max(now_nanos))
    }

    /// Blocks until a host socket is ready, a [`Waker`] was used, or `timeout` (wall time) is over. True
    /// when something is ready, and [`poll`](Self::poll) should be called.
    pub fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let timeout = if self.sockets.unserved {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let ready = self.sockets.watch(timeout, &mut self.tcp, &mut self.udp);
        ready || self.sockets.unserved
    }

    /// A handle that wakes [`wait`](Self::wait) from another thread.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.sockets.waker))
    }

    /// Listens on `host` (port 0 for any free one) and passes its connections on to `device_port` of the
    /// device. Returns the address listened on. Connections made before the device has an address wait for it.
    ///
    /// # Errors
    /// When `host` is not an address of the loopback, or can't be listened on.
    pub fn forward(
        &mut self,
        host: SocketAddr,
        device_port: u16,
    ) -> Result<SocketAddr, GatewayError> {
        if !host.ip().is_loopback() {
            return Err(GatewayError::NotLoopback { address: host });
        }
        let listen = || -> io::Result<(TcpListener, SocketAddr)> {
            let listener = std::net::TcpListener::bind(host)?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener);
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let failed = |source| GatewayError::Listen {
            address: host,
            source,
        };
        let (mut listener, address) = listen().map_err(failed)?;
        let token = self.sockets.token();
        self.sockets
            .poll
            .registry()
            .register(&mut listener, token, Interest::READABLE)
            .map_err(failed)?;
        self.tcp.forward(token, listener, device_port);
        Ok(address)
    }

    /// Replaces the faults on the cable. Chance goes on where it was.
    pub fn set_faults(&mut self, plan: FaultPlan) {
        self.cable.set_plan(plan);
    }

    /// The faults on the cable now.
    pub fn faults(&self) -> &FaultPlan {
        self.cable.plan()
    }

    /// Records all frames from now on as pcapng, or ends the recording. A recording that fails later (disk
    /// full) ends by itself and says so in [`Statistics::capture_error`].
    ///
    /// # Errors
    /// When the end of the old recording or the header of the new one can't be written.
    pub fn set_capture(
        &mut self,
        writer: Option<Box<dyn Write + Send>>,
    ) -> Result<(), GatewayError> {
        self.cable
            .set_capture(writer, self.config.wall_epoch_unix_nanos)
            .map_err(GatewayError::Capture)
    }

    /// What was counted so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            tcp_open: self.tcp.len() as u64,
            udp_open: self.udp.len() as u64,
            ..self.cable.statistics.clone()
        }
    }

    /// The address the device used last, once it has used one.
    pub fn device_address(&self) -> Option<Ipv4Addr> {
        self.device
    }

    fn advance(&mut self, now_nanos: u64) {
        self.now = self.now.max(now_nanos);
    }

    fn run_flows(&mut self) {
        let mut around = Surroundings {
            now: self.now,
            stack: &mut self.stack,
            device: self.device,
            activity: &mut self.activity,
            statistics: &mut self.cable.statistics,
        };
        let Sockets {
            poll, next_token, ..
        } = &mut self.sockets;
        self.tcp
            .accept(&mut around, poll.registry(), || take_token(next_token));
        self.tcp.progress(&mut around);
        self.udp
            .progress(self.now, &mut self.activity, &mut self.cable);
    }

    /// Looks at a frame of the device and gives it to whom it concerns.
    fn sort(&mut self, bytes: Vec<u8>) {
        let Some(seen) = frame::look(&bytes) else {
            self.cable.statistics.frames_malformed += 1;
            return;
        };
        let for_us = seen.destination_mac == GATEWAY_MAC || seen.destination_mac.is_broadcast();
        if !for_us || !seen.source_mac.is_unicast() {
            self.cable.statistics.frames_ignored += 1;
            return;
        }
        let subnet = &self.config.subnet;
        let macs = Macs {
            source: GATEWAY_MAC,
            destination: seen.source_mac,
        };
        match seen.content {
            Content::Arp { target } if target == subnet.gateway || target == subnet.dns => {
                self.stack.push(self.now, bytes);
            }
            Content::Icmp {
                source,
                destination,
            } if self.answers_for(destination) => {
                self.learn(source);
                self.stack.push(self.now, bytes);
            }
            Content::Tcp {
                source,
                destination,
                opening,
            } => {
                self.learn(*source.ip());
                let pair = Pair {
                    device: source,
                    near: destination,
                };
                let passes = match opening {
                    Some(sequence) => self.open(pair, sequence, &bytes) == Syn::Pass,
                    None => true,
                };
                if passes {
                    self.stack.push(self.now, bytes);
                }
            }
            Content::Udp(datagram) => self.serve(macs, &datagram),
            Content::Arp { .. } | Content::Icmp { .. } | Content::Other => {
                self.cable.statistics.frames_ignored += 1;
            }
        }
    }

    fn open(&mut self, pair: Pair, sequence: i32, syn: &[u8]) -> Syn {
        let target = self.target(pair.near);
        let token = self.sockets.token();
        let mut around = Surroundings {
            now: self.now,
            stack: &mut self.stack,
            device: self.device,
            activity: &mut self.activity,
            statistics: &mut self.cable.statistics,
        };
        let registry = self.sockets.poll.registry();
        self.tcp
            .open(&mut around, registry, token, pair, sequence, target, syn)
    }

    /// A datagram: a service's, or one for the host.
    fn serve(&mut self, macs: Macs, datagram: &Datagram<'_>) {
        let subnet = &self.config.subnet;
        let (ip, port) = (*datagram.destination.ip(), datagram.destination.port());
        let own = ip == subnet.gateway || ip == subnet.dns;
        if port == dhcp::SERVER_PORT && (own || ip.is_broadcast()) {
            self.serve_dhcp(datagram);
            return;
        }
        if ip.is_broadcast() || ip.is_multicast() || ip == subnet.broadcast() {
            self.cable.statistics.frames_ignored += 1;
            return;
        }
        self.learn(*datagram.source.ip());
        if own && port == DNS_PORT {
            if let Some(answer) = self.dns.answer(datagram.payload) {
                self.cable.statistics.dns_answers += 1;
                self.reply(macs, datagram, &answer);
            }
        } else if own && port == NTP_PORT {
            let wall = self.config.wall_epoch_unix_nanos.saturating_add(self.now);
            if let Some(answer) = sntp::answer(datagram.payload, wall) {
                self.cable.statistics.sntp_answers += 1;
                self.reply(macs, datagram, &answer);
            }
        } else if let Some(target) = self.target(datagram.destination) {
            let token = self.sockets.token();
            self.udp.send(
                self.now,
                self.sockets.poll.registry(),
                token,
                macs,
                datagram,
                target,
                &mut self.activity,
                &mut self.cable,
            );
        } else {
            let reason = if own {
                Icmpv4DstUnreachable::PortUnreachable
            } else {
                Icmpv4DstUnreachable::HostProhibited
            };
            self.cable.statistics.udp_dropped += 1;
            let answer =
                frame::unreachable(macs, self.config.subnet.gateway, &datagram.quote, reason);
            self.cable.put_to_device(self.now, answer);
        }
    }

    fn serve_dhcp(&mut self, datagram: &Datagram<'_>) {
        if let Some(answer) = self.dhcp.answer(self.now, datagram.payload) {
            self.cable.statistics.dhcp_answers += 1;
            let from = SocketAddrV4::new(self.config.subnet.gateway, dhcp::SERVER_PORT);
            let macs = Macs {
                source: GATEWAY_MAC,
                destination: answer.mac,
            };
            let frame = frame::udp(macs, from, answer.to, &answer.payload);
            self.cable.put_to_device(self.now, frame);
        }
    }

    fn reply(&mut self, macs: Macs, to: &Datagram<'_>, payload: &[u8]) {
        let frame = frame::udp(macs, to.destination, to.source, payload);
        self.cable.put_to_device(self.now, frame);
    }

    /// Notes the device's address, for connections to it.
    fn learn(&mut self, source: Ipv4Addr) {
        let subnet = &self.config.subnet;
        if subnet.contains(source) && source != subnet.gateway && source != subnet.dns {
            self.device = Some(source);
        }
    }

    fn answers_for(&self, address: Ipv4Addr) -> bool {
        let subnet = &self.config.subnet;
        address == subnet.gateway || address == subnet.dns || self.hosts.contains_key(&address)
    }

    /// The host's socket behind an address the device knows; `None` when it may not talk to it.
    fn target(&self, near: SocketAddrV4) -> Option<SocketAddr> {
        let host = if *near.ip() == self.config.subnet.gateway {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            *self.hosts.get(near.ip())?
        };
        Some(SocketAddr::new(host, near.port()))
    }
}

/// The operating system's side: which sockets are ready.
struct Sockets {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    alarm: Alarm,
    next_token: usize,
    /// Something became ready that no `poll` has looked at.
    unserved: bool,
}

impl Sockets {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            alarm,
            next_token: ALARM.0 + 1,
            unserved: false,
        })
    }

    /// A token no socket has had.
    fn token(&mut self) -> Token {
        take_token(&mut self.next_token)
    }

    /// Waits for sockets and notes which are ready. True when any was, or the waker was used.
    fn watch(&mut self, timeout: Option<Duration>, tcp: &mut Tcp, udp: &mut Udp) -> bool {
        self.alarm.set(timeout);
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            if error.kind() != io::ErrorKind::Interrupted {
                tracing::error!(%error, "can't watch host sockets");
            }
            return false;
        }
        let mut any = false;
        for event in self.events.iter().filter(|event| event.token() != ALARM) {
            any = true;
            if event.token() != WAKER {
                self.unserved = true;
                tcp.note(event);
                udp.note(event);
            }
        }
        any
    }
}

fn take_token(next: &mut usize) -> Token {
    let token = Token(*next);
    *next += 1;
    token
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("subnet", &self.config.subnet)
            .field("device", &self.device)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
