//! Watches what the device says, and makes events of it: boots, resets, crashes, losses.
//!
//! Sans-IO: bytes and bench time in, events out. What it must tell apart:
//!
//! ```text
//!            reset asked for                    first frame
//!  unknown ────────────────▶ awaited ───────────────────────▶ running ──┐ frames of another boot:
//!     │                                                         ▲  │    │ nobody asked: crash
//!     │ first frame: joined a running device                    │  └────┘
//!     └─────────────────────────────────────────────────────────┘
//!  running ── panic frame ──▶ crashed ── frames of another boot ──▶ running, the crash told once
//!  running ── nothing for too long ──▶ crashed: the bench looks where it is
//! ```

use std::time::Duration;

use firmware_wire::{
    Connection, ControlBody, DeviceBody, DeviceFrame, Hello, ResetReason, TraceFrame,
};

use crate::{
    backtrace::addresses_in,
    decode::{FrameStream, LogStream, Logged, Received},
    event::{BenchEvent, Channel, Crash, CrashKind, LogLevel, LogLine},
    image::FirmwareImage,
};

/// An event with the device's time, where it has one.
pub(crate) type Timed = (Option<u64>, BenchEvent);

/// See the file's header.
pub(crate) struct Monitor {
    image: FirmwareImage,
    log: LogStream,
    telemetry: FrameStream,
    trace: FrameStream,
    /// A reset was asked for, and the boot after it has not been seen.
    awaited: bool,
    /// A crash of this boot was told already.
    crashed: bool,
    /// A panic whose backtrace may still come in the log.
    panic: Option<Panic>,
    /// Addresses in the latest error lines of this boot.
    trail: Trail,
    boot: Option<u32>,
    /// Bench time of the latest telemetry frame of a device that was heard at all.
    heard: Option<Duration>,
    silence: Duration,
}

struct Panic {
    message: String,
    device_us: u64,
    /// Polls since it came.
    polls: u8,
}

/// Return addresses that the firmware logged, as long as they belong together.
#[derive(Default)]
struct Trail {
    addresses: Vec<u32>,
    last_us: Option<u64>,
}

impl Monitor {
    /// Watches a device that runs `image`; it is silent when no telemetry came for `silence`.
    pub(crate) fn new(image: FirmwareImage, silence: Duration) -> Self {
        Self {
            log: LogStream::new(image.clone()),
            image,
            telemetry: FrameStream::new(),
            trace: FrameStream::new(),
            awaited: false,
            crashed: false,
            panic: None,
            trail: Trail::default(),
            boot: None,
            heard: None,
            silence,
        }
    }

    /// The bench resets the device, or asks it to reset itself.
    pub(crate) fn expect_reset(&mut self) {
        self.awaited = true;
    }

    /// The device was reset by the bench just now: nothing that was begun is continued.
    pub(crate) fn restart(&mut self) {
        self.log.restart();
        self.telemetry.restart();
        self.trace.restart();
        self.panic = None;
        self.trail = Trail::default();
        self.heard = None;
    }

    /// The flash holds another image now: its boots are counted anew.
    pub(crate) fn forget_boots(&mut self) {
        self.telemetry.forget();
        self.trace.forget();
        self.boot = None;
    }

    /// A control frame was sent that changes what is to be expected.
    pub(crate) fn sent(&mut self, body: &ControlBody) {
        match body {
            ControlBody::Reset => self.expect_reset(),
            // Three missed in a row are silence.
            ControlBody::SetTelemetryInterval { interval_ms } => {
                let three = Duration::from_millis(u64::from(*interval_ms) * 3);
                self.silence = self.silence.max(three);
            }
            _ => {}
        }
    }

    /// Takes what one poll read of `channel`.
    pub(crate) fn received(
        &mut self,
        now: Duration,
        channel: Channel,
        bytes: &[u8],
        out: &mut Vec<Timed>,
    ) {
        match channel {
            Channel::Defmt => {
                let mut lines = vec![];
                self.log.push(bytes, |logged| lines.push(logged));
                for logged in lines {
                    self.logged(logged, out);
                }
            }
            Channel::Telemetry => {
                let mut frames: Vec<Received<DeviceFrame>> = vec![];
                self.telemetry.push(bytes, |received| frames.push(received));
                for received in frames {
                    self.device(now, received, out);
                }
            }
            Channel::Trace => self.trace.push::<TraceFrame>(bytes, |received| {
                out.push(match received {
                    Received::Frame(frame) => (Some(frame.uptime_us), BenchEvent::Trace(frame)),
                    Received::Lost(frames) => (None, BenchEvent::Lost { channel, frames }),
                    Received::Garbled(bytes) => (None, BenchEvent::Garbled { channel, bytes }),
                    // The telemetry channel tells of boots.
                    Received::NewBoot { .. } => return,
                });
            }),
        }
    }

