//! Whole runs on a bench without hardware: every verdict, retries, and every way to end early.
//!
//! Bench time is tokio's paused clock, so that nothing here waits.

mod stand_in;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use expect_test::{Expect, expect};
use hil_runner::{
    Cancel, Context, Journal, Occurrence, Order, Outcome, Plan, PrepareError, RunSettings,
    ScenarioError, Selection, catalogue, ensure, fail, scenario,
};
use stand_in::{Lines, StandInBench, StandInProduct, device_error, panic};

fn bench(context: &Context) -> &StandInBench {
    context.bench_as()
}

/// Passes.
#[scenario(id = "T-1", category = "commands", needs = ["mqtt", "power"])]
async fn passes(context: &mut Context) -> Outcome {
    context.note(format_args!("made ready {} times", context.state::<u32>()));
    context.expect_within(
        "a pulse of",
        Duration::from_secs(5),
        Duration::from_millis(200),
        Duration::from_millis(5_100),
    )
}

/// Fails.
#[scenario(id = "T-2", category = "commands")]
async fn fails(context: &mut Context) -> Outcome {
    context.expect_equal("status", "ok", "error")
}

/// Waits for ever.
#[scenario(id = "T-3", category = "commands", timeout = "5 s")]
async fn waits(context: &mut Context) -> Outcome {
    context.sleep(Duration::from_secs(3_600)).await;
    Ok(())
}

/// Panics.
#[scenario(id = "T-4", category = "commands")]
async fn panics(_context: &mut Context) -> Outcome {
    panic!("a bug in the suite")
}

/// The device panics, and the scenario did not notice.
#[scenario(id = "T-5", category = "commands")]
async fn device_panics(context: &mut Context) -> Outcome {
    bench(context).panics("index out of bounds");
    bench(context).sees(Occurrence::Reset {
        cause: "panic".into(),
        expected: false,
    });
    Ok(())
}

/// The device panics after the scenario's last word.
#[scenario(id = "T-5", category = "commands")]
async fn device_panics_late(context: &mut Context) -> Outcome {
    bench(context).sees_late(Occurrence::Crashed(panic("late")));
    Ok(())
}

/// The device resets, and the scenario waits for an answer for long.
#[scenario(id = "T-6", category = "commands", timeout = "24 h")]
async fn device_resets_and_is_silent(context: &mut Context) -> Outcome {
    bench(context).sees(Occurrence::Reset {
        cause: "software reset".into(),
        expected: false,
    });
    context.sleep(Duration::from_secs(3_600)).await;
    fail!("an answer"; "none");
}

/// The device resets, as it should.
#[scenario(id = "T-7", category = "stability")]
async fn device_resets_as_asked(context: &mut Context) -> Outcome {
    bench(context).sees(Occurrence::Reset {
        cause: "debugger".into(),
        expected: true,
    });
    let allowed = context.allow_resets();
    bench(context).sees(Occurrence::Reset {
        cause: "power on".into(),
        expected: false,
    });
    context.sleep(Duration::from_millis(1)).await;
    drop(allowed);
    Ok(())
}

/// The bench has a bad moment the first time.
#[scenario(id = "T-8", category = "connectivity")]
async fn bench_stumbles_once(context: &mut Context) -> Outcome {
    if *context.state::<u32>() == 1 {
        return Err(ScenarioError::infra(std::io::Error::other(
            "the serial port is gone",
        )));
    }
    Ok(())
}

/// The bench fails under the scenario each time.
#[scenario(id = "T-9", category = "connectivity")]
async fn bench_breaks(context: &mut Context) -> Outcome {
    bench(context).sees(Occurrence::Trouble {
        reason: "the probe is unplugged".into(),
    });
    context.sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Needs what nobody has.
#[scenario(id = "T-10", category = "security", needs = ["mqtt", "tls"])]
async fn needs_tls(_context: &mut Context) -> Outcome {
    fail!("not to be run"; "run");
}

/// Needs what the rig has not.
#[scenario(id = "T-10", category = "security", needs = ["relay"])]
async fn needs_relay(_context: &mut Context) -> Outcome {
    fail!("not to be run"; "run");
}

/// Reads telemetry and loses some.
#[scenario(id = "T-11", category = "telemetry", telemetry)]
async fn loses_telemetry(context: &mut Context) -> Outcome {
    lose(context);
    Ok(())
}

/// Loses telemetry and does not care.
#[scenario(id = "T-11", category = "telemetry")]
async fn loses_what_it_does_not_read(context: &mut Context) -> Outcome {
    lose(context);
    Ok(())
}

fn lose(context: &Context) {
    bench(context).sees(Occurrence::Lost {
        channel: "telemetry".into(),
        count: 3,
        detail: "sequence 4 to 8".into(),
    });
}

/// Ends in bench time that stands still.
#[scenario(id = "T-12", category = "stability", timeout = "30 s")]
async fn bench_time_stands_still(context: &mut Context) -> Outcome {
    context.sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Draws from the seed.
#[scenario(id = "T-13", category = "load")]
async fn draws(context: &mut Context) -> Outcome {
    use rand_chacha::rand_core::RngCore;
    let drawn = context.rng().next_u32();
    context.note(format_args!("drew {drawn}"));
    ensure!(drawn != 0, "a number"; "{drawn}");
    Ok(())
}

struct Case {
    bench: Arc<StandInBench>,
    product: Arc<StandInProduct>,
    settings: RunSettings,
    cancel: Cancel,
    lines: Lines,
}

impl Case {
    fn new() -> Self {
        Case::with(StandInProduct::new(|times, _| Ok(times)))
    }

    fn with(product: StandInProduct) -> Self {
        Case {
            bench: StandInBench::new(),
            product: Arc::new(product),
            settings: RunSettings {
                again: ("hil run".into(), "--seed 7".into()),
                seed: 7,
                ..RunSettings::default()
            },
            cancel: Cancel::new(),
            lines: Lines::default(),
        }
    }

    /// Runs the scenarios of these names, in this order. The bench must be let go of every time.
    async fn check(self, names: &[&str], exit: u8, expected: Expect) {
        let catalogue = catalogue();
        let scenarios = names
            .iter()
            .map(|name| {
                let selection = Selection {
                    names: vec![format!("{name}*")],
                    ..Selection::default()
                };
                let plan = Plan::new(&catalogue, &selection, Order::Catalogue);
                plan.scenarios
                    .into_iter()
                    .find(|scenario| scenario.name == *name)
                    .expect(name)
            })
            .collect();
        let journal = Journal::new(vec![Box::new(self.lines.clone())]);
        let bench = self.bench.clone();
        let summary = hil_runner::run(
            Plan { scenarios },
            self.bench,
            self.product,
            self.settings,
            self.cancel,
            journal,
        )
        .await;
        let lines = self.lines.lines.lock().unwrap().join("\n") + "\n";
        expected.assert_eq(&lines);
        assert_eq!(summary.exit_code().code(), exit, "{summary:?}");
        assert!(
            bench.closed.load(Ordering::SeqCst),
            "the rig was not released"
        );
    }
}

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
