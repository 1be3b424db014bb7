//! What a virtual rig has done so far, for reports and for doubts about a strange run.

use std::time::Duration;

use virtual_esp32c3::Unmodelled;

/// Counts since the rig was started.
#[derive(Clone, Debug)]
pub struct RigStatistics {
    /// Instructions the hart executed.
    pub instructions: u64,
    /// Chip time that went by.
    pub chip_time: Duration,
    /// Wall time that went by.
    pub wall_time: Duration,
    /// Wall time in which the simulator executed instructions or did something else useful.
    pub busy_time: Duration,
    /// Share of the chip's time in which its hart slept, 0 to 1.
    pub idle_share: f64,
    /// Operations the probes made: scans, or packets of a Black Magic Probe.
    pub probe_operations: u64,
    /// Times the chip went on without a poller that should have come: RTT data may have been lost.
    pub missed_polls: u64,
    /// Events nobody collected in time.
    pub events_lost: u64,
    /// What the firmware touched and this simulator does not model.
    pub unmodelled: Vec<Unmodelled>,
    /// The network's counts.
    pub network: virtual_network::Statistics,
}
