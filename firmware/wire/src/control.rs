//! What the bench tells the device: provisioning, the time, and faults to play.
//!
//! The bench sends these over RTT down channel 0; the device answers each with
//! [`crate::DeviceBody::Answer`], which repeats the frame's sequence.

use heapless::String;
use serde::{Deserialize, Serialize};

/// One frame from the bench.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFrame {
    /// Rises by one with each frame; the device's answer repeats it.
    pub sequence: u32,
    /// What to do.
    pub body: ControlBody,
}

/// What the device is to do.
// The provisioning dwarfs the rest, and boxes need an allocator that this crate doesn't have.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlBody {
    /// Answer, and do nothing else.
    Ping,
    /// Take this configuration, keep it in flash, and connect with it.
    Provision(Provision),
    /// Set the clock; overrides SNTP until the next synchronisation.
    SetTime {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        unix_ms: u64,
    },
    /// Send memory telemetry at this interval from now on, not kept over a reset.
    SetTelemetryInterval {
        /// Milliseconds, 10 to 60,000.
        interval_ms: u32,
    },
    /// Turn the allocation trace on channel up 2 on or off, not kept over a reset.
    SetTrace {
        /// Whether allocations are to be traced.
        enabled: bool,
    },
    /// Reset the chip by software, now.
    Reset,
    /// Play a fault. Refused unless the firmware was built with `test-hooks`.
    Inject(Fault),
}

/// Everything the device must know before it can work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// The last level of the device's topics, and its MQTT client id.
    pub device_id: String<32>,
    /// Which network driver to start.
    pub network: NetworkDriver,
    /// The broker to connect to.
    pub broker: Broker,
    /// The three topic levels above the device id.
    pub topic_levels: [TopicLevel; 3],
    /// Seconds between two temperature telemetry messages, 1 to 3,600.
    pub telemetry_interval_s: u32,
    /// Whether temperature telemetry is published with the retain flag.
    pub retain_telemetry: bool,
    /// Where to ask for the time: a host name or an IPv4 address; empty for none.
    pub time_server: String<64>,
}

/// Which of the two network drivers in the image starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkDriver {
    /// The OpenCores Ethernet MAC of the virtual rig and of Espressif's QEMU machine.
    Ethernet,
    /// The chip's radio, as a station.
    Wifi(Wifi),
}

/// An access point.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wifi {
    /// The network's name.
    pub ssid: String<32>,
    /// The WPA2 passphrase; empty for an open network.
    pub passphrase: String<64>,
}

/// An MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// A host name or an IPv4 address, seen from the device.
    pub host: String<64>,
    /// TCP port.
    pub port: u16,
    /// Keep-alive in seconds, 0 for none (MQTT 3.1.1, 3.1.2.10).
    pub keep_alive_s: u16,
    /// User name and password, if the broker wants them.
    pub credentials: Option<Credentials>,
}

/// A user name and its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User name.
    pub username: String<32>,
    /// Password.
    pub password: String<64>,
}

/// One level of the topic above the device id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicLevel {
    /// The level is left out.
    Skip,
    /// The level has this value.
    Custom(String<32>),
}

/// A fault that the firmware plays on itself, compiled in with `test-hooks` only.
///
/// Faults `AtBoot` are kept in RTC memory, strike once at the next boot, and are gone after that
/// boot, so that a device can always be had back by one more reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Panic now, with a message that holds formatted values.
    Panic,
    /// Panic at the next boot, before the network starts.
    PanicAtBoot,
    /// Raise a load access fault by reading an unmapped address.
    LoadFault,
    /// Use up the stack until its guard strikes.
    StackOverflow,
    /// Stop answering with interrupts on: no task runs, the watchdog is still fed.
    Hang,
    /// Hang at the next boot, before the first telemetry frame, the watchdog not yet started.
    HangAtBoot,
    /// Stop feeding the watchdog; it bites within its time.
    StopFeedingWatchdog,
    /// Reset by software, unannounced.
    Reset,
    /// From the next boot on, once: bring the network up but never connect to the broker.
    NeverConnect,
    /// Allocate and forget this many bytes at each command from now on.
    Leak {
        /// Bytes a command.
        bytes: u32,
    },
    /// Garble the next frames on the telemetry channel.
    GarbleTelemetry {
        /// Number of frames.
        frames: u32,
    },
    /// Send the next frames on the telemetry channel cut in half, without their end.
    CutTelemetry {
        /// Number of frames.
        frames: u32,
    },
    /// Skip frames: their sequence numbers are used up, they are not sent.
    LoseTelemetry {
        /// Number of frames.
        frames: u32,
    },
    /// Overwrite the RTT control block's identifier.
    OverwriteRttControlBlock,
}

// Secrets never reach a log, a report or a panic message through `Debug`.
impl core::fmt::Debug for Wifi {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Wifi")
            .field("ssid", &self.ssid)
            .field("passphrase", &"********")
            .finish()
    }
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"********")
            .finish()
    }
}
