//! The wire's encoding on the target, as a defmt-test binary: all tests in one boot, no host command.
//!
//! It also keeps `hil runner` honest, which must serve both kinds of on-target tests.
#![no_std]
#![no_main]

use firmware_app as _;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    semihosting_failure()
}

/// Tells the debugger that the run failed: semihosting operation SYS_EXIT with "application error"
/// (Arm semihosting specification 2.0; call sequence of the RISC-V semihosting specification 1.0).
#[allow(unsafe_code)]
fn semihosting_failure() -> ! {
    // Safety: the sequence hands two registers to the debugger, which halts the chip.
    unsafe {
        core::arch::asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            in("a0") 0x18,
            in("a1") 0x2_0023,
        );
    }
    loop {
        core::hint::spin_loop();
    }
}

#[defmt_test::tests]
mod tests {
    use firmware_wire::{
        CONTROL_FRAME_BYTES_MAX, CallPath, ControlBody, ControlFrame, FrameDecoder,
        TRACE_FRAME_BYTES_MAX, TraceEvent, TraceFrame, encode,
    };

    #[init]
    fn init() {
        let channels = firmware_app::rtt::init();
        firmware_app::log::init(channels.log);
        let _ = esp_hal::init(esp_hal::Config::default());
    }

    #[test]
    fn the_longest_trace_frame_fits() {
        let frame = TraceFrame {
            boot: u32::MAX,
            sequence: u32::MAX,
            uptime_us: u64::MAX,
            event: TraceEvent::Allocated {
                address: u32::MAX,
                size: u32::MAX,
                path: [u32::MAX; 8].into_iter().collect::<CallPath>(),
            },
        };
        let mut buffer = [0; TRACE_FRAME_BYTES_MAX];
        let bytes = defmt::unwrap!(encode(&frame, &mut buffer).ok());
        let mut decoder = FrameDecoder::<TRACE_FRAME_BYTES_MAX>::new();
        let decoded = bytes
            .iter()
            .find_map(|byte| decoder.push::<TraceFrame>(*byte));
        defmt::assert!(decoded == Some(Ok(frame)));
    }

    #[test]
    fn a_garbled_control_frame_is_refused() {
        let frame = ControlFrame {
            sequence: 5,
            body: ControlBody::SetTime { unix_ms: 1 },
        };
        let mut buffer = [0; CONTROL_FRAME_BYTES_MAX];
        let length = defmt::unwrap!(encode(&frame, &mut buffer).ok()).len();
        buffer[2] ^= 0x40;
        let mut decoder = FrameDecoder::<CONTROL_FRAME_BYTES_MAX>::new();
        let decoded = buffer[..length]
            .iter()
            .find_map(|byte| decoder.push::<ControlFrame>(*byte));
        defmt::assert!(matches!(decoded, Some(Err(_))));
    }
}
