//! STAB-3: losses of power at any moment, also within a write to flash.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use firmware_wire::{Hello, ResetReason};
use fixture_protocol::{CutTrigger, FlashOperation, SensorFault};
use hil_bench::Power;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use rand::Rng;
use serde_json::{Value, json};

use crate::contract::difference::differences;
use crate::controller::Controller;
use crate::http_client::Http;
use crate::retained::expect_boot_payload;
use crate::sensors::usual;

/// How often the power is cut at least, how often it is meant to be, and how many rounds of two cuts
/// that may take: a cut within the flash needs an operation of the flash to come.
const CUTS_MIN: usize = 50;
const CUTS: usize = 52;
const ROUNDS_MAX: usize = 40;
/// Of those at the flash, so many must have struck each of its operations.
const CUTS_OF_A_KIND_MIN: usize = 5;
/// Everything that is kept is looked at after so many rounds, and at the end.
const LOOK_EVERY: usize = 10;
/// How long the device may take from power to hello.
const BOOT_WITHIN: Duration = Duration::from_secs(10);
/// By then a cut has begun, if it does.
const CUT_WITHIN: Duration = Duration::from_secs(8);
/// The point whose high threshold is set all the time, and what it is set to, tenths of a degree: in
/// turn, so that each value differs from those before it.
const POINT: u8 = 58;
const TENTHS: std::ops::Range<u32> = 600..840;
/// The sensor that is not there meanwhile.
const UNPLUGGED: u8 = 3;

/// Power is cut at many moments: while the device keeps something, within erases and programmings of
/// its flash, and while it boots. It boots each time, counts each boot once and says why; what it has
/// acknowledged is kept, and so are its configuration, its schedule and the points of its sensors.
#[scenario(id = "STAB-3", category = "stability", tags = ["nightly", "release"], timeout = "60 min", needs = ["power"])]
async fn every_loss_of_power_is_survived(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let sensors = context.bench().sensors().filter(|s| s.are_on_a_bus());
    let summary = controller.command("get_summary", "{}").await?.data;
    let mut measured = summary["active_points"].as_u64().unwrap_or_default();
    if let Some(sensors) = &sensors {
        measured -= 1;
        // Whoever looks for its sensors anew finds one fewer, and gives the others other points.
        sensors
            .break_sensor(UNPLUGGED, SensorFault::Unplugged)
            .await
            .infra("unplug a sensor")?;
    }
    let before = set_up(&controller).await;
    let result = match before {
        Ok(()) => {
            cuts(
                context,
                &controller,
                u8::try_from(measured).unwrap_or(u8::MAX),
            )
            .await
        }
        Err(error) => Err(error),
    };
    let undone = async {
        if let Some(sensors) = &sensors {
            sensors.mend_sensor(UNPLUGGED).await.infra("plug it in")?;
            usual(sensors, UNPLUGGED).await?;
        }
        Ok(())
    };
    result.and(undone.await)?;
    interval(&controller, controller.telemetry_interval().as_secs()).await?;
    set(&controller, 850).await?;
    controller
        .command("remove_schedule", SCHEDULE_ID)
        .await
        .map(drop)
}

const SCHEDULE_ID: &str = r#"{"schedule_id":"stab-3"}"#;

async fn set_up(controller: &Controller) -> Outcome {
    // Another than it was given: what it was given it would have all the same.
    interval(controller, controller.telemetry_interval().as_secs() + 1).await?;
    add_schedule(controller).await?;
    set(controller, TENTHS.start).await
}

async fn interval(controller: &Controller, seconds: u64) -> Outcome {
    let parameters = format!("{{\"telemetry_interval\":{seconds}}}");
    controller
        .command("set_config", &parameters)
        .await
        .map(drop)
}

async fn add_schedule(controller: &Controller) -> Outcome {
    let parameters = r#"{"schedule_id":"stab-3","schedule_type":"interval","interval_seconds":3600,"command":"get_summary"}"#;
    controller
        .command("add_schedule", parameters)
        .await
        .map(drop)
}

