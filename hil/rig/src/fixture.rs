//! What is on the device's pins: the `[fixture]` table of a rig file, and how it is checked.
//!
//! A fixture simulates sensors and watches relays. It is one of three: simulated with the chip
//! (virtual rigs), a board on a serial line, or the firmware's own simulated sensors on a bench
//! that has no board. Scenarios never ask which.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::{
    Probe, UsbSelector,
    check::selector,
    problem::{Problem, Problems},
    section::{Placed, Section},
};

/// The places for sensors that a fixture can have.
pub const SENSORS_MAX: u8 = 60;
/// The relays that a device can have.
pub const RELAYS_MAX: usize = 8;
/// GPIO numbers of the ESP32-C3 (data sheet, table 2-1).
const PIN_MAX: u8 = 21;
const DEFAULT_ONE_WIRE_PIN: u8 = 10;
const DEFAULT_RELAY_PINS: [u8; RELAYS_MAX] = [0, 1, 3, 4, 5, 6, 7, 20];

/// What is on the device's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixture {
    /// Which fixture.
    pub kind: FixtureKind,
    /// Sensors on the bus when a run begins, 0 to [`SENSORS_MAX`].
    pub sensors: u8,
}

/// Which fixture a rig has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FixtureKind {
    /// Simulated with the chip; spoken to over a pseudo-terminal, as if it were a board.
    Virtual(VirtualFixture),
    /// A fixture board on a serial port.
    Board(FixtureBoard),
    /// Sensors that the firmware simulates; needs an image with `test-hooks`, and has no relays.
    Firmware,
}

/// What is wired to the simulated chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualFixture {
    /// GPIO of the 1-Wire bus.
    pub one_wire_pin: u8,
    /// GPIOs of the relays' coils, relay 1 first, active high.
    pub relay_pins: Vec<u8>,
    /// Whether the sensors lose their supply with the device.
    pub sensors_on_device_supply: bool,
}

/// A fixture board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureBoard {
    /// How it is found.
    pub port: BoardPort,
    /// Whether its power switch is in the device's supply.
    pub switches_power: bool,
    /// Whether the sensors lose their supply with the device.
    pub sensors_on_device_supply: bool,
}

/// How a fixture board is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardPort {
    /// By the path of its serial port.
    Path(PathBuf),
    /// By its USB numbers.
    Usb(UsbSelector),
}

#[derive(Clone, Copy)]
enum Kind {
    Virtual,
    Board,
    Firmware,
}

const OF_VIRTUAL: [&str; 2] = ["one-wire-pin", "relay-pins"];
const OF_BOARD: [&str; 3] = ["port", "usb", "switches-power"];
const OF_BOTH: [&str; 1] = ["sensors-on-device-supply"];

/// Checks the table.
pub(crate) fn fixture(
    mut section: Section<'_, '_>,
    probe: Option<&Probe>,
    problems: &mut Problems,
) -> Option<Fixture> {
    let kinds = [
        ("virtual", Kind::Virtual),
        ("board", Kind::Board),
        ("firmware", Kind::Firmware),
    ];
    let place = section.span();
    let Some(kind) = section.word(problems, "kind", &kinds) else {
        section.abandon(problems);
        return None;
    };
    let sensors = section
        .integer(problems, "sensors", 0..=i64::from(SENSORS_MAX))
        .map_or(SENSORS_MAX, |sensors| sensors.value);
    let kind = match kind {
        Kind::Virtual => {
            if let Some(Probe::Usb(_)) = probe {
                problems.push(
                    Problem::new("a real chip has no simulated fixture", place, "this one")
                        .help("write `kind = \"board\"`, or `kind = \"firmware\"` without one"),
                );
            }
            let fixture = virtual_fixture(&mut section, problems);
            finish(section, problems, &[(&OF_BOARD, "`kind = \"board\"`")]);
            FixtureKind::Virtual(fixture?)
        }
        Kind::Board => {
            if let Some(Probe::Virtual(_)) = probe {
                problems.push(
                    Problem::new(
                        "no board reaches the pins of a simulated chip",
                        place,
                        "this one",
                    )
                    .help("write `kind = \"virtual\"`"),
                );
            }
            let board = board(&mut section, problems);
            finish(section, problems, &[(&OF_VIRTUAL, "`kind = \"virtual\"`")]);
            FixtureKind::Board(board?)
        }
        Kind::Firmware => {
            let elsewhere: [(&[&str], &str); 3] = [
                (&OF_VIRTUAL, "`kind = \"virtual\"`"),
                (&OF_BOTH, "`kind = \"virtual\"`"),
                (&OF_BOARD, "`kind = \"board\"`"),
            ];
            finish(section, problems, &elsewhere);
            FixtureKind::Firmware
        }
    };
    Some(Fixture { kind, sensors })
}

