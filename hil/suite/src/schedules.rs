//! INT-4: schedules: kept, on time, ended, and there again after a restart.

use std::time::Duration;

use hil_mqtt::Subscription;
use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};

use crate::controller::Controller;
use crate::figures::Durations;
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
    expect_kept(context, "schedule", &times)?;
    expect_end(&controller, &mut summaries).await
}

/// A schedule is there again after a restart, at its interval, and goes when it is removed.
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
    expect_kept(context, "schedule after a restart", &again)?;
    expect_end(&controller, &mut summaries).await
}

/// The runs at `times` keep the interval, one by one and on average; tells how well.
fn expect_kept(context: &Context, what: &str, times: &[Duration]) -> Outcome {
    let intervals: Vec<Duration> = times
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    let figures = Durations::of(intervals.iter().copied());
    figures.tell_spread(context, &format!("{what}, interval"));
    for interval in &intervals {
        context.expect_within("an interval of", INTERVAL, TOLERANCE, *interval)?;
    }
    let runs = u32::try_from(intervals.len()).unwrap_or(1);
    let mean = intervals.iter().sum::<Duration>() / runs;
    // One that counts from its last run instead of the grid is late by a little each time.
    context.expect_within("a mean interval of", INTERVAL, TOLERANCE / 10, mean)
}

/// Nothing comes from a schedule that was just removed.
async fn expect_end(controller: &Controller, summaries: &mut Subscription) -> Outcome {
    // One may have been on its way.
    controller.clock.sleep(Duration::from_secs(1)).await;
    while summaries.try_recv().is_some() {}
    controller
        .nothing_on(
            summaries,
            "no summary after the schedule was removed",
            INTERVAL * 3,
        )
        .await
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
