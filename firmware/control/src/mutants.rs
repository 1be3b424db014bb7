//! Deliberate faults: what firmwares get wrong, one at a time, so that the scenarios that should
//! catch each can be seen to.
//!
//! With the feature `mutants` one of them can be active, chosen at run time. Without it
//! [`active`] is `false` before the compiler is done, and nothing of this is in the image.

/// A list of mutants: variant, name, scenario that should catch it, what it does.
macro_rules! mutants {
    ($($variant:ident, $name:literal, $scenario:literal, $does:literal;)*) => {
        /// A bug in the controller's logic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Mutant {
            $(#[doc = $does] $variant,)*
        }

        impl Mutant {
            /// Every mutant, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, kebab-case.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The scenario that should catch it, by its ID.
            #[must_use]
            pub fn scenario(self) -> &'static str {
                match self {
                    $(Self::$variant => $scenario,)*
                }
            }

            /// What it does.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $does,)*
                }
            }
        }
    };
}

mutants! {
    Point59Refused, "point-59-refused", "CMD-1",
        "`point_id` 59 is answered as out of range.";
    HelpForgetsACommand, "help-forgets-a-command", "CMD-1",
        "`help` leaves out its last command.";
    ThresholdOfTheNextPoint, "threshold-of-the-next-point", "CMD-1",
        "`set_threshold` sets the threshold of the point after the one that was named.";
    ErrorWithoutMessage, "error-without-message", "CMD-2",
        "An error response has no `message`.";
    ExecutionTimeAsText, "execution-time-as-text", "CMD-2",
        "`execution_time` is a string.";
    LongRequestsRead, "long-requests-read", "CMD-3",
        "A request over 1,024 bytes is carried out.";
    ErrorChangesState, "error-changes-state", "CMD-3",
        "A high threshold below the low one is answered with an error, and taken.";
    CmdIdOfAnotherRequest, "cmd-id-of-another-request", "CMD-4",
        "A request within 20 ms of the one before is answered with that one's `cmd_id`.";
    SequenceSkips, "sequence-skips", "TEL-1",
        "Every fourth telemetry message skips a sequence number.";
    ActivePointsCountErrors, "active-points-count-errors", "TEL-1",
        "`active_points` counts sensors that give no temperature.";
    StuckReadings, "stuck-readings", "TEL-1",
        "Every third point keeps its first temperature.";
    DisconnectedIgnored, "disconnected-ignored", "TEL-2",
        "A sensor that is gone keeps its last temperature and `OK`.";
    SignLost, "sign-lost", "TEL-2",
        "Temperatures below zero are shown without their sign.";
    IntervalTooLong, "interval-too-long", "TEL-3",
        "The telemetry interval is 15 % longer than configured.";
    BadPortAccepted, "bad-port-accepted", "INT-1",
        "`mqtt_port` 0 is taken into the configuration.";
    PasswordWrittenOut, "password-written-out", "INT-1",
        "The HTTP configuration shows the MQTT password.";
    RefusedConfigurationKept, "refused-configuration-kept", "INT-1",
        "A telemetry interval before a bad field is taken, although the answer is an error.";
    HysteresisIgnored, "hysteresis-ignored", "INT-2",
        "An alarm clears as soon as the value is back at the threshold.";
    ClearSentTwice, "clear-sent-twice", "INT-2",
        "The message of an alarm that clears is sent twice.";
    LowAlarmsMissing, "low-alarms-missing", "INT-2",
        "A temperature below the low threshold raises no alarm.";
    AcknowledgeSaysNothing, "acknowledge-says-nothing", "INT-2",
        "`acknowledge_alarm` is carried out without its message.";
    ToggleAlwaysCloses, "toggle-always-closes", "INT-3",
        "`TOGGLE` switches a relay on that is on.";
    DurationInMilliseconds, "duration-in-milliseconds", "INT-3",
        "A relay's `duration` is taken as milliseconds.";
    TimerEventMissing, "timer-event-missing", "INT-3",
        "A relay that switches back by its timer sends no event.";
    ContactNotSwitched, "contact-not-switched", "INT-3",
        "Response and event say that the relay switched, its contact does not move.";
    ScheduleDrifts, "schedule-drifts", "INT-4",
        "A schedule counts its next interval from when it ran, and half a second late at that.";
    ScheduleNotRemoved, "schedule-not-removed", "INT-4",
        "`remove_schedule` answers success, the schedule goes on.";
    SchedulesNotKept, "schedules-not-kept", "INT-4",
        "Schedules are not written to flash.";
    ConfigurationNotKept, "configuration-not-kept", "STAB-3",
        "A configuration that was taken is not written to flash.";
}

impl Mutant {
    /// Its number, from 1: what a host says to activate it.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16 + 1
    }
}

#[cfg(feature = "mutants")]
mod chosen {
    use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use super::Mutant;

    /// The number of the active mutant, 0 for none.
    static ACTIVE: AtomicU16 = AtomicU16::new(0);

    /// Makes this mutant the active one, or none.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.store(mutant.map_or(0, Mutant::number), Relaxed);
    }

    /// Whether this is the active mutant.
    #[must_use]
    pub fn active(mutant: Mutant) -> bool {
        ACTIVE.load(Relaxed) == mutant.number()
    }

    impl Mutant {
        /// The mutant of that number.
        #[must_use]
        pub fn from_number(number: u16) -> Option<Self> {
            Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
        }

        /// The mutant of that name.
        #[must_use]
        pub fn from_name(name: &str) -> Option<Self> {
            Self::ALL.iter().copied().find(|m| m.name() == name)
        }
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{activate, active};

/// Never: this image has no mutants.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn active(_: Mutant) -> bool {
    false
}
