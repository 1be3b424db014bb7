//! CMD: requests and their answers.

use std::collections::BTreeSet;

use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};

use crate::contract::requests::{self, BadRequest};
use crate::contract::response::{COMMANDS, Command, Response};
use crate::controller::{Controller, expect_json};

/// `help` names every command of the contract that the firmware has.
#[scenario(id = "CMD-1", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "30 s")]
async fn help_lists_every_command(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let response = controller.command("help", "{}").await?;
    let listed: BTreeSet<&str> = response.data["commands"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["command"].as_str())
        .collect();
    let expected: BTreeSet<&str> = COMMANDS.iter().map(|command| command.name).collect();
    context.expect_equal("the commands", expected, listed)
}

/// `get_status` is answered with the id that was asked with, and says what the bench knows: the
/// boot count and an open session.
#[scenario(id = "CMD-1", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "30 s")]
async fn get_status_answers_with_the_right_id(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let response = controller.command("get_status", "{}").await?;
    let boot_count = u64::from(controller.hello()?.boot_count);
    expect_json(
        context,
        "`boot_count`",
        boot_count,
        &response.data["boot_count"],
    )?;
    expect_json(
        context,
        "`mqtt_connected`",
        true,
        &response.data["mqtt_connected"],
    )
}

/// `get_point` answers for each of the 60 points, and for the one that was asked.
#[scenario(id = "CMD-1", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "60 s")]
async fn get_point_answers_for_every_point(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    for id in 0..60_u64 {
        let response = controller
            .command("get_point", &format!("{{\"point_id\":{id}}}"))
            .await?;
        expect_json(context, "`point_id`", id, &response.data["point_id"])?;
        let name = format!("Point_{id}");
        expect_json(context, "`name`", name.as_str(), &response.data["name"])?;
    }
    Ok(())
}

/// `get_summary` agrees with itself: as many points as there are, the lowest below the highest.
#[scenario(id = "CMD-1", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "30 s")]
async fn get_summary_answers_for_all_points(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let data = controller.command("get_summary", "{}").await?.data;
    expect_json(context, "`total_points`", 60_u64, &data["total_points"])?;
    let (low, high) = (data["min_temp"].as_f64(), data["max_temp"].as_f64());
    ensure!(low <= high, "`min_temp` at most `max_temp`"; "{low:?} and {high:?}");
    Ok(())
}

/// Every response has the fields, types and enumerations of its schema.
#[scenario(id = "CMD-2", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "60 s")]
async fn every_response_keeps_its_schema(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    for (command, response) in controller.every_command().await? {
        no_violations(command, &response)?;
    }
    Ok(())
}

fn no_violations(command: &Command, response: &Response) -> Outcome {
    let violations = command.violations(&response.data);
    ensure!(
        violations.is_empty(),
        "the schema of `{}` kept", command.name; "{}", violations.join("; ")
    );
    Ok(())
}

/// Each request that breaks the contract gets the error that the contract promises for it, and
/// the device goes on: it answers the next one, does not reset, and its heap is as before.
#[scenario(id = "CMD-3", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "120 s", telemetry)]
async fn bad_requests_get_the_promised_error(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut cases = requests::listed("bad-1");
    cases.extend(requests::generated(context.rng(), "bad-2"));
    // Once for everything that is allocated on first use; only then the heap can be compared.
    refused(&controller, &cases).await?;
    let before = controller.settled_memory().await?.heap.free;
    refused(&controller, &cases).await?;
    controller.command("get_status", "{}").await?;
    let after = controller.settled_memory().await?.heap.free;
    let tolerance = controller.limits().heap_drop_bytes;
    ensure!(
        before.saturating_sub(after) <= tolerance,
        "free heap as before ({before} bytes), within {tolerance} bytes"; "{after} bytes"
    );
    context.measured("bad requests", cases.len() as f64, "requests");
    Ok(())
}

async fn refused(controller: &Controller, cases: &[BadRequest]) -> Outcome {
    for case in cases {
        let response = controller
            .request(&case.payload)
            .await
            .map_err(|error| error.note(format!("the request: {}", case.name)))?;
        promised(case, &response)?;
    }
    Ok(())
}

fn promised(case: &BadRequest, response: &Response) -> Result<(), ScenarioError> {
    let message = response.message.as_deref().unwrap_or("no message");
    let kept =
        !response.succeeded && response.cmd_id == case.cmd_id && message.starts_with(&case.message);
    ensure!(
        kept,
        "error `{}…` for cmd_id `{}` on {}", case.message, case.cmd_id, case.name;
        "`{message}` for cmd_id `{}`", response.cmd_id
    );
    Ok(())
}

/// `set_threshold` moves the threshold that was named, of the point that was named, and no other;
/// `get_point` then shows it.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "60 s")]
async fn set_threshold_moves_the_threshold_that_was_named(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let before = thresholds(&controller, 58).await?;
    let result = async {
        for (point, side, value) in [(57, "high", 71.5), (57, "low", -11.5)] {
            threshold(&controller, point, side, value).await?;
            let moved = thresholds(&controller, point).await?;
            expect_json(
                context,
                &format!("`{side}` of point {point}"),
                value,
                &moved[side],
            )?;
        }
        context.expect_equal(
            "the thresholds of point 58",
            &before,
            &thresholds(&controller, 58).await?,
        )
    };
    let result = result.await;
    threshold(&controller, 57, "high", 85.0).await?;
    threshold(&controller, 57, "low", -20.0).await?;
    result
}

/// An error response keeps its schema too: it says what is wrong, and has no data.
#[scenario(id = "CMD-2", category = "commands", tags = ["nightly", "release"], timeout = "30 s")]
async fn an_error_response_keeps_its_schema(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let request = requests::request("cmd-2-error", "no_such_command", "{}");
    let response = controller.request(&request).await?;
    context.expect_equal("success", false, response.succeeded)?;
    context.expect_equal("`cmd_id`", "cmd-2-error", response.cmd_id.as_str())?;
    ensure!(
        response.message.as_deref().is_some_and(|message| !message.is_empty()),
        "a `message`"; "{:?}", response.message
    );
    Ok(())
}

/// A request that is refused changes nothing on the device.
#[scenario(id = "CMD-3", category = "commands", tags = ["nightly", "release"], timeout = "30 s")]
async fn a_refused_request_changes_nothing(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let before = thresholds(&controller, 56).await?;
    // Below the low threshold.
    let parameters = r#"{"point_id":56,"threshold_type":"high","value":-40.0,"hysteresis":2.0}"#;
    let request = requests::request("cmd-3-refused", "set_threshold", parameters);
    let response = controller.request(&request).await?;
    context.expect_equal("success", false, response.succeeded)?;
    context.expect_equal(
        "the thresholds as before",
        &before,
        &thresholds(&controller, 56).await?,
    )
}

async fn threshold(controller: &Controller, point: u8, side: &str, value: f64) -> Outcome {
    let parameters = format!(
        r#"{{"point_id":{point},"threshold_type":"{side}","value":{value:.1},"hysteresis":2.0}}"#
    );
    controller
        .command("set_threshold", &parameters)
        .await
        .map(drop)
}

async fn thresholds(
    controller: &Controller,
    point: u8,
) -> Result<serde_json::Value, ScenarioError> {
    let parameters = format!("{{\"point_id\":{point}}}");
    let data = controller.command("get_point", &parameters).await?.data;
    Ok(data["thresholds"].clone())
}
