//! The judgement over equal cycles of work: is the device's memory stable?
//!
//! A cycle is a round trip of the same work. Within it the heap goes up and down; what must not
//! change from one to the next is its floor. So each cycle gives one value, the first cycles (in
//! which caches and pools fill) are left out, and the rest are judged by a trend test and by limits.

use std::fmt;

use firmware_wire::MemorySample;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sample::fragmentation_percent;
use crate::trend::{Trend, mann_kendall};

/// The memory of the device over one cycle. Bytes where not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// The least free heap among the samples.
    pub heap_free_floor: u32,
    /// The highest fragmentation among the samples, percent.
    pub fragmentation_percent: f64,
    /// The main stack's high-water mark at the end.
    pub stack_used_max: u32,
}

impl Cycle {
    /// The cycle that `samples` were taken in; `None` when there are none.
    #[must_use]
    pub fn of<'s>(samples: impl IntoIterator<Item = &'s MemorySample>) -> Option<Self> {
        samples
            .into_iter()
            .map(|sample| Self {
                heap_free_floor: sample.heap.free,
                fragmentation_percent: fragmentation_percent(
                    sample.heap.free,
                    sample.heap.largest_free_block,
                ),
                stack_used_max: sample
                    .stacks
                    .iter()
                    .find(|stack| stack.name == "main")
                    .map_or(0, |stack| stack.used_max),
            })
            .reduce(|a, b| Self {
                heap_free_floor: a.heap_free_floor.min(b.heap_free_floor),
                fragmentation_percent: a.fragmentation_percent.max(b.fragmentation_percent),
                stack_used_max: a.stack_used_max.max(b.stack_used_max),
            })
    }
}

/// What is still stable. The defaults are the contract's, section "Memory and stability".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Cycles left out at the start.
    pub warm_up_cycles: usize,
    /// Free heap may be lower than at the first judged cycle by this, bytes.
    pub heap_drop_bytes: u32,
    /// Fragmentation may be this, percent.
    pub fragmentation_percent: f64,
    /// Free heap must be this, bytes.
    pub heap_free_min_bytes: u32,
    /// A fall slower than this is no finding, bytes a cycle.
    pub slope_bytes_per_cycle: f64,
    /// A fall is a finding when the chance to see it in a stable heap is below this, 0 to 1.
    pub significance: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            warm_up_cycles: 2,
            heap_drop_bytes: 1_024,
            fragmentation_percent: 50.0,
            heap_free_min_bytes: 20 * 1_024,
            slope_bytes_per_cycle: 4.0,
            significance: 0.01,
        }
    }
}

/// Something that is not stable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Finding {
    /// The floor of free heap falls from cycle to cycle.
    HeapFalls {
        /// Bytes a cycle, positive.
        bytes_per_cycle: f64,
        /// The chance to see this in a stable heap.
        p: f64,
    },
    /// The floor of free heap is lower than it was, by more than the limit.
    HeapDropped {
        /// At the first judged cycle, bytes.
        from: u32,
        /// At its lowest, bytes.
        to: u32,
        /// The cycle, counted from 1 with the warm-up.
        cycle: usize,
    },
    /// Fragmentation above its limit.
    Fragmented {
        /// Percent.
        percent: f64,
        /// The cycle, counted from 1 with the warm-up.
        cycle: usize,
    },
    /// Free heap below its limit.
    HeapLow {
        /// Bytes.
        free: u32,
        /// The cycle, counted from 1 with the warm-up.
        cycle: usize,
    },
    /// The stack's high-water mark still rises after the warm-up, cycle for cycle.
    StackGrows {
        /// At the first judged cycle, bytes.
        from: u32,
        /// At the last, bytes.
        to: u32,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeapFalls { bytes_per_cycle, p } => write!(
                f,
                "free heap falls by {bytes_per_cycle:.0} bytes a cycle (chance in a stable heap: {})",
                Chance(*p)
            ),
            Self::HeapDropped { from, to, cycle } => write!(
                f,
                "free heap dropped from {from} to {to} bytes by cycle {cycle}"
            ),
            Self::Fragmented { percent, cycle } => {
                write!(f, "fragmentation reached {percent:.0} % in cycle {cycle}")
            }
            Self::HeapLow { free, cycle } => {
                write!(f, "free heap was down to {free} bytes in cycle {cycle}")
            }
            Self::StackGrows { from, to } => write!(
                f,
                "the stack's high-water mark grew with the cycles, from {from} to {to} bytes"
            ),
        }
    }
}

/// A probability for people: nobody reads more than four decimals.
struct Chance(f64);

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0.0001 {
            f.write_str("below 0.0001")
        } else {
            write!(f, "{:.4}", self.0)
        }
    }
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// What is not stable; empty when all is.
    pub findings: Vec<Finding>,
    /// The trend of the free heap's floor, bytes a cycle.
    pub heap_trend: Trend,
    /// Cycles that were judged, the warm-up left out.
    pub cycles_judged: usize,
}

impl Stability {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.findings.is_empty()
    }
}

/// There are too few cycles to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{got} cycles can't be judged, {needed} are needed")]
pub struct TooFewCycles {
    /// Cycles there were.
    pub got: usize,
    /// Cycles needed, the warm-up among them.
    pub needed: usize,
}

/// Cycles to judge by, at least: with five that all fall the test's chance is 0.013, with six 0.004.
const JUDGED_MIN: usize = 6;

