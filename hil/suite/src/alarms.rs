//! INT-2: alarms, from the temperature around a sensor to the message.

use std::collections::BTreeMap;
use std::time::Duration;

use fixture_protocol::BusFault;
use hil_bench::Sensors;
use hil_mqtt::Subscription;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::Value;

use crate::contract::requests;
use crate::contract::schema::{Kind, Member, violations};
use crate::controller::{Controller, expect_json};
use crate::sensors::{MEASURED_WITHIN, sensors, usual};

/// A scan of a bus that is shorted takes longer, and sixty messages their time.
const STORM_OVER_WITHIN: Duration = Duration::from_secs(20);
/// By then all alarms are over whose cause is.
const ALARMS_OVER_WITHIN: Duration = Duration::from_secs(30);
/// How long there must be nothing: three scans.
const QUIET: Duration = Duration::from_secs(16);
/// A message that a command causes.
const SOON: Duration = Duration::from_secs(5);

/// What every alarm message has (contract, "Alarms and relays").
const ALARM: &[Member] = &[
    Member("alarm_id", Kind::Text),
    Member(
        "alarm_type",
        Kind::OneOf(&["HIGH_TEMP", "LOW_TEMP", "SENSOR_ERROR"]),
    ),
    Member("point_id", Kind::Integer(0, 59)),
    Member("point_name", Kind::Text),
    Member("priority", Kind::Text),
    Member(
        "state_transition",
        Kind::OneOf(&[
            "NORMAL->ACTIVE",
            "ACTIVE->ACKNOWLEDGED",
            "ACTIVE->CLEARED",
            "ACKNOWLEDGED->CLEARED",
        ]),
    ),
    Member("temperature", Kind::NumberOrNull(-50.0, 200.0)),
    Member("threshold", Kind::NumberOrNull(-50.0, 200.0)),
    Member("timestamp", Kind::Timestamp),
];

/// A temperature over the high threshold raises one alarm; back below the threshold but within the
/// hysteresis it stays; beyond the hysteresis it clears, with one message.
#[scenario(id = "INT-2", category = "integration", tags = ["nightly", "release"], timeout = "5 min", needs = ["sensors:6"])]
async fn a_high_alarm_clears_only_beyond_its_hysteresis(context: &mut Context) -> Outcome {
    // Threshold 40, hysteresis 3: clears at 37.
    let course = Course {
        sensor: 5,
        side: "high",
        alarm_type: "HIGH_TEMP",
        threshold: 40.0,
        hysteresis: 3.0,
        default: 85.0,
        beyond: 42.0,
        within: 38.0,
        back: 36.5,
    };
    raised_and_cleared(context, &course).await
}

/// The same below the low threshold.
#[scenario(id = "INT-2", category = "integration", tags = ["nightly", "release"], timeout = "5 min", needs = ["sensors:7"])]
async fn a_low_alarm_clears_only_beyond_its_hysteresis(context: &mut Context) -> Outcome {
    let course = Course {
        sensor: 6,
        side: "low",
        alarm_type: "LOW_TEMP",
        threshold: 5.0,
        hysteresis: 3.0,
        default: -20.0,
        beyond: 2.5,
        within: 7.0,
        back: 8.5,
    };
    raised_and_cleared(context, &course).await
}

struct Course {
    sensor: u8,
    side: &'static str,
    alarm_type: &'static str,
    threshold: f64,
    hysteresis: f64,
    default: f64,
    beyond: f64,
    within: f64,
    back: f64,
}

async fn raised_and_cleared(context: &Context, course: &Course) -> Outcome {
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    let point = point_of(&controller, course.sensor).await?;
    // First out of reach of the new threshold.
    set(&sensors, course.sensor, course.back).await?;
    controller.clock.sleep(MEASURED_WITHIN).await;
    no_alarms(&controller).await?;
    let mut alarms = controller.subscribe("alarm/active").await?;
    threshold(
        &controller,
        point,
        course,
        course.threshold,
        course.hysteresis,
    )
    .await?;
    let result = async {
        set(&sensors, course.sensor, course.beyond).await?;
        let raised = alarm(
            &controller,
            &mut alarms,
            "an alarm for the temperature",
            MEASURED_WITHIN,
        )
        .await?;
        expect_json(
            context,
            "`state_transition`",
            "NORMAL->ACTIVE",
            &raised["state_transition"],
        )?;
        expect_json(
            context,
            "`alarm_type`",
            course.alarm_type,
            &raised["alarm_type"],
        )?;
        expect_json(context, "`point_id`", point, &raised["point_id"])?;
        expect_json(
            context,
            "`threshold`",
            course.threshold,
            &raised["threshold"],
        )?;
        ensure!(
            raised["temperature"].as_f64().is_some_and(|t| (t - course.beyond).abs() < 0.11),
            "`temperature` {}", course.beyond; "{}", raised["temperature"]
        );
        let listed = active(&controller).await?;
        ensure!(
            listed.iter().any(|alarm| alarm["alarm_id"] == raised["alarm_id"]),
            "the alarm among the active ones"; "{listed:?}"
        );
        controller
            .nothing_on(&mut alarms, "one message for the alarm", QUIET)
            .await?;
        set(&sensors, course.sensor, course.within).await?;
        controller
            .nothing_on(&mut alarms, "no message within the hysteresis", QUIET)
            .await?;
        set(&sensors, course.sensor, course.back).await?;
        let cleared = alarm(
            &controller,
            &mut alarms,
            "the alarm to clear",
            MEASURED_WITHIN,
        )
        .await?;
        expect_json(
            context,
            "`state_transition`",
            "ACTIVE->CLEARED",
            &cleared["state_transition"],
        )?;
        ensure!(
            cleared["alarm_id"] == raised["alarm_id"],
            "the alarm that was raised, {}", raised["alarm_id"]; "{}", cleared["alarm_id"]
        );
        controller
            .nothing_on(&mut alarms, "one message for the clearing", QUIET)
            .await
    };
    let result = result.await;
    let undone = async {
        threshold(&controller, point, course, course.default, 2.0).await?;
        usual(&sensors, course.sensor).await
    };
    result.and(undone.await)
}

