//! Gets the temperature controller ready for its scenarios: broker, client, provisioning, session.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use firmware_wire::{ControlBody, Hello, ResetReason};
use fixture_protocol::Profile;
use hil_bench::{Bench, BenchError, Sensors};
use hil_mqtt::{
    Broker, BrokerError, Client, ConnectOptions, EmbeddedSettings, Observed, Observer, Qos,
};
use hil_rig::{BrokerEndpoint, FixtureKind, ResolvedRig};
use hil_runner::event::What;
use hil_runner::{Emitter, PrepareError, Product, ScenarioError, Setup, State};
use tokio::sync::Mutex;

use crate::controller::Controller;
use crate::mutants::arm;

/// How long the device may take from reset to hello.
pub(crate) const BOOT_WITHIN: Duration = Duration::from_secs(10);

/// The temperature controller on one rig.
pub struct TemperatureController {
    rig: ResolvedRig,
    mutant: Option<u16>,
}

impl TemperatureController {
    /// The controller as the rig describes it.
    #[must_use]
    pub fn new(rig: ResolvedRig) -> Self {
        Self { rig, mutant: None }
    }

    /// Arms this deliberate bug before the device is made ready, 0 for none: see [`crate::mutants()`]. Without this,
    /// the device is left as it is.
    #[must_use]
    pub fn with_mutant(mut self, number: u16) -> Self {
        self.mutant = Some(number);
        self
    }

    async fn start(&self, setup: &mut Setup) -> Result<State, PrepareError> {
        let bench = bench(setup)?;
        let (device, clock) = (bench.device().clone(), bench.clock().clone());
        let step = setup.emit.step("broker", "starting the broker");
        let broker = self.start_broker().await?;
        let port = broker.port();
        let client = self.connect(&broker, setup).await?;
        let kind = if broker.is_embedded() {
            "embedded"
        } else {
            "external"
        };
        step.finish(format_args!("{kind}, {}", broker.address()));
        let base_topic = self.rig.rig.device.base_topic();
        self.surround(bench, &setup.emit).await?;
        let responses = client
            .subscribe(&format!("{base_topic}/command/response"), Qos::AtLeastOnce)
            .await
            .map_err(infra)?;
        let controller = Controller {
            provision: hil_bench::provision(&self.rig, port)?,
            responses: Mutex::new(responses),
            broker,
            listen: self.listen_address(),
            limits: self.rig.rig.limits,
            budget: self.rig.rig.budget,
            device,
            clock,
            client,
            base_topic,
        };
        self.boot(&controller, bench, &setup.emit).await?;
        Ok(Arc::new(controller))
    }

    /// Gives the device the surroundings that scenarios start from: every sensor sound and moving.
    async fn surround(&self, bench: &Bench, emit: &Emitter) -> Result<(), PrepareError> {
        let (Some(of_rig), Some(sensors)) = (&self.rig.rig.fixture, bench.sensors()) else {
            return Ok(());
        };
        if !sensors.are_on_a_bus() {
            // The firmware's own are placed once it runs.
            return Ok(());
        }
        let step = emit.step("fixture", "placing the sensors");
        surroundings(&sensors, of_rig.sensors).await?;
        let relays = bench.relays().map_or(0, |relays| relays.count());
        step.finish(on_the_pins(of_rig.sensors, relays, bench.power().is_some()));
        Ok(())
    }

    async fn boot(
        &self,
        controller: &Controller,
        bench: &Bench,
        emit: &Emitter,
    ) -> Result<(), PrepareError> {
        if let Some(number) = self.mutant {
            arm(bench, number).await?;
        }
        boot(controller, bench, emit).await
    }

    /// Where things on the host listen that the device is to reach.
    fn listen_address(&self) -> Ipv4Addr {
        match &self.rig.rig.broker.endpoint {
            BrokerEndpoint::Embedded { listen, .. } => *listen,
            BrokerEndpoint::External { .. } => Ipv4Addr::UNSPECIFIED,
        }
    }

    async fn start_broker(&self) -> Result<Broker, PrepareError> {
        let broker = match &self.rig.rig.broker.endpoint {
            BrokerEndpoint::Embedded { port, listen } => {
                let settings = EmbeddedSettings {
                    bind: (*listen, *port).into(),
                    ..EmbeddedSettings::default()
                };
                Broker::embedded(settings).await
            }
            BrokerEndpoint::External { host, port, .. } => {
                let login = self.rig.broker_login.as_ref();
                Broker::external(
                    &format!("{host}:{port}"),
                    login.map(|login| hil_mqtt::Credentials {
                        username: login.username.clone(),
                        password: login.password.expose().to_owned(),
                    }),
                )
            }
        };
        broker.map_err(|error| match error {
            BrokerError::PortTaken { .. } | BrokerError::Address { .. } => {
                PrepareError::Configuration {
                    reason: error.to_string(),
                }
            }
            other => infra(other),
        })
    }

    async fn connect(&self, broker: &Broker, setup: &Setup) -> Result<Client, PrepareError> {
        let mut options = ConnectOptions::to(broker, format!("hil-{:x}", std::process::id()));
        options.observer = Some(observer(setup.emit.clone()));
        Client::connect(options).await.map_err(infra)
    }
}

impl Product for TemperatureController {
    fn name(&self) -> String {
        "temperature controller".to_owned()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["embedded-broker"]
    }

    fn unmet(&self, need: &str, _bench: &dyn hil_runner::TestBench) -> Option<String> {
        match (need, &self.rig.rig.broker.endpoint) {
            ("embedded-broker", BrokerEndpoint::External { .. }) => {
                Some("the rig's broker is an external one".to_owned())
            }
            _ => None,
        }
    }