fn finish(section: Section<'_, '_>, problems: &mut Problems, elsewhere: &[(&[&str], &str)]) {
    let elsewhere: Vec<(&str, &str)> = elsewhere
        .iter()
        .flat_map(|(keys, kind)| keys.iter().map(|key| (*key, *kind)))
        .collect();
    section.finish(problems, &elsewhere);
}

fn virtual_fixture(
    section: &mut Section<'_, '_>,
    problems: &mut Problems,
) -> Option<VirtualFixture> {
    let one_wire = section.integer::<u8>(problems, "one-wire-pin", 0..=i64::from(PIN_MAX));
    let on_device = section.flag(problems, "sensors-on-device-supply");
    let given = section.has("relay-pins");
    let relay_pins = relay_pins(section, problems);
    let one_wire_pin = one_wire
        .as_ref()
        .map_or(DEFAULT_ONE_WIRE_PIN, |pin| pin.value);
    let relay_pins = if given {
        relay_pins?
    } else {
        DEFAULT_RELAY_PINS.map(|pin| (pin, 0..0)).to_vec()
    };
    let shared = relay_pins.iter().find(|(pin, _)| *pin == one_wire_pin);
    if let Some((pin, span)) = shared {
        let span = match &one_wire {
            Some(one_wire) => one_wire.span.clone(),
            None => span.clone(),
        };
        problems.push(
            Problem::new(
                format!("pin {pin} is the 1-Wire bus and a relay"),
                span,
                "a pin can be wired once",
            )
            .help("give the bus or the relay another pin"),
        );
    }
    Some(VirtualFixture {
        one_wire_pin,
        relay_pins: relay_pins.into_iter().map(|(pin, _)| pin).collect(),
        sensors_on_device_supply: on_device.unwrap_or(false),
    })
}

fn relay_pins(
    section: &mut Section<'_, '_>,
    problems: &mut Problems,
) -> Option<Vec<(u8, Range<usize>)>> {
    let array = section.array(problems, "relay-pins")?;
    if array.value.len() > RELAYS_MAX {
        problems.push(
            Problem::new(
                format!("`relay-pins` has {} pins", array.value.len()),
                array.span,
                format!("a device has at most {RELAYS_MAX} relays"),
            )
            .help("leave the last ones out"),
        );
        return None;
    }
    let mut pins: Vec<(u8, Range<usize>)> = vec![];
    for element in array.value {
        let pin = match &element.value {
            DeValue::Integer(number) => u8::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let Some(pin) = pin.filter(|pin| *pin <= PIN_MAX) else {
            problems.push(
                Problem::new("this is no pin of the chip", element.span, "not a pin")
                    .help(format!("write a GPIO number, 0 to {PIN_MAX}")),
            );
            continue;
        };
        if pins.iter().any(|(other, _)| *other == pin) {
            problems.push(
                Problem::new(
                    format!("pin {pin} is two relays"),
                    element.span,
                    "a pin can be wired once",
                )
                .help("give one of them another pin"),
            );
            continue;
        }
        pins.push((pin, element.span));
    }
    Some(pins)
}

fn board(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<FixtureBoard> {
    let switches_power = section.flag(problems, "switches-power").unwrap_or(false);
    let on_device = section.placed_flag(problems, "sensors-on-device-supply");
    if let (false, Some(Placed { value: true, span })) = (switches_power, &on_device) {
        problems.push(
            Problem::new(
                "the board does not know when the device has no power",
                span.clone(),
                "so its sensors can't lose theirs with it",
            )
            .help("write `switches-power = true`, if the board's switch is in the device's supply"),
        );
    }
    let usb = section.text(problems, "usb");
    let port = match usb {
        Some(text) => {
            if section.has("port") {
                problems.push(
                    Problem::new("the board has both a `port` and a `usb`", text.span, "this")
                        .help("keep the one that names the board for sure"),
                );
                section.text(problems, "port");
                return None;
            }
            section.text(problems, "port");
            selector(text, problems).map(BoardPort::Usb)
        }
        None => section
            .needed_text(problems, "port", "/dev/ttyACM0")
            .map(|text| BoardPort::Path(text.value.into())),
    };
    Some(FixtureBoard {
        port: port?,
        switches_power,
        // As real ones would be wired.
        sensors_on_device_supply: on_device.map_or(switches_power, |flag| flag.value),
    })
}
