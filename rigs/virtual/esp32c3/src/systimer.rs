//! SYSTIMER: two 52-bit counters at 16 MHz and three comparators.
//!
//! ESP32-C3 Technical Reference Manual, chapter "System Timer". A comparator watches one counter: as a one-shot
//! it fires when the counter reaches its target (at once when the target is already past), in period mode every
//! so many counts from the moment it was loaded.
//!
//! The counters are not stepped: their value is worked out from chip time when somebody looks.
//!
//! Not modelled: stalling while the hart is (chip time itself stands still then), the clock gate.

#![allow(unreachable_pub)] // What bitbybit generates is public.

use arbitrary_int::{u3, u26};
use bitbybit::bitfield;

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::time::Ticks;

/// Ticks of one count.
const COUNT: u64 = 30;
const VALUE_MASK: u64 = (1 << 52) - 1;
const FIRST_SOURCE: u32 = 37;

// Offsets.
const CONF: u32 = 0x00;
const UNIT_OP: [u32; 2] = [0x04, 0x08];
const UNIT_LOAD_VALUES: u32 = 0x0C;
const TARGETS: u32 = 0x1C;
const TARGET_CONF: u32 = 0x34;
const UNIT_VALUES: u32 = 0x40;
const COMP_LOAD: u32 = 0x50;
const UNIT_LOAD: u32 = 0x5C;
const INT_ENA: u32 = 0x64;
const INT_RAW: u32 = 0x68;
const INT_CLR: u32 = 0x6C;
const INT_ST: u32 = 0x70;
const DATE: u32 = 0xFC;

#[bitfield(u32, default = 0x4600_0000)]
struct Conf {
    #[bit(30, rw)]
    unit0_work_en: bool,
    #[bit(29, rw)]
    unit1_work_en: bool,
    #[bit(24, rw)]
    target0_work_en: bool,
    #[bit(23, rw)]
    target1_work_en: bool,
    #[bit(22, rw)]
    target2_work_en: bool,
}

impl Conf {
    fn unit_works(self, unit: usize) -> bool {
        [self.unit0_work_en(), self.unit1_work_en()][unit]
    }

    fn target_works(self, target: usize) -> bool {
        [
            self.target0_work_en(),
            self.target1_work_en(),
            self.target2_work_en(),
        ][target]
    }
}

#[bitfield(u32, default = 0)]
struct TargetConf {
    #[bit(31, rw)]
    timer_unit_sel: bool,
    #[bit(30, rw)]
    period_mode: bool,
    #[bits(0..=25, rw)]
    period: u26,
}

#[derive(Clone, Copy, Default)]
struct Unit {
    /// Value at `since`, or for good when the unit stands still.
    value: u64,
    since: Ticks,
    works: bool,
    load: u64,
    /// Value at the last update request; valid once there was one.
    latched: Option<u64>,
}

impl Unit {
    fn value(&self, now: Ticks) -> u64 {
        let counts = if self.works {
            now.0 / COUNT - self.since.0 / COUNT
        } else {
            0
        };
        (self.value + counts) & VALUE_MASK
    }

    fn set(&mut self, value: u64, now: Ticks) {
        self.value = value & VALUE_MASK;
        self.since = now;
    }

    /// When the counter shows `target`; not later than now when it is past.
    fn reaches(&self, target: u64) -> Option<Ticks> {
        let ahead = target.wrapping_sub(self.value) & VALUE_MASK;
        // The manual: a target less than half the range behind is past.
        let ahead = if ahead >> 51 != 0 { 0 } else { ahead };
        self.works
            .then_some(Ticks((self.since.0 / COUNT + ahead) * COUNT))
    }
}

#[derive(Clone, Copy)]
struct Comparator {
    conf: TargetConf,
    /// As written.
    target: u64,
    /// What is compared with, since the last load; `None` when a one-shot has fired.
    armed: Option<u64>,
}

/// The system timer.
pub(crate) struct Systimer {
    conf: Conf,
    units: [Unit; 2],
    comparators: [Comparator; 3],
    int_ena: u3,
    int_raw: u3,
}

