//! CMD-4, CMD-5, LOAD-2: many commands, at once, again and again, and in quick succession.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hil_mqtt::Qos;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use rand::Rng as _;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::contract::requests;
use crate::contract::response::{self, COMMANDS, Response};
use crate::controller::{Controller, TestAlarm, client_gone};
use crate::figures::Durations;

/// Clients that ask at once, and requests of each.
const CLIENTS: usize = 4;
const REQUESTS: usize = 25;
/// How long all answers may take to come.
const ALL_WITHIN: Duration = Duration::from_secs(30);
/// How long a second copy of something may take to come.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Times that each command is measured.
const ITERATIONS: usize = 20;
/// What the device is made to publish in a burst, and how far apart.
const BURST: usize = 100;
const BURST_INTERVAL: Duration = Duration::from_millis(10);
/// From its first to its last, a fifth of what it should be at most on top.
const BURST_WITHIN: Duration = Duration::from_millis(1_200);

/// A hundred requests of four clients, all under way at once: each is answered once, with the data
/// of the point that it asked for.
#[scenario(id = "CMD-4", category = "commands", tags = ["nightly", "release"], timeout = "90 s")]
async fn concurrent_commands_are_answered_each_once(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut asked = BTreeMap::new();
    for client in 0..CLIENTS {
        for number in 0..REQUESTS {
            let point = context.rng().random_range(0..60_u64);
            asked.insert(format!("client-{client}-{number}"), point);
        }
    }
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        clients.push(Arc::new(
            controller.connect(&format!("load-{client}")).await?,
        ));
    }

    let mut responses = controller.responses().await;
    let _in_flight = controller.clock.in_flight();
    let mut publishing = JoinSet::new();
    let requests = asked.iter().map(|(cmd_id, point)| {
        let parameters = format!("{{\"point_id\":{point}}}");
        (cmd_id, requests::request(cmd_id, "get_point", &parameters))
    });
    for (place, (cmd_id, request)) in requests.enumerate() {
        let (cmd_id, clock) = (cmd_id.clone(), controller.clock.clone());
        let client = Arc::clone(&clients[place / REQUESTS]);
        let topic = controller.topic("command/request");
        publishing.spawn(async move {
            let sent = clock.now();
            let published = client.publish(&topic, request, Qos::AtLeastOnce, false);
            published.await.map(|_| (cmd_id, sent))
        });
    }
    let mut answers: Vec<(Response, Duration)> = Vec::new();
    let all = async {
        while answers.len() < asked.len() {
            let message = responses.recv().await.ok_or_else(client_gone)?;
            answers.push((parsed(&message.payload)?, controller.clock.now()));
        }
        Ok::<(), ScenarioError>(())
    };
    let in_time = controller.clock.timeout(ALL_WITHIN, all).await;
    let mut sent = BTreeMap::new();
    while let Some(published) = publishing.join_next().await {
        let (cmd_id, at) = (published.infra("publish requests")?).infra("publish a request")?;
        sent.insert(cmd_id, at);
    }
    controller.clock.sleep(SETTLED_AFTER).await;
    while let Some(message) = responses.try_recv() {
        answers.push((parsed(&message.payload)?, controller.clock.now()));
    }

    let wrong = mixed_up(&asked, &answers);
    ensure!(
        wrong.is_empty(),
        "{} requests answered once each, with what they asked for", asked.len();
        "{}", wrong.join("; ")
    );
    in_time.failure("all answers")??;
    let times = answers.iter().filter_map(|(response, at)| {
        let sent = sent.get(&response.cmd_id)?;
        Some(at.saturating_sub(*sent))
    });
    Durations::of(times).tell_distribution(context, "response time under load");
    Ok(())
}

