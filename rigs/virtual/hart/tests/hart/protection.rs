//! Physical memory protection: what is stored, what is locked, what machine mode is refused.

use virtual_hart::csr_number as csr;

use crate::assembler::*;
use crate::machine::{CODE, DATA, Machine};

const READ: u32 = 1;
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;
const TOR: u32 = 1 << 3;
const NA4: u32 = 2 << 3;
const NAPOT: u32 = 3 << 3;
const LOCKED: u32 = 1 << 7;

/// Executes `instruction` with a1 = DATA and entry 0 set to this; expects this `mcause`, or 0 for none.
#[track_caller]
fn check(configuration: u32, address: u32, instruction: u32, expected: u32) {
    for in_block in [true, false] {
        let mut machine = Machine::new(|a| {
            a.word(instruction);
            let stay = a.here();
            a.jal(ZERO, stay);
        });
        machine.hart.set_x(11, DATA);
        machine.set_csr(csr::PMPADDR0, address);
        machine.set_csr(csr::PMPCFG0, configuration);
        if in_block {
            machine.run(1);
        } else {
            machine.step();
        }
        let what = format!("{configuration:#x} at {address:#x}, {instruction:#010x}");
        assert_eq!(machine.csr(csr::MCAUSE), expected, "{what}");
    }
}

#[test]
fn locked_entries_bind_machine_mode() {
    let lw = i_type(0x03, 0, A1, 2, A0);
    let sw = s_type(0, A0, A1, 2);
    let word = DATA >> 2;
    check(LOCKED | NA4 | READ, word, lw, 0);
    check(LOCKED | NA4 | READ, word, sw, 7);
    check(LOCKED | NA4 | READ | WRITE, word, sw, 0);
    check(LOCKED | NA4, word, lw, 5);
    check(LOCKED | NA4, word + 1, lw, 0);
    check(NA4, word, lw, 0);
    // 32 bytes.
    check(LOCKED | NAPOT, word | 3, lw, 5);
    check(LOCKED | NAPOT, (word + 8) | 3, lw, 0);
    // From 0 up to, not including, the address.
    check(LOCKED | TOR | EXECUTE, word + 1, lw, 5);
    check(LOCKED | TOR | EXECUTE, word, lw, 0);
    // A byte over the border of an entry, even one that allows.
    check(NA4 | READ, word, i_type(0x03, -1, A1, 2, A0), 5);
}

#[test]
fn an_empty_range_matches_nothing() {
    for in_block in [true, false] {
        let mut machine = Machine::new(|a| {
            a.word(i_type(0x03, -2, A1, 2, A0));
            let stay = a.here();
            a.jal(ZERO, stay);
        });
        machine.hart.set_x(11, DATA);
        // From DATA up to, not including, DATA: a word that lies across it is all outside.
        machine.set_csr(csr::PMPADDR0, DATA >> 2);
        machine.set_csr(csr::PMPADDR0 + 1, DATA >> 2);
        machine.set_csr(csr::PMPCFG0, (LOCKED | TOR) << 8);
        if in_block {
            machine.run(1);
        } else {
            machine.step();
        }
        assert_eq!(machine.csr(csr::MCAUSE), 0, "in a block: {in_block}");
    }
}

#[test]
fn locked_entries_bind_execution() {
    check(LOCKED | NAPOT | READ, (CODE >> 2) | 7, NOP, 1);
    check(LOCKED | NAPOT | READ | EXECUTE, (CODE >> 2) | 7, NOP, 0);
}

#[test]
fn code_that_ran_from_the_cache_is_refused_once_locked() {
    let mut machine = Machine::new(|a| {
        let again = a.here();
        a.word(NOP);
        a.jal(ZERO, again);
    });
    machine.run(100);
    machine.set_csr(csr::PMPADDR0, (CODE >> 2) | 7);
    machine.set_csr(csr::PMPCFG0, LOCKED | NAPOT | READ);
    machine.run(1);
    assert_eq!(
        [machine.csr(csr::MCAUSE), machine.csr(csr::MTVAL)],
        [1, CODE]
    );
}

#[test]
fn locked_registers_keep_their_values() {
    let mut machine = Machine::new(|_| {});
    machine.set_csr(csr::PMPADDR0, 0x1000);
    machine.set_csr(csr::PMPADDR0 + 1, 0x2000);
    // Entry 1 is locked and top-of-range: it locks the address of entry 0 too.
    machine.set_csr(csr::PMPCFG0, (LOCKED | TOR | READ) << 8 | NA4 | READ);
    for (entry, written, read) in [(0, 5, 0x1000), (1, 6, 0x2000), (2, 7, 7)] {
        machine.set_csr(csr::PMPADDR0 + entry, written);
        assert_eq!(machine.csr(csr::PMPADDR0 + entry), read, "pmpaddr{entry}");
    }
    machine.set_csr(csr::PMPCFG0, 0);
    assert_eq!(machine.csr(csr::PMPCFG0), (LOCKED | TOR | READ) << 8);
    // Write without read is reserved, bits 5 and 6 don't exist.
    machine.set_csr(csr::PMPCFG0 + 3, 0x7a7b_6260);
    assert_eq!(machine.csr(csr::PMPCFG0 + 3), 0x181b_0000);
    // Only a reset unlocks.
    machine.hart.reset(CODE);
    assert_eq!(machine.csr(csr::PMPCFG0), 0);
}
