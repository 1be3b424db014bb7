//! INT-3: relays: what the device says it switched, and what the contact did.

use std::time::Duration;

use hil_bench::fixture::{RelayEdges, Relays};
use hil_mqtt::Subscription;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::Value;

use crate::alarms::no_alarms;
use crate::controller::{Controller, expect_json};

/// A contact moves some milliseconds after its coil.
const MOVED_WITHIN: Duration = Duration::from_secs(2);
/// A message that a command causes.
const SOON: Duration = Duration::from_secs(5);
/// How exact a relay's timer is.
const TIMER_TOLERANCE: Duration = Duration::from_millis(200);

/// Each relay switches on and off: response, event and contact agree.
#[scenario(id = "INT-3", category = "integration", tags = ["nightly", "release"], timeout = "3 min", needs = ["relays"])]
async fn every_relay_switches_its_contact(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let relays = relays(context)?;
    let mut scene = Scene::of(&controller, &relays).await?;
    for relay in 1..=relays.count() {
        for (state, closed) in [("ON", true), ("OFF", false)] {
            let data = switch(&controller, relay, state, 0).await?;
            expect_answer(context, &data, relay, (!closed, closed))?;
            scene.moved(context, relay, closed, "command", SOON).await?;
        }
    }
    Ok(())
}

/// ON with a duration switches back after as many seconds, and says so with the cause `timer`.
#[scenario(id = "INT-3", category = "integration", tags = ["nightly", "release"], timeout = "2 min", needs = ["relays"])]
async fn relay_switches_back_after_its_duration(context: &mut Context) -> Outcome {
    const DURATION_S: u64 = 5;
    let controller = context.state::<Controller>();
    let relays = relays(context)?;
    let mut scene = Scene::of(&controller, &relays).await?;
    let data = switch(&controller, 1, "ON", DURATION_S).await?;
    expect_answer(context, &data, 1, (false, true))?;
    expect_json(context, "`duration`", DURATION_S, &data["duration"])?;
    let closed = scene.moved(context, 1, true, "command", SOON).await?;
    let limit = Duration::from_secs(DURATION_S) + SOON;
    let opened = scene.moved(context, 1, false, "timer", limit).await?;
    let held = opened.saturating_sub(closed);
    context.measured("contact closed for", held.as_secs_f64(), "s");
    context.expect_within(
        "relay 1 closed for",
        Duration::from_secs(DURATION_S),
        TIMER_TOLERANCE,
        held,
    )
}

/// TOGGLE switches to the other state each time; an order for the state that is already there is no
/// event.
#[scenario(id = "INT-3", category = "integration", tags = ["nightly", "release"], timeout = "2 min", needs = ["relays"])]
async fn toggle_switches_to_the_other_state(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let relays = relays(context)?;
    let mut scene = Scene::of(&controller, &relays).await?;
    for closed in [true, false, true, false] {
        let data = switch(&controller, 1, "TOGGLE", 0).await?;
        expect_answer(context, &data, 1, (!closed, closed))?;
        scene.moved(context, 1, closed, "command", SOON).await?;
    }
    let data = switch(&controller, 1, "OFF", 0).await?;
    expect_answer(context, &data, 1, (false, false))?;
    controller
        .nothing_on(
            &mut scene.events,
            "no event for a relay that stays off",
            SOON,
        )
        .await?;
    let seen = scene.edges.seen();
    ensure!(seen.is_empty(), "no move of a contact"; "{seen:?}");
    Ok(())
}

