//! Debug mode: halt, resume, step, `ebreak`, program buffer.

use virtual_hart::{Exception, HaltCause, Stop, csr_number as csr};

use crate::assembler::*;
use crate::machine::{CODE, DATA, DENIED, EMULATED, LINE, Machine, VECTORS};

const EBREAKM: u32 = 1 << 15;
const STEPIE: u32 = 1 << 11;
const STEP: u32 = 1 << 2;

fn counting_loop(a: &mut Assembler) {
    let again = a.here();
    a.addi(A0, A0, 1);
    a.jal(ZERO, again);
}

#[track_caller]
fn check_halted(machine: &Machine, cause: HaltCause, pc: u32) {
    assert!(machine.hart.is_halted());
    assert_eq!(machine.csr(csr::DCSR) >> 6 & 7, cause.code());
    assert_eq!((machine.hart.pc(), machine.csr(csr::DPC)), (pc, pc));
}

#[test]
fn a_halted_hart_does_nothing_until_resumed() {
    let mut machine = Machine::new(counting_loop);
    machine.run(20);
    let pc = machine.hart.pc();
    machine.hart.halt(HaltCause::Request);
    check_halted(&machine, HaltCause::Request, pc);
    let before = (machine.hart.x(10), machine.hart.cycles());
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Request));
    assert_eq!(machine.step(), Stop::Halted(HaltCause::Request));
    assert_eq!((machine.hart.x(10), machine.hart.cycles()), before);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Deadline);
    assert_eq!(machine.hart.x(10), before.0 + 50);
}

#[test]
fn resuming_goes_on_at_dpc() {
    let mut machine = Machine::new(counting_loop);
    machine.write(DATA, |a| a.word(WFI));
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DPC, DATA);
    assert_eq!(machine.hart.pc(), DATA);
    machine.hart.resume();
    assert_eq!(machine.run(5), Stop::WaitForInterrupt);
    assert_eq!(machine.hart.pc(), DATA + 4);
}

#[test]
fn resuming_restores_the_privilege() {
    for (prv, cause) in [(3, 11), (0, 8)] {
        let mut machine = Machine::new(|a| {
            a.word(NOP);
            a.word(ECALL);
        });
        machine.set_csr(csr::PMPADDR0, u32::MAX);
        machine.set_csr(csr::PMPCFG0, 0x1f);
        machine.hart.halt(HaltCause::Request);
        machine.set_csr(csr::DCSR, prv | STEP);
        machine.hart.resume();
        machine.run(1);
        // Halted after the nop: dcsr.prv says in which mode.
        assert_eq!(machine.csr(csr::DCSR) & 3, prv);
        machine.hart.resume();
        machine.run(1);
        assert_eq!(machine.csr(csr::MCAUSE), cause);
    }
}

#[test]
fn stepping_executes_one_instruction() {
    let mut machine = Machine::new(counting_loop);
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DCSR, STEP | 3);
    for (count, pc) in [(1, CODE + 4), (1, CODE), (2, CODE + 4)] {
        machine.hart.resume();
        assert!(!machine.hart.is_halted());
        assert_eq!(machine.run(100), Stop::Halted(HaltCause::Step));
        check_halted(&machine, HaltCause::Step, pc);
        assert_eq!(machine.hart.x(10), count);
    }
    assert_eq!(machine.hart.instructions(), 3);
}

#[test]
fn stepping_into_a_trap_stops_at_the_handler() {
    let mut machine = Machine::new(|a| a.word(ECALL));
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DCSR, STEP | 3);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Step));
    check_halted(&machine, HaltCause::Step, VECTORS);
}

#[test]
fn stepping_masks_interrupts_unless_told() {
    for (stepie, expected) in [(0, CODE + 4), (STEPIE, VECTORS + 4 * 6)] {
        let mut machine = Machine::new(counting_loop);
        machine.set_csr(csr::MSTATUS, 1 << 3);
        machine.hart.set_interrupt(Some(6));
        machine.hart.halt(HaltCause::Request);
        machine.set_csr(csr::DCSR, STEP | 3 | stepie);
        machine.hart.resume();
        machine.run(100);
        check_halted(&machine, HaltCause::Step, expected);
    }
}

#[test]
fn stepping_over_wfi_does_not_wait() {
    let mut machine = Machine::new(|a| a.word(WFI));
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DCSR, STEP | 3);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Step));
    check_halted(&machine, HaltCause::Step, CODE + 4);
}

#[test]
fn stepping_over_an_emulated_function_halts_when_it_is_done() {
    let mut machine = Machine::new(counting_loop);
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DCSR, STEP | 3);
    machine.hart.set_pc(EMULATED);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Emulated { pc: EMULATED });
    machine.hart.set_pc(CODE);
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Step));
    check_halted(&machine, HaltCause::Step, CODE);
}

#[test]
fn a_step_that_asks_for_attention_reports_it_first() {
    let mut machine = Machine::new(|a| a.sw(A0, A1, 0));
    machine.hart.set_x(11, LINE);
    machine.hart.halt(HaltCause::Request);
    machine.set_csr(csr::DCSR, STEP | 3);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Attention);
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Step));
    check_halted(&machine, HaltCause::Step, CODE + 4);
}

#[test]
fn ebreak_halts_when_the_debugger_wants_it() {
    for code in [EBREAK, 0x9002] {
        let mut machine = Machine::new(|a| {
            a.word(NOP);
            a.word(code);
        });
        machine.set_csr(csr::DCSR, EBREAKM);
        assert_eq!(machine.run(100), Stop::Halted(HaltCause::Ebreak));
        check_halted(&machine, HaltCause::Ebreak, CODE + 4);
        assert_eq!(machine.hart.instructions(), 1);
        // A halt request now changes nothing.
        machine.hart.halt(HaltCause::Request);
        check_halted(&machine, HaltCause::Ebreak, CODE + 4);
    }
}

