//! Every moment at which power can fail, and what is kept then: each item old or new, nothing lost.

mod chip;

use std::collections::BTreeMap;

use chip::{Chip, Cut};
use firmware_storage::{Error, ITEM_BYTES_MAX, Key, PAGE_BYTES, Storage};
use proptest::prelude::*;

/// As large as the device's partition.
const PAGES: usize = 6;
const RANGE: std::ops::Range<u32> = 0..(PAGES * PAGE_BYTES) as u32;
/// How far an operation had come when power failed: before it, in an erase's three phases, in the
/// middle of a program, at the very end.
const SHARES: [f64; 8] = [0.0, 0.03, 0.1, 0.19, 0.25, 0.5, 0.8, 0.99];

const COUNT: Key = Key::new(1);
const CONFIGURATION: Key = Key::new(2);
const THRESHOLDS: Key = Key::new(3);
const CERTIFICATES: [Key; 3] = [Key::new(10), Key::new(11), Key::new(12)];

type Content = BTreeMap<u8, Vec<u8>>;

/// One change. `None`: the item is removed.
type Change = (u8, Option<Vec<u8>>);

fn number(key: Key) -> u8 {
    (0..48)
        .find(|number| Key::new(*number) == key)
        .expect("a key")
}

fn open(chip: &Chip) -> Storage<Chip> {
    Storage::open(chip.clone(), RANGE).expect("opens")
}

fn apply(storage: &mut Storage<Chip>, (key, value): &Change) -> Result<(), Error> {
    match value {
        Some(bytes) => storage.write(Key::new(*key), bytes),
        None => storage.remove(Key::new(*key)),
    }
}

fn note(content: &mut Content, (key, value): &Change) {
    match value {
        Some(bytes) => content.insert(*key, bytes.clone()),
        None => content.remove(key),
    };
}

fn content(storage: &mut Storage<Chip>) -> Content {
    let mut buffer = [0; ITEM_BYTES_MAX];
    (0..48)
        .filter_map(|key| {
            let bytes = storage.read(Key::new(key), &mut buffer).expect("reads")?;
            Some((key, bytes.to_vec()))
        })
        .collect()
}

fn bytes(length: usize, seed: usize) -> Option<Vec<u8>> {
    Some((0..length).map(|i| (i * 7 + seed * 13) as u8).collect())
}

/// A device's life: certificates, boots, changes of configuration, until pages were turned often.
fn life() -> Vec<Change> {
    let mut changes = Vec::new();
    for (i, key) in CERTIFICATES.into_iter().enumerate() {
        changes.push((number(key), bytes(ITEM_BYTES_MAX - i * 100, i)));
    }
    for boot in 1..60_u32 {
        changes.push((number(COUNT), Some(boot.to_le_bytes().to_vec())));
        let n = boot as usize;
        match boot % 6 {
            0 => changes.push((number(CONFIGURATION), bytes(500 + n * 4, n))),
            2 => changes.push((number(THRESHOLDS), bytes(1_100, n))),
            3 => changes.push((20 + (boot % 5) as u8, bytes(301, n))),
            4 => changes.push((20 + (boot % 7) as u8, None)),
            5 if boot % 4 == 1 => changes.push((number(CERTIFICATES[1]), bytes(1_900, n))),
            _ => {}
        }
    }
    changes
}

/// Cuts `change` at every operation and share, and calls `then` with what is left: the chip, with
/// power again, and what it may hold.
fn at_every_cut(
    before: &Chip,
    old: &Content,
    change: &Change,
    mut then: impl FnMut(&Chip, [&Content; 2], Cut),
) -> usize {
    let mut new = old.clone();
    note(&mut new, change);
    let whole = before.copy();
    apply(&mut open(&whole), change).expect("kept");
    let mut cuts = 0;
    for operation in 0..whole.operations() {
        for (i, share) in SHARES.into_iter().enumerate() {
            let chip = before.copy();
            let mut storage = open(&chip);
            let cut = Cut {
                operation,
                share,
                seed: (operation * 8 + i) as u64,
            };
            chip.cut(cut);
            assert_eq!(apply(&mut storage, change), Err(Error::Flash));
            assert!(!chip.has_power());
            chip.power_on();
            cuts += 1;
            then(&chip, [old, &new], cut);
        }
    }
    cuts
}

#[test]
fn every_item_is_old_or_new_whenever_power_fails() {
    let chip = Chip::new(RANGE.len());
    let mut now = Content::new();
    let (mut cuts, mut second_cuts) = (0, 0);
    for change in life() {
        cuts += at_every_cut(&chip, &now, &change, |left, either, cut| {
            let found = content(&mut open(left));
            assert!(either.contains(&&found), "{cut:?} in {change:?}");
            // It goes on from there; and if power fails in that once more, nothing is lost either.
            let next = (number(COUNT), Some(vec![9; 4]));
            let after = left.copy();
            apply(&mut open(&after), &next).expect("kept");
            let mut wanted = found.clone();
            note(&mut wanted, &next);
            assert_eq!(content(&mut open(&after)), wanted, "{cut:?} in {change:?}");
            if cut.seed % 37 == 0 {
                second_cuts += at_every_cut(left, &found, &next, |left, either, second| {
                    let found = content(&mut open(left));
                    assert!(
                        either.contains(&&found),
                        "{cut:?}, {second:?} in {change:?}"
                    );
                });
            }
        });
        apply(&mut open(&chip), &change).expect("kept");
        note(&mut now, &change);
        assert_eq!(content(&mut open(&chip)), now);
    }
    assert!(chip.erases() > 2 * PAGES, "{} erases", chip.erases());
    println!("{cuts} cuts, {second_cuts} cuts after a cut");
}

