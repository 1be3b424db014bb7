//! Exceptions: cause, value, where they point, what they leave untouched, and the way back.

use virtual_hart::{Exception, HartProfile, Stop, csr_number as csr};

use crate::assembler::*;
use crate::machine::{CODE, DATA, DENIED, EMULATED, Machine, REGISTERS, VECTORS};

/// Executes `nop`, then `instruction` with a1 = `a1`; expects a trap with this cause and value, a0 untouched. Once in
/// a block, once as a single step.
#[track_caller]
fn check(instruction: u32, a1: u32, cause: u32, value: u32) {
    for in_block in [true, false] {
        let mut machine = Machine::new(|a| {
            a.word(NOP);
            a.word(instruction);
        });
        machine.hart.set_x(10, 0x55);
        machine.hart.set_x(11, a1);
        if in_block {
            machine.run(2);
        } else {
            machine.step();
            machine.step();
        }
        let what = format!("{instruction:#010x} with a1 = {a1:#x}");
        assert_eq!(machine.hart.pc(), VECTORS, "{what}");
        assert_eq!(machine.csr(csr::MCAUSE), cause, "{what}");
        assert_eq!(machine.csr(csr::MTVAL), value, "{what}");
        assert_eq!(machine.csr(csr::MEPC), CODE + 4, "{what}");
        assert_eq!(machine.hart.x(10), 0x55, "{what}");
        assert_eq!(
            (machine.hart.cycles(), machine.hart.instructions()),
            (2, 1),
            "{what}"
        );
    }
}

#[test]
fn illegal_instructions() {
    let unknown_shift = i_type(0x13, 0x200, A1, 1, A0);
    for instruction in [
        0xffff_ffff,
        0x0000_007f,
        unknown_shift,
        r_type(2, A1, A1, 0, A0),
        i_type(0x03, 0, A1, 3, A0),
        s_type(0, A0, A1, 3),
        b_type(8, A0, A1, 2),
        i_type(0x67, 0, A1, 1, A0),
        // sret, and a SYSTEM function that isn't one.
        0x1020_0073,
        csr_type(csr::MSCRATCH, A1, 4, A0),
    ] {
        check(instruction, 0, 2, instruction);
    }
    // A parcel of zeros.
    check(0, 0, 2, 0);
    // c.lui a0 with 0 is reserved: mtval holds the sixteen bits.
    check(0x6501, 0, 2, 0x6501);
}

#[test]
fn registers_that_are_not_there_are_illegal() {
    for number in [
        csr::MIE,
        csr::MIP,
        csr::MCYCLE,
        csr::MINSTRET,
        csr::CYCLE,
        csr::TIME,
        csr::DCSR,
        csr::DPC,
        0x180,
    ] {
        check(csrrs(A0, number, ZERO), 0, 2, csrrs(A0, number, ZERO));
    }
}

#[test]
fn writing_a_read_only_register_is_illegal() {
    for number in [csr::MHARTID, csr::MVENDORID, csr::MARCHID, csr::MIMPID] {
        check(csrrw(A0, number, A1), 0, 2, csrrw(A0, number, A1));
        check(csrrs(A0, number, A1), 0, 2, csrrs(A0, number, A1));
    }
}

#[test]
fn environment_calls_and_breakpoints() {
    check(ECALL, 0, 11, 0);
    check(EBREAK, 0, 3, CODE + 4);
    // c.ebreak
    check(0x9002, 0, 3, CODE + 4);
}

#[test]
fn refused_accesses() {
    let load = i_type(0x03, -4, A1, 2, A0);
    let store = s_type(-4, A0, A1, 2);
    for (address, load_cause) in [(0, 5), (0xffff_fffc, 5), (REGISTERS + 2, 4), (DENIED, 5)] {
        let a1 = address + 4u32.wrapping_mul(u32::from(address != 0xffff_fffc));
        check(load, a1, load_cause, a1.wrapping_sub(4));
        check(store, a1, load_cause + 2, a1.wrapping_sub(4));
    }
}

