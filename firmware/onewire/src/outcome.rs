//! What a scan says about one sensor: a temperature, or which of the many things that aren't one.

use core::fmt;

use crate::{BusError, Scratchpad, Temperature, Unreadable};

/// The outcome of reading one sensor, retries and second looks included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A temperature that the sensor measured in this scan.
    Temperature(Temperature),
    /// The sensor does not answer: unplugged, or broken.
    Absent,
    /// The scratchpad's CRC does not fit.
    Crc,
    /// The scratchpad is nothing but zeros: the bus was shorted while it was read. The CRC fits, and it
    /// would say 0 degrees.
    AllZero,
    /// +85 degrees that were not measured: the sensor lost its supply during the conversion, or never
    /// began it.
    PowerOn,
    /// What no sensor can measure; +127.9 degrees are a conversion that failed for want of power.
    OutOfRange(Temperature),
    /// The bus failed; never [`BusError::Absent`], which is [`Outcome::Absent`].
    Bus(BusError),
}

impl Outcome {
    /// The temperature, if there is one.
    #[must_use]
    pub fn temperature(self) -> Option<Temperature> {
        match self {
            Self::Temperature(temperature) => Some(temperature),
            _ => None,
        }
    }

    /// What a scratchpad says that is not doubtful.
    pub(crate) fn of(scratchpad: &Scratchpad) -> Self {
        let temperature = scratchpad.temperature();
        if temperature.is_in_range() {
            Self::Temperature(temperature)
        } else {
            Self::OutOfRange(temperature)
        }
    }
}

impl From<BusError> for Outcome {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Absent => Self::Absent,
            error => Self::Bus(error),
        }
    }
}

impl From<Unreadable> for Outcome {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Silent => Self::Absent,
            Unreadable::AllZero => Self::AllZero,
            Unreadable::Crc => Self::Crc,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temperature(temperature) => {
                write!(f, "{}/16 degrees", temperature.sixteenths())
            }
            Self::Absent => f.write_str("no answer"),
            Self::Crc => f.write_str("wrong CRC"),
            Self::AllZero => f.write_str("nothing but zeros"),
            Self::PowerOn => f.write_str("power-on value"),
            Self::OutOfRange(temperature) => {
                write!(f, "{}/16 degrees, out of range", temperature.sixteenths())
            }
            Self::Bus(error) => error.fmt(f),
        }
    }
}