    /// Ends a poll: tells of a panic once its backtrace had time to come. True when the device has
    /// fallen silent since the last time: the bench then looks where it is.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut Vec<Timed>) -> bool {
        if let Some(panic) = &mut self.panic {
            // The log may have been read just before the panic frame was written.
            panic.polls += 1;
            if panic.polls > 1 || !self.trail.addresses.is_empty() {
                self.tell_panic(out);
            }
        }
        let quiet = self
            .heard
            .is_some_and(|heard| now.saturating_sub(heard) > self.silence);
        let begins = quiet && !self.crashed;
        self.crashed |= begins;
        begins
    }

    /// The bench could not listen until `now`: what was not heard says nothing of the device.
    pub(crate) fn excuse_silence(&mut self, now: Duration) {
        self.heard = self.heard.map(|_| now);
    }

    /// The boot that the device is in, as far as known.
    pub(crate) fn boot(&self) -> Option<u32> {
        self.boot
    }

    /// A crash was seen from outside: not told again when the reset that follows is noticed.
    pub(crate) fn crash_is_told(&mut self) {
        self.crashed = true;
    }

    fn logged(&mut self, logged: Logged, out: &mut Vec<Timed>) {
        match logged {
            Logged::Garbled(bytes) => out.push((
                None,
                BenchEvent::Garbled {
                    channel: Channel::Defmt,
                    bytes,
                },
            )),
            Logged::Line(line, device_us) => {
                self.trail.take(&line, device_us, &self.image);
                out.push((device_us, BenchEvent::Log(line)));
            }
        }
    }

    fn device(&mut self, now: Duration, received: Received<DeviceFrame>, out: &mut Vec<Timed>) {
        let channel = Channel::Telemetry;
        match received {
            Received::Lost(frames) => out.push((None, BenchEvent::Lost { channel, frames })),
            Received::Garbled(bytes) => out.push((None, BenchEvent::Garbled { channel, bytes })),
            Received::NewBoot { .. } => {}
            Received::Frame(frame) => {
                self.heard = Some(now);
                if self.boot != Some(frame.boot) {
                    self.new_boot(&frame, out);
                }
                let time = Some(frame.uptime_us);
                let mut panicked = None;
                match &frame.body {
                    DeviceBody::Hello(hello) => out.push((time, BenchEvent::Boot(hello.clone()))),
                    DeviceBody::Panic { message } => panicked = Some(message.to_string()),
                    _ => {}
                }
                let device_us = frame.uptime_us;
                out.push((time, BenchEvent::Telemetry(frame)));
                let before = self.panic.take();
                self.panic = panicked.map(|part| match before {
                    // A long message comes in parts.
                    Some(before) => Panic {
                        message: before.message + &part,
                        polls: 0,
                        ..before
                    },
                    None => Panic {
                        message: part,
                        device_us,
                        polls: 0,
                    },
                });
            }
        }
    }

    /// The first frame of another boot than before.
    fn new_boot(&mut self, frame: &DeviceFrame, out: &mut Vec<Timed>) {
        // A panic whose backtrace never came.
        if self.panic.is_some() {
            self.tell_panic(out);
        }
        let before = self.boot.replace(frame.boot);
        let expected = std::mem::take(&mut self.awaited);
        let told = std::mem::take(&mut self.crashed);
        self.trail = Trail::default();
        let hello = match &frame.body {
            DeviceBody::Hello(hello) => Some(hello),
            _ => None,
        };
        let Some(before) = before else {
            // The first that is heard of this device: a reset only if it was asked for.
            if expected {
                let noticed = noticed(None, frame.boot, hello);
                out.push((None, BenchEvent::Reset { expected, noticed }));
            }
            return;
        };
        let noticed = noticed(Some(before), frame.boot, hello);
        out.push((
            None,
            BenchEvent::Reset {
                expected,
                noticed: noticed.clone(),
            },
        ));
        if !expected && !told {
            let (kind, message) = cause(hello.map(|hello| hello.reset_reason), noticed);
            let crash = Crash {
                kind,
                message,
                backtrace: vec![],
                boot: Some(before),
            };
            out.push((None, BenchEvent::Crash(crash)));
        }
    }

    fn tell_panic(&mut self, out: &mut Vec<Timed>) {
        let Some(panic) = self.panic.take() else {
            return;
        };
        self.crashed = true;
        let mut addresses = addresses_in(&panic.message, |address| self.image.is_code(address));
        // The message of an exception holds the instruction itself, the log the calls to it.
        let returns = addresses.is_empty();
        let trail = std::mem::take(&mut self.trail.addresses);
        addresses.extend(
            trail
                .into_iter()
                .filter(|address| !panic_holds(&panic.message, *address)),
        );
        addresses.dedup();
        let backtrace = self
            .image
            .symbolizer()
            .map(|symbols| symbols.backtrace(&addresses, returns))
            .unwrap_or_default();
        let crash = Crash {
            kind: kind_of(&panic.message),
            message: panic.message,
            backtrace,
            boot: self.boot,
        };
        out.push((Some(panic.device_us), BenchEvent::Crash(crash)));
    }
}

