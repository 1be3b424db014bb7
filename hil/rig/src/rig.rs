//! What a rig file says, once it was checked: plain data, nothing left to doubt.
//!
//! Whoever holds a [`Rig`] need not check again: numbers are in range, names can be file names
//! and topic levels, and the parts fit each other.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Fixture;

/// A rig: the description of a bench.
#[derive(Clone, Debug, PartialEq)]
pub struct Rig {
    /// Its name: lower case letters, digits and dashes; the rig file's name without `.toml`.
    pub name: String,
    /// One line for people, empty when the file has none.
    pub description: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The device under test.
    pub device: Device,
    /// How the device is reached for debugging.
    pub probe: Probe,
    /// How the device reaches the network.
    pub network: Network,
    /// The broker that the device and the scenarios use.
    pub broker: Broker,
    /// What is on the device's pins; nothing, if none.
    pub fixture: Option<Fixture>,
    /// What scenarios check by default.
    pub limits: Limits,
    /// How much memory each consumer on the device may take.
    pub budget: Budget,
}

impl Rig {
    /// Where what belongs to this rig is kept between runs: its lease, its flash contents.
    #[must_use]
    pub fn state_directory(&self, project_root: &Path) -> PathBuf {
        project_root.join("target/hil/rigs").join(&self.name)
    }

    /// Whether the device is simulated.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self.probe, Probe::Virtual(_))
    }

    /// Where the device finds its broker: a host name or an IPv4 address. On the virtual rig a broker on
    /// another host has an address of the simulated network, [`BROKER_ELSEWHERE`].
    #[must_use]
    pub fn broker_for_device(&self) -> String {
        match self.broker_elsewhere() {
            Some(_) if self.is_virtual() => BROKER_ELSEWHERE.to_string(),
            Some(host) if self.broker.is_overridden => host.to_owned(),
            _ => self.broker.device_host.clone(),
        }
    }

    /// The host of a broker that is not on this computer, as the host sees it.
    #[must_use]
    pub fn broker_elsewhere(&self) -> Option<&str> {
        match &self.broker.endpoint {
            BrokerEndpoint::External { host, .. }
                if host != "localhost" && *host != Ipv4Addr::LOCALHOST.to_string() =>
            {
                Some(host)
            }
            _ => None,
        }
    }
}

/// On the virtual rig: the address that a broker has for the device when it is not on this computer. It is
/// nobody else's (RFC 5737), and the way there leads through the gateway.
pub const BROKER_ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The device under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The chip, by the name the debugger has for it, such as `esp32c3`.
    pub chip: String,
    /// Directory of the firmware's package, relative to the project.
    pub firmware: PathBuf,
    /// The last level of the device's topics, and its MQTT client id; 1 to 32 bytes.
    pub device_id: String,
    /// The three topic levels above the device id.
    pub topic_levels: [TopicLevel; 3],
    /// Seconds between two temperature telemetry messages, 1 to 3,600.
    pub telemetry_interval_s: u32,
    /// Whether temperature telemetry is published with the retain flag.
    pub retain_telemetry: bool,
}

impl Device {
    /// The topic that all of the device's topics begin with, without a trailing slash.
    #[must_use]
    pub fn base_topic(&self) -> String {
        let levels = self.topic_levels.iter().filter_map(|level| match level {
            TopicLevel::Skip => None,
            TopicLevel::Custom(value) => Some(value.as_str()),
        });
        levels
            .chain([self.device_id.as_str()])
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// One topic level above the device id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicLevel {
    /// The level is left out; `false` in the file.
    Skip,
    /// The level has this value; 1 to 32 bytes.
    Custom(String),
}

/// How the device is reached for debugging.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// The simulated chip behind a simulated probe.
    Virtual(VirtualProbe),
    /// A probe on USB, the chip's own among them.
    Usb(UsbProbe),
}

/// The simulated chip.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualProbe {
    /// The MAC address burnt into its eFuse.
    pub mac: [u8; 6],
    /// Chip revision, major and minor.
    pub revision: (u8, u8),
    /// Size of the flash, bytes.
    pub flash_bytes: u32,
    /// Whether the contents of the flash are kept from run to run.
    pub keep_flash: bool,
    /// How chip time relates to wall time.
    pub pace: Pace,
}

/// How chip time relates to wall time while something outside the chip is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Chip time is held to this multiple of wall time.
    pub multiple: f64,
    /// How long chip time is held to that at most after bytes left for a host socket; with a broker that is not
    /// embedded, always as long.
    pub settle: Duration,
}

