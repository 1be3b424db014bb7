//! `hil run --capture`: what passed over the simulated network, for Wireshark.
#![cfg(unix)]

#[path = "support/own_rig.rs"]
mod own_rig;
#[path = "support/project.rs"]
mod project;

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use own_rig::OwnRig;
use pcap_file::pcapng::{Block, PcapNgReader};
use project::project;

/// `hil run CON-1` on a virtual rig `name`, and the rig with its report.
fn run(name: &str, arguments: &[&str]) -> (OwnRig, Output) {
    let rig = OwnRig::new(name, &[("keep-flash = true", "keep-flash = false")]);
    let arguments = [&["run", "CON-1"], arguments].concat();
    let output = rig.hil(&arguments).output().expect("the program runs");
    let _ = fs::remove_dir_all(project().join("target/hil/rigs").join(name));
    (rig, output)
}

/// All frames of a capture, in order, with their times in nanoseconds.
fn frames(file: &Path) -> Vec<(u128, Vec<u8>)> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut reader = PcapNgReader::new(&bytes[..]).expect("pcapng");
    let mut frames = vec![];
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
            let data = Cow::into_owned(packet.data);
            frames.push((packet.timestamp.as_nanos(), data));
        }
    }
    frames
}

/// What a TCP segment over IPv4 over Ethernet carries; none for anything else.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..).filter(|_| frame[12..14] == [0x08, 0x00])?;
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let tcp = ip.get(usize::from(ip[0] & 0xF) * 4..length)?;
    (ip[9] == 6).then(|| &tcp[usize::from(tcp[12] >> 4) * 4..])
}

/// The port of the embedded broker, as a run says it.
fn rig_port(said: &str) -> &str {
    let line = said
        .lines()
        .find(|line| line.contains("embedded, 127.0.0.1:"));
    line.and_then(|line| line.rsplit(':').next())
        .expect("a broker")
}

fn holds(bytes: &[u8], wanted: &str) -> bool {
    bytes
        .windows(wanted.len())
        .any(|window| window == wanted.as_bytes())
}

#[test]
fn the_network_is_recorded_when_asked_for() {
    let (rig, output) = run("test-captured", &["--capture"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let line = "   capture    the network, into `mqtt.pcapng`, passwords in clear";
    assert!(said.lines().any(|said| said == line), "{said}");

    let file = rig.report("mqtt.pcapng");
    let frames = frames(&file);
    assert!(frames.is_sorted_by_key(|(nanos, _)| *nanos));
    let payloads: Vec<&[u8]> = frames
        .iter()
        .filter_map(|(_, frame)| payload(frame))
        .collect();
    // MQTT 3.1.1, section 3.1: CONNECT, and the protocol's name in it. Section 3.2: CONNACK, accepted.
    let connect = payloads.iter().find(|bytes| bytes.first() == Some(&0x10));
    let connect = connect.expect("a CONNECT");
    assert!(holds(connect, "MQTT") && holds(connect, "tempcontroller01"));
    assert!(payloads.contains(&[0x20, 2, 0, 0].as_slice()), "no CONNACK");

    // What it is written for reads it too, where it is installed: all frames, and MQTT in them.
    let port = rig_port(&said);
    let tshark = Command::new("tshark")
        .args(["-n", "-d", &format!("tcp.port=={port},mqtt"), "-r"])
        .arg(&file)
        .output();
    match tshark {
        Ok(read) => {
            let lines = String::from_utf8_lossy(&read.stdout);
            assert!(read.status.success(), "{read:?}");
            assert_eq!(lines.lines().count(), frames.len(), "{lines}");
            assert!(lines.contains("Connect Command"), "{lines}");
        }
        Err(error) => eprintln!("not read by tshark: {error}"),
    }

    // It holds passwords: nobody else's to read.
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn nothing_is_recorded_unless_asked_for() {
    let (rig, output) = run("test-not-captured", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(rig.report("run.json").is_file());
    assert!(!rig.report("mqtt.pcapng").exists());
}

#[test]
fn on_a_real_rig_it_is_said_that_there_is_nothing_to_capture() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_hil"))
        .args(["run", "CON-1", "--capture", "--rig", "bench-esp32c3"])
        .arg("--output")
        .arg(directory.path())
        .current_dir(project())
        .env("NO_COLOR", "1")
        .env("HIL_WIFI_SSID", "attic")
        .env("HIL_WIFI_PASSPHRASE", "up the stairs")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("there is nothing to capture on rig `bench-esp32c3`"),
        "{said}"
    );
    assert!(said.contains("help: leave out `--capture`"), "{said}");
    assert!(!directory.path().join("latest").exists());
}
