//! Logs as fast as the host reads, and nothing else: what `cargo bench -p hil-bench` listens to.
//!
//! Lines of the kinds that the firmware has, through the firmware's own logger and channel. Nothing is
//! lost: the channel never holds more than it has room for.
#![no_std]
#![no_main]

use esp_hal::clock::CpuClock;
use firmware_app::{log, rtt};

/// Rounds of four lines; `hil/bench/benches/logs.rs` counts them.
const ROUNDS: u32 = 8_192;
/// The channel holds 4,096 bytes, a round takes 70 at most.
const ROUNDS_BETWEEN_READS: u32 = 48;

#[esp_hal::main]
fn main() -> ! {
    let channels = rtt::init();
    log::init(channels.log);
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    for round in 0..ROUNDS {
        if round % ROUNDS_BETWEEN_READS == 0 {
            while !log::is_drained() {}
        }
        let point = (round % 60) as u8;
        defmt::info!(
            "publish {=str}: {=usize} bytes, id {=u16}",
            "telemetry/temperature",
            4_738,
            round as u16
        );
        defmt::info!("point {=u8} reads {=i32} mK", point, 293_150 - round as i32);
        defmt::info!(
            "acknowledged {=u16}, {=u32} in flight",
            round as u16,
            round % 7
        );
        defmt::warn!(
            "point {=u8}: {=str}, tried {=u8} times",
            point,
            "CRC error",
            3
        );
    }
    defmt::info!("done, {=u32} lines lost", log::take_lost());
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    loop {
        core::hint::spin_loop();
    }
}
