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

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    schedule: Schedule,
    /// Uptime of its next run.
    due_ms: u64,
}

/// All schedules.
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// When the first one is due, summaries among them or left out.
    #[must_use]
    pub fn due_ms(&self, with_summaries: bool) -> Option<u64> {
        self.entries
            .iter()
            .filter(|entry| with_summaries || entry.schedule.order != Order::Summary)
            .map(|entry| entry.due_ms)
            .min()
    }

    /// What is due now, summaries among it or left out, the one that has waited longest first; it
    /// counts as run.
    pub(crate) fn next_due(&mut self, now: Now, with_summaries: bool) -> Option<Order> {
        let entry = self
            .entries
            .iter_mut()
            .filter(|entry| entry.due_ms <= now.uptime_ms)
            .filter(|entry| with_summaries || entry.schedule.order != Order::Summary)
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{actions, at, controller, done, refused};
    use crate::{Action, Controller};

    fn add(
        c: &mut Controller,
        ms: u64,
        id: &str,
        interval_s: u32,
        command: &str,
    ) -> serde_json::Value {
        let parameters = format!(
            r#"{{"schedule_id":"{id}","schedule_type":"interval","interval_seconds":{interval_s},{command}}}"#
        );
        done(c, at(ms), "add_schedule", &parameters)
    }

    const SUMMARY: &str = r#""command":"get_summary","parameters":{}"#;

    fn without_telemetry() -> Controller {
        let mut c = controller();
        done(
            &mut c,
            at(0),
            "set_config",
            r#"{"telemetry_interval":3600}"#,
        );
        actions(&mut c, at(0));
        c
    }

    #[test]
    fn a_schedule_runs_on_its_grid_however_late_it_is_asked() {
        let mut c = without_telemetry();
        let data = add(&mut c, 1_000, "a", 10, SUMMARY);
        assert_eq!(
            data["next_due"],
            at(11_000).timestamp_of(11_000).to_string()
        );
        assert_eq!(actions(&mut c, at(1_000)), []);
        assert_eq!(c.poll_at(), 11_000);
        assert_eq!(actions(&mut c, at(10_999)), []);
        assert_eq!(actions(&mut c, at(11_700)), [Action::PublishSummary]);
        assert_eq!(c.poll_at(), 21_000);
        assert_eq!(actions(&mut c, at(45_000)), [Action::PublishSummary]);
        assert_eq!(c.poll_at(), 51_000);
    }

    #[test]
    fn a_removed_schedule_runs_no_more() {
        let mut c = without_telemetry();
        add(&mut c, 0, "a", 10, SUMMARY);
        done(
            &mut c,
            at(5_000),
            "remove_schedule",
            r#"{"schedule_id":"a"}"#,
        );
        assert_eq!(actions(&mut c, at(3_500_000)), []);
        assert_eq!(
            refused(
                &mut c,
                at(3_500_001),
                "remove_schedule",
                r#"{"schedule_id":"a"}"#
            ),
            "Unknown schedule: none has this id"
        );
    }

    #[test]
    fn a_schedule_takes_the_place_of_the_one_with_its_id() {
        let mut c = without_telemetry();
        add(&mut c, 0, "a", 10, SUMMARY);
        add(&mut c, 5_000, "a", 60, SUMMARY);
        assert_eq!(c.schedules().iter().count(), 1);
        assert_eq!(c.schedules().due_ms(true), Some(65_000));
    }

    #[test]
    fn the_table_holds_sixteen() {
        let mut c = without_telemetry();
        for id in 0..SCHEDULES_MAX {
            add(&mut c, 0, &format!("s{id}"), 10, SUMMARY);
        }
        let one_more = r#"{"schedule_id":"x","schedule_type":"interval","interval_seconds":1,"command":"get_summary"}"#;
        assert_eq!(
            refused(&mut c, at(0), "add_schedule", one_more),
            "Schedule table full: at most 16 schedules"
        );
        add(&mut c, 0, "s3", 20, SUMMARY);
        assert_eq!(c.schedules().iter().count(), SCHEDULES_MAX);
        let summaries = actions(&mut c, at(10_000));
        let expected = SCHEDULES_MAX - 1;
        assert_eq!(
            summaries
                .iter()
                .filter(|a| **a == Action::PublishSummary)
                .count(),
            expected,
            "one each"
        );
    }

    #[test]
    fn what_a_schedule_orders_is_done_as_if_it_were_commanded() {
        let mut c = without_telemetry();
        add(
            &mut c,
            0,
            "relay",
            10,
            r#""command":"set_relay","parameters":{"relay_id":2,"state":"TOGGLE"}"#,
        );
        actions(&mut c, at(0));
        let on = |c: &Controller| c.relays().is_on(crate::RelayId::new(2).expect("a relay"));
        assert!(matches!(
            actions(&mut c, at(10_000))[..],
            [Action::SwitchRelay { on: true, .. }, Action::PublishRelay(change)] if change.cause.name() == "command"
        ));
        assert!(on(&c));
        actions(&mut c, at(20_000));
        assert!(!on(&c));
    }

    #[test]
    fn an_order_that_can_no_longer_be_carried_out_is_counted() {
        let mut c = without_telemetry();
        add(
            &mut c,
            0,
            "t",
            10,
            r#""command":"set_threshold","parameters":{"point_id":1,"threshold_type":"high","value":30}"#,
        );
        done(
            &mut c,
            at(1),
            "set_threshold",
            r#"{"point_id":1,"threshold_type":"low","value":40}"#,
        );
        actions(&mut c, at(1));
        assert_eq!(actions(&mut c, at(10_000)), []);
        assert_eq!(c.counters().schedule_errors, 1);
    }

    #[test]
    fn what_can_not_be_scheduled_is_refused_when_it_is_added() {
        let mut c = without_telemetry();
        let mut check = |rest: &str, message: &str| {
            let parameters = format!(r#"{{"schedule_id":"a",{rest}}}"#);
            assert_eq!(refused(&mut c, at(0), "add_schedule", &parameters), message);
        };
        let not_for_schedules = "Invalid command: a schedule can't carry this one out";
        for command in ["help", "add_schedule", "get_status", "acknowledge_alarm"] {
            check(
                &format!(
                    r#""schedule_type":"interval","interval_seconds":1,"command":"{command}""#
                ),
                not_for_schedules,
            );
        }
        check(
            r#""schedule_type":"interval","interval_seconds":1,"command":"nothing""#,
            "Invalid command: `help` lists the commands",
        );
        check(
            r#""schedule_type":"interval","interval_seconds":1"#,
            "Missing required field: command",
        );
        check(
            r#""schedule_type":"interval","interval_seconds":1,"command":"set_relay","parameters":{"relay_id":9}"#,
            "Relay ID out of range: 1 to 8",
        );
        check(
            r#""schedule_type":"cron","interval_seconds":1,"command":"get_summary""#,
            "Invalid parameter value: schedule_type takes `interval`",
        );
        check(
            r#""schedule_type":"interval","interval_seconds":0,"command":"get_summary""#,
            "Parameter out of range: interval_seconds takes seconds, 1 to 604800",
        );
        check(
            r#""schedule_type":"interval","interval_seconds":"10","command":"get_summary""#,
            "Invalid parameter type: interval_seconds",
        );
        let long = format!(r#"{{"schedule_id":"{}"}}"#, "x".repeat(33));
        assert_eq!(
            refused(&mut c, at(0), "add_schedule", &long),
            "Invalid parameter value: schedule_id takes text of 1 to 32 bytes"
        );
    }

    proptest! {
        /// Whenever it is asked, a schedule has run once for each stretch of its grid in which
        /// it was asked, and is next due on the grid.
        #[test]
        fn a_grid_is_kept(begin_ms in 0_u64..100_000, interval_s in 1_u32..100, waits in proptest::collection::vec(0_u64..250_000, 1..40)) {
            let mut c = without_telemetry();
            add(&mut c, begin_ms, "a", interval_s, SUMMARY);
            let interval_ms = u64::from(interval_s) * 1_000;
            let mut now_ms = begin_ms;
            for wait_ms in waits {
                let due_ms = c.schedules().due_ms(true).expect("one");
                now_ms += wait_ms;
                let runs: Vec<_> = actions(&mut c, at(now_ms))
                    .into_iter()
                    .filter(|a| *a == Action::PublishSummary)
                    .collect();
                prop_assert_eq!(runs.len(), usize::from(due_ms <= now_ms));
                let next_ms = c.schedules().due_ms(true).expect("one");
                prop_assert_eq!((next_ms - begin_ms) % interval_ms, 0);
                prop_assert!(next_ms > now_ms && next_ms <= now_ms.max(begin_ms) + interval_ms);
            }
        }
    }
}
