//! TCP both ways: whole, refused, half-closed, reset, many, forwarded, slow, restarted.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smoltcp::socket::tcp::State;
use virtual_network::GatewayConfig;

use crate::device::{DNS, GATEWAY, SECOND, World};

fn world() -> World {
    World::with_address(GatewayConfig::default())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect()
}

/// A host program that serves `connections` connections with `serve`, each in its turn.
pub(crate) fn program(
    connections: usize,
    serve: impl Fn(TcpStream) + Send + 'static,
) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(15)))
                .unwrap();
            stream
                .set_write_timeout(Some(Duration::from_secs(15)))
                .unwrap();
            serve(stream);
        }
    });
    (port, thread)
}

pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => stream.write_all(&buffer[..count]).unwrap(),
        }
    }
}

#[test]
fn a_mebibyte_comes_back_intact() {
    let (port, thread) = program(1, echo);
    let mut world = world();
    let handle = world.connected(port, 50_000);
    let data = pattern(1 << 20);
    let received = world.exchange(handle, &data, data.len(), 600 * SECOND);
    assert!(received == data, "the echo differs");
    world.tcp(handle).close();
    world.until("the end", 60 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
    thread.join().unwrap();
    assert_eq!(world.gateway.statistics().tcp_reset, 0);
}

#[test]
fn a_round_trip_takes_no_delayed_acknowledgement() {
    let (port, _thread) = program(1, echo);
    let mut world = world();
    let handle = world.connected(port, 50_000);
    let before = world.now;
    for _ in 0..20 {
        world.exchange(handle, b"ping", 4, SECOND);
    }
    let taken = world.now - before;
    assert!(
        taken < 100_000_000,
        "20 round trips took {taken} ns of chip time"
    );
    // Nor does what nobody answers, so that no answer takes the acknowledgement with it.
    let (port, _thread) = program(1, |mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let handle = world.connected(port, 50_001);
    let before = world.now;
    for _ in 0..20 {
        world.tcp(handle).send_slice(b"ping").unwrap();
        world.until("an acknowledgement", SECOND, |world| {
            world.tcp(handle).send_queue() == 0
        });
    }
    let taken = world.now - before;
    assert!(
        taken < 100_000_000,
        "20 acknowledgements took {taken} ns of chip time"
    );
}

#[test]
fn a_port_nobody_listens_on_is_refused_at_once() {
    let unused = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut world = world();
    let handle = world.connect((GATEWAY, unused), 50_000);
    world.until("a refusal", SECOND, |world| {
        world.tcp(handle).state() == State::Closed
    });
    assert_eq!(world.gateway.statistics().tcp_refused, 1);
    assert_eq!(world.gateway.statistics().tcp_open, 0);
}

#[test]
fn only_the_gateways_address_leads_to_this_machine() {
    let (port, _thread) = program(1, echo);
    for address in [DNS, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::LOCALHOST] {
        let mut world = world();
        let handle = world.connect((address, port), 50_000);
        let refused = |world: &mut World| world.tcp(handle).state() == State::Closed;
        world.until(&format!("a refusal from {address}"), SECOND, refused);
        assert_eq!(world.gateway.statistics().tcp_accepted, 0);
    }
}

#[test]
fn a_host_named_in_the_configuration_is_reached() {
    let (port, _thread) = program(1, echo);
    let far = Ipv4Addr::new(192, 0, 2, 1);
    let mut world = World::with_address(GatewayConfig {
        hosts: vec![(far, Ipv4Addr::LOCALHOST.into())],
        ..GatewayConfig::default()
    });
    let handle = world.connect((far, port), 50_000);
    assert_eq!(world.exchange(handle, b"hello", 5, SECOND), b"hello");
}

#[test]
fn the_device_ends_first_and_still_hears_the_answer() {
    let (port, thread) = program(1, |mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        request.reverse();
        stream.write_all(&request).unwrap();
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    world.tcp(handle).send_slice(b"abc").unwrap();
    world.tcp(handle).close();
    assert_eq!(world.exchange(handle, b"", 3, SECOND), b"cba");
    world.until("the end", 60 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
    thread.join().unwrap();
}

#[test]
fn the_host_ends_first_and_still_hears_the_answer() {
    let (port, thread) = program(1, |mut stream| {
        stream.write_all(b"say something").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "something");
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    assert_eq!(world.exchange(handle, b"", 13, SECOND), b"say something");
    world.until("the host's end", SECOND, |world| {
        world.tcp(handle).state() == State::CloseWait
    });
    world.tcp(handle).send_slice(b"something").unwrap();
    world.tcp(handle).close();
    world.until("the end", 60 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
    thread.join().unwrap();
}

#[test]
fn a_reset_of_the_device_is_a_reset_for_the_host() {
    let (port, thread) = program(1, |mut stream| {
        let error = loop {
            match stream.read(&mut [0; 16]) {
                Ok(0) => panic!("an orderly end instead of a reset"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    world.exchange(handle, b"hello", 0, SECOND);
    world.tcp(handle).abort();
    world.until("the end", SECOND, |world| {
        world.gateway.statistics().tcp_reset == 1
    });
    assert_eq!(world.gateway.statistics().tcp_open, 0);
    thread.join().unwrap();
}

#[test]
fn a_reset_of_the_host_is_a_reset_for_the_device() {
    let (port, thread) = program(1, |stream| {
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let mut world = world();
    // Not `connected`: the reset may come before the device has seen the connection opened.
    let handle = world.connect((GATEWAY, port), 50_000);
    world.until("a reset", SECOND, |world| {
        world.tcp(handle).state() == State::Closed
    });
    thread.join().unwrap();
    world.round();
    assert_eq!(world.gateway.statistics().tcp_open, 0);
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    // Fewer than the backlog of a std listener, 128.
    const MANY: u16 = 100;
    let (port, _thread) = program(usize::from(MANY), |stream| {
        thread::spawn(move || echo(stream));
    });
    let mut world = world();
    let handles: Vec<_> = (0..MANY)
        .map(|number| world.connect((GATEWAY, port), 50_000 + number))
        .collect();
    world.until("all connections", 60 * SECOND, |world| {
        (handles.iter()).all(|handle| world.tcp(*handle).state() == State::Established)
    });
    for (number, handle) in handles.iter().enumerate() {
        let message = format!("connection {number}");
        world.tcp(*handle).send_slice(message.as_bytes()).unwrap();
    }
    for (number, handle) in handles.iter().enumerate() {
        let message = format!("connection {number}");
        let echo = world.exchange(*handle, b"", message.len(), 10 * SECOND);
        assert_eq!(String::from_utf8_lossy(&echo), message);
    }
    for handle in handles {
        world.tcp(handle).close();
    }
    world.until("the end", 60 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
}

#[test]
fn beyond_the_limit_connections_are_refused() {
    let (port, _thread) = program(3, |stream| {
        thread::spawn(move || echo(stream));
    });
    let mut world = World::with_address(GatewayConfig {
        flows_max: 2,
        ..GatewayConfig::default()
    });
    world.connected(port, 50_000);
    world.connected(port, 50_001);
    let third = world.connect((GATEWAY, port), 50_002);
    world.until("a refusal", SECOND, |world| {
        world.tcp(third).state() == State::Closed
    });
}

#[test]
fn a_host_that_reads_nothing_stops_the_device() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (port, thread) = program(1, move |mut stream| {
        let _ = wait.recv();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == pattern(all.len()), "bytes differ");
        assert_eq!(all.len() % 1_000, 0);
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    let data = pattern(64_000_000);
    let mut sent = 0;
    let mut stalled = world.now;
    // The device writes until nothing has moved for a second.
    world.until("a stop", 3_600 * SECOND, |world| {
        let now = world.now;
        let socket = world.tcp(handle);
        if socket.send_capacity() - socket.send_queue() >= 1_000 {
            sent += socket.send_slice(&data[sent..sent + 1_000]).unwrap();
            stalled = now;
        }
        now - stalled > SECOND
    });
    assert!(sent < 32_000_000, "{sent} bytes went somewhere");
    release.send(()).unwrap();
    world.tcp(handle).close();
    world.until("the end", 600 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
    thread.join().unwrap();
}

#[test]
fn a_device_that_reads_nothing_stops_the_host() {
    let (port, _thread) = program(1, |mut stream| {
        let block = [0x55; 65_536];
        while stream.write_all(&block).is_ok() {}
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    world.pass(10 * SECOND);
    let statistics = world.gateway.statistics();
    assert!(
        statistics.bytes_to_device < 200_000,
        "{} bytes for a device with 16 KiB of room",
        statistics.bytes_to_device
    );
    let all = world.exchange(handle, b"", 1_000_000, 100 * SECOND);
    assert!(all.iter().all(|byte| *byte == 0x55));
    world.tcp(handle).abort();
    world.round();
}

#[test]
fn a_restarted_device_may_use_its_port_again() {
    let (port, thread) = program(2, |mut stream| {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => stream.write_all(&byte).unwrap(),
            Ok(_) => panic!("an orderly end instead of a reset"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
    let mut world = world();
    let old = world.connected(port, 50_000);
    // The device forgets everything without a word, as one does when its power goes.
    world.sockets.remove(old);
    let again = world.connected(port, 50_000);
    assert_eq!(world.exchange(again, b"x", 1, SECOND), b"x");
    thread.join().unwrap();
}

#[test]
fn an_idle_connection_lives_on() {
    let (port, _thread) = program(1, echo);
    let mut world = world();
    let handle = world.connected(port, 50_000);
    assert_eq!(world.exchange(handle, b"one", 3, SECOND), b"one");
    world.pass(3_600 * SECOND);
    assert_eq!(world.exchange(handle, b"two", 3, SECOND), b"two");
}

#[test]
fn a_device_that_vanished_is_given_up() {
    let (port, thread) = program(1, |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"anybody there?").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    let mut world = world();
    let handle = world.connected(port, 50_000);
    world.exchange(handle, b"x", 1, SECOND);
    world.gateway.set_faults(virtual_network::FaultPlan {
        link_down: true,
        ..Default::default()
    });
    world.tcp(handle).send_slice(b"lost").unwrap();
    world.sockets.remove(handle);
    world.until("giving up", 200 * SECOND, |world| {
        world.gateway.statistics().tcp_reset == 1
    });
    // Without the neighbour there is nobody to send the RST to; the connection must go all the same.
    world.until("the end", 200 * SECOND, |world| {
        world.gateway.statistics().tcp_open == 0
    });
    thread.join().unwrap();
}

#[test]
fn forwards_reach_the_device_both_ways() {
    let mut world = world();
    world.forwards = true;
    let address = world
        .gateway
        .forward(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 80)
        .unwrap();
    let handle = world.listen(80);
    // Connected before the gateway has seen the device: waits for it.
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    });
    world.until("the connection", 20 * SECOND, |world| {
        world.gateway.statistics().tcp_forwarded == 1
    });
    crate::faults::announce(&mut world);
    let request = world.exchange(handle, b"hello from the device", 18, 20 * SECOND);
    assert_eq!(request, b"GET / HTTP/1.0\r\n\r\n");
    world.tcp(handle).close();
    world.until("the end", 60 * SECOND, |world| {
        !world.tcp(handle).is_open() || world.gateway.statistics().tcp_open == 0
    });
    assert_eq!(client.join().unwrap(), "hello from the device");
}

#[test]
fn a_forward_to_a_port_the_device_does_not_serve_is_reset() {
    let mut world = world();
    crate::faults::announce(&mut world);
    world.forwards = true;
    let address = world
        .gateway
        .forward(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 81)
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    world.until("a reset", 20 * SECOND, |world| {
        world.gateway.statistics().tcp_reset == 1
    });
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn forwards_are_for_this_machine_alone_and_say_which_port_is_taken() {
    let mut world = world();
    let outside = world.gateway.forward("0.0.0.0:0".parse().unwrap(), 80);
    assert_eq!(
        outside.unwrap_err().to_string(),
        "forward on `0.0.0.0:0` would be reachable from outside; use an address of the loopback"
    );
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        world.gateway.forward(address, 80).unwrap_err().to_string(),
        format!(
            "can't listen on `{address}` for a forward to the device; choose a free port or port 0"
        )
    );
}
