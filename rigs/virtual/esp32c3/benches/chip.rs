//! Guest speed with the whole chip around the hart, side by side with rrs-lib (a naive RV32IM interpreter without
//! any chip); what a register access costs; and how fast an idle chip's time passes.
//!
//! Criterion's throughput "elements" are guest instructions, register accesses, or seconds of chip time.

#![allow(missing_docs)] // criterion_group! makes an undocumented function.

#[path = "../../hart/tests/support/assembler.rs"]
mod assembler;
#[path = "../../hart/tests/support/kernels.rs"]
mod kernels;

use std::time::Duration;

use assembler::*;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{DATA, Kernel, RAM_BYTES};
use rrs_lib::instruction_executor::InstructionExecutor;
use rrs_lib::memories::VecMemory;
use virtual_esp32c3::{Chip, ChipConfig, Flash, Pause, Ticks};
use virtual_hart::{Width, csr_number};

/// Such that no kernel's count of rounds looks like one of its data addresses: see `moved`.
const ROUNDS: u32 = 200;
const CODE: u32 = 0x4038_0000;
const SRAM: u32 = 0x3FC8_0000;
const SYSTIMER: u32 = 0x6002_3000;
/// `dcsr`: an `ebreak` halts, and the hart resumes in machine mode.
const EBREAK_HALTS: u32 = 1 << 15 | 3;
/// How often the rig looks up from the chip, roughly: slices of 50 us of host time.
const SLICE_INSTRUCTIONS: u64 = 25_000;

/// A chip at the first instruction of `program`, which lies at the start of SRAM.
fn chip(program: &[u32]) -> Chip {
    let mut chip = Chip::new(ChipConfig {
        seed: 1,
        mac: [2, 0, 0, 0, 0, 1],
        revision: (0, 4),
        flash: Flash::new(1 << 20).expect("a size that is made"),
    });
    chip.halt();
    for (address, word) in (SRAM..).step_by(4).zip(program) {
        chip.bus_write(address, *word, Width::Word).expect("SRAM");
    }
    // The kernels want zeros in their data, and memory is noise after power-on.
    for address in (SRAM + DATA..SRAM + DATA + 0x4000).step_by(4) {
        chip.bus_write(address, 0, Width::Word).expect("SRAM");
    }
    // No super watchdog, 160 MHz; a stack guard as firmware has it, and a timer interrupt every millisecond.
    for (address, value) in [
        (0x6000_80B0, 0x8F1D_312A),
        (0x6000_80AC, 1 << 30),
        (0x600C_0008, 0x0D),
        (0x600C_0058, 0x401),
        (SYSTIMER + 0x64, 1),
        (SYSTIMER + 0x34, 1 << 30 | 16_000),
        (SYSTIMER + 0x50, 1),
        (SYSTIMER, 0x4700_0000),
        (0x600C_2000 + 37 * 4, 17),
        (0x600C_2114 + 17 * 4, 1),
        (0x600C_2104, 1 << 17),
    ] {
        chip.bus_write(address, value, Width::Word)
            .expect("a register");
    }
    for (register, value) in [
        (csr_number::DCSR, EBREAK_HALTS),
        (csr_number::DPC, CODE),
        (csr_number::MTVEC, (CODE + 0x3_0000) | 1),
        (csr_number::MSTATUS, 0x1808),
    ] {
        assert!(chip.write_register(register, value));
    }
    // The handler: clears SYSTIMER's interrupt and keeps every register it uses.
    let mut handler = Assembler::new(CODE + 0x3_0000);
    let begin = handler.label();
    for _ in 0..32 {
        handler.jal(ZERO, begin);
    }
    handler.bind(begin);
    handler.word(csrrw(T0, csr_number::MSCRATCH, T0));
    handler.li(T0, SYSTIMER + 0x6C);
    // The base's low bits hold the one that is to be cleared.
    handler.ori(T0, T0, 1);
    handler.sw(T0, T0, -1);
    handler.word(csrrw(T0, csr_number::MSCRATCH, T0));
    handler.word(MRET);
    for (address, word) in (SRAM + 0x3_0000..).step_by(4).zip(handler.finish()) {
        chip.bus_write(address, word, Width::Word).expect("SRAM");
    }
    chip.resume();
    chip
}

