//! STAB-1: memory over equal cycles of work.

use std::time::Duration;

use firmware_wire::ControlBody;
use hil_memory::{Cycle, Limits, judge};
use hil_runner::{Context, Outcome, ResultExt as _, ensure, scenario};

use crate::controller::Controller;

/// Equal cycles of work; two more than can be judged, for the warm-up.
const CYCLES: usize = 10;
/// Rounds of every command in a cycle.
const ROUNDS: usize = 2;
/// While this runs, memory is sampled this often.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// The interval the device boots with.
const USUAL_INTERVAL: Duration = Duration::from_secs(1);

/// Heap, fragmentation and stack after equal cycles of commands: no trend, no drop, no limit passed.
#[scenario(id = "STAB-1", category = "stability", tags = ["smoke", "nightly", "release"], timeout = "10 min", telemetry)]
async fn memory_is_stable_over_equal_cycles(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    sample_every(&controller, SAMPLE_INTERVAL).await?;
    let mut cycles = Vec::new();
    for _ in 0..CYCLES {
        cycles.push(cycle(&controller).await?);
    }
    sample_every(&controller, USUAL_INTERVAL).await?;
    let rig = controller.limits();
    let limits = Limits {
        heap_drop_bytes: rig.heap_drop_bytes,
        fragmentation_percent: f64::from(rig.fragmentation_percent),
        heap_free_min_bytes: rig.heap_free_min_bytes,
        ..Limits::default()
    };
    let stability = judge(&cycles, &limits).infra("judge the cycles")?;
    let findings: Vec<String> = stability.findings.iter().map(ToString::to_string).collect();
    context.measured("heap trend", stability.heap_trend.slope, "B/cycle");
    ensure!(
        stability.is_stable(),
        "stable memory over {} equal cycles", stability.cycles_judged;
        "{}", findings.join("; ")
    );
    Ok(())
}

async fn cycle(controller: &Controller) -> Result<Cycle, hil_runner::ScenarioError> {
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        controller.every_command().await?;
        samples.push(controller.next_memory().await?);
    }
    Cycle::of(&samples)
        .ok_or_else(|| hil_runner::ScenarioError::failure("memory samples in each cycle", "none"))
}

async fn sample_every(controller: &Controller, interval: Duration) -> Outcome {
    let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    controller
        .control(ControlBody::SetTelemetryInterval { interval_ms })
        .await
}
