//! Tests of `timg.rs`.

use super::*;
use crate::testing::Bench;

const EN: u32 = 1 << 31;
const UP: u32 = 1 << 30;
const RELOAD: u32 = 1 << 29;
const ALARM: u32 = 1 << 10;
const USE_XTAL: u32 = 1 << 9;

fn bench() -> Bench<Timg> {
    Bench::new(Timg::new(0))
}

fn value(bench: &mut Bench<Timg>) -> u64 {
    bench.write(T0UPDATE, 1 << 31);
    u64::from(bench.read(T0HI)) << 32 | u64::from(bench.read(T0LO))
}

fn load(bench: &mut Bench<Timg>, value: u64) {
    bench.write(T0LOADLO, value as u32);
    bench.write(T0LOADHI, (value >> 32) as u32);
    bench.write(T0LOAD, 1);
}

#[test]
fn reset_values_are_the_manuals() {
    let mut bench = bench();
    assert_eq!(bench.read(T0CONFIG), 0x6000_2000);
    assert_eq!(bench.read(WDTCONFIG0), 0x0004_C000);
    assert_eq!(bench.read(WDTWPROTECT), WATCHDOG_KEY);
    assert_eq!(bench.read(RTCCALICFG) & !(1 << 15), 0x0001_3000);
    assert_eq!(bench.read(0x24), 0);
    assert_eq!(bench.unmodelled.len(), 1);
}

#[test]
fn the_timer_counts_its_divided_clock() {
    /// Value after a second from `start`.
    fn check(config: u32, start: u64, expected: u64) {
        let mut bench = bench();
        load(&mut bench, start);
        bench.write(T0CONFIG, config);
        bench.run(Ticks::from_seconds(1));
        assert_eq!(value(&mut bench), expected, "{config:#x} from {start}");
    }
    check(UP | 2 << 13, 5, 5);
    check(EN | UP | 2 << 13, 0, 40_000_000);
    check(EN | UP | 1 << 13, 0, 40_000_000);
    check(EN | UP | 1 << 13 | USE_XTAL, 0, 20_000_000);
    check(EN | UP | 80 << 13, 7, 1_000_007);
    check(EN | UP, 0, 80_000_000 / 65_536);
    check(EN | 80 << 13, 1_000_001, 1);
    check(EN | 80 << 13, 0, VALUE_MASK - 999_999);
    check(EN | UP | 80 << 13, VALUE_MASK, 999_999);
}

#[test]
fn the_alarm_fires_once_at_its_value() {
    fn check(config: u32, start: u64, alarm: u64, expected_micros: u64) {
        let mut bench = bench();
        load(&mut bench, start);
        bench.write(INT_ENA, 1);
        bench.write(T0ALARMLO, alarm as u32);
        bench.write(T0ALARMHI, (alarm >> 32) as u32);
        bench.write(T0CONFIG, config | 80 << 13);
        let due = bench.peripheral.next_event().expect("an alarm");
        assert_eq!(
            due,
            Ticks::from_micros(expected_micros),
            "{config:#x} {start} {alarm}"
        );
        if due > Ticks::ZERO {
            bench.run_until(Ticks(due.0 - 1));
            assert_eq!(bench.peripheral.interrupts(), 0);
        }
        bench.run_until(due);
        assert_eq!(
            (bench.peripheral.interrupts(), bench.read(INT_ST)),
            (1 << 32, 1)
        );
        assert_eq!(
            bench.read(T0CONFIG) & ALARM,
            0,
            "the alarm switches itself off"
        );
        assert_eq!(bench.peripheral.next_event(), None);
        bench.write(INT_CLR, 1);
        assert_eq!(bench.peripheral.interrupts(), 0);
    }
    check(EN | UP | ALARM, 0, 1_000, 1_000);
    check(EN | UP | ALARM, 990, 1_000, 10);
    check(EN | UP | ALARM, 1_000, 1_000, 0);
    check(EN | UP | ALARM, 2_000, 1_000, 0);
    check(EN | ALARM, 2_000, 500, 1_500);
    check(EN | UP | ALARM, 1 << 33, (1 << 33) + 3, 3);
}

#[test]
fn autoreload_loses_no_time() {
    let mut bench = bench();
    bench.write(T0ALARMLO, 100);
    bench.write(T0CONFIG, EN | UP | RELOAD | ALARM | 80 << 13);
    // Polled 7 us late.
    bench.now = Ticks::from_micros(107);
    bench.run(Ticks(0));
    assert_eq!(value(&mut bench), 7);
    let config = bench.read(T0CONFIG);
    bench.write(T0CONFIG, config | ALARM);
    assert_eq!(bench.peripheral.next_event(), Some(Ticks::from_micros(200)));
}

