//! The search on a bus of simulated sensors: any set of them, and every kind of bad bus.

mod common;

use std::collections::BTreeSet;

use common::{Sensor, now, rom, world};
use firmware_onewire::{
    BusError, LineError, Rom,
    search::{REJECTED_MAX, Search, SearchEnd, search},
};
use proptest::prelude::*;

fn sensors(roms: impl IntoIterator<Item = Rom>) -> Vec<Sensor> {
    roms.into_iter().map(|rom| Sensor::new(rom, 0)).collect()
}

fn ours(serials: impl IntoIterator<Item = u64>) -> Vec<Sensor> {
    sensors(serials.into_iter().map(|serial| rom(0x28, serial)))
}

fn found<const N: usize>(search: &Search<N>) -> BTreeSet<Rom> {
    let found: BTreeSet<_> = search.found.iter().copied().collect();
    assert_eq!(found.len(), search.found.len(), "one was found twice");
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_set_of_up_to_60_devices_is_found(
        // Serial numbers that share long beginnings, and some that do not.
        serials in prop::collection::btree_set(
            prop_oneof![0_u64..128, 0x1300_0000_0000_u64..0x1300_0000_0040, 0_u64..1 << 48],
            0..=60,
        ),
        others in prop::collection::btree_set(0_u64..1 << 48, 0..4),
    ) {
        let expected: BTreeSet<_> = serials.iter().map(|&serial| rom(0x28, serial)).collect();
        // One that parts from ours at a bit where it has the 0, and one where it has the 1.
        let foreign = others
            .iter()
            .flat_map(|&serial| [rom(0x10, serial), rom(0x3B, serial)]);
        let (_, mut bus) = world(sensors(expected.iter().copied().chain(foreign)));
        let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
        let empty = expected.is_empty() && others.is_empty();
        prop_assert_eq!(
            search.end,
            if empty { SearchEnd::Bus(BusError::Absent) } else { SearchEnd::Complete }
        );
        prop_assert_eq!(found(&search), expected);
        prop_assert_eq!(search.rejected, 0);
    }

    #[test]
    fn noise_makes_up_no_device(
        serials in prop::collection::btree_set(0_u64..1 << 48, 1..12),
        // Characters whose first bit is turned over, as at a glitch in the cable.
        glitches in prop::collection::btree_set(0_u64..2_000, 0..12),
    ) {
        let expected: BTreeSet<_> = serials.iter().map(|&serial| rom(0x28, serial)).collect();
        let (wire, mut bus) = world(sensors(expected.iter().copied()));
        wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if glitches.contains(&number) { echo ^ 1 } else { echo })
        }));
        let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
        prop_assert!(found(&search).is_subset(&expected));
    }
}

#[test]
fn without_a_family_every_device_is_found() {
    let roms = [rom(0x10, 7), rom(0x28, 1), rom(0x28, 2), rom(0x3B, 2)];
    let (_, mut bus) = world(sensors(roms));
    let search = now(search::<_, _, 60>(&mut bus, None, 3));
    assert_eq!(found(&search), BTreeSet::from(roms));
    assert_eq!(search.end, SearchEnd::Complete);
}

#[test]
fn a_bus_with_none_of_the_family_is_searched_and_empty() {
    let (_, mut bus) = world(sensors([rom(0x10, 7), rom(0x3B, 2)]));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!((search.end, search.found.len()), (SearchEnd::Complete, 0));
}

#[test]
fn a_family_that_vanishes_whole_is_told() {
    let mut all = ours([1, 2]);
    all.extend(sensors([rom(0x10, 7)]));
    let (wire, mut bus) = world(all);
    wire.borrow_mut().event = Some(Box::new(|number, sensors| {
        sensors[0].plugged = number < 201;
        sensors[1].plugged = number < 201;
    }));
    let search = now(self::search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!((search.end, search.found.len()), (SearchEnd::Vanished, 1));
}

#[test]
fn more_devices_than_there_is_room_for_are_told() {
    let (_, mut bus) = world(ours(0..5));
    let search = now(search::<_, _, 4>(&mut bus, Some(0x28), 3));
    assert_eq!((search.end, search.found.len()), (SearchEnd::Full, 4));
    let (_, mut bus) = world(ours(0..4));
    let search = now(self::search::<_, _, 4>(&mut bus, Some(0x28), 3));
    assert_eq!((search.end, search.found.len()), (SearchEnd::Complete, 4));
}

#[test]
fn two_devices_of_one_rom_code_are_found_as_one() {
    let (_, mut bus) = world(ours([1, 5, 5, 9]));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(
        found(&search),
        BTreeSet::from([1, 5, 9].map(|serial| rom(0x28, serial)))
    );
    assert_eq!(search.end, SearchEnd::Complete);
}

#[test]
fn a_device_whose_rom_code_has_a_wrong_crc_hides_no_other() {
    let mut all = ours([1, 2, 3, 4, 5]);
    all[2].code[7] ^= 0x40;
    let (_, mut bus) = world(all);
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(
        found(&search),
        BTreeSet::from([1, 2, 4, 5].map(|serial| rom(0x28, serial)))
    );
    assert_eq!((search.end, search.rejected), (SearchEnd::Complete, 1));
}

#[test]
fn a_bus_full_of_wrong_crcs_is_given_up() {
    let mut all = ours(0..20);
    for sensor in &mut all {
        sensor.code[7] ^= 0x40;
    }
    let (_, mut bus) = world(all);
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.end, SearchEnd::Crc);
    assert_eq!((search.found.len(), search.rejected), (0, REJECTED_MAX));
}

