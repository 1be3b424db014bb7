//! UDP: echo, refusal, expiry, limits.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr};
use virtual_network::GatewayConfig;

use crate::device::{GATEWAY, SECOND, World};
use crate::services::udp_socket;

fn echo_program() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
    port
}

fn bound(world: &mut World, port: u16) -> SocketHandle {
    let mut socket = udp_socket();
    socket.bind(port).unwrap();
    world.sockets.add(socket)
}

fn ask(world: &mut World, handle: SocketHandle, payload: &[u8], to: (Ipv4Addr, u16)) -> Vec<u8> {
    world
        .sockets
        .get_mut::<udp::Socket<'_>>(handle)
        .send_slice(payload, to)
        .unwrap();
    let mut answer = None;
    world.until("an answer", 10 * SECOND, |world| {
        let socket = world.sockets.get_mut::<udp::Socket<'_>>(handle);
        answer = socket
            .recv()
            .ok()
            .map(|(bytes, about)| (bytes.to_vec(), about.endpoint));
        answer.is_some()
    });
    let (bytes, from) = answer.unwrap();
    assert_eq!(from, to.into(), "who was asked answers");
    bytes
}

#[test]
fn datagrams_reach_a_program_and_its_answers_come_back() {
    let port = echo_program();
    let mut world = World::with_address(GatewayConfig::default());
    let first = bound(&mut world, 6_000);
    let second = bound(&mut world, 6_001);
    let largest = vec![0xA5; 1_472];
    assert_eq!(ask(&mut world, first, b"one", (GATEWAY, port)), b"one");
    assert_eq!(ask(&mut world, second, b"two", (GATEWAY, port)), b"two");
    assert_eq!(ask(&mut world, first, b"", (GATEWAY, port)), b"");
    assert_eq!(ask(&mut world, first, &largest, (GATEWAY, port)), largest);
    assert_eq!(world.gateway.statistics().udp_open, 2);
}

#[test]
fn idle_flows_are_forgotten_and_the_oldest_makes_room() {
    let port = echo_program();
    let mut world = World::with_address(GatewayConfig {
        flows_max: 2,
        ..GatewayConfig::default()
    });
    for own in 6_000..6_005 {
        let handle = bound(&mut world, own);
        ask(&mut world, handle, b"x", (GATEWAY, port));
        assert!(world.gateway.statistics().udp_open <= 2);
    }
    world.pass(61 * SECOND);
    assert_eq!(world.gateway.statistics().udp_open, 0);
}

/// The reason of the ICMP error that a datagram to `to` brings.
fn refusal(to: (Ipv4Addr, u16)) -> Icmpv4DstUnreachable {
    let mut world = World::with_address(GatewayConfig::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 512]);
    let mut errors = icmp::Socket::new(buffer(), buffer());
    errors.bind(icmp::Endpoint::Udp(6_000.into())).unwrap();
    let errors = world.sockets.add(errors);
    let handle = bound(&mut world, 6_000);
    world
        .sockets
        .get_mut::<udp::Socket<'_>>(handle)
        .send_slice(b"anybody?", to)
        .unwrap();
    let mut reason = None;
    world.until("a refusal", 5 * SECOND, |world| {
        let socket = world.sockets.get_mut::<icmp::Socket<'_>>(errors);
        if let Ok((bytes, _)) = socket.recv() {
            let packet = Icmpv4Packet::new_checked(bytes).unwrap();
            let checksums = smoltcp::phy::ChecksumCapabilities::default();
            if let Ok(Icmpv4Repr::DstUnreachable { reason: why, .. }) =
                Icmpv4Repr::parse(&packet, &checksums)
            {
                reason = Some(why);
            }
        }
        reason.is_some()
    });
    reason.unwrap()
}

#[test]
fn refusals_come_as_icmp() {
    let unused = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.local_addr().unwrap().port()
    };
    assert_eq!(
        refusal((GATEWAY, unused)),
        Icmpv4DstUnreachable::PortUnreachable
    );
    assert_eq!(
        refusal((Ipv4Addr::new(192, 0, 2, 1), 5_000)),
        Icmpv4DstUnreachable::HostProhibited
    );
}
