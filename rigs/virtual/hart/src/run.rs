//! Running: the way from one block to the next.
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

use crate::cache::{Block, MAX_OPS, Slot};
use crate::csr::Privilege;
use crate::decode::{self, NoInstruction};
use crate::execute::{self, Exit, Leave, Parts, Run};
use crate::hart::Stepping;
use crate::pmp::Access;
use crate::system::Flow;
use crate::trigger::Action;
use crate::{Bus, Exception, HaltCause, Hart, Stop, Stored};

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

impl Hart {
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
            // A full cache forgets every block when it takes in this one: then nobody is there to be linked.
            if let Some((from, slot)) = link.take()
                && let Some(from) = self.cache.blocks.get_mut(from as usize)
            {
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
        let mut ops = Vec::new();
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
}

/// Why there is no block to run.
enum Blocked {
    /// This instruction must be executed alone, with all checks.
    Alone,
    /// There is no instruction.
    No(NoInstruction),
}