/// The relay that follows the alarms closes with the first alarm that nobody has acknowledged, and
/// opens when it is acknowledged: events with the cause `alarm`, and the contact.
#[scenario(id = "INT-3", category = "integration", tags = ["nightly", "release"], timeout = "3 min", needs = ["relays"])]
async fn the_alarm_relay_follows_the_alarms(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let relays = relays(context)?;
    no_alarms(&controller).await?;
    let mut scene = Scene::of(&controller, &relays).await?;
    controller
        .command("set_config", r#"{"alarm_relay":1}"#)
        .await?;
    let result = async {
        let parameters = r#"{"point_id":8,"alarm_type":"HIGH_TEMP","test_value":120.5}"#;
        let alarm = controller.command("test_alarm", parameters).await?.data;
        scene.moved(context, 1, true, "alarm", SOON).await?;
        let parameters = format!("{{\"alarm_id\":{}}}", alarm["alarm_id"]);
        controller.command("acknowledge_alarm", &parameters).await?;
        scene.moved(context, 1, false, "alarm", SOON).await
    };
    let result = result.await;
    let undone = async {
        controller
            .command("set_config", r#"{"alarm_relay":0}"#)
            .await?;
        controller.relays_off().await?;
        // The next measurement ends the alarm.
        no_alarms(&controller).await
    };
    result.map(drop).and(undone.await)
}

/// The response to `set_relay` names the relay, and its states before and after.
fn expect_answer(context: &Context, data: &Value, relay: u8, closed: (bool, bool)) -> Outcome {
    expect_json(context, "`relay_id`", relay, &data["relay_id"])?;
    expect_json(context, "`old_state`", name(closed.0), &data["old_state"])?;
    expect_json(context, "`new_state`", name(closed.1), &data["new_state"])
}

/// What is listened to while relays move.
struct Scene<'c> {
    controller: &'c Controller,
    relays: &'c Relays,
    edges: RelayEdges,
    events: Subscription,
}

impl<'c> Scene<'c> {
    async fn of(controller: &'c Controller, relays: &'c Relays) -> Result<Self, ScenarioError> {
        let events = controller.subscribe("event/relay").await?;
        Ok(Self {
            controller,
            relays,
            edges: relays.watch().await.infra("watch the contacts")?,
            events,
        })
    }

    /// The contact of `relay` has moved, the event says so, and nothing else does. When it moved.
    async fn moved(
        &mut self,
        context: &Context,
        relay: u8,
        closed: bool,
        cause: &str,
        limit: Duration,
    ) -> Result<Duration, ScenarioError> {
        let what = format!("an event of relay {relay}");
        let (_, event) = self
            .controller
            .next_json(&mut self.events, &what, limit)
            .await?;
        expect_json(context, "`relay_id`", u64::from(relay), &event["relay_id"])?;
        expect_json(context, "`state`", name(closed), &event["state"])?;
        expect_json(context, "`cause`", cause, &event["cause"])?;
        ensure!(event["timestamp"].is_string(), "a `timestamp`"; "{event}");
        let edge = self
            .controller
            .clock
            .timeout(MOVED_WITHIN, self.edges.next())
            .await
            .failure(format_args!(
                "the contact of relay {relay} to {}",
                if closed { "close" } else { "open" }
            ))?;
        context.expect_equal("the relay whose contact moved", relay, edge.relay)?;
        context.expect_equal("the contact closed", closed, edge.closed)?;
        let state = self.relays.state(relay).await.infra("read the contact")?;
        context.expect_equal("the contact read as closed", closed, state.closed)?;
        Ok(edge.at)
    }
}

async fn switch(
    controller: &Controller,
    relay: u8,
    state: &str,
    duration_s: u64,
) -> Result<Value, ScenarioError> {
    let parameters = format!(r#"{{"relay_id":{relay},"state":"{state}","duration":{duration_s}}}"#);
    Ok(controller.command("set_relay", &parameters).await?.data)
}

fn name(closed: bool) -> &'static str {
    if closed { "ON" } else { "OFF" }
}

fn relays(context: &Context) -> Result<Relays, ScenarioError> {
    context
        .bench()
        .relays()
        .ok_or_else(|| ScenarioError::Infra {
            reason: "the relays are gone".to_owned(),
        })
}
