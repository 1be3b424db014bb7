//! The verdict of each unit, what is tried again, and what is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use expect_test::expect;

use crate::Case;
use crate::stand_in::StandInProduct;

#[tokio::test(start_paused = true)]
async fn pass_and_fail() {
    Case::new()
        .check(
            &["passes", "fails"],
            1,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            passes#1 started
            passes#1 note: made ready 1 times
            passes#1 PASS -
            fails#1 started
            fails#1 FAIL expected status "ok", observed "error" <hil run T-2 --seed 7>
            1 passed, 1 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_fail_and_the_device_is_made_ready_again() {
    Case::new()
        .check(&["waits", "passes"], 1, expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            waits#1 started
            waits#1 FAIL expected the scenario to end within 5 s, observed still waiting then <hil run T-3 --seed 7>
            device_gets_ready#1 boot: ready, time 2
            passes#1 started
            passes#1 note: made ready 2 times
            passes#1 PASS -
            1 passed, 1 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]])
        .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_fail_the_device_is_made_ready_again() {
    Case::new()
        .check(
            &["fails", "passes"],
            1,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            fails#1 started
            fails#1 FAIL expected status "ok", observed "error" <hil run T-2 --seed 7>
            device_gets_ready#1 boot: ready, time 2
            passes#1 started
            passes#1 note: made ready 2 times
            passes#1 PASS -
            1 passed, 1 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_our_bug_and_is_not_retried() {
    Case::new().check(&["panics"], 3, expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        panics#1 started
        panics#1 INFRA the scenario panicked, which is a bug in the scenario, not in the firmware: a bug in the suite <hil run T-4 --seed 7>
        0 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_overrides_a_pass() {
    Case::new()
        .check(
            &["device_panics", "passes"],
            1,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            device_panics#1 started
            device_panics#1 panic: index out of bounds
            device_panics#1 reset: panic, expected false
            device_panics#1 CRASH panic: index out of bounds <hil run device_panics --seed 7>
            device_gets_ready#1 boot: ready, time 2
            passes#1 started
            passes#1 note: made ready 2 times
            passes#1 PASS -
            1 passed, 0 failed, 1 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_crash_counts_against_its_cause() {
    Case::new()
        .check(
            &["device_panics_late", "passes"],
            1,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            device_panics_late#1 started
            device_panics_late#1 panic: late
            device_panics_late#1 CRASH panic: late <hil run device_panics_late --seed 7>
            device_gets_ready#1 boot: ready, time 2
            passes#1 started
            passes#1 note: made ready 2 times
            passes#1 PASS -
            1 passed, 0 failed, 1 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_the_unit_soon() {
    let case = Case::new();
    let since = tokio::time::Instant::now();
    case.check(
        &["device_resets_and_is_silent"],
        1,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        device_resets_and_is_silent#1 started
        device_resets_and_is_silent#1 reset: software reset, expected false
        device_resets_and_is_silent#1 CRASH unexpected reset: software reset <hil run T-6 --seed 7>
        0 passed, 0 failed, 1 crashed, 0 infra, 0 blocked, 0 not run
    "#]],
    )
    .await;
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn allowed_resets_are_no_crash() {
    Case::new()
        .check(
            &["device_resets_as_asked"],
            0,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            device_resets_as_asked#1 started
            device_resets_as_asked#1 reset: debugger, expected true
            device_resets_as_asked#1 reset: power on, expected true
            device_resets_as_asked#1 PASS -
            1 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn infra_is_retried() {
    Case::new()
        .check(
            &["bench_stumbles_once"],
            0,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            bench_stumbles_once#1 started
            bench_stumbles_once#1 INFRA the serial port is gone (again) <hil run T-8 --seed 7>
            recovery: re-attach, helped true
            device_gets_ready#1 boot: ready, time 2
            bench_stumbles_once#2 started
            bench_stumbles_once#2 PASS -
            1 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn infra_is_retried_as_often_as_told() {
    let mut case = Case::new();
    case.settings.retries = 2;
    case.check(
        &["bench_breaks", "passes"],
        3,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        bench_breaks#1 started
        bench_breaks#1 trouble: the probe is unplugged
        bench_breaks#1 INFRA the probe is unplugged (again) <hil run T-9 --seed 7>
        recovery: re-attach, helped true
        device_gets_ready#1 boot: ready, time 2
        bench_breaks#2 started
        bench_breaks#2 trouble: the probe is unplugged
        bench_breaks#2 INFRA the probe is unplugged (again) <hil run T-9 --seed 7>
        recovery: re-attach, helped true
        device_gets_ready#1 boot: ready, time 3
        bench_breaks#3 started
        bench_breaks#3 trouble: the probe is unplugged
        bench_breaks#3 INFRA the probe is unplugged <hil run T-9 --seed 7>
        recovery: re-attach, helped true
        device_gets_ready#1 boot: ready, time 4
        passes#1 started
        passes#1 note: made ready 4 times
        passes#1 PASS -
        1 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn infra_without_retries() {
    let mut case = Case::new();
    case.settings.retries = 0;
    case.check(
        &["bench_stumbles_once"],
        3,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        bench_stumbles_once#1 started
        bench_stumbles_once#1 INFRA the serial port is gone <hil run T-8 --seed 7>
        0 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bench_that_does_not_recover_blocks_the_rest() {
    let case = Case::new();
    case.bench.recovers.store(false, Ordering::SeqCst);
    case.check(
        &["bench_breaks", "passes"],
        3,
        expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            bench_breaks#1 started
            bench_breaks#1 trouble: the probe is unplugged
            bench_breaks#1 INFRA the probe is unplugged (again) <hil run T-9 --seed 7>
            recovery: re-attach, helped false
            bench_breaks#2 INFRA the bench could not be brought back <hil run T-9 --seed 7>
            passes#1 BLOCKED the bench could not be brought back <hil run T-1 --seed 7>
            0 passed, 0 failed, 0 crashed, 1 infra, 1 blocked, 0 not run
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn unmet_needs_block() {
    Case::new()
        .check(
            &["needs_tls", "needs_relay", "passes"],
            0,
            expect![[r#"
            needs_tls#1 BLOCKED the broker speaks no TLS <hil run needs_tls --seed 7>
            needs_relay#1 BLOCKED the rig has no `relay` <hil run needs_relay --seed 7>
            device_gets_ready#1 boot: ready, time 1
            passes#1 started
            passes#1 note: made ready 1 times
            passes#1 PASS -
            1 passed, 0 failed, 0 crashed, 0 infra, 2 blocked, 0 not run
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_scenario_that_stopped_halfway_the_device_is_made_ready_again() {
    Case::new()
        .check(
            &["finds_itself_blocked", "passes"],
            0,
            expect![[r#"
                device_gets_ready#1 boot: ready, time 1
                finds_itself_blocked#1 started
                finds_itself_blocked#1 BLOCKED the device has no such command <hil run T-19 --seed 7>
                device_gets_ready#1 boot: ready, time 2
                passes#1 started
                passes#1 note: made ready 2 times
                passes#1 PASS -
                1 passed, 0 failed, 0 crashed, 0 infra, 1 blocked, 0 not run
            "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_but_unmet_needs_is_no_success() {
    Case::new()
        .check(
            &["needs_tls"],
            3,
            expect![[r#"
        needs_tls#1 BLOCKED the broker speaks no TLS <hil run needs_tls --seed 7>
        0 passed, 0 failed, 0 crashed, 0 infra, 1 blocked, 0 not run
    "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn lost_telemetry_is_no_pass_where_it_matters() {
    Case::new()
        .check(
            &["loses_telemetry", "loses_what_it_does_not_read"],
            3,
            expect![[r#"
                device_gets_ready#1 boot: ready, time 1
                loses_telemetry#1 started
                loses_telemetry#1 lost 3 on telemetry
                loses_telemetry#1 INFRA telemetry was lost, so nothing can be said: 3 on `telemetry` (sequence 4 to 8) (again) <hil run loses_telemetry --seed 7>
                recovery: re-attach, helped true
                device_gets_ready#1 boot: ready, time 2
                loses_telemetry#2 started
                loses_telemetry#2 lost 3 on telemetry
                loses_telemetry#2 INFRA telemetry was lost, so nothing can be said: 3 on `telemetry` (sequence 4 to 8) <hil run loses_telemetry --seed 7>
                recovery: re-attach, helped true
                device_gets_ready#1 boot: ready, time 3
                loses_what_it_does_not_read#1 started
                loses_what_it_does_not_read#1 lost 3 on telemetry
                loses_what_it_does_not_read#1 PASS -
                1 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
            "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_fixture_is_nobody_s_failure() {
    Case::new()
        .check(&["loses_touch", "needs_no_touch"], 3, expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            loses_touch#1 started
            loses_touch#1 note: the cable is pulled
            loses_touch#1 recovery: port, helped true
            loses_touch#1 INFRA the device's pins were out of reach, so nothing can be said: the cable is pulled; the cable is back (again) <hil run loses_touch --seed 7>
            recovery: re-attach, helped true
            device_gets_ready#1 boot: ready, time 2
            loses_touch#2 started
            loses_touch#2 note: the cable is pulled
            loses_touch#2 recovery: port, helped true
            loses_touch#2 INFRA the device's pins were out of reach, so nothing can be said: the cable is pulled; the cable is back <hil run loses_touch --seed 7>
            recovery: re-attach, helped true
            device_gets_ready#1 boot: ready, time 3
            needs_no_touch#1 started
            needs_no_touch#1 note: the cable is pulled
            needs_no_touch#1 recovery: port, helped true
            needs_no_touch#1 PASS -
            1 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
        "#]])
        .await;
}

#[tokio::test(start_paused = true)]
async fn bench_time_that_stands_still_is_ended_by_the_wall_clock() {
    let case = Case::with(StandInProduct::new(|times, bench| {
        bench.freeze();
        Ok(times)
    }));
    case.check(&["bench_time_stands_still"], 3, expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        bench_time_stands_still#1 started
        bench_time_stands_still#1 INFRA bench time stands still; given up after 2 min of wall time (again) <hil run T-12 --seed 7>
        recovery: re-attach, helped true
        device_gets_ready#1 boot: ready, time 2
        bench_time_stands_still#2 started
        bench_time_stands_still#2 INFRA bench time stands still; given up after 2 min of wall time <hil run T-12 --seed 7>
        0 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 0 not run
    "#]])
        .await;
}

#[tokio::test(start_paused = true)]
async fn chance_comes_from_the_seed_and_the_scenario_alone() {
    Case::new()
        .check(
            &["draws"],
            0,
            expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        draws#1 started
        draws#1 note: drew 560118751
        draws#1 PASS -
        1 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
    "#]],
        )
        .await;
    Case::new()
        .check(
            &["passes", "draws"],
            0,
            expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            passes#1 started
            passes#1 note: made ready 1 times
            passes#1 PASS -
            draws#1 started
            draws#1 note: drew 560118751
            draws#1 PASS -
            2 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
        "#]],
        )
        .await;
}
