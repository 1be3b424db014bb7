//! What resets the chip, and what a reset leaves: watchdogs, software, the debugger, the supply.

use super::*;

#[test]
fn watchdogs_reset_the_chip_with_their_cause() {
    /// `arm` is run at the first boot only; the cause the second boot reads is left in SRAM.
    fn check(arm: fn(&mut Assembler), waits: bool, cause: ResetCause, millis: u64) {
        let code = program(
            |a| {
                increment(a, KEPT);
                copy(a, RTC_CNTL + 0x38, RESULT);
                let done = a.label();
                a.li(T0, KEPT);
                a.lw(T1, T0, 0);
                a.addi(T1, T1, -1);
                a.bne(T1, ZERO, done);
                arm(a);
                if !waits {
                    let spin = a.here();
                    a.jal(ZERO, spin);
                }
                a.bind(done);
            },
            |_| {},
        );
        let mut chip = boot(&code);
        run_to(&mut chip, Ticks::from_millis(500));
        let resets = resets(&mut chip);
        assert_eq!(resets.len(), 2, "{resets:?}");
        assert_eq!(resets[1], (cause, 30 + millis));
        assert_eq!(kept(&mut chip), 2, "two boots");
        assert_eq!(result(&mut chip, 0) & 0x3F, u32::from(cause.code()));
        assert!(chip.is_idle());
    }
    fn group0(a: &mut Assembler, actions: u32) {
        write(a, TIMG0 + 0x4C, 40_000 << 16);
        write(a, TIMG0 + 0x50, 200);
        write(a, TIMG0 + 0x48, 1 << 31 | actions << 23);
    }
    fn rtc(a: &mut Assembler, action: u32) {
        write(a, RTC_CNTL + 0x94, 6_800);
        write(a, RTC_CNTL + 0x90, 1 << 31 | action << 28 | 1 << 11);
    }
    for waits in [false, true] {
        check(
            |a| group0(a, 0b11_00_00_00),
            waits,
            ResetCause::CoreWatchdog0,
            100,
        );
        check(
            |a| group0(a, 0b10_00_00_00),
            waits,
            ResetCause::CpuWatchdog0,
            100,
        );
        check(|a| rtc(a, 2), waits, ResetCause::CpuRtcWatchdog, 100);
        check(|a| rtc(a, 3), waits, ResetCause::CoreRtcWatchdog, 100);
        check(|a| rtc(a, 4), waits, ResetCause::SystemRtcWatchdog, 100);
    }
}

#[test]
fn an_application_that_never_takes_the_watchdog_over_is_reset() {
    let mut a = Assembler::new(CODE);
    let stay = a.here();
    a.jal(ZERO, stay);
    let mut chip = chip_with(&ImageBuilder::new(CODE).segment(CODE, &a.bytes()), 1);
    chip.halt();
    chip.resume();
    // Nine seconds of a spinning hart are 720 million instructions: let the clock run by waiting instead.
    chip.run(Ticks::from_millis(31), u64::MAX);
    chip.state = State::Waits;
    run_to(&mut chip, Ticks::from_millis(9_040));
    assert_eq!(
        resets(&mut chip),
        [
            (ResetCause::PowerOn, 0),
            (ResetCause::SystemRtcWatchdog, 9_030)
        ]
    );
}

