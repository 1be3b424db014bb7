//! From provisioning to an open MQTT session, again and again.
//!
//! ```text
//!   wait for the network ─▶ wait for the time ─▶ connection ──lost, refused, unreachable──▶ back off ─┐
//!                                                   ▲                                                │
//!                                                   └────────────────────────────────────────────────┘
//! ```
//! A new configuration ends whatever goes on and starts over with it.
//!
//! The MQTT session is a persistent one: it outlasts its connections, so that requests sent to the
//! device while it is away wait for it, and what it has to say meanwhile waits in its outbox. It does
//! not outlast the boot and the configuration it began with; each begins with a short connection by
//! which the broker forgets what it kept. So a request that brings the device down is not delivered
//! again and again, and no relay switches because of a request from before the power was cut.

mod message;
mod session;
mod transport;

use core::{convert::Infallible, fmt};

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_net::Stack;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use esp_hal::rng::Rng;
use firmware_control::{
    Action, Clock as _, Configuration, Controller, Identity, Now, TopicLevel, Topics, stand_in,
};
use firmware_mqtt::{BackOff, BackOffLimits, Client, Limits, Message};
use firmware_wire::{Connection, DeviceBody, Provision, ResetReason, Security};

use crate::{
    FIRMWARE_VERSION,
    clock::{self, DeviceClock},
    provisioning::{self, PROVISIONED},
    status::{self, MESSAGES_DROPPED, MESSAGES_QUEUED, OUTBOX_USED_MAX, TELEMETRY_DROPPED},
    telemetry,
};
use message::MessageBuffer;
use portable_atomic::Ordering::Relaxed;
use session::{Purpose, Session, Topic};
use static_cell::ConstStaticCell;

/// The wait before the next connection.
const BACK_OFF: BackOffLimits = BackOffLimits {
    min_ms: 500,
    max_ms: 30_000,
    steady_ms: 5_000,
};
/// How long the broker may take to accept a connection, to answer, to take what is sent.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the first session waits for the time of day, so that its messages carry it.
const TIME_WAIT_MAX: Duration = Duration::from_secs(3);
/// Messages that wait for the broker or its acknowledgement, and bytes of them.
const OUTBOX_MESSAGES_MAX: usize = 32;
const OUTBOX_BYTES_MAX: usize = 16 * 1024;
/// Brokers allow 10 to 32 in flight; of telemetry a handful is kept, as a message takes up to 5.5 kB.
const LIMITS: Limits = Limits {
    in_flight_max: 16,
    telemetry_max: 4,
};

/// What the `state/boot` message tells.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Boots since the flash was erased.
    pub count: u32,
    /// Why this one happened.
    pub reason: ResetReason,
}

