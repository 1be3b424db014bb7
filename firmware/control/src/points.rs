//! The measurement points: what each last measured, its thresholds, and the summary of all.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::mutants::{self, Mutant};
use crate::thresholds::Thresholds;

/// How many points the controller has.
pub const POINTS: usize = 60;

/// A temperature in tenths of a degree Celsius, displayed with one decimal: `-0.5`, `23.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Tenths(i16);

impl Tenths {
    /// The lowest temperature that is reported, -50.0 °C.
    pub const MIN: Self = Self(-500);
    /// The highest temperature that is reported, 200.0 °C.
    pub const MAX: Self = Self(2_000);

    /// `tenths` of a degree, if within [`Tenths::MIN`] and [`Tenths::MAX`].
    #[must_use]
    pub fn new(tenths: i16) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&tenths)
            .then_some(Self(tenths))
    }

    /// [`Tenths::new`] for what is known to be in range: a constant that is not fails to build.
    #[must_use]
    pub const fn constant(tenths: i16) -> Self {
        assert!(Self::MIN.0 <= tenths && tenths <= Self::MAX.0);
        Self(tenths)
    }

    /// Tenths of a degree.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }
}

/// A number that is outside the range of temperatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not within {} to {}", Tenths::MIN, Tenths::MAX)
    }
}

impl TryFrom<i16> for Tenths {
    type Error = OutOfRange;

    fn try_from(tenths: i16) -> Result<Self, OutOfRange> {
        Self::new(tenths).ok_or(OutOfRange)
    }
}

impl From<Tenths> for i16 {
    fn from(tenths: Tenths) -> Self {
        tenths.0
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below_zero = self.0 < 0 && !mutants::active(Mutant::SignLost);
        let sign = if below_zero { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{}", magnitude / 10, magnitude % 10)
    }
}

/// What a point's sensor last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A temperature.
    Temperature(Tenths),
    /// The sensor answers, but not with a temperature: CRC errors, a conversion that never ends,
    /// a value outside the range.
    Error,
    /// The sensor does not answer any more.
    Disconnected,
}

impl Reading {
    /// The status field of the contract.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Temperature(_) => "OK",
            Self::Error => "ERROR",
            Self::Disconnected => "DISCONNECTED",
        }
    }

    /// The temperature, if there is one.
    #[must_use]
    pub fn temperature(self) -> Option<Tenths> {
        match self {
            Self::Temperature(tenths) => Some(tenths),
            Self::Error | Self::Disconnected => None,
        }
    }
}

/// What was measured at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// The sensor's 64-bit ROM code, family code in the highest byte (DS18B20 data sheet, figure 9).
    pub sensor_id: u64,
    /// What it said.
    pub reading: Reading,
}

/// One measurement point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// The latest measurement; none without a sensor.
    pub measurement: Option<Measurement>,
    /// Where its alarms begin.
    pub thresholds: Thresholds,
}

/// The name of a point, by its number: `Point_5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointName(pub usize);

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point_{}", self.0)
    }
}

/// All points; those without a sensor are left out of telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Points {
    points: [Point; POINTS],
}

impl Default for Points {
    fn default() -> Self {
        Self {
            points: [Point::default(); POINTS],
        }
    }
}

impl Points {
    /// The point of that number, below [`POINTS`].
    #[must_use]
    pub fn get(&self, id: usize) -> Option<&Point> {
        self.points.get(id)
    }

    /// The point of that number, for whoever may change it.
    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Point> {
        self.points.get_mut(id)
    }

    /// Every point, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    /// What was measured at every point that has a sensor, with the point's number.
    pub fn measured(&self) -> impl Iterator<Item = (usize, Measurement)> + '_ {
        self.points
            .iter()
            .enumerate()
            .filter_map(|(id, point)| point.measurement.map(|measured| (id, measured)))
    }

    /// The summary of all points.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let temperatures = || self.measured().filter_map(|(_, m)| m.reading.temperature());
        let with_sensor = self.measured().count();
        let active_points = if mutants::active(Mutant::ActivePointsCountErrors) {
            with_sensor
        } else {
            temperatures().count()
        };
        Summary {
            active_points,
            sensor_errors: with_sensor - temperatures().count(),
            min_temp: temperatures().min(),
            max_temp: temperatures().max(),
        }
    }
}

/// The summary of all points, as telemetry and `get_summary` have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Points whose status is `OK`.
    pub active_points: usize,
    /// Points that have a sensor and no temperature.
    pub sensor_errors: usize,
    /// The lowest temperature, if there is any.
    pub min_temp: Option<Tenths>,
    /// The highest temperature, if there is any.
    pub max_temp: Option<Tenths>,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn set(points: &mut Points, id: usize, reading: Reading) {
        points.points[id].measurement = Some(Measurement {
            sensor_id: 0x28FF_0000_0000_0000,
            reading,
        });
    }

    fn temperature(tenths: i16) -> Reading {
        Reading::Temperature(Tenths::new(tenths).expect("in range"))
    }

    #[test]
    fn temperatures_have_one_decimal() {
        for (tenths, expected) in [
            (0, "0.0"),
            (5, "0.5"),
            (-5, "-0.5"),
            (234, "23.4"),
            (-500, "-50.0"),
            (2_000, "200.0"),
        ] {
            assert_eq!(Tenths::new(tenths).expect("in range").to_string(), expected);
        }
    }

    #[test]
    fn temperatures_outside_the_range_are_none() {
        assert_eq!(Tenths::new(-501), None);
        assert_eq!(Tenths::new(2_001), None);
    }

    #[test]
    fn the_summary_counts_only_temperatures_as_active() {
        let mut points = Points::default();
        set(&mut points, 0, temperature(-12));
        set(&mut points, 1, temperature(850));
        set(&mut points, 2, Reading::Error);
        set(&mut points, 59, Reading::Disconnected);
        assert_eq!(
            points.summary(),
            Summary {
                active_points: 2,
                sensor_errors: 2,
                min_temp: Tenths::new(-12),
                max_temp: Tenths::new(850),
            }
        );
    }

    #[test]
    fn no_sensors_have_no_extremes() {
        let summary = Points::default().summary();
        assert_eq!(summary.active_points, 0);
        assert_eq!((summary.min_temp, summary.max_temp), (None, None));
    }
}
