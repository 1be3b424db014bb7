//! TEL-6: messages of all sizes, to the device and from it.

use std::collections::BTreeSet;
use std::time::Duration;

use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};
use serde_json::Value;

use crate::contract::requests::{self, REQUEST_BYTES_MAX};
use crate::contract::response::{COMMANDS, Command, Response};
use crate::contract::telemetry;
use crate::controller::Controller;

/// Sizes of requests, bytes: those of the guide, and the two on either side of the limit.
const SIZES: [usize; 7] = [1_023, 1_024, 1_025, 2_048, 4_096, 8_192, 16_384];
/// No message of the device is longer than its buffer, bytes.
const MESSAGE_BYTES_MAX: usize = 8_192;
/// Points at which alarms are raised: enough that they don't fit one response.
const ALARMS: u64 = 60;
/// Test alarms end by themselves after 10 s.
const ALARMS_OVER_AFTER: Duration = Duration::from_secs(12);

/// Requests up to the limit are carried out, longer ones refused as too large; the device goes on,
/// and its heap is as before.
#[scenario(id = "TEL-6", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s", telemetry)]
async fn requests_of_all_sizes_are_accepted_or_refused(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    // Once for everything that is allocated on first use; only then the heap can be compared.
    requests_of_all_sizes(context, &controller).await?;
    let before = controller.settled_memory().await?.heap.free;
    requests_of_all_sizes(context, &controller).await?;
    controller.command("get_status", "{}").await?;
    let after = controller.settled_memory().await?.heap.free;
    context.expect_equal("free heap, bytes,", before, after)?;
    let largest = SIZES
        .into_iter()
        .filter(|size| *size <= REQUEST_BYTES_MAX)
        .max();
    context.measured("largest request accepted", largest.unwrap_or(0) as f64, "B");
    Ok(())
}

async fn requests_of_all_sizes(context: &Context, controller: &Controller) -> Outcome {
    for size in SIZES {
        let cmd_id = format!("size-{size}");
        let mut request = requests::request(&cmd_id, "get_point", r#"{"point_id":7}"#);
        // White space is part of a request (RFC 8259, section 2), so it is counted.
        request.resize(size, b' ');
        let response = controller
            .request(&request)
            .await
            .map_err(|error| error.note(format!("the request: {size} bytes")))?;
        let message = response.message.as_deref().unwrap_or("no message");
        if size <= REQUEST_BYTES_MAX {
            ensure!(
                response.succeeded && response.cmd_id == cmd_id,
                "success for a request of {size} bytes"; "`{message}`"
            );
            context.expect_equal(
                "`point_id`",
                7,
                response.data["point_id"].as_i64().unwrap_or(-1),
            )?;
        } else {
            ensure!(
                !response.succeeded && message.starts_with("Request too large"),
                "`Request too large` for a request of {size} bytes"; "`{message}`"
            );
        }
    }
    Ok(())
}

/// The largest messages that the device makes arrive whole: all commands, pages of alarms,
/// telemetry.
#[scenario(id = "TEL-6", category = "telemetry", tags = ["nightly", "release"], timeout = "5 min")]
async fn the_largest_messages_arrive_whole(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let (help, size) = asked(&controller, "help", "{}").await?;
    whole(context, "help", size)?;
    context.expect_equal(
        "commands in `help`",
        COMMANDS.len(),
        help.data["commands"].as_array().map_or(0, Vec::len),
    )?;

    let alarms = alarms(context, &controller).await;
    controller.clock.sleep(ALARMS_OVER_AFTER).await;
    alarms?;

    let telemetry = controller.telemetry_messages(1).await?;
    for message in &telemetry {
        telemetry::parse(&message.payload, controller.device_id()).map_err(|violations| {
            ScenarioError::failure("a valid telemetry message", violations.join("; "))
        })?;
        whole(context, "telemetry", message.payload.len())?;
    }
    Ok(())
}

/// Raises alarms and reads them all, page by page.
async fn alarms(context: &Context, controller: &Controller) -> Outcome {
    let mut raised = BTreeSet::new();
    for point in 0..ALARMS {
        let parameters =
            format!(r#"{{"point_id":{point},"alarm_type":"HIGH_TEMP","test_value":95.0}}"#);
        let response = controller.command("test_alarm", &parameters).await?;
        raised.insert(alarm_id(&response.data));
    }
    let mut listed = Vec::new();
    let mut largest = 0;
    loop {
        let parameters = format!("{{\"offset\":{}}}", listed.len());
        let (page, size) = asked(controller, "get_active_alarms", &parameters).await?;
        let command = Command::named("get_active_alarms").map(|c| c.violations(&page.data));
        let violations = command.unwrap_or_default();
        ensure!(
            violations.is_empty(),
            "a whole page of alarms from {}", listed.len(); "{}", violations.join("; ")
        );
        largest = largest.max(size);
        let alarms = page.data["alarms"].as_array().cloned().unwrap_or_default();
        let total = page.data["total"].as_u64().unwrap_or_default();
        ensure!(
            !alarms.is_empty(),
            "{total} alarms"; "{}, and an empty page", listed.len()
        );
        listed.extend(alarms.iter().map(alarm_id));
        if listed.len() as u64 >= total {
            break;
        }
    }
    whole(context, "a page of alarms", largest)?;
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    ensure!(
        distinct.len() == listed.len() && raised.is_subset(&distinct),
        "the {} alarms that were raised, each once", raised.len();
        "{} on the pages, {} of them different", listed.len(), distinct.len()
    );
    Ok(())
}

fn alarm_id(alarm: &Value) -> String {
    alarm["alarm_id"].as_str().unwrap_or_default().to_owned()
}

/// The response to a command and its size, bytes. It may be a part of the whole, as a page is.
async fn asked(
    controller: &Controller,
    command: &str,
    parameters: &str,
) -> Result<(Response, usize), ScenarioError> {
    let request = requests::request("large", command, parameters);
    let (response, bytes) = controller.exchange(&request).await?;
    match &response.message {
        None => Ok((response, bytes)),
        Some(message) => Err(ScenarioError::failure(
            format_args!("an answer to `{command}`"),
            message,
        )),
    }
}

/// Notes the size of a message that was read whole.
fn whole(context: &Context, what: &str, bytes: usize) -> Outcome {
    context.measured(format_args!("{what}, size"), bytes as f64, "B");
    ensure!(
        bytes <= MESSAGE_BYTES_MAX,
        "{what} in at most {MESSAGE_BYTES_MAX} bytes"; "{bytes} bytes"
    );
    Ok(())
}
