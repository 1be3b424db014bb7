//! What a bench reports while it is open: one stream, stamped with three clocks.
//!
//! Everything that anybody may want to know later comes through here once, so that a record of this
//! stream is a record of the run. All of it survives serialisation; nothing in it is secret.

use std::{fmt, time::Duration};

use firmware_wire::{DeviceFrame, Hello, TraceFrame};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::backtrace::BacktraceFrame;

/// An event with the time at which it reached the bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StampedEvent {
    /// Bench time since the bench was opened, microseconds.
    pub bench_us: u64,
    /// Device time since its boot, microseconds, where the event carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_us: Option<u64>,
    /// Wall time, as the device has it too: the epoch of the bench plus bench time.
    #[serde(with = "time::serde::rfc3339")]
    pub wall: OffsetDateTime,
    /// What happened.
    #[serde(flatten)]
    pub event: BenchEvent,
}

impl StampedEvent {
    /// Bench time since the bench was opened.
    #[must_use]
    pub fn bench_time(&self) -> Duration {
        Duration::from_micros(self.bench_us)
    }
}

/// Something that happened on the bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "data")]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "most events are telemetry, the largest of them: a box would be one more allocation each"
)]
pub enum BenchEvent {
    /// The probe is attached to the chip.
    Attached {
        /// The probe, as it calls itself, with its selector.
        probe: String,
        /// The chip, as the debugger calls it.
        chip: String,
    },
    /// Flashing went on.
    Flash(FlashProgress),
    /// The device logged a line.
    Log(LogLine),
    /// A frame came on the telemetry channel.
    Telemetry(DeviceFrame),
    /// A frame came on the trace channel.
    Trace(TraceFrame),
    /// The device booted and said so.
    Boot(Hello),
    /// The device was reset.
    Reset {
        /// Whether the bench or a scenario asked for it.
        expected: bool,
        /// How it was noticed, for people.
        noticed: String,
    },
    /// The firmware crashed.
    Crash(Crash),
    /// Frames are missing in a stream: their sequence numbers were used up, they never came.
    Lost {
        /// Which stream.
        channel: Channel,
        /// How many.
        frames: u32,
    },
    /// A stretch of a stream could not be decoded.
    Garbled {
        /// Which stream.
        channel: Channel,
        /// How many bytes.
        bytes: usize,
    },
    /// The RTT control block is not where it must be.
    RttLost {
        /// What was found in its place.
        reason: RttProblem,
    },
    /// The RTT control block is there again.
    RttBack,
    /// A rung of the first-aid ladder was tried.
    FirstAid {
        /// Which.
        rung: FirstAid,
        /// Whether the bench works again.
        helped: bool,
        /// Why it was tried, or why it did not help.
        detail: String,
    },
    /// The chip wrote to its console: the simulated chip's UART or USB-Serial-JTAG.
    Console {
        /// Which port.
        port: String,
        /// What it wrote.
        text: String,
    },
    /// The simulated chip could not boot what is in its flash.
    BootFailed {
        /// Why.
        reason: String,
    },
    /// The record of the simulated network could not be continued.
    CaptureEnded {
        /// Why.
        reason: String,
    },
    /// The simulated chip used something that is not modelled.
    Unmodelled {
        /// What, with the place in the firmware.
        what: String,
    },
    /// Something happened on the device's pins.
    Fixture(FixtureEvent),
}

/// What happened on the device's pins, or was done to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fixture")]
#[non_exhaustive]
pub enum FixtureEvent {
    /// A fixture board was opened.
    Opened {
        /// Its port.
        port: String,
        /// What it is.
        board: String,
        /// Version of its firmware.
        firmware_version: String,
    },
    /// The bench set sensors, contacts or power.
    Set {
        /// What, for people.
        what: String,
    },
    /// A relay contact moved.
    RelayEdge {
        /// The relay, from 1.
        relay: u8,
        /// Whether it closed.
        closed: bool,
        /// When, bench time, microseconds.
        at_us: u64,
    },
    /// The device's supply was switched.
    Power {
        /// Whether it is on.
        on: bool,
        /// When, bench time, microseconds.
        at_us: u64,
        /// Why.
        cause: String,
    },
    /// The line to the board was not clean.
    Line {
        /// What was seen.
        what: String,
    },
    /// Frames of the board are missing: something happened, and it is not known what.
    Lost {
        /// How many.
        frames: u32,
    },
    /// The board is out of reach: what happens from now on may never be known.
    Outage {
        /// Why.
        why: String,
    },
    /// The board's port was opened anew.
    Reopened {
        /// Why.
        why: String,
        /// Whether that helped.
        helped: bool,
    },
    /// The board is not what it was: what runs on this bench can't go on.
    Trouble {
        /// What happened.
        what: String,
    },
}

