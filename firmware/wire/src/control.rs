//! What the bench tells the device: provisioning, the time, and faults to play.
//!
//! The bench sends these over RTT down channel 0; the device answers each with
//! [`crate::DeviceBody::Answer`], which repeats the frame's sequence.

use heapless::{String, Vec};
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
    /// Keep a piece of a certificate or key in flash; it is used from the next TLS session on.
    Certificate(CertificateChunk),
    /// Measure simulated sensors in the firmware instead of those on the bus, not kept over a reset.
    /// Refused unless the firmware was built with `test-hooks`.
    SimulateSensors {
        /// How many, 1 to 60; 0 for the bus again.
        count: u8,
    },
    /// What one of the simulated sensors in the firmware measures from now on. Refused as the above.
    SetSimulatedSensor {
        /// Which, from 0.
        sensor: u8,
        /// What it measures.
        measures: SimulatedReading,
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
    /// How the connection is protected.
    pub security: Security,
}

/// How the connection to the broker is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// Not at all: MQTT on TCP.
    #[default]
    Plain,
    /// TLS; the server's certificate must be signed by the authority in [`CertificateSlot::Authority`].
    Tls {
        /// The name that the server's certificate must bear; empty for [`Broker::host`].
        server_name: String<64>,
        /// Whether the device shows [`CertificateSlot::Client`] when it is asked for a certificate.
        client_certificate: bool,
    },
}

/// A piece of a certificate or key, in DER.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateChunk {
    /// Which.
    pub slot: CertificateSlot,
    /// Where in it this piece begins, bytes. Pieces come in order, the first with 0.
    pub offset: u16,
    /// How long the whole is, bytes, at most [`crate::CERTIFICATE_BYTES_MAX`]; 0 to forget it.
    pub total: u16,
    /// The piece.
    pub bytes: Vec<u8, 512>,
}

/// What a certificate or key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateSlot {
    /// The certificate of the authority that signs brokers' certificates (X.509).
    Authority,
    /// The device's own certificate (X.509).
    Client,
    /// The private key of [`CertificateSlot::Client`] (SEC 1 or PKCS #8).
    ClientKey,
}

/// What a simulated sensor in the firmware measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SimulatedReading {
    /// A temperature.
    Temperature {
        /// Thousandths of a degree Celsius.
        milli_celsius: i32,
    },
    /// A scratchpad whose CRC is wrong.
    CrcError,
    /// Nothing: it is not there.
    Absent,
    /// A scratchpad that never saw a conversion: 85 °C.
    PowerOnValue,
    /// A scratchpad of zeros, whose CRC is right.
    ZeroScratchpad,
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
    /// Allocate and forget this many bytes again and again, from one of four places in the code.
    LeakEvery {
        /// Bytes each time.
        bytes: u32,
        /// Milliseconds between two; 0 to stop.
        interval_ms: u32,
        /// The place, 0 to 3: each is a call path of its own in the allocation trace.
        site: u8,
    },
    /// Fragment the heap: allocate this many blocks and free every second one.
    FragmentHeap {
        /// Blocks.
        blocks: u16,
        /// Bytes of each.
        bytes: u16,
    },
    /// Allocate until only this much of the heap is free, in blocks as large as it has, and keep them
    /// until the next such fault; the blocks of the one before are freed first. So `u32::MAX` only
    /// frees.
    FillHeap {
        /// Bytes to leave.
        leave_bytes: u32,
    },
    /// Call deeper, once, so that this much more stack is used.
    DeepenStack {
        /// Bytes.
        bytes: u32,
    },
    /// Block the control loop: nothing is sampled, switched or answered meanwhile.
    BlockControlLoop {
        /// Milliseconds.
        duration_ms: u32,
    },
    /// Drop the network: the radio's association, or the Ethernet link as the firmware sees it.
    DropNetwork {
        /// Milliseconds.
        duration_ms: u32,
    },
    /// Behave with one deliberate bug from the next boot on, over resets and losses of power, until
    /// told otherwise. Refused unless the firmware was built with `mutants`.
    Mutant {
        /// Which, as the firmware numbers them; 0 for none.
        number: u16,
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

impl core::fmt::Debug for CertificateChunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CertificateChunk")
            .field("slot", &self.slot)
            .field("offset", &self.offset)
            .field("total", &self.total)
            .field("bytes", &self.bytes.len())
            .finish()
    }
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
