//! TEL-2: what the sensors measure, end to end, from the air around them to the telemetry.

use std::time::Duration;

use firmware_wire::ControlBody;
use fixture_protocol::SensorFault;
use hil_bench::{Bench, Sensors, fixture::rom_of};
use hil_mqtt::Subscription;
use hil_runner::{Context, Outcome, ResultExt as _, ScenarioError, scenario};
use serde_json::Value;

use crate::contract::telemetry;
use crate::controller::{Controller, client_gone};
use crate::product::usual_course;
use crate::ways::Ways;

/// Between two telemetry messages while this scenario runs, seconds: longer than a scan takes.
const INTERVAL_S: u64 = 10;
/// The device scans every five seconds, which takes it up to two: what is set just after a scan has
/// begun is measured by then.
pub(crate) const MEASURED_WITHIN: Duration = Duration::from_secs(5 + 2);
/// What is set is in a message one scan and one interval later, with half a second for its way.
const SHOWN_WITHIN: Duration =
    Duration::from_millis(INTERVAL_S * 1_000 + MEASURED_WITHIN.as_millis() as u64 + 500);
/// A new search has begun by then, and the table of before is gone.
const SEARCHED_WITHIN: Duration = Duration::from_secs(15);
/// A sixteenth of a degree is the sensors' resolution, a tenth that of the telemetry: half of each.
pub(crate) const TOLERANCE: f64 = 0.0625 / 2.0 + 0.05 + 1e-6;

/// Temperatures over the whole range of the sensors, the awkward ones among them; each is shown by
/// the sensor's point, and by no other, within one interval and one scan.
#[scenario(id = "TEL-2", category = "telemetry", tags = ["nightly", "release"], timeout = "10 min", needs = ["sensors:8"])]
async fn temperatures_appear_in_telemetry(context: &mut Context) -> Outcome {
    // At 85.0 a sensor says what it says after power-on, and below zero there is a sign to lose.
    const TEMPERATURES: [f64; 8] = [-10.125, 0.0, -0.5, 85.0, 25.0625, 60.3, -19.3, 47.9];
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    quick_telemetry(&controller).await?;
    let result = async {
        let mut telemetry = Telemetry::of(&controller).await?;
        for (sensor, celsius) in (0..).zip(TEMPERATURES) {
            sensors
                .set_temperature(sensor, celsius)
                .await
                .infra("set a temperature")?;
        }
        telemetry
            .shows(context, "temperatures", |points| {
                let wrong = (0..).zip(TEMPERATURES).filter_map(|(sensor, celsius)| {
                    wrong(points, sensor, "OK", Some(celsius)).transpose()
                });
                wrong.collect()
            })
            .await
    };
    let result = result.await;
    let undone = async {
        for sensor in (0..).take(TEMPERATURES.len()) {
            usual(&sensors, sensor).await?;
        }
        usual_telemetry(&controller).await
    };
    result.and(undone.await)
}

/// A sensor that is unplugged, garbles, reads as zeros or lost its supply is told for what it is, the
/// others go on, and each is back with its temperature once it is sound.
#[scenario(id = "TEL-2", category = "telemetry", tags = ["nightly", "release"], timeout = "15 min", needs = ["sensors:7"])]
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
    const NEIGHBOUR: u8 = 6;
    let mended = |sensor: u8| 31.5 + f64::from(sensor);
    let controller = context.state::<Controller>();
    let sensors = sensors(context)?;
    quick_telemetry(&controller).await?;
    let result = async {
        let mut telemetry = Telemetry::of(&controller).await?;
        for (sensor, (fault, _)) in (0..).zip(cases) {
            sensors
                .break_sensor(sensor, fault)
                .await
                .infra("break a sensor")?;
        }
        telemetry
            .shows(context, "broken sensors", |points| {
                let broken = (0..).zip(cases).map(|(sensor, (fault, status))| {
                    let found = wrong(points, sensor, status, None)?;
                    Ok(found.map(|found| format!("{found} with {fault:?}")))
                });
                let neighbour = of_sensor(points, NEIGHBOUR)?;
                let neighbour = (neighbour["status"] != "OK")
                    .then(|| format!("the sound sensor {NEIGHBOUR}: {neighbour}"));
                broken
                    .chain([Ok(neighbour)])
                    .filter_map(Result::transpose)
                    .collect()
            })
            .await?;
        for sensor in (0..).take(cases.len()) {
            sensors.mend_sensor(sensor).await.infra("mend a sensor")?;
            sensors
                .set_temperature(sensor, mended(sensor))
                .await
                .infra("set a temperature")?;
        }
        telemetry
            .shows(context, "mended sensors", |points| {
                let wrong = (0..).take(cases.len()).filter_map(|sensor| {
                    wrong(points, sensor, "OK", Some(mended(sensor))).transpose()
                });
                wrong.collect()
            })
            .await
    };
    let result = result.await;
    let undone = async {
        for sensor in (0..).take(cases.len()) {
            sensors.mend_sensor(sensor).await.infra("mend a sensor")?;
            usual(&sensors, sensor).await?;
        }
        usual_telemetry(&controller).await
    };
    result.and(undone.await)
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

