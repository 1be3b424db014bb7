//! The interrupt matrix: 62 sources, 31 CPU lines, a priority each.
//!
//! ESP32-C3 Technical Reference Manual, chapter "Interrupt Matrix". Every source is mapped to a line; a line that
//! is enabled, pending, and of a priority at or above the threshold interrupts the hart, the highest priority
//! first (of equals, the lowest line). A level line is pending as long as a source mapped to it is high; an edge
//! line from the rise of a source until it is cleared.
//!
//! Not modelled: the clock gate, the NMI.

use std::ops::RangeInclusive;

use crate::peripheral::{Context, Peripheral, ResetKind};

/// Interrupt sources there are.
const SOURCES: usize = 62;
const LINES: usize = 32;

// Offsets.
const MAP_LAST: u32 = (SOURCES as u32 - 1) * 4;
const STATUS_0: u32 = 0xF8;
const STATUS_1: u32 = 0xFC;
const CLOCK_GATE: u32 = 0x100;
const ENABLE: u32 = 0x104;
const TYPE: u32 = 0x108;
const CLEAR: u32 = 0x10C;
const EIP_STATUS: u32 = 0x110;
const PRIORITY: RangeInclusive<u32> = 0x114..=0x190;
const THRESHOLD: u32 = 0x194;

/// The matrix and what it delivers.
pub(crate) struct InterruptCore0 {
    map: [u8; SOURCES],
    /// Sources high now.
    sources: u64,
    enabled: u32,
    /// Lines that latch edges.
    edge: u32,
    clear: u32,
    priority: [u8; LINES],
    threshold: u8,
    clock_gate: u32,
    /// Lines a source holds high now. Bit 0 is never set: sources mapped to 0 go nowhere.
    level: u32,
    /// Edges seen and not cleared.
    latched: u32,
    /// What is delivered: kept, because the hart is told after each change.
    line: Option<u8>,
}

impl InterruptCore0 {
    pub(crate) fn new() -> InterruptCore0 {
        InterruptCore0 {
            map: [0; SOURCES],
            sources: 0,
            enabled: 0,
            edge: 0,
            clear: 0,
            priority: [0; LINES],
            threshold: 0,
            clock_gate: 1,
            level: 0,
            latched: 0,
            line: None,
        }
    }

    /// The peripherals hold these sources high now.
    pub(crate) fn set_sources(&mut self, sources: u64) {
        if sources != self.sources {
            self.sources = sources;
            self.update();
        }
    }

    /// The line that interrupts the hart, if any.
    pub(crate) fn line(&self) -> Option<u8> {
        self.line
    }

    fn pending(&self) -> u32 {
        (self.level & !self.edge) | (self.latched & self.edge)
    }

