//! Getting the device ready, and every way a run ends before its plan does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use expect_test::expect;
use hil_runner::PrepareError;

use crate::Case;
use crate::stand_in::{StandInProduct, device_error};

#[tokio::test(start_paused = true)]
async fn fail_fast_ends_the_run() {
    let mut case = Case::new();
    case.settings.fail_fast = true;
    case.check(
        &["fails", "passes"],
        1,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        fails#1 started
        fails#1 FAIL expected status "ok", observed "error" <hil run T-2 --seed 7>
        0 passed, 1 failed, 0 crashed, 0 infra, 0 blocked, 1 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_never_connects_fails() {
    Case::with(StandInProduct::new(|_, _| {
        Err(device_error(
            "MQTT connected within 30 s",
            "link up, no session",
        ))
    }))
    .check(&["passes", "fails"], 1, expect![[r#"
        device_gets_ready#1 FAIL expected MQTT connected within 30 s, observed link up, no session <hil run --seed 7>
        passes#1 BLOCKED the device did not get ready: expected MQTT connected within 30 s, observed link up, no session <hil run T-1 --seed 7>
        fails#1 BLOCKED the device did not get ready: expected MQTT connected within 30 s, observed link up, no session <hil run T-2 --seed 7>
        0 passed, 1 failed, 0 crashed, 0 infra, 2 blocked, 0 not run
    "#]])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_hangs_at_boot_fails() {
    let mut product = StandInProduct::new(|times, _| Ok(times));
    product.hangs = true;
    Case::with(product)
        .check(&["passes"], 1, expect![[r#"
            device_gets_ready#1 FAIL expected the device to get ready within 2 min, observed still not ready then <hil run --seed 7>
            passes#1 BLOCKED the device did not get ready: expected the device to get ready within 2 min, observed still not ready then <hil run T-1 --seed 7>
            0 passed, 1 failed, 0 crashed, 0 infra, 1 blocked, 0 not run
        "#]])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_panics_at_boot_crashes_and_is_tested_if_it_comes_up() {
    Case::with(StandInProduct::new(|times, bench| {
        bench.panics("no configuration");
        Ok(times)
    }))
    .check(
        &["passes"],
        1,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        device_gets_ready#1 panic: no configuration
        device_gets_ready#1 CRASH panic: no configuration <hil run --seed 7>
        passes#1 started
        passes#1 note: made ready 1 times
        passes#1 PASS -
        1 passed, 0 failed, 1 crashed, 0 infra, 0 blocked, 0 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn trouble_while_getting_ready_is_retried() {
    Case::with(StandInProduct::new(|times, _| match times {
        1 => Err(PrepareError::Infra {
            reason: "flash verify failed".into(),
        }),
        _ => Ok(times),
    }))
    .check(
        &["passes"],
        0,
        expect![[r#"
        device_gets_ready#1 INFRA flash verify failed (again) <hil run --seed 7>
        recovery: re-attach, helped true
        device_gets_ready#2 boot: ready, time 2
        passes#1 started
        passes#1 note: made ready 2 times
        passes#1 PASS -
        1 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 0 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_ends_the_run_as_configuration() {
    let reason = "port 1883 on 127.0.0.1 is taken; free it, or name another with `--broker`";
    Case::with(StandInProduct::new(move |_, _| {
        Err(PrepareError::Configuration {
            reason: reason.into(),
        })
    }))
    .check(&["passes"], 2, expect![[r#"
        device_gets_ready#1 trouble: port 1883 on 127.0.0.1 is taken; free it, or name another with `--broker`
        0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 1 not run
    "#]])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_to_stop_cancels_the_unit_and_ends_in_order() {
    let case = Case::new();
    let cancel = case.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.request("Ctrl-C");
    });
    case.check(
        &["passes", "waits", "fails"],
        130,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        passes#1 started
        passes#1 note: made ready 1 times
        passes#1 PASS -
        waits#1 started
        interrupted: Ctrl-C
        waits#1 cancelled: Ctrl-C
        1 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 2 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_to_stop_before_the_start() {
    let case = Case::new();
    case.cancel.request("Ctrl-C");
    case.check(
        &["passes"],
        130,
        expect![[r#"
        interrupted: Ctrl-C
        0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 1 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_runs_time_limit() {
    let mut case = Case::new();
    case.settings.deadline = Some(Duration::from_secs(3));
    case.check(
        &["waits", "passes"],
        3,
        expect![[r#"
        device_gets_ready#1 boot: ready, time 1
        waits#1 started
        waits#1 cancelled: the run's time limit of 3 s is reached
        0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 2 not run
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_the_run_in_order() {
    let mut case = Case::new();
    case.lines.full_after = Some(3);
    let product = case.product.clone();
    let since = tokio::time::Instant::now();
    case.check(
        &["waits", "passes"],
        3,
        expect![[r#"
            device_gets_ready#1 boot: ready, time 1
        "#]],
    )
    .await;
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "the unit was not ended: {:?}",
        since.elapsed()
    );
    assert!(product.finished.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_bench_that_stops_ends_the_run() {
    Case::with(StandInProduct::new(|times, bench| {
        bench.stops();
        Ok(times)
    }))
    .check(
        &["passes"],
        3,
        expect![[r#"
            device_gets_ready#1 boot: ready, time 1
            device_gets_ready#1 trouble: the bench stopped by itself
            device_gets_ready#1 INFRA the bench stopped by itself <hil run --seed 7>
            0 passed, 0 failed, 0 crashed, 1 infra, 0 blocked, 1 not run
        "#]],
    )
    .await;
}
