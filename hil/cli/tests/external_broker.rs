//! A whole run with a broker that was there before, named by its address: on this computer's loopback, and on
//! another host. The other host is another address of this computer, which the simulated network has to lead to.
#![cfg(target_os = "linux")]

#[path = "support/own_rig.rs"]
mod own_rig;
#[path = "support/project.rs"]
mod project;

use std::net::{Ipv4Addr, SocketAddr};

use hil_mqtt::{Broker, EmbeddedSettings};
use own_rig::OwnRig;

#[track_caller]
fn check(name: &str, listen: Ipv4Addr) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let settings = EmbeddedSettings {
        bind: SocketAddr::from((listen, 0)),
        ..EmbeddedSettings::default()
    };
    let broker = runtime
        .block_on(Broker::embedded(settings))
        .expect("a broker");
    let address = format!("{listen}:{}", broker.port());
    let rig = OwnRig::new(name, &[]);
    let output = rig
        .hil(&["run", "CON-1", "CMD-1", "--broker", &address])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let line = format!("   broker     external, {address}");
    assert!(said.lines().any(|said| said == line), "{said}");
    runtime.block_on(broker.stop()).expect("it stops");
}

#[test]
fn on_the_loopback() {
    check("test-broker-here", Ipv4Addr::LOCALHOST);
}

#[test]
fn on_another_host() {
    check("test-broker-there", Ipv4Addr::new(127, 0, 0, 2));
}

#[test]
fn on_a_host_that_nobody_knows() {
    let rig = OwnRig::new("test-broker-nowhere", &[]);
    let output = rig
        .hil(&["run", "CON-1", "--broker", "no-such-host.invalid:1883"])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Without the breaks of a message that is wrapped.
    let said = said.replace('│', " ");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(3), "{said}");
    let line = "nobody knows the address of the broker `no-such-host.invalid`";
    assert!(said.contains(line), "{said}");
    assert!(said.contains("--broker 192.168.1.20:1883"), "{said}");
}
