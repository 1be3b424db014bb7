//! Ends a wait to the microsecond. The operating system's poller counts in milliseconds and rounds up, which is more
//! than a command takes from the host to the device and back.
//!
//! Source: timerfd_create(2). Elsewhere than on Linux a wait ends when the poller says so.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// Waits up to this are ended by the alarm; in a longer one a millisecond more does not matter.
#[cfg(target_os = "linux")]
const SHORT: Duration = Duration::from_millis(20);

/// A timer that the poller watches.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    /// It was set, and may not have gone off.
    #[cfg(target_os = "linux")]
    set: bool,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// An alarm that shows as an event of `token`.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        use std::os::fd::AsRawFd;

        use mio::Interest;
        use mio::unix::SourceFd;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm { timer, set: false })
    }

    /// Goes off once this wait should be over; never for one that is long, or has no end.
    pub(crate) fn set(&mut self, wait: Option<Duration>) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let short = wait.filter(|wait| *wait <= SHORT).unwrap_or_default();
        if short.is_zero() && !self.set {
            return;
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            // Zero takes an alarm back.
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: short.subsec_nanos().into(),
            },
        };
        // Without it the wait ends at the next millisecond.
        let done = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        self.set = done.is_ok() && !short.is_zero();
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
        Ok(Alarm {})
    }

    pub(crate) fn set(&mut self, _: Option<Duration>) {}
}