#[test]
fn fetching_from_nowhere() {
    let mut machine = Machine::new(|a| a.jalr(ZERO, A1, 0));
    machine.hart.set_x(11, 0x7000_0000);
    machine.run(2);
    assert_eq!(machine.hart.pc(), VECTORS);
    assert_eq!(
        [machine.csr(csr::MCAUSE), machine.csr(csr::MEPC)],
        [1, 0x7000_0000]
    );
    assert_eq!(machine.csr(csr::MTVAL), 0x7000_0000);
}

#[test]
fn an_instruction_cut_by_the_end_of_memory_points_at_its_second_half() {
    let end = crate::machine::RAM + crate::machine::RAM_BYTES;
    let mut machine = Machine::new(|_| {});
    machine.bus.ram.write(end - 2, &[0x13, 0x05]);
    machine.hart.set_pc(end - 2);
    machine.run(1);
    assert_eq!(
        [machine.csr(csr::MEPC), machine.csr(csr::MTVAL)],
        [end - 2, end]
    );
}

#[test]
fn a_trap_saves_and_mret_restores_the_interrupt_enable() {
    let mut machine = Machine::new(|a| a.word(ECALL));
    machine.write(VECTORS, |a| {
        a.word(csrrs(A0, csr::MSTATUS, ZERO));
        a.word(csrrw(ZERO, csr::MEPC, A1));
        a.word(MRET);
    });
    machine.set_csr(csr::MSTATUS, 1 << 3);
    machine.hart.set_x(11, DATA);
    machine.run(4);
    // In the handler: MIE 0, MPIE 1, MPP machine. Afterwards: MIE and MPIE 1, MPP user.
    assert_eq!(machine.hart.x(10), 0x1880);
    assert_eq!(machine.csr(csr::MSTATUS), 0x88);
    assert_eq!(machine.hart.pc(), DATA);
}

#[test]
fn user_mode_calls_with_cause_8_and_may_not_touch_machine_registers() {
    for (instruction, cause) in [(ECALL, 8), (csrrs(A0, csr::MSTATUS, ZERO), 2), (MRET, 2)] {
        let mut machine = Machine::new(|a| {
            a.word(csrrw(ZERO, csr::MEPC, A1));
            a.word(MRET);
        });
        machine.write(DATA, |a| a.word(instruction));
        // User mode needs a PMP entry that allows everything.
        machine.set_csr(csr::PMPADDR0, u32::MAX);
        machine.set_csr(csr::PMPCFG0, 0x1f);
        machine.hart.set_x(11, DATA);
        machine.run(3);
        assert_eq!(machine.csr(csr::MCAUSE), cause, "{instruction:#010x}");
        assert_eq!(machine.csr(csr::MSTATUS) >> 11 & 3, 0);
    }
}

#[test]
fn an_exception_at_the_vector_is_a_lockup() {
    let mut machine = Machine::new(|a| a.word(ECALL));
    machine.set_csr(csr::MTVEC, 0);
    let stop = machine.run(100);
    let exception = Exception::InstructionAccessFault(0);
    assert_eq!(stop, Stop::Lockup { pc: 0, exception });
    assert_eq!(machine.run(100), Stop::Lockup { pc: 0, exception });
}

#[test]
fn emulated_functions_stop_before_they_begin() {
    let mut machine = Machine::new(|a| a.jalr(RA, A1, 0));
    machine.hart.set_x(11, EMULATED + 0x20);
    let stop = Stop::Emulated {
        pc: EMULATED + 0x20,
    };
    assert_eq!(machine.run(10), stop);
    assert_eq!(
        (machine.hart.cycles(), machine.hart.pc()),
        (1, EMULATED + 0x20)
    );
    assert_eq!(machine.step(), stop);
    // The chip does the work, lets its time pass and returns.
    machine.hart.advance(25);
    machine.hart.set_pc(machine.hart.x(1));
    machine.step();
    assert_eq!(
        (machine.hart.cycles(), machine.hart.instructions()),
        (27, 1)
    );
}

