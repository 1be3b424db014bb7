//! Tests of `flash.rs`.

use super::*;

fn flash() -> Flash {
    Flash::new(1 << 20).unwrap()
}

fn program(flash: &mut Flash, address: u32, data: &[u8]) -> Ticks {
    flash.set_write_enabled(true);
    flash.program(Ticks(0), address, data)
}

fn erase(flash: &mut Flash, unit: Erase, address: u32) -> Ticks {
    flash.set_write_enabled(true);
    flash.erase(Ticks(0), unit, address)
}

#[test]
fn program_only_clears_bits() {
    let mut flash = flash();
    program(&mut flash, 0x100, &[0xF0, 0x0F]);
    program(&mut flash, 0x100, &[0x3C, 0xFF]);
    assert_eq!(flash.bytes()[0x100..0x103], [0x30, 0x0F, 0xFF]);
}

#[test]
fn program_wraps_within_its_page() {
    let mut flash = flash();
    program(&mut flash, 0x1FE, &[1, 2, 3, 4]);
    assert_eq!(flash.bytes()[0x1FE..0x201], [1, 2, 0xFF]);
    assert_eq!(flash.bytes()[0x100..0x102], [3, 4]);
}

#[test]
fn program_and_erase_need_write_enable_each_time() {
    let mut flash = flash();
    assert_eq!(flash.program(Ticks(7), 0, &[0]), Ticks(7));
    assert_eq!(flash.read(0), 0xFF);
    program(&mut flash, 0, &[0]);
    assert_eq!(
        flash.erase(Ticks(1 << 40), Erase::Sector, 0),
        Ticks(1 << 40)
    );
    assert_eq!(flash.read(0), 0);
}

#[test]
fn erase_takes_the_aligned_unit() {
    let check = |unit, address, expected: std::ops::Range<usize>| {
        let mut flash = flash();
        flash.bytes.fill(0);
        erase(&mut flash, unit, address);
        let ones = flash.bytes.iter().filter(|byte| **byte == 0xFF).count();
        assert_eq!(ones, expected.len(), "{unit:?}");
        assert!(flash.bytes[expected].iter().all(|byte| *byte == 0xFF));
    };
    check(Erase::Sector, 0x1234, 0x1000..0x2000);
    check(Erase::HalfBlock, 0x9000, 0x8000..0x10000);
    check(Erase::Block, 0x2FFFF, 0x20000..0x30000);
    check(Erase::Chip, 0x5000, 0..1 << 20);
}

#[test]
fn busy_for_the_typical_time() {
    let mut flash = flash();
    let end = erase(&mut flash, Erase::Sector, 0);
    assert_eq!(end, Ticks::from_micros(45_000));
    assert_eq!(flash.status(Ticks(0)), STATUS_BUSY);
    assert!(flash.is_busy(end - Ticks(1)));
    assert!(!flash.is_busy(end));
    let mut flash = self::flash();
    assert_eq!(program(&mut flash, 0, &[0; 256]), Ticks::from_micros(400));
}

#[test]
fn identification_tells_the_size() {
    assert_eq!(Flash::default().jedec_id(), 0x0016_40EF);
    assert_eq!(Flash::new(1 << 23).unwrap().jedec_id(), 0x0017_40EF);
    assert!(Flash::new(3 << 20).is_err());
}

#[test]
fn power_cut_in_the_middle_leaves_a_part() {
    let cut = |share_percent: u64, seed| {
        let mut flash = flash();
        let end = program(&mut flash, 0x110, &[0; 0xE0]);
        flash.power_cut(Ticks(end.0 * share_percent / 100), seed);
        assert!(!flash.is_busy(Ticks(0)));
        flash.bytes[0x100..0x200].to_vec()
    };
    assert_eq!(cut(0, 1), [0xFF; 256]);
    let half = cut(50, 1);
    assert_eq!(half[..0x10], [0xFF; 0x10]);
    assert_eq!(half[0x10..0x80], [0; 0x70]);
    assert_eq!(half[0x81..], [0xFF; 0x7F]);
    assert_eq!(half, cut(50, 1));
    assert!((2..9).any(|seed| cut(50, seed)[0x80] != half[0x80]));
    assert_eq!(cut(100, 1)[0x10..0xF0], [0; 0xE0]);
}

