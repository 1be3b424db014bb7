//! Sensors that exist in the firmware only, for a bench without any: with `test-hooks` alone.

use core::cell::RefCell;

use critical_section::Mutex;
use firmware_control::{Clock as _, Measurement, POINTS, Reading, Tenths};
use firmware_onewire::{Rom, crc8};
use firmware_wire::{Refusal, ScanSample, SimulatedReading};

use super::count;
use crate::{clock::DeviceClock, desk::Desk};

/// What all of them measure at first.
const AT_FIRST: SimulatedReading = SimulatedReading::Temperature {
    milli_celsius: 25_000,
};

struct Simulated {
    count: usize,
    readings: [SimulatedReading; POINTS],
}

static SIMULATED: Mutex<RefCell<Simulated>> = Mutex::new(RefCell::new(Simulated {
    count: 0,
    readings: [AT_FIRST; POINTS],
}));

/// Simulates `count` sensors from now on; with 0 those on the bus count again.
///
/// # Errors
/// [`Refusal::OutOfRange`] for more than there are points.
pub fn place(count: u8) -> Result<(), Refusal> {
    let count = usize::from(count);
    if count > POINTS {
        return Err(Refusal::OutOfRange);
    }
    critical_section::with(|cs| {
        *SIMULATED.borrow_ref_mut(cs) = Simulated {
            count,
            readings: [AT_FIRST; POINTS],
        };
    });
    super::start_over();
    Ok(())
}

/// Sets what one of them measures.
///
/// # Errors
/// [`Refusal::OutOfRange`] for one that is not simulated.
pub fn set(sensor: u8, measures: SimulatedReading) -> Result<(), Refusal> {
    critical_section::with(|cs| {
        let mut simulated = SIMULATED.borrow_ref_mut(cs);
        let count = simulated.count;
        let reading = simulated.readings[..count]
            .get_mut(usize::from(sensor))
            .ok_or(Refusal::OutOfRange)?;
        *reading = measures;
        Ok(())
    })
}

/// One scan of them; none when none are simulated.
pub(super) fn scan(desk: &Desk) -> Option<ScanSample> {
    let (count_of, readings) = critical_section::with(|cs| {
        let simulated = SIMULATED.borrow_ref(cs);
        (simulated.count, simulated.readings)
    });
    if count_of == 0 {
        return None;
    }
    let mut sample = ScanSample {
        simulated: true,
        ..ScanSample::default()
    };
    desk.with(|controller| {
        let now = DeviceClock.now();
        for (id, simulated) in readings[..count_of].iter().enumerate() {
            let reading = reading(*simulated);
            sample.crc_errors += u16::from(*simulated == SimulatedReading::CrcError);
            count(&mut sample, reading);
            let sensor_id = sensor_id(id as u8);
            controller.measured(now, id, Some(Measurement { sensor_id, reading }));
        }
    });
    Some(sample)
}

/// The code of a sensor: as the bench gives them to the sensors of a fixture board, so that scenarios
/// know a sensor by its code on every rig.
fn sensor_id(sensor: u8) -> u64 {
    let mut code = [Rom::DS18B20, 0xFF, sensor + 1, 0, 0, 0, 0, 0];
    code[7] = crc8(&code[..7]);
    u64::from_be_bytes(code)
}

/// What a DS18B20 and the code that reads it would make of it.
fn reading(simulated: SimulatedReading) -> Reading {
    match simulated {
        SimulatedReading::Temperature { milli_celsius } => {
            // A sensor's register has sixteenths; beyond -55 to +125 it measures nothing.
            let sixteenths = (milli_celsius * 2).div_euclid(125);
            if !(-55 * 16..=125 * 16).contains(&sixteenths) {
                return Reading::Error;
            }
            let tenths = (sixteenths * 10 + 8).div_euclid(16);
            i16::try_from(tenths)
                .ok()
                .and_then(Tenths::new)
                .map_or(Reading::Error, Reading::Temperature)
        }
        SimulatedReading::Absent => Reading::Disconnected,
        SimulatedReading::CrcError
        | SimulatedReading::PowerOnValue
        | SimulatedReading::ZeroScratchpad => Reading::Error,
    }
}
