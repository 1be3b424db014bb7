//! CON-4: the way to the broker is cut for a while, and found again; nothing that waited is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use firmware_wire::Connection;
use hil_bench::Bench;
use hil_mqtt::{Broker, Subscription};
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};

use crate::contract::{requests, response};
use crate::controller::{Controller, client_gone};
use crate::figures::Durations;
use crate::gate::Gate;
use crate::load::relay_event;
use crate::ways::{STEADY, Ways, expect_back_off};

/// How often the way to the broker is interrupted, and for how long.
const INTERRUPTIONS: usize = 3;
const AWAY_FOR: Duration = Duration::from_secs(8);
/// Relays are on for so long, so that they switch back in the middle of it.
const RELAY_ON_S: u64 = 3;
const RELAYS: u64 = 8;
/// Requests that are published while the device is away.
const REQUESTS: u64 = 5;
/// The keep-alive with which a dead link is noticed in that time.
const LINK_KEEP_ALIVE_S: u16 = 4;
/// How long a broker that is silent is away: the events begin after three seconds, the ping that goes
/// unanswered one keep-alive after the last message.
const SILENT_FOR: Duration = Duration::from_secs(16);
/// With its link back, the device needs an address, and waits as before a first attempt at most.
const LINK_BACK_WITHIN: Duration = Duration::from_secs(3);
/// How long what has waited may take to arrive once there is a session.
const ARRIVED_WITHIN: Duration = Duration::from_secs(10);
/// How long a second copy of something may take to come.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// The broker is away three times and remembers its sessions: the device comes back by its
/// back-off, what waited on either side arrives, once.
#[scenario(id = "CON-4", category = "connectivity", tags = ["nightly", "release"], timeout = "10 min")]
async fn the_broker_is_away_and_comes_back(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let gate = controller.gate().await?;
    let mut ways = Ways::of(context);
    let keep_alive_s = controller.provision.broker.keep_alive_s;
    controller.send_to(gate.port(), keep_alive_s).await?;
    let result = async {
        ways.until_connected(&controller).await?;
        interruptions(context, &controller, &mut ways, Away::Gate(gate)).await
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

/// The broker ends and starts again three times and has forgotten everything: the device comes
/// back, subscribes anew, and what waited on it arrives, once.
#[scenario(id = "CON-4", category = "connectivity", tags = ["nightly", "release"], timeout = "10 min", needs = ["embedded-broker"])]
async fn the_broker_starts_anew_and_has_forgotten_all(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let broker = controller.start_broker(0).await?;
    let port = broker.port();
    let gate = controller.gate_to(&broker).await?;
    let there = controller
        .elsewhere(&broker, controller.base_topic.clone())
        .await?;
    let mut ways = Ways::of(context);
    let keep_alive_s = controller.provision.broker.keep_alive_s;
    controller.send_to(gate.port(), keep_alive_s).await?;
    let result = async {
        ways.until_connected(&controller).await?;
        let broker = Some(broker);
        let away = Away::Broker { gate, broker, port };
        interruptions(context, &there, &mut ways, away).await
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

/// The broker falls silent three times and keeps the connection: the device notices by its
/// keep-alive, and what it sent into the silence it sends again, once there is a session.
#[scenario(id = "CON-4", category = "connectivity", tags = ["nightly", "release"], timeout = "10 min")]
async fn a_silent_broker_is_noticed_and_told_again(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let gate = controller.gate().await?;
    let mut ways = Ways::of(context);
    controller.send_to(gate.port(), LINK_KEEP_ALIVE_S).await?;
    let result = async {
        ways.until_connected(&controller).await?;
        interruptions(context, &controller, &mut ways, Away::Silence(gate)).await
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

/// The device's link is down three times: it comes back once the link does, and what waited on either
/// side arrives, once.
#[scenario(id = "CON-4", category = "connectivity", tags = ["nightly", "release"], timeout = "10 min", needs = ["virtual"])]
async fn the_link_is_away_and_comes_back(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut ways = Ways::of(context);
    controller
        .send_to(controller.broker.port(), LINK_KEEP_ALIVE_S)
        .await?;
    let result = async {
        ways.until_connected(&controller).await?;
        interruptions(context, &controller, &mut ways, Away::Link).await
    };
    let result = result.await;
    set_link(context, true);
    result.and(controller.send_back(&mut ways).await)
}

/// What is away.
enum Away {
    /// The broker, as the device sees it.
    Gate(Gate),
    /// The broker, and what it knew.
    Broker {
        gate: Gate,
        broker: Option<Broker>,
        port: u16,
    },
    /// The broker's voice: what the device says is swallowed.
    Silence(Gate),
    /// The link.
    Link,
}

impl Away {
    async fn begin(&mut self, context: &Context) -> Outcome {
        match self {
            Self::Gate(gate) => gate.shut().await,
            Self::Broker { gate, broker, .. } => {
                gate.shut().await;
                if let Some(broker) = broker.take() {
                    broker.stop().await.infra("stop the broker")?;
                }
            }
            Self::Silence(gate) => gate.fall_silent(),
            Self::Link => set_link(context, false),
        }
        Ok(())
    }

    async fn end(&mut self, context: &Context, controller: &Controller) -> Outcome {
        match self {
            Self::Gate(gate) => gate.reopen().await.infra("open the gate again"),
            Self::Broker { gate, broker, port } => {
                *broker = Some(controller.start_broker(*port).await?);
                // Only then can the host see what the device has to say.
                host_is_back(controller).await?;
                gate.reopen().await.infra("open the gate again")
            }
            Self::Silence(gate) => {
                gate.speak();
                Ok(())
            }
            Self::Link => {
                set_link(context, true);
                Ok(())
            }
        }
    }

    fn duration(&self) -> Duration {
        match self {
            Self::Silence(_) => SILENT_FOR,
            _ => AWAY_FOR,
        }
    }

    /// Whether requests published meanwhile wait for the device.
    fn keeps_requests(&self) -> bool {
        !matches!(self, Self::Broker { .. })
    }
}

async fn interruptions(
    context: &Context,
    controller: &Controller,
    ways: &mut Ways,
    mut away: Away,
) -> Outcome {
    controller.relays_off().await?;
    let mut events = controller.subscribe("event/relay").await?;
    let mut took = Vec::new();
    let mut repeated = 0;
    for number in 0..INTERRUPTIONS {
        controller.clock.sleep(STEADY).await;
        for relay in 1..=RELAYS {
            let parameters =
                format!(r#"{{"relay_id":{relay},"state":"ON","duration":{RELAY_ON_S}}}"#);
            controller.command("set_relay", &parameters).await?;
        }
        let on = (1..=RELAYS).map(|relay| format!("relay {relay} ON by command"));
        expect_events(controller, &mut events, on.collect(), 0).await?;
        ways.seen()?;

        away.begin(context).await?;
        controller.clock.sleep(away.duration() / 2).await;
        if away.keeps_requests() {
            for request in 0..REQUESTS {
                ask(controller, &format!("away-{number}-{request}"), request).await?;
            }
        }
        controller.clock.sleep(away.duration() / 2).await;
        if matches!(away, Away::Silence(_)) {
            let said = ways.seen()?;
            ensure!(
                said.iter().any(|(_, way)| matches!(way, Connection::Lost { .. })),
                "the silence noticed by the keep-alive of {LINK_KEEP_ALIVE_S} s";
                "the device said {said:?}"
            );
        }
        let _in_flight = controller.clock.in_flight();
        let mut responses = controller.responses().await;
        let back_at = controller.clock.now();
        away.end(context, controller).await?;
        let said = ways.until_connected(controller).await?;
        let back_after = controller.clock.now().saturating_sub(back_at);
        took.push(back_after);
        if matches!(away, Away::Link) {
            // Without a link there are no attempts, and no wait grows.
            ensure!(
                back_after <= LINK_BACK_WITHIN,
                "a session within {} s of the link", LINK_BACK_WITHIN.as_secs();
                "{:.2} s", back_after.as_secs_f64()
            );
        } else if !matches!(away, Away::Silence(_)) {
            // Attempts into the silence each end by their own time limit.
            expect_back_off(&said)?;
        }

        // QoS 1 allows a message that was sent and not acknowledged to come a second time: those
        // that the device sent before it noticed that the link was dead.
        let twice_at_most = usize::from(matches!(away, Away::Link));
        let off = (1..=RELAYS).map(|relay| format!("relay {relay} OFF by timer"));
        repeated += expect_events(controller, &mut events, off.collect(), twice_at_most).await?;
        if away.keeps_requests() {
            expect_answers(controller, &mut responses, number).await?;
        }
    }
    Durations::of(took).tell_distribution(context, "device back after an interruption");
    context.measured("events that came twice", repeated as f64, "events");
    Ok(())
}

/// Waits for the events `expected` and for more that may follow; how many came more than once,
/// each of which may do so `repetitions` times.
async fn expect_events(
    controller: &Controller,
    events: &mut Subscription,
    expected: Vec<String>,
    repetitions: usize,
) -> Result<usize, ScenarioError> {
    let _in_flight = controller.clock.in_flight();
    let mut came: BTreeMap<String, usize> = expected.iter().map(|e| (e.clone(), 0)).collect();
    let all = async {
        while came.values().any(|times| *times == 0) {
            let message = events.recv().await.ok_or_else(client_gone)?;
            *came.entry(relay_event(&message.payload)?).or_default() += 1;
        }
        Ok::<(), ScenarioError>(())
    };
    if let Ok(result) = controller.clock.timeout(ARRIVED_WITHIN, all).await {
        result?;
    }
    controller.clock.sleep(SETTLED_AFTER).await;
    while let Some(message) = events.try_recv() {
        *came.entry(relay_event(&message.payload)?).or_default() += 1;
    }
    let wrong: Vec<String> = came
        .iter()
        .filter(|(event, times)| {
            !expected.contains(event) || !(1..=1 + repetitions).contains(*times)
        })
        .map(|(event, times)| format!("{event}: {times} times"))
        .collect();
    ensure!(
        wrong.is_empty(),
        "{} relay events, each once, {repetitions} repetitions allowed", expected.len();
        "{}", wrong.join("; ")
    );
    Ok(came.values().filter(|times| **times > 1).count())
}

/// Publishes a request for point `point` and does not wait for its answer.
async fn ask(controller: &Controller, cmd_id: &str, point: u64) -> Outcome {
    let parameters = format!("{{\"point_id\":{point}}}");
    let request = requests::request(cmd_id, "get_point", &parameters);
    controller.publish_request(request).await
}

/// Waits for the answers to the requests of interruption `number`: each once, in order.
async fn expect_answers(
    controller: &Controller,
    responses: &mut Subscription,
    number: usize,
) -> Outcome {
    let mut answered = Vec::new();
    let all = async {
        while (answered.len() as u64) < REQUESTS {
            let message = responses.recv().await.ok_or_else(client_gone)?;
            answered.push(cmd_id(&message.payload)?);
        }
        Ok::<(), ScenarioError>(())
    };
    if let Ok(result) = controller.clock.timeout(ARRIVED_WITHIN, all).await {
        result?;
    }
    controller.clock.sleep(SETTLED_AFTER).await;
    while let Some(message) = responses.try_recv() {
        answered.push(cmd_id(&message.payload)?);
    }
    let expected: Vec<String> = (0..REQUESTS)
        .map(|request| format!("away-{number}-{request}"))
        .collect();
    ensure!(
        answered == expected,
        "requests published meanwhile answered once each: {expected:?}"; "{answered:?}"
    );
    Ok(())
}

fn cmd_id(payload: &[u8]) -> Result<String, ScenarioError> {
    let parsed = response::parse(payload).map_err(|violations| {
        ScenarioError::failure("a response that keeps its schema", violations.join("; "))
    })?;
    Ok(parsed.cmd_id)
}

fn set_link(context: &Context, up: bool) {
    if let Some(rig) = context.bench_as::<Bench>().virtual_rig() {
        rig.set_link(up);
    }
}

/// Waits until the host's client is connected again and has subscribed anew.
async fn host_is_back(controller: &Controller) -> Outcome {
    let _in_flight = controller.clock.in_flight();
    let connected = async {
        while !controller.client.is_connected() {
            controller.clock.sleep(Duration::from_millis(20)).await;
        }
    };
    controller
        .clock
        .timeout(ARRIVED_WITHIN, connected)
        .await
        .infra("wait for the host's client")?;
    // It subscribes of itself, and tells nobody when that is done.
    controller.clock.sleep(SETTLED_AFTER).await;
    Ok(())
}
