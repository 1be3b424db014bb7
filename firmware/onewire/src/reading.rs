//! Reading one sensor so that the outcome can be believed: retries where they may help, and a second
//! look at +85 degrees, which every sensor says after power-on and some also measure.
//!
//! **The second look.** The sensor is told a TH that is not the one it has, measures once more, alone,
//! and is read again:
//!
//! - It answered zeros after the command, so the conversion began; and TH is the one it was told, so it
//!   has not lost its supply since (that would have brought back the EEPROM's). Then whatever it says,
//!   it measured: also +85.0.
//! - Otherwise +85.0 is the power-on value once more, and the outcome is [`Outcome::PowerOn`].
//!
//! This trusts no reserved byte, so it is right for every maker whose power-on value is +85 degrees (not
//! for copies that say +25 then, as some do). It costs a scan 0.75 s and
//! 43 ms a sensor, and is rare: at power-on, for sensors plugged in during a conversion, and at +85.0
//! itself for makers whose byte 6 says nothing. It also serves a sensor that was not waited for long
//! enough, because it lost its supply and with it the resolution it had been given.

use embedded_hal_async::delay::DelayNs;

use crate::{
    Bus, BusError, Line, Outcome, Registers, Resolution, Rom, Scratchpad, Settings, Statistics,
    sensor, statistics::count,
};

/// Reads a sensor's scratchpad, again while that may help.
///
/// # Errors
/// The outcome, when none could be read.
pub(crate) async fn read<L: Line, D: DelayNs>(
    bus: &mut Bus<L, D>,
    rom: Rom,
    was_gone: bool,
    settings: &Settings,
    statistics: &mut Statistics,
) -> Result<Scratchpad, Outcome> {
    let mut attempt = 1;
    loop {
        let outcome = match sensor::read_scratchpad(bus, rom).await {
            Ok(bytes) => match Scratchpad::parse(bytes) {
                Ok(scratchpad) => return Ok(scratchpad),
                Err(unreadable) => unreadable.into(),
            },
            Err(error) => Outcome::from(error),
        };
        if outcome == Outcome::Crc {
            count(&mut statistics.crc_errors);
        }
        let in_vain = match outcome {
            Outcome::Absent => was_gone,
            // Every pulse on such a bus costs the line's patience.
            Outcome::Bus(BusError::StuckLow) => true,
            _ => false,
        };
        if in_vain || attempt >= settings.attempts {
            return Err(outcome);
        }
        attempt += 1;
        count(&mut statistics.retries);
    }
}

/// A sensor that has to measure once more before it is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    /// What it said; after a power-on, what its EEPROM holds.
    registers: Registers,
    /// Whether it was seen to begin the conversion.
    began: bool,
}

impl Doubt {
    pub(crate) fn new(registers: Registers) -> Self {
        Self {
            registers,
            began: false,
        }
    }

    /// Marks the sensor and starts its conversion.
    pub(crate) async fn measure<L: Line, D: DelayNs>(
        &mut self,
        bus: &mut Bus<L, D>,
        rom: Rom,
        resolution: Resolution,
    ) {
        let marked = Registers {
            high: self.mark(),
            resolution,
            ..self.registers
        };
        self.began = sensor::write_scratchpad(bus, rom, marked).await.is_ok()
            && sensor::convert(bus, rom).await == Ok(true);
    }

    /// The outcome, once the conversion has had its time; takes the mark away.
    pub(crate) async fn settle<L: Line, D: DelayNs>(
        self,
        bus: &mut Bus<L, D>,
        rom: Rom,
        settings: &Settings,
        statistics: &mut Statistics,
    ) -> Outcome {
        let outcome = match read(bus, rom, false, settings, statistics).await {
            Ok(scratchpad) => {
                let measured = self.began && scratchpad.registers().high == self.mark();
                if scratchpad.is_doubtful() && !measured {
                    Outcome::PowerOn
                } else {
                    Outcome::of(&scratchpad)
                }
            }
            Err(outcome) => outcome,
        };
        let registers = Registers {
            resolution: settings.resolution,
            ..self.registers
        };
        // A mark that stays does no harm: the controller has alarms of its own.
        let _ = sensor::write_scratchpad(bus, rom, registers).await;
        outcome
    }

    fn mark(&self) -> u8 {
        !self.registers.high
    }
}
