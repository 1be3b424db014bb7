//! STAB-4: what each consumer of memory has taken at most, and what happens when there is no more.
//!
//! The budgets are the rig file's, and below what there is of each: a consumer that fills its buffer is
//! found before it overflows it. What is read are high-water marks and counts since a boot: a frame of
//! telemetry that is lost on the way hides nothing.

use std::time::Duration;

use firmware_wire::{ControlBody, Fault, MemorySample};
use hil_mqtt::Qos;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::json;

use crate::contract::requests;
use crate::controller::Controller;
use crate::http_client::Http;
use crate::power::restart;
use crate::security::{Tls, back_to_work, wait_unreachable};
use crate::ways::Ways;

/// Rounds of every command.
const ROUNDS: usize = 4;
/// Requests that are under way at once, so that their answers wait in the outbox.
const AT_ONCE: usize = 12;
/// The longest body that the HTTP server reads, bytes (contract of `POST`, in `docs/controller.md`).
const BODY_BYTES: usize = 2_000;
/// What is left of the heap, bytes: no TLS session has room in it beside the reserve of 10 KiB (contract,
/// "Memory and stability").
const LEFT_BYTES: u32 = 64 * 1_024;
/// How much less may be free: what allocations are rounded up by.
const LEFT_TOLERANCE_BYTES: u32 = 256;

/// After all kinds of work since a boot, a TLS session, full HTTP requests and the longest messages among
/// them, no consumer of memory has ever had more than its budget.
#[scenario(id = "STAB-4", category = "stability", tags = ["nightly", "release"], timeout = "5 min", needs = ["embedded-broker"])]
async fn every_consumer_keeps_its_memory_budget(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    // What was done before has left its marks.
    restart(context, &controller).await?;
    let worked = work(context, &controller).await;
    worked.and(back_to_work(&controller).await)?;
    let sample = controller.settled_memory().await?;
    let heap = &sample.heap;
    // Without TLS, the network has nothing on the heap.
    let application = heap.size - heap.free;
    let network = (heap.size - heap.free_min).saturating_sub(application);
    let stack = sample.stacks.iter().map(|stack| stack.used_max).max();
    let (buffers, budget) = (&sample.buffers, controller.budget());
    let consumers = [
        ("network", network, budget.network_bytes),
        ("application", application, budget.application_bytes),
        ("stack", stack.unwrap_or(u32::MAX), budget.stack_bytes),
        ("MQTT packets", buffers.mqtt_used_max, budget.mqtt_bytes),
        ("JSON", buffers.json_used_max, budget.json_bytes),
        (
            "queued messages",
            buffers.outbox_used_max,
            budget.outbox_bytes,
        ),
        ("HTTP", buffers.http_used_max, budget.http_bytes),
    ];
    let mut over = vec![];
    for (consumer, used, budget) in consumers {
        context.measured(format_args!("{consumer}, at most"), f64::from(used), "B");
        context.measured(format_args!("{consumer}, budget"), f64::from(budget), "B");
        if used > budget {
            over.push(format!("{consumer}: {used} of {budget} bytes"));
        }
    }
    ensure!(over.is_empty(), "every consumer of memory within its budget"; "{}", over.join("; "));
    let unused: Vec<&str> = consumers
        .iter()
        .filter(|(consumer, used, _)| *used == 0 && *consumer != "application")
        .map(|(consumer, ..)| *consumer)
        .collect();
    ensure!(unused.is_empty(), "every consumer at work"; "nothing was used by {unused:?}");
    context.expect_equal("allocations that failed", 0, heap.failed)
}

/// All kinds of work.
async fn work(context: &Context, controller: &Controller) -> Outcome {
    for _ in 0..ROUNDS {
        controller.every_command().await?;
    }
    at_once(controller).await?;
    // A telemetry message, the longest there is.
    controller.telemetry_messages(1).await?;
    let http = Http::of(context, controller)?;
    let unknown = json!({"no_such_field": "x".repeat(BODY_BYTES)}).to_string();
    for _ in 0..ROUNDS {
        for path in ["/api/mqtt/config", "/api/mqtt/status"] {
            let answer = http.get(controller, path).await?;
            context.expect_equal(format_args!("status of GET {path}"), 200, answer.status)?;
        }
        let answer = http.post(controller, "/api/mqtt/config", &unknown).await?;
        context.expect_equal("status of a long POST", 400, answer.status)?;
    }
    let mut ways = Ways::of(context);
    let tls = Tls::new(controller).await?;
    let _broker = tls.send_behind(controller).await?;
    ways.until_connected(controller).await?;
    controller.every_command().await.map(drop)
}

/// Requests all at once.
async fn at_once(controller: &Controller) -> Outcome {
    let mut responses = controller.responses().await;
    let _in_flight = controller.clock.in_flight();
    let topic = controller.topic("command/request");
    for number in 0..AT_ONCE {
        let request = requests::request(&format!("at-once-{number}"), "get_status", "{}");
        controller
            .client
            .publish(&topic, request, Qos::AtLeastOnce, false)
            .await
            .infra("publish a request")?;
    }
    let all = async {
        for _ in 0..AT_ONCE {
            responses.recv().await;
        }
    };
    controller
        .clock
        .timeout(Duration::from_secs(10), all)
        .await
        .failure("all answers")
}

/// With too little memory left for a TLS session and the reserve, the device refuses the session, counts
/// that, says why, and works on: nothing fails, nothing crashes.
#[scenario(id = "STAB-4", category = "stability", tags = ["nightly", "release"], timeout = "3 min", needs = ["embedded-broker"])]
async fn too_little_memory_is_refused_not_crashed_into(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    if !controller.hello()?.test_hooks {
        return Err(ScenarioError::blocked(
            "the firmware was built without `test-hooks`; run again with `--features test-hooks`",
        ));
    }
    let before = controller.settled_memory().await?;
    let refused = refused(&controller).await;
    back_to_work(&controller).await?;
    let works = controller.every_command().await;
    let all = Fault::FillHeap {
        leave_bytes: u32::MAX,
    };
    controller.control(ControlBody::Inject(all)).await?;
    let sample = refused?;
    works?;
    let after = controller.settled_memory().await?.heap.free;
    context.expect_equal("free heap, bytes, afterwards,", before.heap.free, after)?;
    context.measured("free heap, when refused", f64::from(sample.heap.free), "B");
    ensure!(
        sample.heap.refused > before.heap.refused,
        "the refusal counted"; "{} before, {} after", before.heap.refused, sample.heap.refused
    );
    context.expect_equal(
        "allocations that failed",
        before.heap.failed,
        sample.heap.failed,
    )
}

/// Leaves too little memory, asks for a TLS session, and returns how the memory then is.
async fn refused(controller: &Controller) -> Result<MemorySample, ScenarioError> {
    let tls = Tls::new(controller).await?;
    let leave = Fault::FillHeap {
        leave_bytes: LEFT_BYTES,
    };
    controller.control(ControlBody::Inject(leave)).await?;
    let free = controller.settled_memory().await?.heap.free;
    let left = LEFT_BYTES - LEFT_TOLERANCE_BYTES..=LEFT_BYTES;
    ensure!(left.contains(&free), "{left:?} bytes of the heap left"; "{free}");
    let _broker = tls.send_behind(controller).await?;
    wait_unreachable(controller, "too little memory for TLS").await?;
    controller.settled_memory().await
}
