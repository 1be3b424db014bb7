//! CMD-1, CMD-2: every command, answered with what is so, in the form that was promised.

use std::collections::BTreeSet;
use std::time::Duration;

use firmware_wire::{DeviceBody, MemorySample, NetworkSample};
use hil_bench::BenchEvent;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::json;

use crate::alarms::{no_alarms, point_of};
use crate::contract::requests;
use crate::contract::response::{COMMANDS, Command, Response, moment};
use crate::controller::{Controller, expect_json};
use crate::sensors::{MEASURED_WITHIN, TOLERANCE, sensors, usual};

/// How far the device's clock may be from the bench's.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(5);
/// A test alarm ends with the next measurement once it is acknowledged.
const ALARM_OVER_WITHIN: Duration = Duration::from_secs(15);

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

/// The heap, the stack and the counters in `get_status` are those that the device tells over RTT before
/// and after.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "60 s", telemetry)]
async fn get_status_agrees_with_the_telemetry_over_rtt(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    // Whatever was under way is over.
    controller.settled_memory().await?;
    let (memory, network) = samples(context, &controller).await?;
    let status = controller.command("get_status", "{}").await?.data;
    let (memory_after, network_after) = samples(context, &controller).await?;
    let main = |sample: &MemorySample| {
        sample
            .stacks
            .first()
            .map_or((0, 0), |s| (s.size, s.used_max))
    };
    let (stack, stack_after) = (main(&memory), main(&memory_after));
    let figures = [
        ("heap_free", memory.heap.free, memory_after.heap.free),
        (
            "heap_free_min",
            memory.heap.free_min,
            memory_after.heap.free_min,
        ),
        (
            "largest_free_block",
            memory.heap.largest_free_block,
            memory_after.heap.largest_free_block,
        ),
        (
            "heap_refused",
            memory.heap.refused,
            memory_after.heap.refused,
        ),
        ("stack_size", stack.0, stack_after.0),
        ("stack_used_max", stack.1, stack_after.1),
        (
            "messages_published",
            network.messages_published,
            network_after.messages_published,
        ),
        (
            "commands_received",
            network.commands_received + 1,
            network_after.commands_received,
        ),
        (
            "sessions_opened",
            network.sessions_opened,
            network_after.sessions_opened,
        ),
    ];
    for (name, before, after) in figures {
        let said = status[name].as_u64();
        let between = u64::from(before.min(after))..=u64::from(before.max(after));
        ensure!(
            said.is_some_and(|said| between.contains(&said)),
            "`{name}` within {between:?}, as over RTT before and after"; "{}", status[name]
        );
    }
    context.expect_equal(
        "commands received",
        network.commands_received + 1,
        network_after.commands_received,
    )
}

