//! How the device reaches the network, and the broker in it: the tables `network` and `broker`.

use std::net::Ipv4Addr;

use crate::{
    Broker, BrokerEndpoint, Network, Probe,
    problem::{Problem, Problems},
    section::{Placed, Section},
};

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

/// The table `network`.
pub(super) fn network(
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

/// The table `broker`.
pub(super) fn broker(
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
