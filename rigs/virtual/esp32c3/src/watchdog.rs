//! A watchdog of four stages, as the timer groups and the RTC each have one.
//!
//! ESP32-C3 Technical Reference Manual, chapter "Watchdog Timers". A stage lasts for its time; at its end its
//! action is taken and the next stage begins (the first again after the fourth). Feeding goes back to the start
//! of the first stage.
//!
//! ```text
//!  feed ─▶ stage 0 ──▶ stage 1 ──▶ stage 2 ──▶ stage 3 ─┐
//!            ▲  action    action     action     action  │
//!            └──────────────────────────────────────────┘
//! ```

use crate::time::Ticks;

/// What happens at the end of a stage. The RTC watchdog alone has the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Off,
    Interrupt,
    ResetCpu,
    ResetCore,
    ResetSystem,
}

impl Action {
    /// From the two or three bits of a stage field; reserved values do nothing.
    pub(crate) fn from_field(field: u32) -> Action {
        match field {
            1 => Action::Interrupt,
            2 => Action::ResetCpu,
            3 => Action::ResetCore,
            4 => Action::ResetSystem,
            _ => Action::Off,
        }
    }
}

/// One stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) action: Action,
    /// Never zero: a stage of no length would end without end.
    pub(crate) length: Ticks,
}

/// The stages and where the watchdog stands in them.
#[derive(Debug)]
pub(crate) struct Watchdog {
    works: bool,
    stages: [Stage; 4],
    stage: usize,
    /// When the current stage began.
    since: Ticks,
}

impl Watchdog {
    pub(crate) fn new() -> Watchdog {
        Watchdog {
            works: false,
            stages: [Stage {
                action: Action::Off,
                length: Ticks(1),
            }; 4],
            stage: 0,
            since: Ticks::ZERO,
        }
    }

    /// New settings; a watchdog that was off begins with its first stage.
    pub(crate) fn configure(&mut self, works: bool, stages: [Stage; 4], now: Ticks) {
        if works && !self.works {
            self.feed(now);
        }
        self.works = works;
        self.stages = stages;
        for stage in &mut self.stages {
            stage.length = stage.length.max(Ticks(1));
        }
    }

    pub(crate) fn feed(&mut self, now: Ticks) {
        self.stage = 0;
        self.since = now;
    }

    /// When something happens next: the end of the first stage that does anything.
    pub(crate) fn due(&self) -> Option<Ticks> {
        if !self.works {
            return None;
        }
        let mut end = self.since;
        for step in 0..self.stages.len() {
            let stage = &self.stages[(self.stage + step) % self.stages.len()];
            end = end.saturating_add(stage.length);
            if stage.action != Action::Off {
                return Some(end);
            }
        }
        None
    }

    /// The action due at `now`, if any; the stage after it begins where it ended.
    pub(crate) fn expire(&mut self, now: Ticks) -> Option<Action> {
        let due = self.due().filter(|due| *due <= now)?;
        loop {
            let stage = self.stages[self.stage];
            self.stage = (self.stage + 1) % self.stages.len();
            if stage.action != Action::Off {
                self.since = due;
                return Some(stage.action);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other() {
        fn check(stages: [(Action, u64); 4], expected: &[(u64, Action)]) {
            let mut watchdog = Watchdog::new();
            let stages = stages.map(|(action, length)| Stage {
                action,
                length: Ticks(length),
            });
            watchdog.configure(true, stages, Ticks(1000));
            let mut seen = Vec::new();
            while let Some(due) = watchdog.due().filter(|_| seen.len() < expected.len()) {
                assert_eq!(watchdog.expire(Ticks(due.0 - 1)), None);
                let action = watchdog.expire(due).expect("something is due");
                seen.push((due.0 - 1000, action));
            }
            assert_eq!(seen, expected);
            assert_eq!(watchdog.due().is_some(), !expected.is_empty());
        }
        use Action::{Interrupt, Off, ResetCore, ResetCpu};
        check([(Off, 1); 4], &[]);
        check(
            [(Interrupt, 10), (ResetCpu, 20), (Off, 5), (ResetCore, 7)],
            &[
                (10, Interrupt),
                (30, ResetCpu),
                (42, ResetCore),
                (52, Interrupt),
            ],
        );
        check(
            [(Off, 10), (Off, 10), (Off, 10), (ResetCore, 0)],
            &[(31, ResetCore)],
        );
    }

    #[test]
    fn feeding_begins_anew() {
        let mut watchdog = Watchdog::new();
        let stage = Stage {
            action: Action::Interrupt,
            length: Ticks(100),
        };
        watchdog.configure(true, [stage; 4], Ticks(0));
        watchdog.feed(Ticks(60));
        assert_eq!(watchdog.due(), Some(Ticks(160)));
        watchdog.configure(false, [stage; 4], Ticks(70));
        assert_eq!(watchdog.due(), None);
        watchdog.configure(true, [stage; 4], Ticks(500));
        assert_eq!(watchdog.due(), Some(Ticks(600)));
    }
}
