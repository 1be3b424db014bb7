//! The hart: registers, time, and the way from one block to the next.
//!
//! ```text
//!            ┌──────── interrupt? ── trap ──┐
//!   run ──▶ next ── block known? ── chain ──┼──▶ Stop
//!            ▲        │ no: decode          │
//!            └────────┴── system, trap ◀────┘
//! ```
//! `chain` runs linked blocks without coming back for as long as nothing but registers and memory is involved. Whatever
//! can change what comes next in another way (CSR writes, traps, changed code) ends the chain, so that interrupts,
//! privilege and triggers are looked at in one place only.

use crate::cache::{Block, Cache, MAX_OPS, Slot};
use crate::csr::{Clock, Csrs, Privilege};
use crate::decode::{self, NoInstruction};
use crate::execute::{self, Exit, Leave, Parts, Registers, Run};
use crate::guard::Guard;
use crate::pmp::Access;
use crate::system::Flow;
use crate::trigger::Action;
use crate::{Bus, Exception, HaltCause, HartProfile, StaleCode, Stop, Stored};

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

/// Why `chain` came back.
enum Chained {
    Deadline,
    Attention,
    /// `pc` has no linked successor yet: block and slot that lead there.
    Unlinked(u32, Slot),
    /// Left in the middle of a block; `pc` and cycles are those of the op.
    Left {
        why: Leave,
        length: u32,
    },
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

    /// Runs until the cycle count reaches `until` or there is a reason to stop.
    ///
    /// The limit is checked at block ends: it may be overshot by up to 63 cycles. A pending step
    /// ([`resume`](Hart::resume) with `dcsr.step`) executes one instruction and halts.
    pub fn run<B: Bus>(&mut self, bus: &mut B, until: u64) -> Stop {
        if let Some(stop) = self.begin(bus) {
            return stop;
        }
        let mut link = None;
        loop {
            if self.cycles >= until {
                return Stop::Deadline;
            }
            if self.stepping != Stepping::No {
                return self.debug_step(bus);
            }
            if self.take_interrupt() {
                link = None;
                continue;
            }
            let block = match self.find_block(bus) {
                Ok(block) => block,
                Err(Blocked::Alone) => {
                    link = None;
                    match self.one(bus) {
                        Some(stop) => return stop,
                        None => continue,
                    }
                }
                Err(Blocked::No(NoInstruction::Emulated)) => return Stop::Emulated { pc: self.pc },
                Err(Blocked::No(NoInstruction::Fault(exception))) => {
                    link = None;
                    match self.trap(exception) {
                        Some(stop) => return stop,
                        None => continue,
                    }
                }
            };
            if let Some((from, slot)) = link.take() {
                let from: &mut Block = &mut self.cache.blocks[from as usize];
                from.links[slot as usize] = block;
            }
            let chained = if self.guard.is_armed() {
                self.chain::<B, true>(bus, block, until)
            } else {
                self.chain::<B, false>(bus, block, until)
            };
            match chained {
                Chained::Deadline => return Stop::Deadline,
                Chained::Attention => return Stop::Attention,
                Chained::Unlinked(from, slot) => link = Some((from, slot)),
                Chained::Left { why, length } => {
                    if let Some(stop) = self.leave(bus, why, length) {
                        return stop;
                    }
                }
            }
        }
    }

