//! Tests of `rtc_cntl.rs`.

use super::*;
use crate::testing::Bench;

fn bench() -> Bench<RtcCntl> {
    let mut bench = Bench::new(RtcCntl::new(Ticks::ZERO));
    bench.peripheral.feed_super_watchdog_by_itself(Ticks::ZERO);
    bench.peripheral.leave_boot_loader(Ticks::ZERO);
    bench
}

#[test]
fn software_resets_are_asked_for() {
    fn check(value: u32, expected: Option<ResetCause>) {
        let mut bench = bench();
        bench.write(OPTIONS0, value);
        assert_eq!(bench.requests.reset, expected, "{value:#x}");
        assert_eq!(bench.read(OPTIONS0) & 0x8000_0020, 0);
    }
    check(0x1C00_A000, None);
    check(0x9C00_A000, Some(ResetCause::CoreSoftware));
    check(0x1C00_A020, Some(ResetCause::CpuSoftware));
}

#[test]
fn causes_are_shown_for_each_core() {
    fn check(cause: ResetCause, expected: u32) {
        let mut bench = bench();
        assert_eq!(bench.read(RESET_STATE), 0x3041);
        bench.peripheral.reset(cause.kind());
        bench.peripheral.set_cause(cause, Ticks(9));
        assert_eq!(bench.read(RESET_STATE), expected);
    }
    check(ResetCause::CoreSoftware, 0x3000 | 3 << 6 | 3);
    check(ResetCause::CpuSoftware, 0x3000 | 1 << 6 | 12);
    check(ResetCause::SystemRtcWatchdog, 0x3000 | 16 << 6 | 16);
}

#[test]
fn stores_outlive_all_but_power_off() {
    fn check(cause: ResetCause, store: u32, other: u32) {
        let mut bench = bench();
        for offset in [STORE0, STORE7, 0x30] {
            bench.write(offset, 77);
        }
        bench.peripheral.reset(cause.kind());
        assert_eq!(
            [STORE0, STORE7].map(|offset| bench.read(offset)),
            [store; 2],
            "{cause:?}"
        );
        assert_eq!(bench.read(0x30), other, "{cause:?}");
    }
    check(ResetCause::CpuSoftware, 77, 77);
    check(ResetCause::CoreSoftware, 77, 77);
    check(ResetCause::SystemRtcWatchdog, 77, 0x0A08_0000);
    check(ResetCause::PowerOn, 0, 0x0A08_0000);
}

#[test]
fn the_timer_counts_the_slow_clock() {
    fn check(clock: u32, expected: u64) {
        let mut bench = bench();
        bench.write(CLK_CONF, clock << 30);
        bench.run(Ticks::from_seconds(8));
        assert_eq!(bench.read(TIME_LOW0), 0, "not asked for yet");
        bench.write(TIME_UPDATE, 1 << 31);
        assert_eq!(u64::from(bench.read(TIME_LOW0)), expected);
        assert_eq!(bench.read(TIME_HIGH0), 0);
    }
    check(0, 8 * 136_000);
    check(1, 8 * 32_768);
    check(2, 8 * 68_359);
}

#[test]
fn the_timers_alarm_fires_once() {
    let mut bench = bench();
    bench.write(INT_ENA_W1TS, INT_MAIN_TIMER);
    bench.write(SLP_TIMER0, 136_000);
    bench.write(SLP_TIMER1, SLP_TIMER1_MAIN_TIMER_ALARM_EN);
    bench.run_until(Ticks::from_millis(999));
    assert_eq!(bench.peripheral.interrupts(), 0);
    bench.run_until(Ticks::from_seconds(1));
    assert_eq!(
        (bench.peripheral.interrupts(), bench.read(INT_ST)),
        (1 << 27, INT_MAIN_TIMER)
    );
    bench.write(INT_CLR, INT_MAIN_TIMER);
    bench.run(Ticks::from_seconds(1));
    assert_eq!(bench.peripheral.interrupts(), 0);
}

