//! What a scanner counts, for telemetry and for whoever looks for a bad cable.

/// What happened since the scanner was made. Counts stop at their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Scans that were begun.
    pub scans: u32,
    /// Searches.
    pub searches: u32,
    /// Scans whose conversion could not be started.
    pub failed_conversions: u32,
    /// Scratchpads with a wrong CRC, of all attempts.
    pub crc_errors: u32,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Outcomes that were temperatures.
    pub temperatures: u32,
    /// Outcomes that were absences.
    pub absences: u32,
    /// Outcomes that were power-on values.
    pub power_ons: u32,
    /// Second looks at a sensor.
    pub second_looks: u32,
}

impl Statistics {
    pub(crate) const NONE: Self = Self {
        scans: 0,
        searches: 0,
        failed_conversions: 0,
        crc_errors: 0,
        retries: 0,
        temperatures: 0,
        absences: 0,
        power_ons: 0,
        second_looks: 0,
    };
}

/// Counts one more, up to the maximum.
pub(crate) fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
