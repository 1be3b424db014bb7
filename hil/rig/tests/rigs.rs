//! What a right rig file is read as, and the project's own rigs.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use hil_rig::{BrokerEndpoint, Limits, Network, Probe, ResolvedNetwork, Rig, TopicLevel};

fn project_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn parse(text: &str) -> Rig {
    Rig::parse(Path::new("rigs/attic.toml"), text).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn every_rig_of_the_project_is_right() {
    let names = Rig::list(project_root()).expect("the project's rigs");
    assert!(names.contains(&"virtual".into()) && names.contains(&"bench-esp32c3".into()));
    for name in names {
        let rig = Rig::find(&name, project_root()).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(rig.name, name);
    }
}

#[test]
fn the_virtual_rig_needs_no_environment() {
    let rig = Rig::find("virtual", project_root()).expect("the virtual rig");
    assert!(rig.is_virtual());
    assert_eq!(
        rig.device.base_topic(),
        "plant/area1/line2/tempcontroller01"
    );
    assert_eq!(rig.limits, Limits::default());
    let resolved = rig.resolve(|_| None).expect("needs nothing");
    assert_eq!(resolved.network, ResolvedNetwork::Ethernet);
}

#[test]
fn every_key_is_read() {
    let rig = parse(
        r#"schema = 1
name = "attic"
description = "under the roof"
[device]
chip = "esp32c3"
firmware = "./firmware/app"
device-id = "t2"
topic-levels = ["site", false, "line9"]
telemetry-interval-s = 5
retain-telemetry = true
[probe]
kind = "virtual"
mac = "0A:00:00:00:00:ff"
revision = "1.1"
flash-mib = 8
keep-flash = false
pace = 2
settle-ms = 0
[network]
driver = "ethernet"
[broker]
kind = "embedded"
port = 1884
listen = "127.0.0.2"
keep-alive-s = 10
[limits]
heap-drop-bytes = 1
fragmentation-percent = 2
heap-free-min-bytes = 3
publish-p95-ms = 4
publish-p99-ms = 5
command-p95-ms = 6
command-p99-ms = 7
telemetry-tolerance-percent = 8
"#,
    );
    assert_eq!(rig.description, "under the roof");
    assert_eq!(rig.device.base_topic(), "site/line9/t2");
    assert_eq!(rig.device.topic_levels[1], TopicLevel::Skip);
    assert_eq!(
        (rig.device.telemetry_interval_s, rig.device.retain_telemetry),
        (5, true)
    );
    let Probe::Virtual(probe) = &rig.probe else {
        panic!("{:?}", rig.probe)
    };
    assert_eq!(probe.mac, [0x0a, 0, 0, 0, 0, 0xff]);
    assert_eq!(
        (probe.revision, probe.flash_bytes, probe.keep_flash),
        ((1, 1), 8 << 20, false)
    );
    assert_eq!(
        (probe.pace.multiple, probe.pace.settle),
        (2.0, Duration::ZERO)
    );
    assert_eq!(
        rig.broker.endpoint,
        BrokerEndpoint::Embedded {
            port: 1884,
            listen: Ipv4Addr::new(127, 0, 0, 2)
        }
    );
    assert_eq!(
        (rig.broker.device_host.as_str(), rig.broker.keep_alive_s),
        ("10.0.2.2", 10)
    );
    assert_eq!(
        rig.limits,
        Limits {
            heap_drop_bytes: 1,
            fragmentation_percent: 2,
            heap_free_min_bytes: 3,
            publish_p95_ms: 4,
            publish_p99_ms: 5,
            command_p95_ms: 6,
            command_p99_ms: 7,
            telemetry_tolerance_percent: 8,
        }
    );
}

#[test]
fn a_board_with_wifi_and_an_external_broker_is_resolved_from_the_environment() {
    let rig = parse(
        r#"schema = 1
name = "attic"
[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "t2"
[probe]
kind = "usb"
selector = "303a:1001:AA:BB"
speed-khz = 4_000
[network]
driver = "wifi"
ssid-env = "SSID"
passphrase-env = "PASSPHRASE"
[broker]
kind = "external"
host = "broker.example"
device-host = "192.168.1.2"
username-env = "BROKER_USER"
password-env = "BROKER_PASSWORD"
"#,
    );
    let Probe::Usb(probe) = &rig.probe else {
        panic!("{:?}", rig.probe)
    };
    assert_eq!(probe.selector.to_string(), "303a:1001:AA:BB");
    assert_eq!(probe.speed_khz, Some(4_000));
    assert!(matches!(&rig.network, Network::Wifi { ssid_env, .. } if ssid_env == "SSID"));
    let resolved = rig
        .resolve(|name| Some(format!("value of {name}")))
        .expect("all set");
    let ResolvedNetwork::Wifi { ssid, passphrase } = &resolved.network else {
        panic!("{:?}", resolved.network)
    };
    assert_eq!(ssid, "value of SSID");
    assert_eq!(passphrase.expose(), "value of PASSPHRASE");
    let login = resolved.broker_login.as_ref().expect("a login");
    assert_eq!(login.password.expose(), "value of BROKER_PASSWORD");
    let shown = format!("{resolved:?}");
    assert!(!shown.contains("value of PASSPHRASE") && !shown.contains("value of BROKER_PASSWORD"));
}

#[test]
fn a_path_is_read_as_a_path() {
    let path = project_root().join("rigs/virtual.toml");
    let rig = Rig::find(&path.to_string_lossy(), Path::new("/nowhere")).expect("the file");
    assert_eq!(
        rig.state_directory(Path::new("/p")),
        Path::new("/p/target/hil/rigs/virtual")
    );
}
