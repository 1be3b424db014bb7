//! All sensors of a bus, scan by scan: which point each has, and what each last said.
//!
//! ```text
//! scan: [search, when due] ─▶ all convert at once ─▶ wait ─▶ read one by one ─▶ [second look]
//!           │ newcomers            │ failed: nobody              │ retried while        │ at +85 that
//!           ▼ take free points     ▼ has a reading               ▼ that may help        ▼ may be power-on
//! ```
//!
//! **Points.** A sensor keeps its point as long as the scanner lives, also while it is unplugged.
//! Newcomers take the lowest free points, those found together in the order of their ROM codes. So
//! after a reboot the same sensors have the same points, unless some came later or went: whoever wants
//! these to keep theirs too stores [`Scanner::points`] when [`ScanReport::newcomers`] is not 0, and
//! gives them back with [`Scanner::assign`].
//!
//! **Retries.** What noise may have done is tried again, [`Settings::attempts`] times in all: a wrong
//! CRC, a garbled slot, a sensor that was there in the last scan. What a retry can't mend is not: a
//! bus held low, a sensor that was gone before.
//!
//! **Resolution.** Sensors forget the one they are given when they lose their supply. So the wait is
//! that of the slowest sensor, by what each itself said when it was last read, and each that says
//! another than it should is told again.

use embedded_hal_async::delay::DelayNs;
use heapless::Vec;

use crate::{
    Bus, BusError, Line, Outcome, Registers, Resolution, Rom, Settings, Statistics,
    mutants::{self, Mutant},
    reading::{Doubt, read},
    search::{SearchEnd, search},
    sensor,
    statistics::count,
};

/// A point that has a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The sensor.
    pub rom: Rom,
    /// What it said in the last scan; `None` before the first.
    pub outcome: Option<Outcome>,
}

/// What happened in a scan beside the sensors' outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanReport {
    /// How the search ended, if one was due.
    pub search: Option<SearchEnd>,
    /// Sensors found for the first time, which have a point now.
    pub newcomers: usize,
    /// Sensors found for the first time for which there is no point.
    pub unplaced: usize,
    /// Whether the conversion was started; if not, all points have this as their outcome.
    pub conversion: Result<(), BusError>,
}

/// The sensors of one bus, up to `N`, and what they last said.
#[derive(Clone, Debug)]
pub struct Scanner<const N: usize> {
    settings: Settings,
    known: [Option<Known>; N],
    /// Scans until the next search; `None`: no more.
    search_in: Option<u16>,
    statistics: Statistics,
}

/// A sensor that was found at some time.
#[derive(Clone, Copy, Debug)]
struct Known {
    rom: Rom,
    outcome: Option<Outcome>,
    /// By what it said when it was last read; as delivered, if it never was.
    resolution: Resolution,
    /// That what it said needs a second look, until it has had it: also from a scan that was dropped, so
    /// that the sensor loses its mark in the next.
    doubt: Option<Doubt>,
}

impl Known {
    fn new(rom: Rom) -> Self {
        Self {
            rom,
            outcome: None,
            resolution: Resolution::Bits12,
            doubt: None,
        }
    }

    /// Whether there is any use in waiting for it, or in asking it twice.
    fn is_gone(&self) -> bool {
        self.outcome == Some(Outcome::Absent)
    }
}

