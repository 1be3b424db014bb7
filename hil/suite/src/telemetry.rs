//! TEL: what the device publishes by itself.

use std::time::Duration;

use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};

use crate::contract::telemetry::{self, EQUAL_READINGS_MAX, Temperatures};
use crate::controller::{Controller, Received};
use crate::figures::Durations;

/// The age that a message's timestamp may have when it arrives.
const AGE_MAX: Duration = Duration::from_secs(5);

/// Every message is whole: timestamp, points, ranges, status, summary against points; the sequence
/// has no gaps, and no point stands still while the stimulus moves.
#[scenario(id = "TEL-1", category = "telemetry", tags = ["smoke", "nightly", "release"], timeout = "30 min", needs = ["sensors:60", "sensor-bus"])]
async fn every_telemetry_message_is_valid(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut messages = Vec::new();
    for message in controller
        .telemetry_messages(EQUAL_READINGS_MAX + 2)
        .await?
    {
        messages.push(valid(&controller, &message)?);
    }
    let violations = telemetry::series_violations(&messages);
    ensure!(
        violations.is_empty(),
        "{} messages in sequence, every point moving", messages.len();
        "{}", violations.join("; ")
    );
    Ok(())
}

fn valid(controller: &Controller, message: &Received) -> Result<Temperatures, ScenarioError> {
    let read =
        telemetry::parse(&message.payload, controller.device_id()).map_err(|violations| {
            ScenarioError::failure("a valid telemetry message", violations.join("; "))
        })?;
    let age = message.wall_time - read.timestamp;
    ensure!(
        age.unsigned_abs() <= AGE_MAX,
        "a timestamp of at most {} s age", AGE_MAX.as_secs();
        "{:.1} s", age.as_seconds_f64()
    );
    ensure!(read.points.len() == 60, "60 points"; "{}", read.points.len());
    ensure!(
        (4_000..=5_500).contains(&message.payload.len()),
        "a message of 4,000 to 5,500 bytes"; "{} bytes", message.payload.len()
    );
    Ok(read)
}

/// Messages come at the configured interval, each within the rig's tolerance.
#[scenario(id = "TEL-3", category = "telemetry", tags = ["smoke", "nightly", "release"], timeout = "15 min")]
async fn telemetry_keeps_its_interval(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let expected = controller.telemetry_interval();
    let tolerance = expected * u32::from(controller.limits().telemetry_tolerance_percent) / 100;
    let messages = controller.telemetry_messages(7).await?;
    let intervals: Vec<Duration> = messages
        .windows(2)
        .map(|pair| pair[1].bench_time.saturating_sub(pair[0].bench_time))
        .collect();
    Durations::of(intervals.iter().copied()).tell_spread(context, "telemetry interval");
    for interval in intervals {
        context.expect_within("an interval of", expected, tolerance, interval)?;
    }
    Ok(())
}