#[test]
fn the_supply_fails_in_the_operation_it_was_told_to() {
    fn check(operation: FlashOperation, nth: u32, expected: Option<(u64, u64)>) {
        let mut flash = flash();
        flash.fail_in_operation(operation, nth, None, 7);
        flash.set_write_enabled(true);
        flash.write_status(Ticks(0), 0);
        let mut at = flash.busy_until(Ticks(0));
        let mut spans = vec![(Ticks(0), at)];
        for step in 0..4 {
            flash.set_write_enabled(true);
            let end = if step % 2 == 0 {
                flash.erase(at, Erase::Sector, 0)
            } else {
                flash.program(at, 0, &[0; 256])
            };
            spans.push((at, end));
            at = end;
        }
        let span = expected.map(|(from, to)| (spans[from as usize].0, spans[to as usize].1));
        match (flash.fails_at(), span) {
            (None, None) => {}
            (Some(at), Some((from, to))) if from < at && at < to => {}
            other => panic!("{operation:?} {nth}: {other:?}"),
        }
        flash.power_cut(at, 0);
        assert_eq!(flash.fails_at(), None);
    }
    check(FlashOperation::Any, 1, Some((1, 1)));
    check(FlashOperation::Any, 2, Some((2, 2)));
    check(FlashOperation::Erase, 2, Some((3, 3)));
    check(FlashOperation::Program, 2, Some((4, 4)));
    check(FlashOperation::Any, 5, None);
    check(FlashOperation::Any, 0, None);

    let mut flash = flash();
    let delay = Ticks::from_micros(3);
    flash.fail_in_operation(FlashOperation::Any, 1, Some(delay), 7);
    program(&mut flash, 0, &[0]);
    assert_eq!(flash.fails_at(), Some(delay));
    assert_eq!(flash.operations(), 1);
}

#[test]
fn power_cut_takes_back_what_had_not_begun() {
    let mut flash = flash();
    let first = program(&mut flash, 0, &[0; 256]);
    let second = program(&mut flash, 256, &[0; 256]);
    assert!(second > first);
    flash.power_cut(first, 3);
    assert!(flash.bytes[..256].iter().all(|byte| *byte == 0));
    assert!(flash.bytes[256..512].iter().all(|byte| *byte == 0xFF));
    // Of two at one place, what was there before the first.
    let third = program(&mut flash, 512, &[0x0F]);
    program(&mut flash, 512, &[0x33]);
    let last = program(&mut flash, 512, &[0x55]);
    assert_eq!(flash.bytes[512], 0x01);
    assert!(last > third);
    flash.power_cut(third, 3);
    assert_eq!(flash.bytes[512], 0x0F);
}

#[test]
fn file_is_kept_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flash.bin");
    let mut flash = Flash::load(&path, 1 << 20).unwrap();
    assert!(!flash.is_dirty());
    program(&mut flash, 5, &[0x42]);
    assert!(flash.is_dirty());
    flash.save(&path).unwrap();
    assert!(!flash.is_dirty());
    assert_eq!(Flash::load(&path, 1 << 20).unwrap().read(5), 0x42);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let error = Flash::load(&path, 1 << 21).unwrap_err().to_string();
    assert_eq!(
        error.replace(path.to_str().unwrap(), "FILE"),
        "flash file `FILE` holds 1048576 bytes, the rig describes 2097152: correct the size, or delete the file to start with an erased flash"
    );
    let missing = directory.path().join("no/such/flash.bin");
    assert!(matches!(
        flash.save(&missing),
        Err(FlashError::Write { .. })
    ));
}
