//! A bus of sensors to test against, slot by slot: written from the data sheet for these tests alone.
//!
//! Time is counted by characters and waits, so that tests can say how long a thing takes on the wire.
//! [`Wire`] is the world: sensors, time, noise. [`Uart`] and [`Pause`] are what the master is given.
#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    cell::RefCell,
    future::{Future, pending},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use embedded_hal_async::delay::DelayNs;
use firmware_onewire::{Bus, Line, LineError, RESET_BAUD, Rom, SLOT_BAUD, SLOTS_MAX, crc8};

/// Runs what never waits for anything: the stand-ins below are always ready.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match begin(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a stand-in waited"),
    }
}

/// Runs until something waits, then drops it.
pub(crate) fn begin<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A ROM code of this serial number, whose CRC fits.
pub(crate) fn rom(family: u8, serial: u64) -> Rom {
    let mut bytes = [0; 8];
    bytes[0] = family;
    bytes[1..7].copy_from_slice(&serial.to_le_bytes()[..6]);
    bytes[7] = crc8(&bytes[..7]);
    Rom::new(bytes).expect("CRC fits")
}

/// Hexadecimal bytes, as the golden files have them.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"))
        .collect()
}

/// What a sensor makes of the reserved byte 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Maxim's own: 10 less the low four bits, after a conversion.
    Kept,
    /// Others: 0C for ever.
    Constant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Deaf until the next reset.
    Idle,
    RomCommand {
        bits: u32,
        value: u8,
    },
    Match {
        bit: usize,
    },
    Search {
        bit: usize,
        phase: u8,
    },
    Function {
        bits: u32,
        value: u8,
    },
    Converting,
    Reading {
        bit: usize,
    },
    Writing {
        bit: usize,
        value: u8,
    },
}

/// A sensor on the bus.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    pub(crate) code: [u8; 8],
    /// What there is to measure, in sixteenths of a degree.
    pub(crate) sixteenths: i16,
    pub(crate) plugged: bool,
    pub(crate) count: Count,
    /// How long its conversions take, of what the data sheet allows.
    pub(crate) conversion_percent: u64,
    /// Converts nothing, whatever it is told.
    pub(crate) deaf: bool,
    /// A supply that does not last a conversion.
    pub(crate) weak: bool,
    /// This bit of the scratchpad is sent wrong, so many times.
    pub(crate) flip: Option<(usize, u32)>,
    /// From this bit on, the scratchpad is sent as zeros.
    pub(crate) shorts_at: Option<usize>,
    pub(crate) eeprom: [u8; 3],
    /// The configuration register can't be written.
    pub(crate) configuration_fixed: bool,
    /// Low bits that are undefined at this resolution: what they are.
    pub(crate) undefined: i16,
    registers: [u8; 3],
    temperature: i16,
    byte_6: u8,
    state: State,
    /// Until when it converts, and what it will say then.
    conversion: Option<(u64, i16)>,
}

impl Sensor {
    pub(crate) fn new(rom: Rom, sixteenths: i16) -> Self {
        let mut sensor = Self {
            code: rom.bytes(),
            sixteenths,
            plugged: true,
            count: Count::Kept,
            conversion_percent: 100,
            deaf: false,
            weak: false,
            flip: None,
            shorts_at: None,
            eeprom: [0x4B, 0x46, 0x7F],
            configuration_fixed: false,
            undefined: 0,
            registers: [0; 3],
            temperature: 0,
            byte_6: 0,
            state: State::Idle,
            conversion: None,
        };
        sensor.power_on();
        sensor
    }

    pub(crate) fn power_on(&mut self) {
        self.registers = self.eeprom;
        self.temperature = 0x0550;
        self.byte_6 = 0x0C;
        self.state = State::Idle;
        self.conversion = None;
    }

    /// TH, TL, configuration.
    pub(crate) fn registers(&self) -> [u8; 3] {
        self.registers
    }

    fn scratchpad(&self) -> [u8; 9] {
        let [low, high] = self.temperature.to_le_bytes();
        let [th, tl, configuration] = self.registers;
        let mut bytes = [low, high, th, tl, configuration, 0xFF, self.byte_6, 0x10, 0];
        bytes[8] = crc8(&bytes[..8]);
        bytes
    }

