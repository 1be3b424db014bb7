//! Scans of a bus of simulated sensors: each outcome, and that none of them stops the others.

mod common;

use common::{Count, Pause, Sensor, Shared, Uart, begin, now, rom, world};
use firmware_onewire::{
    Bus, BusError, LineError, Outcome, Resolution, Rom, ScanReport, Scanner, Settings, Temperature,
    search::SearchEnd,
};

/// A scanner and its world.
struct Plant {
    wire: Shared,
    bus: Bus<Uart, Pause>,
    scanner: Scanner<60>,
}

impl Plant {
    fn new(sensors: Vec<Sensor>) -> Self {
        Self::with(Settings::default(), sensors)
    }

    fn with(settings: Settings, sensors: Vec<Sensor>) -> Self {
        let (wire, bus) = world(sensors);
        Self {
            wire,
            bus,
            scanner: Scanner::new(settings),
        }
    }

    /// Sensors of serial numbers 0, 1, ... at 20, 21, ... degrees; their points are their numbers.
    fn of(count: i16) -> Self {
        Self::new((0..count).map(|n| sensor(n, (20 + n) * 16)).collect())
    }

    fn scan(&mut self) -> ScanReport {
        now(self.scanner.scan(&mut self.bus))
    }

    fn outcomes(&self) -> Vec<(usize, Outcome)> {
        self.scanner
            .points()
            .map(|(point, known)| (point, known.outcome.expect("scanned")))
            .collect()
    }

    /// Scans, and checks that all points but `point` have their temperatures, and it has `expected`.
    fn check_scan(&mut self, point: usize, expected: Outcome) {
        let report = self.scan();
        assert_eq!(report.conversion, Ok(()));
        self.check(point, expected);
    }

    fn check(&self, point: usize, expected: Outcome) {
        for (at, outcome) in self.outcomes() {
            let own = self.sensor(at, |sensor| sensor.sixteenths);
            assert_eq!(
                outcome,
                if at == point { expected } else { degrees(own) },
                "point {at}"
            );
        }
    }

    fn sensor<T>(&self, index: usize, use_it: impl FnOnce(&mut Sensor) -> T) -> T {
        use_it(&mut self.wire.borrow_mut().sensors[index])
    }

    fn now_us(&self) -> u64 {
        self.wire.borrow().now_ns / 1_000
    }
}

fn sensor(serial: i16, sixteenths: i16) -> Sensor {
    Sensor::new(ours(serial), sixteenths)
}

fn ours(serial: i16) -> Rom {
    // The serial number's first byte comes first in the order of ROM codes.
    rom(0x28, serial as u64)
}

fn degrees(sixteenths: i16) -> Outcome {
    Outcome::Temperature(Temperature::from_sixteenths(sixteenths))
}

const AT_85: Outcome = Outcome::Temperature(Temperature::POWER_ON);

#[test]
fn sixty_sensors_have_their_points_and_temperatures() {
    let mut plant = Plant::of(60);
    let report = plant.scan();
    assert_eq!(report.search, Some(SearchEnd::Complete));
    assert_eq!((report.newcomers, report.unplaced), (60, 0));
    let expected: Vec<_> = (0..60)
        .map(|n| (n, degrees((20 + n as i16) * 16)))
        .collect();
    assert_eq!(plant.outcomes(), expected);
    let roms: Vec<_> = plant.scanner.points().map(|(_, point)| point.rom).collect();
    assert!(roms.is_sorted());
}

#[test]
fn a_scan_of_60_takes_1_6_s_on_the_wire() {
    let mut plant = Plant::of(60);
    plant.scan();
    let (began, characters) = (plant.now_us(), plant.wire.borrow().characters);
    plant.scan();
    assert_eq!((plant.now_us() - began) / 1_000, 1_607);
    // 152 slots each and 24 for the conversion, and 61 reset pulses.
    assert_eq!(
        plant.wire.borrow().characters - characters,
        60 * 152 + 24 + 61
    );
}

#[test]
fn a_scan_of_60_at_9_bits_takes_1_0_s_on_the_wire() {
    let settings = Settings {
        resolution: Resolution::Bits9,
        ..Settings::default()
    };
    let mut plant = Plant::with(
        settings,
        (0..60).map(|n| sensor(n, (20 + n) * 16)).collect(),
    );
    // In the first the sensors are told, in the second they say so.
    plant.scan();
    plant.scan();
    let began = plant.now_us();
    plant.scan();
    assert_eq!((plant.now_us() - began) / 1_000, 951);
    plant.check(usize::MAX, Outcome::Absent);
}