/// Why a session ended or never began; the texts are for people, at most 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The broker could not be reached.
    Unreachable(&'static str),
    /// The broker refused, with this CONNACK code.
    Refused(u8),
    /// The session was open.
    Lost(&'static str),
    /// The broker has forgotten the session, as it was asked to.
    Forgotten,
}

/// The controller, connected to its broker for as long as there is one.
#[embassy_executor::task]
pub async fn task(stack: Stack<'static>, mut provision: Provision, boot: Boot) -> ! {
    // Static, as it would pass over the stack on its way into this task otherwise.
    static MESSAGE: ConstStaticCell<MessageBuffer> = ConstStaticCell::new(MessageBuffer::new());
    static CLIENT: ConstStaticCell<DeviceClient> = ConstStaticCell::new(Client::new(LIMITS));
    let (message, client) = (MESSAGE.take(), CLIENT.take());
    let identity = Identity::new(FIRMWARE_VERSION, boot.count);
    let mut controller = Controller::new(
        identity,
        configuration(&provision, &Configuration::default()),
    );
    let mut boot = Some(boot);
    loop {
        let work = async {
            // Checked when it was taken and when it was read from flash: `provisioning::check`.
            let topics = provisioning::topics(&provision).expect("checked topics");
            let session = Parts {
                stack,
                provision: &provision,
                topics: &topics,
                speaker: Speaker {
                    controller: &mut controller,
                    client,
                    message,
                    retain_telemetry: provision.retain_telemetry,
                },
                boot: &mut boot,
            };
            stay_connected(session).await
        };
        let time = async {
            if provision.time_server.is_empty() {
                core::future::pending().await
            } else {
                stack.wait_config_up().await;
                clock::synchronise(stack, &provision.time_server).await
            }
        };
        match select3(work, time, PROVISIONED.wait()).await {
            Either3::First(never) | Either3::Second(never) => never,
            Either3::Third(new) => {
                defmt::info!("new configuration: connecting anew");
                provision = new;
                let configuration = configuration(&provision, controller.configuration());
                controller.configure(DeviceClock.now(), configuration);
            }
        }
    }
}

/// What `old` becomes by a provisioning.
fn configuration(provision: &Provision, old: &Configuration) -> Configuration {
    let broker = &provision.broker;
    let credentials = broker.credentials.clone();
    let (username, password) = credentials
        .map(|c| (c.username, c.password))
        .unwrap_or_default();
    Configuration {
        mqtt_enabled: true,
        broker: broker.host.clone(),
        port: broker.port,
        username,
        password,
        device_name: provision.device_id.clone(),
        telemetry_interval_s: provision.telemetry_interval_s,
        use_tls: broker.security != Security::Plain,
        retain_telemetry: provision.retain_telemetry,
        topic_levels: provision.topic_levels.clone().map(|level| match level {
            firmware_wire::TopicLevel::Skip => TopicLevel::default(),
            firmware_wire::TopicLevel::Custom(value) => TopicLevel { used: true, value },
        }),
        alarm_relay: old.alarm_relay,
    }
}

/// The device's half of the MQTT session.
type DeviceClient = Client<Topic, OUTBOX_MESSAGES_MAX, OUTBOX_BYTES_MAX>;

/// What all connections of one configuration work with.
pub(crate) struct Parts<'s> {
    stack: Stack<'static>,
    provision: &'s Provision,
    topics: &'s Topics,
    speaker: Speaker<'s>,
    /// Until it was announced.
    boot: &'s mut Option<Boot>,
}

/// Who has something to say, whether there is a connection or not.
struct Speaker<'s> {
    controller: &'s mut Controller,
    client: &'s mut DeviceClient,
    message: &'s mut MessageBuffer,
    /// Whether the broker keeps the newest temperatures for later subscribers.
    retain_telemetry: bool,
}