/// Judges `cycles` of equal work, in time order.
///
/// # Errors
/// [`TooFewCycles`] when fewer than six are left after the warm-up.
pub fn judge(cycles: &[Cycle], limits: &Limits) -> Result<Stability, TooFewCycles> {
    let needed = limits.warm_up_cycles + JUDGED_MIN;
    if cycles.len() < needed {
        return Err(TooFewCycles {
            got: cycles.len(),
            needed,
        });
    }
    let judged = &cycles[limits.warm_up_cycles..];
    let number = |index: usize| index + limits.warm_up_cycles + 1;
    let series = |value: fn(&Cycle) -> u32| -> Vec<f64> {
        judged.iter().map(|c| f64::from(value(c))).collect()
    };
    let heap_trend = mann_kendall(&series(|c| c.heap_free_floor));
    let mut findings = Vec::new();
    if heap_trend.p_falling < limits.significance
        && -heap_trend.slope >= limits.slope_bytes_per_cycle
    {
        findings.push(Finding::HeapFalls {
            bytes_per_cycle: -heap_trend.slope,
            p: heap_trend.p_falling,
        });
    }
    let from = judged[0].heap_free_floor;
    let lowest = (0..judged.len()).min_by_key(|i| judged[*i].heap_free_floor);
    if let Some(index) = lowest {
        let to = judged[index].heap_free_floor;
        let cycle = number(index);
        if from.saturating_sub(to) > limits.heap_drop_bytes {
            findings.push(Finding::HeapDropped { from, to, cycle });
        }
        if to < limits.heap_free_min_bytes {
            findings.push(Finding::HeapLow { free: to, cycle });
        }
    }
    let worst = (0..judged.len()).max_by(|a, b| {
        judged[*a]
            .fragmentation_percent
            .total_cmp(&judged[*b].fragmentation_percent)
    });
    if let Some(index) = worst
        && judged[index].fragmentation_percent > limits.fragmentation_percent
    {
        findings.push(Finding::Fragmented {
            percent: judged[index].fragmentation_percent,
            cycle: number(index),
        });
    }
    // A high-water mark can only rise; once or twice is chance, a trend is recursion or worse.
    let stack = mann_kendall(&series(|c| c.stack_used_max));
    if stack.p_rising < limits.significance && stack.slope > 0.0 {
        findings.push(Finding::StackGrows {
            from: judged[0].stack_used_max,
            to: judged[judged.len() - 1].stack_used_max,
        });
    }
    Ok(Stability {
        findings,
        heap_trend,
        cycles_judged: judged.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::sample;

    fn cycles(free: impl IntoIterator<Item = u32>) -> Vec<Cycle> {
        free.into_iter()
            .map(|heap_free_floor| Cycle {
                heap_free_floor,
                fragmentation_percent: 3.0,
                stack_used_max: 2_900,
            })
            .collect()
    }

    fn check(cycles: &[Cycle], expected: &[&str]) {
        let stability = judge(cycles, &Limits::default()).expect("enough cycles");
        let findings: Vec<String> = stability.findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, expected);
    }

    #[test]
    fn a_cycle_is_its_worst_moments() {
        let samples = [
            sample(60_000, 60_000, 2_000),
            sample(50_000, 25_000, 3_000),
            sample(58_000, 57_000, 3_000),
        ];
        let cycle = Cycle::of(&samples).expect("samples");
        assert_eq!(
            (cycle.heap_free_floor, cycle.stack_used_max),
            (50_000, 3_000)
        );
        assert!((cycle.fragmentation_percent - 50.0).abs() < 1e-9);
    }

    #[test]
    fn equal_cycles_are_stable() {
        check(&cycles([58_000; 12]), &[]);
        check(&cycles((0..12).map(|i| 58_000 + i % 3 * 40)), &[]);
    }

    #[test]
    fn a_warm_up_is_left_out() {
        check(
            &cycles([64_000, 60_000].into_iter().chain([58_000; 10])),
            &[],
        );
    }

    #[test]
    fn a_small_leak_is_a_trend_before_it_is_a_drop() {
        check(
            &cycles((0..12).map(|i| 58_000 - 16 * i)),
            &["free heap falls by 16 bytes a cycle (chance in a stable heap: below 0.0001)"],
        );
    }

    #[test]
    fn a_fall_that_may_be_chance_is_no_finding() {
        // Nothing is certain enough for this.
        let limits = Limits {
            significance: 0.0,
            ..Limits::default()
        };
        let falling = cycles((0..12).map(|i| 58_000 - 16 * i));
        let stability = judge(&falling, &limits).expect("enough cycles");
        assert_eq!(stability.findings, []);
        assert!(stability.heap_trend.slope < -limits.slope_bytes_per_cycle);
    }

    #[test]
    fn a_step_is_a_drop_and_not_a_trend_of_its_own() {
        let stepped = [58_000; 11].into_iter().chain([56_000]);
        check(
            &cycles(stepped),
            &["free heap dropped from 58000 to 56000 bytes by cycle 12"],
        );
    }

    #[test]
    fn limits_are_findings() {
        let mut low = cycles([20_000; 10]);
        low[9].fragmentation_percent = 61.0;
        check(
            &low,
            &[
                "free heap was down to 20000 bytes in cycle 3",
                "fragmentation reached 61 % in cycle 10",
            ],
        );
    }

    #[test]
    fn a_stack_that_grows_with_the_cycles_is_found() {
        let mut growing = cycles([58_000; 10]);
        for (index, cycle) in growing.iter_mut().enumerate() {
            cycle.stack_used_max += 100 * u32::try_from(index).expect("small");
        }
        check(
            &growing,
            &["the stack's high-water mark grew with the cycles, from 3100 to 3800 bytes"],
        );
    }

    #[test]
    fn too_few_cycles_are_not_judged() {
        let error = judge(&cycles([58_000; 7]), &Limits::default()).expect_err("too few");
        assert_eq!(error.to_string(), "7 cycles can't be judged, 8 are needed");
    }
}
