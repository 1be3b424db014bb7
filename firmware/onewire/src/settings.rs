//! What the user of a scanner decides.

use crate::{Resolution, Rom};

/// How to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The resolution that all sensors are given.
    pub resolution: Resolution,
    /// The family code that is searched for; `None`: every device is taken for a DS18B20.
    pub family: Option<u8>,
    /// How often a thing is tried in all before its failure is an outcome; 0 is as 1.
    pub attempts: u8,
    /// Scans from one search for newcomers to the next; 0: no search after the first that was complete.
    /// A search that ended early is repeated in the next scan.
    pub search_every: u16,
}

impl Default for Settings {
    /// DS18B20 at 12 bits, three attempts, a search in every tenth scan.
    fn default() -> Self {
        Self {
            resolution: Resolution::Bits12,
            family: Some(Rom::DS18B20),
            attempts: 3,
            search_every: 10,
        }
    }
}
