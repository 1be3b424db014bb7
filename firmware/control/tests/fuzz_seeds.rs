//! The fuzz targets' functions over their seeds, and over what is a cut or a byte away from them:
//! so that CI runs them, with no fuzzer installed.

// Public for the fuzz targets.
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use proptest::prelude::*;

#[test]
fn every_command_seed_holds_up() {
    fuzz::command_seeds()
        .iter()
        .for_each(|seed| fuzz::command(seed));
}

#[test]
fn every_configuration_seed_holds_up() {
    let seeds = fuzz::configuration_seeds();
    seeds.iter().for_each(|seed| fuzz::configuration(seed));
}

#[test]
fn every_seed_holds_up_wherever_it_is_cut() {
    for seed in fuzz::command_seeds() {
        // The whole session takes the square of its length.
        for length in (0..seed.len().min(400)).step_by(3) {
            fuzz::command(&seed[..length]);
        }
    }
    for seed in fuzz::configuration_seeds() {
        for length in (0..seed.len()).step_by(3) {
            fuzz::configuration(&seed[..length]);
        }
    }
}

/// Bytes changed, put in and left out, at places chosen by chance.
fn mutate(mut seed: Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in changes {
        let at = at.index(seed.len() + 1);
        match kind % 3 {
            0 if at < seed.len() => seed[at] = *byte,
            1 if at < seed.len() => drop(seed.remove(at)),
            _ => seed.insert(at, *byte),
        }
    }
    seed
}

/// Bytes that mean something to JSON, more often than those that don't.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(&b"{}[]\":,\\u0189eE+-. tfn\xff"[..]),
        any::<u8>(),
    ]
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), byte()), 1..6)
}

proptest! {
    #[test]
    fn a_command_seed_holds_up_with_bytes_changed(seed: prop::sample::Index, changes in changes()) {
        let seeds = fuzz::command_seeds();
        fuzz::command(&mutate(seeds[seed.index(seeds.len())].clone(), &changes));
    }

    #[test]
    fn a_configuration_seed_holds_up_with_bytes_changed(seed: prop::sample::Index, changes in changes()) {
        let seeds = fuzz::configuration_seeds();
        fuzz::configuration(&mutate(seeds[seed.index(seeds.len())].clone(), &changes));
    }
}
