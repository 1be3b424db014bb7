//! Triggers: what they match, when they fire, and whom they belong to.

use virtual_hart::{HaltCause, Stop, csr_number as csr};

use crate::assembler::*;
use crate::machine::{CODE, DATA, Machine, VECTORS};

const LOAD: u32 = 1;
const STORE: u32 = 2;
const EXECUTE: u32 = 4;
const MACHINE: u32 = 1 << 6;
const NAPOT: u32 = 1 << 7;
const ENTER_DEBUG: u32 = 1 << 12;
const HIT: u32 = 1 << 20;
const DMODE: u32 = 1 << 27;
const MTE: u32 = 1 << 3;

fn arm(machine: &mut Machine, index: u32, control: u32, address: u32) {
    machine.set_csr(csr::TSELECT, index);
    machine.set_csr(csr::TDATA1, control | MACHINE);
    machine.set_csr(csr::TDATA2, address);
    machine.set_csr(csr::TCONTROL, MTE);
}

/// `nop; instruction; nop` with a1 = `a1`. Expects a breakpoint exception at the instruction with this `mtval`, or
/// none. In a block and alone.
#[track_caller]
fn check(control: u32, compare: u32, instruction: u32, a1: u32, expected: Option<u32>) {
    for in_block in [true, false] {
        let mut machine = Machine::new(|a| {
            a.word(NOP);
            a.word(instruction);
            a.word(NOP);
        });
        machine.write(VECTORS, |a| a.word(WFI));
        machine.bus.ram.write(DATA, &[0xee; 64]);
        machine.hart.set_x(11, a1);
        arm(&mut machine, 3, control, compare);
        if in_block {
            machine.run(2);
        } else {
            machine.step();
            machine.step();
        }
        let observed = (machine.csr(csr::MCAUSE) == 3).then(|| machine.csr(csr::MTVAL));
        let what = format!("{control:#x} at {compare:#x}, {instruction:#010x} at {a1:#x}");
        assert_eq!(observed, expected, "{what}");
        assert_eq!(
            machine.csr(csr::TDATA1) & HIT != 0,
            expected.is_some(),
            "{what}"
        );
        if expected.is_some() {
            assert_eq!(machine.csr(csr::MEPC), CODE + 4, "{what}");
            assert_eq!(
                machine.bus.ram.read(DATA, 64),
                [0xee; 64],
                "no effect: {what}"
            );
            // In the handler action-0 triggers are off; mret turns them on again.
            assert_eq!(machine.csr(csr::TCONTROL), 1 << 7);
        }
    }
}

#[test]
fn stores_are_watched() {
    let sw = s_type(0, A0, A1, 2);
    let sb = s_type(0, A0, A1, 0);
    let sh = s_type(0, A0, A1, 1);
    check(STORE, DATA, sw, DATA, Some(DATA));
    check(STORE, DATA, sw, DATA + 4, None);
    check(STORE, DATA + 3, sw, DATA, Some(DATA));
    check(STORE, DATA + 1, sb, DATA, None);
    check(STORE, DATA, sw, DATA - 3, Some(DATA - 3));
    check(LOAD, DATA, sw, DATA, None);
    // A word, as the stack guard watches it: NAPOT with one bit set.
    let word = DATA + 4 + 1;
    for (instruction, address, hit) in [
        (sw, DATA + 4, true),
        (sb, DATA + 7, true),
        (sh, DATA + 6, true),
        (sb, DATA + 8, false),
        (sb, DATA + 3, false),
    ] {
        check(
            STORE | NAPOT,
            word,
            instruction,
            address,
            hit.then_some(address),
        );
    }
    // 4096 bytes around DATA, which is aligned to that.
    check(
        STORE | NAPOT,
        DATA + 0x7ff,
        sb,
        DATA + 0xfff,
        Some(DATA + 0xfff),
    );
    check(STORE | NAPOT, DATA + 0x7ff, sb, DATA - 1, None);
}

#[test]
fn loads_are_watched() {
    let lw = i_type(0x03, 0, A1, 2, A0);
    check(LOAD, DATA, lw, DATA, Some(DATA));
    check(LOAD, DATA, lw, DATA + 4, None);
    check(STORE, DATA, lw, DATA, None);
    check(LOAD | STORE | NAPOT, u32::MAX >> 1, lw, DATA, Some(DATA));
}

#[test]
fn execution_is_watched() {
    check(EXECUTE, CODE + 4, NOP, 0, Some(CODE + 4));
    check(EXECUTE, CODE + 6, NOP, 0, None);
    check(EXECUTE | NAPOT, CODE + 5, NOP, 0, Some(CODE + 4));
}