    fn undefined_bits(&self) -> u32 {
        3 - u32::from(self.registers[2] >> 5 & 3)
    }

    fn settle(&mut self, now_ns: u64) {
        if let Some((end_ns, sixteenths)) = self.conversion
            && end_ns <= now_ns
        {
            if self.weak {
                return self.power_on();
            }
            let undefined = self.undefined_bits();
            let low = self.undefined & ((1 << undefined) - 1);
            self.temperature = sixteenths >> undefined << undefined | low;
            if self.count == Count::Kept {
                self.byte_6 = 0x10 - (self.temperature & 0x0F) as u8;
            }
            self.conversion = None;
        }
    }

    /// The bit that this sensor lets the bus have, if the master lets it.
    fn drives(&self) -> bool {
        let of_code = |bit: usize| self.code[bit / 8] >> (bit % 8) & 1 != 0;
        match self.state {
            State::Search { bit, phase: 0 } => of_code(bit),
            State::Search { bit, phase: 1 } => !of_code(bit),
            State::Converting => self.conversion.is_none(),
            State::Reading { bit } if bit < 72 => {
                let sent = self.scratchpad()[bit / 8] >> (bit % 8) & 1 != 0;
                let flipped = matches!(self.flip, Some((at, times)) if at == bit && times > 0);
                let shorted = self.shorts_at.is_some_and(|from| bit >= from);
                (sent != flipped) && !shorted
            }
            _ => true,
        }
    }

    /// A slot has passed, in which the bus was `level`.
    fn advance(&mut self, level: bool, now_ns: u64) {
        let mine = |bit: usize| self.code[bit / 8] >> (bit % 8) & 1 != 0;
        let pushed = |value: u8, bits: u32| value | u8::from(level) << bits;
        self.state = match self.state {
            State::RomCommand { bits, value } if bits < 7 => State::RomCommand {
                bits: bits + 1,
                value: pushed(value, bits),
            },
            State::RomCommand { bits, value } => match pushed(value, bits) {
                0xF0 => State::Search { bit: 0, phase: 0 },
                0x55 => State::Match { bit: 0 },
                0xCC => State::Function { bits: 0, value: 0 },
                _ => State::Idle,
            },
            State::Match { bit } if mine(bit) != level => State::Idle,
            State::Match { bit: 63 } => State::Function { bits: 0, value: 0 },
            State::Match { bit } => State::Match { bit: bit + 1 },
            State::Search { bit, phase: 2 } if mine(bit) != level || bit == 63 => State::Idle,
            State::Search { bit, phase: 2 } => State::Search {
                bit: bit + 1,
                phase: 0,
            },
            State::Search { bit, phase } => State::Search {
                bit,
                phase: phase + 1,
            },
            State::Function { bits, value } if bits < 7 => State::Function {
                bits: bits + 1,
                value: pushed(value, bits),
            },
            State::Function { bits, value } => match pushed(value, bits) {
                0x44 if self.deaf => State::Idle,
                0x44 => {
                    let us = 750_000 >> self.undefined_bits();
                    let end_ns = now_ns + us * self.conversion_percent * 10;
                    self.conversion = Some((end_ns, self.sixteenths));
                    State::Converting
                }
                0xBE => State::Reading { bit: 0 },
                0x4E => State::Writing { bit: 0, value: 0 },
                _ => State::Idle,
            },
            State::Reading { bit } => {
                if let Some((at, times)) = &mut self.flip
                    && *at == bit
                {
                    *times = times.saturating_sub(1);
                }
                State::Reading { bit: bit + 1 }
            }
            State::Writing { bit, value } => {
                let value = pushed(value, bit as u32 % 8);
                if bit % 8 == 7 {
                    if bit < 23 || !self.configuration_fixed {
                        self.registers[bit / 8] = value;
                    }
                    if bit == 23 {
                        State::Idle
                    } else {
                        State::Writing {
                            bit: bit + 1,
                            value: 0,
                        }
                    }
                } else {
                    State::Writing {
                        bit: bit + 1,
                        value,
                    }
                }
            }
            state @ (State::Idle | State::Converting) => state,
        };
    }
}

