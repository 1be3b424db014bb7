//! UDP between the device and programs on this machine.
//!
//! Each pair of the device's socket and a destination has a socket of its own here, connected to the host's
//! port, so that answers find their way back and a refusal becomes ICMP port unreachable. A flow is
//! forgotten when no datagram came for a while, the oldest when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use smoltcp::wire::Icmpv4DstUnreachable;

use crate::cable::Cable;
use crate::frame::{self, Datagram, Macs, Quote, UDP_PAYLOAD_BYTES_MAX};
use crate::{Activity, GatewayConfig};

/// Longest datagram there is (RFC 768); longer than a frame takes, so that what is too long is seen.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// All flows.
pub(crate) struct Udp {
    flows: BTreeMap<usize, Flow>,
    by_ends: HashMap<Ends, usize>,
    idle_nanos: u64,
    flows_max: usize,
    buffer: Vec<u8>,
}

/// The device's socket and the one it sends to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    device: SocketAddrV4,
    near: SocketAddrV4,
}

struct Flow {
    ends: Ends,
    macs: Macs,
    host: UdpSocket,
    readable: bool,
    last_used_nanos: u64,
    /// The last datagram sent, for an ICMP error about it.
    quote: Quote,
}

impl Udp {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            flows: BTreeMap::new(),
            by_ends: HashMap::new(),
            idle_nanos: config.udp_idle_nanos,
            flows_max: config.flows_max.max(1),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        }
    }

    /// Flows now.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Passes a datagram of the device on to the host's socket `target`. `macs` are those of answers.
    #[expect(
        clippy::too_many_arguments,
        reason = "one datagram is what it is about"
    )]
    pub(crate) fn send(
        &mut self,
        now: u64,
        registry: &Registry,
        token: Token,
        macs: Macs,
        datagram: &Datagram<'_>,
        target: SocketAddr,
        activity: &mut Activity,
        cable: &mut Cable,
    ) {
        let ends = Ends {
            device: datagram.source,
            near: datagram.destination,
        };
        let id = match self.by_ends.get(&ends) {
            Some(id) => *id,
            None => match connect(registry, token, target) {
                Ok(host) => {
                    self.make_room();
                    let flow = Flow {
                        ends,
                        macs,
                        host,
                        readable: false,
                        last_used_nanos: now,
                        quote: datagram.quote.keep(),
                    };
                    self.flows.insert(token.0, flow);
                    self.by_ends.insert(ends, token.0);
                    token.0
                }
                Err(error) => {
                    tracing::warn!(%target, %error, "can't open a UDP socket for the device");
                    cable.statistics.udp_dropped += 1;
                    return;
                }
            },
        };
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        flow.last_used_nanos = now;
        flow.macs = macs;
        let mut sent = flow.host.send(datagram.payload);
        if refused(&sent) {
            // The kernel reports the refusal of an earlier datagram; this one was not sent yet.
            flow.unreachable(now, cable);
            sent = flow.host.send(datagram.payload);
        }
        flow.quote = datagram.quote.keep();
        match sent {
            Ok(count) => activity.bytes_to_host += count as u64,
            Err(_) => cable.statistics.udp_dropped += 1,
        }
    }

    /// Notes what the operating system reported for one of our sockets.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        if let Some(flow) = self.flows.get_mut(&event.token().0) {
            flow.readable = true;
        }
    }

    /// Passes on what host programs answered, and forgets idle flows.
    pub(crate) fn progress(&mut self, now: u64, activity: &mut Activity, cable: &mut Cable) {
        let Self {
            flows,
            by_ends,
            idle_nanos,
            buffer,
            ..
        } = self;
        flows.retain(|_, flow| {
            flow.receive(now, buffer, activity, cable);
            let keep = now.saturating_sub(flow.last_used_nanos) < *idle_nanos;
            if !keep {
                by_ends.remove(&flow.ends);
            }
            keep
        });
    }

    fn make_room(&mut self) {
        if self.flows.len() < self.flows_max {
            return;
        }
        let oldest = self
            .flows
            .iter()
            .min_by_key(|(_, flow)| flow.last_used_nanos)
            .map(|(id, _)| *id);
        if let Some(flow) = oldest.and_then(|id| self.flows.remove(&id)) {
            self.by_ends.remove(&flow.ends);
        }
    }
}

impl Flow {
    fn receive(&mut self, now: u64, buffer: &mut [u8], activity: &mut Activity, cable: &mut Cable) {
        // A full cable leaves the rest in the socket's buffer, whose bound is the kernel's.
        while self.readable && cable.room() > 0 {
            let received = self.host.recv(buffer);
            if refused(&received) {
                self.unreachable(now, cable);
                continue;
            }
            match received {
                Ok(count) if count > UDP_PAYLOAD_BYTES_MAX => cable.statistics.udp_dropped += 1,
                Ok(count) => {
                    self.last_used_nanos = now;
                    activity.bytes_from_host += count as u64;
                    let answer = frame::udp(
                        self.macs,
                        self.ends.near,
                        self.ends.device,
                        &buffer[..count],
                    );
                    cable.put_to_device(now, answer);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.readable = false,
            }
        }
    }

    fn unreachable(&self, now: u64, cable: &mut Cable) {
        cable.statistics.udp_dropped += 1;
        let reason = Icmpv4DstUnreachable::PortUnreachable;
        let answer = frame::unreachable(self.macs, *self.ends.near.ip(), &self.quote, reason);
        cable.put_to_device(now, answer);
    }
}

fn connect(registry: &Registry, token: Token, target: SocketAddr) -> io::Result<UdpSocket> {
    let own: SocketAddr = match target {
        SocketAddr::V4(to) if to.ip().is_loopback() => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let mut host = UdpSocket::bind(own)?;
    host.connect(target)?;
    registry.register(&mut host, token, Interest::READABLE)?;
    Ok(host)
}

fn refused(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}
