//! The whole chip, from outside: small programs boot from flash, and what they leave behind is looked at.

#[path = "../../../hart/tests/support/assembler.rs"]
pub(crate) mod assembler;
mod resets;

use std::time::{Duration, Instant};

use assembler::*;
use virtual_hart::{BusFault, Width, csr_number};

use super::*;
use crate::boot::testing::{ImageBuilder, flash_with};

/// Where programs are loaded: 32 vectors, then `main`.
const CODE: u32 = 0x4038_0000;
const MAIN: u32 = CODE + 0x80;
/// Results, in SRAM.
const RESULT: u32 = 0x3FCA_0000;
/// Results that outlive resets, in RTC memory.
const KEPT: u32 = 0x5000_0100;

const SYSTIMER: u32 = 0x6002_3000;
const TIMG0: u32 = 0x6001_F000;
const RTC_CNTL: u32 = 0x6000_8000;
const SYSTEM: u32 = 0x600C_0000;
const MATRIX: u32 = 0x600C_2000;
const WATCHDOG_KEY: u32 = 0x50D8_3AA1;

/// A program: `main` is written first, `handler` is where interrupts go.
pub(crate) fn program(
    main: impl FnOnce(&mut Assembler),
    handler: impl FnOnce(&mut Assembler),
) -> Vec<u8> {
    let mut a = Assembler::new(CODE);
    let entry = a.label();
    for _ in 0..32 {
        a.jal(ZERO, entry);
    }
    a.li(T0, CODE | 1);
    a.word(csrrw(ZERO, csr_number::MTVEC, T0));
    // Nobody but the test decides when watchdogs bite.
    write(&mut a, RTC_CNTL + 0xA8, WATCHDOG_KEY);
    write(&mut a, RTC_CNTL + 0x90, 0);
    clear_after_power_on(&mut a);
    main(&mut a);
    let stay = a.here();
    a.word(WFI);
    a.jal(ZERO, stay);
    a.bind(entry);
    handler(&mut a);
    a.word(MRET);
    a.bytes()
}

/// What lies in memory after a power-on is noise: as firmware must, the program clears what it counts in.
fn clear_after_power_on(a: &mut Assembler) {
    let reset_before = a.label();
    a.li(T0, RTC_CNTL + 0x38);
    a.lw(T1, T0, 0);
    a.andi(T1, T1, 0x3F);
    a.addi(T1, T1, -i32::from(ResetCause::PowerOn.code()));
    a.bne(T1, ZERO, reset_before);
    write(a, KEPT, 0);
    a.li(T0, RESULT);
    a.li(T1, RESULT + 128);
    let again = a.here();
    a.sw(ZERO, T0, 0);
    a.addi(T0, T0, 4);
    a.bne(T0, T1, again);
    a.bind(reset_before);
}

pub(crate) fn write(a: &mut Assembler, address: u32, value: u32) {
    a.li(T0, address);
    a.li(T1, value);
    a.sw(T1, T0, 0);
}

/// Copies a register (or any word) to memory.
fn copy(a: &mut Assembler, from: u32, to: u32) {
    a.li(T0, from);
    a.lw(T1, T0, 0);
    a.li(T0, to);
    a.sw(T1, T0, 0);
}

fn increment(a: &mut Assembler, address: u32) {
    a.li(T0, address);
    a.lw(T1, T0, 0);
    a.addi(T1, T1, 1);
    a.sw(T1, T0, 0);
}

/// SYSTIMER unit 0, low word, to memory.
fn copy_time(a: &mut Assembler, to: u32) {
    write(a, SYSTIMER + 4, 1 << 30);
    copy(a, SYSTIMER + 0x44, to);
}

/// Routes interrupt `source` to line 17 with priority 1.
pub(crate) fn route(a: &mut Assembler, source: u32) {
    write(a, MATRIX + source * 4, 17);
    write(a, MATRIX + 0x114 + 17 * 4, 1);
    write(a, MATRIX + 0x104, 1 << 17);
}

pub(crate) fn chip_with(image: &ImageBuilder, seed: u64) -> Chip {
    let mut flash = Flash::new(1 << 20).expect("a size that is made");
    assert!(flash.preset(0, &flash_with(image)));
    Chip::new(ChipConfig {
        seed,
        mac: [2, 0, 0, 0, 0, 1],
        revision: (0, 4),
        flash,
    })
}