impl Systimer {
    pub(crate) fn new() -> Systimer {
        Systimer {
            conf: Conf::DEFAULT,
            units: [
                Unit {
                    works: true,
                    ..Unit::default()
                },
                Unit::default(),
            ],
            comparators: [Comparator {
                conf: TargetConf::DEFAULT,
                target: 0,
                armed: None,
            }; 3],
            int_ena: u3::new(0),
            int_raw: u3::new(0),
        }
    }

    /// A reset at `now` is over: what counts begins at 0. Called after `reset`.
    pub(crate) fn restart(&mut self, now: Ticks) {
        for unit in &mut self.units {
            unit.set(0, now);
        }
    }

    /// When comparator `index` fires next.
    fn due(&self, index: usize) -> Option<Ticks> {
        let comparator = &self.comparators[index];
        let unit = &self.units[comparator.conf.timer_unit_sel() as usize];
        if !self.conf.target_works(index) {
            return None;
        }
        unit.reaches(comparator.armed?)
    }

    fn set_conf(&mut self, value: u32, now: Ticks) {
        self.conf = Conf::new_with_raw_value(value);
        for (index, unit) in self.units.iter_mut().enumerate() {
            if unit.works != self.conf.unit_works(index) {
                unit.set(unit.value(now), now);
                unit.works = !unit.works;
            }
        }
    }

    fn load_comparator(&mut self, index: usize, now: Ticks) {
        let comparator = &mut self.comparators[index];
        let unit = &self.units[comparator.conf.timer_unit_sel() as usize];
        comparator.armed = Some(if comparator.conf.period_mode() {
            let period = u64::from(comparator.conf.period().value()).max(1);
            (unit.value(now) + period) & VALUE_MASK
        } else {
            comparator.target
        });
    }

    /// Half of a 52-bit value: high words hold 20 bits and come first.
    fn half(value: u64, offset: u32) -> u32 {
        if offset & 4 == 0 {
            value as u32
        } else {
            (value >> 32) as u32
        }
    }

    fn set_half(old: u64, offset: u32, value: u32) -> u64 {
        if offset & 4 == 0 {
            (old & !0xFFFF_FFFF) | u64::from(value)
        } else {
            (old & 0xFFFF_FFFF) | u64::from(value & 0xF_FFFF) << 32
        }
    }
}