/// Messages of the telemetry, read as they come.
struct Telemetry<'c> {
    controller: &'c Controller,
    messages: Subscription,
}

impl<'c> Telemetry<'c> {
    async fn of(controller: &'c Controller) -> Result<Self, ScenarioError> {
        Ok(Self {
            controller,
            messages: controller.subscribe("telemetry/temperature").await?,
        })
    }

    /// From now on, the first message with whose points nothing is `wrong` comes within
    /// [`SHOWN_WITHIN`].
    async fn shows(
        &mut self,
        context: &Context,
        what: &str,
        wrong: impl Fn(&Value) -> Result<Vec<String>, ScenarioError>,
    ) -> Outcome {
        let clock = &self.controller.clock;
        let since = clock.now();
        while self.messages.try_recv().is_some() {}
        let mut seen = "no message".to_owned();
        loop {
            let left = (since + SHOWN_WITHIN).saturating_sub(clock.now());
            let Ok(message) = clock.timeout(left, self.messages.recv()).await else {
                let expected = format_args!(
                    "{what} in telemetry within {:.1} s",
                    SHOWN_WITHIN.as_secs_f64()
                );
                return Err(ScenarioError::failure(expected, seen));
            };
            let message = message.ok_or_else(client_gone)?;
            if message.retain {
                continue;
            }
            let value: Value =
                serde_json::from_slice(&message.payload).failure("telemetry in JSON")?;
            // The summary counts what the points say, also when some have no temperature.
            let whole = telemetry::parse(&message.payload, self.controller.device_id());
            whole.map_err(|violations| {
                ScenarioError::failure("a valid telemetry message", violations.join("; "))
            })?;
            let found = wrong(&value["points"])?;
            if found.is_empty() {
                let took = clock.now().saturating_sub(since);
                context.measured(format_args!("{what} shown after"), took.as_secs_f64(), "s");
                return Ok(());
            }
            seen = found.join("; ");
        }
    }
}

/// What is wrong with the point of `sensor`, if it is to have this status and temperature.
fn wrong(
    points: &Value,
    sensor: u8,
    status: &str,
    celsius: Option<f64>,
) -> Result<Option<String>, ScenarioError> {
    let point = of_sensor(points, sensor)?;
    let close = match (celsius, point["temp"].as_f64()) {
        (Some(celsius), Some(shown)) => (shown - celsius).abs() <= TOLERANCE,
        (None, None) => point["temp"].is_null(),
        _ => false,
    };
    if close && point["status"] == status {
        return Ok(None);
    }
    let celsius = celsius.map_or("no temperature".to_owned(), |celsius| {
        format!("{celsius} °C, within {TOLERANCE:.3}")
    });
    Ok(Some(format!(
        "sensor {sensor} is {point}, not {status} with {celsius}"
    )))
}

pub(crate) fn sensors(context: &Context) -> Result<Sensors, ScenarioError> {
    context
        .bench()
        .sensors()
        .ok_or_else(|| ScenarioError::Infra {
            reason: "the sensors are gone".to_owned(),
        })
}

/// Gives a sensor back what it starts every scenario with.
pub(crate) async fn usual(sensors: &Sensors, sensor: u8) -> Outcome {
    if sensors.are_on_a_bus() {
        sensors
            .follow(sensor, usual_course(sensor))
            .await
            .infra("set a temperature")
    } else {
        sensors.mend_sensor(sensor).await.infra("mend a sensor")
    }
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

/// Makes the telemetry interval short, until [`usual_telemetry`].
async fn quick_telemetry(controller: &Controller) -> Outcome {
    set_interval(controller, INTERVAL_S).await
}

async fn usual_telemetry(controller: &Controller) -> Outcome {
    set_interval(controller, controller.telemetry_interval().as_secs()).await
}

async fn set_interval(controller: &Controller, interval_s: u64) -> Outcome {
    let parameters = format!("{{\"telemetry_interval\":{interval_s}}}");
    controller
        .command("set_config", &parameters)
        .await
        .map(drop)
}