#[test]
fn reset_forgets_everything_but_time() {
    let mut machine = Machine::new(counting_loop);
    machine.run(20);
    machine.set_csr(csr::TDATA1, 0x47);
    machine.set_csr(csr::DCSR, EBREAKM);
    machine.hart.halt(HaltCause::Request);
    let cycles = machine.hart.cycles();
    machine.hart.reset(DATA);
    assert!(!machine.hart.is_halted());
    assert_eq!(
        (machine.hart.pc(), machine.hart.x(10), machine.hart.cycles()),
        (DATA, 0, cycles)
    );
    assert_eq!(machine.csr(csr::DCSR), 0x4000_0003);
    assert_eq!(machine.csr(csr::TDATA1) & 7, 0);
    machine.hart.halt(HaltCause::ResetRequest);
    check_halted(&machine, HaltCause::ResetRequest, DATA);
}

/// Runs a program from the buffer with s0 = `s0`, s1 = `s1`.
fn run_program(program: &[u32], s0: u32, s1: u32) -> (Machine, Result<(), Exception>) {
    let mut machine = Machine::new(counting_loop);
    machine.run(6);
    machine.hart.halt(HaltCause::Request);
    let before = (machine.hart.pc(), machine.hart.cycles());
    machine.hart.set_x(8, s0);
    machine.hart.set_x(9, s1);
    let result = machine.hart.execute_program(&mut machine.bus, program);
    assert_eq!((machine.hart.pc(), machine.hart.cycles()), before);
    assert!(machine.hart.is_halted());
    (machine, result)
}

#[test]
fn programs_read_and_write_memory() {
    let store = [
        s_type(0, S1, S0, 2),
        i_type(0x13, 4, S0, 0, S0),
        s_type(0, S1, S0, 0),
        EBREAK,
        ECALL,
    ];
    let (mut machine, result) = run_program(&store, DATA, 0x1122_3344);
    assert_eq!(result, Ok(()));
    assert_eq!(
        (machine.word(DATA), machine.word(DATA + 4)),
        (0x1122_3344, 0x44)
    );
    // Without an ebreak it ends at the end of the buffer; compressed pairs count.
    let load = [0x4004_4008, i_type(0x03, 0, S0, 2, S1)];
    machine.hart.set_x(8, DATA);
    assert_eq!(
        machine.hart.execute_program(&mut machine.bus, &load),
        Ok(())
    );
    // c.lw a0, 0(s0); c.lw s1, 0(s0); then lw s1, 0(s0) with s0 as it was.
    assert_eq!(
        (machine.hart.x(10), machine.hart.x(9)),
        (0x1122_3344, 0x1122_3344)
    );
}

#[test]
fn programs_report_what_went_wrong() {
    for (instruction, s0, expected) in [
        (i_type(0x03, 0, S0, 2, S1), 0, Exception::LoadAccessFault(0)),
        (
            s_type(0, S1, S0, 2),
            DENIED,
            Exception::StoreAccessFault(DENIED),
        ),
        (
            j_type(8, ZERO),
            0,
            Exception::IllegalInstruction(j_type(8, ZERO)),
        ),
        (MRET, 0, Exception::IllegalInstruction(MRET)),
        (0xffff_ffff, 0, Exception::IllegalInstruction(0xffff_ffff)),
    ] {
        let (machine, result) = run_program(&[instruction, i_type(0x13, 1, ZERO, 0, S1)], s0, 7);
        assert_eq!(result, Err(expected));
        assert_eq!(machine.hart.x(9), 7, "nothing behind it is executed");
    }
}

#[test]
fn programs_reach_debug_registers() {
    let mut machine = Machine::new(counting_loop);
    machine.hart.halt(HaltCause::Request);
    machine.hart.set_x(8, DATA);
    let program = [csrrw(S1, csr::DPC, S0), csrrs(S0, csr::DCSR, ZERO)];
    assert_eq!(
        machine.hart.execute_program(&mut machine.bus, &program),
        Ok(())
    );
    assert_eq!((machine.hart.x(9), machine.hart.x(8) >> 28), (CODE, 4));
    assert_eq!(machine.hart.pc(), DATA);
}

#[test]
fn programs_fire_no_triggers() {
    let mut machine = Machine::new(counting_loop);
    machine.set_csr(csr::TDATA1, 1 << 27 | 1 << 12 | 1 << 6 | 3);
    machine.set_csr(csr::TDATA2, DATA);
    machine.hart.halt(HaltCause::Request);
    machine.hart.set_x(8, DATA);
    let program = [s_type(0, S0, S0, 2)];
    assert_eq!(
        machine.hart.execute_program(&mut machine.bus, &program),
        Ok(())
    );
    assert_eq!(machine.word(DATA), DATA);
}

#[test]
fn a_program_may_patch_code() {
    let mut machine = Machine::new(counting_loop);
    machine.run(10);
    machine.hart.halt(HaltCause::Request);
    machine.hart.set_x(8, CODE);
    machine.hart.set_x(9, EBREAK);
    let program = [s_type(0, S1, S0, 2), FENCE_I];
    assert_eq!(
        machine.hart.execute_program(&mut machine.bus, &program),
        Ok(())
    );
    machine.set_csr(csr::DCSR, EBREAKM | 3);
    machine.hart.resume();
    assert_eq!(machine.run(100), Stop::Halted(HaltCause::Ebreak));
}
