//! What a virtual rig is made of: chip, flash, fixtures, network, pace. Filled in by whoever reads the rig file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::error::VirtualRigError;
use crate::pace::Pace;

/// Everything that is fixed for the life of a rig.
#[derive(Clone, Debug)]
pub struct VirtualRigSettings {
    /// Serial number of the simulated probe: how probe-rs tells two virtual rigs in one process apart.
    pub serial: String,
    /// All chance inside the simulator comes from here.
    pub seed: u64,
    /// Base MAC address in the chip's eFuses.
    pub mac: [u8; 6],
    /// Chip revision, major and minor.
    pub revision: (u8, u8),
    /// Where the flash contents are kept between runs; `None` starts erased and forgets.
    pub flash_file: Option<PathBuf>,
    /// Size of the flash: a power of two.
    pub flash_bytes: u32,
    /// Wall time at chip time zero, which SNTP serves and captures are stamped with.
    pub epoch: SystemTime,
    /// How chip time relates to wall time.
    pub pace: Pace,
    /// Where all Ethernet frames are recorded as pcapng.
    pub capture: Option<PathBuf>,
    /// Names the DNS server knows besides the gateway's own.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Addresses beside the gateway's that the device may talk to, each with the host that is meant. Without any,
    /// nothing but this computer's loopback is ever contacted.
    pub hosts: Vec<(Ipv4Addr, IpAddr)>,
    /// What hangs on the chip's pins.
    pub fixture: FixtureSettings,
}

/// How the fixture board is wired to the chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureSettings {
    /// GPIO on which the 1-Wire bus is.
    pub one_wire_pin: u8,
    /// The bus has a pull-up resistor. Without one it is high only while the chip's own pull-up is on.
    pub one_wire_pull_up: bool,
    /// Genuine DS18B20 that are on the bus from the start, in places 0 to n - 1, their codes drawn from the seed.
    pub sensors: u8,
    /// The sensors hang on the device's supply and lose power with it; else they have their own.
    pub sensors_on_device_supply: bool,
    /// GPIOs that drive the relays, in the order of the relays: at most 8.
    pub relay_pins: Vec<u8>,
}

impl Default for FixtureSettings {
    /// The bus on GPIO10 with a pull-up, no sensor yet; relays on GPIO 0, 1, 3, 4, 5, 6, 7 and 20.
    fn default() -> FixtureSettings {
        FixtureSettings {
            one_wire_pin: 10,
            one_wire_pull_up: true,
            sensors: 0,
            sensors_on_device_supply: false,
            relay_pins: vec![0, 1, 3, 4, 5, 6, 7, 20],
        }
    }
}

impl FixtureSettings {
    fn check(&self) -> Result<(), VirtualRigError> {
        let mut used = BTreeSet::new();
        for pin in self.relay_pins.iter().chain([&self.one_wire_pin]) {
            if !is_free(*pin) {
                return Err(VirtualRigError::Pin(*pin));
            }
            if !used.insert(*pin) {
                return Err(VirtualRigError::PinTaken(*pin));
            }
        }
        if self.relay_pins.len() > usize::from(fixture_protocol::RELAYS_MAX) {
            return Err(VirtualRigError::Relays(self.relay_pins.len()));
        }
        if self.sensors > fixture_protocol::SENSORS_MAX {
            return Err(VirtualRigError::Sensors(self.sensors));
        }
        Ok(())
    }
}

/// True for pins of the ESP32-C3 that a board can use: 11 to 17 go to its flash, and 18 and 19 to its USB plug.
fn is_free(pin: u8) -> bool {
    matches!(pin, 0..=10 | 20 | 21)
}

impl VirtualRigSettings {
    /// A rig with an erased 4 MiB flash that exists in memory only, in real time, from the seed 0.
    pub fn new(serial: impl Into<String>) -> VirtualRigSettings {
        VirtualRigSettings {
            serial: serial.into(),
            seed: 0,
            mac: [0x02, 0x00, 0x00, 0xC3, 0x00, 0x01],
            revision: (0, 4),
            flash_file: None,
            flash_bytes: virtual_esp32c3::DEFAULT_BYTES,
            epoch: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600), // 2026-01-01
            pace: Pace::default(),
            capture: None,
            names: Vec::new(),
            hosts: Vec::new(),
            fixture: FixtureSettings::default(),
        }
    }

    /// Says what can't be, if anything.
    pub(crate) fn check(&self) -> Result<(), VirtualRigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.serial.is_empty() || !self.serial.bytes().all(plain) {
            return Err(VirtualRigError::Serial(self.serial.clone()));
        }
        let multiple = self.pace.multiple;
        if !multiple.is_finite() || !(0.001..=1000.0).contains(&multiple) {
            return Err(VirtualRigError::Multiple(multiple));
        }
        if self.mac[0] & 1 != 0 {
            return Err(VirtualRigError::Mac(self.mac));
        }
        self.fixture.check()
    }

    /// The epoch in nanoseconds since 1970-01-01T00:00:00Z; 0 for any time before.
    pub(crate) fn epoch_unix_nanos(&self) -> u64 {
        let since = self.epoch.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_is_refused_in_words() {
        fn check(change: impl FnOnce(&mut VirtualRigSettings), expected: &str) {
            let mut settings = VirtualRigSettings::new("attic-1");
            change(&mut settings);
            let message = settings
                .check()
                .map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            assert_eq!(message, expected);
        }
        check(|_| {}, "ok");
        let letters = "; use letters, digits, `-`, `_` and `.`";
        check(
            |settings| settings.serial.clear(),
            &format!("`` can't be a probe's serial number{letters}"),
        );
        check(
            |settings| settings.serial = "a:b".to_owned(),
            &format!("`a:b` can't be a probe's serial number{letters}"),
        );
        for multiple in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            check(
                |settings| settings.pace.multiple = multiple,
                &format!(
                    "chip time can't run at `{multiple}` times wall time; choose 0.001 to 1000"
                ),
            );
        }
        check(
            |settings| settings.mac[0] = 1,
            "`01:00:00:c3:00:01` is a group's address; clear the lowest bit of the first byte",
        );
        for pin in [11, 18, 22] {
            check(
                |settings| settings.fixture.one_wire_pin = pin,
                &format!("nothing can hang on GPIO{pin}; choose 0 to 10, 20 or 21"),
            );
        }
        check(
            |settings| settings.fixture.relay_pins.push(10),
            "GPIO10 is wired twice; give each relay and the 1-Wire bus a pin of its own",
        );
        check(
            |settings| settings.fixture.relay_pins = vec![0, 1, 2, 3, 4, 5, 6, 7, 8],
            "9 relays are wired; a fixture board has at most 8",
        );
        check(
            |settings| settings.fixture.sensors = 61,
            "61 sensors are on the bus; a fixture board has places for 60",
        );
    }

    #[test]
    fn the_epoch_is_counted_from_1970() {
        let mut settings = VirtualRigSettings::new("a");
        assert_eq!(settings.epoch_unix_nanos(), 1_767_225_600_000_000_000);
        settings.epoch = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(settings.epoch_unix_nanos(), 0);
    }
}
