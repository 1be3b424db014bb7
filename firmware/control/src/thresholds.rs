//! Where a point's temperature alarms begin, and how far back a value must come for them to end.

use serde::{Deserialize, Serialize};

use crate::points::Tenths;

/// The widest hysteresis, 50.0 K.
pub const HYSTERESIS_MAX: Tenths = Tenths::constant(500);

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// The alarm is raised by a value beyond this one.
    pub value: Tenths,
    /// The alarm clears once the value is back past the threshold by this much; 0.0 to
    /// [`HYSTERESIS_MAX`].
    pub hysteresis: Tenths,
}

/// A point's thresholds; `low` lies below `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Of `HIGH_TEMP`.
    pub high: Threshold,
    /// Of `LOW_TEMP`.
    pub low: Threshold,
}

impl Default for Thresholds {
    /// 85.0 °C and -20.0 °C, 2.0 K of hysteresis.
    fn default() -> Self {
        let hysteresis = Tenths::constant(20);
        let at = |value| Threshold { value, hysteresis };
        Self {
            high: at(Tenths::constant(850)),
            low: at(Tenths::constant(-200)),
        }
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The upper one.
    High,
    /// The lower one.
    Low,
}

impl Side {
    /// As `threshold_type` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

impl Thresholds {
    /// The threshold on that side.
    #[must_use]
    pub fn get(&self, side: Side) -> Threshold {
        match side {
            Side::High => self.high,
            Side::Low => self.low,
        }
    }

    /// These with another threshold on that side.
    #[must_use]
    pub fn with(self, side: Side, threshold: Threshold) -> Self {
        match side {
            Side::High => Self {
                high: threshold,
                ..self
            },
            Side::Low => Self {
                low: threshold,
                ..self
            },
        }
    }

    /// Whether a point can have them.
    #[must_use]
    pub fn are_sound(&self) -> bool {
        let in_range = |t: Threshold| (0..=HYSTERESIS_MAX.get()).contains(&t.hysteresis.get());
        self.low.value < self.high.value && in_range(self.low) && in_range(self.high)
    }

    /// Whether `value` raises the alarm of that side.
    #[must_use]
    pub fn raises(&self, side: Side, value: Tenths) -> bool {
        match side {
            Side::High => value > self.high.value,
            Side::Low => value < self.low.value,
        }
    }

    /// Whether `value` clears the alarm of that side: it is back past the threshold by the
    /// hysteresis.
    #[must_use]
    pub fn clears(&self, side: Side, value: Tenths) -> bool {
        let Threshold {
            value: threshold,
            hysteresis,
        } = self.get(side);
        match side {
            Side::High => value.get() <= threshold.get() - hysteresis.get(),
            Side::Low => value.get() >= threshold.get() + hysteresis.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees(tenths: i16) -> Tenths {
        Tenths::new(tenths).expect("in range")
    }

    #[test]
    fn beyond_raises_and_back_by_the_hysteresis_clears() {
        let thresholds = Thresholds::default();
        for (side, tenths, raises, clears) in [
            (Side::High, 850, false, false),
            (Side::High, 851, true, false),
            (Side::High, 831, false, false),
            (Side::High, 830, false, true),
            (Side::Low, -200, false, false),
            (Side::Low, -201, true, false),
            (Side::Low, -181, false, false),
            (Side::Low, -180, false, true),
        ] {
            let value = degrees(tenths);
            assert_eq!(thresholds.raises(side, value), raises, "{side:?} {tenths}");
            assert_eq!(thresholds.clears(side, value), clears, "{side:?} {tenths}");
        }
    }

    #[test]
    fn no_value_raises_and_clears_at_once() {
        for hysteresis in [0, 500] {
            for limit in [-500, 0, 2_000] {
                let threshold = Threshold {
                    value: degrees(limit),
                    hysteresis: degrees(hysteresis),
                };
                let thresholds = Thresholds {
                    high: threshold,
                    low: threshold,
                };
                for value in (-500..=2_000).map(degrees) {
                    for side in [Side::High, Side::Low] {
                        assert!(
                            !(thresholds.raises(side, value) && thresholds.clears(side, value))
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn sound_ones_have_low_below_high_and_a_hysteresis_in_range() {
        let with = |side, value, hysteresis| {
            let threshold = Threshold {
                value: degrees(value),
                hysteresis: degrees(hysteresis),
            };
            Thresholds::default().with(side, threshold).are_sound()
        };
        assert!(with(Side::High, -199, 0));
        assert!(!with(Side::High, -200, 0));
        assert!(with(Side::Low, 849, 500));
        assert!(!with(Side::Low, 850, 0));
        assert!(!with(Side::Low, 0, 501));
        assert!(!with(Side::High, 0, -1));
    }
}
