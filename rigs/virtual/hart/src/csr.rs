//! Control and status registers: which exist, what they read, what a write keeps.
//!
//! Source: ESP32-C3 TRM, chapter 1 ("ESP-RISC-V CPU"), and the RISC-V Privileged Architecture 1.10. A number that is
//! not listed here is an illegal instruction, and so is a write to a read-only one (bits 11:10 both set).

use crate::counter::PerformanceCounter;
use crate::pmp::Pmp;
use crate::trigger::Triggers;
use crate::{HaltCause, HartProfile};

/// Register numbers.
pub mod number {
    #![allow(missing_docs)] // The names are the specification's; each file of registers is described there.
    pub const MSTATUS: u16 = 0x300;
    pub const MISA: u16 = 0x301;
    pub const MIE: u16 = 0x304;
    pub const MTVEC: u16 = 0x305;
    pub const MCOUNTEREN: u16 = 0x306;
    pub const MSTATUSH: u16 = 0x310;
    pub const MSCRATCH: u16 = 0x340;
    pub const MEPC: u16 = 0x341;
    pub const MCAUSE: u16 = 0x342;
    pub const MTVAL: u16 = 0x343;
    pub const MIP: u16 = 0x344;
    pub const PMPCFG0: u16 = 0x3a0;
    pub const PMPADDR0: u16 = 0x3b0;
    pub const TSELECT: u16 = 0x7a0;
    pub const TDATA1: u16 = 0x7a1;
    pub const TDATA2: u16 = 0x7a2;
    pub const TDATA3: u16 = 0x7a3;
    pub const TINFO: u16 = 0x7a4;
    pub const TCONTROL: u16 = 0x7a5;
    pub const DCSR: u16 = 0x7b0;
    pub const DPC: u16 = 0x7b1;
    pub const DSCRATCH0: u16 = 0x7b2;
    pub const DSCRATCH1: u16 = 0x7b3;
    pub const MPCER: u16 = 0x7e0;
    pub const MPCMR: u16 = 0x7e1;
    pub const MPCCR: u16 = 0x7e2;
    pub const CPU_GPIO_OEN: u16 = 0x803;
    pub const CPU_GPIO_IN: u16 = 0x804;
    pub const CPU_GPIO_OUT: u16 = 0x805;
    pub const MCYCLE: u16 = 0xb00;
    pub const MINSTRET: u16 = 0xb02;
    pub const MCYCLEH: u16 = 0xb80;
    pub const MINSTRETH: u16 = 0xb82;
    pub const CYCLE: u16 = 0xc00;
    pub const TIME: u16 = 0xc01;
    pub const INSTRET: u16 = 0xc02;
    pub const CYCLEH: u16 = 0xc80;
    pub const TIMEH: u16 = 0xc81;
    pub const INSTRETH: u16 = 0xc82;
    pub const MVENDORID: u16 = 0xf11;
    pub const MARCHID: u16 = 0xf12;
    pub const MIMPID: u16 = 0xf13;
    pub const MHARTID: u16 = 0xf14;
}

use number::*;

const STATUS_MIE: u32 = 1 << 3;
const STATUS_MPIE: u32 = 1 << 7;
const STATUS_MPP: u32 = 3 << 11;
const STATUS_TW: u32 = 1 << 21;

const DCSR_VERSION: u32 = 4 << 28;
const DCSR_EBREAKM: u32 = 1 << 15;
const DCSR_EBREAKU: u32 = 1 << 12;
const DCSR_STEPIE: u32 = 1 << 11;
const DCSR_CAUSE: u32 = 7 << 6;
const DCSR_STEP: u32 = 1 << 2;
const DCSR_PRV: u32 = 3;

/// RV32IMC with user mode.
const MISA_VALUE: u32 = 0x4010_1104;

/// Who is executing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    User,
    Machine,
}

impl Privilege {
    fn code(self) -> u32 {
        match self {
            Privilege::User => 0,
            Privilege::Machine => 3,
        }
    }