async fn cuts(context: &mut Context, controller: &Controller, sensors: u8) -> Outcome {
    let power = power(context)?;
    let http = Http::of(context, controller)?;
    let before = kept(controller, http, sensors).await?;
    let _allowed = context.allow_resets();
    let mut boots = controller.hello()?.boot_count;
    let setting = Setting::new(TENTHS.start);
    let mut made = Made::default();
    for round in 0..ROUNDS_MAX {
        if made.all() >= CUTS {
            break;
        }
        let trigger = while_it_works(context.rng(), round, power.cuts_at_flash_operations());
        let off = Duration::from_millis(context.rng().random_range(1..400));
        let cut = tokio::select! {
            cut = power.cut(trigger, off, CUT_WITHIN) => cut.infra("cut the power")?,
            error = setting.goes_on(controller) => return Err(error),
        };
        let mut counted = boots..=boots;
        let mut case = format!("round {round}, {trigger:?}");
        if cut {
            made.count(trigger);
            counted = boots + 1..=boots + 1;
            // And once more while it boots: that boot may be counted or not.
            let trigger = while_it_boots(context.rng(), round, power.cuts_at_flash_operations());
            let off = Duration::from_millis(context.rng().random_range(1..400));
            if power
                .cut(trigger, off, CUT_WITHIN)
                .await
                .infra("cut the power")?
            {
                made.at_boot += 1;
                counted = boots + 1..=boots + 2;
                case += &format!(", then {trigger:?}");
            }
        }
        let hello = alive(context, controller, cut, &case).await?;
        ensure!(
            counted.contains(&hello.boot_count),
            "boot count {counted:?} after {case}"; "{}", hello.boot_count
        );
        boots = hello.boot_count;
        setting.expect_kept(controller, &case).await?;
        if round % LOOK_EVERY == LOOK_EVERY - 1 {
            as_before(&before, &kept(controller, http, sensors).await?, &case)?;
        }
    }
    as_before(&before, &kept(controller, http, sensors).await?, "all cuts")?;
    made.tell(context);
    ensure!(made.all() >= CUTS_MIN, "at least {CUTS_MIN} cuts in {ROUNDS_MAX} rounds"; "{made:?}");
    ensure!(
        made.erase.min(made.program) >= CUTS_OF_A_KIND_MIN || !power.cuts_at_flash_operations(),
        "at least {CUTS_OF_A_KIND_MIN} cuts within an erase, and within a programming"; "{made:?}"
    );
    Ok(())
}

/// A moment while the device works and keeps something: in the middle of an operation of the flash or
/// some time after its beginning, or any moment.
fn while_it_works(random: &mut impl Rng, round: usize, at_flash: bool) -> CutTrigger {
    // Data sheets of serial flash: a sector takes 45 ms to erase, a page 0.4 ms to program.
    let operation = |kind, delay_us| CutTrigger::FlashOperation {
        kind,
        nth: 1,
        delay_us,
    };
    match round % 5 {
        0 if at_flash => operation(FlashOperation::Erase, None),
        1 if at_flash => operation(FlashOperation::Program, None),
        2 if at_flash => operation(FlashOperation::Erase, Some(random.random_range(0..30_000))),
        3 if at_flash => operation(FlashOperation::Program, Some(random.random_range(0..300))),
        _ => CutTrigger::After {
            delay_us: random.random_range(0..500_000),
        },
    }
}

/// A moment while the device boots: every second time, when it writes its boot count.
fn while_it_boots(random: &mut impl Rng, round: usize, at_flash: bool) -> CutTrigger {
    if at_flash && round.is_multiple_of(2) {
        return CutTrigger::FlashOperation {
            kind: FlashOperation::Program,
            nth: 1,
            delay_us: None,
        };
    }
    CutTrigger::After {
        delay_us: random.random_range(0..600_000),
    }
}

/// The cuts that were made.
#[derive(Debug, Default)]
struct Made {
    erase: usize,
    program: usize,
    anywhere: usize,
    at_boot: usize,
}

impl Made {
    fn count(&mut self, trigger: CutTrigger) {
        let made = match trigger {
            CutTrigger::FlashOperation {
                kind: FlashOperation::Erase,
                ..
            } => &mut self.erase,
            CutTrigger::FlashOperation { .. } => &mut self.program,
            CutTrigger::Now | CutTrigger::After { .. } => &mut self.anywhere,
        };
        *made += 1;
    }

    fn all(&self) -> usize {
        self.erase + self.program + self.anywhere + self.at_boot
    }

    fn tell(&self, context: &Context) {
        for (what, cuts) in [
            ("power cuts", self.all()),
            ("power cuts within an erase", self.erase),
            ("power cuts within a programming", self.program),
            ("power cuts while it booted", self.at_boot),
        ] {
            context.measured(what, cuts as f64, "cuts");
        }
    }
}

/// A threshold that is set again and again, in tenths of a degree.
struct Setting {
    /// The last value that the device has acknowledged.
    acknowledged: AtomicU32,
    /// The last value that it was asked to take: the same, or the next.
    asked: AtomicU32,
}

impl Setting {
    fn new(tenths: u32) -> Self {
        Self {
            acknowledged: AtomicU32::new(tenths),
            asked: AtomicU32::new(tenths),
        }
    }

    /// Sets one value after the other, until one is not acknowledged.
    async fn goes_on(&self, controller: &Controller) -> ScenarioError {
        loop {
            let last = self.asked.load(Ordering::Relaxed);
            let next = TENTHS.start + (last + 1 - TENTHS.start) % (TENTHS.end - TENTHS.start);
            self.asked.store(next, Ordering::Relaxed);
            if let Err(error) = set(controller, next).await {
                return error;
            }
            self.acknowledged.store(next, Ordering::Relaxed);
        }
    }