impl fmt::Display for FixtureEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                port,
                board,
                firmware_version,
            } => write!(f, "fixture board ({board}, {firmware_version}) at {port}"),
            Self::Set { what } | Self::Trouble { what } => f.write_str(what),
            Self::RelayEdge { relay, closed, .. } => {
                write!(
                    f,
                    "relay {relay} {}",
                    if *closed { "closes" } else { "opens" }
                )
            }
            Self::Power { on, cause, .. } => {
                write!(f, "power {}: {cause}", if *on { "on" } else { "off" })
            }
            Self::Line { what } => write!(f, "line to the fixture board: {what}"),
            Self::Lost { frames } => write!(f, "{frames} frames of the fixture board are missing"),
            Self::Outage { why } => write!(f, "the fixture board is out of reach: {why}"),
            Self::Reopened { why, helped } => {
                let outcome = if *helped { "opened again" } else { "lost" };
                write!(f, "fixture board {outcome}: {why}")
            }
        }
    }
}

impl fmt::Display for BenchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { probe, chip } => write!(f, "attached to {chip} through {probe}"),
            Self::Flash(progress) => progress.fmt(f),
            Self::Log(line) => line.fmt(f),
            Self::Telemetry(frame) => write!(f, "telemetry {}", frame.sequence),
            Self::Trace(frame) => write!(f, "trace {}", frame.sequence),
            Self::Boot(hello) => write!(
                f,
                "boot {} of {} ({:?})",
                hello.boot_count, hello.device_id, hello.reset_reason
            ),
            Self::Reset { expected, noticed } => {
                let kind = if *expected { "" } else { "unexpected " };
                write!(f, "{kind}reset: {noticed}")
            }
            Self::Crash(crash) => crash.fmt(f),
            Self::Lost { channel, frames } => write!(f, "{channel}: {frames} frames lost"),
            Self::Garbled { channel, bytes } => write!(f, "{channel}: {bytes} bytes garbled"),
            Self::RttLost { reason } => write!(f, "RTT lost: {reason}"),
            Self::RttBack => f.write_str("RTT is back"),
            Self::FirstAid {
                rung,
                helped,
                detail,
            } => {
                let outcome = if *helped { "helped" } else { "did not help" };
                write!(f, "first aid: {rung} {outcome} ({detail})")
            }
            Self::Console { port, text } => write!(f, "{port}: {}", text.trim_end()),
            Self::BootFailed { reason } => write!(f, "the chip can't boot: {reason}"),
            Self::CaptureEnded { reason } => {
                write!(f, "the capture of the network ended early: {reason}")
            }
            Self::Unmodelled { what } => write!(f, "not modelled: {what}"),
            Self::Fixture(event) => event.fmt(f),
        }
    }
}

/// A stream from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// RTT up 0: log lines.
    Defmt,
    /// RTT up 1: [`DeviceFrame`].
    Telemetry,
    /// RTT up 2: [`TraceFrame`].
    Trace,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Defmt => firmware_wire::CHANNEL_DEFMT,
            Self::Telemetry => firmware_wire::CHANNEL_TELEMETRY,
            Self::Trace => firmware_wire::CHANNEL_TRACE,
        })
    }
}

/// How far flashing has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum FlashProgress {
    /// It began.
    Began {
        /// Bytes to write, the bootloader and the partition table included.
        bytes: u64,
    },
    /// Sectors were erased.
    Erased {
        /// Bytes so far.
        bytes: u64,
    },
    /// Pages were written.
    Written {
        /// Bytes so far.
        bytes: u64,
        /// Bytes to write, as far as known.
        of: Option<u64>,
    },
    /// Pages were read back and found right.
    Verified {
        /// Bytes so far.
        bytes: u64,
    },
    /// The image was there already.
    Skipped,
    /// The image is in the flash and verified.
    Done {
        /// How long it took.
        #[serde(rename = "duration_us", with = "micros")]
        duration: Duration,
    },
}