impl<const N: usize> Scanner<N> {
    /// A scanner that knows no sensor yet; its first scan searches.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            known: [None; N],
            search_in: Some(0),
            statistics: Statistics::NONE,
        }
    }

    /// Gives a sensor a point before it is found, as it had one before a reboot. Says whether it could:
    /// not beyond the last point, not when the point is taken or the sensor has another.
    pub fn assign(&mut self, point: usize, rom: Rom) -> bool {
        if self.known.iter().flatten().any(|known| known.rom == rom) {
            return false;
        }
        match self.known.get_mut(point) {
            Some(free @ None) => {
                *free = Some(Known::new(rom));
                true
            }
            _ => false,
        }
    }

    /// Frees a point, for instance when a broken sensor was replaced. Its sensor, if it is still there,
    /// is a newcomer to the next search.
    pub fn forget(&mut self, point: usize) -> Option<Rom> {
        Some(self.known.get_mut(point)?.take()?.rom)
    }

    /// Has the next scan search for newcomers.
    pub fn search_next(&mut self) {
        self.search_in = Some(0);
    }

    /// Every point that has a sensor, by its number.
    pub fn points(&self) -> impl Iterator<Item = (usize, Point)> + '_ {
        self.known.iter().enumerate().filter_map(|(point, known)| {
            let Known { rom, outcome, .. } = (*known)?;
            Some((point, Point { rom, outcome }))
        })
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// One scan: after it, every point's outcome is of this scan.
    ///
    /// Ends whatever the bus does: after at most `attempts` searches, one conversion (for which it waits
    /// twice the time at most) and at most `attempts` readings of each sensor, and these two once more for
    /// those that need a second look. If it is dropped halfway, some outcomes are of the scan before; nothing else is lost.
    pub async fn scan<L: Line, D: DelayNs>(&mut self, bus: &mut Bus<L, D>) -> ScanReport {
        count(&mut self.statistics.scans);
        let mut report = ScanReport {
            search: None,
            newcomers: 0,
            unplaced: 0,
            conversion: Ok(()),
        };
        self.search_when_due(bus, &mut report).await;
        if self.known.iter().flatten().next().is_none() {
            return report;
        }
        report.conversion = self.convert(bus).await;
        if let Err(error) = report.conversion {
            count(&mut self.statistics.failed_conversions);
            for known in self.known.iter_mut().flatten() {
                record(known, error.into(), &mut self.statistics);
            }
            return report;
        }
        let waited_for = self.slowest();
        wait_for_conversion(bus, waited_for).await;
        self.look(bus, waited_for).await;
        self.look_again(bus).await;
        self.swap_neighbours();
        report
    }

    async fn search_when_due<L: Line, D: DelayNs>(
        &mut self,
        bus: &mut Bus<L, D>,
        report: &mut ScanReport,
    ) {
        match &mut self.search_in {
            Some(0) => {}
            Some(scans) => {
                *scans -= 1;
                return;
            }
            None => return,
        }
        let newcomers = self.search_for_newcomers(bus, report).await;
        for rom in newcomers {
            match self.known.iter_mut().find(|known| known.is_none()) {
                Some(free) => {
                    *free = Some(Known::new(rom));
                    report.newcomers += 1;
                }
                None => report.unplaced += 1,
            }
        }
        if report.search.is_some_and(SearchEnd::is_final) {
            // The scan that searches is one of those that are counted.
            self.search_in = self.settings.search_every.checked_sub(1);
        }
    }

    /// Whoever is on the bus and has no point, by their ROM codes. A search that finds somebody new is
    /// repeated: one glitch can hide devices from one search, and a sensor found late would change the
    /// order of the points.
    async fn search_for_newcomers<L: Line, D: DelayNs>(
        &mut self,
        bus: &mut Bus<L, D>,
        report: &mut ScanReport,
    ) -> Vec<Rom, N> {
        let mut newcomers = Vec::new();
        for _ in 0..self.settings.attempts.max(1) {
            count(&mut self.statistics.searches);
            let search = search::<_, _, N>(bus, self.settings.family, self.settings.attempts).await;
            report.search = Some(search.end);
            let before = newcomers.len();
            for rom in search.found {
                let has_point = self.known.iter().flatten().any(|known| known.rom == rom);
                if !has_point && !newcomers.contains(&rom) {
                    // Full: there are no more points than this either.
                    let _ = newcomers.push(rom);
                }
            }
            if newcomers.len() == before {
                break;
            }
        }
        newcomers.sort_unstable();
        newcomers
    }

    async fn convert<L: Line, D: DelayNs>(&mut self, bus: &mut Bus<L, D>) -> Result<(), BusError> {
        if mutants::active(Mutant::ConversionNotStarted) {
            return bus.reset().await;
        }
        let mut result = sensor::convert_all(bus).await;
        for _ in 1..self.settings.attempts {
            match result {
                Ok(()) | Err(BusError::StuckLow) => break,
                Err(_) => {
                    count(&mut self.statistics.retries);
                    result = sensor::convert_all(bus).await;
                }
            }
        }
        result
    }

    /// The resolution of the slowest sensor that is to be waited for.
    fn slowest(&self) -> Resolution {
        self.known
            .iter()
            .flatten()
            .filter(|known| !known.is_gone())
            .map(|known| known.resolution)
            .max()
            .unwrap_or(self.settings.resolution)
    }

    async fn look<L: Line, D: DelayNs>(&mut self, bus: &mut Bus<L, D>, waited_for: Resolution) {
        let Self {
            settings,
            known,
            statistics,
            ..
        } = self;
        for known in known.iter_mut().flatten() {
            if known.is_gone() && mutants::active(Mutant::AbsentForever) {
                continue;
            }
            let read = read(bus, known.rom, known.is_gone(), settings, statistics).await;
            let scratchpad = match read {
                Ok(scratchpad) => scratchpad,
                Err(outcome) => {
                    record(known, outcome, statistics);
                    continue;
                }
            };
            let registers = scratchpad.registers();
            known.resolution = registers.resolution;
            let doubtful = scratchpad.is_doubtful() && !mutants::active(Mutant::PowerOnTaken);
            if doubtful || registers.resolution > waited_for {
                known.doubt = Some(Doubt::new(registers));
                continue;
            }
            record(known, Outcome::of(&scratchpad), statistics);
            if registers.resolution != settings.resolution {
                let registers = Registers {
                    resolution: settings.resolution,
                    ..registers
                };
                // Whether it was heard is seen in the next scan.
                let _ = sensor::write_scratchpad(bus, known.rom, registers).await;
            }
        }
    }

    async fn look_again<L: Line, D: DelayNs>(&mut self, bus: &mut Bus<L, D>) {
        let Self {
            settings,
            known,
            statistics,
            ..
        } = self;
        let mut any = false;
        for known in known.iter_mut().flatten() {
            if let Some(doubt) = &mut known.doubt {
                count(&mut statistics.second_looks);
                doubt.measure(bus, known.rom, settings.resolution).await;
                any = true;
            }
        }
        if !any {
            return;
        }
        // Whatever resolution was asked for, and whether or not the sensor has heard it.
        bus.wait_us(Resolution::Bits12.conversion_us()).await;
        for known in known.iter_mut().flatten() {
            if let Some(doubt) = known.doubt.take() {
                let outcome = doubt.settle(bus, known.rom, settings, statistics).await;
                record(known, outcome, statistics);
            }
        }
    }

    fn swap_neighbours(&mut self) {
        if !mutants::active(Mutant::NeighboursSwapped) {
            return;
        }
        for pair in self.known.chunks_exact_mut(2) {
            if let [Some(even), Some(odd)] = pair {
                core::mem::swap(&mut even.outcome, &mut odd.outcome);
            }
        }
    }
}

/// Waits for the end of a conversion that all sensors began; once more as long if somebody answers that
/// it is not over: a sensor slower than the data sheet allows, which would tell an old temperature.
async fn wait_for_conversion<L: Line, D: DelayNs>(bus: &mut Bus<L, D>, resolution: Resolution) {
    bus.wait_us(resolution.conversion_us()).await;
    let mut done = [0];
    if bus.read(&mut done).await.is_ok() && done != [0xFF] {
        bus.wait_us(resolution.conversion_us()).await;
    }
}

/// Notes what a sensor said in this scan.
fn record(known: &mut Known, outcome: Outcome, statistics: &mut Statistics) {
    match outcome {
        Outcome::Temperature(_) => count(&mut statistics.temperatures),
        Outcome::Absent => count(&mut statistics.absences),
        Outcome::PowerOn => count(&mut statistics.power_ons),
        _ => {}
    }
    let has_last = matches!(known.outcome, Some(Outcome::Temperature(_)));
    if outcome == Outcome::Absent && has_last && mutants::active(Mutant::AbsentKeepsLast) {
        return;
    }
    known.outcome = Some(outcome);
}
