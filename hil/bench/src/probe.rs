//! Which probe, and what to say when there is none, or more than one.

use std::{
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use hil_rig::{Probe as ProbeSettings, Rig, WireProtocol};
use probe_rs::{
    Permissions, Session,
    probe::{
        DebugProbeError, DebugProbeInfo, DebugProbeSelector, ProbeCreationError,
        list::{Accessibility, Lister, ProbeListItem},
    },
};

use crate::BenchError;

/// Between two looks for a probe.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes Espressif's chips and probes and the virtual ones known to probe-rs, once.
pub(crate) fn register_plugins() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        probe_rs_espressif::register_plugin();
        virtual_rig::register_plugin();
    });
}

/// Opens the rig's probe and attaches to its chip, as often as needed.
pub(crate) struct Opener {
    selector: String,
    chip: String,
    protocol: Option<WireProtocol>,
    speed_khz: Option<u32>,
    is_virtual: bool,
}

impl Opener {
    /// For the probe of `rig`, or for the virtual one with `selector`.
    pub(crate) fn new(rig: &Rig, virtual_selector: Option<String>) -> Self {
        let (selector, protocol, speed_khz) = match &rig.probe {
            ProbeSettings::Usb(usb) => {
                (usb.selector.to_string(), Some(usb.protocol), usb.speed_khz)
            }
            ProbeSettings::Virtual(_) => (virtual_selector.unwrap_or_default(), None, None),
        };
        Self {
            selector,
            chip: rig.device.chip.clone(),
            protocol,
            speed_khz,
            is_virtual: rig.is_virtual(),
        }
    }

    /// As [`Opener::open`], again and again for as long as `patience`, wall time, where waiting may
    /// help: a board on USB that was reset is gone for a moment.
    pub(crate) fn open_within(&self, patience: Duration) -> Result<(Session, String), BenchError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.open() {
                Err(_) if !self.is_virtual && Instant::now() < deadline => thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    /// Opens the probe and attaches; also how the probe calls itself.
    pub(crate) fn open(&self) -> Result<(Session, String), BenchError> {
        register_plugins();
        let lister = Lister::new();
        let selector = parse(&self.selector)?;
        let fitting = lister.list_with_access(Some(&selector));
        let info = select(&self.selector, &fitting, || lister.list_all())?;
        let name = describe(&info);
        let mut probe = lister
            .open(&info)
            .map_err(|error| open_error(&name, error))?;
        if let Some(protocol) = self.protocol {
            let protocol = match protocol {
                WireProtocol::Jtag => probe_rs::probe::WireProtocol::Jtag,
                WireProtocol::Swd => probe_rs::probe::WireProtocol::Swd,
            };
            probe
                .select_protocol(protocol)
                .map_err(|error| BenchError::probe(format!("choosing {protocol:?}"), error))?;
        }
        if let Some(speed) = self.speed_khz {
            probe
                .set_speed(speed)
                .map_err(|error| BenchError::probe(format!("setting {speed} kHz"), error))?;
        }
        let session = probe
            .attach(self.chip.as_str(), Permissions::default())
            .map_err(|error| BenchError::probe(format!("attaching to `{}`", self.chip), error))?;
        Ok((session, name))
    }
}

/// The selector of a rig is checked when its file is read; this is for the debugger's own parser.
fn parse(selector: &str) -> Result<DebugProbeSelector, BenchError> {
    selector
        .parse()
        .map_err(|error| BenchError::probe(format!("reading the selector `{selector}`"), error))
}

/// The one probe that fits.
fn select(
    selector: &str,
    fitting: &[ProbeListItem],
    all: impl FnOnce() -> Vec<DebugProbeInfo>,
) -> Result<DebugProbeInfo, BenchError> {
    // A probe with several interfaces is listed once for each of them.
    let mut distinct: Vec<&ProbeListItem> = vec![];
    for item in fitting {
        let same = |other: &&ProbeListItem| selector_of(&other.info) == selector_of(&item.info);
        if item.info.serial_number.is_none() || !distinct.iter().any(same) {
            distinct.push(item);
        }
    }
    match distinct.as_slice() {
        [item] if item.accessibility == Accessibility::PermissionDenied => {
            Err(BenchError::ProbePermission {
                probe: describe(&item.info),
            })
        }
        [item] => Ok(item.info.clone()),
        [] => Err(BenchError::NoProbe {
            selector: selector.to_owned(),
            found: all().iter().map(describe).collect(),
        }),
        several => {
            let mut found: Vec<String> =
                several.iter().map(|item| selector_of(&item.info)).collect();
            // The system lists them in any order.
            found.sort();
            Err(BenchError::SeveralProbes {
                selector: selector.to_owned(),
                found,
            })
        }
    }
}

fn open_error(probe: &str, error: DebugProbeError) -> BenchError {
    let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    match &error {
        DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::Usb(cause))
        | DebugProbeError::Usb(cause)
            if denied(cause) =>
        {
            BenchError::ProbePermission {
                probe: probe.to_owned(),
            }
        }
        DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::CouldNotOpen) => {
            BenchError::ProbePermission {
                probe: probe.to_owned(),
            }
        }
        _ => BenchError::probe(format!("opening probe `{probe}`"), error),
    }
}