    /// The nearest legal mode: 3 is machine, everything else user.
    fn from_code(code: u32) -> Privilege {
        if code & 3 == 3 {
            Privilege::Machine
        } else {
            Privilege::User
        }
    }
}

/// The hart's counters at one instruction, for registers that show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) cycles: u64,
    pub(crate) instructions: u64,
}

/// All control and status registers, with the current privilege.
#[derive(Debug, Clone)]
pub(crate) struct Csrs {
    profile: HartProfile,
    pub(crate) privilege: Privilege,
    status: u32,
    vector: u32,
    scratch: u32,
    pub(crate) epc: u32,
    cause: u32,
    value: u32,
    interrupt_enable: u32,
    counter_enable: u32,
    cycle_offset: u64,
    instruction_offset: u64,
    counter: PerformanceCounter,
    gpio_enable: u32,
    gpio_out: u32,
    pub(crate) pmp: Pmp,
    pub(crate) triggers: Triggers,
    dcsr: u32,
    pub(crate) dpc: u32,
    debug_scratch: [u32; 2],
}

impl Csrs {
    pub(crate) fn new(profile: HartProfile) -> Csrs {
        Csrs {
            profile,
            privilege: Privilege::Machine,
            status: 0,
            vector: if profile == HartProfile::Esp32C3 {
                1
            } else {
                0
            },
            scratch: 0,
            epc: 0,
            cause: 0,
            value: 0,
            interrupt_enable: 0,
            counter_enable: 0,
            cycle_offset: 0,
            instruction_offset: 0,
            counter: PerformanceCounter::new(),
            gpio_enable: 0,
            gpio_out: 0,
            pmp: Pmp::new(),
            triggers: Triggers::new(profile == HartProfile::Esp32C3),
            dcsr: DCSR_VERSION | Privilege::Machine.code(),
            dpc: 0,
            debug_scratch: [0; 2],
        }
    }

    pub(crate) fn profile(&self) -> HartProfile {
        self.profile
    }

    /// The value of a register; `None` when it doesn't exist. Privilege and debug mode are not looked at.
    pub(crate) fn read(&self, number: u16, clock: Clock) -> Option<u32> {
        let generic = self.profile == HartProfile::Generic;
        let espressif = !generic;
        let cycle = clock.cycles.wrapping_add(self.cycle_offset);
        let instret = clock.instructions.wrapping_add(self.instruction_offset);
        Some(match number {
            MSTATUS => self.status,
            MISA => MISA_VALUE,
            MTVEC => self.vector,
            MSCRATCH => self.scratch,
            MEPC => self.epc,
            MCAUSE => self.cause,
            MTVAL => self.value,
            0x3a0..=0x3a3 => self.pmp.configuration(usize::from(number - PMPCFG0)),
            0x3b0..=0x3bf => self.pmp.address(usize::from(number - PMPADDR0)),
            TSELECT => self.triggers.select(),
            TDATA1 => self.triggers.data1(),
            TDATA2 => self.triggers.data2(),
            TDATA3 => 0,
            TINFO => 1 << 2,
            TCONTROL if self.triggers.has_control() => self.triggers.control(),
            DCSR => self.dcsr,
            DPC => self.dpc,
            DSCRATCH0 | DSCRATCH1 => self.debug_scratch[usize::from(number - DSCRATCH0)],
            MPCER if espressif => self.counter.events(),
            MPCMR if espressif => self.counter.mode(),
            MPCCR if espressif => self.counter.value(clock),
            CPU_GPIO_OEN if espressif => self.gpio_enable,
            CPU_GPIO_IN if espressif => 0,
            CPU_GPIO_OUT if espressif => self.gpio_out,
            MVENDORID => 0x612,
            MARCHID => 0x8000_0001,
            MIMPID => 1,
            MHARTID => 0,
            MIE if generic => self.interrupt_enable,
            MIP | MSTATUSH if generic => 0,
            MCOUNTEREN if generic => self.counter_enable,
            MCYCLE | CYCLE | TIME if generic => cycle as u32,
            MCYCLEH | CYCLEH | TIMEH if generic => (cycle >> 32) as u32,
            MINSTRET | INSTRET if generic => instret as u32,
            MINSTRETH | INSTRETH if generic => (instret >> 32) as u32,
            _ => return None,
        })
    }

