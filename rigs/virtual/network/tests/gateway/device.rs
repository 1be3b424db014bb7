//! A device on the gateway's cable, and the loop that lets time pass for both.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration as WallDuration, Instant as WallInstant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device as Phy, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use virtual_network::{Gateway, GatewayConfig};

pub(crate) const MAC: EthernetAddress = EthernetAddress([0x02, 0x00, 0x00, 0x00, 0x00, 0x99]);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub(crate) const SECOND: u64 = 1_000_000_000;
/// No test needs more wall time than this; one that does hangs.
const WALL_LIMIT: WallDuration = WallDuration::from_secs(20);

/// The device, the gateway and the time.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    cable: Cable,
    pub(crate) now: u64,
    /// A program may connect at any time.
    pub(crate) forwards: bool,
}

impl World {
    /// A device that has no address yet.
    pub(crate) fn new(config: GatewayConfig) -> Self {
        let mut cable = Cable::default();
        let mut settings = Config::new(HardwareAddress::Ethernet(MAC));
        settings.random_seed = 42;
        let interface = Interface::new(settings, &mut cable, Instant::ZERO);
        Self {
            gateway: Gateway::new(config).expect("a gateway"),
            interface,
            sockets: SocketSet::new(Vec::new()),
            cable,
            now: 0,
            forwards: false,
        }
    }

    /// A device at 10.0.2.15 without asking DHCP.
    pub(crate) fn with_address(config: GatewayConfig) -> Self {
        let mut world = Self::new(config);
        world.address("10.0.2.15/24".parse().unwrap(), GATEWAY);
        world
    }

    pub(crate) fn address(&mut self, address: IpCidr, router: Ipv4Addr) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.push(address).unwrap();
        });
        self.interface
            .routes_mut()
            .add_default_ipv4_route(router)
            .unwrap();
    }

    /// One exchange of everything that can move now. True when anything did.
    pub(crate) fn round(&mut self) -> bool {
        let time = Instant::from_micros((self.now / 1_000) as i64);
        self.interface
            .poll(time, &mut self.cable, &mut self.sockets);
        let mut moved = false;
        while let Some(frame) = self.cable.sent.pop_front() {
            self.gateway.transmit(self.now, &frame);
            moved = true;
        }
        moved |= self.gateway.poll(self.now).any();
        while let Some(frame) = self.gateway.receive(self.now) {
            self.cable.arrived.push_back(frame);
            moved = true;
        }
        moved
    }

    /// Lets time pass until `done` says so: at once while things move, then to the next event. Panics with
    /// `what` after `limit` nanoseconds of chip time.
    pub(crate) fn until(
        &mut self,
        what: &str,
        limit: u64,
        mut done: impl FnMut(&mut Self) -> bool,
    ) {
        let started = WallInstant::now();
        let end = self.now + limit;
        if done(self) {
            return;
        }
        loop {
            assert!(
                self.now <= end,
                "{what}: not within {limit} ns of chip time"
            );
            assert!(started.elapsed() < WALL_LIMIT, "{what}: hangs");
            let moved = self.round();
            if done(self) {
                return;
            }
            if moved {
                self.now += 10_000;
                continue;
            }
            // Programs on this machine get a moment before chip time jumps.
            if self.gateway.wait(Some(self.patience())) {
                continue;
            }
            let time = Instant::from_micros((self.now / 1_000) as i64);
            let device = self
                .interface
                .poll_at(time, &self.sockets)
                .map(|at| at.total_micros() as u64 * 1_000);
            let next = [device, self.gateway.poll_at(self.now)];
            let next = next.into_iter().flatten().min();
            let next = next.unwrap_or(self.now + (SECOND / 10).max((end - self.now.min(end)) / 50));
            self.now = next.min(end).max(self.now + 10_000);
        }
    }

    /// How long programs may take to answer: no time at all when there are none, so that tests of the
    /// gateway alone are the same every time.
    fn patience(&self) -> WallDuration {
        let statistics = self.gateway.statistics();
        if self.forwards || statistics.tcp_open + statistics.udp_open > 0 {
            WallDuration::from_millis(5)
        } else {
            WallDuration::ZERO
        }
    }

    /// Lets `nanos` of chip time pass.
    pub(crate) fn pass(&mut self, nanos: u64) {
        let end = self.now + nanos;
        self.until("time", nanos + SECOND, |world| world.now >= end);
    }

    /// Takes a lease and the addresses in it.
    pub(crate) fn lease(&mut self) -> dhcpv4::Config<'static> {
        let handle = self.sockets.add(dhcpv4::Socket::new());
        let mut lease = None;
        self.until("a lease", 600 * SECOND, |world| {
            let socket = world.sockets.get_mut::<dhcpv4::Socket<'_>>(handle);
            if let Some(dhcpv4::Event::Configured(config)) = socket.poll() {
                lease = Some((
                    config.address,
                    config.router,
                    config.dns_servers.clone(),
                    config.server,
                ));
            }
            lease.is_some()
        });
        self.sockets.remove(handle);
        let (address, router, dns_servers, server) = lease.unwrap();
        self.address(IpCidr::Ipv4(address), router.unwrap());
        dhcpv4::Config {
            server,
            address,
            router,
            dns_servers,
            packet: None,
        }
    }

    /// Begins a connection to `address`.
    pub(crate) fn connect(&mut self, address: (Ipv4Addr, u16), own_port: u16) -> SocketHandle {
        let handle = self.sockets.add(socket());
        let context = self.interface.context();
        self.sockets
            .get_mut::<tcp::Socket<'_>>(handle)
            .connect(context, address, own_port)
            .unwrap();
        handle
    }

    /// A connection to a port of the gateway, opened.
    pub(crate) fn connected(&mut self, port: u16, own_port: u16) -> SocketHandle {
        let handle = self.connect((GATEWAY, port), own_port);
        self.until("a connection", 60 * SECOND, |world| {
            world.tcp(handle).state() == tcp::State::Established
        });
        handle
    }

    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = socket();
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket<'static>>(handle)
    }

    /// Sends `data` and collects what comes back until `expected` bytes are there.
    pub(crate) fn exchange(
        &mut self,
        handle: SocketHandle,
        data: &[u8],
        expected: usize,
        limit: u64,
    ) -> Vec<u8> {
        let mut sent = 0;
        let mut received = Vec::new();
        self.until("an exchange", limit, |world| {
            let socket = world.tcp(handle);
            if sent < data.len() && socket.can_send() {
                sent += socket.send_slice(&data[sent..]).unwrap();
            }
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        received.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            received.len() >= expected
        });
        received
    }
}

fn socket() -> tcp::Socket<'static> {
    tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; 16_384]),
        tcp::SocketBuffer::new(vec![0; 16_384]),
    )
}

/// The device's end of the cable.
#[derive(Default)]
struct Cable {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Phy for Cable {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived, Sent<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, process: F) -> R {
        process(&self.0)
    }
}

struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.push_back(frame);
        result
    }
}