pub(crate) fn boot(code: &[u8]) -> Chip {
    // The vectors lead to the handler; execution begins behind them.
    chip_with(&ImageBuilder::new(MAIN).segment(CODE, code), 1)
}

fn result(chip: &mut Chip, index: u32) -> u32 {
    chip.bus_read(RESULT + index * 4, Width::Word)
        .expect("SRAM")
}

fn kept(chip: &mut Chip) -> u32 {
    chip.bus_read(KEPT, Width::Word).expect("RTC memory")
}

/// Runs to `limit`, over resets.
pub(crate) fn run_to(chip: &mut Chip, limit: Ticks) -> Pause {
    loop {
        match chip.run(limit, u64::MAX) {
            Pause::Reset | Pause::FrameSent => {}
            pause => return pause,
        }
    }
}

pub(crate) fn resets(chip: &mut Chip) -> Vec<(ResetCause, u64)> {
    let events = chip.events().into_iter();
    let resets = events.filter_map(|event| match event {
        ChipEvent::Reset { cause, at } => Some((cause, at.as_millis())),
        _ => None,
    });
    resets.collect()
}

#[test]
fn a_timer_interrupt_arrives_at_its_time() {
    fn check(micros: u32, waits: bool) {
        let code = program(
            |a| {
                route(a, 32);
                write(a, TIMG0 + 0x70, 1);
                write(a, TIMG0 + 0x10, micros);
                copy_time(a, RESULT);
                write(a, TIMG0, 1 << 31 | 1 << 30 | 80 << 13 | 1 << 10);
                if !waits {
                    let spin = a.here();
                    a.jal(ZERO, spin);
                }
            },
            |a| {
                copy_time(a, RESULT + 4);
                increment(a, RESULT + 8);
                write(a, TIMG0 + 0x7C, 1);
            },
        );
        let mut chip = boot(&code);
        run_to(&mut chip, Ticks::from_millis(200));
        assert_eq!(result(&mut chip, 2), 1, "one interrupt");
        let counts = result(&mut chip, 1) - result(&mut chip, 0);
        // A count is 1/16 us; around the timer's start and in the handler run about 20 instructions at 80 MHz.
        let late = counts - micros * 16;
        assert!(
            late <= 8,
            "{micros} us: {late} counts late (waits: {waits})"
        );
        assert_eq!(chip.is_idle(), waits);
    }
    for micros in [5, 100, 1_000, 12_345] {
        check(micros, true);
        check(micros, false);
    }
}

#[test]
fn chip_time_is_even_over_frequency_changes() {
    /// SYSTIMER counts that 4000 instructions take at this clock.
    fn check(sysclk: u32, cpu_per: u32, expected: u32) {
        let code = program(
            |a| {
                write(a, SYSTEM + 8, cpu_per);
                write(a, SYSTEM + 0x58, sysclk);
                copy_time(a, RESULT);
                a.li(T2, 2_000);
                let again = a.here();
                a.addi(T2, T2, -1);
                a.bne(T2, ZERO, again);
                copy_time(a, RESULT + 4);
            },
            |_| {},
        );
        let mut chip = boot(&code);
        let mut last = Ticks::ZERO;
        while !chip.is_idle() {
            chip.run(Ticks::from_seconds(1), 100);
            assert!(chip.now() >= last);
            last = chip.now();
        }
        let counts = result(&mut chip, 1) - result(&mut chip, 0);
        let share = f64::from(counts) / f64::from(expected);
        assert!(
            (1.0..1.01).contains(&share),
            "{sysclk:#x}: {counts} counts, {expected} expected"
        );
    }
    check(0x401, 0x0D, 400);
    check(0x401, 0x0C, 800);
    check(0x000, 0x0C, 1_600);
    check(0x001, 0x0C, 3_200);
}

