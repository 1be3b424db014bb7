//! The golden frames of `fixtures/data/onewire`, which the simulated sensors are held to as well.

mod common;

use std::{fs, path::Path};

use common::{bytes, now};
use embedded_hal_async::delay::DelayNs;
use firmware_onewire::{
    Bus, Line, LineError, RESET_BAUD, Registers, Resolution, Rom, Scratchpad, Unreadable, crc8,
    search::{SearchEnd, search},
    sensor,
};
use serde::Deserialize;

fn golden<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/data/onewire")
        .join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rom(text: &str) -> Rom {
    Rom::new(bytes(text).try_into().expect("eight bytes")).expect("CRC fits")
}

#[derive(Deserialize)]
struct Crc8 {
    example: Vec<Crc8Example>,
}

#[derive(Deserialize)]
struct Crc8Example {
    name: String,
    bytes: String,
    crc: String,
}

#[test]
fn crc8_is_that_of_the_examples() {
    let Crc8 { example } = golden("crc8.toml");
    assert!(example.len() >= 9);
    for Crc8Example {
        name,
        bytes: text,
        crc,
    } in example
    {
        assert_eq!([crc8(&bytes(&text))], *bytes(&crc), "{name}");
    }
}

#[derive(Deserialize)]
struct Scratchpads {
    scratchpad: Vec<ScratchpadExample>,
}

#[derive(Deserialize)]
struct ScratchpadExample {
    name: String,
    bytes: String,
    means: String,
    resolution_bits: Option<u8>,
    sixteenths: Option<i16>,
    tenths: Option<i16>,
}

#[test]
fn scratchpads_mean_what_the_examples_say() {
    let Scratchpads { scratchpad } = golden("scratchpads.toml");
    assert!(scratchpad.len() >= 33);
    for example in scratchpad {
        let name = &example.name;
        let parsed = Scratchpad::parse(bytes(&example.bytes).try_into().expect("nine bytes"));
        let means = match &parsed {
            Ok(scratchpad) if scratchpad.is_doubtful() => "doubtful",
            Ok(scratchpad) if !scratchpad.temperature().is_in_range() => "out-of-range",
            Ok(_) => "temperature",
            Err(Unreadable::Crc) => "crc-error",
            Err(Unreadable::AllZero) => "all-zero",
            Err(Unreadable::Silent) => "silent",
        };
        assert_eq!(means, example.means, "{name}");
        let parsed = parsed.ok();
        let temperature = parsed.map(|scratchpad| scratchpad.temperature());
        assert_eq!(
            temperature.map(|t| t.sixteenths()),
            example.sixteenths,
            "{name}"
        );
        assert_eq!(
            parsed.map(|scratchpad| scratchpad.registers().resolution.bits()),
            example.resolution_bits,
            "{name}"
        );
        if let Some(tenths) = example.tenths {
            assert_eq!(temperature.map(|t| t.tenths()), Some(tenths), "{name}");
        }
    }
}

#[derive(Deserialize)]
struct Trace {
    pass: Vec<Pass>,
}

#[derive(Deserialize)]
struct Pass {
    rom: String,
    bits: String,
}

#[test]
fn a_search_of_three_devices_goes_bit_by_bit_as_traced() {
    let Trace { pass } = golden("search.toml");
    let mut script = Script::default();
    for Pass { bits, .. } in &pass {
        script.present();
        script.writes(&[0xF0]);
        for step in bits.split_whitespace() {
            let [bit, complement, branch] = *step.as_bytes() else {
                panic!("`{step}` is no step of a search");
            };
            script.slots.push(Slot::Read(bit == b'1'));
            script.slots.push(Slot::Read(complement == b'1'));
            script.slots.push(Slot::Write(branch == b'1'));
        }
    }
    let mut bus = Bus::new(script, Never);
    let search = now(search::<_, _, 3>(&mut bus, Some(Rom::DS18B20), 1));
    let expected: Vec<_> = pass.iter().map(|pass| rom(&pass.rom)).collect();
    assert_eq!(&search.found[..], expected);
    assert_eq!(search.end, SearchEnd::Complete);
    bus.into_parts().0.finish();
}

#[derive(Deserialize)]
struct Conversations {
    conversation: Vec<Conversation>,
}

