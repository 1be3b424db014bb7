//! TEL-5: retained messages, the bench's own and the device's.

use std::time::Duration;

use firmware_wire::{ControlBody, Hello, ResetReason};
use hil_bench::Bench;
use hil_mqtt::{Client, Message, Qos, Subscription};
use hil_runner::{Context, Outcome, PrepareError, ResultExt as _, ScenarioError, ensure, scenario};

use crate::contract::requests;
use crate::controller::{Controller, client_gone, expect_json};
use crate::gate::Gate;
use crate::power::restart;
use crate::product;
use crate::ways::Ways;

/// How long a message may take to be delivered.
const DELIVERED_WITHIN: Duration = Duration::from_secs(10);
/// After this, a message that has not come does not come.
const SILENCE: Duration = Duration::from_secs(1);

/// A retained message reaches a late subscriber with the retain flag set and an early one without;
/// an empty payload removes it.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "60 s")]
async fn retained_messages_are_kept_until_removed(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let _in_flight = controller.clock.in_flight();
    let topic = controller.topic("bench/retained");
    let mut early = controller.subscribe("bench/retained").await?;
    publish(&controller, &topic, "first").await?;
    publish(&controller, &topic, "second").await?;
    for expected in ["first", "second"] {
        let message = delivered(&controller, &mut early).await?;
        expect_message(
            context,
            "to an early subscriber",
            &message,
            (expected, false),
        )?;
    }
    // The last of them, to a client that was not there before.
    let late = controller.connect("late").await?;
    let mut kept = subscribe(&late, &topic).await?;
    let message = delivered(&controller, &mut kept).await?;
    expect_message(context, "to a late subscriber", &message, ("second", true))?;
    expect_silence(&controller, &mut kept, "after the retained message").await?;

    publish(&controller, &topic, "").await?;
    let message = delivered(&controller, &mut kept).await?;
    expect_message(context, "of the removal", &message, ("", false))?;
    let later = controller.connect("later").await?;
    let mut removed = subscribe(&later, &topic).await?;
    expect_silence(&controller, &mut removed, "once the message is removed").await
}

/// After a reset the device's own retained topics are those of the new boot: one boot more, the
/// reason it said over RTT, and `online` after the `offline` of its will.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s")]
async fn a_restart_shows_in_the_retained_topics(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let _in_flight = controller.clock.in_flight();
    let before = controller.hello()?.boot_count;
    let mut boots = live(&controller, "state/boot").await?;
    let mut states = live(&controller, "state/connection").await?;
    {
        let _allowed = context.allow_resets();
        product::boot(&controller, context.bench_as::<Bench>(), context.emit())
            .await
            .map_err(not_started)?;
    }
    let hello = controller.hello()?;
    context.expect_equal("the boot count over RTT", before + 1, hello.boot_count)?;
    // Only once the new ones are there can it be known what is retained.
    expect_boot(context, &delivered(&controller, &mut boots).await?, &hello)?;
    for expected in ["offline", "online"] {
        let message = delivered(&controller, &mut states).await?;
        context.expect_equal("state/connection", expected, &*message.text())?;
    }
    let boot = controller.retained("state/boot").await?;
    expect_boot_payload(context, &boot.payload, &hello)?;
    let connection = controller.retained("state/connection").await?;
    context.expect_equal(
        "retained state/connection",
        "online",
        connection.text().as_str(),
    )
}

