//! The hart against the [`Reference`]: random programs, arithmetic at its borders, every compressed parcel.
//!
//! Wild programs try everything and mostly derail; tame ones keep running. Programs loop, so that blocks are linked and run from the cache; they write into their own code, arm triggers and
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
        (-3i32..4).prop_map(|value| value as u32),
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
        for (number, value) in registers.iter().enumerate().skip(1) {
            self.hart.set_x(number as u8, *value);
            self.reference.x[number] = *value;
        }
    }

    fn enable_interrupts(&mut self) {
        self.hart.set_csr(0x300, 8);
        self.reference.write_csr(0x300, 8);
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

/// A piece of a program that stays on its feet: pointers (x8, x9, x18) and patches (x19, x20) are never overwritten,
/// jumps go a little forward, and stores through x18 replace instructions of the program itself.
fn tame() -> impl Strategy<Value = Piece> {
    let work = || 10u32..16;
    prop_oneof![
        6 => (work(), work(), work(), 0u32..8, 0usize..4).prop_map(|(rd, rs1, rs2, f3, f7)| {
            // 0x20 is there for sub and sra only.
            let f7 = [0, 1, 1, if f3 == 0 || f3 == 5 { 0x20 } else { 0 }][f7];
            Piece::Word(r_type(f7, rs2, rs1, f3, rd))
        }),
        4 => (work(), work(), -3i32..4, prop_oneof![Just(0u32), Just(2), Just(3), Just(4), Just(6), Just(7)])
            .prop_map(|(rd, rs1, imm, f3)| Piece::Word(i_type(0x13, imm, rs1, f3, rd))),
        3 => (work(), work()).prop_map(|(rd, rs2)| Piece::Half((0x8002 | rd << 7 | rs2 << 2) as u16)),
        3 => (work(), 0i32..64, 0u32..3).prop_map(|(rd, imm, f3)| Piece::Word(i_type(0x03, imm, 8, f3, rd))),
        3 => (work(), 0i32..64, 0u32..3).prop_map(|(rs2, imm, f3)| Piece::Word(s_type(imm, rs2, 8, f3))),
        1 => work().prop_map(|rd| Piece::Word(i_type(0x03, 0, 9, 2, rd))),
        1 => (work(), 0i32..2).prop_map(|(rs2, n)| Piece::Word(s_type(4 * n, rs2, 9, 2))),
        3 => (work(), work(), 0usize..6, 1i32..4).prop_map(|(rs1, rs2, f3, words)| {
            Piece::Word(b_type(4 * words, rs2, rs1, [0, 1, 4, 5, 6, 7][f3]))
        }),
        2 => (19u32..21, 0i32..40).prop_map(|(rs2, word)| Piece::Word(s_type(4 * word, rs2, 18, 2))),
        1 => (work(), 0usize..4).prop_map(|(rd, n)| Piece::Word(csrrs(rd, [0x7e2, 0x300, 0x341, 0x342][n], ZERO))),
    ]
}

fn tame_registers() -> impl Strategy<Value = [u32; 32]> {
    let small = prop_oneof![-3i32..4, Just(i32::MIN), Just(i32::MAX), any::<i32>()];
    (proptest::array::uniform32(small), 0u32..64, any::<u16>()).prop_map(|(values, word, imm)| {
        let mut registers = values.map(|value| value as u32);
        registers[8] = DATA;
        registers[9] = REGISTERS;
        registers[18] = CODE;
        registers[19] = i_type(
            0x13,
            i32::from(imm) >> 5,
            10 + word % 6,
            0,
            10 + word / 6 % 6,
        );
        // Two compressed moves.
        registers[20] = 0x852e_8532;
        registers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn looping_programs_that_patch_themselves_end_in_the_same_state(
        pieces in proptest::collection::vec(tame(), 4..40),
        registers in tame_registers(),
        slice in 1u64..400,
    ) {
        let mut pair = Pair::new(&registers, &assemble(&pieces));
        pair.enable_interrupts();
        while pair.hart.cycles() < 3000 {
            let stop = pair.hart.run(&mut pair.bus, pair.hart.cycles() + slice);
            pair.follow();
            pair.compare()?;
            pair.hart.set_interrupt(pair.bus.line);
            prop_assert!(matches!(stop, Stop::Deadline | Stop::Attention), "{stop:?}");
        }
    }
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
fn arithmetic_agrees_at_the_borders() {
    const VALUES: [u32; 9] = [
        0,
        1,
        2,
        31,
        32,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
    ];
    let mut instructions: Vec<u32> = [0, 1, 0x20]
        .into_iter()
        .flat_map(|f7| (0..8).map(move |f3| r_type(f7, 12, 11, f3, 10)))
        .collect();
    for imm in [0, 1, 2, 31, 0x41f, 2047, -2048, -2, -1] {
        instructions.extend((0..8).map(|f3| i_type(0x13, imm, 11, f3, 10)));
    }
    for instruction in instructions {
        let mut pair = Pair::new(&[0; 32], &instruction.to_le_bytes());
        for (a, b) in VALUES.into_iter().flat_map(|a| VALUES.map(|b| (a, b))) {
            let mut registers = [0; 32];
            (registers[11], registers[12]) = (a, b);
            pair.set_registers(&registers);
            pair.hart.set_pc(CODE);
            pair.reference.pc = CODE;
            pair.hart.step(&mut pair.bus);
            pair.follow();
            let (ours, theirs) = (pair.hart.x(10), pair.reference.x[10]);
            assert_eq!(ours, theirs, "{instruction:#010x} of {a:#x} and {b:#x}");
        }
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
    // No two words alike, so that a wrong offset shows.
    let pattern: Vec<u8> = (0..0x3000u32)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect();
    let data = (RAM + RAM_BYTES - DATA) as usize;
    pair.bus.ram.write(DATA, &pattern[..data]);
    pair.reference_bus.ram.write(DATA, &pattern[..data]);
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
