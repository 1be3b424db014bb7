//! The gateway's own IP stack: smoltcp on a pair of queues.
//!
//! It answers ARP and ICMP echo and carries TCP. It takes every address (AnyIP): which ones the device may
//! talk to has been decided before a frame comes here, and a TCP segment that belongs to no socket is
//! answered with RST, which is how refusals are made.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::GatewayConfig;
use crate::frame::FRAME_BYTES_MAX;

/// The gateway's MAC address; locally administered, and the one QEMU's user network has.
pub(crate) const GATEWAY_MAC: EthernetAddress =
    EthernetAddress([0x52, 0x55, 0x0A, 0x00, 0x02, 0x02]);

/// smoltcp's interface with its sockets and queues.
pub(crate) struct Stack {
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    queues: Queues,
}

impl Stack {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let mut queues = Queues::default();
        let mut settings = Config::new(HardwareAddress::Ethernet(GATEWAY_MAC));
        settings.random_seed = config.seed;
        let mut interface = Interface::new(settings, &mut queues, Instant::ZERO);
        let subnet = &config.subnet;
        interface.update_ip_addrs(|addresses| {
            for address in [subnet.gateway, subnet.dns] {
                let cidr = IpCidr::new(IpAddress::Ipv4(address), subnet.prefix_bits);
                // Two addresses are what smoltcp has room for by default.
                let _ = addresses.push(cidr);
            }
        });
        interface.set_any_ip(true);
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            queues,
        }
    }

    /// A frame for the stack, processed at once. Answers wait for [`pop`](Self::pop).
    pub(crate) fn push(&mut self, now_nanos: u64, frame: Vec<u8>) {
        self.queues.arrived.push_back(frame);
        self.interface
            .poll_ingress_single(instant(now_nanos), &mut self.queues, &mut self.sockets);
    }

    /// Sends what is due. Sockets send into a queue with `room` frames left, so
    /// that a device that takes nothing makes them wait.
    pub(crate) fn poll(&mut self, now_nanos: u64, room: usize) {
        self.queues.room = room;
        self.interface
            .poll(instant(now_nanos), &mut self.queues, &mut self.sockets);
    }

    /// The next frame the stack wants to send.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.queues.leaving.pop_front()
    }

    /// When `poll` wants to be called again, in nanoseconds; never before `now_nanos`.
    pub(crate) fn poll_at(&mut self, now_nanos: u64) -> Option<u64> {
        let at = self
            .interface
            .poll_at(instant(now_nanos), &self.sockets)?
            .total_micros();
        let at = u64::try_from(at).unwrap_or(0).saturating_mul(1_000);
        Some(at.max(now_nanos))
    }
}

fn instant(nanos: u64) -> Instant {
    Instant::from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

/// The cable's end as smoltcp sees it.
#[derive(Default)]
struct Queues {
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
    room: usize,
}

impl Device for Queues {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Leaving<'_>> {
        (self.leaving.len() < self.room).then_some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, process: F) -> R {
        process(&self.0)
    }
}

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.push_back(frame);
        result
    }
}
