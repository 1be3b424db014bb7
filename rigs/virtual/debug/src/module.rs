//! The debug module: its registers, run control and resets (chapter 3).
//!
//! One hart, no authentication, sixteen words of program buffer with an implicit `ebreak` behind them, two data
//! words. Every request is carried out within the write that asks for it, so nothing is ever busy.
//!
//! Not modelled: several harts (`hartsel` is hard-wired to 0), quick access and abstract memory access,
//! `abstractauto` (hard-wired to 0), halt-on-reset (`setresethaltreq`), the configuration string.

use crate::command::{AbstractCommands, DATA_WORDS, PROGRAM_WORDS};
use crate::system_bus::SystemBus;
use crate::target::DebugTarget;

/// Addresses of the debug module's registers on the debug module interface (table 3.8).
pub mod register {
    /// First of the words that carry arguments and results of abstract commands.
    pub const DATA0: u32 = 0x04;
    /// Second of them.
    pub const DATA1: u32 = 0x05;
    /// Run control and resets.
    pub const DMCONTROL: u32 = 0x10;
    /// State of the hart.
    pub const DMSTATUS: u32 = 0x11;
    /// Scratch registers and memory-mapped data of the hart: none here.
    pub const HARTINFO: u32 = 0x12;
    /// State and errors of abstract commands.
    pub const ABSTRACTCS: u32 = 0x16;
    /// Starts an abstract command.
    pub const COMMAND: u32 = 0x17;
    /// Repeats commands on data access: not implemented, reads 0.
    pub const ABSTRACTAUTO: u32 = 0x18;
    /// First word of the program buffer.
    pub const PROGBUF0: u32 = 0x20;
    /// Last word of the program buffer.
    pub const PROGBUF15: u32 = 0x2F;
    /// Control and errors of system bus access.
    pub const SBCS: u32 = 0x38;
    /// Address of the next system bus access.
    pub const SBADDRESS0: u32 = 0x39;
    /// Data of system bus accesses.
    pub const SBDATA0: u32 = 0x3C;
    /// Bit n: hart n is halted.
    pub const HALTSUM0: u32 = 0x40;
}

mod dmcontrol {
    pub(super) const HALTREQ: u32 = 1 << 31;
    pub(super) const RESUMEREQ: u32 = 1 << 30;
    pub(super) const HARTRESET: u32 = 1 << 29;
    pub(super) const ACKHAVERESET: u32 = 1 << 28;
    pub(super) const NDMRESET: u32 = 1 << 1;
    pub(super) const DMACTIVE: u32 = 1 << 0;
}

mod dmstatus {
    pub(super) const IMPEBREAK: u32 = 1 << 22;
    pub(super) const HAVERESET: u32 = 0b11 << 18;
    pub(super) const RESUMEACK: u32 = 0b11 << 16;
    pub(super) const UNAVAILABLE: u32 = 0b11 << 12;
    pub(super) const RUNNING: u32 = 0b11 << 10;
    pub(super) const HALTED: u32 = 0b11 << 8;
    pub(super) const AUTHENTICATED: u32 = 1 << 7;
    pub(super) const VERSION_0_13: u32 = 2;
}

/// The debug module's state. All of it is lost when the debugger clears `dmactive`.
#[derive(Clone, Debug, Default)]
pub struct DebugModule {
    active: bool,
    /// `haltreq` as last written: it stays pending, so that a hart that comes out of a reset halts at once.
    halt_requested: bool,
    hart_reset: bool,
    system_reset: bool,
    resume_acknowledged: bool,
    commands: AbstractCommands,
    bus: SystemBus,
}

impl DebugModule {
    /// A debug module as it is after power-on: inactive.
    pub fn new() -> DebugModule {
        DebugModule::default()
    }

