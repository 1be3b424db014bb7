//! CON: getting and keeping a connection.

use std::time::Duration;

use firmware_wire::Connection;
use hil_runner::{Context, Outcome, ResultExt as _, ensure, fail, scenario};

use crate::controller::{Controller, expect_json};
use crate::refusing_broker::RefusingBroker;

/// The device is on the broker, and its retained topics say so: `state/connection` is `online`,
/// `state/boot` holds the boot that the bench saw over RTT.
#[scenario(id = "CON-1", category = "connectivity", tags = ["smoke", "nightly", "release"], timeout = "30 s")]
async fn device_connects_and_says_so(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let connection = controller.retained("state/connection").await?;
    context.expect_equal("state/connection", "online", connection.text().as_str())?;
    let boot = controller.retained("state/boot").await?;
    let said: serde_json::Value =
        serde_json::from_slice(&boot.payload).failure("JSON on state/boot")?;
    let hello = controller.hello()?;
    expect_json(context, "`event` on state/boot", "boot", &said["event"])?;
    expect_json(
        context,
        "`count` on state/boot",
        u64::from(hello.boot_count),
        &said["count"],
    )?;
    expect_json(
        context,
        "`device_id` on state/boot",
        controller.device_id(),
        &said["device_id"],
    )?;
    ensure!(
        said["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "a `reason` on state/boot"; "{}", said["reason"]
    );
    Ok(())
}

/// A broker that refuses the connection with CONNACK code 5 is named with that code by the device,
/// and the device is back as soon as it is sent to its own broker again.
#[scenario(id = "CON-1", category = "connectivity", tags = ["smoke", "nightly", "release"], timeout = "60 s", needs = ["embedded-broker"])]
async fn a_refused_connection_is_reported_with_its_reason(context: &mut Context) -> Outcome {
    const NOT_AUTHORISED: u8 = 5;
    let controller = context.state::<Controller>();
    let refusing = RefusingBroker::start(controller.listen_address(), NOT_AUTHORISED)
        .await
        .infra("listen for the device")?;
    controller.send_to_broker(refusing.port()).await?;
    let refused = controller.wait_refused(Duration::from_secs(20)).await;
    // First back to work, then the judgement: other scenarios need the device.
    controller.send_to_its_broker().await?;
    match refused? {
        Connection::Refused { code } => context.expect_equal("CONNACK code", NOT_AUTHORISED, code),
        other => fail!("the connection refused with code 5"; "{other:?}"),
    }
}