#[test]
fn a_sensor_that_is_unplugged_keeps_its_point_and_comes_back_on_it() {
    let mut plant = Plant::of(5);
    plant.scan();
    plant.sensor(2, |sensor| sensor.plugged = false);
    plant.check_scan(2, Outcome::Absent);
    plant.check_scan(2, Outcome::Absent);
    plant.sensor(2, |sensor| {
        sensor.plugged = true;
        sensor.power_on();
        sensor.sixteenths = -160;
    });
    plant.check_scan(2, degrees(-160));
}

#[test]
fn a_sensor_that_is_gone_is_asked_once_a_scan() {
    let mut plant = Plant::of(2);
    plant.scan();
    plant.sensor(1, |sensor| sensor.plugged = false);
    plant.scan();
    assert_eq!(plant.scanner.statistics().retries, 2);
    plant.scan();
    assert_eq!(plant.scanner.statistics().retries, 2);
    assert_eq!(plant.scanner.statistics().absences, 2);
}

#[test]
fn an_empty_bus_makes_all_absent_and_is_searched_again() {
    let mut plant = Plant::of(3);
    plant.scan();
    for n in 0..3 {
        plant.sensor(n, |sensor| sensor.plugged = false);
    }
    assert_eq!(plant.scan().conversion, Err(BusError::Absent));
    assert_eq!(
        plant.outcomes(),
        [0, 1, 2].map(|point| (point, Outcome::Absent))
    );

    let mut plant = Plant::of(0);
    assert_eq!(plant.scan().search, Some(SearchEnd::Bus(BusError::Absent)));
    plant.wire.borrow_mut().sensors.push(sensor(7, 320));
    assert_eq!(plant.scan().newcomers, 1);
    assert_eq!(plant.outcomes(), [(0, degrees(320))]);
}

#[test]
fn a_crc_error_now_and_then_costs_a_retry() {
    let mut plant = Plant::of(3);
    plant.scan();
    for bit in 0..72 {
        plant.sensor(1, |sensor| sensor.flip = Some((bit, 2)));
        plant.check_scan(1, degrees(21 * 16));
    }
    assert_eq!(plant.scanner.statistics().crc_errors, 2 * 72);
    assert_eq!(plant.scanner.statistics().retries, 2 * 72);
}

#[test]
fn crc_errors_that_do_not_end_are_an_outcome() {
    let mut plant = Plant::of(3);
    plant.scan();
    plant.sensor(1, |sensor| sensor.flip = Some((5, u32::MAX)));
    plant.check_scan(1, Outcome::Crc);
    assert_eq!(plant.scanner.statistics().crc_errors, 3);
    plant.sensor(1, |sensor| sensor.flip = None);
    plant.check_scan(1, degrees(21 * 16));
}

#[test]
fn a_scratchpad_of_zeros_is_not_0_degrees() {
    let mut plant = Plant::of(3);
    plant.scan();
    plant.sensor(1, |sensor| sensor.shorts_at = Some(0));
    plant.check_scan(1, Outcome::AllZero);
    plant.sensor(1, |sensor| sensor.shorts_at = Some(9));
    plant.check_scan(1, Outcome::Crc);
}

#[test]
fn what_no_sensor_measures_is_out_of_range() {
    let mut plant = Plant::of(3);
    for (sixteenths, in_range) in [
        (125 * 16, true),
        (125 * 16 + 1, false),
        (0x07FF, false),
        (-55 * 16, true),
        (-55 * 16 - 1, false),
    ] {
        plant.sensor(1, |sensor| sensor.sixteenths = sixteenths);
        let expected = if in_range {
            degrees(sixteenths)
        } else {
            Outcome::OutOfRange(Temperature::from_sixteenths(sixteenths))
        };
        plant.check_scan(1, expected);
    }
}

#[test]
fn a_measured_85_degrees_is_a_temperature() {
    let mut plant = Plant::of(3);
    plant.sensor(1, |sensor| sensor.sixteenths = 85 * 16);
    plant.check_scan(1, AT_85);
    assert_eq!(plant.scanner.statistics().second_looks, 0);
}

#[test]
fn a_measured_85_degrees_is_a_temperature_for_makers_whose_byte_6_says_nothing() {
    let mut plant = Plant::of(3);
    plant.sensor(1, |sensor| {
        sensor.count = Count::Constant;
        sensor.sixteenths = 85 * 16;
    });
    plant.check_scan(1, AT_85);
    assert_eq!(plant.scanner.statistics().second_looks, 1);
    // The mark is taken away.
    assert_eq!(
        plant.sensor(1, |sensor| sensor.registers()),
        [0x4B, 0x46, 0x7F]
    );
}

