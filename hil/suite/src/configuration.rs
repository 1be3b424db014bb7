//! INT-1: the configuration over HTTP: read, changed, applied, refused, kept.

use std::time::Duration;

use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::controller::{Controller, expect_json};
use crate::http_client::{self, Http};
use crate::power::restart;

const CONFIG: &str = "/api/mqtt/config";
const STATUS: &str = "/api/mqtt/status";
/// What is shown in the place of the password.
const PASSWORD_SHOWN: &str = "********";
/// How long the device waits for a request, and a little.
const SLOW_CLIENT: Duration = Duration::from_secs(7);

/// What HTTP shows is what the device was given, without its password; changes are applied, and kept
/// over a reset; a change with a bad field changes nothing and names the field.
#[scenario(id = "INT-1", category = "integration", tags = ["nightly", "release"], timeout = "3 min")]
async fn the_configuration_is_read_changed_and_kept_over_http(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let http = Http::of(context, &controller)?;
    let judged = judge_configuration(context, &controller, http).await;
    // First back to what the others expect, then the judgement.
    controller.send_to_its_broker().await?;
    judged
}

async fn judge_configuration(
    context: &mut Context,
    controller: &Controller,
    http: Http,
) -> Outcome {
    let broker = &controller.provision.broker;
    let before = http.get(controller, CONFIG).await?;
    context.expect_equal("status of GET", 200, before.status)?;
    for (field, expected) in [
        ("mqtt_enabled", json!(true)),
        ("mqtt_broker", json!(broker.host.as_str())),
        ("mqtt_port", json!(broker.port)),
        ("mqtt_password", json!(PASSWORD_SHOWN)),
        ("mqtt_device_name", json!(controller.device_id())),
        ("mqtt_use_tls", json!(false)),
    ] {
        expect_json(context, field, expected, &before.body[field])?;
    }
    let status = http.get(controller, STATUS).await?;
    expect_json(context, "`connected`", true, &status.body["connected"])?;
    ensure!(
        status.body["messages_sent"].as_u64() > Some(0),
        "messages sent"; "{}", status.body
    );

    // The interval comes before the bad field: it must not be taken either.
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
        (r#"{"topic_level1_value":"a/b"}"#, "topic_level1_value"),
        (r#"{"no_such_field":1}"#, "no_such_field"),
    ] {
        let refused = http.post(controller, CONFIG, body).await?;
        context.expect_equal(format_args!("status of POST {body}"), 400, refused.status)?;
        expect_json(
            context,
            &format!("`field` of {body}"),
            field,
            &refused.body["field"],
        )?;
    }
    let after = http.get(controller, CONFIG).await?;
    context.expect_equal("configuration after bad changes", &before.body, &after.body)?;

    // What was read can be sent back: the password stays.
    let changed = json!({
        "mqtt_telemetry_interval": 42,
        "mqtt_password": PASSWORD_SHOWN,
        "mqtt_retain_telemetry": true,
    });
    let answer = http.post(controller, CONFIG, &changed.to_string()).await?;
    context.expect_equal("status of POST", 200, answer.status)?;
    restart(context, controller).await?;
    let kept = http.get(controller, CONFIG).await?;
    expect_json(
        context,
        "interval after a reset",
        42,
        &kept.body["mqtt_telemetry_interval"],
    )?;
    expect_json(
        context,
        "retain after a reset",
        true,
        &kept.body["mqtt_retain_telemetry"],
    )?;

    // Off, the session ends and the device stays away; on again, it comes back.
    let off = http
        .post(controller, CONFIG, r#"{"mqtt_enabled":false}"#)
        .await?;
    context.expect_equal("status of POST", 200, off.status)?;
    wait_status(controller, http, false).await?;
    let on = http
        .post(controller, CONFIG, r#"{"mqtt_enabled":true}"#)
        .await?;
    context.expect_equal("status of POST", 200, on.status)?;
    wait_status(controller, http, true).await
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

/// Waits until the status says whether the device is connected.
async fn wait_status(
    controller: &Controller,
    http: Http,
    connected: bool,
) -> Result<(), ScenarioError> {
    for _ in 0..40 {
        let status = http.get(controller, STATUS).await?;
        if status.body["connected"] == connected {
            return Ok(());
        }
        controller.clock.sleep(Duration::from_millis(500)).await;
    }
    Err(ScenarioError::failure(
        format_args!("`connected` {connected} within 20 s"),
        "the opposite",
    ))
}
