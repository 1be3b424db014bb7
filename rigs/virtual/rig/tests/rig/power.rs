//! Power and the boots it leads to.

use std::time::Duration;

use virtual_rig::{RigEventKind, VirtualRig};

use crate::support::*;

fn booted(rig: &VirtualRig) -> Duration {
    event(rig, |what| {
        matches!(what, RigEventKind::Booted { .. }).then_some(())
    })
    .0
}

#[test]
fn a_power_cycle_boots_again_and_time_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    let clock = rig.clock();
    let first = booted(&rig);
    rig.power_off();
    let (off, ()) = event(&rig, |what| {
        (what == RigEventKind::Power { on: false }).then_some(())
    });
    let at = wait_until(&clock, off + Duration::from_secs(60));
    rig.power_on();
    let (on, ()) = event(&rig, |what| {
        (what == RigEventKind::Power { on: true }).then_some(())
    });
    let second = booted(&rig);
    assert!(
        first <= off && off < at && at <= on && on < second,
        "{first:?} {off:?} {at:?} {on:?} {second:?}"
    );
}

#[test]
fn the_same_seed_and_image_give_the_same_boot() {
    let boot = || {
        let directory = tempfile::tempdir().unwrap();
        let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
        let at = booted(&rig);
        wait_until(&rig.clock(), Duration::from_secs(5));
        (at, rig.statistics().unwrap().instructions)
    };
    assert_eq!(boot(), boot());
}