#[test]
fn a_sensor_that_loses_its_supply_in_each_conversion_says_power_on() {
    for count in [Count::Kept, Count::Constant] {
        let mut plant = Plant::of(3);
        plant.sensor(1, |sensor| {
            sensor.weak = true;
            sensor.count = count;
        });
        plant.check_scan(1, Outcome::PowerOn);
        plant.check_scan(1, Outcome::PowerOn);
        plant.sensor(1, |sensor| sensor.weak = false);
        plant.check_scan(1, degrees(21 * 16));
    }
}

#[test]
fn a_sensor_that_never_begins_a_conversion_says_power_on() {
    let mut plant = Plant::of(3);
    plant.sensor(1, |sensor| sensor.deaf = true);
    plant.check_scan(1, Outcome::PowerOn);
}

#[test]
fn a_sensor_that_came_during_the_conversion_is_measured_in_the_same_scan() {
    let mut plant = Plant::of(3);
    plant.scan();
    plant.sensor(1, |sensor| sensor.plugged = false);
    plant.scan();
    // Back between the conversion (25 characters) and the first reading.
    let back = plant.wire.borrow().characters + 25;
    plant.wire.borrow_mut().event = Some(Box::new(move |number, sensors| {
        if number == back {
            sensors[1].power_on();
            sensors[1].plugged = true;
        }
    }));
    plant.check_scan(1, degrees(21 * 16));
    assert_eq!(plant.scanner.statistics().power_ons, 0);
}

#[test]
fn sensors_are_given_their_resolution_and_again_when_they_forgot_it() {
    let settings = Settings {
        resolution: Resolution::Bits9,
        ..Settings::default()
    };
    let mut plant = Plant::with(
        settings,
        (0..3)
            .map(|n| {
                let mut sensor = sensor(n, (20 + n) * 16 + 7);
                sensor.undefined = 5;
                sensor
            })
            .collect(),
    );
    let at_9_bits = || (0..3).map(|n| (n as usize, degrees((20 + n) * 16)));
    plant.scan();
    plant.scan();
    plant.scan();
    assert!(plant.outcomes().into_iter().eq(at_9_bits()));
    assert_eq!(
        plant.sensor(0, |sensor| sensor.registers()),
        [0x4B, 0x46, 0x1F]
    );
    // It lost its supply: at 12 bits again, for which this scan does not wait long enough.
    plant.sensor(1, Sensor::power_on);
    plant.scan();
    assert!(plant.outcomes().into_iter().eq(at_9_bits()));
    assert_eq!(
        plant.sensor(1, |sensor| sensor.registers()),
        [0x4B, 0x46, 0x1F]
    );
    assert_eq!(plant.scanner.statistics().second_looks, 1);
}

#[test]
fn a_sensor_that_forgot_its_resolution_is_not_read_before_it_has_measured() {
    let settings = Settings {
        resolution: Resolution::Bits9,
        ..Settings::default()
    };
    let mut plant = Plant::with(settings, vec![sensor(0, 320), sensor(1, 336)]);
    plant.scan();
    plant.scan();
    // It measures once at 12 bits, which nobody sees.
    plant.sensor(1, Sensor::power_on);
    let from = plant.wire.borrow().characters + 17;
    plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
        if number < from {
            Ok(echo)
        } else {
            Err(LineError::Framing)
        }
    }));
    plant.scan();
    plant.wire.borrow_mut().noise = None;
    plant.wire.borrow_mut().now_ns += 1_000_000_000;
    plant.sensor(1, |sensor| sensor.sixteenths = 352);
    plant.scan();
    assert_eq!(plant.outcomes(), [(0, degrees(320)), (1, degrees(352))]);
}

#[test]
fn a_sensor_that_can_not_be_given_a_resolution_is_waited_for() {
    let settings = Settings {
        resolution: Resolution::Bits9,
        ..Settings::default()
    };
    let mut plant = Plant::with(settings, vec![sensor(0, 320), sensor(1, 0x157)]);
    plant.sensor(1, |sensor| sensor.configuration_fixed = true);
    for sixteenths in [0x157, 0x0A3, -0x0A3] {
        plant.sensor(1, |sensor| sensor.sixteenths = sixteenths);
        plant.scan();
        assert_eq!(
            plant.outcomes(),
            [(0, degrees(320)), (1, degrees(sixteenths))]
        );
    }
}