#[test]
fn identity_registers() {
    let machine = Machine::new(|_| {});
    for (number, expected) in [
        (csr::MISA, 0x4010_1104),
        (csr::MVENDORID, 0x612),
        (csr::MARCHID, 0x8000_0001),
        (csr::MIMPID, 1),
        (csr::MHARTID, 0),
    ] {
        assert_eq!(machine.csr(number), expected, "csr {number:#x}");
    }
}

#[test]
fn written_bits_that_are_not_there_stay_zero() {
    let mut machine = Machine::new(|_| {});
    for (number, expected) in [
        (csr::MISA, 0x4010_1104),
        (csr::MSTATUS, 0x20_1888),
        (csr::MTVEC, 0xffff_ff01),
        (csr::MEPC, 0xffff_fffe),
        (csr::MCAUSE, 0x8000_001f),
        (csr::MTVAL, 0xffff_ffff),
    ] {
        machine.set_csr(number, u32::MAX);
        assert_eq!(machine.csr(number), expected, "csr {number:#x}");
    }
}

#[test]
fn the_generic_profile_has_the_standard_registers() {
    let mut hart = virtual_hart::Hart::with_profile(HartProfile::Generic);
    hart.advance(0x1_0000_0005);
    assert_eq!(
        [hart.csr(csr::MCYCLE), hart.csr(csr::MCYCLEH)],
        [Some(5), Some(1)]
    );
    assert_eq!(hart.csr(csr::MINSTRET), Some(0));
    assert!(hart.set_csr(csr::MIE, 0x888) && hart.csr(csr::MIE) == Some(0x888));
    assert_eq!(
        [hart.csr(csr::MPCCR), hart.csr(csr::TCONTROL)],
        [None, None]
    );
    hart.set_csr(csr::MTVEC, 0x8000_0004);
    assert_eq!(hart.csr(csr::MTVEC), Some(0x8000_0004));
}

#[test]
fn the_cycle_counter_advances_in_a_loop_that_polls_it() {
    // Waits until 1000 cycles have passed.
    let mut machine = Machine::new(|a| {
        a.li(A2, 1000);
        a.word(csrrs(A0, csr::MPCCR, ZERO));
        let poll = a.here();
        a.word(csrrs(A1, csr::MPCCR, ZERO));
        a.sub(A3, A1, A0);
        a.bltu(A3, A2, poll);
        a.word(WFI);
    });
    assert_eq!(machine.run(5000), Stop::WaitForInterrupt);
    // li takes two; the loop three.
    assert_eq!(machine.hart.x(10), 2);
    assert_eq!(machine.hart.x(13), 1000);
}

#[test]
fn the_performance_counter_counts_instructions_when_asked() {
    let mut machine = Machine::new(|a| {
        a.word(csrrw(ZERO, csr::MPCER, A1));
        a.word(csrrw(ZERO, csr::MPCCR, ZERO));
        a.word(NOP);
        a.word(csrrs(A0, csr::MPCCR, ZERO));
        a.word(csr_type(csr::MPCMR, 0, 5, ZERO));
        a.word(NOP);
        a.word(csrrs(A2, csr::MPCCR, ZERO));
        a.word(WFI);
    });
    machine.hart.set_x(11, 2);
    machine.run(100);
    // Stopped behind the instruction that stops it: nop, read, write.
    assert_eq!((machine.hart.x(10), machine.hart.x(12)), (1, 3));
}

#[test]
fn exceptions_read_as_sentences() {
    assert_eq!(
        Exception::StoreAccessFault(0x10).to_string(),
        "store to 0x00000010 refused"
    );
    assert_eq!(
        Exception::IllegalInstruction(0xffff).to_string(),
        "illegal instruction 0xffff"
    );
}