#[test]
fn a_device_unplugged_before_its_pass_is_told_and_hides_no_other() {
    // By their bits: 0, 4, 2, 6, 1, ... The search is on its way to 6, whose fork 2 has shown.
    let (wire, mut bus) = world(ours(0..8));
    wire.borrow_mut().event = Some(Box::new(|number, sensors| {
        sensors[6].plugged = number < 3 * 201;
    }));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.end, SearchEnd::Vanished);
    assert_eq!(
        found(&search),
        BTreeSet::from([0, 1, 2, 3, 4, 5, 7].map(|serial| rom(0x28, serial)))
    );
}

#[test]
fn all_unplugged_in_the_middle_end_the_search_with_what_was_found() {
    let (wire, mut bus) = world(ours(0..8));
    wire.borrow_mut().event = Some(Box::new(|number, sensors| {
        for sensor in sensors {
            sensor.plugged = number < 3 * 201 + 80;
        }
    }));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.end, SearchEnd::Bus(BusError::Absent));
    assert_eq!(search.found.len(), 3);
}

#[test]
fn a_branch_that_is_empty_when_it_is_followed_is_told() {
    // A device that answers as if there were a fork at bit 20, and nobody behind it.
    let (wire, mut bus) = world(ours([1]));
    wire.borrow_mut().noise = Some(Box::new(|number, echo| {
        let slot = number % 201;
        Ok(if (number < 201) && (slot == 9 + 60 || slot == 9 + 61) {
            0xF8
        } else {
            echo
        })
    }));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.end, SearchEnd::Vanished);
    assert_eq!(&search.found[..], [rom(0x28, 1)]);
}

#[test]
fn a_glitch_hides_a_device_from_one_search_at_most() {
    let both = BTreeSet::from([1, 2].map(|serial| rom(0x28, serial)));
    let mut hidden = 0;
    for glitch in 0..2 * 201 {
        let (wire, mut bus) = world(ours([1, 2]));
        wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if number == glitch { echo ^ 1 } else { echo })
        }));
        let search = now(self::search::<_, _, 60>(&mut bus, Some(0x28), 3));
        assert!(
            found(&search).is_subset(&both),
            "glitch {glitch}: {search:?}"
        );
        hidden += usize::from(search.found.len() < 2);
        if search.found.len() == 2 {
            // A fork that there is not leads nowhere, which is told.
            assert!(matches!(
                search.end,
                SearchEnd::Complete | SearchEnd::Vanished
            ));
        }
        let search = now(self::search::<_, _, 60>(&mut bus, Some(0x28), 3));
        assert_eq!(found(&search), both, "glitch {glitch}: {search:?}");
        assert_eq!(search.end, SearchEnd::Complete);
    }
    // The one fork there is, misread as either bit.
    assert_eq!(hidden, 2);
}

#[test]
fn a_branch_that_does_not_come_back_as_taken_is_garbled() {
    // Of the first step, of one in the middle, and of the last.
    for branch in [9 + 2, 9 + 3 * 40 + 2, 200] {
        let (wire, mut bus) = world(ours([1]));
        wire.borrow_mut().noise = Some(Box::new(move |number, echo| {
            Ok(if number == branch { echo ^ 0x80 } else { echo })
        }));
        let search = now(self::search::<_, _, 60>(&mut bus, Some(0x28), 1));
        assert_eq!(search.end, SearchEnd::Bus(BusError::Garbled), "{branch}");
    }
}

#[test]
fn a_bus_held_low_ends_the_search_at_its_first_pulse() {
    let (wire, mut bus) = world(ours([1]));
    wire.borrow_mut().noise = Some(Box::new(|_, _| Err(LineError::Silent)));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.end, SearchEnd::Bus(BusError::StuckLow));
    assert_eq!(wire.borrow().exchanges, 1);
}

#[test]
fn a_bus_that_reads_as_zeros_has_no_device() {
    let (wire, mut bus) = world(ours([1]));
    wire.borrow_mut().noise = Some(Box::new(|number, echo| {
        // All that is read, and nothing that is written, is low.
        let slot = number % 201;
        Ok(if slot >= 9 && (slot - 9) % 3 != 2 {
            0
        } else {
            echo
        })
    }));
    let search = now(search::<_, _, 60>(&mut bus, None, 3));
    assert_eq!(search.end, SearchEnd::Crc);
    assert_eq!(search.found.len(), 0);
}

#[test]
fn a_search_of_60_devices_takes_1_1_s_on_the_wire() {
    let (wire, mut bus) = world(ours((0..60).map(|n| n * 0x1234_5678)));
    let search = now(search::<_, _, 60>(&mut bus, Some(0x28), 3));
    assert_eq!(search.found.len(), 60);
    let ms = wire.borrow().now_ns / 1_000_000;
    assert_eq!(ms, 1_104);
    // A step can't be sent before the last was answered.
    assert_eq!(wire.borrow().exchanges, 60 * 67);
}
