//! What can go wrong with a bench, by who must act.

use std::{io, path::PathBuf, time::Duration};

use crate::{event::RttProblem, image::ImageError, lease::Holder};

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Responsible {
    /// Whoever wrote the rig file or typed the command: exit code 2.
    Author,
    /// Whoever tends the bench: exit code 3.
    BenchKeeper,
    /// Whoever wrote the firmware: a failing verdict, not an error of the bench.
    FirmwareDeveloper,
    /// The project: a bug.
    Us,
}

/// Something that keeps a bench from working.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// Another run uses the rig.
    #[error("rig `{rig}` is in use by {holder}")]
    InUse {
        /// The rig.
        rig: String,
        /// Who has it.
        holder: Holder,
    },
    /// The lease can't be taken for another reason.
    #[error("can't take the lease `{}`", path.display())]
    Lease {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No probe fits the rig's selector.
    #[error("no probe `{selector}` is plugged in; {}", seen(found))]
    NoProbe {
        /// What the rig asks for.
        selector: String,
        /// What is there, each with its selector.
        found: Vec<String>,
    },
    /// Several probes fit the rig's selector.
    #[error("{} probes fit `{selector}`: {}", found.len(), listed(found))]
    SeveralProbes {
        /// What the rig asks for.
        selector: String,
        /// What fits, each with its selector.
        found: Vec<String>,
    },
    /// The probe is there and can't be opened by this user.
    #[error("probe `{probe}` may not be opened by this user")]
    ProbePermission {
        /// The probe.
        probe: String,
    },
    /// The probe or the chip behind it failed.
    #[error("{doing} failed")]
    Probe {
        /// What was being done: "attaching to `esp32c3`".
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The virtual rig can't be started.
    #[error("the virtual rig can't be started")]
    VirtualRig {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The simulated network has to lead to a broker whose address nobody knows.
    #[error("nobody knows the address of the broker `{host}`")]
    BrokerHost {
        /// Its host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image can't be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// RTT does not work.
    #[error("RTT is lost: {0}")]
    RttLost(RttProblem),
    /// The device did not say hello after a reset.
    #[error("the device did not boot within {:.1} s{}{}", within.as_secs_f64(), unheard(rtt), at(place))]
    NoBoot {
        /// How long was waited, bench time.
        within: Duration,
        /// What was wrong with RTT, through which it would have said so.
        rtt: Option<RttProblem>,
        /// Where the firmware was, if that could be found out.
        place: Option<String>,
    },
    /// The device speaks another version of the wire.
    #[error("the firmware speaks version {device} of the wire, this bench version {host}")]
    WireVersion {
        /// The device's.
        device: u16,
        /// The bench's.
        host: u16,
    },
    /// The device did not answer a control frame.
    #[error("the device did not answer `{what}` within {:.1} s", within.as_secs_f64())]
    NoAnswer {
        /// What was asked.
        what: &'static str,
        /// How long was waited, bench time.
        within: Duration,
    },
    /// The device refused a control frame.
    #[error("the device refused `{what}`: {}", refusal(*reason))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Why.
        reason: firmware_wire::Refusal,
    },
    /// A value does not fit the wire.
    #[error("`{value}` is too long for {what}")]
    TooLong {
        /// What it is for.
        what: &'static str,
        /// The value; never a secret.
        value: String,
    },
    /// The fixture board's serial port can't be used.
    #[error("the serial port `{port}` of the fixture board can't be used")]
    FixturePort {
        /// The port.
        port: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Several fixture boards fit the rig's selector.
    #[error("{} fixture boards fit `{selector}`: {}", found.len(), listed(found))]
    SeveralBoards {
        /// What the rig asks for.
        selector: String,
        /// What fits, each with its selector.
        found: Vec<String>,
    },
    /// The fixture board does not answer.
    #[error("the fixture board did not answer `{what}`")]
    FixtureSilent {
        /// What was asked.
        what: &'static str,
    },
    /// The fixture board speaks another version of the protocol.
    #[error("the fixture board speaks version {board} of the protocol, this bench version {host}")]
    FixtureVersion {
        /// The board's.
        board: u8,
        /// The bench's.
        host: u8,
    },
    /// The fixture board did not do what it was asked.
    #[error("the fixture board refused `{what}`: {reason}")]
    FixtureRefused {
        /// What was asked.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A text of recorded temperatures can't be read.
    #[error("the recorded temperatures can't be read: {what}")]
    Recording {
        /// Which line, and what is wrong with it.
        what: String,
    },
    /// The rig's fixture has no such thing.
    #[error("the rig's fixture has no {what}")]
    FixtureLacks {
        /// What.
        what: String,
    },
    /// The device has no power.
    #[error("{doing} failed: the device has no power")]
    NoPower {
        /// What was being done.
        doing: String,
    },
    /// Nothing was flashed or chosen yet.
    #[error("the bench has no firmware image yet")]
    NoImage,
    /// The bench was closed, or its probe is gone for good.
    #[error("the bench is closed")]
    Closed,
}

impl BenchError {
    /// Who must act.
    #[must_use]
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::SeveralProbes { .. }
            | Self::SeveralBoards { .. }
            | Self::Image(_)
            | Self::TooLong { .. }
            | Self::FixtureLacks { .. }
            | Self::Recording { .. }
            | Self::Refused {
                reason: firmware_wire::Refusal::NoTestHooks | firmware_wire::Refusal::NoMutants,
                ..
            } => Responsible::Author,
            Self::InUse { .. }
            | Self::Lease { .. }
            | Self::NoProbe { .. }
            | Self::ProbePermission { .. }
            | Self::Probe { .. }
            | Self::VirtualRig { .. }
            | Self::BrokerHost { .. }
            | Self::FixturePort { .. }
            | Self::FixtureSilent { .. }
            | Self::FixtureVersion { .. }
            | Self::FixtureRefused { .. } => Responsible::BenchKeeper,
            Self::RttLost(_)
            | Self::NoBoot { .. }
            | Self::WireVersion { .. }
            | Self::NoAnswer { .. }
            | Self::Refused { .. } => Responsible::FirmwareDeveloper,
            Self::NoImage | Self::NoPower { .. } | Self::Closed => Responsible::Us,
        }
    }

    /// What to do, in the imperative.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InUse { holder, .. } => format!(
                "wait for process {} to end, or choose another rig",
                holder.pid
            ),
            Self::Lease { .. } => "make `target/hil` writable".into(),
            Self::NoProbe { found, .. } if found.is_empty() => {
                "plug the board in, use a cable with data lines; on Linux install the udev rules \
                 of probe-rs (https://probe.rs/docs/getting-started/probe-setup) and plug it in again"
                    .into()
            }
            Self::NoProbe { .. } => "write the selector of one of these in the rig file".into(),
            Self::SeveralProbes { found, .. } => format!(
                "write the serial number in the rig file: `selector = \"{}\"`",
                found.first().map_or("VID:PID:SERIAL", String::as_str)
            ),
            Self::SeveralBoards { found, .. } => format!(
                "write the serial number in the rig file: `usb = \"{}\"`",
                found.first().map_or("VID:PID:SERIAL", String::as_str)
            ),
            Self::ProbePermission { .. } => {
                "on Linux install the udev rules of probe-rs \
                 (https://probe.rs/docs/getting-started/probe-setup) and plug the probe in again"
                    .into()
            }
            Self::BrokerHost { .. } => {
                "check the name, or give the broker's address: `--broker 192.168.1.20:1883`".into()
            }
            Self::Probe { .. } => "check the cable, then plug the board out and in again".into(),
            Self::Image(error) => return error.hint(),
            Self::WireVersion { .. } => {
                "build firmware and bench from the same checkout, and flash again".into()
            }
            Self::FixturePort { .. } => {
                "plug the board in, or write its port in the rig file under `[fixture]`".into()
            }
            Self::FixtureSilent { .. } => {
                "press the board's reset button, and see that it runs the firmware of \
                 `fixtures/board`"
                    .into()
            }
            Self::FixtureVersion { .. } => {
                "flash the board with the firmware of `fixtures/board` of this checkout".into()
            }
            Self::Refused {
                reason: firmware_wire::Refusal::NoTestHooks,
                ..
            } => "build the firmware with `--features test-hooks`".into(),
            _ => return None,
        })
    }

    /// The error of a probe operation.
    pub(crate) fn probe(
        doing: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Probe {
            doing: doing.into(),
            source: Box::new(source),
        }
    }
}

fn seen(found: &[String]) -> String {
    match found {
        [] => "no probe was seen at all".into(),
        some => format!("seen: {}", listed(some)),
    }
}

fn listed(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn unheard(rtt: &Option<RttProblem>) -> String {
    rtt.as_ref()
        .map(|problem| format!("; {problem}"))
        .unwrap_or_default()
}

fn at(place: &Option<String>) -> String {
    place
        .as_ref()
        .map(|place| format!("; it was at {place}"))
        .unwrap_or_default()
}

fn refusal(reason: firmware_wire::Refusal) -> &'static str {
    use firmware_wire::Refusal;
    match reason {
        Refusal::Malformed => "it could not be decoded",
        Refusal::NoTestHooks => "the firmware was built without `test-hooks`",
        Refusal::NoMutants => "the firmware was built without `mutants`",
        Refusal::OutOfRange => "a value is out of range",
        Refusal::Storage => "flash refused to keep it, or there is too little memory for it",
        Refusal::Network => "that network driver is not there, or another network runs already",
    }
}
