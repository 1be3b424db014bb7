//! Power and the boots it leads to.

use std::time::Duration;

use fixture_protocol::{CutTrigger, FlashOperation};
use probe_rs::MemoryInterface;
use virtual_rig::{RigEventKind, VirtualRig, VirtualRigSettings};

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
    // With what chance gives: memory is noise when power comes on.
    let boot = |seed| {
        let directory = tempfile::tempdir().unwrap();
        let program = [no_watchdog(), SLEEP.to_vec()].concat();
        let settings = VirtualRigSettings { seed, ..settings() };
        let rig = rig_with_settings(&program, &directory, settings);
        let at = booted(&rig);
        wait_until(&rig.clock(), Duration::from_secs(5));
        let instructions = rig.statistics().unwrap().instructions;
        let mut noise = [0; 16];
        let mut session = attach(&rig);
        let mut core = session.core(0).unwrap();
        core.read_32(DATA.into(), &mut noise).unwrap();
        (at, instructions, noise)
    };
    assert_eq!(boot(7), boot(7));
    assert_ne!(boot(7), boot(8));
}

/// Erases sector 0x80 and fills its first page, again and again, with the ROM's functions.
pub(crate) fn wear_out() -> Vec<u32> {
    let (a0, a1, a2, t0, ra) = (10, 11, 12, 5, 1);
    let call = |function: u32| {
        [
            lui(t0, function),
            addi(t0, t0, function & 0xFFF),
            jalr(ra, t0),
        ]
    };
    [
        &no_watchdog()[..],
        &[addi(a0, 0, 0x80)],
        &call(0x4000_0128), // esp_rom_spiflash_erase_sector
        &[lui(a0, 0x8_0000), lui(a1, CODE), addi(a2, 0, 256)],
        &call(0x4000_012C), // esp_rom_spiflash_write
        &[0xFD9F_F06F],     // j -40
    ]
    .concat()
}

fn power(rig: &VirtualRig, wanted: bool) -> Duration {
    event(rig, |what| {
        (what == RigEventKind::Power { on: wanted }).then_some(())
    })
    .0
}

#[test]
fn a_cut_comes_after_its_time_and_ends_after_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    booted(&rig);
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let before = rig.clock().now();
    let delay_us = 3_600_000_000;
    rig.cut_power(
        CutTrigger::After { delay_us },
        Some(Duration::from_millis(250)),
    );
    let (_alarm, fired) = alarm(&rig.clock(), before + day);
    let (off, on) = (power(&rig, false), power(&rig, true));
    let again = booted(&rig);
    assert!(
        off >= before + hour && off < before + hour + Duration::from_secs(1),
        "{before:?} {off:?}"
    );
    let (length, late) = (on - off, Duration::from_micros(1));
    assert!(length >= Duration::from_millis(250) && length < Duration::from_millis(250) + late);
    assert!(again > on && again < on + Duration::from_secs(1));
    fired.recv_timeout(PATIENCE).expect("time goes on");
}

#[test]
fn a_cut_finds_the_chip_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&wear_out(), &directory);
    booted(&rig);
    let in_flash = |kind, nth| CutTrigger::FlashOperation {
        kind,
        nth,
        delay_us: None,
    };
    let sector = || rig.flash_contents()[0x8_0000..0x8_1000].to_vec();
    let cut = |when| {
        let (_alarm, _fired) = alarm(&rig.clock(), rig.clock().now() + Duration::from_secs(60));
        rig.cut_power(when, None);
        power(&rig, false);
        let left = sector();
        rig.power_on();
        booted(&rig);
        left
    };
    let code: Vec<u8> = wear_out()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let page = &code[..64];
    let erase = cut(in_flash(FlashOperation::Erase, 3));
    assert!(
        erase != [0xFF; 4096] && erase[..64] != *page,
        "{:x?}",
        &erase[..64]
    );
    let program = cut(in_flash(FlashOperation::Program, 2));
    assert!(program[256..] == [0xFF; 4096 - 256], "the erase was whole");
    assert!(program[..256] != [0xFF; 256], "the program has begun");
    cut(CutTrigger::Now);
    cut(CutTrigger::After { delay_us: 1 });
}

#[test]
fn switching_by_hand_forgets_a_cut_that_was_to_come() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    booted(&rig);
    let delay_us = 10_000_000;
    rig.cut_power(CutTrigger::After { delay_us }, None);
    rig.power_on();
    wait_until(&rig.clock(), rig.clock().now() + Duration::from_secs(60));
    drop(rig.statistics());
    let switched = rig
        .events()
        .try_iter()
        .any(|event| matches!(event.what, RigEventKind::Power { .. }));
    assert!(!switched);
}
