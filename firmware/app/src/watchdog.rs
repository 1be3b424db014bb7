//! The watchdog: timer group 1 resets the chip when no task has run for five seconds.
//!
//! A debugger that attaches turns watchdogs off, so feeding also turns this one on again.

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_time::{Duration, Timer};
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

/// Feeds it for as long as tasks run.
#[embassy_executor::task]
pub async fn task() -> ! {
    loop {
        #[cfg(feature = "test-hooks")]
        if crate::faults::watchdog_starves() {
            core::future::pending::<()>().await;
        }
        feed();
        stack::arm_guard();
        Timer::after(INTERVAL).await;
    }
}