    /// What the device has is what it acknowledged last, or what it was asked for after that.
    async fn expect_kept(&self, controller: &Controller, case: &str) -> Outcome {
        let kept = threshold(controller).await?;
        let [acknowledged, asked] =
            [&self.acknowledged, &self.asked].map(|tenths| tenths.load(Ordering::Relaxed));
        let tenths = [acknowledged, asked]
            .into_iter()
            .find(|tenths| f64::from(*tenths) / 10.0 == kept);
        let Some(tenths) = tenths else {
            return Err(ScenarioError::failure(
                format_args!(
                    "a threshold of {:.1}, which was acknowledged, or {:.1}, which was asked for, after {case}",
                    f64::from(acknowledged) / 10.0,
                    f64::from(asked) / 10.0
                ),
                kept,
            ));
        };
        self.acknowledged.store(tenths, Ordering::Relaxed);
        self.asked.store(tenths, Ordering::Relaxed);
        Ok(())
    }
}

/// Everything that the device keeps, apart from the threshold that is set all the time.
async fn kept(controller: &Controller, http: Http, sensors: u8) -> Result<Value, ScenarioError> {
    // A point says which sensor it has once that was looked for.
    controller.wait_measured(sensors).await?;
    let configuration = http.get(controller, "/api/mqtt/config").await?.body;
    // There is no list of schedules, but one that is not there can't be removed.
    controller.command("remove_schedule", SCHEDULE_ID).await?;
    add_schedule(controller).await?;
    let mut points = Vec::new();
    for point in 0..60 {
        let parameters = format!("{{\"point_id\":{point}}}");
        let data = controller.command("get_point", &parameters).await?.data;
        let mut thresholds = data["thresholds"].clone();
        if point == POINT {
            thresholds["high"] = Value::Null;
        }
        points.push(json!({"sensor": data["sensor_id"], "thresholds": thresholds}));
    }
    Ok(json!({"configuration": configuration, "points": points}))
}

fn as_before(before: &Value, after: &Value, case: &str) -> Outcome {
    let changed = differences(before, after);
    ensure!(changed.is_empty(), "everything kept as it was after {case}"; "{}", changed.join("; "));
    Ok(())
}

/// The device is back on the broker, knows why it booted, and has said so.
async fn alive(
    context: &Context,
    controller: &Controller,
    cut: bool,
    case: &str,
) -> Result<Hello, ScenarioError> {
    let hello = controller
        .device
        .wait_boot(BOOT_WITHIN)
        .await
        .failure(format_args!("a boot after {case}"))?;
    if cut {
        context.expect_equal(
            format_args!("reset reason after {case}"),
            ResetReason::PowerOn,
            hello.reset_reason,
        )?;
    }
    ensure!(hello.provisioned, "a configuration after {case}"; "none");
    connected(context, controller, &hello).await?;
    Ok(hello)
}

/// The device is on the broker and its retained boot message is of this boot.
async fn connected(context: &Context, controller: &Controller, hello: &Hello) -> Outcome {
    controller.wait_connected().await?;
    // The message follows the session.
    controller.wait_answering().await?;
    let boot = controller.retained("state/boot").await?;
    expect_boot_payload(context, &boot.payload, hello)
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

/// Restarts the device by a loss of power, with what it has kept.
pub(crate) async fn lose_power(context: &Context, controller: &Controller) -> Outcome {
    let power = power(context)?;
    let _allowed = context.allow_resets();
    let before = controller.hello()?.boot_count;
    let off = Duration::from_millis(100);
    power
        .cut(CutTrigger::Now, off, CUT_WITHIN)
        .await
        .infra("cut the power")?;
    let hello = alive(context, controller, true, "a loss of power").await?;
    context.expect_equal(
        "boot count after a loss of power",
        before + 1,
        hello.boot_count,
    )
}

/// Sets the high threshold of the point that this scenario uses.
async fn set(controller: &Controller, tenths: u32) -> Outcome {
    let parameters = format!(
        r#"{{"point_id":{POINT},"threshold_type":"high","value":{:.1},"hysteresis":2.0}}"#,
        f64::from(tenths) / 10.0
    );
    controller
        .command("set_threshold", &parameters)
        .await
        .map(drop)
}

async fn threshold(controller: &Controller) -> Result<f64, ScenarioError> {
    let parameters = format!("{{\"point_id\":{POINT}}}");
    let data = controller.command("get_point", &parameters).await?.data;
    data["thresholds"]["high"].as_f64().ok_or_else(|| {
        ScenarioError::failure(
            format_args!("a high threshold of point {POINT}"),
            data["thresholds"].to_string(),
        )
    })
}

fn power(context: &Context) -> Result<Power, ScenarioError> {
    context.bench().power().ok_or_else(|| ScenarioError::Infra {
        reason: "the power switch is gone".to_owned(),
    })
}
