//! TEL-2: what the sensors measure, end to end, from the air around them to the telemetry.

use std::time::Duration;

use firmware_wire::ControlBody;
use fixture_protocol::SensorFault;
use hil_bench::{Bench, Sensors, fixture::rom_of};
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, ensure, scenario};
use serde_json::Value;

use crate::contract::telemetry;
use crate::controller::Controller;
use crate::product::usual_course;
use crate::ways::Ways;

/// Between two telemetry messages while this scenario runs, seconds: longer than a scan takes.
const INTERVAL_S: u64 = 10;
/// What is set shows in a message within one interval; a scan may just have begun, and takes
/// two seconds.
const SHOWN_WITHIN: Duration = Duration::from_secs(2 * INTERVAL_S + 5);
/// A new search has begun by then, and the table of before is gone.
const SEARCHED_WITHIN: Duration = Duration::from_secs(15);
/// A sixteenth of a degree is the sensors' resolution, a tenth that of the telemetry: half of each.
const TOLERANCE: f64 = 0.0625 / 2.0 + 0.05 + 1e-6;

/// Temperatures over the whole range of the sensors, the awkward ones among them; each is shown by
/// the sensor's point, and by no other.
#[scenario(id = "TEL-2", category = "telemetry", tags = ["nightly", "release"], timeout = "10 min", needs = ["sensors"])]
async fn temperatures_appear_in_telemetry(context: &mut Context) -> Outcome {
    // At 85.0 a sensor says what it says after power-on, and below zero there is a sign to lose.
    const TEMPERATURES: [f64; 8] = [-10.125, 0.0, -0.5, 85.0, 25.0625, 60.3, -19.3, 47.9];
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    let _quick = Interval::quick(&controller).await?;
    for (sensor, celsius) in (10..).zip(TEMPERATURES) {
        sensors
            .set_temperature(sensor, celsius)
            .await
            .infra("set a temperature")?;
    }
    let result = async {
        controller.clock.sleep(SHOWN_WITHIN).await;
        let points = points(&controller).await?;
        for (sensor, celsius) in (10..).zip(TEMPERATURES) {
            let point = of_sensor(&points, sensor)?;
            let shown = point["temp"].as_f64();
            let close = shown.is_some_and(|shown| (shown - celsius).abs() <= TOLERANCE);
            ensure!(
                close && point["status"] == "OK",
                "sensor {sensor} at {celsius} °C, within {TOLERANCE:.3}"; "{point}"
            );
        }
        Ok(())
    };
    let result = result.await;
    for sensor in (10..).take(TEMPERATURES.len()) {
        usual(&sensors, sensor).await?;
    }
    Interval::usual(&controller).await?;
    result
}

/// A sensor that is unplugged, garbles, reads as zeros or lost its supply is told for what it is, the
/// others go on, and each is back once it is sound.
#[scenario(id = "TEL-2", category = "telemetry", tags = ["nightly", "release"], timeout = "15 min", needs = ["sensors"])]
async fn broken_sensors_are_told_and_come_back(context: &mut Context) -> Outcome {
    // One bit is flipped: at the top of the temperature that makes an impossible one, which is an error
    // with or without a look at the CRC. Three in a row do not all hit there.
    let cases = [
        (SensorFault::Unplugged, "DISCONNECTED"),
        (SensorFault::CrcErrors { per_mille: 1_000 }, "ERROR"),
        (SensorFault::CrcErrors { per_mille: 1_000 }, "ERROR"),
        (SensorFault::CrcErrors { per_mille: 1_000 }, "ERROR"),
        (SensorFault::AllZero, "ERROR"),
        (SensorFault::BrownOuts { per_mille: 1_000 }, "ERROR"),
    ];
    const FIRST: u8 = 30;
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    let _quick = Interval::quick(&controller).await?;
    let result = async {
        for (sensor, (fault, _)) in (FIRST..).zip(cases) {
            sensors
                .break_sensor(sensor, fault)
                .await
                .infra("break a sensor")?;
        }
        controller.clock.sleep(SHOWN_WITHIN).await;
        let broken = points(&controller).await?;
        for (sensor, (fault, status)) in (FIRST..).zip(cases) {
            let point = of_sensor(&broken, sensor)?;
            ensure!(
                point["status"] == status && point["temp"].is_null(),
                "sensor {sensor} with {fault:?} as {status}, without a temperature"; "{point}"
            );
        }
        let neighbour = of_sensor(&broken, FIRST + cases.len() as u8)?;
        ensure!(neighbour["status"] == "OK", "a sound sensor beside them as OK"; "{neighbour}");
        for sensor in (FIRST..).take(cases.len()) {
            sensors.mend_sensor(sensor).await.infra("mend a sensor")?;
        }
        controller.clock.sleep(SHOWN_WITHIN).await;
        let mended = points(&controller).await?;
        for sensor in (FIRST..).take(cases.len()) {
            let point = of_sensor(&mended, sensor)?;
            ensure!(point["status"] == "OK", "sensor {sensor} mended as OK"; "{point}");
        }
        Ok(())
    };
    let result = result.await;
    for sensor in (FIRST..).take(cases.len()) {
        sensors.mend_sensor(sensor).await.infra("mend a sensor")?;
        usual(&sensors, sensor).await?;
    }
    Interval::usual(&controller).await?;
    result
}

