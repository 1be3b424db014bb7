//! Durations of many equal things, as figures of a report.
//!
//! Scenarios that repeat something say all the same of it: how often, the least, the middle, the
//! tail, the most, and how far it scatters.

use std::time::Duration;

use hil_runner::Context;

/// Durations, in order of length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    /// Those of `durations`.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The smallest of them that at least `percent` per cent of them don't exceed (nearest rank);
    /// zero when there are none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Duration {
        self.percentile(0)
    }

    /// The longest.
    pub(crate) fn max(&self) -> Duration {
        self.percentile(100)
    }

    fn mean_ms(&self) -> f64 {
        let sum: Duration = self.0.iter().sum();
        milliseconds(sum) / self.0.len().max(1) as f64
    }

    /// Of the whole of them, not of a sample.
    fn deviation_ms(&self) -> f64 {
        let mean = self.mean_ms();
        let squares = self
            .0
            .iter()
            .map(|each| (milliseconds(*each) - mean).powi(2));
        (squares.sum::<f64>() / self.0.len().max(1) as f64).sqrt()
    }

    /// Tells the report how they are distributed: least, median, 95th and 99th percentile, most.
    pub(crate) fn tell_distribution(&self, context: &Context, what: &str) {
        let tell = |name: &str, value: Duration| {
            context.measured(format_args!("{what}, {name}"), milliseconds(value), "ms");
        };
        tell("min", self.min());
        tell("median", self.percentile(50));
        tell("p95", self.percentile(95));
        tell("p99", self.percentile(99));
        tell("max", self.max());
    }

    /// Tells the report their least, mean, most and standard deviation.
    pub(crate) fn tell_spread(&self, context: &Context, what: &str) {
        let tell = |name: &str, value: f64| {
            context.measured(format_args!("{what}, {name}"), value, "ms");
        };
        tell("min", milliseconds(self.min()));
        tell("mean", self.mean_ms());
        tell("max", milliseconds(self.max()));
        tell("deviation", self.deviation_ms());
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(range: impl IntoIterator<Item = u64>) -> Durations {
        Durations::of(range.into_iter().map(Duration::from_millis))
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred = durations((1..=100).rev());
        for (percent, expected) in [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (100, 100)] {
            let expected = Duration::from_millis(expected);
            assert_eq!(hundred.percentile(percent), expected, "{percent}");
        }
        assert_eq!(durations([7]).percentile(95), Duration::from_millis(7));
        assert_eq!(durations([]).max(), Duration::ZERO);
    }

    #[test]
    fn mean_and_deviation_are_of_all() {
        let some = durations([2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!((some.mean_ms(), some.deviation_ms()), (5.0, 2.0));
        assert_eq!(durations([]).deviation_ms(), 0.0);
    }
}
