//! STAB-3: losses of power at any moment, also within a write to flash.

use std::time::Duration;

use firmware_wire::{Hello, ResetReason};
use fixture_protocol::{CutTrigger, FlashOperation};
use hil_bench::Power;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use rand::Rng;
use serde_json::Value;

use crate::controller::{Controller, expect_json};

/// How often the power is cut, and how often that is tried: a cut within the flash needs an operation
/// of the flash to come.
const CUTS: usize = 52;
const ROUNDS: usize = 2 * CUTS;
/// How long the device may take from power to hello.
const BOOT_WITHIN: Duration = Duration::from_secs(10);
/// By then a cut has begun, if it does.
const CUT_WITHIN: Duration = Duration::from_secs(8);

/// Power is cut at many moments, every second time within an operation of the flash while the device
/// keeps something: it boots each time, counts each boot once and says why, and what it keeps is as it
/// was before or as it was to become.
#[scenario(id = "STAB-3", category = "stability", tags = ["nightly", "release"], timeout = "60 min", needs = ["power"])]
async fn every_loss_of_power_is_survived(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let power = power(context)?;
    let _allowed = context.allow_resets();
    let mut boots = controller.hello()?.boot_count;
    let mut value = set(&controller, 61.0).await?;
    let (mut in_flash, mut cuts) = (0_usize, 0_usize);
    for round in 0..ROUNDS {
        if cuts == CUTS {
            break;
        }
        // Two different values, neither of which it has.
        let tenths = 600 + 2 * u16::try_from(round).unwrap_or(0);
        let wanted = f64::from(tenths) / 10.0;
        let between = f64::from(tenths + 1) / 10.0;
        let off = Duration::from_millis(context.rng().random_range(1..400));
        let at_flash = round % 2 == 0 && power.cuts_at_flash_operations();
        let trigger = if at_flash {
            CutTrigger::FlashOperation {
                kind: FlashOperation::Any,
                nth: context.rng().random_range(1..=2),
                delay_us: None,
            }
        } else {
            CutTrigger::After {
                delay_us: context.rng().random_range(0..3_000_000),
            }
        };
        let cutting = power.cut(trigger, off, CUT_WITHIN);
        // Meanwhile the device has something to keep; whether it answers is chance.
        let keeping = async {
            let _ = set(&controller, between).await;
            let _ = set(&controller, wanted).await;
        };
        let (cut, ()) = tokio::join!(cutting, keeping);
        let cut = cut.infra("cut the power")?;
        if cut {
            cuts += 1;
            in_flash += usize::from(at_flash);
            boots += 1;
        }
        let case = format!("round {round}, {trigger:?}");
        alive(context, &controller, boots, cut, &case).await?;
        let kept = threshold(&controller).await?;
        ensure!(
            [wanted, between, value].contains(&kept),
            "a threshold of {wanted}, {between} or still {value} after {case}"; "{kept}"
        );
        value = kept;
    }
    let _ = set(&controller, 85.0).await?;
    context.measured("power cuts", cuts as f64, "cuts");
    context.measured("power cuts in a flash operation", in_flash as f64, "cuts");
    ensure!(cuts >= 50, "at least 50 cuts in {ROUNDS} rounds"; "{cuts}");
    ensure!(
        in_flash >= 10 || !power.cuts_at_flash_operations(),
        "at least 10 cuts within a flash operation"; "{in_flash}"
    );
    Ok(())
}

/// The device is back on the broker, knows which boot this is and why, and has said so.
async fn alive(
    context: &Context,
    controller: &Controller,
    boots: u32,
    cut: bool,
    case: &str,
) -> Outcome {
    let hello = controller
        .device
        .wait_boot(BOOT_WITHIN)
        .await
        .failure(format_args!("a boot after {case}"))?;
    context.expect_equal(
        format_args!("boot count after {case}"),
        boots,
        hello.boot_count,
    )?;
    if cut {
        context.expect_equal(
            format_args!("reset reason after {case}"),
            ResetReason::PowerOn,
            hello.reset_reason,
        )?;
    }
    ensure!(hello.provisioned, "a configuration after {case}"; "none");
    connected(context, controller, &hello).await
}

/// The device is on the broker and its retained boot message is of this boot.
async fn connected(context: &Context, controller: &Controller, hello: &Hello) -> Outcome {
    controller.wait_connected().await?;
    // The message follows the session.
    controller.command("get_status", "{}").await?;
    let boot: Value = serde_json::from_slice(&controller.retained("state/boot").await?.payload)
        .failure("JSON on state/boot")?;
    expect_json(
        context,
        "`count` on state/boot",
        u64::from(hello.boot_count),
        &boot["count"],
    )
}

/// Restarts the device by a reset of the chip, with what it has kept.
pub(crate) async fn restart(context: &Context, controller: &Controller) -> Outcome {
    let _allowed = context.allow_resets();
    let before = controller.hello()?.boot_count;
    context.bench().reset().await.infra("reset the chip")?;
    let hello = controller
        .device
        .wait_boot(BOOT_WITHIN)
        .await
        .failure("a boot after the reset")?;
    context.expect_equal("boot count after a reset", before + 1, hello.boot_count)?;
    connected(context, controller, &hello).await
}

/// Sets the high threshold of the point that this scenario uses.
async fn set(controller: &Controller, value: f64) -> Result<f64, ScenarioError> {
    let parameters =
        format!(r#"{{"point_id":58,"threshold_type":"high","value":{value:.1},"hysteresis":2.0}}"#);
    controller.command("set_threshold", &parameters).await?;
    Ok(value)
}

async fn threshold(controller: &Controller) -> Result<f64, ScenarioError> {
    let data = controller
        .command("get_point", r#"{"point_id":58}"#)
        .await?
        .data;
    data["thresholds"]["high"].as_f64().ok_or_else(|| {
        ScenarioError::failure(
            "a high threshold of point 58",
            data["thresholds"].to_string(),
        )
    })
}

fn power(context: &Context) -> Result<Power, ScenarioError> {
    context.bench().power().ok_or_else(|| ScenarioError::Infra {
        reason: "the power switch is gone".to_owned(),
    })
}
