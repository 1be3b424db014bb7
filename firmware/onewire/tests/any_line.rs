//! Whatever comes back on the line: nothing panics, everything ends, and in bounded time.

mod common;

use common::{Waited, now};
use firmware_onewire::{
    Bus, Line, LineError, RESET_BAUD, SLOT_BAUD, SLOTS_MAX, Scanner, Settings,
    search::{REJECTED_MAX, search},
    sensor,
};
use proptest::prelude::*;

/// What happens to a character.
#[derive(Clone, Copy, Debug)]
enum Echo {
    Itself,
    Other(u8),
    Failure(LineError),
}

/// A line that plays a list of echoes round and round.
struct Any {
    echoes: Vec<Echo>,
    played: usize,
    exchanges: usize,
    baud: u32,
}

impl Line for Any {
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError> {
        assert!([RESET_BAUD, SLOT_BAUD].contains(&baud));
        self.baud = baud;
        Ok(())
    }

    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError> {
        assert!((1..=SLOTS_MAX).contains(&characters.len()));
        self.exchanges += 1;
        for character in characters {
            match self.echoes[self.played % self.echoes.len()] {
                // Devices are there, or nothing much would follow.
                Echo::Itself if self.baud == RESET_BAUD => *character = 0xE0,
                Echo::Itself => {}
                Echo::Other(other) => *character = other,
                Echo::Failure(error) => {
                    self.played += 1;
                    return Err(error);
                }
            }
            self.played += 1;
        }
        Ok(())
    }
}

fn echoes() -> impl Strategy<Value = Vec<Echo>> {
    let failure = prop_oneof![
        Just(LineError::Framing),
        Just(LineError::Silent),
        Just(LineError::Overrun),
        Just(LineError::Driver),
    ];
    // From lines that echo nearly always to those that hardly ever do.
    (1_u32..200, 1_u32..20, 0_u32..3).prop_flat_map(move |(good, bad, failing)| {
        prop::collection::vec(
            prop_oneof![
                good => Just(Echo::Itself),
                bad => prop_oneof![Just(0x00), Just(0xF8), Just(0xFF), any::<u8>()]
                    .prop_map(Echo::Other),
                failing => failure.clone().prop_map(Echo::Failure),
            ],
            1..1_000,
        )
    })
}

fn bus(echoes: Vec<Echo>) -> Bus<Any, Waited> {
    let line = Any {
        echoes,
        played: 0,
        exchanges: 0,
        baud: 0,
    };
    Bus::new(line, Waited::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_search_ends(echoes in echoes(), family in prop::option::of(any::<u8>())) {
        const ATTEMPTS: usize = 3;
        const DEVICES: usize = 60;
        let mut bus = bus(echoes);
        let search = now(search::<_, _, DEVICES>(&mut bus, family, ATTEMPTS as u8));
        for rom in &search.found {
            prop_assert!(family.is_none_or(|family| rom.family() == family));
        }
        prop_assert!(bus.into_parts().0.exchanges <= ATTEMPTS * (DEVICES + REJECTED_MAX + 1) * 67);
    }

    #[test]
    fn scans_end(echoes in echoes(), attempts in 0_u8..5, search_every in 0_u16..3) {
        const DEVICES: usize = 4;
        let settings = Settings { attempts, search_every, ..Settings::default() };
        let mut scanner = Scanner::<DEVICES>::new(settings);
        for point in 0..DEVICES {
            prop_assert!(scanner.assign(point, common::rom(0x28, point as u64)));
        }
        let mut bus = bus(echoes);
        for _ in 0..3 {
            now(scanner.scan(&mut bus));
            prop_assert!(scanner.points().all(|(_, point)| point.outcome.is_some()));
        }
        // A search, then a conversion and a reading; then write, convert, read and write again.
        let attempts = usize::from(attempts.max(1));
        let exchanges = attempts * attempts * (DEVICES + REJECTED_MAX + 1) * 67
            + attempts * 2
            + 1
            + DEVICES * (attempts * 4 * 2 + 3 * 4);
        let (line, waited) = bus.into_parts();
        prop_assert!(line.exchanges <= 3 * exchanges);
        // Up to three conversions a scan, and a rest for each exchange that failed.
        let rests = line.exchanges as u64 * 2_084_000;
        prop_assert!(waited.0 <= 3 * 3 * 750_000_000 + rests);
    }

    #[test]
    fn commands_end(echoes in echoes()) {
        let mut bus = bus(echoes);
        let rom = common::rom(0x28, 1);
        let _ = now(sensor::convert_all(&mut bus));
        let _ = now(sensor::convert(&mut bus, rom));
        let _ = now(sensor::read_scratchpad(&mut bus, rom));
        prop_assert!(bus.into_parts().0.exchanges <= 2 + 3 + 4);
    }
}
