//! DRILL: one fault each, injected on purpose, so that a rig keeper sees what the rig sees.
//!
//! A rig that overlooks crashes passes everything. So each drill has a firmware built with
//! `test-hooks` break something, and then behaves like any other scenario: the verdict must come
//! from what the bench noticed. A drill that *passes* shows a rig that is blind to its fault.
//!
//! ```text
//! hil run --tag drill --features test-hooks
//! ```
//!
//! | what the device does | verdict |
//! |---|---|
//! | panics, faults, overflows its stack, resets, starves its watchdog, hangs | crash |
//! | hangs at boot, never connects | fail |
//! | garbles, cuts or loses telemetry, overwrites its RTT control block | infra |
//!
//! Infra, because a scenario that lost what it reads has not seen what it judges. No other
//! selection than by tag, ID or name runs them.

use std::sync::Arc;
use std::time::Duration;

use firmware_wire::{ControlBody, Fault};
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, scenario};

use crate::controller::Controller;

/// How long the bench may take to notice; its patience with a silent device is the longest.
const NOTICED_WITHIN: Duration = Duration::from_secs(45);
/// How long the device may take from reset to hello.
const BOOT_WITHIN: Duration = Duration::from_secs(10);
/// Frames to be spoilt: a few, and not only what comes at once.
const FRAMES: u32 = 4;

/// Expected: crash, with the whole message and the place of the panic.
#[scenario(id = "DRILL-1", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_panic_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::Panic).await
}

/// Expected: crash, with the instruction that loaded from nowhere.
#[scenario(id = "DRILL-2", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn an_exception_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::LoadFault).await
}

/// Expected: crash, named a stack overflow.
#[scenario(id = "DRILL-3", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_stack_overflow_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::StackOverflow).await
}

/// Expected: crash, a reset that nobody asked for.
#[scenario(id = "DRILL-4", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_reset_in_the_middle_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::Reset).await
}

/// Expected: crash, by the watchdog.
#[scenario(id = "DRILL-5", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_watchdog_that_bites_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::StopFeedingWatchdog).await
}

/// Expected: crash, with the place where the firmware turns in circles.
#[scenario(id = "DRILL-6", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_device_that_hangs_is_seen(context: &mut Context) -> Outcome {
    crash(context, Fault::Hang).await
}

/// Expected: crash, although the device is well again one boot later.
#[scenario(id = "DRILL-7", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_panic_at_boot_is_seen(context: &mut Context) -> Outcome {
    let controller = armed(context, "CRASH")?;
    let mut crashes = controller.device.crashes();
    inject(&controller, Fault::PanicAtBoot).await?;
    context.bench().reset().await?;
    let seen = controller.clock.timeout(NOTICED_WITHIN, crashes.next());
    seen.await.failure("the panic to be noticed").map(drop)
}

/// Expected: fail, with the place where the firmware turns in circles.
#[scenario(id = "DRILL-8", category = "stability", tags = ["drill"], timeout = "60 s")]
async fn a_device_that_hangs_at_boot_is_seen(context: &mut Context) -> Outcome {
    let controller = armed(context, "FAIL")?;
    inject(&controller, Fault::HangAtBoot).await?;
    context.bench().reset().await?;
    controller.device.wait_boot(BOOT_WITHIN).await?;
    Ok(())
}

/// Expected: fail, with how far the device came on its way to the broker.
#[scenario(id = "DRILL-9", category = "connectivity", tags = ["drill"], timeout = "120 s")]
async fn a_device_that_never_connects_is_seen(context: &mut Context) -> Outcome {
    let controller = armed(context, "FAIL")?;
    inject(&controller, Fault::NeverConnect).await?;
    context.bench().reset().await?;
    controller.device.wait_boot(BOOT_WITHIN).await?;
    controller.wait_connected().await
}

/// Expected: infra, as telemetry was garbled.
#[scenario(id = "DRILL-10", category = "telemetry", tags = ["drill"], timeout = "60 s", telemetry)]
async fn garbled_telemetry_is_seen(context: &mut Context) -> Outcome {
    spoil_telemetry(context, Fault::GarbleTelemetry { frames: FRAMES }).await
}

/// Expected: infra, as telemetry frames lacked their ends.
#[scenario(id = "DRILL-11", category = "telemetry", tags = ["drill"], timeout = "60 s", telemetry)]
async fn cut_telemetry_is_seen(context: &mut Context) -> Outcome {
    spoil_telemetry(context, Fault::CutTelemetry { frames: FRAMES }).await
}

/// Expected: infra, as numbers of telemetry frames are missing.
#[scenario(id = "DRILL-12", category = "telemetry", tags = ["drill"], timeout = "60 s", telemetry)]
async fn lost_telemetry_is_seen(context: &mut Context) -> Outcome {
    spoil_telemetry(context, Fault::LoseTelemetry { frames: FRAMES }).await
}

/// Expected: infra, as the device can't be heard; not crash, as nobody knows what it does.
#[scenario(id = "DRILL-13", category = "telemetry", tags = ["drill"], timeout = "60 s", telemetry)]
async fn an_overwritten_control_block_is_seen(context: &mut Context) -> Outcome {
    spoil_telemetry(context, Fault::OverwriteRttControlBlock).await
}

/// The controller, if its firmware can play faults.
fn armed(context: &Context, expected: &str) -> Result<Arc<Controller>, ScenarioError> {
    let controller = context.state::<Controller>();
    if !controller.hello()?.test_hooks {
        return Err(ScenarioError::blocked(
            "the firmware was built without `test-hooks`; run again with `--features test-hooks`",
        ));
    }
    context.note(format_args!(
        "a drill: a rig that sees the fault says {expected}"
    ));
    Ok(controller)
}

async fn inject(controller: &Controller, fault: Fault) -> Outcome {
    controller.control(ControlBody::Inject(fault)).await
}

/// Plays a fault that is a crash. The bench tells of it, this only waits until it did.
async fn crash(context: &Context, fault: Fault) -> Outcome {
    let controller = armed(context, "CRASH")?;
    let mut crashes = controller.device.crashes();
    inject(&controller, fault).await?;
    let seen = controller.clock.timeout(NOTICED_WITHIN, crashes.next());
    seen.await.failure("the crash to be noticed").map(drop)
}

/// Plays a fault on the telemetry, and goes on reading it as if nothing were.
async fn spoil_telemetry(context: &Context, fault: Fault) -> Outcome {
    let controller = armed(context, "INFRA")?;
    inject(&controller, fault).await?;
    // Each sample is two frames; the loss shows in the first that is whole again.
    for _ in 0..FRAMES {
        controller.next_memory().await?;
    }
    Ok(())
}
