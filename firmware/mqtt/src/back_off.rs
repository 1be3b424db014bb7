//! How long to wait before the next attempt to connect: longer each time, and not for all devices alike.
//!
//! A broker that comes back after a failure is met by all its clients at once; chance spreads them,
//! and doubling keeps them from hammering at a broker that can't take them yet ("equal jitter":
//! the wait is at least half of what it may be at most, so a device is never in a hurry by bad luck).

use crate::mutants::{self, Mutant};

/// The bounds of the wait, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOffLimits {
    /// The least wait; the first one is at most twice as long.
    pub min_ms: u32,
    /// The longest wait.
    pub max_ms: u32,
    /// A session that lasted as long shows that the broker is well: the waits begin anew.
    pub steady_ms: u32,
}

/// The waits between attempts.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    limits: BackOffLimits,
    /// The longest that the next wait may be.
    ceiling_ms: u32,
    /// Attempts that failed and sessions that ended, since the start.
    ends: u32,
}

impl BackOff {
    /// The waits of a device that has not tried yet.
    #[must_use]
    pub const fn new(limits: BackOffLimits) -> Self {
        Self {
            limits,
            ceiling_ms: first_ceiling(limits),
            ends: 0,
        }
    }

    /// How long to wait, milliseconds, after a session that lasted `session_ms`; 0 for an attempt
    /// that came to none. `chance` is evenly distributed over all of `u32`.
    pub fn wait_ms(&mut self, session_ms: u64, chance: u32) -> u32 {
        self.ends = self.ends.saturating_add(1);
        if mutants::active(Mutant::BackOffZero) {
            return 0;
        }
        if mutants::active(Mutant::ReconnectGivenUp) && self.ends >= 3 {
            return u32::MAX;
        }
        let steady = session_ms > 0 && session_ms >= u64::from(self.limits.steady_ms);
        if steady && !mutants::active(Mutant::BackOffNeverAnew) {
            self.ceiling_ms = first_ceiling(self.limits);
        }
        let ceiling = self.ceiling_ms;
        self.ceiling_ms = ceiling.saturating_mul(2).min(self.limits.max_ms);
        let floor = (ceiling / 2).max(self.limits.min_ms).min(ceiling);
        let width = u64::from(ceiling - floor) + 1;
        // The upper half of the product is below `width`.
        floor + ((u64::from(chance) * width) >> 32) as u32
    }
}

const fn first_ceiling(limits: BackOffLimits) -> u32 {
    let twice = limits.min_ms.saturating_mul(2);
    if twice < limits.max_ms {
        twice
    } else {
        limits.max_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BackOffLimits = BackOffLimits {
        min_ms: 1_000,
        max_ms: 60_000,
        steady_ms: 10_000,
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let (mut least, mut most) = (BackOff::new(LIMITS), BackOff::new(LIMITS));
        for (floor, ceiling) in [
            (1_000, 2_000),
            (2_000, 4_000),
            (4_000, 8_000),
            (8_000, 16_000),
            (16_000, 32_000),
            (30_000, 60_000),
            (30_000, 60_000),
        ] {
            assert_eq!(least.wait_ms(0, 0), floor);
            assert_eq!(most.wait_ms(0, u32::MAX), ceiling);
        }
    }

    #[test]
    fn only_a_session_that_lasted_begins_anew() {
        let mut back_off = BackOff::new(LIMITS);
        assert_eq!(back_off.wait_ms(0, 0), 1_000);
        assert_eq!(back_off.wait_ms(9_999, 0), 2_000);
        assert_eq!(back_off.wait_ms(10_000, 0), 1_000);
        assert_eq!(back_off.wait_ms(0, 0), 2_000);
    }

    #[test]
    fn chance_spreads_evenly() {
        let wait = |chance| BackOff::new(LIMITS).wait_ms(0, chance);
        assert_eq!(wait(u32::MAX / 2), 1_500);
        assert_eq!(wait(u32::MAX / 4), 1_250);
    }

    proptest! {
        #[test]
        fn no_wait_is_out_of_bounds(
            min_ms in any::<u32>(), max_ms in any::<u32>(), steady_ms in any::<u32>(),
            sessions in proptest::collection::vec((any::<u64>(), any::<u32>()), 1..50),
        ) {
            let mut back_off = BackOff::new(BackOffLimits { min_ms, max_ms, steady_ms });
            for (session_ms, chance) in sessions {
                let wait = back_off.wait_ms(session_ms, chance);
                prop_assert!(wait >= min_ms.min(max_ms) && wait <= max_ms);
            }
        }
    }
}
