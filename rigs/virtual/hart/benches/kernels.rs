//! Guest speed on three kernels, side by side with rrs-lib, a naive RV32IM interpreter in Rust.
//!
//! Criterion's throughput "elements" are guest instructions. Also here: what an armed store watchpoint costs, because
//! firmware never runs without one (the stack guard).

#![allow(missing_docs)] // criterion_group! makes an undocumented function.

#[path = "../tests/support/assembler.rs"]
mod assembler;
#[path = "../tests/support/kernels.rs"]
mod kernels;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Kernel, RAM_BYTES};
use rrs_lib::instruction_executor::InstructionExecutor;
use rrs_lib::memories::VecMemory;
use virtual_hart::{FlatRam, HaltCause, Hart, Stop, csr_number};

const EBREAK_HALTS: u32 = 1 << 15;
const ROUNDS: u32 = 100;
/// How often a whole chip looks up from the hart, roughly: slices of this many cycles.
const SLICE_CYCLES: u64 = 10_000;

struct Ours {
    hart: Hart,
    ram: FlatRam,
}

impl Ours {
    fn new(kernel: &Kernel) -> Ours {
        let mut ram = FlatRam::new(0, RAM_BYTES);
        let bytes: Vec<u8> = kernel
            .program
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        ram.write(0, &bytes);
        let mut hart = Hart::new();
        hart.set_csr(csr_number::DCSR, EBREAK_HALTS);
        Ours { hart, ram }
    }

    /// A store watchpoint on a word that the kernel does not touch.
    fn with_watchpoint(kernel: &Kernel, word: u32) -> Ours {
        let mut ours = Ours::new(kernel);
        ours.hart.set_csr(csr_number::TDATA1, 1 << 6 | 1 << 1);
        ours.hart.set_csr(csr_number::TDATA2, word);
        ours.hart.set_csr(csr_number::TCONTROL, 1 << 3);
        ours
    }

    fn run(mut self, kernel: &Kernel) -> u64 {
        loop {
            match self
                .hart
                .run(&mut self.ram, self.hart.cycles() + SLICE_CYCLES)
            {
                Stop::Deadline => {}
                Stop::Halted(HaltCause::Ebreak) => break,
                stop => panic!("{stop:x?} at {:#x}", self.hart.pc()),
            }
        }
        assert_eq!(self.hart.x(10), kernel.checksum, "{}", kernel.name);
        self.hart.instructions()
    }
}

fn run_rrs(kernel: &Kernel) -> u64 {
    let mut words = kernel.program.clone();
    words.resize(RAM_BYTES as usize / 4, 0);
    let mut memory = VecMemory::new(words);
    let mut state = rrs_lib::HartState::new();
    let end = 4
        * (kernel
            .program
            .iter()
            .position(|word| *word == assembler::EBREAK))
        .expect("kernels end at ebreak") as u32;
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
        let instructions = Ours::new(&kernel).run(&kernel);
        assert_eq!(instructions, run_rrs(&kernel), "{}", kernel.name);
        let mut group = criterion.benchmark_group(kernel.name);
        group
            .throughput(Throughput::Elements(instructions))
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2));
        group.bench_function(BenchmarkId::from_parameter("virtual-hart"), |bencher| {
            bencher.iter(|| Ours::new(&kernel).run(&kernel));
        });
        for (what, word) in [
            ("virtual-hart, watchpoint", RAM_BYTES - 4),
            ("virtual-hart, watchpoint beside its data", kernel.beside),
        ] {
            group.bench_function(BenchmarkId::from_parameter(what), |bencher| {
                bencher.iter(|| Ours::with_watchpoint(&kernel, word).run(&kernel));
            });
        }
        group.bench_function(BenchmarkId::from_parameter("rrs-lib 0.1"), |bencher| {
            bencher.iter(|| run_rrs(&kernel));
        });
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
