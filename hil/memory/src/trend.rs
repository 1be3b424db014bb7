//! Whether a series rises or falls, by test instead of by eye.
//!
//! Mann-Kendall asks of every pair whether the later value is higher, so neither outliers nor the
//! distribution matter; values that resemble their neighbours, as heap sizes do, make it see trends
//! that aren't there, which Hamed and Rao's correction of the variance mends. The size of the trend
//! is Sen's slope, the median of the slopes of all pairs.
//!
//! Sources: Mann (1945); Kendall (1975); Sen (1968); Hamed and Rao, "A modified Mann-Kendall trend
//! test for autocorrelated data", Journal of Hydrology 204 (1998).

use serde::{Deserialize, Serialize};
use statrs::function::erf::erfc;

/// The trend of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Sen's slope: change from one value to the next.
    pub slope: f64,
    /// Kendall's tau, -1 (always falling) to 1 (always rising).
    pub tau: f64,
    /// The chance to see a rise at least this strong where there is none, 0 to 1.
    pub p_rising: f64,
    /// The chance to see a fall at least this strong where there is none, 0 to 1.
    pub p_falling: f64,
}

/// The trend of `values`, equally spaced in time.
///
/// Fewer than four values, or values that are all equal, show no trend: slope 0, both chances 1.
#[must_use]
pub fn mann_kendall(values: &[f64]) -> Trend {
    let n = values.len();
    let none = Trend {
        slope: 0.0,
        tau: 0.0,
        p_rising: 1.0,
        p_falling: 1.0,
    };
    if n < 4 || values.iter().all(|v| *v == values[0]) {
        return none;
    }
    let slope = sen_slope(values);
    let score: f64 = pairs(n).map(|(i, j)| sign(values[j] - values[i])).sum();
    let count = n as f64;
    let variance = tie_corrected_variance(values) * autocorrelation_factor(values, slope);
    // A step of one towards zero makes the normal distribution fit the whole-numbered score.
    let z = |score: f64| score / variance.sqrt();
    Trend {
        slope,
        tau: score / (count * (count - 1.0) / 2.0),
        p_rising: upper_tail(z(score - 1.0)),
        p_falling: upper_tail(z(-score - 1.0)),
    }
}

fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn upper_tail(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

fn sen_slope(values: &[f64]) -> f64 {
    let mut slopes: Vec<f64> = pairs(values.len())
        .map(|(i, j)| (values[j] - values[i]) / (j - i) as f64)
        .collect();
    median(&mut slopes)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Variance of the score where there is no trend, less for each group of equal values.
fn tie_corrected_variance(values: &[f64]) -> f64 {
    let term = |k: f64| k * (k - 1.0) * (2.0 * k + 5.0);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|group| term(group.len() as f64))
        .sum();
    (term(values.len() as f64) - ties) / 18.0
}

/// How much more the score varies because values resemble their neighbours: n / n* of Hamed and
/// Rao, from the ranks of the series without its slope, at lags whose correlation is significant.
/// Never below 1: a series is not trusted more for swinging.
fn autocorrelation_factor(values: &[f64], slope: f64) -> f64 {
    let n = values.len();
    let detrended: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(i, v)| v - slope * i as f64)
        .collect();
    let ranks = ranks(&detrended);
    let count = n as f64;
    let mean = ranks.iter().sum::<f64>() / count;
    let spread: f64 = ranks.iter().map(|r| (r - mean).powi(2)).sum();
    if spread == 0.0 {
        return 1.0;
    }
    let significant = 1.96 / count.sqrt();
    let sum: f64 = (1..n.saturating_sub(2))
        .map(|lag| {
            let together: f64 = ranks
                .iter()
                .zip(&ranks[lag..])
                .map(|(a, b)| (a - mean) * (b - mean))
                .sum();
            let correlation = together / spread;
            let weight = (n - lag) as f64 * (n - lag - 1) as f64 * (n - lag - 2) as f64;
            if correlation.abs() > significant {
                weight * correlation
            } else {
                0.0
            }
        })
        .sum();
    (1.0 + 2.0 / (count * (count - 1.0) * (count - 2.0)) * sum).max(1.0)
}