impl Speaker<'_> {
    /// Puts what is in the message buffer into the outbox, where it is sent from.
    fn keep(&mut self, topic: Topic) {
        let message = Message {
            topic,
            payload: self.message.payload(),
            qos: topic.qos(),
            retain: self.retains(topic),
            class: topic.class(),
        };
        if self.client.push(message).is_err() {
            defmt::warn!("outbox full: a message is lost");
        }
        self.count();
    }

    /// Tells the bench how the outbox is.
    fn count(&self) {
        let outbox = self.client.outbox();
        OUTBOX_USED_MAX.raise_to(outbox.used_bytes());
        // Fits: at most `OUTBOX_MESSAGES_MAX`.
        MESSAGES_QUEUED.store(outbox.len() as u32, Relaxed);
        let losses = outbox.losses();
        TELEMETRY_DROPPED.raise_to(losses.telemetry as usize);
        MESSAGES_DROPPED.raise_to((losses.events + losses.unacknowledged) as usize);
    }

    /// Keeps what the controller has to say, for as long as there is no connection.
    async fn speak_to_nobody(&mut self) -> Infallible {
        loop {
            Timer::at(Instant::from_millis(self.controller.poll_at())).await;
            let now = DeviceClock.now();
            while let Some(action) = self.controller.poll(now) {
                match self.act(action, now) {
                    Ok(()) => {}
                    Err(fmt::Error) => defmt::warn!("a message is too long"),
                }
            }
        }
    }

    /// Does what the controller has decided; what it has to say goes into the outbox.
    fn act(&mut self, action: Action, now: Now) -> fmt::Result {
        self.message.clear();
        match action {
            Action::PublishTelemetry => {
                for topic in Topic::TELEMETRY {
                    self.write_telemetry(topic, now)?;
                    self.keep(topic);
                }
            }
            Action::PublishSummary => {
                self.controller.write_summary(now, self.message)?;
                self.keep(Topic::Summary);
            }
            Action::PublishAlarm(change) => {
                change.write(self.message)?;
                self.keep(Topic::Alarm);
            }
            Action::PublishRelay(change) => {
                change.write(self.message)?;
                self.keep(Topic::Relay);
            }
            // This image has no relays, and keeps what provisioning told it.
            Action::SwitchRelay { .. } | Action::Keep(_) | Action::Reconnect => {
                defmt::debug!("not done here: {}", defmt::Debug2Format(&action));
            }
        }
        Ok(())
    }

    /// Whether the broker is to keep messages of `topic` for later subscribers.
    fn retains(&self, topic: Topic) -> bool {
        match topic {
            Topic::Boot | Topic::Connection => true,
            Topic::Temperature => self.retain_telemetry,
            Topic::System | Topic::Response | Topic::Summary | Topic::Alarm | Topic::Relay => false,
        }
    }

    /// Writes a telemetry message into the message buffer.
    fn write_telemetry(&mut self, topic: Topic, now: Now) -> fmt::Result {
        self.message.clear();
        if topic == Topic::System {
            let status = status::device_status();
            return self.controller.write_system(now, &status, self.message);
        }
        stand_in::measure(self.controller, now);
        self.controller.write_temperature(now, self.message)
    }
}

async fn stay_connected(mut parts: Parts<'_>) -> ! {
    let (stack, provision) = (parts.stack, parts.provision);
    stack.wait_config_up().await;
    if !provisioning::mqtt_enabled() {
        defmt::info!("MQTT is turned off");
        core::future::pending::<()>().await;
    }
    #[cfg(feature = "test-hooks")]
    if crate::faults::never_connects() {
        core::future::pending::<()>().await;
    }
    if !provision.time_server.is_empty() {
        // Without the time the device works all the same.
        let _ = with_timeout(TIME_WAIT_MAX, clock::wait_known()).await;
    }
    let mut back_off = BackOff::new(BACK_OFF);
    let mut forgotten = false;
    loop {
        let network = stack.wait_config_up();
        meanwhile(network, parts.speaker.speak_to_nobody()).await;
        let purpose = if forgotten {
            Purpose::Serve
        } else {
            Purpose::Forget
        };
        let (end, open_ms) = Session::new(&mut parts, purpose).run().await;
        let news = match end {
            End::Unreachable(reason) => {
                defmt::warn!("broker not reached: {=str}", reason);
                Connection::Unreachable {
                    reason: text(reason),
                }
            }
            End::Refused(code) => {
                defmt::warn!("broker refused: code {=u8}", code);
                Connection::Refused { code }
            }
            End::Lost(reason) => {
                defmt::warn!("session lost: {=str}", reason);
                Connection::Lost {
                    reason: text(reason),
                }
            }
            End::Forgotten => {
                forgotten = true;
                continue;
            }
        };
        telemetry::send(DeviceBody::Connection(news));
        let wait_ms = back_off.wait_ms(open_ms, Rng::new().random());
        let wait = Timer::after(Duration::from_millis(wait_ms.into()));
        meanwhile(wait, parts.speaker.speak_to_nobody()).await;
    }
}

/// Waits for `work`, with `never` going on all the time.
async fn meanwhile<W: Future>(work: W, never: impl Future<Output = Infallible>) -> W::Output {
    match select(work, never).await {
        Either::First(output) => output,
        Either::Second(never) => match never {},
    }
}

fn text(reason: &str) -> heapless::String<64> {
    reason.chars().take(64).collect()
}