    /// True between a debugger's setting and clearing of `dmactive`.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Reads the register at `address`; registers that don't exist read 0.
    pub fn read<T: DebugTarget>(&mut self, target: &mut T, address: u32) -> u32 {
        self.press_halt(target);
        match address {
            register::DMCONTROL => self.dmcontrol(),
            register::DMSTATUS => self.dmstatus(target),
            register::HALTSUM0 => u32::from(!self.in_reset() && target.is_halted()),
            _ if !self.active => 0,
            register::DATA0..=register::DATA1 => {
                self.commands.data[(address - register::DATA0) as usize]
            }
            register::ABSTRACTCS => self.commands.abstractcs(),
            register::PROGBUF0..=register::PROGBUF15 => {
                self.commands.program[(address - register::PROGBUF0) as usize]
            }
            register::SBCS => self.bus.sbcs(),
            register::SBADDRESS0 => self.bus.address(),
            register::SBDATA0 => self.bus.read_data(target),
            _ => 0,
        }
    }

    /// Writes the register at `address`; writes to registers that don't exist, or to any but `dmcontrol` while
    /// the module is inactive, are ignored.
    pub fn write<T: DebugTarget>(&mut self, target: &mut T, address: u32, value: u32) {
        self.press_halt(target);
        match address {
            register::DMCONTROL => self.control(target, value),
            _ if !self.active => {}
            register::DATA0..=register::DATA1 => {
                self.commands.data[(address - register::DATA0) as usize] = value
            }
            register::ABSTRACTCS => self.commands.clear_errors(value),
            register::COMMAND => self.commands.start(target, value),
            register::PROGBUF0..=register::PROGBUF15 => {
                self.commands.program[(address - register::PROGBUF0) as usize] = value;
            }
            register::SBCS => self.bus.control(value),
            register::SBADDRESS0 => self.bus.set_address(target, value),
            register::SBDATA0 => self.bus.write_data(target, value),
            _ => {}
        }
    }

    fn in_reset(&self) -> bool {
        self.hart_reset || self.system_reset
    }

    /// A pending halt request also catches a hart that reset itself, or came back from a power cycle.
    fn press_halt<T: DebugTarget>(&self, target: &mut T) {
        if self.halt_requested && !self.in_reset() && !target.is_halted() {
            target.halt();
        }
    }

    fn dmcontrol(&self) -> u32 {
        let mut value = 0;
        if self.active {
            value |= dmcontrol::DMACTIVE;
        }
        if self.hart_reset {
            value |= dmcontrol::HARTRESET;
        }
        if self.system_reset {
            value |= dmcontrol::NDMRESET;
        }
        value
    }

    fn dmstatus<T: DebugTarget>(&self, target: &T) -> u32 {
        let mut value = dmstatus::VERSION_0_13 | dmstatus::AUTHENTICATED | dmstatus::IMPEBREAK;
        value |= match (self.in_reset(), target.is_halted()) {
            (true, _) => dmstatus::UNAVAILABLE,
            (false, true) => dmstatus::HALTED,
            (false, false) => dmstatus::RUNNING,
        };
        if target.has_reset() {
            value |= dmstatus::HAVERESET;
        }
        if self.resume_acknowledged {
            value |= dmstatus::RESUMEACK;
        }
        value
    }

    /// A write to `dmcontrol` (section 3.14.2), with the run control of section 3.5.
    fn control<T: DebugTarget>(&mut self, target: &mut T, value: u32) {
        if value & dmcontrol::DMACTIVE == 0 {
            let held = self.in_reset();
            *self = DebugModule::default();
            if held {
                self.release(target, false);
            }
            return;
        }
        self.active = true;
        if value & dmcontrol::ACKHAVERESET != 0 {
            target.acknowledge_reset();
        }
        self.halt_requested = value & dmcontrol::HALTREQ != 0;

        let was_held = self.in_reset();
        let had_system_reset = self.system_reset;
        self.hart_reset = value & dmcontrol::HARTRESET != 0;
        self.system_reset = value & dmcontrol::NDMRESET != 0;
        match (was_held, self.in_reset()) {
            (false, true) => target.halt(),
            (true, true) => self.system_reset |= had_system_reset,
            (true, false) if had_system_reset => {
                self.release_after(target, DebugTarget::reset_system)
            }
            (true, false) => self.release_after(target, DebugTarget::reset_hart),
            (false, false) => self.run_control(target, value),
        }
    }