#[test]
fn the_bus_clock_may_change() {
    let mut bench = bench();
    bench.write(T0CONFIG, EN | UP | 80 << 13);
    bench.run(Ticks::from_millis(1));
    bench.peripheral.set_apb(12, bench.now);
    bench.run(Ticks::from_millis(1));
    assert_eq!(value(&mut bench), 1_500);
}

#[test]
fn the_watchdog_bites_with_its_cause() {
    fn check(group: usize, stages: u32, expected: Option<(u64, ResetCause)>) {
        let mut bench = Bench::new(Timg::new(group));
        bench.write(WDTCONFIG1, 40_000 << 16); // 0.5 ms a count
        for (offset, hold) in [(0x50, 100), (0x54, 200), (0x58, 400), (0x5C, 800)] {
            bench.write(offset, hold);
        }
        bench.write(WDTCONFIG0, 1 << 31 | stages << 23 | 1 << 22);
        bench.run_until(Ticks::from_seconds(2));
        let bitten = bench
            .requests
            .reset
            .map(|cause| (bench.now.as_millis(), cause));
        assert_eq!(bitten, expected, "stages {stages:#b}");
    }
    check(0, 0b00_00_00_00, None);
    check(0, 0b01_01_01_01, None);
    check(0, 0b11_00_00_00, Some((50, ResetCause::CoreWatchdog0)));
    check(1, 0b11_00_00_00, Some((50, ResetCause::CoreWatchdog1)));
    check(0, 0b10_00_00_00, Some((50, ResetCause::CpuWatchdog0)));
    check(1, 0b01_10_00_00, Some((150, ResetCause::CpuWatchdog1)));
    check(0, 0b01_00_00_11, Some((750, ResetCause::CoreWatchdog0)));
}

#[test]
fn a_fed_watchdog_does_not_bite() {
    let mut bench = bench();
    bench.write(WDTCONFIG1, 40_000 << 16);
    bench.write(WDTCONFIG2, 100);
    bench.write(WDTCONFIG0, 1 << 31 | 0b01_11 << 27);
    for _ in 0..10 {
        bench.run(Ticks::from_millis(49));
        bench.write(WDTFEED, 1);
    }
    assert_eq!((bench.read(INT_RAW), bench.requests.reset), (0, None));
    bench.write(WDTWPROTECT, 0);
    bench.run(Ticks::from_millis(49));
    bench.write(WDTFEED, 1);
    bench.write(WDTCONFIG0, 0);
    bench.run(Ticks::from_millis(2));
    assert_eq!(
        bench.read(INT_RAW),
        INT_WDT,
        "the key was taken away, so it was not fed"
    );
}

#[test]
fn calibration_takes_its_time_and_counts_the_crystal() {
    fn check(clock: u32, cycles: u32, expected_micros: u64, expected: u32) {
        let mut bench = bench();
        bench.write(RTCCALICFG, clock << 13 | cycles << 16);
        bench.write(RTCCALICFG, clock << 13 | cycles << 16 | 1 << 31);
        assert_eq!(bench.read(RTCCALICFG) & 1 << 15, 0, "not yet");
        bench.run(Ticks::from_micros(expected_micros));
        assert_eq!(bench.read(RTCCALICFG) & 1 << 15, 0, "not yet");
        bench.run(Ticks::from_micros(1));
        assert_ne!(bench.read(RTCCALICFG) & 1 << 15, 0);
        assert_eq!(bench.read(RTCCALICFG1) >> 7, expected);
    }
    check(0, 1024, 7_529, 301_176);
    check(1, 100, 1_462, 58_514);
}

#[test]
fn calibrating_a_crystal_that_is_not_there_times_out() {
    let mut bench = bench();
    bench.write(RTCCALICFG2, 400 << 7);
    bench.write(RTCCALICFG, 2 << 13 | 10 << 16);
    bench.write(RTCCALICFG, 2 << 13 | 10 << 16 | 1 << 31);
    bench.run(Ticks::from_micros(9));
    assert_eq!(bench.read(RTCCALICFG2) & 1, 0);
    bench.run(Ticks::from_micros(1));
    assert_eq!(
        (
            bench.read(RTCCALICFG2) & 1,
            bench.read(RTCCALICFG) & 1 << 15
        ),
        (1, 0)
    );
}

#[test]
fn a_core_reset_stops_timer_and_watchdog() {
    let mut bench = bench();
    bench.write(WDTCONFIG0, 1 << 31 | 3 << 29);
    bench.peripheral.reset(ResetKind::Cpu);
    assert!(bench.peripheral.next_event().is_some());
    bench.peripheral.reset(ResetKind::Core);
    assert_eq!(bench.peripheral.next_event(), None);
}
