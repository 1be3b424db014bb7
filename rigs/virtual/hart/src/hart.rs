//! The hart and what can be set and read from outside: registers, time, the interrupt input.
//!
//! How it goes from instruction to instruction is in `run`, the debugger's side in `debug`.

use crate::cache::Cache;
use crate::csr::{Clock, Csrs};
use crate::execute::Registers;
use crate::guard::Guard;
use crate::{HaltCause, HartProfile, StaleCode};

/// One RV32IMC hart.
#[derive(Debug, Clone)]
pub struct Hart {
    pub(crate) x: Registers,
    pub(crate) pc: u32,
    pub(crate) csrs: Csrs,
    pub(crate) cycles: u64,
    /// Cycles in which no instruction retired: idle jumps, traps.
    pub(crate) idle_cycles: u64,
    pub(crate) interrupt: Option<u8>,
    pub(crate) halted: Option<HaltCause>,
    pub(crate) stepping: Stepping,
    pub(crate) cache: Cache,
    /// Marks the pages where armed triggers and locked PMP entries matter.
    pub(crate) guard: Guard,
    /// Marks every page: for user mode and single steps, where each access is checked exactly.
    pub(crate) full_guard: Guard,
    /// Addresses where an execute trigger is armed (start, exclusive end).
    pub(crate) execute_watches: Vec<(u64, u64)>,
}

/// Where a step asked for by `dcsr.step` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepping {
    No,
    /// Resumed, the instruction is still to come.
    Pending,
    /// The instruction was an emulated function, which happens outside; halt when asked to run again.
    Outside,
}

impl Default for Hart {
    fn default() -> Hart {
        Hart::new()
    }
}

impl Hart {
    /// An ESP32-C3's hart at cycle 0, running, with all registers 0.
    pub fn new() -> Hart {
        Hart::with_profile(HartProfile::Esp32C3)
    }

    /// A hart with the registers of another profile.
    pub fn with_profile(profile: HartProfile) -> Hart {
        Hart {
            x: [0; 256],
            pc: 0,
            csrs: Csrs::new(profile),
            cycles: 0,
            idle_cycles: 0,
            interrupt: None,
            halted: None,
            stepping: Stepping::No,
            cache: Cache::new(),
            guard: Guard::new(),
            full_guard: Guard::full(),
            execute_watches: Vec::new(),
        }
    }

    /// Resets registers, CSRs, PMP, triggers and debug state, drops decoded code, and goes on running at `pc`.
    ///
    /// Cycle and instruction counts go on, and the interrupt input keeps its level. To come out of reset halted, call
    /// [`halt`](Hart::halt) with [`HaltCause::ResetRequest`] next.
    pub fn reset(&mut self, pc: u32) {
        self.x = [0; 256];
        self.pc = pc & !1;
        self.csrs = Csrs::new(self.csrs.profile());
        self.halted = None;
        self.stepping = Stepping::No;
        self.registers_changed();
        self.cache.clear();
    }

    /// Cycles since creation, with those skipped by [`advance`](Hart::advance).
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Lets `cycles` pass in which nothing is executed: an idle jump, or what an emulated function takes.
    pub fn advance(&mut self, cycles: u64) {
        self.cycles += cycles;
        self.idle_cycles += cycles;
    }

    /// Sets the cycle count; the count of instructions is not touched.
    pub fn set_cycles(&mut self, cycles: u64) {
        let instructions = self.instructions();
        self.cycles = cycles;
        self.idle_cycles = cycles.wrapping_sub(instructions);
    }

    /// Instructions retired since creation. An instruction that traps doesn't retire.
    pub fn instructions(&self) -> u64 {
        self.cycles.wrapping_sub(self.idle_cycles)
    }

    /// Address of the next instruction; `dpc` while halted.
    pub fn pc(&self) -> u32 {
        if self.halted.is_some() {
            self.csrs.dpc
        } else {
            self.pc
        }
    }

    /// Goes on elsewhere; bit 0 is dropped. While halted this sets `dpc`.
    pub fn set_pc(&mut self, pc: u32) {
        self.pc = pc & !1;
        if self.halted.is_some() {
            self.csrs.dpc = pc & !1;
        }
    }

    /// Register x`number`, 0 to 31.
    ///
    /// # Panics
    /// When `number` is above 31.
    pub fn x(&self, number: u8) -> u32 {
        assert!(number < 32, "there is no x{number}");
        self.x[usize::from(number)]
    }

    /// Sets register x`number`, 0 to 31. x0 stays 0.
    ///
    /// # Panics
    /// When `number` is above 31.
    pub fn set_x(&mut self, number: u8, value: u32) {
        assert!(number < 32, "there is no x{number}");
        if number != 0 {
            self.x[usize::from(number)] = value;
        }
    }

    /// A control and status register, with the debugger's rights. `None`: it doesn't exist.
    pub fn csr(&self, number: u16) -> Option<u32> {
        if number == crate::csr_number::DPC {
            return Some(if self.halted.is_some() {
                self.pc()
            } else {
                self.csrs.dpc
            });
        }
        self.csrs.read(number, self.clock())
    }

    /// Writes a control and status register with the debugger's rights; says whether it exists. Read-only registers
    /// and bits keep their values.
    pub fn set_csr(&mut self, number: u16, value: u32) -> bool {
        let clock = self.clock();
        let exists = self.csrs.read(number, clock).is_some();
        if exists {
            self.csrs.write(number, value, [clock, clock], true);
            self.csr_written(number);
        }
        exists
    }

    /// The interrupt line (1 to 31) that is delivered from now on, or none. Taken at the next block boundary when
    /// `mstatus.MIE` is set: `mcause` 0x8000_0000 + line, to the vector of that line.
    pub fn set_interrupt(&mut self, line: Option<u8>) {
        debug_assert!(line.is_none_or(|line| (1..=31).contains(&line)));
        self.interrupt = line;
    }

    /// Drops decoded code.
    pub fn invalidate(&mut self, stale: StaleCode) {
        self.cache.invalidate(stale);
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            cycles: self.cycles,
            instructions: self.instructions(),
        }
    }
}