/// `test_alarm` raises an alarm, `acknowledge_alarm` acknowledges it; each is one message, and the
/// list of active alarms follows.
#[scenario(id = "INT-2", category = "integration", tags = ["nightly", "release"], timeout = "3 min")]
async fn a_test_alarm_is_raised_and_acknowledged(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    no_alarms(&controller).await?;
    let mut alarms = controller.subscribe("alarm/active").await?;
    let parameters = r#"{"point_id":7,"alarm_type":"HIGH_TEMP","test_value":120.5}"#;
    controller.command("test_alarm", parameters).await?;
    let raised = alarm(
        &controller,
        &mut alarms,
        "the alarm that was asked for",
        SOON,
    )
    .await?;
    expect_json(
        context,
        "`state_transition`",
        "NORMAL->ACTIVE",
        &raised["state_transition"],
    )?;
    expect_json(context, "`point_id`", 7_u64, &raised["point_id"])?;
    expect_json(context, "`temperature`", 120.5, &raised["temperature"])?;
    let id = raised["alarm_id"].as_str().unwrap_or_default().to_owned();
    let parameters = format!("{{\"alarm_id\":\"{id}\"}}");
    controller.command("acknowledge_alarm", &parameters).await?;
    let acknowledged = alarm(&controller, &mut alarms, "the acknowledgement", SOON).await?;
    expect_json(
        context,
        "`state_transition`",
        "ACTIVE->ACKNOWLEDGED",
        &acknowledged["state_transition"],
    )?;
    expect_json(
        context,
        "`alarm_id`",
        id.as_str(),
        &acknowledged["alarm_id"],
    )?;
    // The next real measurement, or at the latest some time later, ends it.
    let cleared = alarm(
        &controller,
        &mut alarms,
        "the test alarm to end",
        Duration::from_secs(90),
    )
    .await?;
    expect_json(
        context,
        "`state_transition`",
        "ACKNOWLEDGED->CLEARED",
        &cleared["state_transition"],
    )?;
    let listed = active(&controller).await?;
    ensure!(
        !listed.iter().any(|alarm| alarm["alarm_id"].as_str() == Some(&id)),
        "no active alarm {id} any more"; "{listed:?}"
    );
    controller
        .nothing_on(&mut alarms, "one message for each change", QUIET)
        .await
}

/// The bus is shorted: each sensor's point raises its alarm, once; sound again, each clears, once. However
/// many there are at a time, none is lost.
#[scenario(id = "INT-2", category = "integration", tags = ["nightly", "release"], timeout = "5 min", needs = ["sensor-bus"])]
async fn a_shorted_bus_raises_each_alarm_once(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    no_alarms(&controller).await?;
    let summary = controller.command("get_summary", "{}").await?.data;
    let count = summary["active_points"].as_u64().unwrap_or_default();
    let mut alarms = controller.subscribe("alarm/active").await?;
    let short = Some(BusFault::ShortToGround);
    sensors.set_bus_fault(short).await.infra("short the bus")?;
    let raised = storm(&controller, &mut alarms, count, "NORMAL->ACTIVE").await;
    let listed = active_total(&controller).await;
    let mended = sensors.set_bus_fault(None).await.infra("mend the bus");
    let cleared = match &raised {
        Ok(_) => storm(&controller, &mut alarms, count, "ACTIVE->CLEARED").await,
        Err(_) => Ok(BTreeMap::new()),
    };
    let none_left = no_alarms(&controller).await;
    let raised = raised?;
    context.expect_equal("the alarms that cleared", &raised, &cleared?)?;
    mended.and(none_left)?;
    context.expect_equal("active alarms while the bus was shorted", count, listed?)?;
    context.measured("alarms at once", count as f64, "alarms");
    Ok(())
}