/// A probe on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbProbe {
    /// Which one.
    pub selector: UsbSelector,
    /// Protocol between probe and chip.
    pub protocol: WireProtocol,
    /// Clock, kHz; the probe's own choice if none.
    pub speed_khz: Option<u32>,
}

/// A USB device by its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbSelector {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Serial number, when several probes of a kind may be plugged in.
    pub serial: Option<String>,
}

impl std::fmt::Display for UsbSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)?;
        match &self.serial {
            Some(serial) => write!(f, ":{serial}"),
            None => Ok(()),
        }
    }
}

/// Protocol between probe and chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireProtocol {
    /// IEEE 1149.1.
    Jtag,
    /// Serial wire debug.
    Swd,
}

/// How the device reaches the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The Ethernet MAC of the virtual rig.
    Ethernet,
    /// The chip's radio; the file names environment variables, never the secrets.
    Wifi {
        /// The variable that holds the network's name.
        ssid_env: String,
        /// The variable that holds the passphrase.
        passphrase_env: String,
    },
}

/// The broker of a rig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Which broker.
    pub endpoint: BrokerEndpoint,
    /// Its address as the device sees it; a host name or an IPv4 address, 1 to 64 bytes. For an embedded
    /// broker that is this computer. The device asks there for the time, too.
    pub device_host: String,
    /// Another broker than the rig file's was asked for: `device_host` says nothing about it.
    pub is_overridden: bool,
    /// The device's keep-alive, seconds (MQTT 3.1.1, 3.1.2.10).
    pub keep_alive_s: u16,
}

/// Which broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEndpoint {
    /// One inside the run.
    Embedded {
        /// TCP port on the host, 0 for a free one.
        port: u16,
        /// The host's address it listens at: the loopback for the virtual rig.
        listen: Ipv4Addr,
    },
    /// One that already runs.
    External {
        /// Host name or address, as the host sees it.
        host: String,
        /// TCP port.
        port: u16,
        /// The variables that hold user name and password, if it wants them.
        login_env: Option<(String, String)>,
    },
}

/// What scenarios check by default, and what a rig file may set otherwise.
///
/// The defaults are those of the contract, "Memory and stability", and of scenario PERF-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A heap lower by more than this between equal cycles is a finding, bytes.
    pub heap_drop_bytes: u32,
    /// More fragmentation than this is a finding, percent.
    pub fragmentation_percent: u8,
    /// Less free heap than this is a finding, bytes.
    pub heap_free_min_bytes: u32,
    /// 95 of 100 publishes take at most this long, milliseconds.
    pub publish_p95_ms: u32,
    /// 99 of 100 publishes take at most this long, milliseconds.
    pub publish_p99_ms: u32,
    /// 95 of 100 commands are answered within this time, milliseconds.
    pub command_p95_ms: u32,
    /// 99 of 100 commands are answered within this time, milliseconds.
    pub command_p99_ms: u32,
    /// The telemetry interval may be off by this much, percent.
    pub telemetry_tolerance_percent: u8,
}

/// How much memory each consumer on the device may take, bytes: the most of it since a boot.
///
/// The defaults are what was measured on the virtual rig (`docs/performance.md`) with something on top,
/// and all below what there is of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The network's part of the heap: TLS sessions, at the height of a handshake.
    pub network_bytes: u32,
    /// All else on the heap.
    pub application_bytes: u32,
    /// The main stack.
    pub stack_bytes: u32,
    /// MQTT packets under construction.
    pub mqtt_bytes: u32,
    /// JSON within them.
    pub json_bytes: u32,
    /// Messages that wait for their acknowledgement.
    pub outbox_bytes: u32,
    /// The HTTP server's buffers.
    pub http_bytes: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            network_bytes: 60 * 1_024,
            application_bytes: 1_024,
            stack_bytes: 24 * 1_024,
            mqtt_bytes: 7_168,
            json_bytes: 7_168,
            outbox_bytes: 12 * 1_024,
            http_bytes: 2_560,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heap_drop_bytes: 1_024,
            fragmentation_percent: 50,
            heap_free_min_bytes: 20_480,
            publish_p95_ms: 100,
            publish_p99_ms: 500,
            command_p95_ms: 500,
            command_p99_ms: 1_000,
            telemetry_tolerance_percent: 10,
        }
    }
}
