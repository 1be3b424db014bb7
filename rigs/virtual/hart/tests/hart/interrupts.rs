//! The interrupt line: when it is taken, where it leads, and `wfi`.

use virtual_hart::{Stop, csr_number as csr};

use crate::assembler::*;
use crate::machine::{ATTENTION, CODE, LINE, Logged, Machine, REGISTERS, VECTORS};

const MIE: u32 = 1 << 3;

#[test]
fn each_line_has_its_vector() {
    for line in [1u8, 2, 17, 31] {
        let mut machine = Machine::new(|a| a.word(NOP));
        machine.set_csr(csr::MSTATUS, MIE);
        machine.hart.set_interrupt(Some(line));
        assert_eq!(machine.step(), Stop::Deadline);
        assert_eq!(machine.hart.pc(), VECTORS + 4 * u32::from(line));
        assert_eq!(machine.csr(csr::MCAUSE), 0x8000_0000 | u32::from(line));
        assert_eq!(machine.csr(csr::MEPC), CODE);
        assert_eq!(machine.csr(csr::MSTATUS), 0x1880);
        assert_eq!((machine.hart.cycles(), machine.hart.instructions()), (1, 0));
    }
}

#[test]
fn a_disabled_interrupt_waits_until_it_is_enabled() {
    let mut machine = Machine::new(|a| {
        a.word(NOP);
        a.word(csr_type(csr::MSTATUS, 8, 6, ZERO));
        a.word(NOP);
    });
    machine.hart.set_interrupt(Some(5));
    machine.run(3);
    assert_eq!(machine.hart.pc(), VECTORS + 20);
    assert_eq!(machine.csr(csr::MEPC), CODE + 8);
}

#[test]
fn an_interrupt_that_goes_away_is_not_taken() {
    let mut machine = Machine::new(|a| a.word(NOP));
    machine.set_csr(csr::MSTATUS, MIE);
    machine.hart.set_interrupt(Some(5));
    machine.hart.set_interrupt(None);
    machine.step();
    assert_eq!(machine.hart.pc(), CODE + 4);
}

#[test]
fn a_store_that_asks_for_attention_stops_behind_itself() {
    let mut machine = Machine::new(|a| {
        a.word(NOP);
        a.sw(A0, A1, 0);
        a.word(NOP);
        a.word(NOP);
    });
    machine.hart.set_x(10, 9);
    machine.hart.set_x(11, LINE);
    assert_eq!(machine.run(100), Stop::Attention);
    assert_eq!((machine.hart.pc(), machine.hart.cycles()), (CODE + 8, 2));
    let expected = Logged {
        now: 1,
        pc: CODE + 4,
        address: LINE,
        stored: Some(9),
    };
    assert_eq!(machine.bus.log, [expected]);
}

#[test]
fn a_load_that_asks_for_attention_stops_at_the_end_of_its_block() {
    let mut machine = Machine::new(|a| {
        a.lw(A0, A1, 0);
        a.word(NOP);
        let next = a.label();
        a.jal(ZERO, next);
        a.bind(next);
        a.word(NOP);
    });
    machine.hart.set_x(11, ATTENTION);
    assert_eq!(machine.run(100), Stop::Attention);
    assert_eq!(machine.hart.pc(), CODE + 12);
}

#[test]
fn register_accesses_know_their_cycle_and_place() {
    // Three rounds of a loop; the second access of each round is three instructions behind the first.
    let mut machine = Machine::new(|a| {
        a.li(T0, 3);
        let again = a.here();
        a.lw(A0, A1, 0);
        a.word(NOP);
        a.word(NOP);
        a.sw(A0, A1, 0);
        a.addi(T0, T0, -1);
        a.bne(T0, ZERO, again);
        a.word(WFI);
    });
    machine.hart.set_x(11, REGISTERS);
    assert_eq!(machine.run(100), Stop::WaitForInterrupt);
    let seen: Vec<(u64, u32)> = machine
        .bus
        .log
        .iter()
        .map(|entry| (entry.now, entry.pc - CODE))
        .collect();
    assert_eq!(seen, [(2, 8), (5, 20), (8, 8), (11, 20), (14, 8), (17, 20)]);
}

#[test]
fn wfi_waits_only_when_no_line_is_set() {
    let mut machine = Machine::new(|a| {
        a.word(WFI);
        a.word(NOP);
        a.word(WFI);
    });
    assert_eq!(machine.run(100), Stop::WaitForInterrupt);
    assert_eq!((machine.hart.pc(), machine.hart.cycles()), (CODE + 4, 1));
    // Pending but disabled: wfi goes on.
    machine.hart.set_interrupt(Some(3));
    assert_eq!(machine.run(2), Stop::Deadline);
    assert_eq!((machine.hart.pc(), machine.hart.cycles()), (CODE + 12, 3));
}

#[test]
fn an_interrupt_after_wfi_returns_behind_it() {
    let mut machine = Machine::new(|a| a.word(WFI));
    machine.set_csr(csr::MSTATUS, MIE);
    machine.run(100);
    machine.hart.advance(1_000_000);
    machine.hart.set_interrupt(Some(1));
    machine.step();
    assert_eq!(machine.csr(csr::MEPC), CODE + 4);
    assert_eq!(
        (machine.hart.cycles(), machine.hart.instructions()),
        (1_000_002, 1)
    );
}

#[test]
fn the_deadline_is_overshot_by_less_than_a_block() {
    let mut machine = Machine::new(|a| {
        let again = a.here();
        for _ in 0..200 {
            a.addi(A0, A0, 1);
        }
        a.jal(ZERO, again);
    });
    for until in 1..500 {
        assert_eq!(machine.hart.run(&mut machine.bus, until), Stop::Deadline);
        assert!((until..until + 64).contains(&machine.hart.cycles()));
    }
    // A deadline that is over does nothing.
    let before = machine.hart.cycles();
    assert_eq!(machine.hart.run(&mut machine.bus, before), Stop::Deadline);
    assert_eq!(machine.hart.cycles(), before);
}

#[test]
fn setting_the_cycle_count_keeps_the_instruction_count() {
    let mut machine = Machine::new(|_| {});
    machine.write(CODE, |a| (0..3).for_each(|_| a.word(NOP)));
    machine.run(1);
    let instructions = machine.hart.instructions();
    machine.hart.set_cycles(77);
    assert_eq!(
        (machine.hart.cycles(), machine.hart.instructions()),
        (77, instructions)
    );
}
