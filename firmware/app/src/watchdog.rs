//! The watchdog: timer group 1 resets the chip when no task has run for five seconds.
//!
//! A debugger that attaches turns watchdogs off, so feeding also turns this one on again.

use core::cell::{Cell, RefCell};

use critical_section::Mutex;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer};
use esp_hal::{
    peripherals::TIMG1,
    timer::timg::{MwdtStage, MwdtStageAction, TimerGroup, Wdt},
};

use crate::stack;

/// How long it waits before it bites.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is fed.
const INTERVAL: Duration = Duration::from_secs(1);

static WATCHDOG: Mutex<RefCell<Option<Wdt<TIMG1<'static>>>>> = Mutex::new(RefCell::new(None));

/// Starts it.
pub fn start(timer_group: TIMG1<'static>) {
    let mut watchdog = TimerGroup::new(timer_group).wdt;
    watchdog.set_timeout(
        MwdtStage::Stage0,
        esp_hal::time::Duration::from_micros(TIMEOUT.as_micros()),
    );
    watchdog.set_stage_action(MwdtStage::Stage0, MwdtStageAction::ResetSystem);
    watchdog.enable();
    critical_section::with(|cs| WATCHDOG.replace(cs, Some(watchdog)));
    feed();
}

/// Feeds it, and turns it on if somebody turned it off. Does nothing before [`start`], or within a
/// panic that struck while it was fed.
pub fn feed() {
    critical_section::with(|cs| {
        if let Ok(mut watchdog) = WATCHDOG.borrow(cs).try_borrow_mut()
            && let Some(watchdog) = watchdog.as_mut()
        {
            watchdog.enable();
            watchdog.feed();
        }
    });
}

/// Tasks without which the device is of no use. One that has never checked in is not waited for: it
/// may not have been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The sampling of the sensors.
    Sensors,
}

/// When each task was last seen.
static SEEN: Mutex<Cell<[Option<Instant>; 1]>> = Mutex::new(Cell::new([None]));

/// For how long a task may be unseen: a scan of 60 sensors on a bad bus, with all its second looks,
/// takes some ten seconds.
const UNSEEN_MAX: Duration = Duration::from_secs(40);

/// Notes that `task` is at work; for the first time when it is started, however late that is.
pub fn check_in(task: Task) {
    critical_section::with(|cs| {
        let seen = SEEN.borrow(cs);
        let mut all = seen.get();
        all[task as usize] = Some(Instant::now());
        seen.set(all);
    });
}

/// Whether each task that has ever checked in was seen not too long ago.
#[must_use]
pub fn all_is_well() -> bool {
    let seen = critical_section::with(|cs| SEEN.borrow(cs).get());
    seen.iter()
        .flatten()
        .all(|seen| seen.elapsed() < UNSEEN_MAX)
}

/// Feeds it, for the control loop: but not when a task has not been seen for too long. So it bites
/// when the loop is blocked, when the sampling has stopped, and when no task runs at all.
pub fn feed_if_all_is_well() {
    #[cfg(feature = "test-hooks")]
    if crate::faults::watchdog_starves() {
        return;
    }
    if all_is_well() {
        feed();
    }
}

/// Feeds it while the device waits to be provisioned: there is no control loop yet.
pub async fn feed_while<F: Future>(work: F) -> F::Output {
    let feeding = async {
        loop {
            #[cfg(feature = "test-hooks")]
            if crate::faults::watchdog_starves() {
                core::future::pending::<()>().await;
            }
            feed();
            stack::arm_guard();
            Timer::after(INTERVAL).await;
        }
    };
    match select(work, feeding).await {
        Either::First(output) => output,
        Either::Second(never) => never,
    }
}