/// What is wrong with the answers to `asked`, which holds `cmd_id`s and the points they ask for.
fn mixed_up(asked: &BTreeMap<String, u64>, answers: &[(Response, Duration)]) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = asked.keys().map(|id| (id.as_str(), 0)).collect();
    let mut wrong = Vec::new();
    for (response, _) in answers {
        let id = response.cmd_id.as_str();
        let Some(point) = asked.get(id) else {
            wrong.push(format!("an answer to `{id}`, which was not asked"));
            continue;
        };
        *count.entry(id).or_default() += 1;
        let name = format!("Point_{point}");
        if !response.succeeded
            || response.data["point_id"] != *point
            || response.data["name"] != name.as_str()
        {
            wrong.push(format!(
                "`{id}` asked for point {point}, got {}",
                response.data
            ));
        }
    }
    for (id, times) in count.into_iter().filter(|(_, times)| *times != 1) {
        wrong.push(format!("`{id}` was answered {times} times"));
    }
    wrong
}

fn parsed(payload: &[u8]) -> Result<Response, ScenarioError> {
    response::parse(payload).map_err(|violations| {
        ScenarioError::failure("a response that keeps its schema", violations.join("; "))
    })
}

/// Every command twenty times: all succeed; how long each takes, on the device and on its way.
#[scenario(id = "CMD-5", category = "commands", tags = ["nightly", "release"], timeout = "180 s")]
async fn each_command_has_its_time(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let mut total: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut on_device = total.clone();
    let mut failed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for _ in 0..ITERATIONS {
        let mut alarm = TestAlarm::default();
        for command in COMMANDS {
            let asked = controller.clock.now();
            match controller.in_round(command, &mut alarm).await {
                Ok(response) => {
                    let took = controller.clock.now().saturating_sub(asked);
                    total.entry(command.name).or_default().push(took);
                    let device = Duration::from_millis(response.execution_ms);
                    on_device.entry(command.name).or_default().push(device);
                }
                Err(infra @ ScenarioError::Infra { .. }) => return Err(infra),
                Err(error) => failed
                    .entry(command.name)
                    .or_default()
                    .push(error.to_string()),
            }
        }
    }
    for (name, times) in &total {
        let rate = 100.0 * times.len() as f64 / ITERATIONS as f64;
        context.measured(format_args!("{name}, success"), rate, "%");
        let device = &on_device[name];
        let rest = times.iter().zip(device).map(|(t, d)| t.saturating_sub(*d));
        Durations::of(times.iter().copied()).tell_spread(context, name);
        Durations::of(device.iter().copied())
            .tell_spread(context, &format!("{name} on the device"));
        Durations::of(rest).tell_spread(context, &format!("{name} on its way"));
    }
    let failures: Vec<String> = failed
        .iter()
        .map(|(name, errors)| format!("`{name}` {} times: {}", errors.len(), errors[0]))
        .collect();
    ensure!(
        failures.is_empty(),
        "every command to succeed {ITERATIONS} times of {ITERATIONS}";
        "failed: {}", failures.join("; ")
    );
    Ok(())
}

