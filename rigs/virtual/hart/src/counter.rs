//! Espressif's performance counter: `mpcer` (0x7E0), `mpcmr` (0x7E1), `mpccr` (0x7E2).
//!
//! Source: ESP32-C3 TRM, chapter 1. Out of reset it counts CPU cycles, which is what firmware finds behind a
//! bootloader. Events other than cycles and instructions (hazards, branches, ...) are stored but count nothing: the
//! hart has no pipeline. The saturation bit is stored, but the counter wraps.

use crate::csr::Clock;

const EVENT_CYCLE: u32 = 1 << 0;
const EVENT_INSTRUCTION: u32 = 1 << 1;
const COUNT_ENABLE: u32 = 1 << 0;

#[derive(Debug, Clone)]
pub(crate) struct PerformanceCounter {
    events: u32,
    mode: u32,
    /// Value at the time `source` had the value `since`.
    base: u32,
    since: u64,
}

impl PerformanceCounter {
    pub(crate) fn new() -> PerformanceCounter {
        PerformanceCounter {
            events: EVENT_CYCLE,
            mode: COUNT_ENABLE,
            base: 0,
            since: 0,
        }
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    pub(crate) fn value(&self, clock: Clock) -> u32 {
        self.base
            .wrapping_add(self.source(clock).wrapping_sub(self.since) as u32)
    }

    pub(crate) fn set_events(&mut self, value: u32, clock: Clock) {
        self.change(clock, |counter| counter.events = value & 0x7ff);
    }

    pub(crate) fn set_mode(&mut self, value: u32, clock: Clock) {
        self.change(clock, |counter| counter.mode = value & 3);
    }

    pub(crate) fn set_value(&mut self, value: u32, clock: Clock) {
        self.base = value;
        self.since = self.source(clock);
    }

    fn change(&mut self, clock: Clock, change: impl FnOnce(&mut PerformanceCounter)) {
        self.base = self.value(clock);
        change(self);
        self.since = self.source(clock);
    }

    fn source(&self, clock: Clock) -> u64 {
        if self.mode & COUNT_ENABLE == 0 {
            0
        } else if self.events & EVENT_CYCLE != 0 {
            clock.cycles
        } else if self.events & EVENT_INSTRUCTION != 0 {
            clock.instructions
        } else {
            0
        }
    }
}