/// A device that is told that it is another one looks for its sensors anew, and finds every one.
#[scenario(id = "TEL-2", category = "telemetry", tags = ["nightly", "release"], timeout = "5 min", needs = ["sensor-bus"])]
async fn a_new_installation_finds_every_sensor(context: &mut Context) -> Outcome {
    let controller = context.state::<Controller>();
    let placed = context
        .bench_as::<Bench>()
        .rig()
        .rig
        .fixture
        .as_ref()
        .map_or(0, |fixture| fixture.sensors);
    let mut ways = Ways::of(context);
    let mut other = controller.provision.clone();
    other.device_id = "tel-2".try_into().unwrap_or_default();
    controller.control(ControlBody::Provision(other)).await?;
    ways.until_connected(&controller).await?;
    controller.send_back(&mut ways).await?;
    // It begins with its next scan; until then it counts those of before.
    controller.clock.sleep(SEARCHED_WITHIN).await;
    controller.wait_measured(placed).await
}

fn sensors(context: &Context) -> Result<Sensors, ScenarioError> {
    context
        .bench()
        .sensors()
        .ok_or_else(|| ScenarioError::Infra {
            reason: "the sensors are gone".to_owned(),
        })
}

async fn usual(sensors: &Sensors, sensor: u8) -> Outcome {
    if sensors.are_on_a_bus() {
        sensors
            .follow(sensor, usual_course(sensor))
            .await
            .infra("set a temperature")
    } else {
        sensors.mend_sensor(sensor).await.infra("mend a sensor")
    }
}

/// The points of the next telemetry message.
async fn points(controller: &Controller) -> Result<Value, ScenarioError> {
    let mut telemetry = controller.subscribe("telemetry/temperature").await?;
    let (_, message) = controller
        .next_json(&mut telemetry, "a telemetry message", SHOWN_WITHIN)
        .await?;
    // The summary counts what the points say, also when some have no temperature.
    telemetry::parse(message.to_string().as_bytes(), controller.device_id()).map_err(
        |violations| ScenarioError::failure("a valid telemetry message", violations.join("; ")),
    )?;
    Ok(message["points"].clone())
}

/// The one point that has this sensor.
pub(crate) fn of_sensor(points: &Value, sensor: u8) -> Result<&Value, ScenarioError> {
    let id: String = rom_of(sensor)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let having: Vec<&Value> = points
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, point)| point)
        .filter(|point| point["sensor_id"].as_str() == Some(&id))
        .collect();
    match having[..] {
        [point] => Ok(point),
        _ => Err(ScenarioError::failure(
            format_args!("one point with sensor {id}"),
            format_args!(
                "{} of {}",
                having.len(),
                points.as_object().map_or(0, serde_json::Map::len)
            ),
        )),
    }
}

/// The telemetry interval, made short for a while.
pub(crate) struct Interval;

impl Interval {
    pub(crate) async fn quick(controller: &Controller) -> Result<Self, ScenarioError> {
        Self::set(controller, INTERVAL_S).await.map(|()| Self)
    }

    pub(crate) async fn usual(controller: &Controller) -> Outcome {
        Self::set(controller, controller.telemetry_interval().as_secs()).await
    }

    async fn set(controller: &Controller, interval_s: u64) -> Outcome {
        let parameters = format!("{{\"telemetry_interval\":{interval_s}}}");
        controller
            .command("set_config", &parameters)
            .await
            .map(drop)
    }
}