/// As it is written in a rig file.
fn selector_of(info: &DebugProbeInfo) -> String {
    let serial = info.serial_number.as_deref();
    let serial = serial
        .map(|serial| format!(":{serial}"))
        .unwrap_or_default();
    format!("{:04x}:{:04x}{serial}", info.vendor_id, info.product_id)
}

/// For people: with the name that the probe gives itself.
fn describe(info: &DebugProbeInfo) -> String {
    format!("{} {}", selector_of(info), info.identifier)
}

#[cfg(test)]
mod tests {
    use probe_rs::probe::{DebugProbe, ProbeFactory};

    use super::*;

    /// A factory that lists what a test wants and opens nothing.
    #[derive(Debug)]
    struct Fake;

    impl std::fmt::Display for Fake {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("fake")
        }
    }

    impl ProbeFactory for Fake {
        fn open(&self, _: &DebugProbeSelector) -> Result<Box<dyn DebugProbe>, DebugProbeError> {
            Err(ProbeCreationError::NotFound.into())
        }

        fn list_probes(&self) -> Vec<ProbeListItem> {
            vec![]
        }
    }

    fn probe(serial: Option<&str>, interface: Option<u8>) -> ProbeListItem {
        let serial = serial.map(str::to_owned);
        let info = DebugProbeInfo::new("ESP JTAG", 0x303a, 0x1001, serial, &Fake, interface, false);
        ProbeListItem::accessible(info)
    }

    #[track_caller]
    fn check(fitting: &[ProbeListItem], expected: &str) {
        let all = || vec![probe(Some("ZZ"), None).info];
        let said = match select("303a:1001", fitting, all) {
            Ok(info) => selector_of(&info),
            Err(error) => format!("{error}; {}", error.hint().unwrap_or_default()),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn one_probe_is_taken() {
        check(&[probe(Some("AA"), None)], "303a:1001:AA");
        check(
            &[probe(Some("AA"), Some(0)), probe(Some("AA"), Some(1))],
            "303a:1001:AA",
        );
    }

    #[test]
    fn several_probes_are_listed() {
        check(
            &[probe(Some("BB"), None), probe(Some("AA"), None)],
            "2 probes fit `303a:1001`: `303a:1001:AA`, `303a:1001:BB`; \
             write the serial number in the rig file: `selector = \"303a:1001:AA\"`",
        );
    }

    #[test]
    fn without_a_probe_it_is_said_what_was_seen() {
        check(
            &[],
            "no probe `303a:1001` is plugged in; seen: `303a:1001:ZZ ESP JTAG`; \
             write the selector of one of these in the rig file",
        );
        let error = select("303a:1001", &[], Vec::new).expect_err("no probe");
        assert_eq!(
            error.to_string(),
            "no probe `303a:1001` is plugged in; no probe was seen at all"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("udev")));
    }

    #[test]
    fn a_probe_that_may_not_be_opened_is_told_apart() {
        let mut item = probe(Some("AA"), None);
        item.accessibility = Accessibility::PermissionDenied;
        let error = select("303a:1001", &[item], Vec::new).expect_err("not allowed");
        assert!(
            matches!(error, BenchError::ProbePermission { .. }),
            "{error:?}"
        );
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = open_error("x", ProbeCreationError::Usb(denied).into());
        assert!(
            matches!(error, BenchError::ProbePermission { .. }),
            "{error:?}"
        );
        let error = open_error("x", DebugProbeError::TargetNotFound);
        assert!(matches!(error, BenchError::Probe { .. }), "{error:?}");
    }
}
