//! CMD-3: requests that break the contract: the error that was promised, and nothing else.

use hil_runner::{Context, Outcome, ScenarioError, ensure, scenario};
use serde_json::{Value, json};

use crate::alarms::no_alarms;
use crate::contract::difference::differences;
use crate::contract::requests::{self, BadRequest};
use crate::controller::Controller;
use crate::http_client::Http;

/// The schedules that the device has room for.
const SCHEDULES_MAX: usize = 16;
/// Ids of schedules that bad requests name.
const NOT_SCHEDULED: [&str; 3] = ["bad", "worse", "never added"];
/// The one that must be there still.
const SCHEDULED: &str = "cmd-3";

/// Each request that breaks the contract gets the error that the contract promises for it, with the byte
/// where it breaks when it is no JSON. The device goes on: it answers the next one, does not reset, its
/// heap is what it was, to the byte, and nothing that a request could have changed is different.
#[scenario(id = "CMD-3", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "120 s", telemetry)]
async fn bad_requests_get_the_promised_error_and_change_nothing(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut cases = requests::listed("bad-1");
    cases.extend(requests::generated(context.rng(), "bad-2"));
    no_alarms(&controller).await?;
    add_schedule(&controller, SCHEDULED).await?;
    let result = async {
        let before = digest(&controller, http).await?;
        // Once for everything that is allocated on first use; only then the heap can be compared.
        refused(&controller, &cases).await?;
        let heap_before = controller.settled_memory().await?.heap.free;
        refused(&controller, &cases).await?;
        controller.command("get_status", "{}").await?;
        let heap_after = controller.settled_memory().await?.heap.free;
        context.expect_equal("free heap, bytes,", heap_before, heap_after)?;
        let changed = differences(&before, &digest(&controller, http).await?);
        ensure!(changed.is_empty(), "everything as it was"; "{}", changed.join("; "));
        Ok(())
    };
    let result = result.await;
    result.and(remove_schedule(&controller, SCHEDULED).await)?;
    context.measured("bad requests", cases.len() as f64, "requests");
    Ok(())
}

async fn refused(controller: &Controller, cases: &[BadRequest]) -> Outcome {
    for case in cases {
        let response = controller
            .request(&case.payload)
            .await
            .map_err(|error| error.note(format!("the request: {}", case.name)))?;
        if let Some(wrong) = case.misjudged(&response) {
            let at = case.at.map_or(String::new(), |at| format!(" at byte {at}"));
            return Err(ScenarioError::failure(
                format_args!("error `{}`{at} on {}", case.message, case.name),
                wrong,
            )
            .note(String::from_utf8_lossy(&case.payload)));
        }
    }
    Ok(())
}

/// Everything that a request could change. Asking makes it no different.
async fn digest(controller: &Controller, http: Http) -> Result<Value, ScenarioError> {
    let mut points = Vec::new();
    for point in 0..60 {
        let parameters = format!("{{\"point_id\":{point}}}");
        let mut data = controller.command("get_point", &parameters).await?.data;
        // Measured, not set.
        data["temp"] = Value::Null;
        points.push(data);
    }
    let alarms = controller.command("get_active_alarms", "{}").await?.data;
    let mut relays = Vec::new();
    for relay in 1..=8 {
        // Off each, unless a request has switched it: the answer tells.
        let parameters = format!(r#"{{"relay_id":{relay},"state":"OFF"}}"#);
        let data = controller.command("set_relay", &parameters).await?.data;
        relays.push(data["old_state"].clone());
    }
    // There is no list of schedules, but what is not there can't be removed.
    for id in NOT_SCHEDULED {
        let parameters = json!({"schedule_id": id}).to_string();
        let request = requests::request(id, "remove_schedule", &parameters);
        let message = controller.request(&request).await?.message;
        ensure!(
            message.as_deref().is_some_and(|m| m.starts_with("Unknown schedule")),
            "no schedule `{id}`"; "{message:?}"
        );
    }
    remove_schedule(controller, SCHEDULED).await?;
    add_schedule(controller, SCHEDULED).await?;
    let alarm_relay = controller.command("get_status", "{}").await?.data["alarm_relay"].clone();
    let configuration = http.get(controller, "/api/mqtt/config").await?.body;
    Ok(json!({
        "points": points,
        "alarms": alarms["total"],
        "relays": relays,
        "alarm relay": alarm_relay,
        "configuration": configuration,
    }))
}

/// There is room for sixteen schedules: one more is refused, and the sixteen stay; one removed makes room
/// for another.
#[scenario(id = "CMD-3", category = "commands", tags = ["nightly", "release"], timeout = "60 s")]
async fn one_schedule_too_many_is_refused(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let id = |number: usize| format!("full-{number}");
    let mut added = 0;
    let result = async {
        for number in 0..SCHEDULES_MAX {
            add_schedule(&controller, &id(number)).await?;
            added += 1;
        }
        for _ in 0..2 {
            let request = requests::request("one-more", "add_schedule", &schedule("one-more"));
            let response = controller.request(&request).await?;
            let message = response.message.as_deref().unwrap_or("no message");
            ensure!(
                !response.succeeded
                    && response.cmd_id == "one-more"
                    && message.starts_with("Schedule table full"),
                "`Schedule table full` for schedule {}", SCHEDULES_MAX + 1; "`{message}`"
            );
        }
        // One of the same name takes its place.
        add_schedule(&controller, &id(3)).await?;
        remove_schedule(&controller, &id(3)).await?;
        add_schedule(&controller, &id(3)).await
    };
    let result = result.await;
    let mut missing = Vec::new();
    for number in 0..added {
        if let Err(error) = remove_schedule(&controller, &id(number)).await {
            missing.push(error.to_string());
        }
    }
    result?;
    context.expect_equal("schedules that were gone", &Vec::<String>::new(), &missing)
}

fn schedule(id: &str) -> String {
    json!({
        "schedule_id": id, "schedule_type": "interval", "interval_seconds": 86_400,
        "command": "get_summary",
    })
    .to_string()
}

async fn add_schedule(controller: &Controller, id: &str) -> Outcome {
    controller
        .command("add_schedule", &schedule(id))
        .await
        .map(drop)
}

async fn remove_schedule(controller: &Controller, id: &str) -> Outcome {
    let parameters = json!({"schedule_id": id}).to_string();
    controller
        .command("remove_schedule", &parameters)
        .await
        .map(drop)
}
