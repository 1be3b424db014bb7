//! INT-1: the configuration over HTTP: read, changed, applied, refused, kept.

use std::time::Duration;

use firmware_wire::TopicLevel;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::controller::{Controller, expect_json};
use crate::http_client::{self, Http};
use crate::power::{lose_power, restart};
use crate::ways::Ways;

const CONFIG: &str = "/api/mqtt/config";
const STATUS: &str = "/api/mqtt/status";
/// What is shown in the place of the password.
const PASSWORD_SHOWN: &str = "********";
/// How long the device waits for a request, and a little.
const SLOW_CLIENT: Duration = Duration::from_secs(7);
/// A telemetry interval other than the usual one, seconds, and how far a message may be off.
const INTERVAL_S: u64 = 2;
const INTERVAL_TOLERANCE: Duration = Duration::from_millis(200);
/// How long nothing must come where nothing is to come any more: two messages would have.
const SILENT_FOR: Duration = Duration::from_secs(2 * INTERVAL_S);
/// A port of the broker's host that nobody listens at.
const NOBODYS_PORT: u16 = 9;

/// What HTTP shows is what the device was given: every field, without its password; and the status
/// says where it is connected to, and counts its messages.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "60 s")]
async fn http_shows_what_the_device_was_given(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let (broker, given) = (&controller.provision.broker, &controller.provision);
    let shown = http.get(&controller, CONFIG).await?;
    context.expect_equal("status of GET", 200, shown.status)?;
    let user = broker.credentials.as_ref().map_or("", |c| &*c.username);
    let mut expected = json!({
        "mqtt_enabled": true,
        "mqtt_broker": broker.host.as_str(),
        "mqtt_port": broker.port,
        "mqtt_username": user,
        "mqtt_password": PASSWORD_SHOWN,
        "mqtt_device_name": controller.device_id(),
        "mqtt_telemetry_interval": given.telemetry_interval_s,
        "mqtt_use_tls": false,
        "mqtt_retain_telemetry": given.retain_telemetry,
    });
    for (number, level) in (1..).zip(&given.topic_levels) {
        let (kind, value) = match level {
            TopicLevel::Skip => ("skip", ""),
            TopicLevel::Custom(value) => ("custom", value.as_str()),
        };
        expected[format!("topic_level{number}_type")] = json!(kind);
        expected[format!("topic_level{number}_value")] = json!(value);
    }
    context.expect_equal("the configuration", &expected, &shown.body)?;

    let address = format!("{}:{}", broker.host, broker.port);
    let before = http.get(&controller, STATUS).await?.body;
    expect_json(context, "`connected`", true, &before["connected"])?;
    expect_json(context, "`broker`", address, &before["broker"])?;
    expect_json(context, "`last_error`", Value::Null, &before["last_error"])?;
    controller.command("help", "{}").await?;
    let after = http.get(&controller, STATUS).await?.body;
    let sent = |status: &Value| status["messages_sent"].as_u64().unwrap_or_default();
    ensure!(
        sent(&before) > 0 && sent(&after) > sent(&before),
        "`messages_sent` rising with a response, from above 0"; "{} and {}", sent(&before), sent(&after)
    );
    Ok(())
}

