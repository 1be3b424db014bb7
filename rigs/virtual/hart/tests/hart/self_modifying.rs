//! Code that changes while it is cached.

use virtual_hart::{FlatRam, Hart, StaleCode, Stop};

use crate::assembler::*;
use crate::machine::{CODE, DATA, Machine};

#[test]
fn an_instruction_patched_in_its_own_block_is_executed_anew() {
    let mut machine = Machine::new(|a| {
        let again = a.here();
        // Replaces the addition below before it is reached.
        a.sw(A1, A2, 0);
        a.addi(A0, A0, 1);
        a.addi(T0, T0, -1);
        a.bne(T0, ZERO, again);
        a.word(WFI);
    });
    machine.hart.set_x(5, 10);
    machine.hart.set_x(11, i_type(0x13, 100, A0, 0, A0));
    machine.hart.set_x(12, CODE + 4);
    assert_eq!(machine.run(1000), Stop::WaitForInterrupt);
    assert_eq!(machine.hart.x(10), 1000);
    assert_eq!(machine.hart.instructions(), 41);
}

#[test]
fn a_patched_successor_is_not_reached_through_its_old_link() {
    // A caller in a loop, a function that is patched from outside after it was linked.
    let mut machine = Machine::new(|a| {
        let again = a.here();
        a.jalr(RA, A1, 0);
        a.jal(ZERO, again);
    });
    machine.write(DATA, |a| {
        a.addi(A0, A0, 1);
        a.ret();
    });
    machine.hart.set_x(11, DATA);
    machine.run(4 * 50);
    assert_eq!(machine.hart.x(10), 50);
    machine.write(DATA, |a| a.addi(A0, A0, 3));
    machine.run(4 * 50);
    assert_eq!(machine.hart.x(10), 200);
}

#[test]
fn a_fence_finds_what_no_store_told() {
    // A function is called, patched and called again. Until the fence it is the decoded one that runs.
    for (fence, expected) in [(NOP, 2), (FENCE_I, 101)] {
        let mut machine = Machine::new(|a| {
            a.jalr(RA, A1, 0);
            a.sw(A2, A1, 0);
            a.word(fence);
            a.jalr(RA, A1, 0);
            a.word(WFI);
        });
        machine.bus.hides_changed_code = true;
        machine.write(DATA, |a| {
            a.addi(A0, A0, 1);
            a.ret();
        });
        machine.hart.set_x(11, DATA);
        machine.hart.set_x(12, i_type(0x13, 100, A0, 0, A0));
        assert_eq!(machine.run(1000), Stop::WaitForInterrupt);
        assert_eq!(machine.hart.x(10), expected, "{fence:#010x}");
    }
}

#[test]
fn a_function_returns_to_each_of_its_callers() {
    let mut machine = Machine::new(|a| {
        let (again, function) = (a.here(), a.label());
        a.jal(RA, function);
        a.addi(A1, A1, 1);
        a.jal(RA, function);
        a.addi(A2, A2, 3);
        a.jal(ZERO, again);
        a.bind(function);
        a.addi(A0, A0, 1);
        a.ret();
    });
    machine.run(90 * 10);
    assert_eq!([10, 11, 12].map(|n| machine.hart.x(n)), [200, 100, 300]);
}

#[test]
fn a_dropped_blocks_place_is_not_mistaken_for_it() {
    // The loop's second block is dropped, and its place taken by other code before the loop runs again.
    let mut machine = Machine::new(|a| {
        let (again, other) = (a.here(), a.label());
        a.addi(A0, A0, 1);
        a.jal(ZERO, other);
        a.word(NOP);
        a.bind(other);
        a.addi(A1, A1, 1);
        a.jal(ZERO, again);
    });
    machine.write(DATA, |a| {
        a.addi(A2, A2, 1);
        let stay = a.here();
        a.jal(ZERO, stay);
    });
    machine.run(40);
    machine
        .hart
        .invalidate(StaleCode::Range(CODE + 12, CODE + 16));
    machine.hart.set_pc(DATA);
    machine.run(1);
    machine.hart.set_pc(CODE);
    machine.run(40);
    assert_eq!([10, 11, 12].map(|n| machine.hart.x(n)), [20, 20, 1]);
}

#[test]
fn invalidate_drops_what_it_names() {
    let mut machine = Machine::new(|a| {
        let again = a.here();
        a.addi(A0, A0, 1);
        a.jal(ZERO, again);
    });
    machine.run(100);
    // Changed behind the bus's back: nobody notices, until told.
    let mut other = machine.bus.clone();
    other
        .ram
        .write(CODE, &i_type(0x13, 0, A0, 0, A0).to_le_bytes());
    virtual_hart::Bus::take_stale_code(&mut other);
    machine.bus = other;
    machine
        .hart
        .invalidate(StaleCode::Range(CODE + 8, CODE + 64));
    machine.run(100);
    assert_eq!(machine.hart.x(10), 100);
    machine
        .hart
        .invalidate(StaleCode::Range(CODE + 7, CODE + 8));
    machine.run(100);
    assert_eq!(machine.hart.x(10), 100);
}

#[test]
fn more_code_than_is_kept_decoded_runs_all_the_same() {
    // Each jump to the next instruction is a block of its own: twice as many as the cache holds.
    let jumps = 1 << 18;
    let mut ram = FlatRam::new(0, 4 * jumps + 4);
    let jump = 0x0040_006f_u32.to_le_bytes();
    ram.write(0, &jump.repeat(jumps as usize));
    ram.write(4 * jumps, &WFI.to_le_bytes());
    let mut hart = Hart::new();
    assert_eq!(hart.run(&mut ram, u64::MAX), Stop::WaitForInterrupt);
    assert_eq!(hart.pc(), 4 * jumps + 4);
    assert_eq!(hart.instructions(), u64::from(jumps) + 1);
}