#[test]
fn software_resets_and_what_survives_them() {
    fn check(options: u32, cause: ResetCause, peripherals_kept: bool) {
        let code = program(
            |a| {
                increment(a, KEPT);
                copy(a, RTC_CNTL + 0x38, RESULT);
                copy(a, TIMG0 + 0x18, RESULT + 4);
                copy(a, RTC_CNTL + 0x50, RESULT + 8);
                let done = a.label();
                a.li(T0, KEPT);
                a.lw(T1, T0, 0);
                a.addi(T1, T1, -1);
                a.bne(T1, ZERO, done);
                write(a, TIMG0 + 0x18, 77);
                write(a, RTC_CNTL + 0x50, 78);
                write(a, RTC_CNTL, options);
                a.bind(done);
            },
            |_| {},
        );
        let mut chip = boot(&code);
        run_to(&mut chip, Ticks::from_millis(100));
        let causes: Vec<ResetCause> = resets(&mut chip)
            .into_iter()
            .map(|(cause, _)| cause)
            .collect();
        assert_eq!(causes, [ResetCause::PowerOn, cause]);
        assert_eq!(result(&mut chip, 0) & 0x3F, u32::from(cause.code()));
        assert_eq!(result(&mut chip, 1), if peripherals_kept { 77 } else { 0 });
        assert_eq!(result(&mut chip, 2), 78, "store registers survive");
        assert_eq!(kept(&mut chip), 2, "RTC memory survives");
        let before = chip.now();
        chip.power_off();
        assert_eq!(
            chip.run(before + Ticks::from_millis(5), u64::MAX),
            Pause::Idle
        );
        assert_eq!(chip.next_event(), None);
        chip.power_on();
        run_to(&mut chip, before + Ticks::from_millis(100));
        // The program counted anew, so it reset once more.
        assert_eq!(
            resets(&mut chip)
                .into_iter()
                .map(|(cause, _)| cause)
                .collect::<Vec<_>>(),
            [ResetCause::PowerOn, cause]
        );
        assert_eq!(kept(&mut chip), 2, "power-off lost RTC memory");
    }
    check(0x9C00_A000, ResetCause::CoreSoftware, false);
    check(0x1C00_A020, ResetCause::CpuSoftware, true);
}

#[test]
fn memory_is_noise_after_power_on_and_kept_over_resets() {
    fn words(chip: &mut Chip) -> [u32; 3] {
        // Where the program leaves no trace: either end of SRAM's data view, and RTC memory.
        [0x3FC9_0000, 0x3FCD_FFFC, 0x5000_1000]
            .map(|address| chip.bus_read(address, Width::Word).expect("memory"))
    }
    let mut chip = boot(&program(|_| {}, |_| {}));
    let first = words(&mut chip);
    assert_eq!(
        first,
        words(&mut boot(&program(|_| {}, |_| {}))),
        "one seed"
    );
    assert!(first.iter().all(|&word| word != 0), "{first:x?}");
    run_to(&mut chip, Ticks::from_millis(50));
    chip.reset_system();
    run_to(&mut chip, Ticks::from_millis(100));
    assert_eq!(first, words(&mut chip), "a reset is no loss of power");
    chip.power_off();
    chip.power_on();
    let second = words(&mut chip);
    for (first, second) in first.iter().zip(second) {
        assert_ne!(*first, second);
    }
}

#[test]
fn the_system_timer_begins_at_zero_after_every_reset_of_the_core() {
    fn counts(chip: &mut Chip) -> u32 {
        let latched = chip.bus_write(SYSTIMER + 4, 1 << 30, Width::Word);
        assert_eq!(latched, Ok(()));
        chip.bus_read(SYSTIMER + 0x44, Width::Word)
            .expect("a register")
    }
    fn check(reset: impl FnOnce(&mut Chip), begins_anew: bool) {
        let mut chip = boot(&program(|_| {}, |_| {}));
        run_to(&mut chip, Ticks::from_millis(500));
        assert_eq!(counts(&mut chip), 8_000_000);
        reset(&mut chip);
        let at = chip.now();
        chip.run(at + Ticks::from_millis(100), u64::MAX);
        let expected = if begins_anew { 1_600_000 } else { 9_600_000 };
        let counts = counts(&mut chip);
        assert!(counts.abs_diff(expected) < 20, "{counts}, not {expected}");
    }
    fn write(address: u32, value: u32) -> impl FnOnce(&mut Chip) {
        move |chip| assert_eq!(chip.bus_write(address, value, Width::Word), Ok(()))
    }
    check(write(RTC_CNTL, 0x9C00_A000), true);
    check(write(RTC_CNTL, 0x1C00_A020), false);
    check(write(SYSTEM + 0x18, 1 << 29), true);
    check(Chip::reset_system, true);
    check(
        |chip| {
            chip.power_off();
            chip.power_on();
        },
        true,
    );
}

