//! The Black Magic server, with probe-rs's stock driver as its client.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use probe_rs::probe::WireProtocol;
use probe_rs::{MemoryInterface, Permissions};
use virtual_rig::{BlackMagicServer, VirtualRig};

use crate::support::*;

fn serve(rig: &VirtualRig) -> BlackMagicServer {
    rig.black_magic_server(TcpListener::bind("127.0.0.1:0").unwrap())
        .unwrap()
}

/// Sends packets as they are, returns what comes back up to `answers` answers.
fn exchange(client: &mut TcpStream, packets: &str, answers: usize) -> String {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(packets.as_bytes()).unwrap();
    let mut text = String::new();
    let mut byte = [0];
    while text.matches('#').count() < answers && client.read(&mut byte).unwrap() == 1 {
        text.push(byte[0] as char);
    }
    text
}

#[test]
fn the_stock_driver_attaches_reads_writes_and_halts() {
    let rig = rig();
    let server = serve(&rig);
    let mut probe = open(&server.selector());
    probe.select_protocol(WireProtocol::Jtag).unwrap();
    let mut session = probe.attach("esp32c3", Permissions::default()).unwrap();
    let mut core = session.core(0).unwrap();
    core.write_32(DATA.into(), &[1, 2, 3]).unwrap();
    let mut read = [0; 3];
    core.read_32(DATA.into(), &mut read).unwrap();
    assert_eq!(read, [1, 2, 3]);
    load(&mut core, &COUNT);
    assert_eq!(core.step().unwrap().pc, u64::from(CODE) + 4);
}

#[test]
fn packets_are_answered() {
    fn check(packet: &str, expected: &str) {
        let rig = rig();
        let server = serve(&rig);
        let mut client = TcpStream::connect(server.address()).unwrap();
        assert_eq!(
            exchange(&mut client, packet, expected.matches('#').count()),
            expected,
            "{packet}"
        );
    }
    check("+#!GA#", "&KVirtual ESP32-C3 as Black Magic Probe#");
    check("!HC#", "&K4#");
    check("!GV#", "&K3.3V#");
    check("!GF003d0900#!Gf#", "&K0#&Kfa0#");
    check("!SS#", "&N0#");
    check("!JD#", "&P1#");
    // TAP reset, then the data register: Select-DR, Capture-DR, Shift-DR, 32 bits, that is the IDCODE.
    check("!JR#!JT031#!JD2000000000#", "&K0#&K0#&K5c25#");
}

#[test]
fn a_second_client_is_turned_away_and_later_let_in() {
    let rig = rig();
    let server = serve(&rig);
    let mut first = TcpStream::connect(server.address()).unwrap();
    assert_eq!(exchange(&mut first, "!HC#", 1), "&K4#");
    let mut second = TcpStream::connect(server.address()).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "&E0#");
    drop(first);
    // The server notices in its own time; the clock is only the bound.
    let clock = rig.clock();
    let _hold = clock.in_flight();
    for _ in 0..500 {
        let mut third = TcpStream::connect(server.address()).unwrap();
        if exchange(&mut third, "!HC#", 1) == "&K4#" {
            return;
        }
        wait_until(&clock, clock.now() + Duration::from_millis(10));
    }
    panic!("the probe was never free again");
}

#[test]
fn an_endless_packet_does_no_harm() {
    let rig = rig();
    let server = serve(&rig);
    let mut client = TcpStream::connect(server.address()).unwrap();
    let answer = exchange(&mut client, &format!("!{}", "0".repeat(100_000)), 1);
    assert_eq!(answer, "&P1#");
    assert_eq!(exchange(&mut client, "!HC#", 1), "&K4#");
}

#[test]
fn a_server_ends_with_a_client_connected() {
    let rig = rig();
    let server = serve(&rig);
    let mut client = TcpStream::connect(server.address()).unwrap();
    assert_eq!(exchange(&mut client, "!HC#", 1), "&K4#");
    let address = server.address();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    TcpListener::bind(address).expect("the port is free again");
}