#[derive(Deserialize)]
struct Conversation {
    name: String,
    rom: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Reset(String),
    Write(String),
    Read(String),
    WaitMs(#[expect(dead_code)] u32),
    Power(#[expect(dead_code)] String),
}

/// The master's side of a conversation: its commands, given what they are to send, must send just that.
#[test]
fn commands_are_sent_as_in_the_conversations() {
    let Conversations { conversation } = golden("conversations.toml");
    let mut commands = 0;
    for Conversation { name, rom, steps } in conversation {
        let own = self::rom(&rom);
        // Cut at the reset pulses: each piece is one command of the master.
        let pieces = steps
            .split(|step| matches!(step, Step::Reset(_)))
            .skip(1)
            .map(|piece| {
                let mut script = Script::default();
                script.present();
                let mut written = Vec::new();
                let mut read = Vec::new();
                for step in piece {
                    match step {
                        Step::Write(text) => {
                            written.extend(bytes(text));
                            script.writes(&bytes(text));
                        }
                        Step::Read(text) if read.is_empty() => {
                            read.extend(bytes(text));
                            script.reads(&bytes(text));
                        }
                        // The master waits for the time of a conversion, and does not ask again.
                        Step::Read(text) => assert_eq!(bytes(text), [0xFF], "{name}"),
                        Step::Reset(presence) => assert_eq!(presence, "present", "{name}"),
                        Step::WaitMs(_) | Step::Power(_) => {}
                    }
                }
                (script, written, read)
            });
        for (script, written, read) in pieces {
            let mut bus = Bus::new(script, Never);
            let result = match (&written[..], &read[..]) {
                ([0xCC, 0x44], []) => now(sensor::convert_all(&mut bus)),
                ([0x55, .., 0x44], []) => now(async {
                    bus.reset().await?;
                    bus.write(&written).await
                }),
                ([0x55, .., 0x44], [busy]) => {
                    now(sensor::convert(&mut bus, own)).map(|began| assert_eq!(began, *busy == 0))
                }
                ([0x55, code @ .., 0xBE], read) => {
                    let rom = Rom::new(code.try_into().expect("a ROM code")).expect("CRC fits");
                    now(sensor::read_scratchpad(&mut bus, rom)).map(|got| assert_eq!(got, *read))
                }
                ([0xCC, 0xBE], read) => now(async {
                    bus.reset().await?;
                    let mut got = [0; 9];
                    bus.transfer(&written, &mut got).await?;
                    assert_eq!(got, *read);
                    Ok(())
                }),
                ([0x55, .., 0x4E, high, low, configuration], []) => {
                    let registers = Registers {
                        high: *high,
                        low: *low,
                        resolution: match configuration {
                            0x1F => Resolution::Bits9,
                            0x7F => Resolution::Bits12,
                            other => panic!("{name}: configuration {other:02X}"),
                        },
                    };
                    now(sensor::write_scratchpad(&mut bus, own, registers))
                }
                other => panic!("{name}: no command of the master sends {other:02X?}"),
            };
            assert_eq!(result, Ok(()), "{name}");
            bus.into_parts().0.finish();
            commands += 1;
        }
    }
    assert!(commands >= 11, "only {commands} commands were played");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Present,
    Write(bool),
    Read(bool),
}

/// A bus on which nothing fails never waits.
struct Never;

impl DelayNs for Never {
    async fn delay_ns(&mut self, ns: u32) {
        panic!("waited for {ns} ns");
    }
}

/// A line on which everything is foretold.
#[derive(Default)]
struct Script {
    slots: Vec<Slot>,
    played: usize,
    baud: u32,
}

impl Script {
    fn present(&mut self) {
        self.slots.push(Slot::Present);
    }

    fn writes(&mut self, bytes: &[u8]) {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |i| byte >> i & 1));
        self.slots.extend(bits.map(|bit| Slot::Write(bit != 0)));
    }

    fn reads(&mut self, bytes: &[u8]) {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |i| byte >> i & 1));
        self.slots.extend(bits.map(|bit| Slot::Read(bit != 0)));
    }

    fn finish(self) {
        assert_eq!(
            self.played,
            self.slots.len(),
            "the script has more than was played"
        );
    }
}

impl Line for Script {
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError> {
        self.baud = baud;
        Ok(())
    }

    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError> {
        for character in characters {
            let foretold = self.slots.get(self.played).copied();
            *character = match (foretold, self.baud == RESET_BAUD, *character) {
                (Some(Slot::Present), true, 0xF0) => 0xE0,
                (Some(Slot::Write(true)), false, 0xFF) => 0xFF,
                (Some(Slot::Write(false)), false, 0x00) => 0x00,
                (Some(Slot::Read(true)), false, 0xFF) => 0xFF,
                (Some(Slot::Read(false)), false, 0xFF) => 0xFC,
                (foretold, _, sent) => {
                    panic!("slot {}: sent {sent:02X}, not {foretold:?}", self.played)
                }
            };
            self.played += 1;
        }
        Ok(())
    }
}