/// What is done to a character on its way back, by its number since the beginning.
type Noise = Box<dyn FnMut(u64, u8) -> Result<u8, LineError>>;

/// What happens to the sensors before a character, by its number since the beginning.
type Event = Box<dyn FnMut(u64, &mut [Sensor])>;

/// The world behind the pin.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) now_ns: u64,
    pub(crate) sensors: Vec<Sensor>,
    pub(crate) noise: Option<Noise>,
    pub(crate) event: Option<Event>,
    /// After so many waits the next has no end, so that whoever waits can be dropped.
    pub(crate) waits_left: Option<u32>,
    /// Exchanges since the beginning.
    pub(crate) exchanges: u64,
    /// Characters since the beginning.
    pub(crate) characters: u64,
    baud: u32,
}

/// The world, as the test, the UART and the delay share it.
pub(crate) type Shared = Rc<RefCell<Wire>>;

/// A world with these sensors, and its bus.
pub(crate) fn world(sensors: Vec<Sensor>) -> (Shared, Bus<Uart, Pause>) {
    let wire = Rc::new(RefCell::new(Wire {
        sensors,
        ..Wire::default()
    }));
    (wire.clone(), Bus::new(Uart(wire.clone()), Pause(wire)))
}

impl Wire {
    fn character(&mut self, sent: u8) -> u8 {
        self.now_ns += 10 * 1_000_000_000 / u64::from(self.baud);
        let now_ns = self.now_ns;
        for sensor in &mut self.sensors {
            sensor.settle(now_ns);
        }
        let plugged = || self.sensors.iter().filter(|sensor| sensor.plugged);
        match (self.baud, sent) {
            (RESET_BAUD, 0xF0) => {
                let present = plugged().count() > 0;
                for sensor in &mut self.sensors {
                    sensor.state = State::RomCommand { bits: 0, value: 0 };
                }
                if present { 0xE0 } else { 0xF0 }
            }
            (SLOT_BAUD, 0x00 | 0xFF) => {
                let written = sent == 0xFF;
                let level = written && plugged().all(Sensor::drives);
                for sensor in &mut self.sensors {
                    sensor.advance(level, now_ns);
                }
                match (written, level) {
                    (false, _) => 0x00,
                    (true, true) => 0xFF,
                    (true, false) => 0xF8,
                }
            }
            (baud, sent) => panic!("{sent:02X} at {baud} baud is neither reset pulse nor slot"),
        }
    }
}

/// The master's end of the wire.
pub(crate) struct Uart(Shared);

impl Line for Uart {
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError> {
        self.0.borrow_mut().baud = baud;
        Ok(())
    }

    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError> {
        assert!((1..=SLOTS_MAX).contains(&characters.len()));
        let mut wire = self.0.borrow_mut();
        wire.exchanges += 1;
        for character in characters {
            let number = wire.characters;
            wire.characters += 1;
            if let Some(mut event) = wire.event.take() {
                event(number, &mut wire.sensors);
                wire.event = Some(event);
            }
            let echo = wire.character(*character);
            *character = match &mut wire.noise {
                Some(noise) => noise(number, echo)?,
                None => echo,
            };
        }
        Ok(())
    }
}

/// A clock without a world: what was waited for adds up, ns.
#[derive(Debug, Default)]
pub(crate) struct Waited(pub(crate) u64);

impl DelayNs for Waited {
    async fn delay_ns(&mut self, ns: u32) {
        self.0 += u64::from(ns);
    }
}

/// The master's clock: waiting is all it can.
pub(crate) struct Pause(Shared);

impl DelayNs for Pause {
    async fn delay_ns(&mut self, ns: u32) {
        let waits_left = self.0.borrow().waits_left;
        if waits_left == Some(0) {
            pending::<()>().await;
        }
        let mut wire = self.0.borrow_mut();
        wire.waits_left = waits_left.map(|left| left - 1);
        wire.now_ns += u64::from(ns);
    }
}
