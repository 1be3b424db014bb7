//! How the device is reached for debugging: the table `probe`.

use std::time::Duration;

use crate::{
    Pace, Probe, UsbProbe, UsbSelector, VirtualProbe, WireProtocol,
    problem::{Problem, Problems},
    section::{Placed, Section},
};

#[derive(Clone, Copy)]
enum ProbeKind {
    Virtual,
    Usb,
}

/// The table `probe`.
pub(super) fn probe(mut section: Section<'_, '_>, problems: &mut Problems) -> Option<Probe> {
    let kinds = [("virtual", ProbeKind::Virtual), ("usb", ProbeKind::Usb)];
    let Some(kind) = section.word(problems, "kind", &kinds) else {
        section.abandon(problems);
        return None;
    };
    match kind {
        ProbeKind::Virtual => {
            let probe = virtual_probe(&mut section, problems);
            let usb = ["selector", "protocol", "speed-khz"].map(|key| (key, "`kind = \"usb\"`"));
            section.finish(problems, &usb);
            Some(Probe::Virtual(probe?))
        }
        ProbeKind::Usb => {
            let probe = usb_probe(&mut section, problems);
            let simulated = [
                "mac",
                "revision",
                "flash-mib",
                "keep-flash",
                "pace",
                "settle-ms",
            ];
            section.finish(
                problems,
                &simulated.map(|key| (key, "`kind = \"virtual\"`")),
            );
            Some(Probe::Usb(probe?))
        }
    }
}

fn virtual_probe(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<VirtualProbe> {
    let has_mac = section.has("mac");
    let mac = section
        .text(problems, "mac")
        .and_then(|text| mac(text, problems));
    let has_revision = section.has("revision");
    let revision = section
        .text(problems, "revision")
        .and_then(|text| revision(text, problems));
    let flash = section.integer::<u32>(problems, "flash-mib", 1..=16);
    let keep_flash = section.flag(problems, "keep-flash").unwrap_or(true);
    let multiple = section.number(problems, "pace", 0.01..=1_000.0);
    let settle = section.integer::<u32>(problems, "settle-ms", 0..=1_000);
    Some(VirtualProbe {
        mac: if has_mac { mac? } else { DEFAULT_MAC },
        revision: if has_revision { revision? } else { (0, 4) },
        flash_bytes: flash.map_or(4, |flash| flash.value) << 20,
        keep_flash,
        pace: Pace {
            multiple: multiple.unwrap_or(1.0),
            settle: Duration::from_millis(settle.map_or(20, |settle| settle.value.into())),
        },
    })
}

/// A locally administered address (IEEE 802, the second bit of the first octet).
const DEFAULT_MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0xc3, 0x01];

fn mac(text: Placed<String>, problems: &mut Problems) -> Option<[u8; 6]> {
    let octets: Option<Vec<u8>> = text
        .value
        .split(':')
        .map(|octet| (octet.len() == 2).then(|| u8::from_str_radix(octet, 16).ok())?)
        .collect();
    let address = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    // The lowest bit of the first octet marks a group: no device has such an address.
    if let Some(address) = address.filter(|address| address[0] & 1 == 0) {
        return Some(address);
    }
    problems.push(
        Problem::new(
            format!("`{}` is not the MAC address of a device", text.value),
            text.span,
            "six octets in hexadecimal, the first one even",
        )
        .help("write it as `02:00:00:00:c3:01`"),
    );
    None
}

fn revision(text: Placed<String>, problems: &mut Problems) -> Option<(u8, u8)> {
    let parsed = text
        .value
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    // Width of the eFuse fields: major 2 bits, minor 4 bits.
    if let Some(revision) = parsed.filter(|(major, minor)| *major < 4 && *minor < 16) {
        return Some(revision);
    }
    problems.push(
        Problem::new(
            format!("`{}` is not a chip revision", text.value),
            text.span,
            "major 0 to 3, minor 0 to 15",
        )
        .help("write it as `0.4`"),
    );
    None
}

fn usb_probe(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<UsbProbe> {
    let selector = section
        .needed_text(problems, "selector", "303a:1001")
        .and_then(|text| selector(text, problems));
    let protocols = [("jtag", WireProtocol::Jtag), ("swd", WireProtocol::Swd)];
    let protocol = if section.has("protocol") {
        section.word(problems, "protocol", &protocols)
    } else {
        section.text(problems, "protocol");
        Some(WireProtocol::Jtag)
    };
    let speed = section.integer(problems, "speed-khz", 1..=100_000);
    Some(UsbProbe {
        selector: selector?,
        protocol: protocol?,
        speed_khz: speed.map(|speed| speed.value),
    })
}

pub(crate) fn selector(text: Placed<String>, problems: &mut Problems) -> Option<UsbSelector> {
    let mut parts = text.value.splitn(3, ':');
    let mut number = || u16::from_str_radix(parts.next()?, 16).ok();
    if let (Some(vendor), Some(product)) = (number(), number()) {
        let serial = parts.next();
        if serial != Some("") {
            return Some(UsbSelector {
                vendor,
                product,
                serial: serial.map(str::to_owned),
            });
        }
    }
    problems.push(
        Problem::new(
            format!("`{}` selects no probe", text.value),
            text.span,
            "`VID:PID` or `VID:PID:SERIAL`, the numbers in hexadecimal",
        )
        .help("write `303a:1001` for the chip's own USB-Serial-JTAG"),
    );
    None
}