impl Peripheral for Systimer {
    fn name(&self) -> &'static str {
        "systimer"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            CONF => self.conf.raw_value(),
            0x04 | 0x08 => {
                u32::from(
                    self.units[(offset - UNIT_OP[0]) as usize / 4]
                        .latched
                        .is_some(),
                ) << 29
            }
            // High words are at 0x0C, 0x14, ...: the words of a pair count from an address with bit 2 set.
            UNIT_LOAD_VALUES..=0x18 => Self::half(
                self.units[(offset - UNIT_LOAD_VALUES) as usize / 8].load,
                offset,
            ),
            TARGETS..=0x30 => Self::half(
                self.comparators[(offset - TARGETS) as usize / 8].target,
                offset,
            ),
            TARGET_CONF..=0x3C => self.comparators[(offset - TARGET_CONF) as usize / 4]
                .conf
                .raw_value(),
            UNIT_VALUES..=0x4C => {
                let value = self.units[(offset - UNIT_VALUES) as usize / 8]
                    .latched
                    .unwrap_or(0);
                // Here the high word is at the lower address with bit 2 clear.
                Self::half(value, offset ^ 4)
            }
            COMP_LOAD..=0x60 | INT_CLR => 0,
            INT_ENA => self.int_ena.value().into(),
            INT_RAW => self.int_raw.value().into(),
            INT_ST => (self.int_raw & self.int_ena).value().into(),
            DATE => 0x0200_6171,
            _ => {
                context.unmodelled.read(self.name(), offset, context.pc);
                0
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let now = context.now;
        match offset {
            CONF => self.set_conf(value, now),
            0x04 | 0x08 => {
                let unit = &mut self.units[(offset - UNIT_OP[0]) as usize / 4];
                if value & 1 << 30 != 0 {
                    unit.latched = Some(unit.value(now));
                }
            }
            UNIT_LOAD_VALUES..=0x18 => {
                let unit = &mut self.units[(offset - UNIT_LOAD_VALUES) as usize / 8];
                unit.load = Self::set_half(unit.load, offset, value);
            }
            TARGETS..=0x30 => {
                let comparator = &mut self.comparators[(offset - TARGETS) as usize / 8];
                comparator.target = Self::set_half(comparator.target, offset, value);
            }
            TARGET_CONF..=0x3C => {
                self.comparators[(offset - TARGET_CONF) as usize / 4].conf =
                    TargetConf::new_with_raw_value(value);
            }
            COMP_LOAD..=0x58 => {
                if value & 1 != 0 {
                    self.load_comparator((offset - COMP_LOAD) as usize / 4, now);
                }
            }
            UNIT_LOAD | 0x60 => {
                if value & 1 != 0 {
                    let unit = &mut self.units[(offset - UNIT_LOAD) as usize / 4];
                    unit.set(unit.load, now);
                }
            }
            INT_ENA => self.int_ena = u3::new((value & 7) as u8),
            INT_CLR => self.int_raw &= u3::new((!value & 7) as u8),
            UNIT_VALUES..=0x4C | INT_RAW | INT_ST | DATE => {}
            _ => context.unmodelled.write(self.name(), offset, context.pc),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        for index in 0..self.comparators.len() {
            if self.due(index).is_none_or(|due| due > context.now) {
                continue;
            }
            self.int_raw |= u3::new(1 << index);
            let comparator = &mut self.comparators[index];
            comparator.armed = match comparator.armed {
                Some(fired) if comparator.conf.period_mode() => {
                    // Keep the rhythm, also when several periods went by unseen.
                    let unit = &self.units[comparator.conf.timer_unit_sel() as usize];
                    let period = u64::from(comparator.conf.period().value()).max(1);
                    let behind = unit.value(context.now).wrapping_sub(fired) & VALUE_MASK;
                    Some((fired + (behind / period + 1) * period) & VALUE_MASK)
                }
                _ => None,
            };
        }
    }

    fn next_event(&self) -> Option<Ticks> {
        (0..self.comparators.len())
            .filter_map(|index| self.due(index))
            .min()
    }

    fn interrupts(&self) -> u64 {
        u64::from((self.int_raw & self.int_ena).value()) << FIRST_SOURCE
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind >= ResetKind::Core {
            *self = Systimer::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn bench() -> Bench<Systimer> {
        Bench::new(Systimer::new())
    }

    fn value(bench: &mut Bench<Systimer>, unit: u32) -> u64 {
        bench.write(UNIT_OP[unit as usize], 1 << 30);
        assert_eq!(bench.read(UNIT_OP[unit as usize]), 1 << 29);
        let high = bench.read(UNIT_VALUES + unit * 8);
        u64::from(high) << 32 | u64::from(bench.read(UNIT_VALUES + unit * 8 + 4))
    }

    fn counts(counts: u64) -> Ticks {
        Ticks(counts * COUNT)
    }

    #[test]
    fn unit_0_counts_at_16_mhz_from_reset_and_unit_1_when_told() {
        let mut bench = bench();
        assert_eq!((bench.read(CONF), bench.read(UNIT_OP[0])), (0x4600_0000, 0));
        bench.run(Ticks::from_seconds(1));
        assert_eq!(
            (value(&mut bench, 0), value(&mut bench, 1)),
            (16_000_000, 0)
        );
        bench.write(CONF, 1 << 29);
        bench.run(counts(100));
        assert_eq!(
            (value(&mut bench, 0), value(&mut bench, 1)),
            (16_000_000, 100)
        );
    }

    #[test]
    fn a_latched_value_stands_until_the_next_request() {
        let mut bench = bench();
        bench.run(counts(7));
        assert_eq!(value(&mut bench, 0), 7);
        bench.run(counts(7));
        assert_eq!(bench.read(UNIT_VALUES + 4), 7);
    }

    #[test]
    fn a_unit_is_loaded() {
        fn check(high: u32, low: u32, later: u64, expected: u64) {
            let mut bench = bench();
            bench.write(0x0C, high);
            bench.write(0x10, low);
            assert_eq!((bench.read(0x0C), bench.read(0x10)), (high, low));
            bench.write(UNIT_LOAD, 1);
            bench.run(counts(later));
            assert_eq!(value(&mut bench, 0), expected);
        }
        check(0, 1000, 5, 1005);
        check(1, 0, 0, 1 << 32);
        check(0, u32::MAX, 1, 1 << 32);
        check(0xF_FFFF, u32::MAX, 1, 0);
    }

    #[test]
    fn a_one_shot_fires_at_its_count() {
        fn check(start: u64, target: u64, expected: Option<u64>) {
            let mut bench = bench();
            bench.run(counts(start));
            bench.write(0x24, (target >> 32) as u32);
            bench.write(0x28, target as u32);
            bench.write(COMP_LOAD + 4, 1);
            bench.write(INT_ENA, 7);
            assert_eq!(bench.peripheral.next_event(), None, "not at work yet");
            bench.write(CONF, 0x4600_0000 | 1 << 23);
            let due = bench.peripheral.next_event();
            assert_eq!(
                due.map(|due| due.max(bench.now)),
                expected.map(counts),
                "{start} {target}"
            );
            if let Some(at) = expected {
                bench.run_until(counts(at));
                assert_eq!((bench.read(INT_RAW), bench.read(INT_ST)), (2, 2));
                assert_eq!(bench.peripheral.interrupts(), 1 << 38);
                bench.write(INT_CLR, 2);
                bench.run(Ticks::from_seconds(100));
                assert_eq!(bench.read(INT_RAW), 0, "once only");
            }
        }
        check(0, 16_000, Some(16_000));
        check(500, 501, Some(501));
        check(500, 500, Some(500));
        check(500, 499, Some(500));
        check(1 << 33, (1 << 33) + 9, Some((1 << 33) + 9));
    }

    #[test]
    fn a_target_behind_a_loaded_value_is_past() {
        let mut bench = bench();
        bench.write(0x10, 1_000);
        bench.write(UNIT_LOAD, 1);
        bench.write(0x28, 999);
        bench.write(COMP_LOAD + 4, 1);
        bench.write(CONF, 0x4600_0000 | 1 << 23);
        let due = bench.peripheral.next_event().expect("it fires");
        assert!(due <= bench.now, "{due:?}");
    }

    #[test]
    fn a_period_fires_again_and_again() {
        let mut bench = bench();
        bench.run(counts(50));
        bench.write(TARGET_CONF, 1 << 30 | 160);
        bench.write(COMP_LOAD, 1);
        bench.write(CONF, 0x4600_0000 | 1 << 24);
        for n in 1..5 {
            assert_eq!(bench.peripheral.next_event(), Some(counts(50 + n * 160)));
            bench.run_until(counts(50 + n * 160));
            assert_eq!(bench.read(INT_RAW), 1);
            bench.write(INT_CLR, 1);
        }
        assert_eq!(bench.peripheral.interrupts(), 0, "not enabled");
    }

    #[test]
    fn a_late_poll_keeps_the_rhythm() {
        let mut bench = bench();
        bench.write(TARGET_CONF, 1 << 30 | 100);
        bench.write(COMP_LOAD, 1);
        bench.write(CONF, 0x4600_0000 | 1 << 24);
        bench.now = counts(1_234);
        bench.run(Ticks(0));
        assert_eq!(bench.peripheral.next_event(), Some(counts(1_300)));
    }

    #[test]
    fn a_core_reset_stops_the_comparators() {
        let mut bench = bench();
        bench.write(TARGET_CONF, 1 << 30 | 100);
        bench.write(COMP_LOAD, 1);
        bench.write(CONF, 0x4600_0000 | 1 << 24);
        bench.peripheral.reset(ResetKind::Cpu);
        assert!(bench.peripheral.next_event().is_some());
        bench.peripheral.reset(ResetKind::Core);
        assert_eq!(
            (bench.peripheral.next_event(), bench.read(CONF)),
            (None, 0x4600_0000)
        );
    }
}