#[test]
fn power_that_fails_again_and_again_in_the_same_place_costs_nothing() {
    // In the middle of copying, with certificates in both pages: remains must not pile up.
    let chip = Chip::new(RANGE.len());
    let mut now = Content::new();
    for change in life() {
        for round in 0..12 {
            chip.cut(Cut {
                operation: round % 9,
                share: 0.5,
                seed: round as u64,
            });
            let _ = apply(&mut open(&chip), &change);
            chip.power_on();
        }
        apply(&mut open(&chip), &change).expect("kept");
        note(&mut now, &change);
        assert_eq!(content(&mut open(&chip)), now);
    }
}

#[test]
fn an_unchanged_item_is_not_written_again() {
    let chip = Chip::new(RANGE.len());
    let mut storage = open(&chip);
    storage.write(COUNT, &[1, 2, 3]).expect("kept");
    let operations = chip.operations();
    storage.write(COUNT, &[1, 2, 3]).expect("kept");
    storage.remove(CONFIGURATION).expect("nothing to do");
    assert_eq!(chip.operations(), operations);
    storage.write(COUNT, &[1, 2, 4]).expect("kept");
    assert!(chip.operations() > operations);
}

#[test]
fn a_partition_of_something_else_is_empty_and_can_be_used() {
    let mut seed = 1_u32;
    let mut chance = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for fill in [
        &mut chance as &mut dyn FnMut() -> u8,
        &mut || 0,
        &mut || 0x5A,
    ] {
        let chip = Chip::new(RANGE.len());
        chip.fill(fill);
        let mut storage = open(&chip);
        assert_eq!(content(&mut storage), Content::new());
        storage.write(COUNT, &[7]).expect("kept");
        assert_eq!(content(&mut open(&chip)), Content::from([(1, vec![7])]));
    }
}

#[test]
fn a_full_storage_says_so_and_keeps_what_it_has() {
    let chip = Chip::new(RANGE.len());
    let mut storage = open(&chip);
    let mut now = Content::new();
    let mut key = 10;
    let error = loop {
        let change = (key, bytes(1_000, key.into()));
        match apply(&mut storage, &change) {
            Ok(()) => note(&mut now, &change),
            Err(error) => break error,
        }
        key += 1;
    };
    assert_eq!(error, Error::Full);
    // One page is always kept free.
    assert_eq!(now.len(), (PAGES - 1) * 4);
    assert_eq!(content(&mut storage), now);
    assert_eq!(content(&mut open(&chip)), now);
    // And room can be made.
    storage.remove(Key::new(12)).expect("removed");
    apply(&mut storage, &(40, bytes(1_000, 1))).expect("kept");
}

#[test]
fn what_is_promised_fits_wherever_it_comes_to_lie() {
    // Three certificates, a configuration, thresholds, sixteen schedules: written again and again in
    // an order that wastes as much as can be.
    let chip = Chip::new(RANGE.len());
    let mut storage = open(&chip);
    for round in 0..40 {
        for certificate in CERTIFICATES {
            let length = ITEM_BYTES_MAX - round % 2;
            storage
                .write(certificate, &bytes(length, round).expect("bytes"))
                .expect("room");
            storage
                .write(
                    CONFIGURATION,
                    &bytes(760 - round % 3, round).expect("bytes"),
                )
                .expect("room");
        }
        storage
            .write(THRESHOLDS, &bytes(1_100, round).expect("bytes"))
            .expect("room");
        for schedule in 20..36 {
            storage
                .write(Key::new(schedule), &bytes(170, round).expect("bytes"))
                .expect("room");
        }
    }
}

#[test]
fn what_the_flash_did_not_keep_is_written_elsewhere() {
    let chip = Chip::new(RANGE.len());
    let mut storage = open(&chip);
    storage.write(COUNT, &[1]).expect("kept");
    // A cell in the middle of what is written next.
    chip.stick(Some(200));
    storage.write(CONFIGURATION, &[0xFF; 400]).expect("kept");
    assert_eq!(
        content(&mut open(&chip)),
        Content::from([(1, vec![1]), (2, vec![0xFF; 400])])
    );
}

#[test]
fn lengths_and_ranges_are_checked() {
    let chip = Chip::new(RANGE.len());
    let mut storage = open(&chip);
    assert_eq!(
        storage.write(COUNT, &[0; ITEM_BYTES_MAX + 1]),
        Err(Error::TooLong)
    );
    storage.write(COUNT, &[1; 8]).expect("kept");
    assert_eq!(storage.read(COUNT, &mut [0; 7]), Err(Error::TooLong));
    assert_eq!(storage.length(COUNT), Some(8));
    for range in [0..0x2000, 0..0x7000, 0x800..0x5000, 0..0x3800] {
        let opened = Storage::open(chip.clone(), range);
        assert!(matches!(opened, Err(Error::Range)));
    }
}

fn change() -> impl Strategy<Value = Change> {
    let value = proptest::option::weighted(
        0.9,
        (0..2_usize, 0..400_usize, any::<u8>())
            .prop_map(|(long, length, byte)| vec![byte; long * 1_600 + length]),
    );
    (0..6_u8, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_changes_and_any_cuts(
        changes in proptest::collection::vec((change(), 0..40_usize, 0..100_u32, any::<u64>()), 1..120),
    ) {
        let chip = Chip::new(RANGE.len());
        let mut now = Content::new();
        for (change, operation, percent, seed) in changes {
            chip.cut(Cut { operation, share: f64::from(percent) / 100.0, seed });
            let result = apply(&mut open(&chip), &change);
            let cut = !chip.has_power();
            chip.power_on();
            let mut new = now.clone();
            note(&mut new, &change);
            let found = content(&mut open(&chip));
            if cut {
                prop_assert!(found == now || found == new);
            } else {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(&found, &new);
            }
            now = found;
        }
    }
}