#[test]
fn the_watchdog_bites_with_its_cause() {
    /// Stages 0 to 3 of 0.2 s (twice 13,600 cycles), 0.2, 0.3 and 0.4 s.
    fn check(actions: [u32; 4], flags: u32, expected: Option<(u64, ResetCause)>) {
        let mut bench = bench();
        bench.write(WDTWPROTECT, WATCHDOG_KEY);
        bench.write(WDTCONFIG0, 0);
        for (n, hold) in [13_600, 27_200, 40_800, 54_400].into_iter().enumerate() {
            bench.write(WDTCONFIG1 + 4 * n as u32, hold);
        }
        let [a, b, c, d] = actions;
        bench.write(
            WDTCONFIG0,
            1 << 31 | a << 28 | b << 25 | c << 22 | d << 19 | flags,
        );
        bench.run_until(Ticks::from_seconds(2));
        let bitten = bench
            .requests
            .reset
            .map(|cause| (bench.now.as_millis(), cause));
        assert_eq!(bitten, expected, "{actions:?}");
    }
    check([0; 4], 0, None);
    check([1; 4], 0, None);
    check([2, 0, 0, 0], 0, None);
    check(
        [2, 0, 0, 0],
        1 << 11,
        Some((200, ResetCause::CpuRtcWatchdog)),
    );
    check([1, 3, 0, 0], 0, Some((400, ResetCause::CoreRtcWatchdog)));
    check(
        [0, 0, 0, 4],
        0,
        Some((1_100, ResetCause::SystemRtcWatchdog)),
    );
}

#[test]
fn the_boot_loader_leaves_a_watchdog_that_must_be_taken_over() {
    let mut bench = bench();
    bench.write(WDTCONFIG0, 0);
    bench.write(WDTFEED, 1 << 31);
    bench.run_until(Ticks::from_seconds(20));
    assert_eq!(
        bench.requests.reset,
        Some(ResetCause::SystemRtcWatchdog),
        "the key was missing"
    );
    assert_eq!(bench.now, Ticks::from_seconds(9));
    let mut bench = self::bench();
    bench.write(WDTWPROTECT, WATCHDOG_KEY);
    bench.write(WDTCONFIG0, 0);
    bench.run_until(Ticks::from_seconds(20));
    assert_eq!(bench.requests.reset, None);
}

#[test]
fn the_super_watchdog_asks_then_bites() {
    fn check(key: u32, conf: u32, feed_every_millis: u64, expected: Option<u64>) {
        let mut bench = bench();
        bench.write(WDTWPROTECT, WATCHDOG_KEY);
        bench.write(WDTCONFIG0, 0);
        bench.write(SWD_WPROTECT, key);
        bench.write(SWD_CONF, conf);
        for _ in 0..5 {
            bench.run(Ticks::from_millis(feed_every_millis));
            if bench.requests.reset.is_some() {
                break;
            }
            bench.write(SWD_CONF, conf | 1 << 29);
        }
        let bitten = bench.requests.reset.map(|_| bench.now.as_millis());
        assert_eq!(bitten, expected, "{conf:#x}");
    }
    check(SUPER_WATCHDOG_KEY, 0, 2_000, Some(1_000));
    check(SUPER_WATCHDOG_KEY, 0, 900, None);
    check(SUPER_WATCHDOG_KEY, 1 << 30, 2_000, None);
    check(SUPER_WATCHDOG_KEY, 1 << 31, 2_000, None);
    // Protected: it goes on feeding itself.
    check(0, 0, 2_000, None);
}

#[test]
fn sleep_is_named_as_missing() {
    let mut bench = bench();
    bench.write(STATE0, STATE0_SLEEP_EN);
    let noted: Vec<String> = bench
        .unmodelled
        .iter()
        .map(|entry| entry.to_string())
        .collect();
    assert_eq!(noted, ["rtc_cntl: sleep: not modelled (pc 0x4200_0000)"]);
}