#[test]
fn a_bus_held_low_is_everybodys_outcome_until_it_is_free() {
    let mut plant = Plant::of(3);
    plant.scan();
    let held = Outcome::Bus(BusError::StuckLow);
    plant.wire.borrow_mut().noise = Some(Box::new(|_, _| Err(LineError::Silent)));
    let before = plant.wire.borrow().exchanges;
    assert_eq!(plant.scan().conversion, Err(BusError::StuckLow));
    assert_eq!(plant.outcomes(), [0, 1, 2].map(|point| (point, held)));
    // The line's patience is tried once.
    assert_eq!(plant.wire.borrow().exchanges - before, 1);
    plant.wire.borrow_mut().noise = None;
    plant.check_scan(usize::MAX, held);
}

#[test]
fn a_bus_held_low_after_the_conversion_is_tried_once_a_sensor() {
    let mut plant = Plant::of(3);
    plant.scan();
    let from = plant.wire.borrow().characters + 25;
    plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
        if number < from {
            Ok(echo)
        } else {
            Err(LineError::Silent)
        }
    }));
    let before = plant.wire.borrow().exchanges;
    assert_eq!(plant.scan().conversion, Ok(()));
    let held = Outcome::Bus(BusError::StuckLow);
    assert_eq!(plant.outcomes(), [0, 1, 2].map(|point| (point, held)));
    assert_eq!(plant.wire.borrow().exchanges - before, 3 + 3);
}

#[test]
fn a_scan_dropped_in_its_second_look_leaves_no_mark() {
    let mut plant = Plant::of(3);
    plant.scan();
    plant.sensor(1, |sensor| {
        sensor.count = Count::Constant;
        sensor.power_on();
        sensor.sixteenths = 85 * 16;
    });
    plant.wire.borrow_mut().waits_left = Some(1);
    assert!(begin(plant.scanner.scan(&mut plant.bus)).is_pending());
    let marked = [!0x4B, 0x46, 0x7F];
    assert_eq!(plant.sensor(1, |sensor| sensor.registers()), marked);
    plant.wire.borrow_mut().waits_left = None;
    plant.sensor(1, |sensor| sensor.sixteenths = 336);
    plant.check_scan(1, degrees(336));
    let as_before = [0x4B, 0x46, 0x7F];
    assert_eq!(plant.sensor(1, |sensor| sensor.registers()), as_before);
}

#[test]
fn a_bus_that_is_shorted_while_one_is_read_stops_nobody_else() {
    let mut plant = Plant::of(3);
    plant.scan();
    // Reset, conversion, and the first sensor's reset and Match ROM; then as long as three attempts of
    // the second, whose reset pulses are swallowed.
    let from = plant.wire.borrow().characters + 25 + 153;
    plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
        match (from..from + 3).contains(&number) {
            true => Err(LineError::Framing),
            false => Ok(echo),
        }
    }));
    plant.check_scan(1, Outcome::Bus(BusError::Shorted));
}

#[test]
fn a_glitch_in_the_conversion_is_tried_again() {
    let mut plant = Plant::of(3);
    plant.scan();
    for glitch in 0..17 {
        let at = plant.wire.borrow().characters + glitch;
        plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if number == at { echo ^ 0x81 } else { echo })
        }));
        plant.sensor(1, |sensor| sensor.sixteenths += 1);
        let expected = plant.sensor(1, |sensor| degrees(sensor.sixteenths));
        plant.check_scan(1, expected);
    }
    assert_eq!(plant.scanner.statistics().failed_conversions, 0);
}

#[test]
fn a_conversion_that_takes_longer_than_it_may_gives_no_old_temperature() {
    let mut plant = Plant::of(3);
    plant.sensor(1, |sensor| sensor.conversion_percent = 150);
    for sixteenths in [0x157, 0x0A3] {
        plant.sensor(1, |sensor| sensor.sixteenths = sixteenths);
        plant.check_scan(1, degrees(sixteenths));
    }
}

#[test]
fn a_conversion_that_can_not_be_started_gives_no_old_temperatures() {
    let mut plant = Plant::of(2);
    plant.scan();
    plant.wire.borrow_mut().noise = Some(Box::new(|_, echo| {
        Ok(if echo == 0x00 { 0x10 } else { echo })
    }));
    assert_eq!(plant.scan().conversion, Err(BusError::Garbled));
    let garbled = Outcome::Bus(BusError::Garbled);
    assert_eq!(plant.outcomes(), [(0, garbled), (1, garbled)]);
    assert_eq!(plant.scanner.statistics().failed_conversions, 1);
}

