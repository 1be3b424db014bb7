//! The CPU clock against chip time: how many ticks a cycle of the hart lasts, and since when.
//!
//! The hart counts cycles; chip time is in ticks. Whenever the frequency changes, both counts are written down and
//! the new rate holds from there, so chip time never jumps and never goes back.

use crate::time::Ticks;

/// The relation between the hart's cycles and chip time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    cycles: u64,
    ticks: u64,
    ticks_per_cycle: u64,
}

impl Clock {
    /// Cycle 0 is chip time 0.
    pub(crate) fn new(ticks_per_cycle: u64) -> Clock {
        Clock {
            cycles: 0,
            ticks: 0,
            ticks_per_cycle,
        }
    }

    /// Ticks of one cycle: 3 at 160 MHz.
    pub(crate) fn ticks_per_cycle(&self) -> u64 {
        self.ticks_per_cycle
    }

    /// From cycle `cycles` on, a cycle lasts `ticks_per_cycle`.
    pub(crate) fn change(&mut self, cycles: u64, ticks_per_cycle: u64) {
        self.ticks = self.at(cycles).0;
        self.cycles = cycles;
        self.ticks_per_cycle = ticks_per_cycle;
    }

    /// Chip time at cycle `cycles`, which is not before the last change.
    #[inline(always)]
    pub(crate) fn at(&self, cycles: u64) -> Ticks {
        Ticks(self.ticks + (cycles - self.cycles) * self.ticks_per_cycle)
    }

    /// The first cycle that is not before `time`; for a time before the last change, that change's cycle.
    pub(crate) fn cycle_at(&self, time: Ticks) -> u64 {
        let cycles = time
            .0
            .saturating_sub(self.ticks)
            .div_ceil(self.ticks_per_cycle);
        self.cycles.saturating_add(cycles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_evenly_over_frequency_changes() {
        let mut clock = Clock::new(24);
        assert_eq!(clock.at(10), Ticks(240));
        clock.change(10, 3);
        assert_eq!((clock.at(10), clock.at(11)), (Ticks(240), Ticks(243)));
        clock.change(20, 6);
        assert_eq!((clock.at(20), clock.at(22)), (Ticks(270), Ticks(282)));
    }

    #[test]
    fn cycles_of_a_time_are_not_early() {
        fn check(time: u64, expected: u64) {
            let mut clock = Clock::new(3);
            clock.change(100, 6);
            assert_eq!(clock.cycle_at(Ticks(time)), expected, "{time}");
        }
        check(0, 100);
        check(300, 100);
        check(301, 101);
        check(306, 101);
        check(307, 102);
        check(u64::MAX, 100 + (u64::MAX - 300).div_ceil(6));
    }
}
