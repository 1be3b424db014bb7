//! The switch of the device's supply: cuts that are still to come, and when the supply returns.

use std::time::Duration;

use virtual_esp32c3::FlashOperation;

/// The device's supply fails once; see [`VirtualRig::cut_power`](crate::VirtualRig::cut_power).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut {
    /// When.
    pub when: CutMoment,
    /// For how long, chip time; `None`: until it is switched on again.
    pub off_for: Option<Duration>,
}

/// When a supply fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutMoment {
    /// At once.
    Now,
    /// After this much chip time.
    After(Duration),
    /// During a flash operation that is still to come.
    FlashOperation {
        /// Which operations count; each page programmed is one, and each erase.
        operation: FlashOperation,
        /// Which of them from now on: 1 is the next. 0 never comes.
        nth: u32,
        /// From its beginning, chip time; `None`: in its middle, at a moment chosen from the rig's seed.
        delay: Option<Duration>,
    },
}

/// What the switch is going to do by itself. Times are the rig's.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    off_at: Option<Duration>,
    on_at: Option<Duration>,
    /// How long the next failure lasts.
    off_for: Option<Duration>,
}

impl Supply {
    /// A cut is to come.
    pub(crate) fn plan(&mut self, now: Duration, cut: PowerCut) {
        self.off_at = match cut.when {
            CutMoment::Now => Some(now),
            CutMoment::After(delay) => Some(now.saturating_add(delay)),
            CutMoment::FlashOperation { .. } => None,
        };
        self.off_for = cut.off_for;
    }

    /// When the switch wants to be asked next.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.off_at.into_iter().chain(self.on_at).min()
    }

    /// Whether to switch now, and which way.
    pub(crate) fn due(&mut self, now: Duration) -> Option<bool> {
        if self.off_at.take_if(|at| *at <= now).is_some() {
            return Some(false);
        }
        self.on_at.take_if(|at| *at <= now).map(|_| true)
    }

    /// The supply has failed.
    pub(crate) fn went_off(&mut self, now: Duration) {
        self.off_at = None;
        let back = self.off_for.take();
        self.on_at = back.map(|off_for| now.saturating_add(off_for));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_cut_comes_once_and_ends() {
        let mut supply = Supply::default();
        assert_eq!((supply.next(), supply.due(MS)), (None, None));
        supply.plan(
            MS,
            PowerCut {
                when: CutMoment::After(MS * 4),
                off_for: Some(MS * 10),
            },
        );
        assert_eq!((supply.next(), supply.due(MS * 4)), (Some(MS * 5), None));
        assert_eq!(supply.due(MS * 5), Some(false));
        supply.went_off(MS * 5);
        assert_eq!((supply.next(), supply.due(MS * 14)), (Some(MS * 15), None));
        assert_eq!(supply.due(MS * 15), Some(true));
        assert_eq!(supply.next(), None);
    }

    #[test]
    fn a_failure_that_nobody_planned_lasts() {
        let mut supply = Supply::default();
        supply.went_off(MS);
        assert_eq!(supply.next(), None);
    }
}