    fn run_control<T: DebugTarget>(&mut self, target: &mut T, value: u32) {
        if self.halt_requested {
            self.press_halt(target);
        } else if value & dmcontrol::RESUMEREQ != 0 {
            self.resume_acknowledged = false;
            if target.is_halted() {
                target.resume();
                self.resume_acknowledged = true;
            }
        }
    }

    fn release_after<T: DebugTarget>(&mut self, target: &mut T, reset: impl FnOnce(&mut T)) {
        reset(target);
        self.release(target, self.halt_requested);
    }

    /// The hart leaves reset: into debug mode when a halt is requested, else running.
    fn release<T: DebugTarget>(&mut self, target: &mut T, halted: bool) {
        match (halted, target.is_halted()) {
            (true, false) => target.halt(),
            (false, true) => target.resume(),
            _ => {}
        }
    }
}

const _: () = assert!(PROGRAM_WORDS as u32 == register::PROGBUF15 - register::PROGBUF0 + 1);
const _: () = assert!(DATA_WORDS as u32 == register::DATA1 - register::DATA0 + 1);

#[cfg(test)]
mod tests {
    use super::register::*;
    use super::*;
    use crate::testing::FakeTarget;

    const ACTIVE: u32 = 1;
    const HALTED: u32 = 0x0000_0300;
    const RUNNING: u32 = 0x0000_0C00;
    const UNAVAILABLE: u32 = 0x0000_3000;
    const RESUMED: u32 = 0x0003_0000;
    const HAVERESET: u32 = 0x000C_0000;
    const STATUS_BASE: u32 = 0x0040_0082;

    fn active() -> (DebugModule, FakeTarget) {
        let (mut module, mut target) = (DebugModule::new(), FakeTarget::default());
        module.write(&mut target, DMCONTROL, ACTIVE);
        (module, target)
    }

    /// After these writes to dmcontrol, dmstatus without its constant bits reads `expected`.
    fn check(writes: &[u32], expected: u32) {
        let (mut module, mut target) = active();
        for write in writes {
            module.write(&mut target, DMCONTROL, *write | ACTIVE);
        }
        let status = module.read(&mut target, DMSTATUS);
        assert_eq!(status & STATUS_BASE, STATUS_BASE);
        assert_eq!(
            status & !STATUS_BASE,
            expected,
            "{writes:x?}: {:#010x}",
            status & !STATUS_BASE
        );
    }

    const HALT: u32 = 1 << 31;
    const RESUME: u32 = 1 << 30;
    const HARTRESET: u32 = 1 << 29;
    const ACK: u32 = 1 << 28;
    const NDMRESET: u32 = 2;

    #[test]
    fn run_control() {
        check(&[], RUNNING);
        check(&[HALT], HALTED);
        check(&[HALT, 0], HALTED);
        check(&[HALT, RESUME], RUNNING | RESUMED);
        check(&[HALT, HALT | RESUME], HALTED);
        check(&[HALT, RESUME, HALT], HALTED | RESUMED);
        check(&[RESUME], RUNNING);
        check(&[HALT, RESUME, RESUME], RUNNING);
    }

    #[test]
    fn resets() {
        check(&[HARTRESET], UNAVAILABLE);
        check(&[HARTRESET, 0], RUNNING | HAVERESET);
        check(&[HARTRESET, ACK], RUNNING | HAVERESET);
        check(&[HARTRESET, 0, ACK], RUNNING);
        check(&[HARTRESET | HALT, HALT], HALTED | HAVERESET);
        check(&[HARTRESET | HALT, HALT, ACK], HALTED);
        check(&[HALT, HARTRESET, 0], RUNNING | HAVERESET);
        check(&[NDMRESET], UNAVAILABLE);
        check(&[NDMRESET | HALT, HALT], HALTED | HAVERESET);
    }

