//! The frames that the device under test and the host exchange over RTT.
//!
//! Device and host share these types and nothing else, so that a frame can't mean two things.
//! Everything is versioned by [`VERSION`], which the device announces in its first frame,
//! [`DeviceBody::Hello`]; a host that reads another version says so instead of guessing.
//!
//! | RTT channel | name | frames |
//! |---|---|---|
//! | up 0 | `defmt` | log lines, encoded by defmt, not by this crate |
//! | up 1 | `telemetry` | [`DeviceFrame`] |
//! | up 2 | `trace` | [`TraceFrame`] |
//! | down 0 | `control` | [`ControlFrame`] |
//!
//! A frame is a postcard message with a CRC-16, framed by COBS with a trailing zero.
//! Each stream carries the boot number and a sequence that rises by one, so that the reader sees
//! and counts what was lost, and tells a reset from a gap.
#![no_std]

mod control;
mod device;
mod framing;
mod trace;

pub use control::{
    Broker, CertificateChunk, CertificateSlot, ControlBody, ControlFrame, Credentials, Fault,
    NetworkDriver, Provision, Security, SimulatedReading, TopicLevel, Wifi,
};
pub use device::{
    BufferSample, Connection, DeviceBody, DeviceFrame, HeapSample, Hello, MemorySample,
    NetworkSample, Outcome, Refusal, ResetReason, ScanSample, StackSample,
};
pub use framing::{DecodeError, EncodeError, Frame, FrameDecoder, encode};
pub use trace::{CallPath, TraceEvent, TraceFrame};

/// The version of all frames in this crate. It changes whenever a frame changes its meaning or shape.
pub const VERSION: u16 = 3;

/// The name of RTT up channel 0: defmt.
pub const CHANNEL_DEFMT: &str = "defmt";
/// The name of RTT up channel 1: [`DeviceFrame`].
pub const CHANNEL_TELEMETRY: &str = "telemetry";
/// The name of RTT up channel 2: [`TraceFrame`].
pub const CHANNEL_TRACE: &str = "trace";
/// The name of RTT down channel 0: [`ControlFrame`].
pub const CHANNEL_CONTROL: &str = "control";

/// The longest encoded [`DeviceFrame`], COBS and the trailing zero included, bytes.
pub const DEVICE_FRAME_BYTES_MAX: usize = 512;
/// The longest encoded [`TraceFrame`], COBS and the trailing zero included, bytes.
pub const TRACE_FRAME_BYTES_MAX: usize = 96;
/// The longest encoded [`ControlFrame`], COBS and the trailing zero included, bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 768;
/// The longest certificate or key that the device keeps, bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 2_048;