    /// Writes a register that exists; read-only parts keep their values. A counter that is written counts from `next`,
    /// the clock at the following instruction, which reads what was written.
    pub(crate) fn write(
        &mut self,
        number: u16,
        value: u32,
        [now, next]: [Clock; 2],
        debug_mode: bool,
    ) {
        match number {
            MSTATUS => self.set_status(value),
            MTVEC => self.set_vector(value),
            MSCRATCH => self.scratch = value,
            MEPC => self.epc = value & !1,
            // Interrupt flag and the five bits that number 31 lines.
            MCAUSE => self.cause = value & 0x8000_001f,
            MTVAL => self.value = value,
            0x3a0..=0x3a3 => self
                .pmp
                .set_configuration(usize::from(number - PMPCFG0), value),
            0x3b0..=0x3bf => self.pmp.set_address(usize::from(number - PMPADDR0), value),
            TSELECT => self.triggers.set_select(value),
            TDATA1 => self.triggers.set_data1(value, debug_mode),
            TDATA2 => self.triggers.set_data2(value, debug_mode),
            TCONTROL => self.triggers.set_control(value),
            DCSR => {
                let writable = DCSR_EBREAKM | DCSR_EBREAKU | DCSR_STEPIE | DCSR_STEP | DCSR_PRV;
                let mode = Privilege::from_code(value).code();
                self.dcsr = self.dcsr & !writable | value & writable & !DCSR_PRV | mode;
            }
            DPC => self.dpc = value & !1,
            DSCRATCH0 | DSCRATCH1 => self.debug_scratch[usize::from(number - DSCRATCH0)] = value,
            MPCER => self.counter.set_events(value, next),
            MPCMR => self.counter.set_mode(value, next),
            MPCCR => self.counter.set_value(value, next),
            CPU_GPIO_OEN => self.gpio_enable = value & 0xff,
            CPU_GPIO_OUT => self.gpio_out = value & 0xff,
            MIE => self.interrupt_enable = value,
            MCOUNTEREN => self.counter_enable = value & 7,
            MCYCLE => set_low(&mut self.cycle_offset, [now.cycles, next.cycles], value),
            MCYCLEH => set_high(&mut self.cycle_offset, [now.cycles, next.cycles], value),
            MINSTRET => {
                let counts = [now.instructions, next.instructions];
                set_low(&mut self.instruction_offset, counts, value);
            }
            MINSTRETH => {
                let counts = [now.instructions, next.instructions];
                set_high(&mut self.instruction_offset, counts, value);
            }
            _ => {}
        }
    }

    /// Whether code at the current privilege may name this register at all.
    pub(crate) fn reachable(&self, number: u16, debug_mode: bool) -> bool {
        let needs_machine = number & 0x300 != 0;
        let debug_only = number & 0xff0 == 0x7b0;
        if debug_mode {
            return true;
        }
        let counter = (CYCLE..=INSTRET).contains(&number) || (CYCLEH..=INSTRETH).contains(&number);
        match self.privilege {
            Privilege::Machine => !debug_only,
            Privilege::User if counter => self.counter_enable >> (number & 3) & 1 != 0,
            Privilege::User => !needs_machine,
        }
    }

    fn set_status(&mut self, value: u32) {
        let mode = Privilege::from_code(value >> 11).code() << 11;
        self.status = value & (STATUS_MIE | STATUS_MPIE | STATUS_TW) | mode;
    }