/// A hundred relay events, one each 10 ms: the device keeps the pace, and all are delivered, in order,
/// none twice.
#[scenario(id = "LOAD-2", category = "load", tags = ["nightly", "release"], timeout = "60 s")]
async fn a_burst_is_delivered_whole_and_in_order(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    controller.relays_off().await?;
    let mut events = controller.subscribe("event/relay").await?;
    let mut responses = controller.responses().await;
    let _in_flight = controller.clock.in_flight();
    let (started, started_at) = (controller.clock.now(), controller.clock.wall_time());
    let mut expected = Vec::new();
    for number in 0..BURST {
        let due = started + BURST_INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
        controller.clock.sleep_until(due).await;
        let relay = number % 8 + 1;
        let parameters = format!(r#"{{"relay_id":{relay},"state":"TOGGLE"}}"#);
        let request = requests::request(&format!("burst-{number}"), "set_relay", &parameters);
        controller.publish_request(request).await?;
        let state = if number / 8 % 2 == 0 { "ON" } else { "OFF" };
        expected.push(format!("relay {relay} {state} by command"));
    }
    let sent = controller.clock.now().saturating_sub(started);
    // Slower, and it was no burst: that's the host's fault.
    if sent > BURST_WITHIN {
        return Err(ScenarioError::Infra {
            reason: format!(
                "the host took {} ms for {BURST} requests, not at most {}",
                sent.as_millis(),
                BURST_WITHIN.as_millis()
            ),
        });
    }

    let mut delivered = Vec::new();
    let mut switched = Vec::new();
    let mut last = started;
    let all = async {
        while delivered.len() < BURST {
            let message = events.recv().await.ok_or_else(client_gone)?;
            last = controller.clock.now();
            delivered.push(relay_event(&message.payload)?);
            switched.push(timestamp(&message.payload)?);
        }
        Ok::<(), ScenarioError>(())
    };
    let in_time = controller.clock.timeout(ALL_WITHIN, all).await;
    controller.clock.sleep(SETTLED_AFTER).await;
    while let Some(message) = events.try_recv() {
        delivered.push(relay_event(&message.payload)?);
    }
    let mut answers = 0;
    while responses.try_recv().is_some() {
        answers += 1;
    }
    drop(responses);
    controller.relays_off().await?;

    let differs = expected.iter().zip(&delivered).position(|(e, d)| e != d);
    ensure!(
        expected == delivered,
        "{BURST} relay events in the order of their commands, none twice";
        "{} events, the first that differs is number {}",
        delivered.len(), differs.unwrap_or(expected.len().min(delivered.len()))
    );
    context.expect_equal("answers", BURST, answers)?;
    in_time.failure("all events")??;
    let on_device =
        *switched.last().unwrap_or(&started_at) - *switched.first().unwrap_or(&started_at);
    context.measured(
        "burst, on the device within",
        on_device.as_seconds_f64() * 1_000.0,
        "ms",
    );
    ensure!(
        on_device <= BURST_WITHIN,
        "{BURST} events in the pace of their commands, {} ms", BURST_WITHIN.as_millis();
        "{} ms from the first to the last on the device", on_device.whole_milliseconds()
    );
    context.measured(
        "burst, asked for within",
        sent.as_secs_f64() * 1_000.0,
        "ms",
    );
    let took = last.saturating_sub(started);
    context.measured(
        "burst, delivered within",
        took.as_secs_f64() * 1_000.0,
        "ms",
    );
    let rate = BURST as f64 / took.as_secs_f64();
    context.measured("burst, rate", rate, "messages/s");
    Ok(())
}

/// A message of `event/relay`, in words.
pub(crate) fn relay_event(payload: &[u8]) -> Result<String, ScenarioError> {
    let event: serde_json::Value =
        serde_json::from_slice(payload).failure("JSON on event/relay")?;
    let text = |name: &str| event[name].as_str().unwrap_or("?").to_owned();
    Ok(format!(
        "relay {} {} by {}",
        event["relay_id"],
        text("state"),
        text("cause")
    ))
}

/// When the device says that it was.
fn timestamp(payload: &[u8]) -> Result<OffsetDateTime, ScenarioError> {
    let event: serde_json::Value =
        serde_json::from_slice(payload).failure("JSON on event/relay")?;
    response::moment(&event["timestamp"]).ok_or_else(|| {
        ScenarioError::failure("a `timestamp` in RFC 3339", event["timestamp"].to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cmd_id: &str, point: u64) -> (Response, Duration) {
        let response = Response {
            cmd_id: cmd_id.to_owned(),
            succeeded: true,
            timestamp: OffsetDateTime::UNIX_EPOCH,
            data: serde_json::json!({"point_id": point, "name": format!("Point_{point}")}),
            message: None,
            execution_ms: 1,
        };
        (response, Duration::ZERO)
    }

    fn check(answers: &[(Response, Duration)], expected: &[&str]) {
        let asked = [("a".to_owned(), 1), ("b".to_owned(), 2)].into();
        assert_eq!(mixed_up(&asked, answers), expected);
    }

    #[test]
    fn an_answer_that_is_lost_doubled_mixed_up_or_not_asked_for_is_found() {
        check(&[answer("b", 2), answer("a", 1)], &[]);
        check(&[answer("a", 1)], &["`b` was answered 0 times"]);
        check(
            &[answer("a", 1), answer("b", 2), answer("a", 1)],
            &["`a` was answered 2 times"],
        );
        check(
            &[answer("a", 2), answer("b", 2)],
            &[r#"`a` asked for point 1, got {"name":"Point_2","point_id":2}"#],
        );
        check(
            &[answer("a", 1), answer("b", 2), answer("c", 2)],
            &["an answer to `c`, which was not asked"],
        );
    }
}