/// The kernel with its data moved from 0x1_0000 to the chip's SRAM; its code runs anywhere. Every `lui` that could
/// be of a data address is one: were it not so, the checksum would be wrong, or the kernel would run for ever.
fn moved(kernel: &Kernel) -> Vec<u32> {
    let moved = kernel.program.iter().map(|word| {
        let is_lui = word & 0x7F == 0x37;
        let points_to_data = (0x10..RAM_BYTES >> 12).contains(&(word >> 12));
        if is_lui && points_to_data {
            word + SRAM
        } else {
            *word
        }
    });
    moved.collect()
}

fn run_chip(mut chip: Chip, kernel: &Kernel) -> u64 {
    let before = chip.instructions();
    loop {
        match chip.run(Ticks::MAX, SLICE_INSTRUCTIONS) {
            Pause::Budget => {}
            Pause::Halted => break,
            pause => panic!("{pause:?} at {:x?}", chip.read_register(csr_number::DPC)),
        }
    }
    assert_eq!(
        chip.read_register(0x100A),
        Some(kernel.checksum),
        "{}",
        kernel.name
    );
    chip.instructions() - before
}

fn run_rrs(kernel: &Kernel) -> u64 {
    let mut words = kernel.program.clone();
    let end = words
        .iter()
        .position(|word| *word == EBREAK)
        .expect("kernels end at ebreak") as u32
        * 4;
    words.resize(RAM_BYTES as usize / 4, 0);
    let mut memory = VecMemory::new(words);
    let mut state = rrs_lib::HartState::new();
    let mut executor = InstructionExecutor {
        hart_state: &mut state,
        mem: &mut memory,
    };
    let mut instructions = 0;
    while executor.hart_state.pc != end {
        executor.step().expect("kernels run without exceptions");
        instructions += 1;
    }
    assert_eq!(state.registers[10], kernel.checksum, "{}", kernel.name);
    instructions
}

fn kernels(criterion: &mut Criterion) {
    for kernel in kernels::all(ROUNDS) {
        let program = moved(&kernel);
        let instructions = run_rrs(&kernel);
        let mut group = criterion.benchmark_group(kernel.name);
        group
            .throughput(Throughput::Elements(instructions))
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2));
        group.bench_function(BenchmarkId::from_parameter("virtual-esp32c3"), |bencher| {
            bencher.iter_batched(
                || chip(&program),
                |chip| run_chip(chip, &kernel),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(BenchmarkId::from_parameter("rrs-lib 0.1"), |bencher| {
            bencher.iter(|| run_rrs(&kernel));
        });
        group.finish();
    }
}

/// A loop that does nothing but read a register of SYSTIMER.
fn registers(criterion: &mut Criterion) {
    const READS: u32 = 100_000;
    let mut a = Assembler::new(CODE);
    a.li(S0, SYSTIMER);
    a.li(T0, READS);
    a.li(A0, 0);
    let again = a.here();
    a.lw(T1, S0, 4);
    a.addi(T0, T0, -1);
    a.bne(T0, ZERO, again);
    a.word(EBREAK);
    let kernel = Kernel {
        name: "register reads",
        program: a.finish(),
        checksum: 0,
        beside: 0,
    };
    let mut group = criterion.benchmark_group(kernel.name);
    group
        .throughput(Throughput::Elements(READS.into()))
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    group.bench_function(BenchmarkId::from_parameter("virtual-esp32c3"), |bencher| {
        bencher.iter_batched(
            || chip(&kernel.program),
            |chip| run_chip(chip, &kernel),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// A minute asleep but for the timer interrupt every millisecond, and the few instructions it takes.
fn idle(criterion: &mut Criterion) {
    const SECONDS: u64 = 60;
    let mut a = Assembler::new(CODE);
    let again = a.here();
    a.word(WFI);
    a.jal(ZERO, again);
    let program = a.finish();
    let mut group = criterion.benchmark_group("idle, a tick a millisecond");
    group
        .throughput(Throughput::Elements(SECONDS))
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    group.bench_function(BenchmarkId::from_parameter("virtual-esp32c3"), |bencher| {
        bencher.iter_batched(
            || chip(&program),
            |mut chip| {
                assert_eq!(
                    chip.run(Ticks::from_seconds(SECONDS), u64::MAX),
                    Pause::Limit
                );
                assert!(chip.instructions() > 60_000);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, kernels, registers, idle);
criterion_main!(benches);
