//! What is run: scenarios that pass, fail, and meet whatever can happen.

use std::time::Duration;

use hil_runner::{Context, Occurrence, Outcome, Recovered, ScenarioError, ensure, fail, scenario};

use crate::stand_in::{StandInBench, panic};

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

/// Finds in the middle that it can't go on.
#[scenario(id = "T-19", category = "commands")]
async fn finds_itself_blocked(_context: &mut Context) -> Outcome {
    Err(ScenarioError::blocked("the device has no such command"))
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

/// Watches relays and is out of touch with them for a while.
#[scenario(id = "T-11", category = "integration", needs = ["power"])]
async fn loses_touch(context: &mut Context) -> Outcome {
    lose_touch(context);
    Err(ScenarioError::failure("the contact to close", "nothing"))
}

/// Has nothing to do with pins.
#[scenario(id = "T-11", category = "integration")]
async fn needs_no_touch(context: &mut Context) -> Outcome {
    lose_touch(context);
    Ok(())
}

fn lose_touch(context: &Context) {
    bench(context).sees(Occurrence::Outage {
        reason: "the cable is pulled".into(),
        recovered: None,
    });
    bench(context).sees(Occurrence::Outage {
        reason: "the cable is back".into(),
        recovered: Some(Recovered {
            measure: "port".into(),
            helped: true,
            detail: "opened".into(),
        }),
    });
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
