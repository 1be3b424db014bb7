//! From the text of a rig file to a checked [`Rig`], or to every mistake in it.
//!
//! One function a table. A function that finds a mistake reports it and returns `None`; the others
//! still run. Only when nothing was reported is there a rig.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use crate::{
    Broker, BrokerEndpoint, Budget, Device, Limits, Network, Pace, Probe, Rig, TopicLevel,
    UsbProbe, UsbSelector, VirtualProbe, WireProtocol,
    fixture::fixture,
    problem::{Problem, Problems},
    section::{Placed, Section},
};

/// The version of rig files that this crate reads.
const SCHEMA: i64 = 1;

/// The chips that the bench knows.
const CHIPS: &[(&str, &str)] = &[("esp32c3", "esp32c3")];

#[derive(Clone, Copy)]
enum ProbeKind {
    Virtual,
    Usb,
}

#[derive(Clone, Copy)]
enum Driver {
    Ethernet,
    Wifi,
}

#[derive(Clone, Copy)]
enum BrokerKind {
    Embedded,
    External,
}

/// Reads `text`; all mistakes in the order of the file, at least one, if it is not right.
pub(crate) fn rig(path: &Path, text: &str) -> Result<Rig, Vec<Problem>> {
    let mut problems = Problems::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(
            Problem::new(first_line(error.message()), span, "this is no TOML")
                .help("see https://toml.io for how tables, keys and strings are written"),
        );
    }
    if !errors.is_empty() {
        // What is left after a syntax error is a guess: don't blame the author for it.
        return Err(problems.into_sorted());
    }
    let mut root = Section::root(document.get_ref(), text.len());
    if !schema_fits(&mut root, &mut problems) {
        // Another version may mean other things by the same keys.
        return Err(problems.into_sorted());
    }
    let rig = read(path, &mut root, &mut problems);
    root.finish(&mut problems, &[]);
    let problems = problems.into_sorted();
    match rig {
        Some(rig) if problems.is_empty() => Ok(rig),
        _ => Err(problems),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("not TOML").to_owned()
}

/// Whether the file is of the version that is read here.
fn schema_fits(root: &mut Section<'_, '_>, problems: &mut Problems) -> bool {
    if !root.has("schema") {
        problems.push(
            Problem::new("the rig file has no `schema`", 0..0, "it begins here")
                .help(format!("begin it with `schema = {SCHEMA}`")),
        );
        return true;
    }
    match root.integer::<i64>(problems, "schema", i64::MIN..=i64::MAX) {
        Some(Placed { value, span }) if value != SCHEMA => {
            let problem = Problem::new(
                format!("rig files of schema `{value}` can't be read"),
                span,
                format!("known: `{SCHEMA}`"),
            );
            problems.push(problem.help(if value > SCHEMA {
                "use the `hil` that this file was written for, it is newer".into()
            } else {
                format!("write `schema = {SCHEMA}`")
            }));
            false
        }
        _ => true,
    }
}

fn read(path: &Path, root: &mut Section<'_, '_>, problems: &mut Problems) -> Option<Rig> {
    let name = name(path, root, problems);
    let description = root.text(problems, "description");
    let device = root
        .needed_table(problems, "device", "the device under test")
        .and_then(|section| device(section, problems));
    let probe = root
        .needed_table(problems, "probe", "how the device is reached for debugging")
        .and_then(|section| probe(section, problems));
    let network = root
        .needed_table(problems, "network", "how the device reaches the network")
        .and_then(|section| network(section, probe.as_ref(), problems));
    let broker = root
        .needed_table(problems, "broker", "the MQTT broker of the rig")
        .and_then(|section| broker(section, probe.as_ref(), problems));
    let fixture = root
        .table(problems, "fixture")
        .map(|section| fixture(section, probe.as_ref(), problems));
    let limits = match root.table(problems, "limits") {
        Some(section) => limits(section, problems),
        None => Limits::default(),
    };
    let budget = match root.table(problems, "budget") {
        Some(section) => budget(section, problems),
        None => Budget::default(),
    };
    Some(Rig {
        name: name?,
        description: description.map(|text| text.value).unwrap_or_default(),
        path: path.to_owned(),
        device: device?,
        probe: probe?,
        network: network?,
        broker: broker?,
        fixture: match fixture {
            Some(fixture) => Some(fixture?),
            None => None,
        },
        limits,
        budget,
    })
}