    /// Executes exactly one instruction, or enters one trap. [`Stop::Deadline`] says that there is nothing to report.
    pub fn step<B: Bus>(&mut self, bus: &mut B) -> Stop {
        if let Some(stop) = self.begin(bus) {
            return stop;
        }
        if self.stepping != Stepping::No {
            return self.debug_step(bus);
        }
        if self.take_interrupt() {
            return Stop::Deadline;
        }
        self.one(bus).unwrap_or(Stop::Deadline)
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

    /// What comes before any instruction: debug mode, and code that changed while the hart stood still.
    fn begin<B: Bus>(&mut self, bus: &mut B) -> Option<Stop> {
        if let Some(cause) = self.halted {
            return Some(Stop::Halted(cause));
        }
        self.cache.invalidate(bus.take_stale_code());
        None
    }

    /// Runs linked blocks, beginning with `block`, whose start is `pc`.
    fn chain<B: Bus, const GUARDED: bool>(
        &mut self,
        bus: &mut B,
        block: u32,
        until: u64,
    ) -> Chained {
        let Hart {
            x,
            csrs,
            guard,
            cache,
            ..
        } = self;
        let mut parts = Parts {
            x,
            csrs,
            guard,
            debug_mode: false,
        };
        let mut cycles = self.cycles;
        let mut current = block;
        let (pc, chained) = loop {
            let block = &cache.blocks[current as usize];
            let run = Run {
                start: block.start,
                end: block.end,
                last: block.last,
                ops: &block.ops,
            };
            match execute::execute::<B, GUARDED>(&mut parts, bus, run, cycles) {
                Exit::Done(slot, target) => {
                    cycles += run.ops.len() as u64;
                    if bus.take_attention() {
                        break (target, Chained::Attention);
                    }
                    if cycles >= until {
                        break (target, Chained::Deadline);
                    }
                    let linked = block.links[slot as usize];
                    if cache.blocks[linked as usize].start == target {
                        current = linked;
                    } else if let Some(found) = cache.find_quick(target) {
                        cache.blocks[current as usize].links[slot as usize] = found;
                        current = found;
                    } else {
                        break (target, Chained::Unlinked(current, slot));
                    }
                }
                Exit::Early { index, pc, why } => {
                    cycles += index as u64;
                    let length = run.end.wrapping_sub(run.last);
                    break (pc, Chained::Left { why, length });
                }
            }
        };
        self.cycles = cycles;
        self.pc = pc;
        chained
    }

    /// Carries out why a block was left: `pc` and cycles are those of the op. `length` counts for system ops only.
    pub(crate) fn leave<B: Bus>(&mut self, bus: &mut B, why: Leave, length: u32) -> Option<Stop> {
        match why {
            Leave::System(bits) => match self.system(bus, bits, length) {
                Ok(Flow::Go(pc)) => {
                    self.cycles += 1;
                    self.pc = pc;
                    None
                }
                Ok(Flow::Wait(pc)) => {
                    self.cycles += 1;
                    self.pc = pc;
                    self.interrupt.is_none().then_some(Stop::WaitForInterrupt)
                }
                Ok(Flow::Halt(cause)) => {
                    self.halt(cause);
                    Some(Stop::Halted(cause))
                }
                Err(exception) => self.trap(exception),
            },
            Leave::Exception(exception) => self.trap(exception),
            Leave::Trigger => {
                self.halt(HaltCause::Trigger);
                Some(Stop::Halted(HaltCause::Trigger))
            }
            Leave::Stored(stored) => {
                self.cycles += 1;
                match stored {
                    Stored::CodeChanged => {
                        self.cache.invalidate(bus.take_stale_code());
                        bus.take_attention().then_some(Stop::Attention)
                    }
                    Stored::Attention => {
                        bus.take_attention();
                        Some(Stop::Attention)
                    }
                    Stored::Done => None,
                }
            }
        }
    }

    /// One instruction with every check made exactly, not from the cache. Interrupts are the caller's.
    pub(crate) fn one<B: Bus>(&mut self, bus: &mut B) -> Option<Stop> {
        let privilege = self.csrs.privilege;
        match self
            .csrs
            .triggers
            .fire(Access::Execute, self.pc, 1, privilege)
        {
            Some(Action::Debug) => {
                self.halt(HaltCause::Trigger);
                return Some(Stop::Halted(HaltCause::Trigger));
            }
            Some(Action::Exception) => return self.trap(Exception::Breakpoint(self.pc)),
            None => {}
        }
        let may_execute = decode::execute_permission(&self.csrs.pmp, privilege);
        let instruction = match decode::fetch(bus, self.pc, may_execute) {
            Ok(instruction) => instruction,
            Err(NoInstruction::Emulated) => return Some(Stop::Emulated { pc: self.pc }),
            Err(NoInstruction::Fault(exception)) => return self.trap(exception),
        };
        let op = decode::decode(instruction, self.pc, 0);
        let run = Run {
            start: self.pc,
            end: self.pc.wrapping_add(instruction.length),
            last: self.pc,
            ops: &[op],
        };
        let mut parts = Parts {
            x: &mut self.x,
            csrs: &mut self.csrs,
            guard: &self.full_guard,
            debug_mode: false,
        };
        match execute::execute::<B, true>(&mut parts, bus, run, self.cycles) {
            Exit::Done(_, pc) => {
                self.pc = pc;
                self.cycles += 1;
                bus.take_attention().then_some(Stop::Attention)
            }
            Exit::Early { pc, why, .. } => {
                self.pc = pc;
                self.leave(bus, why, instruction.length)
            }
        }
    }

    /// Takes the pending interrupt, if there is one and it may be taken.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        let Some(line) = self.interrupt else {
            return false;
        };
        let enabled = self.csrs.interrupts_enabled();
        if enabled {
            let cause = 0x8000_0000 | u32::from(line);
            self.pc = self.csrs.enter_trap(cause, 0, self.pc);
            self.advance(1);
        }
        enabled
    }

    /// Enters the trap handler for an exception at `pc`.
    pub(crate) fn trap(&mut self, exception: Exception) -> Option<Stop> {
        let pc = self.pc;
        let from = self.csrs.privilege;
        self.advance(1);
        self.pc = self
            .csrs
            .enter_trap(exception.cause(), exception.value(), pc);
        let stuck = self.pc == pc && from == Privilege::Machine;
        stuck.then_some(Stop::Lockup { pc, exception })
    }

    /// The block at `pc`, decoded if need be.
    fn find_block<B: Bus>(&mut self, bus: &mut B) -> Result<u32, Blocked> {
        if self.csrs.privilege == Privilege::User {
            return Err(Blocked::Alone);
        }
        match self.cache.find(self.pc) {
            Some(block) => Ok(block),
            None => self.decode_block(bus),
        }
    }

    fn decode_block<B: Bus>(&mut self, bus: &mut B) -> Result<u32, Blocked> {
        let start = self.pc;
        let (mut pc, mut last) = (start, start);
        let mut ops = Vec::with_capacity(16);
        while ops.len() < MAX_OPS {
            if self.is_execution_watched(pc) {
                if ops.is_empty() {
                    return Err(Blocked::Alone);
                }
                break;
            }
            let may_execute = decode::execute_permission(&self.csrs.pmp, Privilege::Machine);
            let instruction = match decode::fetch(bus, pc, may_execute) {
                Ok(instruction) => instruction,
                Err(no_instruction) if ops.is_empty() => return Err(Blocked::No(no_instruction)),
                Err(_) => break,
            };
            let op = decode::decode(instruction, pc, pc.wrapping_sub(start));
            ops.push(op);
            last = pc;
            pc = pc.wrapping_add(instruction.length);
            // A block never goes over the end of the address space: its end is above its start.
            if op.ends_block() || pc < start {
                break;
            }
        }
        bus.watch_code(start, pc);
        Ok(self.cache.insert(Block {
            start,
            end: pc,
            last,
            links: [0; 2],
            ops: ops.into_boxed_slice(),
        }))
    }

    fn is_execution_watched(&self, pc: u32) -> bool {
        self.execute_watches
            .iter()
            .any(|(start, end)| (*start..*end).contains(&u64::from(pc)))
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            cycles: self.cycles,
            instructions: self.instructions(),
        }
    }
}

/// Why there is no block to run.
enum Blocked {
    /// This instruction must be executed alone, with all checks.
    Alone,
    /// There is no instruction.
    No(NoInstruction),
}