impl fmt::Display for FlashProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { bytes } => write!(f, "flashing {bytes} bytes"),
            Self::Erased { bytes } => write!(f, "erased {bytes} bytes"),
            Self::Written { bytes, .. } => write!(f, "wrote {bytes} bytes"),
            Self::Verified { bytes } => write!(f, "verified {bytes} bytes"),
            Self::Skipped => f.write_str("the image is in the flash already"),
            Self::Done { duration } => write!(f, "flashed in {:.2} s", duration.as_secs_f64()),
        }
    }
}

/// A line that the firmware logged with defmt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How urgent; none for `defmt::println!`.
    pub level: Option<LogLevel>,
    /// What was said.
    pub message: String,
    /// The module it was said in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(level) = self.level {
            write!(f, "{level:5} ")?;
        }
        f.write_str(&self.message)?;
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, " ({file}:{line})")?;
        }
        Ok(())
    }
}

/// How urgent a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For the developer.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        })
    }
}

/// A crash of the firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// What kind.
    pub kind: CrashKind,
    /// What the firmware said, or what the bench saw.
    pub message: String,
    /// Where, innermost first; empty when nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<BacktraceFrame>,
    /// The boot that crashed, if the device had said its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// What kind of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// The firmware panicked.
    Panic,
    /// The CPU took an exception.
    Exception,
    /// A stack was used up.
    StackOverflow,
    /// A watchdog bit.
    Watchdog,
    /// The supply fell too low.
    BrownOut,
    /// The device was reset, and nobody asked for it.
    UnexpectedReset,
    /// The CPU halted by itself: a breakpoint in the firmware.
    Halt,
    /// The CPU is stuck in traps.
    Lockup,
    /// The device no longer says anything.
    Silence,
}

impl fmt::Display for CrashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panic",
            Self::Exception => "exception",
            Self::StackOverflow => "stack overflow",
            Self::Watchdog => "watchdog",
            Self::BrownOut => "brown-out",
            Self::UnexpectedReset => "unexpected reset",
            Self::Halt => "halt",
            Self::Lockup => "lockup",
            Self::Silence => "silence",
        })
    }
}

/// What is wrong with the RTT control block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "problem")]
pub enum RttProblem {
    /// It never appeared: the firmware does not come as far as setting it up.
    #[error("no control block at {address:#010x}: the firmware has not set it up")]
    Missing {
        /// Where it must be.
        address: u32,
    },
    /// Its identifier was overwritten.
    #[error("the control block at {address:#010x} was overwritten: it begins with `{found}`")]
    Overwritten {
        /// Where it must be.
        address: u32,
        /// What is there instead of `SEGGER RTT`, unprintable bytes escaped.
        found: String,
    },
    /// Its contents make no sense.
    #[error("the control block at {address:#010x} is damaged: {what}")]
    Damaged {
        /// Where it is.
        address: u32,
        /// What makes no sense.
        what: String,
    },
}

/// A rung of the first-aid ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstAid {
    /// The probe was opened and attached again.
    Reattach,
    /// The chip was reset.
    ChipReset,
    /// The device's power was taken away for a moment.
    PowerCycle,
}

impl fmt::Display for FirstAid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reattach => "attaching again",
            Self::ChipReset => "a chip reset",
            Self::PowerCycle => "a power cycle",
        })
    }
}

/// Durations as whole microseconds.
pub(crate) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use firmware_wire::{Connection, DeviceBody};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn events_survive_json() {
        let events = [
            BenchEvent::RttBack,
            BenchEvent::Flash(FlashProgress::Done {
                duration: Duration::from_millis(140),
            }),
            BenchEvent::Telemetry(DeviceFrame {
                boot: 1,
                sequence: 2,
                uptime_us: 3,
                body: DeviceBody::Connection(Connection::Network {
                    address: [10, 0, 2, 15],
                }),
            }),
            BenchEvent::Crash(Crash {
                kind: CrashKind::Panic,
                message: "no".into(),
                backtrace: vec![],
                boot: None,
            }),
            BenchEvent::RttLost {
                reason: RttProblem::Missing {
                    address: 0x3fc8_0000,
                },
            },
            BenchEvent::Lost {
                channel: Channel::Trace,
                frames: 3,
            },
        ];
        for event in events {
            let stamped = StampedEvent {
                bench_us: 1_500_000,
                device_us: Some(7),
                wall: datetime!(2026-01-01 00:00:01.5 UTC),
                event,
            };
            let json = serde_json::to_string(&stamped).expect("JSON");
            let back: StampedEvent = serde_json::from_str(&json).expect(&json);
            assert_eq!(back, stamped, "{json}");
        }
    }
}