/// A change with a bad field changes nothing, not even what comes before it, and names the field.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "60 s")]
async fn a_change_with_a_bad_field_changes_nothing(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let before = http.get(&controller, CONFIG).await?;
    let long = format!(r#"{{"mqtt_username":"{}"}}"#, "x".repeat(33));
    for (body, field) in [
        (
            r#"{"mqtt_telemetry_interval":77,"mqtt_port":0}"#,
            "mqtt_port",
        ),
        (
            r#"{"mqtt_telemetry_interval":0}"#,
            "mqtt_telemetry_interval",
        ),
        (r#"{"mqtt_broker":"a b"}"#, "mqtt_broker"),
        (r#"{"mqtt_use_tls":"yes"}"#, "mqtt_use_tls"),
        (&long, "mqtt_username"),
        (r#"{"topic_level1_value":"a/b"}"#, "topic_level1_value"),
        (r#"{"topic_level2_type":"maybe"}"#, "topic_level2_type"),
        (r#"{"no_such_field":1}"#, "no_such_field"),
    ] {
        let refused = http.post(&controller, CONFIG, body).await?;
        context.expect_equal(format_args!("status of POST {body}"), 400, refused.status)?;
        expect_json(
            context,
            &format!("`field` of {body}"),
            field,
            &refused.body["field"],
        )?;
    }
    let after = http.get(&controller, CONFIG).await?;
    context.expect_equal("configuration after bad changes", &before.body, &after.body)
}

/// A new interval shows in the messages that follow, and so does the retain flag.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "3 min")]
async fn a_new_interval_and_the_retain_flag_are_applied(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut ways = Ways::of(context);
    let result = async {
        // What was read can be sent back: the password stays.
        let change = json!({
            "mqtt_telemetry_interval": INTERVAL_S,
            "mqtt_password": PASSWORD_SHOWN,
            "mqtt_retain_telemetry": true,
        });
        changed(context, &controller, http, &change).await?;
        let messages = controller.telemetry_messages(4).await?;
        for pair in messages.windows(2) {
            let interval = pair[1].bench_time.saturating_sub(pair[0].bench_time);
            context.expect_within(
                "an interval of",
                Duration::from_secs(INTERVAL_S),
                INTERVAL_TOLERANCE,
                interval,
            )?;
        }
        // To a late subscriber, with the flag set.
        controller.retained("telemetry/temperature").await.map(drop)
    };
    let result = result.await;
    let undone = async {
        controller.send_back(&mut ways).await?;
        controller.forget("telemetry/temperature").await
    };
    result.and(undone.await)
}

/// With other topic levels the device is at the other topics, and at the old ones no more.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "3 min")]
async fn new_topics_are_applied(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut ways = Ways::of(context);
    let elsewhere = format!("attic/{}", controller.device_id());
    let there = controller
        .elsewhere(&controller.broker, elsewhere.clone())
        .await?;
    let result = async {
        let change = json!({
            "mqtt_telemetry_interval": INTERVAL_S,
            "topic_level1_type": "skip",
            "topic_level2_value": "attic",
            "topic_level3_type": "skip",
        });
        changed(context, &controller, http, &change).await?;
        ways.until_connected(&controller).await?;
        let status = there.command("get_status", "{}").await?;
        expect_json(
            context,
            "`mqtt_connected`",
            true,
            &status.data["mqtt_connected"],
        )?;
        there.telemetry_messages(1).await?;
        let connection = there.retained("state/connection").await?;
        context.expect_equal(
            "retained state/connection there",
            "online",
            connection.text().as_str(),
        )?;
        let mut old = controller.subscribe("#").await?;
        controller
            .nothing_on(&mut old, "nothing at the old topics", SILENT_FOR)
            .await?;
        // What is asked there, is answered nowhere.
        controller.ask("get_status").await?;
        controller.clock.sleep(SILENT_FOR).await;
        let messages = std::iter::from_fn(|| old.try_recv())
            .filter(|m| !m.retain && m.topic.ends_with("command/response"));
        context.expect_equal("responses at the old topics", 0, messages.count())
    };
    let result = result.await;
    let undone = async {
        controller.send_back(&mut ways).await?;
        there.forget("state/connection").await?;
        there.forget("state/boot").await
    };
    result.and(undone.await)
}

/// With another broker the device is at the other broker, and the status says so; with one that is not
/// there, it says why not.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "3 min", needs = ["embedded-broker"])]
async fn a_new_broker_is_applied(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut ways = Ways::of(context);
    let broker = controller.start_broker(0).await?;
    let there = controller
        .elsewhere(&broker, controller.base_topic.clone())
        .await?;
    let host = controller.provision_here(broker.port()).broker.host;
    let host = host.as_str();
    let result = async {
        let change = json!({"mqtt_broker": host, "mqtt_port": broker.port()});
        changed(context, &controller, http, &change).await?;
        ways.until_connected(&controller).await?;
        there.command("help", "{}").await?;
        let status = http.get(&controller, STATUS).await?.body;
        let address = format!("{host}:{}", broker.port());
        expect_json(context, "`broker`", address, &status["broker"])?;

        let change = json!({"mqtt_port": NOBODYS_PORT});
        changed(context, &controller, http, &change).await?;
        let told = |status: &Value| {
            status["connected"] == false
                && status["last_error"].as_str().is_some_and(|e| !e.is_empty())
        };
        let what = "not `connected`, and a `last_error`";
        wait_status(&controller, http, what, told).await.map(drop)
    };
    let result = result.await;
    let undone = async {
        controller.send_back(&mut ways).await?;
        let _ = there.client.disconnect().await;
        broker.stop().await.infra("stop the other broker")
    };
    result.and(undone.await)
}

/// Switched off, the device ends its session and stays away; switched on, it comes back.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "2 min")]
async fn mqtt_is_switched_off_and_on_over_http(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut ways = Ways::of(context);
    let result = async {
        changed(context, &controller, http, &json!({"mqtt_enabled": false})).await?;
        wait_status(&controller, http, "not `connected`", |s| {
            s["connected"] == false
        })
        .await?;
        // Longer than the first waits of a back-off.
        controller.clock.sleep(SILENT_FOR).await;
        let status = http.get(&controller, STATUS).await?.body;
        expect_json(context, "`connected`", false, &status["connected"])?;
        changed(context, &controller, http, &json!({"mqtt_enabled": true})).await?;
        wait_status(&controller, http, "`connected`", |s| s["connected"] == true)
            .await
            .map(drop)
    };
    let result = result.await;
    result.and(controller.send_back(&mut ways).await)
}

/// What was changed over HTTP is kept over a reset of the chip.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "2 min")]
async fn a_changed_configuration_survives_a_reset(context: &mut Context) -> Outcome {
    survives(context, false).await
}

/// What was changed over HTTP is kept over a loss of power, at once after it was answered.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "2 min", needs = ["power"])]
async fn a_changed_configuration_survives_a_loss_of_power(context: &mut Context) -> Outcome {
    survives(context, true).await
}

async fn survives(context: &Context, power: bool) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let mut ways = Ways::of(context);
    let result = async {
        let change = json!({"mqtt_telemetry_interval": 42, "mqtt_retain_telemetry": true});
        changed(context, &controller, http, &change).await?;
        let before = http.get(&controller, CONFIG).await?.body;
        if power {
            lose_power(context, &controller).await?;
        } else {
            restart(context, &controller).await?;
        }
        let kept = http.get(&controller, CONFIG).await?.body;
        context.expect_equal("the configuration afterwards", &before, &kept)
    };
    let result = result.await;
    let undone = async {
        controller.send_back(&mut ways).await?;
        controller.forget("telemetry/temperature").await
    };
    result.and(undone.await)
}

/// Posts a change; it is taken, and shown from then on.
async fn changed(
    context: &Context,
    controller: &Controller,
    http: Http,
    change: &Value,
) -> Outcome {
    let answer = http.post(controller, CONFIG, &change.to_string()).await?;
    context.expect_equal(format_args!("status of POST {change}"), 200, answer.status)?;
    let shown = http.get(controller, CONFIG).await?.body;
    for (field, value) in change.as_object().into_iter().flatten() {
        expect_json(context, &format!("`{field}`"), value.clone(), &shown[field])?;
    }
    Ok(())
}

/// Whatever a client sends, and however slowly, the device answers with what is wrong, and serves
/// the next client.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "3 min")]
async fn a_bad_client_is_answered_and_harms_nobody(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let head = |rest: &str| format!("{rest} HTTP/1.1\r\nHost: d\r\n");
    let long = "x".repeat(2_000);
    for (request, status) in [
        (head("GET /nothing") + "\r\n", 404),
        (head(&format!("DELETE {CONFIG}")) + "\r\n", 405),
        (head(&format!("POST {STATUS}")) + "\r\n", 405),
        (
            head(&format!("POST {CONFIG}")) + "Content-Length: 4294967295\r\n\r\n",
            413,
        ),
        (
            head(&format!("POST {CONFIG}")) + "Content-Length: -1\r\n\r\n",
            400,
        ),
        (
            head(&format!("POST {CONFIG}")) + "Transfer-Encoding: chunked\r\n\r\n",
            411,
        ),
        (
            head(&format!("POST {CONFIG}")) + "Content-Length: 3\r\n\r\n{ ]",
            400,
        ),
        (head("GET /") + &format!("X: {long}\r\n\r\n"), 431),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 505),
    ] {
        let answer = http.send(&controller, &request).await?;
        let shown: String = request.chars().take(60).collect();
        context.expect_equal(format_args!("status of {shown:?}"), status, answer.status)?;
        ensure!(answer.body["error"].is_string(), "an `error` in the answer"; "{}", answer.body);
        if status == 405 {
            ensure!(answer.head.contains("\r\nAllow: "), "an Allow field"; "{}", answer.head);
        }
    }
    // Two at once; the slow one has half a request, and is told that it took too long.
    let mut slow = http.connect().await?;
    slow.write_all(b"GET /api")
        .await
        .infra("send half a request")?;
    let answer = http.get(&controller, STATUS).await?;
    context.expect_equal("status beside a slow client", 200, answer.status)?;
    controller.clock.sleep(SLOW_CLIENT).await;
    let late = http_client::answer(&mut slow).await?;
    context.expect_equal("status for a slow client", 408, late.status)?;
    let answer = http.get(&controller, CONFIG).await?;
    context.expect_equal("status afterwards", 200, answer.status)
}

/// Waits until the status is as `wanted`, in words `what`.
async fn wait_status(
    controller: &Controller,
    http: Http,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value, ScenarioError> {
    let mut tries = 40;
    loop {
        let status = http.get(controller, STATUS).await?.body;
        if wanted(&status) {
            return Ok(status);
        }
        tries -= 1;
        if tries == 0 {
            let expected = format_args!("a status of {what} within 20 s");
            return Err(ScenarioError::failure(expected, status));
        }
        controller.clock.sleep(Duration::from_millis(500)).await;
    }
}