#[test]
fn code_changed_through_the_data_view_is_executed() {
    fn check(fence: bool) {
        let code = program(
            |a| {
                let (function, over) = (a.label(), a.label());
                a.jal(ZERO, over);
                a.bind(function);
                let place = a.address();
                a.addi(A0, ZERO, 1);
                a.ret();
                a.bind(over);
                a.jal(RA, function);
                a.add(S0, ZERO, A0);
                // The data view of the function's first word.
                write(a, place - CODE + 0x3FC8_0000, i_type(0x13, 2, ZERO, 0, A0));
                if fence {
                    a.word(FENCE_I);
                }
                a.jal(RA, function);
                a.li(T0, RESULT);
                a.sw(S0, T0, 0);
                a.sw(A0, T0, 4);
            },
            |_| {},
        );
        let mut chip = boot(&code);
        run_to(&mut chip, Ticks::from_millis(50));
        assert_eq!(
            (result(&mut chip, 0), result(&mut chip, 1)),
            (1, 2),
            "fence.i: {fence}"
        );
    }
    check(true);
    check(false);
}

#[test]
fn flash_windows_show_what_the_table_says() {
    // Page 0 of the windows is the application's flash page 1, as data and as instructions.
    let mut function = Assembler::new(0x4201_0020);
    function.addi(A0, A0, 5);
    function.ret();
    let code = program(
        |a| {
            copy(a, 0x3C00_0020, RESULT);
            a.li(A0, 1);
            a.li(T0, 0x4201_0020);
            a.jalr(RA, T0, 0);
            a.li(T0, RESULT);
            a.sw(A0, T0, 4);
            // Show the second page's contents in the first, then nothing: the load faults.
            copy(a, 0x600C_5004, 0x600C_5000);
            copy(a, 0x3C00_0020, RESULT + 8);
            write(a, 0x600C_5000, 0x100);
            copy(a, 0x3C00_0020, RESULT + 12);
        },
        |a| {
            a.word(csrrs(T2, csr_number::MCAUSE, ZERO));
            a.li(T0, RESULT);
            a.sw(T2, T0, 16);
            a.word(csrrs(T2, csr_number::MTVAL, ZERO));
            a.sw(T2, T0, 20);
            let stay = a.here();
            a.word(WFI);
            a.jal(ZERO, stay);
        },
    );
    let image = ImageBuilder::new(MAIN)
        .segment(0x3C00_0020, &0x1234_5678u32.to_le_bytes())
        .segment(CODE, &code)
        .segment(0x4201_0020, &function.bytes());
    let mut chip = chip_with(&image, 1);
    run_to(&mut chip, Ticks::from_millis(50));
    assert_eq!(result(&mut chip, 0), 0x1234_5678);
    assert_eq!(result(&mut chip, 1), 6, "executed from flash");
    assert_eq!(
        result(&mut chip, 2),
        i_type(0x13, 5, A0, 0, A0),
        "the other page's first word"
    );
    assert_eq!(
        (result(&mut chip, 4), result(&mut chip, 5)),
        (5, 0x3C00_0020)
    );
    assert_eq!(result(&mut chip, 3), 0);
}

#[test]
fn an_idle_hour_takes_well_under_a_second() {
    let code = program(
        |a| {
            route(a, 37);
            write(a, SYSTIMER + 0x64, 1);
            write(a, SYSTIMER + 0x34, 1 << 30 | 16_000_000);
            write(a, SYSTIMER + 0x50, 1);
            write(a, SYSTIMER, 0x4600_0000 | 1 << 24);
        },
        |a| {
            increment(a, RESULT);
            write(a, SYSTIMER + 0x6C, 1);
        },
    );
    let mut chip = boot(&code);
    let start = Instant::now();
    assert_eq!(
        run_to(
            &mut chip,
            Ticks::from_seconds(3_600) + Ticks::from_millis(100)
        ),
        Pause::Limit
    );
    assert_eq!(result(&mut chip, 0), 3_600);
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    assert!(chip.instructions() < 200_000);
}

#[test]
fn nothing_armed_is_idle() {
    let mut chip = boot(&program(|_| {}, |_| {}));
    assert_eq!(run_to(&mut chip, Ticks::from_seconds(1)), Pause::Idle);
    assert_eq!(
        (chip.now(), chip.next_event()),
        (Ticks::from_seconds(1), None)
    );
    assert_eq!(run_to(&mut chip, Ticks::MAX), Pause::Idle);
    assert_eq!(
        chip.now(),
        Ticks::from_seconds(1),
        "time does not jump to the end of the world"
    );
}

