//! The hart against the [`Reference`]: random programs, and every compressed parcel.
//!
//! Programs loop, so that blocks are linked and run from the cache; they write into their own code, arm triggers and
//! memory protection, drop to user mode, and let registers raise interrupts. Compared is everything that can be seen:
//! registers, CSRs, memory, counts, and each register access with its time and `pc`.

use proptest::prelude::*;
use virtual_hart::{Hart, Stop};

use crate::assembler::*;
use crate::machine::{CODE, DATA, LINE, Machine, RAM, RAM_BYTES, REGISTERS, TestBus, VECTORS};
use crate::reference::Reference;

/// What a program is made of.
#[derive(Debug, Clone)]
enum Piece {
    Word(u32),
    Half(u16),
    /// li t5, value; csrw csr, t5
    WriteCsr(u16, u32),
}

const CSRS: [u16; 36] = [
    0x300, 0x301, 0x305, 0x340, 0x341, 0x342, 0x343, 0x3a0, 0x3a1, 0x3a2, 0x3a3, 0x3b0, 0x3b1,
    0x3b7, 0x3bf, 0x7a0, 0x7a1, 0x7a2, 0x7a3, 0x7a4, 0x7a5, 0x7e0, 0x7e1, 0x7e2, 0x803, 0x804,
    0x805, 0xf11, 0xf12, 0xf13, 0xf14, // Not there: mie, mip, mcycle, cycle, dcsr.
    0x304, 0x344, 0xb00, 0xc00, 0x7b0,
];

fn register() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 8u32..16, 1 => 0u32..32]
}

/// An instruction of any kind, legal or nearly.
fn word() -> impl Strategy<Value = u32> {
    let fields = (
        register(),
        register(),
        register(),
        0u32..8,
        any::<i16>(),
        0usize..CSRS.len(),
    );
    (0u32..100, fields).prop_map(|(kind, (rd, rs1, rs2, f3, imm, csr))| {
        let imm = i32::from(imm);
        match kind {
            0..20 => r_type(
                [0, 0, 0x20, 1, 1, 2][imm as u32 as usize % 6],
                rs2,
                rs1,
                f3,
                rd,
            ),
            20..40 => i_type(0x13, imm >> 4, rs1, f3, rd),
            40..52 => i_type(0x03, imm >> 9, rs1, f3, rd),
            52..64 => s_type(imm >> 9, rs2, rs1, f3),
            64..72 => b_type((imm >> 9) & !1, rs2, rs1, f3),
            72..75 => j_type((imm >> 9) & !1, rd),
            75..77 => i_type(0x67, imm >> 9, rs1, 0, rd),
            77..80 => (imm as u32) << 12 | rd << 7 | if imm & 16 == 0 { 0x37 } else { 0x17 },
            80..90 => csr_type(CSRS[csr], rs1, f3, rd),
            90 => ECALL,
            91 => EBREAK,
            92 => MRET,
            93 => WFI,
            94 => FENCE_I,
            95 => 0x0000_000f,
            _ => (imm as u32).wrapping_mul(0x9e37_79b9) | 3,
        }
    })
}

fn address() -> impl Strategy<Value = u32> {
    prop_oneof![
        (0..RAM_BYTES).prop_map(|offset| RAM + offset),
        CODE..CODE + 0x100,
        DATA..DATA + 0x80,
        REGISTERS..REGISTERS + 12,
        Just(LINE),
        any::<u32>(),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        60 => word().prop_map(Piece::Word),
        25 => any::<u16>().prop_map(|parcel| Piece::Half(if parcel & 3 == 3 { parcel ^ 2 } else { parcel })),
        2 => any::<u32>().prop_map(|value| Piece::WriteCsr(0x300, value)),
        2 => address().prop_map(|value| Piece::WriteCsr(0x7a2, value)),
        2 => (0u32..16, any::<bool>()).prop_map(|(what, napot)| {
            Piece::WriteCsr(0x7a1, what & 7 | 0x48 | u32::from(napot) << 7)
        }),
        1 => Just(Piece::WriteCsr(0x7a5, 0x88)),
        1 => (0u32..8).prop_map(|value| Piece::WriteCsr(0x7a0, value)),
        1 => (0u16..4, any::<u32>()).prop_map(|(n, value)| Piece::WriteCsr(0x3a0 + n, value & 0x9f1f_1f9f)),
        2 => (0u16..16, address()).prop_map(|(n, value)| Piece::WriteCsr(0x3b0 + n, value >> 2)),
    ]
}

/// Vectors that jump to a handler, which skips what trapped, or silences the line that interrupted.
fn handler(a: &mut Assembler) {
    let (handler, interrupt) = (a.label(), a.label());
    for _ in 0..32 {
        a.jal(ZERO, handler);
    }
    a.bind(handler);
    a.word(csrrs(T6, 0x342, ZERO));
    a.blt(T6, ZERO, interrupt);
    a.word(csrrs(T6, 0x341, ZERO));
    a.addi(T6, T6, 4);
    a.word(csrrw(ZERO, 0x341, T6));
    a.word(MRET);
    a.bind(interrupt);
    a.li(T6, LINE);
    a.sw(ZERO, T6, 0);
    a.word(MRET);
}

fn assemble(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Word(word) => bytes.extend(word.to_le_bytes()),
            Piece::Half(half) => bytes.extend(half.to_le_bytes()),
            Piece::WriteCsr(csr, value) => {
                let mut a = Assembler::new(0);
                a.li(T5, *value);
                a.word(csrrw(ZERO, *csr, T5));
                bytes.extend(a.bytes());
            }
        }
    }
    bytes.extend(j_type(-(bytes.len() as i32), ZERO).to_le_bytes());
    bytes
}

