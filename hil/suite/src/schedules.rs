//! INT-4: schedules: kept, on time, ended, and there again after a restart.

use std::time::Duration;

use hil_mqtt::Subscription;
use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};

use crate::controller::Controller;
use crate::power::restart;

const INTERVAL_S: u64 = 10;
const INTERVAL: Duration = Duration::from_secs(INTERVAL_S);
/// How far one run of a schedule may be off.
const TOLERANCE: Duration = Duration::from_millis(250);
/// Runs that are looked at.
const RUNS: usize = 8;

/// A schedule publishes the summary at its interval, run by run and on average; removed, it stops.
#[scenario(id = "INT-4", category = "integration", tags = ["nightly", "release"], timeout = "5 min")]
async fn a_schedule_keeps_its_interval_until_it_is_removed(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut summaries = controller.subscribe("telemetry/summary").await?;
    add(&controller, "int-4").await?;
    let times = times(&controller, &mut summaries).await;
    let removed = remove(&controller, "int-4").await;
    let times = times?;
    removed?;
    for pair in times.windows(2) {
        let interval = pair[1].saturating_sub(pair[0]);
        context.expect_within("an interval of", INTERVAL, TOLERANCE, interval)?;
    }
    let runs = u32::try_from(times.len() - 1).unwrap_or(1);
    let mean = times[times.len() - 1].saturating_sub(times[0]) / runs;
    context.measured("schedule, mean interval", mean.as_secs_f64(), "s");
    // One that counts from its last run instead of the grid is late by a little each time.
    context.expect_within("a mean interval of", INTERVAL, TOLERANCE / 10, mean)?;
    // One may have been on its way.
    controller.clock.sleep(Duration::from_secs(1)).await;
    while summaries.try_recv().is_some() {}
    controller
        .nothing_on(
            &mut summaries,
            "no summary after the schedule was removed",
            INTERVAL * 3,
        )
        .await
}

/// A schedule is there again after a restart, and goes when it is removed.
#[scenario(id = "INT-4", category = "integration", tags = ["nightly", "release"], timeout = "5 min")]
async fn a_schedule_survives_a_restart(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    add(&controller, "kept").await?;
    // Whatever is to be kept is kept by then.
    controller.clock.sleep(Duration::from_secs(2)).await;
    restart(context, &controller).await?;
    let mut summaries = controller.subscribe("telemetry/summary").await?;
    let again = times(&controller, &mut summaries).await;
    let removed = remove(&controller, "kept").await;
    let again = again?;
    removed?;
    ensure!(again.len() == RUNS, "{RUNS} runs after the restart"; "{}", again.len());
    Ok(())
}

async fn add(controller: &Controller, id: &str) -> Outcome {
    let parameters = format!(
        r#"{{"schedule_id":"{id}","schedule_type":"interval","interval_seconds":{INTERVAL_S},"command":"get_summary"}}"#
    );
    controller
        .command("add_schedule", &parameters)
        .await
        .map(drop)
}

async fn remove(controller: &Controller, id: &str) -> Outcome {
    let parameters = format!(r#"{{"schedule_id":"{id}"}}"#);
    controller
        .command("remove_schedule", &parameters)
        .await
        .map(drop)
}

/// When each of the next runs was, as far as the messages tell.
async fn times(
    controller: &Controller,
    summaries: &mut Subscription,
) -> Result<Vec<Duration>, ScenarioError> {
    let mut times = vec![];
    for _ in 0..RUNS {
        let (at, summary) = controller
            .next_json(summaries, "a summary by the schedule", INTERVAL * 2)
            .await?;
        // A summary carries its fields itself or as a member; it must have them somewhere.
        ensure!(
            summary.to_string().contains("total_points"),
            "a telemetry summary"; "{summary}"
        );
        times.push(at);
    }
    Ok(times)
}
