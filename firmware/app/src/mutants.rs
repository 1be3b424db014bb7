//! Deliberate bugs of the whole image: numbered, kept in flash, switched on at boot. Only with the
//! feature `mutants`.
//!
//! Each crate numbers its own from 1; here they follow each other in ranges of [`RANGE`].

use firmware_control::mutants as control;
use firmware_mqtt::mutants as mqtt;
use firmware_mutants::{RANGE, image};
use firmware_onewire::mutants as onewire;

use crate::storage;

/// Switches on the bug that the bench asked for, if it did.
pub async fn activate_kept() {
    let number = storage::with(|storage| Ok(storage.mutant()))
        .await
        .unwrap_or(0);
    if number != 0 {
        activate(number);
    }
}

fn activate(number: u16) {
    let (crate_number, of_crate) = (number / RANGE, number % RANGE);
    let name = match crate_number {
        0 => control::Mutant::from_number(of_crate).map(|mutant| {
            control::activate(Some(mutant));
            mutant.name()
        }),
        1 => onewire::Mutant::from_number(of_crate).map(|mutant| {
            onewire::activate(Some(mutant));
            mutant.name()
        }),
        2 => mqtt::Mutant::from_number(of_crate).map(|mutant| {
            mqtt::activate(Some(mutant));
            mutant.name()
        }),
        3 => image::Mutant::from_number(of_crate).map(|mutant| {
            image::activate(Some(mutant));
            mutant.name()
        }),
        _ => None,
    };
    match name {
        Some(name) => defmt::warn!("this device has a deliberate bug: {=str}", name),
        None => defmt::error!("there is no deliberate bug {=u16}", number),
    }
}

/// What the image's own bugs do when a request has come.
pub fn on_request() {
    if image::active(image::Mutant::LeakPerRequest)
        && let Ok(bytes) = crate::heap::vec(64)
    {
        core::mem::forget(bytes);
    }
}
