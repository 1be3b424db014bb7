//! What a device must know, from the rig: the frame that provisioning sends.

use firmware_wire::{Broker, Credentials, NetworkDriver, Provision, TopicLevel, Wifi};
use hil_rig::{ResolvedNetwork, ResolvedRig};

use crate::BenchError;

/// The provisioning of `rig`'s device, with its broker at `broker_port`. It asks the broker's
/// address for the time, which is the bench's own on the virtual rig.
///
/// # Errors
/// [`BenchError::TooLong`] when a value does not fit the wire; rig files are checked for that, so
/// that only values from elsewhere can be.
pub fn provision(rig: &ResolvedRig, broker_port: u16) -> Result<Provision, BenchError> {
    let device = &rig.rig.device;
    let network = match &rig.network {
        ResolvedNetwork::Ethernet => NetworkDriver::Ethernet,
        ResolvedNetwork::Wifi { ssid, passphrase } => NetworkDriver::Wifi(Wifi {
            ssid: fit("a Wi-Fi network's name", ssid)?,
            passphrase: fit_secret("a Wi-Fi passphrase", passphrase.expose())?,
        }),
    };
    let credentials = match &rig.broker_login {
        None => None,
        Some(login) => Some(Credentials {
            username: fit("a user name", &login.username)?,
            password: fit_secret("a password", login.password.expose())?,
        }),
    };
    let mut topic_levels = [const { TopicLevel::Skip }; 3];
    for (level, of_rig) in topic_levels.iter_mut().zip(&device.topic_levels) {
        if let hil_rig::TopicLevel::Custom(value) = of_rig {
            *level = TopicLevel::Custom(fit("a topic level", value)?);
        }
    }
    Ok(Provision {
        device_id: fit("a device id", &device.device_id)?,
        network,
        broker: Broker {
            host: fit("a broker's address", &rig.rig.broker_for_device())?,
            port: broker_port,
            keep_alive_s: rig.rig.broker.keep_alive_s,
            credentials,
            security: firmware_wire::Security::Plain,
        },
        topic_levels,
        telemetry_interval_s: device.telemetry_interval_s,
        retain_telemetry: device.retain_telemetry,
        time_server: fit("a time server", &rig.rig.broker.device_host)?,
    })
}

fn fit<const N: usize>(what: &'static str, text: &str) -> Result<heapless::String<N>, BenchError> {
    heapless::String::try_from(text).map_err(|_| BenchError::TooLong {
        what,
        value: text.to_owned(),
    })
}

fn fit_secret<const N: usize>(
    what: &'static str,
    text: &str,
) -> Result<heapless::String<N>, BenchError> {
    heapless::String::try_from(text).map_err(|_| BenchError::TooLong {
        what,
        value: "********".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hil_rig::Rig;

    use super::*;

    const WIFI: &str = r#"schema = 1
name = "attic"
[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "t2"
topic-levels = ["site", false, "line9"]
telemetry-interval-s = 5
[probe]
kind = "usb"
selector = "303a:1001"
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
keep-alive-s = 10
"#;

    fn resolved(value: &str) -> ResolvedRig {
        Rig::parse(Path::new("attic.toml"), WIFI)
            .and_then(|rig| rig.resolve(|name| Some(format!("{value} {name}"))))
            .expect("right")
    }

    #[test]
    fn everything_of_the_rig_is_passed_on() {
        let provision = provision(&resolved("a"), 1884).expect("fits");
        assert_eq!(provision.device_id, "t2");
        assert_eq!(provision.broker.host, "192.168.1.2");
        assert_eq!(
            (provision.broker.port, provision.broker.keep_alive_s),
            (1884, 10)
        );
        assert_eq!(provision.telemetry_interval_s, 5);
        assert_eq!(provision.topic_levels[1], TopicLevel::Skip);
        let NetworkDriver::Wifi(wifi) = &provision.network else {
            panic!("{:?}", provision.network);
        };
        assert_eq!(
            (wifi.ssid.as_str(), wifi.passphrase.as_str()),
            ("a SSID", "a PASSPHRASE")
        );
        let credentials = provision.broker.credentials.expect("a login");
        assert_eq!(credentials.password, "a BROKER_PASSWORD");
    }

    #[test]
    fn what_does_not_fit_is_told_without_secrets() {
        let mut rig = resolved("a");
        rig.network = ResolvedNetwork::Wifi {
            ssid: "s".into(),
            passphrase: hil_rig::Secret::new("hunter22".repeat(9)),
        };
        let error = provision(&rig, 1).expect_err("too long").to_string();
        assert_eq!(error, "`********` is too long for a Wi-Fi passphrase");
    }
}