#[test]
fn the_instruction_budget_is_kept() {
    let mut chip = boot(&program(
        |a| {
            let spin = a.here();
            a.jal(ZERO, spin);
        },
        |_| {},
    ));
    for _ in 0..10 {
        let before = chip.instructions();
        assert_eq!(chip.run(Ticks::MAX, 1_000), Pause::Budget);
        let done = chip.instructions() - before;
        assert!((1_000..1_100).contains(&done), "{done}");
    }
}

#[test]
fn accesses_to_what_is_not_modelled_are_named() {
    let code = program(
        |a| {
            a.li(T0, 0x6001_3000);
            a.lw(T1, T0, 0x38);
            a.lw(T1, T0, 0x38);
            a.sw(T1, T0, 4);
            a.li(T0, 0x6000_1000);
            a.lw(T1, T0, 0);
        },
        |_| {},
    );
    let mut chip = boot(&code);
    run_to(&mut chip, Ticks::from_millis(50));
    let lines: Vec<String> = chip
        .unmodelled()
        .iter()
        .map(|entry| entry.to_string())
        .collect();
    // `main` begins with 13 instructions of its own.
    assert_eq!(
        lines,
        [
            "i2c0: write of unmodelled register +0x04 (pc 0x4038_010c)",
            "i2c0: read of unmodelled register +0x38 (pc 0x4038_0104), 2 times",
            "reserved: read of unmodelled register +0x60001000 (pc 0x4038_0118)",
        ]
    );
}

#[test]
fn narrow_and_misaligned_accesses() {
    fn check(address: u32, width: Width, expected: Result<u32, BusFault>) {
        let mut chip = boot(&program(|_| {}, |_| {}));
        run_to(&mut chip, Ticks::from_millis(50));
        chip.bus_write(0x6000_8050, 0x8899_AABB, Width::Word)
            .expect("a register");
        chip.bus_write(RESULT, 0x4433_2211, Width::Word)
            .expect("SRAM");
        chip.bus_write(RESULT + 4, 0x8877_6655, Width::Word)
            .expect("SRAM");
        assert_eq!(
            chip.bus_read(address, width),
            expected,
            "{address:#x} {width:?}"
        );
    }
    check(0x6000_8051, Width::Byte, Ok(0xAA));
    check(0x6000_8052, Width::Half, Ok(0x8899));
    check(0x6000_8051, Width::Half, Err(BusFault::Misaligned));
    check(0x6000_8052, Width::Word, Err(BusFault::Misaligned));
    check(RESULT + 1, Width::Word, Ok(0x5544_3322));
    check(RESULT + 3, Width::Half, Ok(0x5544));
    check(0x4000_1000, Width::Word, Ok(0x1B31_506F));
    check(0x4000_1002, Width::Half, Ok(0x1B31));
    check(0x3C00_0000, Width::Word, Err(BusFault::Unmapped));
    check(0x0000_0000, Width::Word, Err(BusFault::Unmapped));
    check(0x7000_0000, Width::Byte, Err(BusFault::Unmapped));
    let mut chip = boot(&program(|_| {}, |_| {}));
    chip.bus_write(0x6000_8050, u32::MAX, Width::Word)
        .expect("a register");
    chip.bus_write(0x6000_8051, 0, Width::Byte)
        .expect("a register");
    assert_eq!(chip.bus_read(0x6000_8050, Width::Word), Ok(0xFFFF_00FF));
    assert_eq!(
        chip.bus_write(0x4200_0000, 0, Width::Word),
        Err(BusFault::Denied)
    );
    assert_eq!(
        chip.bus_write(0x4000_0000, 0, Width::Word),
        Err(BusFault::Denied)
    );
    assert_eq!(
        chip.bus_write(0x1000, 0, Width::Word),
        Err(BusFault::Unmapped)
    );
}

