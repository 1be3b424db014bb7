//! CON-3: connections held for long: nothing is lost while nobody cuts, and what is cut is back soon.

use std::collections::BTreeMap;
use std::time::Duration;

use hil_mqtt::Qos;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};

use crate::controller::Controller;
use crate::figures::Durations;
use crate::gate::Gate;
use crate::ways::{STEADY, Ways, expect_back_off};

/// Connections of the host that are held at once, how long, and how often each says something meanwhile.
const HOST_CONNECTS: usize = 8;
const HELD_FOR: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long the device's session is held, and its keep-alive meanwhile: some sixty pings.
const DEVICE_HELD_FOR: Duration = Duration::from_secs(240);
const DEVICE_KEEP_ALIVE_S: u16 = 3;
/// How often its connection is cut.
const CUTS: usize = 5;

/// Clients of the host, several at once: each is held with heartbeats, none is disconnected.
#[scenario(id = "CON-3", category = "connectivity", tags = ["nightly", "release"], timeout = "180 s")]
async fn connections_of_the_host_are_stable(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let _in_flight = controller.clock.in_flight();
    let mut connect_times = Vec::new();
    let mut held = Vec::new();
    for number in 0..HOST_CONNECTS {
        let asked = controller.clock.now();
        let client = controller.connect(&format!("held-{number}")).await?;
        connect_times.push(controller.clock.now().saturating_sub(asked));
        let topic = controller.topic(&format!("bench/heartbeat-{number}"));
        let echo = client
            .subscribe(&topic, Qos::AtLeastOnce)
            .await
            .infra("subscribe to the heartbeat")?;
        held.push((client, topic, echo));
    }
    let mut heartbeats = 0;
    let mut lost = BTreeMap::new();
    let until = controller.clock.now() + HELD_FOR;
    while controller.clock.now() < until {
        for (number, (client, topic, echo)) in held.iter_mut().enumerate() {
            let beat = client.publish(topic, "beat", Qos::AtLeastOnce, false);
            let back = async { beat.await.is_ok() && echo.recv().await.is_some() };
            let back = controller.clock.timeout(HELD_FOR, back).await;
            if back == Ok(true) && client.is_connected() {
                heartbeats += 1;
            } else {
                lost.entry(number)
                    .or_insert(format!("connection {number} after {heartbeats} heartbeats"));
            }
        }
        controller.clock.sleep(HEARTBEAT).await;
    }
    for (number, (client, ..)) in held.into_iter().enumerate() {
        // Whether it can still say goodbye is the judgement on its connection.
        if client.disconnect().await.is_err() {
            lost.entry(number)
                .or_insert(format!("connection {number} at its end"));
        }
    }
    Durations::of(connect_times).tell_distribution(context, "host connects within");
    context.measured("host heartbeats", f64::from(heartbeats), "heartbeats");
    context.measured("host connections lost", lost.len() as f64, "connections");
    let lost: Vec<String> = lost.into_values().collect();
    ensure!(
        lost.is_empty(),
        "{HOST_CONNECTS} connections held for {} s each", HELD_FOR.as_secs();
        "lost: {}", lost.join("; ")
    );
    Ok(())
}

/// The device's session lasts for as long as nobody cuts it, and is back within its back-off each
/// time that somebody did.
#[scenario(id = "CON-3", category = "connectivity", tags = ["nightly", "release"], timeout = "10 min")]
async fn the_device_holds_its_session(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut gate = controller.gate().await?;
    let mut ways = Ways::of(context);
    controller.send_to(gate.port(), DEVICE_KEEP_ALIVE_S).await?;
    let result = async {
        ways.until_connected(&controller).await?;
        held(context, &controller, &mut ways).await?;
        cut(context, &controller, &mut gate, &mut ways).await
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

async fn held(context: &Context, controller: &Controller, ways: &mut Ways) -> Outcome {
    let before = sessions(controller).await?;
    controller.clock.sleep(DEVICE_HELD_FOR).await;
    let after = sessions(controller).await?;
    let said = ways.seen()?;
    ensure!(
        before == after && said.is_empty(),
        "one session for {} s", DEVICE_HELD_FOR.as_secs();
        "{} new ones: {said:?}", after - before
    );
    context.measured(
        "device held its session",
        DEVICE_HELD_FOR.as_secs_f64(),
        "s",
    );
    Ok(())
}

async fn cut(
    context: &Context,
    controller: &Controller,
    gate: &mut Gate,
    ways: &mut Ways,
) -> Outcome {
    let mut took = Vec::new();
    for _ in 0..CUTS {
        controller.clock.sleep(STEADY).await;
        let _in_flight = controller.clock.in_flight();
        let cut_at = controller.clock.now();
        gate.shut().await;
        gate.reopen().await.infra("open the gate again")?;
        let said = ways.until_connected(controller).await?;
        expect_back_off(&said)?;
        took.push(controller.clock.now().saturating_sub(cut_at));
        controller.command("get_status", "{}").await?;
    }
    Durations::of(took).tell_distribution(context, "device back after a cut");
    Ok(())
}

async fn sessions(controller: &Controller) -> Result<u64, ScenarioError> {
    let status = controller.command("get_status", "{}").await?;
    Ok(status.data["sessions_opened"].as_u64().unwrap_or_default())
}
