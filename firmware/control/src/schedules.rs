//! Schedules: orders that are carried out again and again, each on a grid of its own.
//!
//! A schedule is first due one interval after it was added, or after boot, and from then on at
//! whole intervals from that moment, however late the firmware comes to ask. Runs that were slept
//! through are left out, so that the rest keep their times.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::Now;
use crate::mutants::{self, Mutant};
use crate::orders::Order;

/// How many schedules there can be.
pub const SCHEDULES_MAX: usize = 16;

/// The longest interval, a week, seconds.
pub const INTERVAL_S_MAX: u32 = 7 * 86_400;

/// The id of a schedule: whatever text its owner chose, 1 to 32 bytes.
pub type ScheduleId = String<32>;

/// What is to be done how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Seconds between two runs, 1 to [`INTERVAL_S_MAX`].
    pub interval_s: u32,
    /// What is done.
    pub order: Order,
}

impl Schedule {
    fn interval_ms(&self) -> u64 {
        u64::from(self.interval_s) * 1_000
    }

    /// Whether the controller can have it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.id.is_empty()
            && (1..=INTERVAL_S_MAX).contains(&self.interval_s)
            && self.order.is_sound()
    }
}

/// There are [`SCHEDULES_MAX`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

#[derive(Clone, Debug)]
struct Entry {
    schedule: Schedule,
    /// Uptime of its next run.
    due_ms: u64,
}

/// All schedules.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    entries: Vec<Entry, SCHEDULES_MAX>,
}

impl Schedules {
    /// Adds a schedule, in place of the one with its id if there is one; the uptime at which it is
    /// first due.
    ///
    /// # Errors
    /// [`TableFull`]; nothing has changed.
    pub fn add(&mut self, now: Now, schedule: Schedule) -> Result<u64, TableFull> {
        let due_ms = now.uptime_ms.saturating_add(schedule.interval_ms());
        let entry = Entry { schedule, due_ms };
        match self.position(&entry.schedule.id) {
            Some(index) => self.entries[index] = entry,
            None => self.entries.push(entry).map_err(|_| TableFull)?,
        }
        Ok(due_ms)
    }

    /// Removes a schedule; whether there was one.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(index) = self.position(id) else {
            return false;
        };
        if !mutants::active(Mutant::ScheduleNotRemoved) {
            self.entries.remove(index);
        }
        true
    }

    /// Every schedule, and the uptime at which it is due.
    pub fn iter(&self) -> impl Iterator<Item = (&Schedule, u64)> {
        self.entries
            .iter()
            .map(|entry| (&entry.schedule, entry.due_ms))
    }

    /// When the first one is due.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.entries.iter().map(|entry| entry.due_ms).min()
    }

    /// What is due now, the one that has waited longest first; it counts as run.
    pub(crate) fn next_due(&mut self, now: Now) -> Option<Order> {
        let entry = self
            .entries
            .iter_mut()
            .filter(|entry| entry.due_ms <= now.uptime_ms)
            .min_by_key(|entry| entry.due_ms)?;
        let interval_ms = entry.schedule.interval_ms();
        if mutants::active(Mutant::ScheduleDrifts) {
            entry.due_ms = now.uptime_ms + interval_ms + 500;
        } else {
            entry.due_ms = next_on_grid(entry.due_ms, interval_ms, now.uptime_ms);
        }
        Some(entry.schedule.order)
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.schedule.id == id)
    }
}

/// The first moment after `now_ms` that lies whole intervals after `due_ms`, which is not after it.
pub(crate) fn next_on_grid(due_ms: u64, interval_ms: u64, now_ms: u64) -> u64 {
    let behind = now_ms.saturating_sub(due_ms) / interval_ms;
    due_ms.saturating_add((behind + 1).saturating_mul(interval_ms))
}