    fn set_vector(&mut self, value: u32) {
        self.vector = match self.profile {
            HartProfile::Esp32C3 => value & !0xff | 1,
            // Mode 0 or 1; the reserved ones become 0 or 1 by their low bit.
            HartProfile::Generic => value & !2,
        };
    }

    /// Takes a trap: saves `pc`, raises to machine mode, disables interrupts. Returns where the handler is.
    pub(crate) fn enter_trap(&mut self, cause: u32, value: u32, pc: u32) -> u32 {
        self.epc = pc & !1;
        self.cause = cause;
        self.value = value;
        let enabled = self.status & STATUS_MIE != 0;
        self.status &= !(STATUS_MIE | STATUS_MPIE | STATUS_MPP);
        if enabled {
            self.status |= STATUS_MPIE;
        }
        self.status |= self.privilege.code() << 11;
        self.privilege = Privilege::Machine;
        self.triggers.enter_trap();
        let base = self.vector & !3;
        let interrupt = cause & 0x8000_0000 != 0;
        if interrupt && self.vector & 3 == 1 {
            base.wrapping_add(4 * (cause & 0x1f))
        } else {
            base
        }
    }

    /// `mret`: back to the saved privilege and interrupt enable. Returns the saved `pc`.
    pub(crate) fn leave_trap(&mut self) -> u32 {
        self.privilege = Privilege::from_code(self.status >> 11);
        let enabled = self.status & STATUS_MPIE != 0;
        self.status &= !(STATUS_MIE | STATUS_MPP);
        if enabled {
            self.status |= STATUS_MIE;
        }
        self.status |= STATUS_MPIE;
        self.triggers.leave_trap();
        self.epc
    }

    /// Whether an interrupt would be taken now. User mode can always be interrupted.
    pub(crate) fn interrupts_enabled(&self) -> bool {
        self.status & STATUS_MIE != 0 || self.privilege == Privilege::User
    }

    /// Whether `wfi` is forbidden here (`mstatus.TW` in user mode).
    pub(crate) fn wait_is_illegal(&self) -> bool {
        self.privilege == Privilege::User && self.status & STATUS_TW != 0
    }

    /// Whether `ebreak` enters debug mode at the current privilege.
    pub(crate) fn ebreak_halts(&self) -> bool {
        let bit = match self.privilege {
            Privilege::Machine => DCSR_EBREAKM,
            Privilege::User => DCSR_EBREAKU,
        };
        self.dcsr & bit != 0
    }

    pub(crate) fn steps(&self) -> bool {
        self.dcsr & DCSR_STEP != 0
    }

    pub(crate) fn steps_with_interrupts(&self) -> bool {
        self.dcsr & DCSR_STEPIE != 0
    }

    /// Debug mode begins: `dcsr.cause` and `dcsr.prv` are set, `dpc` is where to go on.
    pub(crate) fn enter_debug(&mut self, cause: HaltCause, pc: u32) {
        self.dcsr =
            self.dcsr & !(DCSR_CAUSE | DCSR_PRV) | cause.code() << 6 | self.privilege.code();
        self.dpc = pc;
        self.privilege = Privilege::Machine;
    }

    /// Debug mode ends: back to `dcsr.prv`. Returns `dpc`.
    pub(crate) fn leave_debug(&mut self) -> u32 {
        self.privilege = Privilege::from_code(self.dcsr);
        self.dpc
    }
}

/// Writes the low half of a counter that shows `now + offset`, so that it shows the result at `next`.
fn set_low(offset: &mut u64, [now, next]: [u64; 2], value: u32) {
    let shown = now.wrapping_add(*offset);
    *offset = ((shown & !0xffff_ffff) | u64::from(value)).wrapping_sub(next);
}

/// As [`set_low`], the high half.
fn set_high(offset: &mut u64, [now, next]: [u64; 2], value: u32) {
    let shown = now.wrapping_add(*offset);
    *offset = ((shown & 0xffff_ffff) | (u64::from(value) << 32)).wrapping_sub(next);
}