/// The name is the file's, because rigs are found, listed and locked by it.
fn name(path: &Path, root: &mut Section<'_, '_>, problems: &mut Problems) -> Option<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = root.needed_text(problems, "name", &stem)?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.value.is_empty() || !name.value.chars().all(fine) {
        problems.push(
            Problem::new(
                format!("`{}` can't be the name of a rig", name.value),
                name.span,
                "lower case letters, digits and `-` only",
            )
            .help(format!("write `{stem}`, as the file is called")),
        );
        return None;
    }
    if name.value != stem {
        problems.push(
            Problem::new(
                format!("the rig is called `{}`, its file `{stem}.toml`", name.value),
                name.span,
                "rigs are found by the name of their file",
            )
            .help(format!("write `{stem}`, or rename the file")),
        );
        return None;
    }
    Some(name.value)
}

fn device(mut section: Section<'_, '_>, problems: &mut Problems) -> Option<Device> {
    let chip = section.word(problems, "chip", CHIPS);
    let firmware = section
        .needed_text(problems, "firmware", "firmware/app")
        .and_then(|text| firmware(text, problems));
    let device_id = section
        .needed_text(problems, "device-id", "tempcontroller01")
        .and_then(|text| level("device-id", text.value, text.span, problems));
    let topic_levels = topic_levels(&mut section, problems);
    let interval = section.integer(problems, "telemetry-interval-s", 1..=3_600);
    let retain = section.flag(problems, "retain-telemetry");
    section.finish(problems, &[]);
    Some(Device {
        chip: chip?.to_owned(),
        firmware: firmware?,
        device_id: device_id?,
        topic_levels: topic_levels?,
        telemetry_interval_s: interval.map_or(60, |interval| interval.value),
        retain_telemetry: retain.unwrap_or(false),
    })
}

/// A directory of the project: a rig file means the same on every machine.
fn firmware(text: Placed<String>, problems: &mut Problems) -> Option<PathBuf> {
    let path = PathBuf::from(&text.value);
    let inside = !text.value.is_empty()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        problems.push(
            Problem::new(
                format!("`{}` is not a directory of the project", text.value),
                text.span,
                "relative to the project's root, without `..`",
            )
            .help("write the firmware package's directory, such as `firmware/app`"),
        );
        return None;
    }
    Some(path)
}

fn topic_levels(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<[TopicLevel; 3]> {
    if !section.has("topic-levels") {
        // The contract's default base: `plant/area1/line2`.
        section.array(problems, "topic-levels");
        return Some(["plant", "area1", "line2"].map(|level| TopicLevel::Custom(level.into())));
    }
    let array = section.array(problems, "topic-levels")?;
    let help = "write three levels; a level that is left out is `false`";
    if array.value.len() != 3 {
        problems.push(
            Problem::new(
                format!("`topic-levels` has {} levels", array.value.len()),
                array.span,
                "three are needed",
            )
            .help(help),
        );
        return None;
    }
    let mut levels = vec![];
    for element in array.value {
        levels.extend(match element.value {
            DeValue::Boolean(false) => Some(TopicLevel::Skip),
            DeValue::String(text) => level("topic level", text.to_string(), element.span, problems)
                .map(TopicLevel::Custom),
            _ => {
                let what = "a topic level is neither a string nor `false`";
                problems.push(Problem::new(what, element.span, "this one").help(help));
                None
            }
        });
    }
    levels.try_into().ok()
}

/// One level of a topic (contract, "Topics"; MQTT 3.1.1, 4.7.1).
fn level(
    what: &str,
    value: String,
    span: std::ops::Range<usize>,
    problems: &mut Problems,
) -> Option<String> {
    let why = if value.is_empty() {
        "it is empty"
    } else if value.len() > 32 {
        "it is longer than 32 bytes"
    } else if value.contains(['/', '+', '#']) {
        "`/`, `+` and `#` have a meaning in topics"
    } else if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "it holds white space or a control character"
    } else {
        return Some(value);
    };
    problems.push(
        Problem::new(format!("`{value}` can't be a {what}"), span, why)
            .help("write 1 to 32 letters, digits, `-` or `_`"),
    );
    None
}

