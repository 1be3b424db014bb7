//! TEL-6: messages of all sizes, to the device and from it.

use std::collections::BTreeSet;

use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};
use serde_json::Value;

use crate::alarms::no_alarms;
use crate::contract::requests::{self, REQUEST_BYTES_MAX};
use crate::contract::response::{COMMANDS, Command, Response};
use crate::contract::telemetry;
use crate::controller::Controller;

/// Sizes of requests, bytes: those of the guide, and the two on either side of the limit.
const SIZES: [usize; 7] = [1_023, 1_024, 1_025, 2_048, 4_096, 8_192, 16_384];
/// No message of the device is longer than its buffer, bytes.
const MESSAGE_BYTES_MAX: usize = 8_192;
/// Sizes of messages that the device is made to send, bytes.
const SIZES_OUT: [usize; 3] = [1_024, 2_048, 4_096];
/// What cannot be had as one message, bytes.
const BEYOND_ALL_MESSAGES: usize = 16_384;
/// No alarm in a list is longer than this, bytes.
const ALARM_BYTES_MAX: usize = 300;
/// The longest `cmd_id` that a request has room for, beside the rest of it.
const ID_BYTES_MAX: usize = 900;

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

/// Messages of 1, 2 and 4 KiB arrive whole, and so does the longest that can be asked for.
/// More than 16 KiB of alarms come in pages, none of which is over the limit.
#[scenario(id = "TEL-6", category = "telemetry", tags = ["nightly", "release"], timeout = "5 min")]
async fn messages_of_all_sizes_arrive_whole(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let (help, size) = asked(&controller, "help", "help", "{}").await?;
    whole(context, "help", size)?;
    context.expect_equal(
        "commands in `help`",
        COMMANDS.len(),
        help.data["commands"].as_array().map_or(0, Vec::len),
    )?;

    no_alarms(&controller).await?;
    let sizes = sizes(context, &controller).await;
    no_alarms(&controller).await?;
    sizes?;

    for message in controller.telemetry_messages(1).await? {
        telemetry::parse(&message.payload, controller.device_id()).map_err(|violations| {
            ScenarioError::failure("a valid telemetry message", violations.join("; "))
        })?;
        whole(context, "telemetry", message.payload.len())?;
    }
    Ok(())
}

/// Raises alarms, and has them listed at each size.
async fn sizes(context: &Context, controller: &Controller) -> Outcome {
    let mut causes = ["HIGH_TEMP", "LOW_TEMP"]
        .into_iter()
        .flat_map(|kind| (0..60).map(move |point| (kind, point)));
    let mut raised = BTreeSet::new();
    let raise = async |(kind, point): (&str, u64)| {
        let parameters =
            format!(r#"{{"point_id":{point},"alarm_type":"{kind}","test_value":95.0}}"#);
        let response = controller.command("test_alarm", &parameters).await?;
        Ok::<String, ScenarioError>(alarm_id(&response.data))
    };
    for size in SIZES_OUT {
        let mut bytes = list(controller, "a", 0).await?.1;
        while bytes + ALARM_BYTES_MAX < size {
            let cause = causes.next().unwrap_or(("HIGH_TEMP", 0));
            raised.insert(raise(cause).await?);
            bytes = list(controller, "a", 0).await?.1;
        }
        // The rest is the id's, which the response repeats.
        let id = "a".repeat(size + 1 - bytes);
        let (page, bytes) = list(controller, &id, 0).await?;
        // The time on the device may have a digit more or fewer than before.
        ensure!(bytes.abs_diff(size) <= 2, "a response of {size} bytes"; "{bytes}");
        context.expect_equal("`cmd_id` repeated", &id, &page.cmd_id)?;
        context.expect_equal("alarms in it", raised.len(), alarm_ids(&page).len())?;
    }
    for cause in causes {
        raised.insert(raise(cause).await?);
    }
    let mut listed = Vec::new();
    let (mut largest, mut all) = (0, 0);
    let id = "a".repeat(ID_BYTES_MAX);
    loop {
        let (page, bytes) = list(controller, &id, listed.len()).await?;
        (largest, all) = (largest.max(bytes), all + bytes);
        let total = page.data["total"].as_u64().unwrap_or_default();
        let alarms = alarm_ids(&page);
        ensure!(
            !alarms.is_empty(),
            "{total} alarms"; "{}, and an empty page", listed.len()
        );
        listed.extend(alarms);
        if listed.len() as u64 >= total {
            break;
        }
    }
    whole(context, "the largest page of alarms", largest)?;
    ensure!(
        all > BEYOND_ALL_MESSAGES,
        "over {BEYOND_ALL_MESSAGES} bytes of alarms"; "{all} bytes"
    );
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    ensure!(
        distinct.len() == listed.len() && raised.is_subset(&distinct),
        "the {} alarms that were raised, each once", raised.len();
        "{} on the pages, {} of them different", listed.len(), distinct.len()
    );
    Ok(())
}

/// A whole page of the active alarms from `offset`, and its bytes.
async fn list(
    controller: &Controller,
    cmd_id: &str,
    offset: usize,
) -> Result<(Response, usize), ScenarioError> {
    let parameters = format!("{{\"offset\":{offset}}}");
    let (page, bytes) = asked(controller, cmd_id, "get_active_alarms", &parameters).await?;
    let command = Command::named("get_active_alarms").map(|c| c.violations(&page.data));
    let violations = command.unwrap_or_default();
    ensure!(
        violations.is_empty(),
        "a whole page of alarms from {offset}"; "{}", violations.join("; ")
    );
    Ok((page, bytes))
}

fn alarm_ids(page: &Response) -> Vec<String> {
    let alarms = page.data["alarms"].as_array();
    alarms.into_iter().flatten().map(alarm_id).collect()
}

fn alarm_id(alarm: &Value) -> String {
    alarm["alarm_id"].as_str().unwrap_or_default().to_owned()
}

/// The response to a command and its size, bytes. It may be a part of the whole, as a page is.
async fn asked(
    controller: &Controller,
    cmd_id: &str,
    command: &str,
    parameters: &str,
) -> Result<(Response, usize), ScenarioError> {
    let request = requests::request(cmd_id, command, parameters);
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
