//! `hil rigs serve`: what it prints for stock tools, that it holds the rig, and how it ends.
#![cfg(unix)]

#[path = "support/own_rig.rs"]
mod own_rig;
#[path = "support/project.rs"]
mod project;
#[path = "support/running.rs"]
mod running;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use own_rig::OwnRig;
use running::Running;

#[test]
fn stock_tools_are_told_how_to_reach_it_until_ctrl_c() {
    let rig = OwnRig::new("test-served", &[]);
    let mut server = Running::start(
        Command::new(env!("CARGO_BIN_EXE_hil"))
            .args(["rigs", "serve"])
            .arg(&rig.file)
            .current_dir(project::project())
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut stdout = BufReader::new(server.child().stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    // The selector of a Black Magic Probe over TCP, as probe-rs has it: VID:PID:HOST:PORT.
    let options = line
        .strip_prefix("--probe 1d50:6018:")
        .and_then(|line| line.strip_suffix(" --protocol jtag --chip esp32c3\n"));
    let address = options.unwrap_or_else(|| panic!("{line}"));

    // The remote protocol of the Black Magic Probe: general commands, "start".
    let mut probe = TcpStream::connect(address).expect("somebody listens");
    probe.write_all(b"+#!GA#").expect("it takes a packet");
    let mut answer = [0; 2];
    probe.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"&K", "{answer:?}");

    let second = rig.hil(&["run", "CON-1"]).output().expect("it runs");
    assert_eq!(second.status.code(), Some(3), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("rig `test-served` is in use by"), "{said}");

    server.interrupt();
    let output = server.end();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    TcpStream::connect(address).expect_err("the port is closed");
}