fn probe(mut section: Section<'_, '_>, problems: &mut Problems) -> Option<Probe> {
    let kinds = [("virtual", ProbeKind::Virtual), ("usb", ProbeKind::Usb)];
    let Some(kind) = section.word(problems, "kind", &kinds) else {
        section.abandon(problems);
        return None;
    };
    match kind {
        ProbeKind::Virtual => {
            let probe = virtual_probe(&mut section, problems);
            let usb = ["selector", "protocol", "speed-khz"].map(|key| (key, "`kind = \"usb\"`"));
            section.finish(problems, &usb);
            Some(Probe::Virtual(probe?))
        }
        ProbeKind::Usb => {
            let probe = usb_probe(&mut section, problems);
            let simulated = [
                "mac",
                "revision",
                "flash-mib",
                "keep-flash",
                "pace",
                "settle-ms",
            ];
            section.finish(
                problems,
                &simulated.map(|key| (key, "`kind = \"virtual\"`")),
            );
            Some(Probe::Usb(probe?))
        }
    }
}

fn virtual_probe(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<VirtualProbe> {
    let has_mac = section.has("mac");
    let mac = section
        .text(problems, "mac")
        .and_then(|text| mac(text, problems));
    let has_revision = section.has("revision");
    let revision = section
        .text(problems, "revision")
        .and_then(|text| revision(text, problems));
    let flash = section.integer::<u32>(problems, "flash-mib", 1..=16);
    let keep_flash = section.flag(problems, "keep-flash").unwrap_or(true);
    let multiple = section.number(problems, "pace", 0.01..=1_000.0);
    let settle = section.integer::<u32>(problems, "settle-ms", 0..=1_000);
    Some(VirtualProbe {
        mac: if has_mac { mac? } else { DEFAULT_MAC },
        revision: if has_revision { revision? } else { (0, 4) },
        flash_bytes: flash.map_or(4, |flash| flash.value) << 20,
        keep_flash,
        pace: Pace {
            multiple: multiple.unwrap_or(1.0),
            settle: Duration::from_millis(settle.map_or(20, |settle| settle.value.into())),
        },
    })
}

/// A locally administered address (IEEE 802, the second bit of the first octet).
const DEFAULT_MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0xc3, 0x01];

fn mac(text: Placed<String>, problems: &mut Problems) -> Option<[u8; 6]> {
    let octets: Option<Vec<u8>> = text
        .value
        .split(':')
        .map(|octet| (octet.len() == 2).then(|| u8::from_str_radix(octet, 16).ok())?)
        .collect();
    let address = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    // The lowest bit of the first octet marks a group: no device has such an address.
    if let Some(address) = address.filter(|address| address[0] & 1 == 0) {
        return Some(address);
    }
    problems.push(
        Problem::new(
            format!("`{}` is not the MAC address of a device", text.value),
            text.span,
            "six octets in hexadecimal, the first one even",
        )
        .help("write it as `02:00:00:00:c3:01`"),
    );
    None
}

fn revision(text: Placed<String>, problems: &mut Problems) -> Option<(u8, u8)> {
    let parsed = text
        .value
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    // Width of the eFuse fields: major 2 bits, minor 4 bits.
    if let Some(revision) = parsed.filter(|(major, minor)| *major < 4 && *minor < 16) {
        return Some(revision);
    }
    problems.push(
        Problem::new(
            format!("`{}` is not a chip revision", text.value),
            text.span,
            "major 0 to 3, minor 0 to 15",
        )
        .help("write it as `0.4`"),
    );
    None
}