/// Ranks from 1, equal values sharing the middle of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .map(|v| {
            let below = values.iter().filter(|w| *w < v).count();
            let equal = values.iter().filter(|w| *w == v).count();
            below as f64 + (equal as f64 + 1.0) / 2.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Ten values around 60,000 with noise of +-`noise`, changing by `slope` each.
    fn series(seed: u64, n: usize, slope: f64, noise: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|i| 60_000.0 + slope * i as f64 + random.random_range(-noise..=noise))
            .collect()
    }

    #[test]
    fn a_steady_fall_is_seen_with_its_slope() {
        let values: Vec<f64> = (0..10).map(|i| 60_000.0 - 32.0 * f64::from(i)).collect();
        let trend = mann_kendall(&values);
        assert_eq!((trend.slope, trend.tau), (-32.0, -1.0));
        assert!(trend.p_falling < 0.001, "{trend:?}");
        assert!(trend.p_rising > 0.99, "{trend:?}");
    }

    #[test]
    fn the_slope_is_the_median_of_all_slopes() {
        // Of six: 1, 3/2, 2, 10/3, 9/2, 7.
        let trend = mann_kendall(&[0.0, 1.0, 3.0, 10.0]);
        assert!((trend.slope - 8.0 / 3.0).abs() < 1e-9, "{trend:?}");
    }

    #[test]
    fn no_change_is_no_trend() {
        for values in [&[5.0; 10][..], &[1.0, 2.0, 3.0][..], &[][..]] {
            let trend = mann_kendall(values);
            assert_eq!(
                (trend.slope, trend.p_rising, trend.p_falling),
                (0.0, 1.0, 1.0)
            );
        }
    }

    #[test]
    fn the_score_counts_pairs() {
        // By hand: of 28 pairs 23 rise and 5 fall.
        let trend = mann_kendall(&[10.0, 15.0, 14.0, 20.0, 18.0, 25.0, 16.0, 30.0]);
        assert!((trend.tau - 18.0 / 28.0).abs() < 1e-9, "{trend:?}");
        assert!((0.01..0.03).contains(&trend.p_rising), "{trend:?}");
    }

    #[test]
    fn noise_is_called_a_fall_as_rarely_as_promised() {
        let calls = (0..1_000)
            .filter(|seed| mann_kendall(&series(*seed, 20, 0.0, 200.0)).p_falling < 0.01)
            .count();
        assert!(calls <= 25, "{calls} of 1,000");
    }

    #[test]
    fn a_leak_under_noise_is_found() {
        let found = (0..200)
            .filter(|seed| mann_kendall(&series(*seed, 30, -32.0, 200.0)).p_falling < 0.01)
            .count();
        assert!(found >= 190, "{found} of 200");
    }

    #[test]
    fn a_wandering_series_is_trusted_less_than_without_the_correction() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (mut plain, mut corrected) = (0, 0);
        for _ in 0..300 {
            // Each value keeps most of the one before: what heaps do.
            let mut at = 0.0;
            let values: Vec<f64> = (0..60)
                .map(|_| {
                    at = 0.7 * at + random.random_range(-100.0..=100.0);
                    at
                })
                .collect();
            let trend = mann_kendall(&values);
            let score = trend.tau * 60.0 * 59.0 / 2.0;
            let z = (-score - 1.0) / tie_corrected_variance(&values).sqrt();
            plain += usize::from(upper_tail(z) < 0.01);
            corrected += usize::from(trend.p_falling < 0.01);
        }
        // It helps and does not cure; the floors of cycles do the rest (see `stability`).
        assert!(
            corrected * 3 < plain * 2,
            "{corrected} instead of {plain} of 300"
        );
    }
}
