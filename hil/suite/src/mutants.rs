//! The deliberate bugs that the firmware can have, all in one list: what `hil verify` arms.
//!
//! A scenario that passes in spite of its bug tests nothing. The firmware's crates number theirs each
//! from 1; an image built with the feature `mutants` knows them by the numbers given here.

use firmware_control::mutants as control;
use firmware_mqtt::mutants as mqtt;
use firmware_mutants::{RANGE, image};
use firmware_onewire::mutants as onewire;
use firmware_wire::{ControlBody, Fault};
use hil_bench::{Bench, BenchError};

use crate::product::BOOT_WITHIN;

/// A deliberate bug of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Whose: `control`, `onewire`, `mqtt`, `image`.
    pub part: &'static str,
    /// Kebab-case, unique.
    pub name: &'static str,
    /// What the firmware is told; unique, never 0.
    pub number: u16,
    /// The ID of the scenario that must catch it.
    pub scenario: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// Every one, by number.
#[must_use]
pub fn mutants() -> Vec<Mutant> {
    let control = control::Mutant::ALL.iter().map(|mutant| Mutant {
        part: "control",
        name: mutant.name(),
        number: mutant.number(),
        scenario: mutant.scenario(),
        description: mutant.description(),
    });
    let onewire = onewire::Mutant::ALL.iter().map(|mutant| Mutant {
        part: "onewire",
        name: mutant.name(),
        number: RANGE + mutant.number(),
        scenario: mutant.scenario(),
        description: mutant.description(),
    });
    let mqtt = mqtt::Mutant::ALL.iter().map(|mutant| Mutant {
        part: "mqtt",
        name: mutant.name(),
        number: 2 * RANGE + mutant.number(),
        scenario: mutant.scenario(),
        description: mutant.description(),
    });
    let image = image::Mutant::ALL.iter().map(|mutant| Mutant {
        part: "image",
        name: mutant.name(),
        number: 3 * RANGE + mutant.number(),
        scenario: mutant.scenario(),
        description: mutant.description(),
    });
    control.chain(onewire).chain(mqtt).chain(image).collect()
}

/// Resets the device and has it keep which bug it is to have from the next boot on: a mutant's number, 0 for
/// none. It keeps that until it is told otherwise.
///
/// # Errors
/// [`BenchError::Refused`] by an image that was built without the feature `mutants`; those of a reset.
pub async fn arm(bench: &Bench, number: u16) -> Result<(), BenchError> {
    bench.reset().await?;
    bench.device().wait_boot(BOOT_WITHIN).await?;
    let mutant = ControlBody::Inject(Fault::Mutant { number });
    bench.device().demand(mutant).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::mutants;

    #[test]
    fn every_scenario_of_the_whole_contract_has_a_mutant() {
        let caught: BTreeSet<_> = mutants().iter().map(|mutant| mutant.scenario).collect();
        let required = [
            "CMD-1", "CMD-2", "CMD-3", "CMD-4", "CMD-5", "TEL-1", "TEL-2", "TEL-3", "TEL-5",
            "TEL-6", "INT-1", "INT-2", "INT-3", "INT-4", "CON-3", "CON-4", "LOAD-2", "STAB-1",
            "STAB-3", "STAB-4",
        ];
        let without: Vec<_> = required.iter().filter(|id| !caught.contains(*id)).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn names_and_numbers_are_unique_and_no_number_is_that_of_none() {
        let all = mutants();
        let names: BTreeSet<_> = all.iter().map(|mutant| mutant.name).collect();
        let numbers: BTreeSet<_> = all.iter().map(|mutant| mutant.number).collect();
        assert_eq!((names.len(), numbers.len()), (all.len(), all.len()));
        assert!(!numbers.contains(&0));
        assert!(all.is_sorted_by_key(|mutant| mutant.number));
    }
}