    async fn prepare(&self, setup: &mut Setup) -> Result<State, PrepareError> {
        self.start(setup).await
    }

    async fn recover(&self, state: &State, setup: &mut Setup) -> Result<State, PrepareError> {
        self.surround(bench(setup)?, &setup.emit).await?;
        let controller =
            Arc::clone(state)
                .downcast::<Controller>()
                .map_err(|_| PrepareError::Infra {
                    reason: "the state is not a controller's".to_owned(),
                })?;
        self.boot(&controller, bench(setup)?, &setup.emit).await?;
        Ok(controller)
    }

    async fn finish(&self, state: State) {
        let controller = state
            .downcast::<Controller>()
            .ok()
            .and_then(Arc::into_inner);
        if let Some(Controller { client, broker, .. }) = controller {
            // Nobody can act on a client or a broker that ends late; both end with the process.
            let _ = client.disconnect().await;
            let _ = broker.stop().await;
        }
    }
}

/// Sees to it that `count` sensors are there, sound, each at a temperature of its own that moves.
pub(crate) async fn surroundings(sensors: &Sensors, count: u8) -> Result<(), BenchError> {
    sensors.place(count).await?;
    for sensor in 0..count {
        sensors.follow(sensor, usual_course(sensor)).await?;
    }
    Ok(())
}

/// What a fixture has, in words.
fn on_the_pins(sensors: u8, relays: u8, power: bool) -> String {
    let mut words = format!("{sensors} sensors");
    if relays > 0 {
        words += &format!(", {relays} relays");
    }
    if power {
        words += ", power";
    }
    words
}

/// The temperature around a sensor that nothing is done to: within the default thresholds, and never the
/// same for as many telemetry messages as TEL-1 allows.
pub(crate) fn usual_course(sensor: u8) -> Profile {
    Profile::Sine {
        mean_millicelsius: 15_000 + i32::from(sensor) * 500,
        amplitude_millicelsius: 6_000,
        // Much longer than the telemetry interval, and another for each sensor.
        period_ms: 300_000 + u32::from(sensor) * 1_000,
    }
}

fn bench(setup: &Setup) -> Result<&Bench, PrepareError> {
    setup.bench_as::<Bench>().ok_or(PrepareError::Infra {
        reason: "the bench is of another kind than this suite works on".to_owned(),
    })
}

/// Resets the device, provisions it, and waits until it works.
pub(crate) async fn boot(
    controller: &Controller,
    bench: &Bench,
    emit: &Emitter,
) -> Result<(), PrepareError> {
    let step = emit.step("boot", "waiting for the device");
    bench.reset().await?;
    let (device, clock) = (&controller.device, &controller.clock);
    let hello = device.wait_boot(BOOT_WITHIN).await?;
    let booted = clock.now();
    let unix_ms = u64::try_from(clock.wall_time().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    device.demand(ControlBody::SetTime { unix_ms }).await?;
    device.provision(&controller.provision).await?;
    controller.wait_connected().await?;
    let connected = clock.now();
    if let Some(fixture) = &bench.rig().rig.fixture {
        if matches!(fixture.kind, FixtureKind::Firmware) {
            let count = fixture.sensors;
            device
                .demand(ControlBody::SimulateSensors { count })
                .await?;
        }
        controller.wait_measured(fixture.sensors).await?;
    }
    let took = connected.saturating_sub(booted);
    step.finish(format_args!(
        "device {}, firmware {}, boot {} ({}), MQTT connected after {:.2} s",
        controller.device_id(),
        hello.firmware_version,
        hello.boot_count,
        reset_reason(&hello),
        took.as_secs_f64()
    ));
    Ok(())
}

fn reset_reason(hello: &Hello) -> String {
    match hello.reset_reason {
        ResetReason::PowerOn => "power-on".to_owned(),
        ResetReason::Software => "software".to_owned(),
        ResetReason::Panic => "panic".to_owned(),
        ResetReason::Watchdog => "watchdog".to_owned(),
        ResetReason::SuperWatchdog => "super watchdog".to_owned(),
        ResetReason::BrownOut => "brown-out".to_owned(),
        ResetReason::DeepSleep => "deep sleep".to_owned(),
        ResetReason::Usb => "USB or JTAG".to_owned(),
        ResetReason::Other(code) => format!("cause {code}"),
    }
}

fn infra(error: impl std::error::Error) -> PrepareError {
    PrepareError::from(ScenarioError::infra(error))
}

/// Every message of the host's client becomes an event of the run.
fn observer(emit: Emitter) -> Observer {
    let message = move |direction: &str, topic: &str, payload: &[u8], qos: Qos, retain: bool| {
        emit.event(What::Message {
            direction: direction.to_owned(),
            topic: topic.to_owned(),
            payload: String::from_utf8_lossy(payload).into_owned(),
            qos: qos.level(),
            retain,
        });
    };
    Arc::new(move |observed: &Observed<'_>| match observed {
        Observed::Sending {
            topic,
            payload,
            qos,
            retain,
            ..
        } => message("to-device", topic, payload, *qos, *retain),
        Observed::Received { message: m, .. } => {
            message("from-device", &m.topic, &m.payload, m.qos, m.retain);
        }
        _ => {}
    })
}

#[cfg(test)]
mod tests {
    use super::on_the_pins;

    #[test]
    fn only_what_is_there_is_named() {
        assert_eq!(on_the_pins(60, 8, true), "60 sensors, 8 relays, power");
        assert_eq!(on_the_pins(12, 0, false), "12 sensors");
        assert_eq!(on_the_pins(0, 0, true), "0 sensors, power");
    }
}