/// One SENSOR_ERROR of each of `count` points makes this transition, and nothing else comes. The alarms'
/// ids by point.
async fn storm(
    controller: &Controller,
    alarms: &mut Subscription,
    count: u64,
    transition: &str,
) -> Result<BTreeMap<u64, String>, ScenarioError> {
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut others = Vec::new();
    let until = controller.clock.now() + STORM_OVER_WITHIN;
    loop {
        let left = until.saturating_sub(controller.clock.now());
        if told.len() as u64 == count || left.is_zero() {
            break;
        }
        match alarm(controller, alarms, "an alarm message", left).await {
            Ok(message) => note(&message, transition, &mut told, &mut others),
            // What is missing is said below.
            Err(ScenarioError::Failure(_)) if controller.clock.now() >= until => break,
            Err(error) => return Err(error),
        }
    }
    controller.clock.sleep(QUIET).await;
    while let Some(message) = alarms.try_recv() {
        let message = serde_json::from_slice(&message.payload).failure("JSON on alarm/active")?;
        note(&message, transition, &mut told, &mut others);
    }
    let missing = count.saturating_sub(told.len() as u64);
    let twice = told.values().filter(|ids| ids.len() > 1).count();
    ensure!(
        missing == 0 && twice == 0 && others.is_empty(),
        "{transition} of {count} points, once each, and nothing else";
        "{missing} missing, {twice} more than once, others: {}", others.join("; ")
    );
    let once = told
        .into_iter()
        .map(|(point, mut ids)| (point, ids.remove(0)));
    Ok(once.collect())
}

/// Sorts a message of a storm.
fn note(
    message: &Value,
    transition: &str,
    told: &mut BTreeMap<u64, Vec<String>>,
    others: &mut Vec<String>,
) {
    let point = message["point_id"].as_u64();
    let id = message["alarm_id"].as_str();
    match (point, id) {
        (Some(point), Some(id))
            if message["alarm_type"] == "SENSOR_ERROR"
                && message["state_transition"] == transition =>
        {
            told.entry(point).or_default().push(id.to_owned());
        }
        _ => others.push(message.to_string()),
    }
}

/// The next alarm message, whole.
async fn alarm(
    controller: &Controller,
    alarms: &mut Subscription,
    what: &str,
    limit: Duration,
) -> Result<Value, ScenarioError> {
    let (_, message) = controller.next_json(alarms, what, limit).await?;
    let violations = violations(&message, ALARM, "");
    ensure!(violations.is_empty(), "every field of an alarm message"; "{}", violations.join("; "));
    Ok(message)
}

async fn active(controller: &Controller) -> Result<Vec<Value>, ScenarioError> {
    let response = controller.command("get_active_alarms", "{}").await?;
    Ok(response.data["alarms"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

async fn threshold(
    controller: &Controller,
    point: u64,
    course: &Course,
    value: f64,
    hysteresis: f64,
) -> Outcome {
    let side = course.side;
    let parameters = format!(
        r#"{{"point_id":{point},"threshold_type":"{side}","value":{value:.1},"hysteresis":{hysteresis:.1}}}"#
    );
    controller
        .command("set_threshold", &parameters)
        .await
        .map(drop)
}

/// How many alarms are active.
async fn active_total(controller: &Controller) -> Result<u64, ScenarioError> {
    // Not `Controller::command`: a list that goes on is a partial success.
    let request = requests::request("how-many", "get_active_alarms", "{}");
    let response = controller.request(&request).await?;
    response.data["total"].as_u64().ok_or_else(|| {
        ScenarioError::failure("a `total` of active alarms", format_args!("{:?}", response))
    })
}

/// Waits until no alarm is active: test alarms end with the first measurement after ten seconds.
pub(crate) async fn no_alarms(controller: &Controller) -> Outcome {
    let until = controller.clock.now() + ALARMS_OVER_WITHIN;
    loop {
        let total = active_total(controller).await?;
        if total == 0 {
            return Ok(());
        }
        ensure!(
            controller.clock.now() < until,
            "no active alarm within {} s", ALARMS_OVER_WITHIN.as_secs(); "{total}"
        );
        controller.clock.sleep(Duration::from_secs(1)).await;
    }
}

/// The number of the point that has this sensor.
pub(crate) async fn point_of(controller: &Controller, sensor: u8) -> Result<u64, ScenarioError> {
    let id: String = hil_bench::fixture::rom_of(sensor)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    // A device that was provisioned anew looks for its sensors anew.
    for _ in 0..10 {
        for point in 0..60 {
            let parameters = format!("{{\"point_id\":{point}}}");
            let data = controller.command("get_point", &parameters).await?.data;
            if data["sensor_id"].as_str() == Some(&id) {
                return Ok(point);
            }
        }
        controller.clock.sleep(Duration::from_secs(3)).await;
    }
    Err(ScenarioError::failure(
        format_args!("a point with sensor {id}"),
        "none of the 60 has it",
    ))
}

async fn set(sensors: &Sensors, sensor: u8, celsius: f64) -> Outcome {
    sensors
        .set_temperature(sensor, celsius)
        .await
        .infra("set a temperature")
}
