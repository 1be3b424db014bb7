//! The device at work, as scenarios see it: asked over MQTT, listened to on MQTT and RTT.

use std::net::Ipv4Addr;
use std::time::Duration;

use firmware_wire::{Connection, ControlBody, Hello, MemorySample, Outcome, Provision};
use hil_bench::{Clock, Device};
use hil_mqtt::{
    Broker, Client, ConnectOptions, EmbeddedSettings, Message, Qos, Reconnect, Subscription,
};
use hil_rig::{Budget, Limits};
use hil_runner::{Context, ResultExt as _, ScenarioError};
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};

use crate::contract::requests;
use crate::contract::response::{self, COMMANDS, Command, Response, TEST_ALARM};
use crate::gate::Gate;
use crate::ways::Ways;

/// How long a command may take to be answered; the SLA is judged elsewhere, this is for the lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a retained message may take to be delivered.
const RETAINED_WITHIN: Duration = Duration::from_secs(5);
/// How long the device may take to find and read all its sensors.
const ALL_MEASURED_WITHIN: Duration = Duration::from_secs(30);
/// How long the device may take to the broker: its back-off included.
pub(crate) const CONNECTED_WITHIN: Duration = Duration::from_secs(40);

/// The device at work. Made by [`crate::TemperatureController`].
pub struct Controller {
    pub(crate) device: Device,
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    /// Of `command/response`; locked while a request is under way.
    pub(crate) responses: Mutex<Subscription>,
    /// The embedded broker, which lives as long as this, or the external one.
    pub(crate) broker: Broker,
    /// What the device was given.
    pub(crate) provision: Provision,
    pub(crate) base_topic: String,
    pub(crate) listen: Ipv4Addr,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
}

/// The alarm of a round of all commands.
#[derive(Default)]
pub(crate) struct TestAlarm {
    id: String,
    /// It was active before it was asked for. One that is raised is left alone by measurements until it is
    /// acknowledged, one of an earlier round is not.
    is_old: bool,
}

impl TestAlarm {
    fn note(&mut self, response: &Response) {
        self.id = response.data["alarm_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.is_old = response.data["raised"] == false;
    }
}

/// A message with the bench's clocks.
pub(crate) struct Received {
    pub(crate) payload: Vec<u8>,
    /// Bench time on arrival.
    pub(crate) bench_time: Duration,
    /// Bench time on arrival, as a date.
    pub(crate) wall_time: OffsetDateTime,
}

/// A retained message.
pub(crate) struct Retained {
    pub(crate) payload: Vec<u8>,
}

impl Retained {
    /// The payload as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

impl Controller {
    /// The device id it was given.
    pub(crate) fn device_id(&self) -> &str {
        &self.provision.device_id
    }