    #[test]
    fn a_system_reset_is_not_forgotten_when_the_hart_reset_outlasts_it() {
        let (mut module, mut target) = active();
        for write in [HARTRESET | NDMRESET, HARTRESET, 0] {
            module.write(&mut target, DMCONTROL, write | ACTIVE);
        }
        assert_eq!((target.hart_resets, target.system_resets), (0, 1));
    }

    #[test]
    fn dmcontrol_reads_back_resets_and_one_hart_only() {
        fn check(write: u32, expected: u32) {
            let (mut module, mut target) = active();
            module.write(&mut target, DMCONTROL, write);
            assert_eq!(module.read(&mut target, DMCONTROL), expected, "{write:#x}");
        }
        check(ACTIVE, ACTIVE);
        check(0x03FF_FFC0 | ACTIVE, ACTIVE); // hartsel is hard-wired to 0
        check(HARTRESET | HALT | ACTIVE, HARTRESET | ACTIVE);
        check(NDMRESET | ACTIVE, NDMRESET | ACTIVE);
        check(HARTRESET, 0);
    }

    #[test]
    fn a_pending_halt_request_catches_a_hart_that_reset_itself() {
        let (mut module, mut target) = active();
        module.write(&mut target, DMCONTROL, HALT | ACTIVE);
        target.halted = false;
        assert_eq!(module.read(&mut target, DMSTATUS) & HALTED, HALTED);
        module.write(&mut target, DMCONTROL, ACTIVE);
        target.halted = false;
        assert_eq!(module.read(&mut target, DMSTATUS) & RUNNING, RUNNING);
    }

    #[test]
    fn an_inactive_module_forgets_and_ignores() {
        let (mut module, mut target) = active();
        module.write(&mut target, DATA0, 7);
        module.write(&mut target, PROGBUF0, 7);
        module.write(&mut target, SBADDRESS0, 0x20);
        module.write(&mut target, DMCONTROL, 0);
        assert!(!module.is_active());
        module.write(&mut target, DATA1, 9);
        module.write(&mut target, DMCONTROL, ACTIVE);
        for register in [DATA0, DATA1, PROGBUF0, SBADDRESS0] {
            assert_eq!(module.read(&mut target, register), 0, "{register:#x}");
        }
    }

    #[test]
    fn a_debugger_that_leaves_during_a_reset_does_not_leave_the_hart_stuck() {
        let (mut module, mut target) = active();
        module.write(&mut target, DMCONTROL, HARTRESET | ACTIVE);
        module.write(&mut target, DMCONTROL, 0);
        assert!(!target.halted);
    }

    #[test]
    fn a_halted_hart_stays_halted_when_the_debugger_leaves() {
        let (mut module, mut target) = active();
        module.write(&mut target, DMCONTROL, HALT | ACTIVE);
        module.write(&mut target, DMCONTROL, 0);
        assert!(target.halted);
    }

    #[test]
    fn plain_registers_keep_what_is_written_and_absent_ones_read_zero() {
        let (mut module, mut target) = active();
        for address in 0..0x80 {
            if ![DMCONTROL, COMMAND, SBCS, SBDATA0].contains(&address) {
                module.write(&mut target, address, 0x8000_0000 | address);
            }
        }
        for address in 0..0x80 {
            let expected = match address {
                DATA0 | DATA1 | PROGBUF0..=PROGBUF15 | SBADDRESS0 => 0x8000_0000 | address,
                DMCONTROL => ACTIVE,
                DMSTATUS => STATUS_BASE | RUNNING,
                ABSTRACTCS => 0x1000_0002,
                SBCS => 0x2004_0407,
                _ => 0,
            };
            assert_eq!(
                module.read(&mut target, address),
                expected,
                "register {address:#x}"
            );
        }
    }

    #[test]
    fn haltsum_shows_the_one_hart() {
        let (mut module, mut target) = active();
        assert_eq!(module.read(&mut target, HALTSUM0), 0);
        module.write(&mut target, DMCONTROL, HALT | ACTIVE);
        assert_eq!(module.read(&mut target, HALTSUM0), 1);
    }
}
