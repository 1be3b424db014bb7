//! Resets: why the chip was reset, and how deep the reset goes.
//!
//! ESP32-C3 Technical Reference Manual, chapter "Reset and Clock", table of reset sources. The cause is what
//! firmware reads from `RTC_CNTL_RESET_STATE`; the kind is what decides which state survives.

/// How much of the chip a reset clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetKind {
    /// The hart alone; peripherals keep their state.
    Cpu,
    /// The digital system (hart and peripherals), not the RTC domain.
    Core,
    /// The digital system and the RTC domain, except RTC memory and the RTC timer.
    System,
    /// Everything: power was off.
    PowerOn,
}

/// Why the chip was last reset: the codes of `RTC_CNTL_RESET_STATE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResetCause {
    /// Power came on.
    PowerOn = 0x01,
    /// Software set `RTC_CNTL_SW_SYS_RST`.
    CoreSoftware = 0x03,
    /// Timer group 0's watchdog reset the core.
    CoreWatchdog0 = 0x07,
    /// Timer group 1's watchdog reset the core.
    CoreWatchdog1 = 0x08,
    /// The RTC watchdog reset the core.
    CoreRtcWatchdog = 0x09,
    /// Timer group 0's watchdog reset the CPU.
    CpuWatchdog0 = 0x0B,
    /// Software set `RTC_CNTL_SW_PROCPU_RST`.
    CpuSoftware = 0x0C,
    /// The RTC watchdog reset the CPU.
    CpuRtcWatchdog = 0x0D,
    /// Timer group 1's watchdog reset the CPU.
    CpuWatchdog1 = 0x11,
    /// The RTC watchdog reset system and RTC domain.
    SystemRtcWatchdog = 0x10,
    /// The super watchdog reset system and RTC domain.
    SystemSuperWatchdog = 0x12,
    /// The debugger reset the core over JTAG.
    CoreUsbJtag = 0x16,
}

impl ResetCause {
    /// The code firmware reads.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// How deep this reset goes.
    pub const fn kind(self) -> ResetKind {
        match self {
            ResetCause::PowerOn => ResetKind::PowerOn,
            ResetCause::CoreSoftware
            | ResetCause::CoreWatchdog0
            | ResetCause::CoreWatchdog1
            | ResetCause::CoreRtcWatchdog
            | ResetCause::CoreUsbJtag => ResetKind::Core,
            ResetCause::CpuWatchdog0
            | ResetCause::CpuWatchdog1
            | ResetCause::CpuSoftware
            | ResetCause::CpuRtcWatchdog => ResetKind::Cpu,
            ResetCause::SystemRtcWatchdog | ResetCause::SystemSuperWatchdog => ResetKind::System,
        }
    }

    /// For people: "timer group 0 watchdog (core)".
    pub const fn name(self) -> &'static str {
        match self {
            ResetCause::PowerOn => "power-on",
            ResetCause::CoreSoftware => "software (core)",
            ResetCause::CoreWatchdog0 => "timer group 0 watchdog (core)",
            ResetCause::CoreWatchdog1 => "timer group 1 watchdog (core)",
            ResetCause::CoreRtcWatchdog => "RTC watchdog (core)",
            ResetCause::CpuWatchdog0 => "timer group 0 watchdog (CPU)",
            ResetCause::CpuSoftware => "software (CPU)",
            ResetCause::CpuRtcWatchdog => "RTC watchdog (CPU)",
            ResetCause::CpuWatchdog1 => "timer group 1 watchdog (CPU)",
            ResetCause::SystemRtcWatchdog => "RTC watchdog (system)",
            ResetCause::SystemSuperWatchdog => "super watchdog (system)",
            ResetCause::CoreUsbJtag => "debugger (core)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_depths_are_the_manuals() {
        fn check(cause: ResetCause, code: u8, kind: ResetKind) {
            assert_eq!(
                (cause.code(), cause.kind()),
                (code, kind),
                "{}",
                cause.name()
            );
        }
        check(ResetCause::PowerOn, 1, ResetKind::PowerOn);
        check(ResetCause::CoreSoftware, 3, ResetKind::Core);
        check(ResetCause::CoreWatchdog0, 7, ResetKind::Core);
        check(ResetCause::CpuSoftware, 12, ResetKind::Cpu);
        check(ResetCause::SystemRtcWatchdog, 16, ResetKind::System);
        check(ResetCause::SystemSuperWatchdog, 18, ResetKind::System);
    }

    #[test]
    fn deeper_resets_compare_greater() {
        assert!(ResetKind::Cpu < ResetKind::Core && ResetKind::Core < ResetKind::System);
        assert!(ResetKind::System < ResetKind::PowerOn);
    }
}