#[test]
fn each_of_several_watches_fires() {
    let watched = [DATA, DATA + 8, DATA + 0x2000];
    for address in watched {
        for in_block in [true, false] {
            let mut machine = Machine::new(|a| a.sw(A0, A1, 0));
            machine.write(VECTORS, |a| a.word(WFI));
            machine.hart.set_x(11, address);
            for (index, compare) in (0..).zip(watched) {
                arm(&mut machine, index, STORE, compare);
            }
            if in_block {
                machine.run(1);
            } else {
                machine.step();
            }
            assert_eq!(
                [machine.csr(csr::MCAUSE), machine.csr(csr::MTVAL)],
                [3, address]
            );
        }
    }
}

#[test]
fn nothing_fires_in_machine_mode_without_mte() {
    let mut machine = Machine::new(|a| {
        a.sw(ZERO, A1, 0);
        a.word(NOP);
    });
    machine.hart.set_x(11, DATA);
    arm(&mut machine, 0, STORE, DATA);
    arm(&mut machine, 1, EXECUTE, CODE + 4);
    machine.set_csr(csr::TCONTROL, 0);
    machine.run(2);
    assert_eq!(machine.hart.pc(), CODE + 8);
}

#[test]
fn mret_brings_mte_back() {
    let mut machine = Machine::new(|a| a.word(MRET));
    machine.set_csr(csr::TCONTROL, 1 << 7);
    machine.step();
    assert_eq!(machine.csr(csr::TCONTROL), 0x88);
}

#[test]
fn a_breakpoint_set_while_the_code_is_cached_is_hit() {
    let mut machine = Machine::new(|a| {
        let again = a.here();
        a.addi(A0, A0, 1);
        a.addi(A2, A2, 1);
        a.jal(ZERO, again);
    });
    machine.run(300);
    machine.set_csr(csr::TSELECT, 7);
    machine.set_csr(csr::TDATA1, DMODE | ENTER_DEBUG | EXECUTE | MACHINE);
    machine.set_csr(csr::TDATA2, CODE + 4);
    assert_eq!(machine.run(300), Stop::Halted(HaltCause::Trigger));
    assert_eq!(
        (machine.hart.pc(), machine.csr(csr::DPC)),
        (CODE + 4, CODE + 4)
    );
    assert_eq!(machine.csr(csr::DCSR) >> 6 & 7, 2);
    assert_eq!(machine.hart.x(10), machine.hart.x(12) + 1);
    // Taken away again, the loop goes on.
    machine.set_csr(csr::TDATA1, 0);
    machine.hart.resume();
    assert_eq!(machine.run(300), Stop::Deadline);
}

#[test]
fn a_watchpoint_may_enter_debug_mode() {
    let mut machine = Machine::new(|a| {
        a.word(NOP);
        a.sw(A1, A1, 0);
    });
    machine.hart.set_x(11, DATA);
    // mte is not asked for entering debug mode.
    machine.set_csr(csr::TDATA1, DMODE | ENTER_DEBUG | STORE | MACHINE);
    machine.set_csr(csr::TDATA2, DATA);
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Trigger));
    assert_eq!((machine.hart.pc(), machine.hart.cycles()), (CODE + 4, 1));
    assert_eq!(machine.word(DATA), 0);
}

#[test]
fn firmware_cannot_touch_the_debuggers_triggers() {
    let mut machine = Machine::new(|a| {
        a.word(csrrw(ZERO, csr::TDATA1, ZERO));
        a.word(csrrw(ZERO, csr::TDATA2, ZERO));
    });
    machine.set_csr(csr::TDATA1, DMODE | ENTER_DEBUG | STORE | MACHINE);
    machine.set_csr(csr::TDATA2, DATA);
    machine.run(2);
    assert_eq!(machine.csr(csr::TDATA1) & 0xf, STORE);
    assert_eq!(machine.csr(csr::TDATA2), DATA);
}

#[test]
fn firmware_cannot_enter_debug_mode_by_a_trigger() {
    let mut machine = Machine::new(|a| a.word(csrrw(ZERO, csr::TDATA1, A0)));
    machine
        .hart
        .set_x(10, DMODE | ENTER_DEBUG | STORE | MACHINE);
    machine.run(1);
    assert_eq!(machine.csr(csr::TDATA1) & (DMODE | ENTER_DEBUG), 0);
}

#[test]
fn trigger_registers_read_as_probes_expect() {
    let mut machine = Machine::new(|_| {});
    for (written, read) in [(0, 0), (7, 7), (8, 7), (u32::MAX, 7)] {
        machine.set_csr(csr::TSELECT, written);
        assert_eq!(machine.csr(csr::TSELECT), read);
    }
    machine.set_csr(csr::TDATA1, 0);
    assert_eq!(machine.csr(csr::TDATA1) >> 28, 2);
    machine.set_csr(csr::TDATA1, 0xf000_0000);
    assert_eq!(machine.csr(csr::TDATA1) >> 28, 2);
    assert_eq!(machine.csr(csr::TINFO), 4);
}