struct Pair {
    hart: Hart,
    bus: TestBus,
    reference: Reference,
    reference_bus: TestBus,
}

impl Pair {
    fn new(registers: &[u32; 32], code: &[u8]) -> Pair {
        let mut machine = Machine::new(|_| {});
        machine.write(VECTORS, handler);
        machine.bus.ram.write(CODE, code);
        let mut reference = Reference::new(CODE);
        reference.write_csr(0x305, VECTORS);
        let mut pair = Pair {
            hart: machine.hart,
            reference,
            reference_bus: machine.bus.clone(),
            bus: machine.bus,
        };
        pair.set_registers(registers);
        pair
    }

    fn set_registers(&mut self, registers: &[u32; 32]) {
        for number in 1..32 {
            self.hart.set_x(number as u8, registers[number]);
            self.reference.x[number] = registers[number];
        }
    }

    /// Brings the reference to the same cycle as the hart.
    fn follow(&mut self) {
        while self.reference.cycles < self.hart.cycles() {
            self.reference.step(&mut self.reference_bus);
            self.reference.interrupt = self.reference_bus.line;
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let x: Vec<u32> = (0..32).map(|number| self.hart.x(number)).collect();
        prop_assert_eq!(self.hart.cycles(), self.reference.cycles, "cycles");
        prop_assert_eq!(hex(&x), hex(&self.reference.x), "registers");
        prop_assert_eq!(self.hart.pc(), self.reference.pc, "pc");
        prop_assert_eq!(
            self.hart.instructions(),
            self.reference.retired,
            "instructions"
        );
        prop_assert_eq!(&self.bus.log, &self.reference_bus.log, "register accesses");
        for csr in CSRS.into_iter().filter(|csr| *csr != 0x7b0) {
            let (ours, theirs) = (self.hart.csr(csr), self.reference.read_csr(csr.into()));
            prop_assert_eq!(ours, theirs, "csr {:#x}", csr);
        }
        let ram = self.bus.ram.read(RAM, RAM_BYTES as usize);
        prop_assert!(
            ram == self.reference_bus.ram.read(RAM, RAM_BYTES as usize),
            "memory"
        );
        Ok(())
    }
}

fn hex(registers: &[u32]) -> Vec<String> {
    registers
        .iter()
        .enumerate()
        .map(|(n, value)| format!("x{n}={value:x}"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_end_in_the_same_state(
        pieces in proptest::collection::vec(piece(), 1..60),
        registers in proptest::array::uniform32(address()),
        slice in 1u64..200,
    ) {
        let mut pair = Pair::new(&registers, &assemble(&pieces));
        while pair.hart.cycles() < 2000 {
            let stop = pair.hart.run(&mut pair.bus, pair.hart.cycles() + slice);
            pair.follow();
            pair.compare()?;
            pair.hart.set_interrupt(pair.bus.line);
            match stop {
                Stop::Deadline | Stop::Attention => {}
                Stop::WaitForInterrupt => prop_assert!(pair.reference.waiting),
                Stop::Lockup { .. } => break,
                stop => prop_assert!(false, "unexpected {stop:?}"),
            }
        }
    }

    #[test]
    fn single_steps_end_in_the_same_state(
        pieces in proptest::collection::vec(piece(), 1..40),
        registers in proptest::array::uniform32(address()),
    ) {
        let mut pair = Pair::new(&registers, &assemble(&pieces));
        for steps in 1..300 {
            let stop = pair.hart.step(&mut pair.bus);
            prop_assert_eq!(pair.hart.cycles(), steps);
            pair.follow();
            pair.hart.set_interrupt(pair.bus.line);
            if matches!(stop, Stop::Lockup { .. }) {
                break;
            }
        }
        pair.compare()?;
    }
}

#[test]
fn every_compressed_parcel_does_the_same() {
    let mut registers: [u32; 32] = std::array::from_fn(|n| (n as u32).wrapping_mul(0x9e37_79b9));
    // Pointers where loads and stores take them from; x9 is 0 for the branches.
    registers[2] = DATA;
    for (n, register) in registers.iter_mut().enumerate().skip(8).take(8) {
        *register = DATA + 0x200 * n as u32;
    }
    registers[9] = 0;
    let mut pair = Pair::new(&registers, &[]);
    for parcel in (0..=u16::MAX).filter(|parcel| parcel & 3 != 3) {
        let code = parcel.to_le_bytes();
        pair.bus.ram.write(CODE, &code);
        pair.reference_bus.ram.write(CODE, &code);
        pair.hart.set_pc(CODE);
        pair.reference.pc = CODE;
        pair.set_registers(&registers);
        pair.hart.step(&mut pair.bus);
        pair.follow();
        let x: [u32; 32] = std::array::from_fn(|number| pair.hart.x(number as u8));
        assert_eq!(hex(&x), hex(&pair.reference.x), "parcel {parcel:#06x}");
        assert_eq!(pair.hart.pc(), pair.reference.pc, "parcel {parcel:#06x}");
        let cause = [pair.hart.csr(0x342), pair.hart.csr(0x343)];
        let expected = [
            pair.reference.read_csr(0x342),
            pair.reference.read_csr(0x343),
        ];
        assert_eq!(cause, expected, "parcel {parcel:#06x}");
    }
    pair.compare().expect("memory and counts agree too");
}