fn usb_probe(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<UsbProbe> {
    let selector = section
        .needed_text(problems, "selector", "303a:1001")
        .and_then(|text| selector(text, problems));
    let protocols = [("jtag", WireProtocol::Jtag), ("swd", WireProtocol::Swd)];
    let protocol = if section.has("protocol") {
        section.word(problems, "protocol", &protocols)
    } else {
        section.text(problems, "protocol");
        Some(WireProtocol::Jtag)
    };
    let speed = section.integer(problems, "speed-khz", 1..=100_000);
    Some(UsbProbe {
        selector: selector?,
        protocol: protocol?,
        speed_khz: speed.map(|speed| speed.value),
    })
}

pub(crate) fn selector(text: Placed<String>, problems: &mut Problems) -> Option<UsbSelector> {
    let mut parts = text.value.splitn(3, ':');
    let mut number = || u16::from_str_radix(parts.next()?, 16).ok();
    if let (Some(vendor), Some(product)) = (number(), number()) {
        let serial = parts.next();
        if serial != Some("") {
            return Some(UsbSelector {
                vendor,
                product,
                serial: serial.map(str::to_owned),
            });
        }
    }
    problems.push(
        Problem::new(
            format!("`{}` selects no probe", text.value),
            text.span,
            "`VID:PID` or `VID:PID:SERIAL`, the numbers in hexadecimal",
        )
        .help("write `303a:1001` for the chip's own USB-Serial-JTAG"),
    );
    None
}

fn network(
    mut section: Section<'_, '_>,
    probe: Option<&Probe>,
    problems: &mut Problems,
) -> Option<Network> {
    let drivers = [("ethernet", Driver::Ethernet), ("wifi", Driver::Wifi)];
    let place = section.span();
    let Some(driver) = section.word(problems, "driver", &drivers) else {
        section.abandon(problems);
        return None;
    };
    let unfit = match (driver, probe) {
        (Driver::Ethernet, Some(Probe::Usb(_))) => Some((
            "a real chip has no Ethernet MAC",
            "write `driver = \"wifi\"`",
        )),
        (Driver::Wifi, Some(Probe::Virtual(_))) => Some((
            "the simulated chip has no radio",
            "write `driver = \"ethernet\"`",
        )),
        _ => None,
    };
    if let Some((what, help)) = unfit {
        problems.push(Problem::new(what, place, "this network needs it").help(help));
    }
    match driver {
        Driver::Ethernet => {
            let wifi = ["ssid-env", "passphrase-env"].map(|key| (key, "`driver = \"wifi\"`"));
            section.finish(problems, &wifi);
            Some(Network::Ethernet)
        }
        Driver::Wifi => {
            let ssid_env = variable(&mut section, problems, "ssid-env", "HIL_WIFI_SSID");
            let passphrase_env = variable(
                &mut section,
                problems,
                "passphrase-env",
                "HIL_WIFI_PASSPHRASE",
            );
            section.finish(problems, &[]);
            Some(Network::Wifi {
                ssid_env: ssid_env?,
                passphrase_env: passphrase_env?,
            })
        }
    }
}

/// The name of an environment variable. What looks like a value instead of a name is refused:
/// it may be the secret itself.
fn variable(
    section: &mut Section<'_, '_>,
    problems: &mut Problems,
    key: &'static str,
    example: &str,
) -> Option<String> {
    let text = section.needed_text(problems, key, example)?;
    let fine = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts_well = text
        .value
        .starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    if starts_well && text.value.chars().all(fine) {
        return Some(text.value);
    }
    problems.push(
        Problem::new(
            format!("`{key}` is not the name of an environment variable"),
            text.span,
            "upper case letters, digits and `_` only",
        )
        .help(format!(
            "write a name such as `{example}`, and keep the secret itself out of the file"
        ))
        .secret(),
    );
    None
}

fn broker(
    mut section: Section<'_, '_>,
    probe: Option<&Probe>,
    problems: &mut Problems,
) -> Option<Broker> {
    let kinds = [
        ("embedded", BrokerKind::Embedded),
        ("external", BrokerKind::External),
    ];
    let Some(kind) = section.word(problems, "kind", &kinds) else {
        section.abandon(problems);
        return None;
    };
    let device_host = device_host(&mut section, kind, probe, problems);
    let keep_alive = section.integer(problems, "keep-alive-s", 0..=65_535);
    let endpoint = match kind {
        BrokerKind::Embedded => {
            let endpoint = embedded(&mut section, probe, problems);
            let external = ["host", "username-env", "password-env"];
            section.finish(
                problems,
                &external.map(|key| (key, "`kind = \"external\"`")),
            );
            endpoint
        }
        BrokerKind::External => {
            let endpoint = external(&mut section, problems);
            section.finish(problems, &[("listen", "`kind = \"embedded\"`")]);
            endpoint
        }
    };
    Some(Broker {
        endpoint: endpoint?,
        device_host: device_host?,
        is_overridden: false,
        keep_alive_s: keep_alive.map_or(60, |keep_alive| keep_alive.value),
    })
}

fn embedded(
    section: &mut Section<'_, '_>,
    probe: Option<&Probe>,
    problems: &mut Problems,
) -> Option<BrokerEndpoint> {
    let port = section.integer(problems, "port", 0..=65_535);
    let given = section.has("listen");
    let listen = section.text(problems, "listen").and_then(|text| {
        let address = text.value.parse::<Ipv4Addr>().ok();
        if address.is_none() {
            problems.push(
                Problem::new(
                    format!("`{}` is not an IPv4 address", text.value),
                    text.span,
                    "four numbers with dots",
                )
                .help("write `127.0.0.1`, or `0.0.0.0` for every interface"),
            );
        }
        address
    });
    // The gateway of the virtual rig reaches the loopback; a board on a desk must reach the host.
    let default = match probe {
        Some(Probe::Usb(_)) => Ipv4Addr::UNSPECIFIED,
        _ => Ipv4Addr::LOCALHOST,
    };
    Some(BrokerEndpoint::Embedded {
        port: port.map_or(0, |port| port.value),
        listen: if given { listen? } else { default },
    })
}

fn external(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<BrokerEndpoint> {
    let host = section
        .needed_text(problems, "host", "broker.example")
        .and_then(|text| host("host", text, problems));
    let port = section.integer(problems, "port", 1..=65_535);
    let login_env = match (section.has("username-env"), section.has("password-env")) {
        (false, false) => {
            // Asked for all the same, so that they are among the known keys.
            section.text(problems, "username-env");
            section.text(problems, "password-env");
            None
        }
        _ => {
            let username = variable(section, problems, "username-env", "HIL_BROKER_USERNAME");
            let password = variable(section, problems, "password-env", "HIL_BROKER_PASSWORD");
            Some((username?, password?))
        }
    };
    Some(BrokerEndpoint::External {
        host: host?,
        port: port.map_or(1_883, |port| port.value),
        login_env,
    })
}

fn device_host(
    section: &mut Section<'_, '_>,
    kind: BrokerKind,
    probe: Option<&Probe>,
    problems: &mut Problems,
) -> Option<String> {
    if section.has("device-host") {
        let text = section.text(problems, "device-host")?;
        return host("device-host", text, problems);
    }
    let example = match (kind, probe) {
        // The gateway's address, behind which is the host's loopback.
        (_, Some(Probe::Virtual(_)) | None) => {
            section.text(problems, "device-host");
            return Some("10.0.2.2".into());
        }
        (BrokerKind::Embedded, Some(Probe::Usb(_))) => "192.168.1.20",
        (BrokerKind::External, Some(Probe::Usb(_))) => "broker.example",
    };
    // Nobody can guess how a board on a desk reaches the broker.
    section.needed_text(problems, "device-host", example)?;
    None
}

fn host(key: &str, text: Placed<String>, problems: &mut Problems) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || ['.', '-', ':', '_'].contains(&c);
    if (1..=64).contains(&text.value.len()) && text.value.chars().all(fine) {
        return Some(text.value);
    }
    problems.push(
        Problem::new(
            format!("`{}` can't be a {key}", text.value),
            text.span,
            "a host name or an address, 1 to 64 characters",
        )
        .help("write it without `mqtt://`, user or path; the port has a key of its own"),
    );
    None
}

fn budget(mut section: Section<'_, '_>, problems: &mut Problems) -> Budget {
    let default = Budget::default();
    let mut bytes = |key, default: u32| {
        let value = section.integer::<u32>(problems, key, 1..=16 << 20);
        value.map_or(default, |value| value.value)
    };
    let budget = Budget {
        network_bytes: bytes("network-bytes", default.network_bytes),
        application_bytes: bytes("application-bytes", default.application_bytes),
        stack_bytes: bytes("stack-bytes", default.stack_bytes),
        mqtt_bytes: bytes("mqtt-bytes", default.mqtt_bytes),
        json_bytes: bytes("json-bytes", default.json_bytes),
        outbox_bytes: bytes("outbox-bytes", default.outbox_bytes),
        http_bytes: bytes("http-bytes", default.http_bytes),
    };
    section.finish(problems, &[]);
    budget
}

fn limits(mut section: Section<'_, '_>, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut bytes = |key, default: u32| {
        let value = section.integer::<u32>(problems, key, 0..=16 << 20);
        value.map_or(default, |value| value.value)
    };
    let heap_drop_bytes = bytes("heap-drop-bytes", default.heap_drop_bytes);
    let heap_free_min_bytes = bytes("heap-free-min-bytes", default.heap_free_min_bytes);
    let mut percent = |key, default: u8| {
        let value = section.integer::<u8>(problems, key, 0..=100);
        value.map_or(default, |value| value.value)
    };
    let fragmentation_percent = percent("fragmentation-percent", default.fragmentation_percent);
    let telemetry_tolerance_percent = percent(
        "telemetry-tolerance-percent",
        default.telemetry_tolerance_percent,
    );
    let mut spans: BTreeMap<&str, std::ops::Range<usize>> = BTreeMap::new();
    let mut milliseconds = |key: &'static str, default: u32| {
        let value = section.integer::<u32>(problems, key, 1..=600_000);
        spans.extend(value.as_ref().map(|value| (key, value.span.clone())));
        value.map_or(default, |value| value.value)
    };
    let limits = Limits {
        heap_drop_bytes,
        fragmentation_percent,
        heap_free_min_bytes,
        publish_p95_ms: milliseconds("publish-p95-ms", default.publish_p95_ms),
        publish_p99_ms: milliseconds("publish-p99-ms", default.publish_p99_ms),
        command_p95_ms: milliseconds("command-p95-ms", default.command_p95_ms),
        command_p99_ms: milliseconds("command-p99-ms", default.command_p99_ms),
        telemetry_tolerance_percent,
    };
    let pairs = [
        ("publish", limits.publish_p95_ms, limits.publish_p99_ms),
        ("command", limits.command_p95_ms, limits.command_p99_ms),
    ];
    for (what, p95, p99) in pairs {
        let keys = [format!("{what}-p99-ms"), format!("{what}-p95-ms")];
        let span = keys.iter().find_map(|key| spans.get(key.as_str()));
        if let (true, Some(span)) = (p95 > p99, span) {
            problems.push(
                Problem::new(
                    format!("`{what}-p95-ms` is over `{what}-p99-ms`: {p95} over {p99}"),
                    span.clone(),
                    "95 of 100 can't take longer than 99 of 100",
                )
                .help(format!(
                    "write both keys, `{what}-p95-ms` being the lower one"
                )),
            );
        }
    }
    section.finish(problems, &[]);
    limits
}
