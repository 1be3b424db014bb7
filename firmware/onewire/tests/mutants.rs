//! Each deliberate bug does what it says, and no other: a plant whose temperatures are known goes wrong
//! with every one of them, and is right without.

mod common;

use common::{Sensor, now, rom, world};
use firmware_onewire::{
    Outcome, Rom, Scanner, Settings, Temperature,
    mutants::{Mutant, activate},
};

fn ours(serial: u64) -> Rom {
    rom(0x28, serial)
}

/// What four sensors say in three scans: one is unplugged in the second and back in the third, one has
/// CRC errors in the second, one is below zero, one loses its supply in each conversion.
fn story() -> Vec<Vec<(usize, Outcome)>> {
    let (wire, mut bus) = world(vec![
        Sensor::new(ours(0), 330),
        Sensor::new(ours(1), 347),
        Sensor::new(ours(2), -163),
        Sensor::new(ours(3), 377),
    ]);
    wire.borrow_mut().sensors[3].weak = true;
    let mut scanner = Scanner::<4>::new(Settings::default());
    let mut told = Vec::new();
    for scan in 0..3 {
        {
            let sensors = &mut wire.borrow_mut().sensors;
            sensors[0].plugged = scan != 1;
            sensors[1].flip = (scan == 1).then_some((7, u32::MAX));
            sensors[2].sixteenths -= 1;
        }
        now(scanner.scan(&mut bus));
        told.push(
            scanner
                .points()
                .map(|(point, known)| (point, known.outcome.expect("scanned")))
                .collect(),
        );
    }
    told
}

fn degrees(sixteenths: i16) -> Outcome {
    Outcome::Temperature(Temperature::from_sixteenths(sixteenths))
}

/// One test, because a mutant is switched on for the whole process.
#[test]
fn every_mutant_tells_another_story() {
    let truth = vec![
        vec![
            (0, degrees(330)),
            (1, degrees(347)),
            (2, degrees(-164)),
            (3, Outcome::PowerOn),
        ],
        vec![
            (0, Outcome::Absent),
            (1, Outcome::Crc),
            (2, degrees(-165)),
            (3, Outcome::PowerOn),
        ],
        vec![
            (0, degrees(330)),
            (1, degrees(347)),
            (2, degrees(-166)),
            (3, Outcome::PowerOn),
        ],
    ];
    assert_eq!(story(), truth);
    for &mutant in Mutant::ALL {
        activate(Some(mutant));
        let told = story();
        activate(None);
        let wrong = match mutant {
            Mutant::CrcNotChecked => (1, 1, Some(degrees(347 + 128))),
            Mutant::AbsentKeepsLast => (1, 0, Some(degrees(330))),
            Mutant::AbsentForever => (2, 0, Some(Outcome::Absent)),
            Mutant::SensorSignLost => (0, 2, Some(degrees(164))),
            Mutant::ResolutionMaskReversed => (0, 1, Some(degrees(347 & !7))),
            Mutant::PowerOnTaken => (0, 3, Some(degrees(85 * 16))),
            Mutant::SearchMissesLast => (0, 3, None),
            Mutant::NeighboursSwapped => (0, 0, Some(degrees(347))),
            Mutant::ConversionNotStarted => (2, 2, Some(degrees(-164))),
        };
        let (scan, point, outcome) = wrong;
        let said = told[scan].iter().find(|(at, _)| *at == point);
        assert_eq!(
            said.map(|(_, outcome)| *outcome),
            outcome,
            "{}: {told:?}",
            mutant.name()
        );
        assert_ne!(told, truth, "{}", mutant.name());
    }
    assert_eq!(story(), truth);
}
