//! Why the chip booted, in the words of the wire.
//!
//! Source: ESP32-C3 Technical Reference Manual, chapter "Reset and Clock", table of reset sources.

use esp_hal::rtc_cntl::SocResetReason;
use firmware_wire::ResetReason;

/// Why the chip booted. `panicked`: whether the panic handler left its mark before.
pub fn reset_reason(panicked: bool) -> ResetReason {
    match esp_hal::system::reset_reason() {
        Some(SocResetReason::CoreSw) if panicked => ResetReason::Panic,
        Some(cause) => from_cause(cause),
        None => ResetReason::Other(0),
    }
}

fn from_cause(cause: SocResetReason) -> ResetReason {
    match cause {
        SocResetReason::ChipPowerOn => ResetReason::PowerOn,
        SocResetReason::CoreSw | SocResetReason::Cpu0Sw => ResetReason::Software,
        SocResetReason::CoreDeepSleep => ResetReason::DeepSleep,
        SocResetReason::CoreMwdt0
        | SocResetReason::CoreMwdt1
        | SocResetReason::CoreRtcWdt
        | SocResetReason::Cpu0Mwdt0
        | SocResetReason::Cpu0Mwdt1
        | SocResetReason::Cpu0RtcWdt
        | SocResetReason::SysRtcWdt => ResetReason::Watchdog,
        SocResetReason::SysSuperWdt => ResetReason::SuperWatchdog,
        SocResetReason::SysBrownOut => ResetReason::BrownOut,
        SocResetReason::CoreUsbUart | SocResetReason::CoreUsbJtag => ResetReason::Usb,
        // Clock glitch, eFuse CRC, power glitch.
        other => ResetReason::Other(other as u8),
    }
}

/// The reason as the `state/boot` message names it.
pub fn name(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::PowerOn => "power-on",
        ResetReason::Software => "software",
        ResetReason::Panic => "panic",
        ResetReason::Watchdog => "watchdog",
        ResetReason::SuperWatchdog => "super-watchdog",
        ResetReason::BrownOut => "brown-out",
        ResetReason::DeepSleep => "deep-sleep",
        ResetReason::Usb => "usb",
        ResetReason::Other(_) => "other",
    }
}