#[test]
fn a_rom_delay_lets_time_and_watchdogs_go_on() {
    let code = program(
        |a| {
            increment(a, KEPT);
            copy_time(a, RESULT);
            a.li(A0, 10_000);
            a.li(T0, 0x4000_0050);
            a.jalr(RA, T0, 0);
            copy_time(a, RESULT + 4);
            // A delay too long for the watchdog.
            write(a, TIMG0 + 0x4C, 40_000 << 16);
            write(a, TIMG0 + 0x50, 200);
            write(a, TIMG0 + 0x48, 1 << 31 | 3 << 29);
            a.li(A0, 2_000_000);
            a.li(T0, 0x4000_0050);
            a.jalr(RA, T0, 0);
        },
        |_| {},
    );
    let mut chip = boot(&code);
    assert_eq!(chip.run(Ticks::from_seconds(3), u64::MAX), Pause::Reset);
    assert_eq!(
        resets(&mut chip),
        [(ResetCause::PowerOn, 0), (ResetCause::CoreWatchdog0, 140)]
    );
    let counts = result(&mut chip, 1) - result(&mut chip, 0);
    assert!((160_000..160_040).contains(&counts), "{counts}");
}

#[test]
fn the_longest_rom_delay_there_is_only_waits() {
    let code = program(
        |a| {
            for function in [0x4000_0588, 0x4000_0050] {
                a.li(A0, u32::MAX);
                a.li(T0, function);
                a.jalr(RA, T0, 0);
            }
        },
        |_| {},
    );
    let mut chip = boot(&code);
    for limit in [Ticks::from_seconds(1), Ticks::from_seconds(1 << 29)] {
        assert_eq!(run_to(&mut chip, limit), Pause::Limit);
        assert!(chip.now() >= limit);
    }
}

#[test]
fn one_seed_gives_one_run() {
    fn state(seed: u64) -> (u64, Ticks, Vec<u32>) {
        let code = program(
            |a| {
                route(a, 37);
                write(a, SYSTIMER + 0x64, 1);
                write(a, SYSTIMER + 0x34, 1 << 30 | 1_600);
                write(a, SYSTIMER + 0x50, 1);
                write(a, SYSTIMER, 0x4600_0000 | 1 << 24);
                // Noise to memory, for ever, with interrupts in between.
                a.li(S0, RESULT + 16);
                a.li(S1, 0x6002_60B0);
                let again = a.here();
                a.lw(A0, S1, 0);
                a.sw(A0, S0, 0);
                a.andi(A0, A0, 60);
                a.add(A1, S0, A0);
                a.sw(S0, A1, 0);
                a.jal(ZERO, again);
            },
            |a| {
                increment(a, RESULT);
                write(a, SYSTIMER + 0x6C, 1);
            },
        );
        let image = ImageBuilder::new(MAIN).segment(CODE, &code);
        let mut chip = chip_with(&image, seed);
        run_to(&mut chip, Ticks::from_millis(60));
        let words = (0..32).map(|index| result(&mut chip, index)).collect();
        (chip.instructions(), chip.now(), words)
    }
    assert_eq!(state(7), state(7));
    assert_ne!(state(7).2, state(8).2);
}

#[test]
fn registers_have_debug_numbers() {
    let mut chip = boot(&program(|_| {}, |_| {}));
    chip.halt();
    assert!(chip.write_register(0x1005, 55) && chip.write_register(csr_number::MSCRATCH, 56));
    assert_eq!(chip.read_register(0x1005), Some(55));
    assert_eq!(chip.read_register(csr_number::MSCRATCH), Some(56));
    assert_eq!(chip.read_register(csr_number::MISA), Some(0x4010_1104));
    assert_eq!(chip.read_register(0x1020), None);
    assert!(!chip.write_register(0x1020, 0));
    assert_eq!(chip.read_register(0x5C0), None);
}

#[test]
fn a_chip_without_an_application_stands_still() {
    let mut chip = Chip::new(ChipConfig {
        seed: 0,
        mac: [0; 6],
        revision: (0, 4),
        flash: Flash::new(1 << 20).expect("a size that is made"),
    });
    assert_eq!(chip.run(Ticks::from_seconds(100), u64::MAX), Pause::Idle);
    let failures: Vec<String> = chip
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ChipEvent::BootFailed { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(
        failures,
        ["no bootloader at 0x0: no image: flash is erased there"]
    );
    assert_eq!(chip.now(), Ticks::from_seconds(100));
}
