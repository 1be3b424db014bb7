//! Stock probe-rs debugging the simulated chip.

use std::time::Duration;

use probe_rs::config::TargetSelector;
use probe_rs::semihosting::SemihostingCommand;
use probe_rs::{CoreStatus, HaltReason, MemoryInterface, Permissions, RegisterId};

use crate::fixtures::relays;
use crate::support::*;

const TIMEOUT: Duration = Duration::from_secs(5);
const A0: RegisterId = RegisterId(0x100A);

#[test]
fn a_session_attaches_by_name_and_by_itself() {
    let rig = rig();
    drop(attach(&rig));
    let session = open(&rig.selector()).attach(TargetSelector::Auto, Permissions::default());
    assert_eq!(
        session.expect("auto-detection works").target().name,
        "esp32c3"
    );
}

#[test]
fn memory_is_read_and_written_while_the_program_runs() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    load(&mut core, &COUNT);
    core.run().unwrap();
    let free = u64::from(DATA + 0x100);
    core.write_word_32(free, 0xDEAD_BEEF).unwrap();
    core.write_word_8(free + 1, 0x55).unwrap();
    assert_eq!(core.read_word_32(free).unwrap(), 0xDEAD_55EF);
    assert_eq!(core.read_word_8(free + 3).unwrap(), 0xDE);
    let before = core.read_word_32(DATA.into()).unwrap();
    wait_until(&rig.clock(), rig.clock().now() + Duration::from_millis(5));
    let after = core.read_word_32(DATA.into()).unwrap();
    assert!(
        after.wrapping_sub(before) > 1000,
        "{before} -> {after}: the program does not run"
    );
    assert!(!core.core_halted().unwrap());
}

#[test]
fn registers_steps_and_breakpoints() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    load(&mut core, &COUNT);
    core.write_core_reg(A0, 41u32).unwrap();
    for (pc, a0) in [(4, 42u32), (8, 42), (12, 42), (0, 42), (4, 43)] {
        assert_eq!(core.step().unwrap().pc, u64::from(CODE + pc));
        assert_eq!(core.read_core_reg::<u32>(A0).unwrap(), a0);
    }
    assert_eq!(core.available_breakpoint_units().unwrap(), 8);
    core.set_hw_breakpoint(u64::from(CODE) + 8).unwrap();
    for a0 in [43u32, 44, 45] {
        core.run().unwrap();
        core.wait_for_core_halted(TIMEOUT).unwrap();
        assert_eq!(
            core.read_core_reg::<u32>(core.program_counter()).unwrap(),
            CODE + 8
        );
        assert_eq!(core.read_core_reg::<u32>(A0).unwrap(), a0);
    }
    assert!(matches!(
        core.status().unwrap(),
        CoreStatus::Halted(HaltReason::Breakpoint(_))
    ));
    core.clear_hw_breakpoint(u64::from(CODE) + 8).unwrap();
    core.run().unwrap();
    assert!(core.status().unwrap().is_running());
}

#[test]
fn single_steps_move_pins_and_the_board_sees_it() {
    const GPIO: u32 = 0x6000_4000;
    const RELAY_4: u32 = 1 << 4;
    const ROUNDS: usize = 40;
    // On its own thread: the mistake that this looks for is a step without an end.
    let (done, finished) = crossbeam_channel::bounded(1);
    std::thread::spawn(move || {
        let rig = rig();
        let mut session = attach(&rig);
        let mut core = session.core(0).unwrap();
        let set = store(GPIO + 0x08, RELAY_4);
        let clear = store(GPIO + 0x0C, RELAY_4);
        let round = [set, clear].concat();
        let mut program = store(GPIO + 0x24, RELAY_4).to_vec();
        (0..ROUNDS).for_each(|_| program.extend(&round));
        program.extend(&set);
        load(&mut core, &program);
        let clock = rig.clock();
        let mut before = clock.now();
        for _ in 0..program.len() {
            before = clock.now();
            core.step().unwrap();
        }
        let pc: u32 = core.read_core_reg(core.program_counter()).unwrap();
        // The last step closes the relay, after its travel; the hart is halted all the time.
        wait_until(&clock, clock.now() + Duration::from_millis(200));
        done.send((pc, before, relays(&rig)[3], clock.now())).ok();
    });
    let (pc, before, relay, after) = finished
        .recv_timeout(Duration::from_secs(60))
        .expect("the steps end");
    let steps = 5 * (2 + 2 * ROUNDS as u32);
    assert_eq!(pc, CODE + 4 * steps);
    assert!(relay.closed);
    let closed = Duration::from_micros(relay.since_us);
    assert!(
        before < closed && closed < after,
        "{before:?} {closed:?} {after:?}"
    );
}

#[test]
fn a_reset_halts_at_the_reset_vector() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    load(&mut core, &COUNT);
    core.run().unwrap();
    let core_information = core.reset_and_halt(TIMEOUT).unwrap();
    assert_eq!(core_information.pc, 0x4000_0000);
    assert!(core.core_halted().unwrap());
}

#[test]
fn time_goes_on_while_the_hart_is_halted() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    core.halt(TIMEOUT).unwrap();
    let clock = rig.clock();
    let before = clock.now();
    let fired = wait_until(&clock, before + Duration::from_millis(50));
    assert!(fired >= before + Duration::from_millis(50));
    assert!(core.core_halted().unwrap());
}

#[test]
fn semihosting_calls_halt_the_core() {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    let exit = [
        0x0180_0513, // li a0, 0x18: SYS_EXIT
        0x0002_05B7, // lui a1, 0x20
        0x0265_8593, // addi a1, a1, 0x26: ADP_Stopped_ApplicationExit
        0x01F0_1013, // slli x0, x0, 0x1f
        0x0010_0073, // ebreak
        0x4070_5013, // srai x0, x0, 7
        0x0000_006F, // j .
    ];
    load(&mut core, &exit);
    core.run().unwrap();
    core.wait_for_core_halted(TIMEOUT).unwrap();
    let status = core.status().unwrap();
    let success = CoreStatus::Halted(HaltReason::Breakpoint(
        probe_rs::BreakpointCause::Semihosting(SemihostingCommand::ExitSuccess),
    ));
    assert_eq!(status, success);
}