#[test]
fn without_power_nothing_answers_the_debugger() {
    let mut chip = boot(&program(|_| {}, |_| {}));
    run_to(&mut chip, Ticks::from_millis(50));
    chip.power_off();
    let (address, width) = (RTC_CNTL, Width::Word);
    assert_eq!(chip.bus_read(address, width), Err(BusFault::Unmapped));
    assert_eq!(
        chip.bus_write(address, 0x9C00_A000, width),
        Err(BusFault::Unmapped)
    );
    assert!(chip.execute(&[NOP]).is_err());
    let later = chip.now() + Ticks::from_millis(100);
    assert_eq!(chip.run(later, u64::MAX), Pause::Idle);
    assert_eq!(
        resets(&mut chip),
        [(ResetCause::PowerOn, 0)],
        "no reset gave it power"
    );
}

#[test]
fn a_debuggers_reset_leaves_the_hart_halted() {
    let mut chip = boot(&program(|a| increment(a, KEPT), |_| {}));
    run_to(&mut chip, Ticks::from_millis(50));
    chip.ack_have_reset();
    chip.halt();
    let at = chip.now();
    assert_eq!(chip.run(Ticks::MAX, u64::MAX), Pause::Halted);
    assert_eq!(chip.now(), at, "time stands still");
    chip.bus_write(RTC_CNTL, 0x9C00_A000, Width::Word)
        .expect("a register");
    assert!(chip.is_halted() && chip.have_reset());
    assert_eq!(chip.read_register(csr_number::DPC), Some(0x4000_0000));
    chip.ack_have_reset();
    assert!(!chip.have_reset());
    chip.resume();
    run_to(&mut chip, Ticks::from_millis(100));
    assert_eq!(kept(&mut chip), 2, "it booted again");
    // The same through the program buffer: sw a1, 0(a0).
    chip.halt();
    chip.write_register(0x100A, RTC_CNTL);
    chip.write_register(0x100B, 0x9C00_A000);
    chip.execute(&[s_type(0, A1, A0, 2), EBREAK])
        .expect("a store");
    assert!(chip.is_halted() && chip.have_reset());
    chip.reset_hart();
    assert!(!chip.is_halted());
    let causes: Vec<ResetCause> = resets(&mut chip)
        .into_iter()
        .map(|(cause, _)| cause)
        .collect();
    assert_eq!(
        causes,
        [
            ResetCause::PowerOn,
            ResetCause::CoreSoftware,
            ResetCause::CoreSoftware
        ]
    );
}

#[test]
fn a_hart_that_cant_trap_is_locked_up_until_the_watchdog_helps() {
    let code = program(
        |a| {
            increment(a, KEPT);
            let done = a.label();
            a.li(T0, KEPT);
            a.lw(T1, T0, 0);
            a.addi(T1, T1, -1);
            a.bne(T1, ZERO, done);
            write(a, TIMG0 + 0x4C, 40_000 << 16);
            write(a, TIMG0 + 0x50, 200);
            write(a, TIMG0 + 0x48, 1 << 31 | 3 << 29);
            a.li(T0, 0x1000_0001);
            a.word(csrrw(ZERO, csr_number::MTVEC, T0));
            a.li(T0, 0x2000_0000);
            a.jalr(ZERO, T0, 0);
            a.bind(done);
        },
        |_| {},
    );
    let mut chip = boot(&code);
    run_to(&mut chip, Ticks::from_millis(400));
    let events = chip.events();
    let locked_up = events.iter().filter(|event| {
        matches!(
            event,
            ChipEvent::Lockup {
                pc: 0x1000_0000,
                ..
            }
        )
    });
    assert_eq!(locked_up.count(), 1, "it stands still: {events:?}");
    assert_eq!(kept(&mut chip), 2);
}
