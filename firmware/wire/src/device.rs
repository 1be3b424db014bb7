//! What the device tells the bench on the telemetry channel.

use heapless::String;
use serde::{Deserialize, Serialize};

/// One frame from the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFrame {
    /// The boot this frame belongs to: [`Hello::boot_count`].
    pub boot: u32,
    /// Rises by one with each frame of a boot, from 0.
    pub sequence: u32,
    /// Time since this boot, microseconds.
    pub uptime_us: u64,
    /// What is said.
    pub body: DeviceBody,
}

/// What the device says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceBody {
    /// The first frame of each boot.
    Hello(Hello),
    /// Memory, at the telemetry interval.
    Memory(MemorySample),
    /// Network counters, at the telemetry interval.
    Network(NetworkSample),
    /// The sensors were read once.
    Scan(ScanSample),
    /// The network or the MQTT session changed its state.
    Connection(Connection),
    /// The answer to a control frame.
    Answer {
        /// The control frame's sequence.
        sequence: u32,
        /// What became of it.
        outcome: Outcome,
    },
    /// An injected fault is about to strike.
    Fault(crate::Fault),
    /// The firmware panicked or took an exception; the last frames of its boot.
    Panic {
        /// What was said, with place and values. What does not fit goes on in the frames behind, of this kind
        /// too.
        message: String<320>,
    },
}

/// Who the device is and why it booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::VERSION`] of the firmware.
    pub wire_version: u16,
    /// Version of the firmware, as in its `Cargo.toml`.
    pub firmware_version: String<24>,
    /// The device id it is provisioned with, empty when it is not.
    pub device_id: String<32>,
    /// Boots since the flash was erased, from 1; survives resets and power loss.
    pub boot_count: u32,
    /// Why the chip booted.
    pub reset_reason: ResetReason,
    /// Whether a configuration was found in flash.
    pub provisioned: bool,
    /// Whether faults can be injected.
    pub test_hooks: bool,
}

/// Why a boot happened.
///
/// Source: ESP32-C3 Technical Reference Manual, chapter "Reset and Clock", reset causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetReason {
    /// Power was applied.
    PowerOn,
    /// Software asked for it, also the debugger.
    Software,
    /// A panic handler asked for it.
    Panic,
    /// A watchdog bit: timer group or RTC.
    Watchdog,
    /// The super watchdog bit.
    SuperWatchdog,
    /// The supply fell below the brown-out threshold.
    BrownOut,
    /// Woken from deep sleep.
    DeepSleep,
    /// Reset by USB or JTAG.
    Usb,
    /// Another cause, by its number.
    Other(u8),
}

/// The memory of the device at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySample {
    /// The heap.
    pub heap: HeapSample,
    /// The stacks; one entry is the main stack.
    pub stacks: heapless::Vec<StackSample, 6>,
    /// The firmware's own buffers.
    pub buffers: BufferSample,
}

/// The heap, bytes where not said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSample {
    /// All regions together.
    pub size: u32,
    /// Free now.
    pub free: u32,
    /// The least that was ever free since boot.
    pub free_min: u32,
    /// The largest block that could be allocated now.
    pub largest_free_block: u32,
    /// Allocations since boot, a count.
    pub allocations: u32,
    /// Frees since boot, a count.
    pub frees: u32,
    /// Allocations that failed since boot, a count.
    pub failed: u32,
    /// Requests for memory that the firmware itself refused because too little was left, a count.
    pub refused: u32,
}

/// The firmware's own buffers, bytes: the most that was used of each since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferSample {
    /// Of the buffer that MQTT packets are built in.
    pub mqtt_used_max: u32,
    /// Of the JSON within it.
    pub json_used_max: u32,
    /// Of the messages kept until they are acknowledged.
    pub outbox_used_max: u32,
    /// Of the HTTP server's buffers.
    pub http_used_max: u32,
}

/// One reading of all sensors.
///
/// Those simulated in the firmware ([`crate::ControlBody::SimulateSensors`]) say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSample {
    /// Scans since boot, this one included.
    pub scans: u32,
    /// Sensors known.
    pub sensors: u8,
    /// Sensors that gave a temperature.
    pub read: u8,
    /// Sensors that answered, but not with a temperature.
    pub failed: u8,
    /// Sensors that did not answer.
    pub absent: u8,
    /// CRC errors of this scan, those repaired by a second reading included.
    pub crc_errors: u16,
    /// How long it took, milliseconds.
    pub duration_ms: u32,
    /// Whether these sensors exist in the firmware only.
    pub simulated: bool,
}

/// One stack, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSample {
    /// `main`, or the thread's name.
    pub name: String<16>,
    /// Its size.
    pub size: u32,
    /// The most that was ever used: the high-water mark.
    pub used_max: u32,
}

/// Network counters since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSample {
    /// Frames received by the driver.
    pub frames_received: u32,
    /// Frames sent by the driver.
    pub frames_sent: u32,
    /// Frames that the driver discarded: damaged ones, and those that came while all buffers were full;
    /// several of these in a row may count as one.
    pub frames_discarded: u32,
    /// MQTT messages published.
    pub messages_published: u32,
    /// Commands received.
    pub commands_received: u32,
    /// MQTT sessions opened.
    pub sessions_opened: u32,
    /// Messages that wait for the broker now.
    pub messages_queued: u32,
    /// Telemetry messages dropped because the queue was full.
    pub telemetry_dropped: u32,
    /// Other messages dropped because the queue was full.
    pub messages_dropped: u32,
    /// HTTP requests answered.
    pub http_requests: u32,
}

/// How far the device has come on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// The link is up and the network layer has an address, in network byte order.
    Network {
        /// IPv4 address.
        address: [u8; 4],
    },
    /// The broker could not be reached; the text says why, the device will try again.
    Unreachable {
        /// Reason, for people.
        reason: String<64>,
    },
    /// The broker refused the connection with this CONNACK code (MQTT 3.1.1, table 3.1).
    Refused {
        /// Return code, 1 to 5.
        code: u8,
    },
    /// The session is open and the command topic subscribed.
    Connected,
    /// The session ended.
    Lost {
        /// Reason, for people.
        reason: String<64>,
    },
}

/// What became of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, or begun.
    Done,
    /// Not done.
    Refused(Refusal),
}

/// Why a control frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The frame could not be decoded.
    Malformed,
    /// The firmware was built without `test-hooks`.
    NoTestHooks,
    /// The firmware was built without `mutants`.
    NoMutants,
    /// A value is outside its range.
    OutOfRange,
    /// What is to be kept could not be: flash refused it, or there is too little memory for it.
    Storage,
    /// The image has no driver for that network, or another one already runs, be it with another
    /// access point: reset first.
    Network,
}