fn panic_holds(message: &str, address: u32) -> bool {
    message.contains(&format!("{address:#010x}"))
}

impl Trail {
    /// Error lines close together are one report: a backtrace may take several lines.
    fn take(&mut self, line: &LogLine, device_us: Option<u64>, image: &FirmwareImage) {
        const TOGETHER_US: u64 = 100_000;
        if line.level != Some(LogLevel::Error) {
            return;
        }
        let found = addresses_in(&line.message, |address| image.is_code(address));
        if found.is_empty() {
            return;
        }
        let together = match (self.last_us, device_us) {
            (Some(last), Some(now)) => now.saturating_sub(last) < TOGETHER_US,
            _ => true,
        };
        if !together {
            self.addresses.clear();
        }
        self.last_us = device_us;
        self.addresses.extend(found);
    }
}

/// The firmware's panic handler reports exceptions, too; their messages begin so.
fn kind_of(message: &str) -> CrashKind {
    // Rust's own panic messages begin with a line that says where.
    let said = match message.split_once('\n') {
        Some((place, said)) if place.starts_with("panicked at") => said,
        _ => message,
    };
    let message = said.trim_start().to_lowercase();
    if message.starts_with("stack overflow") {
        CrashKind::StackOverflow
    } else if message.starts_with("exception") {
        CrashKind::Exception
    } else {
        CrashKind::Panic
    }
}

fn noticed(before: Option<u32>, boot: u32, hello: Option<&Hello>) -> String {
    let after = match before {
        Some(before) => format!(" after boot {before}"),
        None => String::new(),
    };
    match hello {
        Some(hello) => format!("boot {boot}{after}, {}", words(hello.reset_reason)),
        None => format!("boot {boot}{after}, its first frame was lost"),
    }
}

/// What an unexpected reset for `reason` is.
fn cause(reason: Option<ResetReason>, noticed: String) -> (CrashKind, String) {
    match reason {
        Some(ResetReason::Watchdog | ResetReason::SuperWatchdog) => {
            (CrashKind::Watchdog, format!("a watchdog bit: {noticed}"))
        }
        Some(ResetReason::Panic) => {
            let message = format!("the firmware panicked, its message was lost: {noticed}");
            (CrashKind::Panic, message)
        }
        Some(ResetReason::BrownOut) => (
            CrashKind::BrownOut,
            format!("the supply fell too low: {noticed}"),
        ),
        _ => (
            CrashKind::UnexpectedReset,
            format!("nobody asked for this reset: {noticed}"),
        ),
    }
}

fn words(reason: ResetReason) -> String {
    match reason {
        ResetReason::PowerOn => "power-on".into(),
        ResetReason::Software => "software reset".into(),
        ResetReason::Panic => "reset by the panic handler".into(),
        ResetReason::Watchdog => "watchdog reset".into(),
        ResetReason::SuperWatchdog => "super-watchdog reset".into(),
        ResetReason::BrownOut => "brown-out reset".into(),
        ResetReason::DeepSleep => "wake from deep sleep".into(),
        ResetReason::Usb => "reset over USB".into(),
        ResetReason::Other(number) => format!("reset cause {number}"),
    }
}

/// Whether `connection` means that a session with the broker is open.
pub(crate) fn is_connected(connection: &Connection) -> bool {
    matches!(connection, Connection::Connected)
}

#[cfg(test)]
mod tests;
