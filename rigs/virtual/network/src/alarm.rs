//! Ends a wait to the microsecond. The operating system's poller counts in milliseconds and rounds up, which is more
//! than a command takes from the host to the device and back.
//!
//! Source: timerfd_create(2). Elsewhere than on Linux a wait ends when the poller says so.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// Waits up to this are ended by the alarm; in a longer one a millisecond more does not matter.
const SHORT: Duration = Duration::from_millis(20);

/// A timer that the poller watches.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
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
        Ok(Alarm { timer })
    }

    /// Goes off once this wait should be over. One that goes off late, in another wait, ends that early, no more.
    pub(crate) fn set(&self, wait: Duration) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if wait.is_zero() || wait > SHORT {
            return;
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        // Without it the wait ends at the next millisecond.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
        Ok(Alarm {})
    }

    pub(crate) fn set(&self, _: Duration) {}
}
