//! Ports of this machine that lead to the device, faults and captures: as far as they go without firmware.

use std::net::{SocketAddr, TcpListener, TcpStream};

use virtual_rig::VirtualRigSettings;

use crate::support::*;

const ANY: &str = "127.0.0.1:0";

fn any() -> SocketAddr {
    ANY.parse().unwrap()
}

#[test]
fn a_forward_listens_as_long_as_the_rig_lives() {
    let rig = rig();
    let address = rig.forward(any(), 80).unwrap();
    drop(TcpStream::connect(address).expect("somebody listens"));
    drop(rig);
    TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn a_taken_port_is_refused_in_words() {
    let rig = rig();
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    let error = rig.forward(address, 80).unwrap_err();
    let cause = std::error::Error::source(&error).expect("the network says why");
    assert!(
        cause.to_string().contains(&format!("`{address}`")),
        "{cause}"
    );
}

#[test]
fn a_capture_is_written_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("frames.pcapng");
    let settings = VirtualRigSettings {
        capture: Some(file.clone()),
        ..settings()
    };
    drop(start(settings));
    let written = std::fs::read(&file).unwrap();
    assert_eq!(
        written[..4],
        [0x0A, 0x0D, 0x0D, 0x0A],
        "no section header of pcapng"
    );
}

#[test]
fn a_capture_that_can_not_be_written_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("missing").join("frames.pcapng");
    let settings = VirtualRigSettings {
        capture: Some(file.clone()),
        ..settings()
    };
    let error = virtual_rig::VirtualRig::start(settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("can't record frames to `{}`", file.display())
    );
}