/// A device whose connection ends without DISCONNECT leaves `offline` to late subscribers, and
/// takes it back when it returns.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s")]
async fn a_lost_device_leaves_its_will(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut gate = controller.gate().await?;
    let mut ways = Ways::of(context);
    let keep_alive_s = controller.provision.broker.keep_alive_s;
    controller.send_to(gate.port(), keep_alive_s).await?;
    let result = async {
        ways.until_connected(&controller).await?;
        left(context, &controller, &mut gate, &mut ways).await
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

async fn left(
    context: &Context,
    controller: &Controller,
    gate: &mut Gate,
    ways: &mut Ways,
) -> Outcome {
    let _in_flight = controller.clock.in_flight();
    // Answered: what it said when it connected is at the broker.
    controller.command("get_status", "{}").await?;
    let mut states = live(controller, "state/connection").await?;
    gate.shut().await;
    let will = delivered(controller, &mut states).await?;
    expect_message(context, "of the will", &will, ("offline", false))?;
    let kept = controller.retained("state/connection").await?;
    context.expect_equal("retained while it is away", "offline", kept.text().as_str())?;
    gate.reopen().await.infra("open the gate again")?;
    ways.until_connected(controller).await?;
    let back = delivered(controller, &mut states).await?;
    expect_message(context, "of the return", &back, ("online", false))?;
    let kept = controller.retained("state/connection").await?;
    context.expect_equal("retained when it is back", "online", kept.text().as_str())
}

/// A broker that has ended, started anew and forgotten everything has the device's retained topics again
/// as soon as the device is back.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s", needs = ["embedded-broker"])]
async fn a_broker_that_forgot_all_has_the_retained_topics_again(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut ways = Ways::of(context);
    let broker = controller.start_broker(0).await?;
    let port = broker.port();
    controller
        .send_to(port, controller.provision.broker.keep_alive_s)
        .await?;
    let result = async {
        ways.until_connected(&controller).await?;
        broker.stop().await.infra("stop the broker")?;
        let anew = controller.start_broker(port).await?;
        ways.until_connected(&controller).await?;
        let there = controller
            .elsewhere(&anew, controller.base_topic.clone())
            .await?;
        // Answered: what it says when it connects is at the broker.
        there.command("get_status", "{}").await?;
        let boot = there.retained("state/boot").await?;
        expect_boot_payload(context, &boot.payload, &controller.hello()?)?;
        let connection = there.retained("state/connection").await?;
        context.expect_equal(
            "retained state/connection",
            "online",
            connection.text().as_str(),
        )
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

/// A request that the broker has retained is carried out when it is published, and not once more when
/// the device subscribes anew.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s")]
async fn a_retained_request_is_not_carried_out_again(context: &mut Context) -> Outcome {
    const REQUEST: &str = "command/request";
    let controller = context.state::<Controller>();
    controller.relays_off().await?;
    let mut events = controller.subscribe("event/relay").await?;
    let request = requests::request("retained", "set_relay", r#"{"relay_id":3,"state":"ON"}"#);
    let result = async {
        controller
            .client
            .publish(&controller.topic(REQUEST), request, Qos::AtLeastOnce, true)
            .await
            .infra("publish a retained request")?;
        let what = "relay 3 to switch by a request just published";
        let (_, event) = controller
            .next_json(&mut events, what, DELIVERED_WITHIN)
            .await?;
        expect_json(context, "`state`", "ON", &event["state"])?;
        // All relays are off at boot.
        restart(context, &controller).await?;
        let mut responses = controller.responses().await;
        controller.clock.sleep(SILENCE).await;
        ensure!(
            responses.try_recv().is_none() && events.try_recv().is_none(),
            "no answer to a retained request, and no event"; "one of them"
        );
        drop(responses);
        let off = r#"{"relay_id":3,"state":"OFF"}"#;
        let data = controller.command("set_relay", off).await?.data;
        expect_json(
            context,
            "relay 3 after the restart",
            "OFF",
            &data["old_state"],
        )
    };
    let result = result.await;
    // To the device, the removal is a request of nothing: it is answered.
    let undone = async {
        let mut responses = controller.responses().await;
        controller.forget(REQUEST).await?;
        let answered = controller
            .clock
            .timeout(DELIVERED_WITHIN, responses.recv())
            .await;
        drop(responses);
        answered.failure("an answer to a request of nothing")?;
        controller.relays_off().await
    };
    result.and(undone.await)
}

/// With the retain flag configured, the latest temperatures reach a late subscriber, retained; without it
/// the next are not kept, and what was kept stays until it is removed.
#[scenario(id = "TEL-5", category = "telemetry", tags = ["nightly", "release"], timeout = "120 s")]
async fn telemetry_is_retained_as_configured(context: &mut Context) -> Outcome {
    const TOPIC: &str = "telemetry/temperature";
    let controller = context.state::<Controller>();
    let mut ways = Ways::of(context);
    let mut provision = controller.provision.clone();
    provision.telemetry_interval_s = 2;
    provision.retain_telemetry = true;
    let result = async {
        controller
            .control(ControlBody::Provision(provision.clone()))
            .await?;
        ways.until_connected(&controller).await?;
        let live = sequence(&controller.telemetry_messages(2).await?[1].payload)?;
        let kept = sequence(&controller.retained(TOPIC).await?.payload)?;
        ensure!(
            (live..=live + 1).contains(&kept),
            "the latest message retained, sequence {live} or the next"; "{kept}"
        );

        provision.retain_telemetry = false;
        ways.seen()?;
        controller
            .control(ControlBody::Provision(provision))
            .await?;
        ways.until_connected(&controller).await?;
        // One more may have been kept before the change.
        let kept = sequence(&controller.retained(TOPIC).await?.payload)?;
        let live = sequence(&controller.telemetry_messages(2).await?[1].payload)?;
        ensure!(live > kept, "newer messages than {kept}"; "{live}");
        let still = sequence(&controller.retained(TOPIC).await?.payload)?;
        context.expect_equal("the sequence of what was retained before", kept, still)
    };
    let result = result.await;
    let undone = async {
        controller.send_back(&mut ways).await?;
        controller.forget(TOPIC).await
    };
    result.and(undone.await)?;
    // What comes now, if anything, is live.
    let mut removed = controller.subscribe(TOPIC).await?;
    controller.clock.sleep(SILENCE).await;
    let kept = std::iter::from_fn(|| removed.try_recv()).filter(|message| message.retain);
    context.expect_equal("retained messages once they are removed", 0, kept.count())
}

/// The number of a telemetry message.
fn sequence(payload: &[u8]) -> Result<u64, ScenarioError> {
    let message: serde_json::Value =
        serde_json::from_slice(payload).failure("telemetry in JSON")?;
    message["sequence"]
        .as_u64()
        .ok_or_else(|| ScenarioError::failure("a `sequence`", message["sequence"].to_string()))
}

/// Messages of the device's topic `name` from now on; the one that is retained is taken out.
async fn live(controller: &Controller, name: &str) -> Result<Subscription, ScenarioError> {
    let mut subscription = controller.subscribe(name).await?;
    let message = delivered(controller, &mut subscription).await?;
    ensure!(
        message.retain,
        "a retained message on `{name}` first"; "`{}`, not retained", message.text()
    );
    Ok(subscription)
}

async fn delivered(
    controller: &Controller,
    subscription: &mut Subscription,
) -> Result<Message, ScenarioError> {
    let filter = subscription.filter().to_string();
    controller
        .clock
        .timeout(DELIVERED_WITHIN, subscription.recv())
        .await
        .failure(format_args!("a message on `{filter}`"))?
        .ok_or_else(client_gone)
}

async fn expect_silence(
    controller: &Controller,
    subscription: &mut Subscription,
    when: &str,
) -> Outcome {
    match controller.clock.timeout(SILENCE, subscription.recv()).await {
        Err(_) => Ok(()),
        Ok(message) => {
            let message = message.ok_or_else(client_gone)?;
            Err(ScenarioError::failure(
                format_args!("no message {when}"),
                format_args!("`{}`, retain {}", message.text(), message.retain),
            ))
        }
    }
}

/// `expected`: payload and retain flag.
fn expect_message(
    context: &Context,
    which: &str,
    message: &Message,
    expected: (&str, bool),
) -> Outcome {
    let observed = (&*message.text(), message.retain);
    context.expect_equal(
        format_args!("payload and retain flag {which}"),
        expected,
        observed,
    )
}

fn expect_boot(context: &Context, message: &Message, hello: &Hello) -> Outcome {
    expect_boot_payload(context, &message.payload, hello)
}

/// A message of `state/boot` is of the boot that `hello` tells of.
pub(crate) fn expect_boot_payload(context: &Context, payload: &[u8], hello: &Hello) -> Outcome {
    let said: serde_json::Value = serde_json::from_slice(payload).failure("JSON on state/boot")?;
    expect_json(context, "`event` on state/boot", "boot", &said["event"])?;
    expect_json(
        context,
        "`count` on state/boot",
        hello.boot_count,
        &said["count"],
    )?;
    let reason = reason_word(hello.reset_reason);
    expect_json(context, "`reason` on state/boot", reason, &said["reason"])
}

/// The word that `state/boot` has for a reason.
fn reason_word(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::PowerOn => "power-on",
        ResetReason::Software => "software",
        ResetReason::Panic => "panic",
        ResetReason::Watchdog => "watchdog",
        ResetReason::SuperWatchdog => "super-watchdog",
        ResetReason::BrownOut => "brown-out",
        ResetReason::DeepSleep => "deep-sleep",
        ResetReason::Usb => "usb",
        ResetReason::Other(_) => "other",
    }
}

fn not_started(error: PrepareError) -> ScenarioError {
    match error {
        PrepareError::Device(failure) => ScenarioError::Failure(failure),
        PrepareError::Infra { reason } => ScenarioError::Infra { reason },
        PrepareError::Configuration { reason } => ScenarioError::blocked(reason),
    }
}

async fn publish(controller: &Controller, topic: &str, payload: &'static str) -> Outcome {
    controller
        .client
        .publish(topic, payload, Qos::AtLeastOnce, true)
        .await
        .infra("publish a retained message")
        .map(drop)
}

async fn subscribe(client: &Client, topic: &str) -> Result<Subscription, ScenarioError> {
    client
        .subscribe(topic, Qos::AtLeastOnce)
        .await
        .infra("subscribe late")
}
