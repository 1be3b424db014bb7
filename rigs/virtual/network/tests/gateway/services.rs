//! What the gateway answers by itself: DHCP, DNS, SNTP, ICMP echo.

use std::net::Ipv4Addr;

use smoltcp::socket::{dns, icmp, udp};
use smoltcp::wire::{DnsQueryType, Icmpv4Packet, Icmpv4Repr, IpAddress};
use virtual_network::{GatewayConfig, Subnet};

use crate::device::{DNS, GATEWAY, SECOND, World};

#[test]
fn dhcp_gives_address_router_and_dns() {
    let mut world = World::new(GatewayConfig::default());
    let lease = world.lease();
    assert_eq!(lease.address.to_string(), "10.0.2.15/24");
    assert_eq!(lease.router, Some(GATEWAY));
    assert_eq!(&lease.dns_servers[..], [DNS]);
    assert_eq!(world.gateway.statistics().dhcp_answers, 2);
}

#[test]
fn dhcp_leases_are_renewed() {
    let mut world = World::new(GatewayConfig {
        lease_seconds: 120,
        ..GatewayConfig::default()
    });
    let handle = world.sockets.add(smoltcp::socket::dhcpv4::Socket::new());
    let (mut leases, mut losses) = (0, 0);
    let end = 600 * SECOND;
    world.until("ten minutes", 700 * SECOND, |world| {
        let socket = world
            .sockets
            .get_mut::<smoltcp::socket::dhcpv4::Socket<'_>>(handle);
        let address = match socket.poll() {
            Some(smoltcp::socket::dhcpv4::Event::Configured(config)) => {
                leases += 1;
                Some(config.address)
            }
            Some(smoltcp::socket::dhcpv4::Event::Deconfigured) => {
                losses += 1;
                None
            }
            None => None,
        };
        if let Some(address) = address {
            world.address(address.into(), GATEWAY);
        }
        world.now >= end
    });
    // The first lease counts as losing the state before it.
    assert_eq!((leases, losses), (1, 1), "kept by renewing");
    let answers = world.gateway.statistics().dhcp_answers;
    assert!(answers >= 2 + 8, "{answers} answers in ten minutes");
}

#[test]
fn dhcp_follows_the_subnet_of_the_configuration() {
    let mut world = World::new(GatewayConfig {
        subnet: Subnet {
            network: Ipv4Addr::new(172, 16, 0, 0),
            prefix_bits: 16,
            gateway: Ipv4Addr::new(172, 16, 0, 1),
            dns: Ipv4Addr::new(172, 16, 0, 2),
            first_lease: Ipv4Addr::new(172, 16, 9, 9),
        },
        ..GatewayConfig::default()
    });
    assert_eq!(world.lease().address.to_string(), "172.16.9.9/16");
}

fn resolve(world: &mut World, name: &str) -> Result<Vec<IpAddress>, dns::GetQueryResultError> {
    let mut socket = dns::Socket::new(&[DNS.into()], Vec::new());
    let query = socket
        .start_query(world.interface.context(), name, DnsQueryType::A)
        .unwrap();
    let handle = world.sockets.add(socket);
    let mut result = None;
    world.until("an answer", 60 * SECOND, |world| {
        let socket = world.sockets.get_mut::<dns::Socket<'_>>(handle);
        match socket.get_query_result(query) {
            Err(dns::GetQueryResultError::Pending) => {}
            other => result = Some(other.map(|addresses| addresses.to_vec())),
        }
        result.is_some()
    });
    world.sockets.remove(handle);
    result.unwrap()
}

#[test]
fn dns_answers_configured_names_only() {
    let broker = Ipv4Addr::new(10, 0, 2, 2);
    let mut world = World::with_address(GatewayConfig {
        names: vec![("broker.plant".into(), broker)],
        ..GatewayConfig::default()
    });
    assert_eq!(resolve(&mut world, "broker.plant"), Ok(vec![broker.into()]));
    assert_eq!(resolve(&mut world, "gateway"), Ok(vec![GATEWAY.into()]));
    assert_eq!(
        resolve(&mut world, "example.org"),
        Err(dns::GetQueryResultError::Failed)
    );
    assert!(world.now < SECOND, "a refusal comes at once");
}

#[test]
fn sntp_serves_the_epoch_plus_chip_time() {
    let epoch = 1_795_392_000 * SECOND;
    let mut world = World::with_address(GatewayConfig {
        wall_epoch_unix_nanos: epoch,
        ..GatewayConfig::default()
    });
    world.now = 90 * SECOND;
    let mut socket = udp_socket();
    socket.bind(5_000).unwrap();
    let mut request = [0; 48];
    request[0] = 0b00_100_011;
    socket.send_slice(&request, (GATEWAY, 123)).unwrap();
    let handle = world.sockets.add(socket);
    let mut answer = Vec::new();
    world.until("an answer", SECOND, |world| {
        let socket = world.sockets.get_mut::<udp::Socket<'_>>(handle);
        if let Ok((bytes, _)) = socket.recv() {
            answer = bytes.to_vec();
        }
        !answer.is_empty()
    });
    let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
    assert_eq!(seconds, 1_795_392_090_u32.wrapping_add(2_208_988_800));
}

#[test]
fn ping_is_answered_for_the_gateways_addresses_alone() {
    let mut world = World::with_address(GatewayConfig::default());
    assert!(ping(&mut world, GATEWAY));
    assert!(ping(&mut world, DNS));
    assert!(!ping(&mut world, Ipv4Addr::new(192, 0, 2, 1)));
    assert!(!ping(&mut world, Ipv4Addr::new(10, 0, 2, 77)));
}

fn ping(world: &mut World, address: Ipv4Addr) -> bool {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 256]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).unwrap();
    let request = Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 1,
        data: b"anybody?",
    };
    let room = socket.send(request.buffer_len(), address.into()).unwrap();
    request.emit(
        &mut Icmpv4Packet::new_unchecked(room),
        &smoltcp::phy::ChecksumCapabilities::default(),
    );
    let handle = world.sockets.add(socket);
    let end = world.now + 3 * SECOND;
    let mut answered = false;
    world.until("an echo or silence", 4 * SECOND, |world| {
        let socket = world.sockets.get_mut::<icmp::Socket<'_>>(handle);
        if let Ok((bytes, from)) = socket.recv() {
            assert_eq!(from, address.into());
            assert!(bytes.ends_with(b"anybody?"));
            answered = true;
        }
        answered || world.now >= end
    });
    world.sockets.remove(handle);
    answered
}

pub(crate) fn udp_socket() -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8_192]);
    udp::Socket::new(buffer(), buffer())
}