    /// The telemetry interval it was given.
    pub(crate) fn telemetry_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.provision.telemetry_interval_s))
    }

    /// The rig's limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The rig's memory budget.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The host's address that the device can reach.
    pub(crate) fn listen_address(&self) -> Ipv4Addr {
        self.listen
    }

    /// What the device said at this boot.
    pub(crate) fn hello(&self) -> Result<Hello, ScenarioError> {
        self.device.hello().ok_or_else(|| {
            ScenarioError::failure("a device that has booted", "no hello since the last reset")
        })
    }

    /// The topic of that name below the device's base.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.base_topic)
    }

    /// Another client of the broker, named after `name` and the run.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client, ScenarioError> {
        let id = format!("{}-{name}", self.client.client_id());
        Client::connect(ConnectOptions::to(&self.broker, id))
            .await
            .infra(format_args!("connect a client `{name}`"))
    }

    /// The same device as another broker sees it, or below another base topic; by a client that
    /// connects again when it must. Whoever called ends the broker.
    pub(crate) async fn elsewhere(
        &self,
        broker: &Broker,
        base_topic: String,
    ) -> Result<Self, ScenarioError> {
        let id = format!("{}-elsewhere", self.client.client_id());
        let mut options = ConnectOptions::to(broker, id);
        options.reconnect = Reconnect::After(Duration::from_millis(50));
        let client = Client::connect(options)
            .await
            .infra("connect to the other broker")?;
        let responses = client
            .subscribe(&format!("{base_topic}/command/response"), Qos::AtLeastOnce)
            .await
            .infra("subscribe to the responses")?;
        Ok(Self {
            device: self.device.clone(),
            clock: self.clock.clone(),
            client,
            responses: Mutex::new(responses),
            // As an address.
            broker: Broker::external(&broker.address(), None).infra("name the other broker")?,
            provision: self.provision.clone(),
            base_topic,
            listen: self.listen,
            limits: self.limits,
            budget: self.budget,
        })
    }

    /// The responses from now on. While they are held nobody else can ask.
    pub(crate) async fn responses(&self) -> MutexGuard<'_, Subscription> {
        let mut responses = self.responses.lock().await;
        while responses.try_recv().is_some() {}
        responses
    }

    /// A broker beside the rig's own, where the device can reach it; port 0 for any that is free.
    pub(crate) async fn start_broker(&self, port: u16) -> Result<Broker, ScenarioError> {
        let settings = EmbeddedSettings {
            bind: (self.listen, port).into(),
            ..EmbeddedSettings::default()
        };
        Broker::embedded(settings).await.infra("start a broker")
    }

    /// A gate between the device and the rig's broker.
    pub(crate) async fn gate(&self) -> Result<Gate, ScenarioError> {
        self.gate_to(&self.broker).await
    }

    /// A gate between the device and `broker`.
    pub(crate) async fn gate_to(&self, broker: &Broker) -> Result<Gate, ScenarioError> {
        Gate::open(self.listen, broker)
            .await
            .infra("open a gate to the broker")
    }

    /// Switches all relays off.
    pub(crate) async fn relays_off(&self) -> Result<(), ScenarioError> {
        for relay in 1..=8 {
            let parameters = format!(r#"{{"relay_id":{relay},"state":"OFF"}}"#);
            self.command("set_relay", &parameters).await?;
        }
        Ok(())
    }

    /// Sends `payload` as a request and returns the next response, whatever its `cmd_id`.
    pub(crate) async fn request(&self, payload: &[u8]) -> Result<Response, ScenarioError> {
        self.exchange(payload).await.map(|(response, _)| response)
    }

    /// As [`Self::request`], with the bytes that the response had.
    pub(crate) async fn exchange(
        &self,
        payload: &[u8],
    ) -> Result<(Response, usize), ScenarioError> {
        self.exchange_for(payload, |_| true).await
    }

    /// As [`Self::exchange`], but the next response that is `wanted`.
    async fn exchange_for(
        &self,
        payload: &[u8],
        wanted: impl Fn(&Response) -> bool,
    ) -> Result<(Response, usize), ScenarioError> {
        // A late answer to an earlier request is not the answer to this one.
        let mut responses = self.responses().await;
        // The round trip goes through host sockets: hold chip time to wall time meanwhile.
        let _in_flight = self.clock.in_flight();
        self.publish_request(payload.to_vec()).await?;
        let until = self.clock.now() + ANSWER_WITHIN;
        loop {
            let message = self
                .clock
                .timeout(until.saturating_sub(self.clock.now()), responses.recv())
                .await
                .failure("a response")?
                .ok_or_else(client_gone)?;
            let response = response::parse(&message.payload).map_err(|violations| {
                ScenarioError::failure("a response that keeps its schema", violations.join("; "))
            })?;
            if wanted(&response) {
                return Ok((response, message.payload.len()));
            }
        }
    }

    /// Waits until the device answers a request, after a time in which requests and answers may have
    /// been held back: the answers to those come first, and are passed over.
    pub(crate) async fn wait_answering(&self) -> Result<(), ScenarioError> {
        let cmd_id = format!("answering-{}", self.clock.now().as_micros());
        let request = requests::request(&cmd_id, "get_status", "{}");
        let answer = self.exchange_for(&request, |response| response.cmd_id == cmd_id);
        answer.await.map(drop)
    }

    /// Sends a command; its response must be a success with the command's own `cmd_id`.
    pub(crate) async fn command(
        &self,
        command: &str,
        parameters: &str,
    ) -> Result<Response, ScenarioError> {
        let cmd_id = format!("{command}-{}", self.clock.now().as_micros());
        let response = self
            .request(&requests::request(&cmd_id, command, parameters))
            .await?;
        if response.succeeded && response.cmd_id == cmd_id {
            return Ok(response);
        }
        let message = response.message.as_deref().unwrap_or("no message");
        Err(ScenarioError::failure(
            format_args!("success for `{command}` with cmd_id `{cmd_id}`"),
            format_args!(
                "success {}, cmd_id `{}`, {message}",
                response.succeeded, response.cmd_id
            ),
        ))
    }

    /// Sends every command of the contract, in its order; the responses.
    pub(crate) async fn every_command(
        &self,
    ) -> Result<Vec<(&'static Command, Response)>, ScenarioError> {
        let mut responses = Vec::new();
        let mut alarm = TestAlarm::default();
        for command in COMMANDS {
            let response = self.in_round(command, &mut alarm).await?;
            responses.push((command, response));
        }
        Ok(responses)
    }

    /// Sends a command of the contract, in a round of all of them; `alarm` goes from one to the next.
    pub(crate) async fn in_round(
        &self,
        command: &Command,
        alarm: &mut TestAlarm,
    ) -> Result<Response, ScenarioError> {
        let parameters = command.parameters.replace("{alarm_id}", &alarm.id);
        let response = match self.command(command.name, &parameters).await {
            // It was that of a round before, and has ended with a measurement since it was told.
            Err(ScenarioError::Failure { .. })
                if command.name == "acknowledge_alarm" && alarm.is_old =>
            {
                let test = self.command("test_alarm", TEST_ALARM).await?;
                alarm.note(&test);
                let parameters = command.parameters.replace("{alarm_id}", &alarm.id);
                self.command(command.name, &parameters).await?
            }
            response => response?,
        };
        if command.name == "test_alarm" {
            alarm.note(&response);
        }
        Ok(response)
    }

    /// The message retained below `name`.
    ///
    /// A subscription that is made while the device publishes gets the message live, which carries
    /// no retain flag (MQTT 3.1.1, 3.3.1.3); the next one then gets it retained.
    pub(crate) async fn retained(&self, name: &str) -> Result<Retained, ScenarioError> {
        let _in_flight = self.clock.in_flight();
        for _ in 0..3 {
            let mut subscription = self.subscribe(name).await?;
            let message = self
                .clock
                .timeout(RETAINED_WITHIN, subscription.recv())
                .await
                .failure(format_args!("a retained message on `{name}`"))?
                .ok_or_else(client_gone)?;
            if message.retain {
                return Ok(Retained {
                    payload: message.payload.to_vec(),
                });
            }
        }
        Err(ScenarioError::failure(
            format_args!("a retained message on `{name}`"),
            "three subscriptions in a row got one without the retain flag",
        ))
    }

    /// Removes the message retained below `name`, if there is one.
    pub(crate) async fn forget(&self, name: &str) -> Result<(), ScenarioError> {
        self.client
            .publish(&self.topic(name), "", Qos::AtLeastOnce, true)
            .await
            .infra("remove a retained message")
            .map(drop)
    }

    /// Sends a command and does not wait for an answer.
    pub(crate) async fn ask(&self, command: &str) -> Result<(), ScenarioError> {
        self.publish_request(requests::request("nobody-answers", command, "{}"))
            .await
    }

    /// Publishes a request, bytes as they are, and does not wait for an answer.
    pub(crate) async fn publish_request(&self, request: Vec<u8>) -> Result<(), ScenarioError> {
        self.client
            .publish(
                &self.topic("command/request"),
                request,
                Qos::AtLeastOnce,
                false,
            )
            .await
            .infra("publish a request")
            .map(drop)
    }

    /// The messages below `name` from now on, and the one that is retained.
    pub(crate) async fn subscribe(&self, name: &str) -> Result<Subscription, ScenarioError> {
        self.client
            .subscribe(&self.topic(name), Qos::AtLeastOnce)
            .await
            .infra(format_args!("subscribe to `{name}`"))
    }

    /// The next `count` temperature messages, none of which was retained.
    pub(crate) async fn telemetry_messages(
        &self,
        count: usize,
    ) -> Result<Vec<Received>, ScenarioError> {
        let mut subscription = self.subscribe("telemetry/temperature").await?;
        let limit = self.telemetry_interval() * 2 + Duration::from_secs(5);
        let mut messages = Vec::new();
        while messages.len() < count {
            let message: Message = self
                .clock
                .timeout(limit, subscription.recv())
                .await
                .failure("a temperature message within two intervals")?
                .ok_or_else(client_gone)?;
            if !message.retain {
                messages.push(Received {
                    payload: message.payload.to_vec(),
                    bench_time: self.clock.now(),
                    wall_time: self.clock.wall_time(),
                });
            }
        }
        Ok(messages)
    }

    /// The next message of `subscription` that was not retained, as JSON, and when it came.
    pub(crate) async fn next_json(
        &self,
        subscription: &mut Subscription,
        what: &str,
        limit: Duration,
    ) -> Result<(Duration, serde_json::Value), ScenarioError> {
        let next = async {
            loop {
                match subscription.recv().await {
                    Some(message) if message.retain => {}
                    other => return other,
                }
            }
        };
        let message = self
            .clock
            .timeout(limit, next)
            .await
            .failure(what)?
            .ok_or_else(client_gone)?;
        let value =
            serde_json::from_slice(&message.payload).failure(format_args!("JSON: {what}"))?;
        Ok((self.clock.now(), value))
    }

    /// Nothing but retained messages must come on `subscription` for `duration`.
    pub(crate) async fn nothing_on(
        &self,
        subscription: &mut Subscription,
        what: &str,
        duration: Duration,
    ) -> Result<(), ScenarioError> {
        self.clock.sleep(duration).await;
        while let Some(message) = subscription.try_recv() {
            if !message.retain {
                return Err(ScenarioError::failure(
                    what,
                    String::from_utf8_lossy(&message.payload),
                ));
            }
        }
        Ok(())
    }

    /// The next memory sample.
    pub(crate) async fn next_memory(&self) -> Result<MemorySample, ScenarioError> {
        self.clock
            .timeout(Duration::from_secs(10), self.device.next_memory())
            .await
            .failure("a memory sample")?
            .infra("wait for memory telemetry")
    }

    /// A memory sample taken when the device has had time to finish what it was doing.
    pub(crate) async fn settled_memory(&self) -> Result<MemorySample, ScenarioError> {
        self.clock.sleep(Duration::from_millis(500)).await;
        self.next_memory().await?;
        self.next_memory().await
    }

    /// Sends a control frame that must not be refused.
    pub(crate) async fn control(&self, body: ControlBody) -> Result<(), ScenarioError> {
        let outcome = self
            .device
            .control(body)
            .await
            .infra("send a control frame")?;
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Refused(reason) => Err(ScenarioError::failure(
                "a control frame accepted",
                format_args!("refused: {reason:?}"),
            )),
        }
    }

    /// What the device is told when its broker is at a port of this computer, wherever the run's own is.
    pub(crate) fn provision_here(&self, port: u16) -> Provision {
        let mut here = self.provision.clone();
        // This computer serves the time.
        here.broker.host = here.time_server.clone();
        here.broker.port = port;
        here
    }

    /// Sends the device to a port of this computer.
    pub(crate) async fn send_to_broker(&self, port: u16) -> Result<(), ScenarioError> {
        self.control(ControlBody::Provision(self.provision_here(port)))
            .await
    }

    /// Sends the device to a port of this computer, with another keep-alive.
    pub(crate) async fn send_to(&self, port: u16, keep_alive_s: u16) -> Result<(), ScenarioError> {
        let mut here = self.provision_here(port);
        here.broker.keep_alive_s = keep_alive_s;
        self.control(ControlBody::Provision(here)).await
    }

    /// Sends the device back and waits until it has a session that it had not before.
    pub(crate) async fn send_back(&self, ways: &mut Ways) -> Result<(), ScenarioError> {
        ways.seen()?;
        self.control(ControlBody::Provision(self.provision.clone()))
            .await?;
        ways.until_connected(self).await.map(drop)
    }

    /// Sends the device back and waits until it is connected and listening.
    pub(crate) async fn send_to_its_broker(&self) -> Result<(), ScenarioError> {
        self.control(ControlBody::Provision(self.provision.clone()))
            .await?;
        self.wait_connected().await
    }

    /// Waits until the device has a session with the broker.
    pub(crate) async fn wait_connected(&self) -> Result<(), ScenarioError> {
        let connected = self
            .clock
            .timeout(CONNECTED_WITHIN, self.device.wait_connected());
        match connected.await {
            Ok(result) => result.infra("wait for the device's session"),
            Err(_) => Err(ScenarioError::failure(
                format_args!("an MQTT session within {} s", CONNECTED_WITHIN.as_secs()),
                self.way_to_broker(),
            )),
        }
    }

    /// Waits until the device has measured at `count` sensors.
    pub(crate) async fn wait_measured(&self, count: u8) -> Result<(), ScenarioError> {
        let until = self.clock.now() + ALL_MEASURED_WITHIN;
        loop {
            let data = self.command("get_summary", "{}").await?.data;
            if data["active_points"].as_u64() == Some(count.into()) {
                return Ok(());
            }
            if self.clock.now() >= until {
                return Err(ScenarioError::failure(
                    format_args!(
                        "{count} sensors measured within {} s",
                        ALL_MEASURED_WITHIN.as_secs()
                    ),
                    data,
                ));
            }
            self.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// How far the device has come on its way to the broker, in words.
    pub(crate) fn way_to_broker(&self) -> String {
        way_to_broker(self.device.connection().borrow().as_ref())
    }

    /// Waits until the device says that a broker refused it.
    pub(crate) async fn wait_refused(&self, limit: Duration) -> Result<Connection, ScenarioError> {
        let mut states = self.device.connection();
        let refused = states.wait_for(|state| matches!(state, Some(Connection::Refused { .. })));
        let state = self
            .clock
            .timeout(limit, refused)
            .await
            .failure("the device to say that the broker refused it")?
            .infra("watch the device's connection")?
            .clone();
        state.ok_or_else(|| ScenarioError::failure("a refused connection", "none"))
    }
}

/// Goes on if a member of a message is `expected`.
#[track_caller]
pub(crate) fn expect_json(
    context: &Context,
    what: &str,
    expected: impl Into<serde_json::Value>,
    observed: &serde_json::Value,
) -> Result<(), ScenarioError> {
    context.expect_equal(what, &expected.into(), observed)
}

/// A state of the device's connection, in words.
pub(crate) fn way_to_broker(state: Option<&Connection>) -> String {
    match state {
        None => "no network yet".to_owned(),
        Some(Connection::Network { address }) => format!(
            "on the network as {}, but not on the broker",
            Ipv4Addr::from(*address)
        ),
        Some(Connection::Unreachable { reason }) => format!("the broker unreachable: {reason}"),
        Some(Connection::Refused { code }) => {
            format!("the broker refused the connection with code {code}")
        }
        Some(Connection::Connected) => "a session".to_owned(),
        Some(Connection::Lost { reason }) => format!("a session that was lost: {reason}"),
    }
}

/// The error of whoever waits for a message of a client that has ended.
pub(crate) fn client_gone() -> ScenarioError {
    ScenarioError::Infra {
        reason: "the host's MQTT client has lost its connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: Option<Connection>, expected: &str) {
        assert_eq!(way_to_broker(state.as_ref()), expected);
    }

    #[test]
    fn the_way_to_the_broker_in_words() {
        let reason = || "no route".try_into().expect("short");
        check(None, "no network yet");
        check(
            Some(Connection::Network {
                address: [10, 0, 2, 15],
            }),
            "on the network as 10.0.2.15, but not on the broker",
        );
        check(
            Some(Connection::Unreachable { reason: reason() }),
            "the broker unreachable: no route",
        );
        check(
            Some(Connection::Refused { code: 5 }),
            "the broker refused the connection with code 5",
        );
        check(
            Some(Connection::Lost { reason: reason() }),
            "a session that was lost: no route",
        );
    }
}