    fn update(&mut self) {
        let mut level = 0;
        let mut left = self.sources & ((1 << SOURCES) - 1);
        while left != 0 {
            level |= 1 << self.map[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        level &= !1;
        self.latched = (self.latched | (level & !self.level)) & !self.clear;
        self.level = level;
        let mut best: Option<(u8, u8)> = None;
        let mut candidates = self.pending() & self.enabled;
        while candidates != 0 {
            let line = candidates.trailing_zeros() as u8;
            candidates &= candidates - 1;
            let priority = self.priority[line as usize];
            if priority > 0
                && priority >= self.threshold
                && best.is_none_or(|(most, _)| priority > most)
            {
                best = Some((priority, line));
            }
        }
        self.line = best.map(|(_, line)| line);
    }
}

impl Peripheral for InterruptCore0 {
    fn name(&self) -> &'static str {
        "interrupt_core0"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            0..=MAP_LAST => self.map[offset as usize / 4].into(),
            STATUS_0 => self.sources as u32,
            STATUS_1 => (self.sources >> 32) as u32,
            CLOCK_GATE => self.clock_gate,
            ENABLE => self.enabled,
            TYPE => self.edge,
            CLEAR => self.clear,
            EIP_STATUS => self.pending() & self.enabled,
            _ if PRIORITY.contains(&offset) => {
                self.priority[(offset - PRIORITY.start()) as usize / 4].into()
            }
            THRESHOLD => self.threshold.into(),
            _ => {
                context.unmodelled.read(self.name(), offset, context.pc);
                0
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            0..=MAP_LAST => self.map[offset as usize / 4] = (value & 31) as u8,
            STATUS_0 | STATUS_1 | EIP_STATUS => {}
            CLOCK_GATE => self.clock_gate = value & 1,
            ENABLE => self.enabled = value & !1,
            TYPE => self.edge = value & !1,
            CLEAR => self.clear = value & !1,
            _ if PRIORITY.contains(&offset) => {
                self.priority[(offset - PRIORITY.start()) as usize / 4] = (value & 15) as u8;
            }
            THRESHOLD => self.threshold = (value & 15) as u8,
            _ => context.unmodelled.write(self.name(), offset, context.pc),
        }
        self.update();
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind >= ResetKind::Core {
            let sources = self.sources;
            *self = InterruptCore0::new();
            self.sources = sources;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn bench() -> Bench<InterruptCore0> {
        Bench::new(InterruptCore0::new())
    }

    /// Source `source` on `line` with `priority`, enabled.
    fn route(bench: &mut Bench<InterruptCore0>, source: u32, line: u32, priority: u32) {
        bench.write(source * 4, line);
        bench.write(0x114 + line * 4, priority);
        let enabled = bench.read(ENABLE);
        bench.write(ENABLE, enabled | 1 << line);
    }

    #[test]
    fn the_highest_priority_at_or_above_the_threshold_is_delivered() {
        /// `routes`: (source, line, priority), all sources high.
        fn check(routes: &[(u32, u32, u32)], threshold: u32, expected: Option<u8>) {
            let mut bench = bench();
            let mut sources = 0;
            for (source, line, priority) in routes {
                route(&mut bench, *source, *line, *priority);
                sources |= 1 << source;
            }
            bench.write(THRESHOLD, threshold);
            assert_eq!(bench.peripheral.line(), None);
            bench.peripheral.set_sources(sources);
            assert_eq!(
                bench.peripheral.line(),
                expected,
                "{routes:?} over {threshold}"
            );
        }
        check(&[(32, 17, 1)], 0, Some(17));
        check(&[(32, 17, 1)], 1, Some(17));
        check(&[(32, 17, 1)], 2, None);
        check(&[(32, 17, 0)], 0, None);
        check(&[(32, 0, 1)], 0, None);
        // Wherever it is among the lines: first, last or between the others.
        check(&[(32, 17, 1), (50, 2, 15), (61, 31, 3)], 0, Some(2));
        check(&[(32, 17, 1), (50, 2, 3), (61, 31, 15)], 0, Some(31));
        check(&[(32, 17, 15), (50, 2, 1), (61, 31, 3)], 0, Some(17));
        check(&[(0, 20, 4), (61, 19, 4)], 0, Some(19));
    }

    #[test]
    fn level_lines_follow_their_sources() {
        let mut bench = bench();
        route(&mut bench, 21, 5, 3);
        bench.peripheral.set_sources(1 << 21);
        assert_eq!(
            (bench.read(STATUS_0), bench.read(EIP_STATUS)),
            (1 << 21, 1 << 5)
        );
        bench.write(CLEAR, 1 << 5);
        bench.write(CLEAR, 0);
        assert_eq!(
            bench.peripheral.line(),
            Some(5),
            "clearing does nothing to a level"
        );
        bench.peripheral.set_sources(0);
        assert_eq!((bench.peripheral.line(), bench.read(EIP_STATUS)), (None, 0));
        bench.peripheral.set_sources(1 << 50);
        assert_eq!((bench.read(STATUS_0), bench.read(STATUS_1)), (0, 1 << 18));
    }

    #[test]
    fn edge_lines_latch_until_cleared() {
        let mut bench = bench();
        route(&mut bench, 21, 5, 3);
        bench.write(TYPE, 1 << 5);
        bench.peripheral.set_sources(1 << 21);
        bench.peripheral.set_sources(0);
        assert_eq!(bench.peripheral.line(), Some(5), "the edge is remembered");
        bench.write(CLEAR, 1 << 5);
        bench.write(CLEAR, 0);
        assert_eq!(bench.peripheral.line(), None);
        bench.peripheral.set_sources(1 << 21);
        bench.write(CLEAR, 1 << 5);
        bench.write(CLEAR, 0);
        assert_eq!(bench.peripheral.line(), None, "still high, but no new edge");
    }

    #[test]
    fn disabled_lines_are_silent() {
        let mut bench = bench();
        route(&mut bench, 21, 5, 3);
        bench.peripheral.set_sources(1 << 21);
        bench.write(ENABLE, 0);
        assert_eq!((bench.peripheral.line(), bench.read(EIP_STATUS)), (None, 0));
    }

    #[test]
    fn a_core_reset_clears_the_routes() {
        let mut bench = bench();
        route(&mut bench, 21, 5, 3);
        bench.peripheral.reset(ResetKind::Cpu);
        assert_eq!(bench.read(21 * 4), 5);
        bench.peripheral.reset(ResetKind::Core);
        assert_eq!((bench.read(21 * 4), bench.read(ENABLE)), (0, 0));
    }
}