/// The next memory and network samples.
async fn samples(
    context: &Context,
    controller: &Controller,
) -> Result<(MemorySample, NetworkSample), ScenarioError> {
    let mut events = context.bench().subscribe();
    let both = async {
        let (mut memory, mut network) = (None, None);
        loop {
            let event = events.recv().await.infra("listen to the bench")?;
            let BenchEvent::Telemetry(frame) = &event.event else {
                continue;
            };
            match &frame.body {
                DeviceBody::Memory(sample) => memory = Some(sample.clone()),
                DeviceBody::Network(sample) => network = Some(sample.clone()),
                _ => {}
            }
            if let (Some(memory), Some(network)) = (&memory, &network) {
                return Ok((memory.clone(), network.clone()));
            }
        }
    };
    controller
        .clock
        .timeout(Duration::from_secs(10), both)
        .await
        .failure("memory and network samples")?
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

/// `get_point` shows the temperature around its sensor, within a scan.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "2 min", needs = ["sensors"])]
async fn get_point_shows_what_its_sensor_measures(context: &mut Context) -> Outcome {
    const SENSOR: u8 = 0;
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    let point = point_of(&controller, SENSOR).await?;
    let parameters = format!("{{\"point_id\":{point}}}");
    let result = async {
        for celsius in [33.3, -7.4] {
            sensors
                .set_temperature(SENSOR, celsius)
                .await
                .infra("set a temperature")?;
            let until = controller.clock.now() + MEASURED_WITHIN;
            loop {
                let data = controller.command("get_point", &parameters).await?.data;
                let shown = data["temp"].as_f64();
                if data["status"] == "OK" && shown.is_some_and(|t| (t - celsius).abs() <= TOLERANCE)
                {
                    break;
                }
                ensure!(
                    controller.clock.now() < until,
                    "point {point} at {celsius} °C within {} s", MEASURED_WITHIN.as_secs(); "{data}"
                );
                controller.clock.sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    };
    let result = result.await;
    result.and(usual(&sensors, SENSOR).await)
}

/// `get_point` shows the state of its alarm: normal, active, acknowledged, and normal again.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "60 s")]
async fn get_point_shows_the_state_of_its_alarm(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    no_alarms(&controller).await?;
    let shows = async |state: &str| {
        let data = controller
            .command("get_point", r#"{"point_id":9}"#)
            .await?
            .data;
        expect_json(context, "`alarm_state`", state, &data["alarm_state"])
    };
    shows("NORMAL").await?;
    let parameters = r#"{"point_id":9,"alarm_type":"LOW_TEMP","test_value":-40.0}"#;
    let alarm = controller.command("test_alarm", parameters).await?.data;
    shows("ACTIVE").await?;
    let parameters = format!("{{\"alarm_id\":{}}}", alarm["alarm_id"]);
    controller.command("acknowledge_alarm", &parameters).await?;
    shows("ACKNOWLEDGED").await?;
    controller.clock.sleep(ALARM_OVER_WITHIN).await;
    shows("NORMAL").await
}

/// `set_config` says the interval that was and the one that is; `add_schedule` when it is first due: one
/// interval from now.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "60 s")]
async fn what_was_set_is_in_the_answer(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let usual = controller.telemetry_interval().as_secs();
    for (old, new) in [(usual, 77), (77, 78), (78, usual)] {
        let parameters = format!("{{\"telemetry_interval\":{new}}}");
        let data = controller.command("set_config", &parameters).await?.data;
        let expected = json!({"old_value": old, "new_value": new});
        expect_json(
            context,
            "`telemetry_interval`",
            expected,
            &data["telemetry_interval"],
        )?;
    }
    for interval_s in [1_800_u64, 604_800] {
        let parameters = format!(
            r#"{{"schedule_id":"cmd-1","schedule_type":"interval","interval_seconds":{interval_s},"command":"get_summary"}}"#
        );
        let answer = controller.command("add_schedule", &parameters).await?;
        let off = controller.clock.wall_time() - answer.timestamp;
        ensure!(
            off.unsigned_abs() <= CLOCK_OFF_MAX,
            "a response stamped now, within {} s", CLOCK_OFF_MAX.as_secs(); "{off}"
        );
        let due = moment(&answer.data["next_due"]).map(|due| due - answer.timestamp);
        let expected = Duration::from_secs(interval_s);
        ensure!(
            due.is_some_and(|due| (due - expected).unsigned_abs() <= Duration::from_secs(1)),
            "`next_due` {interval_s} s after the response"; "{due:?}, of {}", answer.data
        );
    }
    controller
        .command("remove_schedule", r#"{"schedule_id":"cmd-1"}"#)
        .await
        .map(drop)
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

/// Every response has the fields, types and enumerations of its schema, each alarm in the list of active
/// ones among them.
#[scenario(id = "CMD-2", category = "commands", tags = ["smoke", "nightly", "release"], timeout = "60 s")]
async fn every_response_keeps_its_schema(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    for (command, response) in controller.every_command().await? {
        no_violations(command, &response)?;
        if command.name == "get_active_alarms" {
            let alarms = response.data["alarms"].as_array().map_or(0, Vec::len);
            ensure!(alarms > 0, "the test alarm in the list"; "{}", response.data);
        }
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

/// `set_threshold` moves the threshold that was named, of the point that was named, and no other; it says
/// what was and what is, and `get_point` then shows it.
#[scenario(id = "CMD-1", category = "commands", tags = ["nightly", "release"], timeout = "60 s")]
async fn set_threshold_moves_the_threshold_that_was_named(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let before = thresholds(&controller, 58).await?;
    let result = async {
        for (point, side, value) in [(57, "high", 71.5), (57, "low", -11.5)] {
            let was = thresholds(&controller, point).await?;
            let data = threshold(&controller, point, side, value).await?.data;
            expect_json(
                context,
                "`old_value`",
                was[side].clone(),
                &data["old_value"],
            )?;
            expect_json(context, "`new_value`", value, &data["new_value"])?;
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
    let undone = async {
        threshold(&controller, 57, "high", 85.0).await?;
        threshold(&controller, 57, "low", -20.0).await
    };
    result.and(undone.await.map(drop))
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
    expect_json(context, "`data`", json!({}), &response.data)
}

async fn threshold(
    controller: &Controller,
    point: u8,
    side: &str,
    value: f64,
) -> Result<Response, ScenarioError> {
    let parameters = format!(
        r#"{{"point_id":{point},"threshold_type":"{side}","value":{value:.1},"hysteresis":2.0}}"#
    );
    controller.command("set_threshold", &parameters).await
}

async fn thresholds(
    controller: &Controller,
    point: u8,
) -> Result<serde_json::Value, ScenarioError> {
    let parameters = format!("{{\"point_id\":{point}}}");
    let data = controller.command("get_point", &parameters).await?.data;
    Ok(data["thresholds"].clone())
}