#[test]
fn newcomers_take_free_points_at_the_next_search() {
    let settings = Settings {
        search_every: 3,
        ..Settings::default()
    };
    let mut plant = Plant::with(settings, vec![sensor(5, 320), sensor(3, 336)]);
    let points = |plant: &Plant| -> Vec<_> {
        plant
            .scanner
            .points()
            .map(|(number, point)| (number, point.rom))
            .collect()
    };
    plant.scan();
    assert_eq!(points(&plant), [(0, ours(3)), (1, ours(5))]);
    plant
        .wire
        .borrow_mut()
        .sensors
        .extend([sensor(9, 352), sensor(1, 368)]);
    assert_eq!(plant.scan().search, None);
    assert_eq!(plant.scan().search, None);
    let report = plant.scan();
    assert_eq!(
        (report.search, report.newcomers),
        (Some(SearchEnd::Complete), 2)
    );
    assert_eq!(
        points(&plant),
        [(0, ours(3)), (1, ours(5)), (2, ours(1)), (3, ours(9))]
    );
    // A point that is forgotten is free again, for whoever comes next.
    assert_eq!(plant.scanner.forget(0), Some(ours(3)));
    assert_eq!(plant.scanner.forget(0), None);
    plant.wire.borrow_mut().sensors[1].plugged = false;
    plant.wire.borrow_mut().sensors.push(sensor(8, 384));
    plant.scanner.search_next();
    plant.scan();
    assert_eq!(points(&plant)[0], (0, ours(8)));
}

#[test]
fn points_that_were_stored_are_kept_over_a_reboot() {
    let mut plant = Plant::new(vec![sensor(1, 320), sensor(2, 336)]);
    assert!(plant.scanner.assign(7, ours(1)));
    assert!(plant.scanner.assign(0, ours(6)));
    assert!(!plant.scanner.assign(0, ours(2)), "the point is taken");
    assert!(!plant.scanner.assign(1, ours(1)), "the sensor has a point");
    assert!(!plant.scanner.assign(60, ours(2)), "there is no such point");
    let report = plant.scan();
    assert_eq!(report.newcomers, 1);
    assert_eq!(
        plant.outcomes(),
        [(0, Outcome::Absent), (1, degrees(336)), (7, degrees(320))]
    );
}

#[test]
fn more_sensors_than_points_are_told_and_the_first_are_read() {
    let mut plant = Plant::of(61);
    let report = plant.scan();
    assert_eq!(report.search, Some(SearchEnd::Full));
    assert_eq!(report.newcomers, 60);
    assert_eq!(plant.scanner.statistics().temperatures, 60);

    let mut plant = Plant::of(2);
    for point in 1..60 {
        assert!(plant.scanner.assign(point, ours(100 + point as i16)));
    }
    let report = plant.scan();
    assert_eq!((report.newcomers, report.unplaced), (1, 1));
}

#[test]
fn two_sensors_of_one_rom_code_agree_or_have_a_wrong_crc() {
    let mut plant = Plant::new(vec![sensor(1, 320), sensor(1, 320), sensor(2, 336)]);
    plant.scan();
    assert_eq!(plant.outcomes(), [(0, degrees(320)), (1, degrees(336))]);
    plant.sensor(1, |sensor| sensor.sixteenths = 335);
    plant.scan();
    assert_eq!(plant.outcomes(), [(0, Outcome::Crc), (1, degrees(336))]);
}

#[test]
fn a_glitch_in_the_first_search_changes_no_points() {
    for glitch in 0..2 * 201 {
        let mut plant = Plant::of(2);
        plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if number == glitch { echo ^ 1 } else { echo })
        }));
        plant.scan();
        assert_eq!(
            plant.outcomes(),
            [(0, degrees(320)), (1, degrees(336))],
            "glitch {glitch}"
        );
    }
}

#[test]
fn a_glitch_anywhere_in_a_scan_gives_no_wrong_temperature() {
    let mut plant = Plant::new(vec![sensor(1, 85 * 16), sensor(2, -1)]);
    plant.sensor(0, |sensor| sensor.count = Count::Constant);
    plant.scan();
    let of_one_scan = {
        let before = plant.wire.borrow().characters;
        plant.scan();
        plant.wire.borrow().characters - before
    };
    for glitch in 0..of_one_scan {
        let at = plant.wire.borrow().characters + glitch;
        plant.wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if number == at { echo ^ 1 } else { echo })
        }));
        plant.scan();
        for (outcome, expected) in plant.outcomes().into_iter().zip([85 * 16, -1]) {
            assert!(
                matches!(
                    outcome.1,
                    Outcome::PowerOn | Outcome::Bus(BusError::Garbled)
                ) || outcome.1 == degrees(expected),
                "glitch {glitch}: {outcome:?}"
            );
        }
    }
}
