//! The measurement points: what each last measured, and the summary of all.

use core::fmt;

/// How many points the controller has.
pub const POINTS: usize = 60;

/// A temperature in tenths of a degree Celsius, displayed with one decimal: `-0.5`, `23.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
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

/// A point that has a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The sensor's 64-bit ROM code, family code in the highest byte (DS18B20 data sheet, figure 9).
    pub sensor_id: u64,
    /// What it last said.
    pub reading: Reading,
}

/// All points; those without a sensor are left out of telemetry.
#[derive(Clone, Debug)]
pub struct Points {
    points: [Option<Point>; POINTS],
}

impl Default for Points {
    fn default() -> Self {
        Self {
            points: [None; POINTS],
        }
    }
}

impl Points {
    /// Sets what a point's sensor said; `None` when it has no sensor.
    ///
    /// # Panics
    /// When `id` is not below [`POINTS`]: a bug of the caller, who numbers the points.
    pub fn set(&mut self, id: usize, point: Option<Point>) {
        self.points[id] = point;
    }

    /// The point, if it has a sensor.
    #[must_use]
    pub fn get(&self, id: usize) -> Option<Point> {
        self.points.get(id).copied().flatten()
    }

    /// Every point that has a sensor, with its number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Point)> + '_ {
        self.points
            .iter()
            .enumerate()
            .filter_map(|(id, point)| point.map(|point| (id, point)))
    }

    /// The summary of all points.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let temperatures = || self.iter().filter_map(|(_, p)| p.reading.temperature());
        Summary {
            active_points: temperatures().count(),
            sensor_errors: self.iter().count() - temperatures().count(),
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

    fn point(reading: Reading) -> Option<Point> {
        Some(Point {
            sensor_id: 0x28FF_0000_0000_0000,
            reading,
        })
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
        points.set(0, point(temperature(-12)));
        points.set(1, point(temperature(850)));
        points.set(2, point(Reading::Error));
        points.set(59, point(Reading::Disconnected));
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
