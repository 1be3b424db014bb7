//! One MQTT session, from the TCP connection to its end.

use core::fmt;

use embassy_futures::select::{Either, select};
use embassy_time::{Instant, Timer, with_timeout};
use firmware_control::{Action, Clock as _, Now, REQUEST_BYTES_MAX, Topics, stand_in};
use firmware_mqtt::{
    Connect, Due, KeepAlive, PINGREQ, Packet, QoS, Reader, Subscribe, Will, puback,
};
use firmware_wire::{Connection, DeviceBody};
use portable_atomic::Ordering::Relaxed;

use super::{
    ANSWER_MAX, End, Parts,
    transport::{Buffers, Transport},
};
use crate::{
    clock::DeviceClock,
    reset_reason, stack,
    status::{self, COMMANDS_RECEIVED, MESSAGES_PUBLISHED, MQTT_CONNECTED, SESSIONS_OPENED},
    telemetry,
};

/// What is kept of a packet that comes in: the longest request that is read, one byte more so that a
/// longer one is seen to be, and its topic.
const PACKET_BYTES_MAX: usize =
    REQUEST_BYTES_MAX + 1 + firmware_control::topics::TOPIC_BYTES_MAX + 4;
/// CONNECT at its longest: client id, will topic, credentials.
const CONNECT_BYTES_MAX: usize = 384;

const ONLINE: &[u8] = b"online";
const OFFLINE: &[u8] = b"offline";

/// Where a message at QoS 1 goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Boot,
    Connection,
    Response,
    Summary,
    Alarm,
    Relay,
}

impl Topic {
    fn name(self, topics: &Topics) -> firmware_control::topics::Topic {
        match self {
            Self::Boot => topics.boot(),
            Self::Connection => topics.connection(),
            Self::Response => topics.response(),
            Self::Summary => topics.summary(),
            Self::Alarm => topics.alarm(),
            Self::Relay => topics.relay(),
        }
    }
}

pub(super) struct Session<'s, 'p> {
    parts: &'s mut Parts<'p>,
    keep_alive: KeepAlive,
    /// The SUBSCRIBE that is not acknowledged yet.
    subscribing: Option<u16>,
}

/// Notes that no session is open, also when the session is dropped by a new configuration.
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        MQTT_CONNECTED.store(false, Relaxed);
    }
}

fn now_ms() -> u64 {
    Instant::now().as_millis()
}

impl<'s, 'p> Session<'s, 'p> {
    pub(super) fn new(parts: &'s mut Parts<'p>) -> Self {
        Self {
            parts,
            keep_alive: KeepAlive::new(0, 0),
            subscribing: None,
        }
    }

    /// Opens the session and serves it to its end.
    pub(super) async fn run(mut self) -> End {
        let mut buffers = Buffers::new();
        let broker = &self.parts.provision.broker;
        let mut stream = match Transport::connect(self.parts.stack, &mut buffers, broker).await {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        let end = match self.connect(&mut stream).await {
            Ok(()) => {
                let _open = Open;
                let Err(end) = self.serve(&mut stream).await;
                end
            }
            Err(end) => end,
        };
        stream.abort();
        end
    }

    /// CONNECT, then CONNACK: no other packet comes before it (3.2).
    async fn connect(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        let broker = &self.parts.provision.broker;
        let will_topic = self.parts.topics.connection();
        let connect = Connect {
            client_id: &self.parts.provision.device_id,
            keep_alive_s: broker.keep_alive_s,
            credentials: broker
                .credentials
                .as_ref()
                .map(|c| (c.username.as_str(), c.password.as_str())),
            will: Some(Will {
                topic: &will_topic,
                payload: OFFLINE,
                qos: QoS::AtLeastOnce,
                retain: true,
            }),
        };
        let mut buffer = [0; CONNECT_BYTES_MAX];
        let packet = connect
            .encode(&mut buffer)
            .map_err(|_| End::Unreachable("the CONNECT packet is too long"))?;
        self.keep_alive = KeepAlive::new(broker.keep_alive_s, now_ms());
        write_all(stream, packet)
            .await
            .map_err(|_| End::Unreachable("the connection broke before CONNACK"))?;
        let code = with_timeout(ANSWER_MAX, read_connack(stream))
            .await
            .map_err(|_| End::Unreachable("no CONNACK"))?
            .ok_or(End::Unreachable("the connection broke before CONNACK"))?;
        if code == 0 {
            Ok(())
        } else {
            Err(End::Refused(code))
        }
    }

    async fn serve(
        &mut self,
        stream: &mut Transport<'_>,
    ) -> Result<core::convert::Infallible, End> {
        let mut reader = Reader::<PACKET_BYTES_MAX>::new();
        self.parts.outbox.new_session();
        self.subscribe(stream).await?;
        let subscribed_by = now_ms() + ANSWER_MAX.as_millis();
        loop {
            let mut chunk = [0; 512];
            let mut wake_ms = self.parts.controller.poll_at();
            if let Some(at) = self.keep_alive.poll_at() {
                wake_ms = wake_ms.min(at);
            }
            if self.subscribing.is_some() {
                wake_ms = wake_ms.min(subscribed_by);
            }
            match select(
                stream.read(&mut chunk),
                Timer::at(Instant::from_millis(wake_ms)),
            )
            .await
            {
                Either::First(Ok(0)) => return Err(End::Lost("the broker closed the connection")),
                Either::First(Err(_)) => return Err(End::Lost("the connection was reset")),
                Either::First(Ok(length)) => {
                    stack::arm_guard();
                    let received_ms = now_ms();
                    let mut received = &chunk[..length];
                    while let Some(packet) = reader
                        .next(&mut received)
                        .map_err(|_| End::Lost("the broker sent what is no MQTT"))?
                    {
                        self.handle(stream, packet, received_ms).await?;
                    }
                }
                Either::Second(()) => {}
            }
            if self.subscribing.is_some() && now_ms() >= subscribed_by {
                return Err(End::Lost("no SUBACK"));
            }
            self.keep_alive_if_due(stream).await?;
            self.act(stream).await?;
            self.send_outbox(stream).await?;
        }
    }

    async fn subscribe(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        let id = self.parts.outbox.next_id();
        self.subscribing = Some(id);
        let filter = self.parts.topics.request();
        let subscribe = Subscribe {
            id,
            filter: &filter,
        };
        let mut buffer = [0; CONNECT_BYTES_MAX];
        let packet = subscribe
            .encode(&mut buffer)
            .map_err(|_| End::Lost("the SUBSCRIBE packet is too long"))?;
        self.write(stream, packet).await
    }

    async fn handle(
        &mut self,
        stream: &mut Transport<'_>,
        packet: Packet<'_>,
        received_ms: u64,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish {
                topic, payload, id, ..
            } => {
                if topic == self.parts.topics.request().as_str() {
                    self.handle_request(stream, payload, received_ms).await?;
                }
                match id {
                    // After the response is kept: at least once.
                    Some(id) => self.write(stream, &puback(id)).await,
                    None => Ok(()),
                }
            }
            Packet::PubAck { id } => {
                // A response that the outbox had no room for is acknowledged to nobody.
                let _ = self.parts.outbox.acknowledge(id);
                Ok(())
            }
            Packet::SubAck { id, accepted } if self.subscribing == Some(id) => {
                if !accepted {
                    return Err(End::Lost("the broker refused the subscription"));
                }
                self.subscribing = None;
                self.opened()
            }
            Packet::SubAck { .. } => Ok(()),
            Packet::PingResp => {
                self.keep_alive.pong();
                Ok(())
            }
            Packet::ConnAck { .. } => Err(End::Lost("a second CONNACK")),
        }
    }

    /// The session is open and subscribed: says so to the bench and to the broker.
    fn opened(&mut self) -> Result<(), End> {
        MQTT_CONNECTED.store(true, Relaxed);
        SESSIONS_OPENED.increment();
        defmt::info!("MQTT connected");
        telemetry::send(DeviceBody::Connection(Connection::Connected));
        if let Some(boot) = self.parts.boot.take() {
            let now = DeviceClock.now();
            let reason = reset_reason::name(boot.reason);
            self.parts.message.clear();
            self.parts
                .controller
                .write_boot(now, reason, self.parts.message)
                .map_err(too_long)?;
            self.keep(Topic::Boot, true);
        }
        self.parts.message.clear();
        self.parts.message.write(ONLINE).map_err(too_long)?;
        self.keep(Topic::Connection, true);
        Ok(())
    }

    /// Puts the message into the outbox, where it is sent from.
    fn keep(&mut self, topic: Topic, retain: bool) {
        if self
            .parts
            .outbox
            .push(topic, self.parts.message.payload(), retain)
            .is_err()
        {
            defmt::warn!("outbox full: a message is lost");
        }
    }

    async fn handle_request(
        &mut self,
        stream: &mut Transport<'_>,
        payload: &[u8],
        received_ms: u64,
    ) -> Result<(), End> {
        COMMANDS_RECEIVED.increment();
        #[cfg(feature = "test-hooks")]
        crate::faults::leak_at_command();
        let status = status::device_status();
        stand_in::measure(self.parts.controller, DeviceClock.now());
        self.parts.message.clear();
        let handled = self
            .parts
            .controller
            .handle_request(
                &DeviceClock,
                received_ms,
                &status,
                payload,
                self.parts.message,
            )
            .map_err(too_long)?;
        defmt::debug!("command: {}", defmt::Debug2Format(&handled));
        if self
            .parts
            .outbox
            .push(Topic::Response, self.parts.message.payload(), false)
            .is_ok()
        {
            return self.send_outbox(stream).await;
        }
        // Many requests at once: this response is sent, though not again after a lost connection.
        let id = self.parts.outbox.next_id();
        self.publish(stream, &self.parts.topics.response(), Some(id), false)
            .await
    }

    async fn send_outbox(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        while let Some(message) = self.parts.outbox.next_to_send() {
            let (id, retain) = (message.id, message.retain);
            let topic = message.topic.name(self.parts.topics);
            self.parts.message.clear();
            self.parts
                .message
                .write(&message.payload)
                .map_err(too_long)?;
            self.publish(stream, &topic, Some(id), retain).await?;
        }
        Ok(())
    }

    /// Does what the controller has decided.
    async fn act(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        let now = DeviceClock.now();
        while let Some(action) = self.parts.controller.poll(now) {
            self.parts.message.clear();
            match action {
                Action::PublishTelemetry => self.publish_telemetry(stream, now).await?,
                Action::PublishSummary => {
                    self.parts
                        .controller
                        .write_summary(now, self.parts.message)
                        .map_err(too_long)?;
                    self.keep(Topic::Summary, false);
                }
                Action::PublishAlarm(change) => {
                    change.write(self.parts.message).map_err(too_long)?;
                    self.keep(Topic::Alarm, false);
                }
                Action::PublishRelay(change) => {
                    change.write(self.parts.message).map_err(too_long)?;
                    self.keep(Topic::Relay, false);
                }
                // This image has no relays, and keeps what provisioning told it.
                Action::SwitchRelay { .. } | Action::Keep(_) | Action::Reconnect => {
                    defmt::debug!("not done here: {}", defmt::Debug2Format(&action));
                }
            }
        }
        Ok(())
    }

    async fn publish_telemetry(&mut self, stream: &mut Transport<'_>, now: Now) -> Result<(), End> {
        stand_in::measure(self.parts.controller, now);
        self.parts
            .controller
            .write_temperature(now, self.parts.message)
            .map_err(too_long)?;
        let retain = self.parts.provision.retain_telemetry;
        self.publish(stream, &self.parts.topics.temperature(), None, retain)
            .await?;
        let status = status::device_status();
        self.parts.message.clear();
        self.parts
            .controller
            .write_system(now, &status, self.parts.message)
            .map_err(too_long)?;
        self.publish(stream, &self.parts.topics.system(), None, false)
            .await
    }

    async fn keep_alive_if_due(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        match self.keep_alive.poll(now_ms()) {
            Due::Nothing => Ok(()),
            Due::Ping => self.write(stream, &PINGREQ).await,
            Due::Dead => Err(End::Lost("the broker does not answer pings")),
        }
    }

    /// Publishes what is in the message buffer.
    async fn publish(
        &mut self,
        stream: &mut Transport<'_>,
        topic: &str,
        id: Option<u16>,
        retain: bool,
    ) -> Result<(), End> {
        let packet = self
            .parts
            .message
            .publish(topic, id, retain)
            .map_err(|_| End::Lost("a message is too long"))?;
        write_all(stream, packet).await?;
        self.keep_alive.sent(now_ms());
        MESSAGES_PUBLISHED.increment();
        Ok(())
    }

    async fn write(&mut self, stream: &mut Transport<'_>, packet: &[u8]) -> Result<(), End> {
        write_all(stream, packet).await?;
        self.keep_alive.sent(now_ms());
        Ok(())
    }
}

fn too_long(_: fmt::Error) -> End {
    End::Lost("a message is too long")
}

async fn write_all(stream: &mut Transport<'_>, mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = with_timeout(ANSWER_MAX, stream.write(bytes))
            .await
            .map_err(|_| End::Lost("the broker takes nothing more"))?
            .map_err(|_| End::Lost("the connection was reset"))?;
        bytes = &bytes[written..];
    }
    with_timeout(ANSWER_MAX, stream.flush())
        .await
        .map_err(|_| End::Lost("the broker takes nothing more"))?
        .map_err(|_| End::Lost("the connection was reset"))
}

/// The return code; none when the connection ends before, or anything else comes first.
async fn read_connack(stream: &mut Transport<'_>) -> Option<u8> {
    let mut reader = Reader::<4>::new();
    // One at a time: what follows CONNACK is not this function's.
    let mut byte = [0];
    loop {
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        match reader.next(&mut &byte[..]).ok()? {
            Some(Packet::ConnAck { code }) => return Some(code),
            Some(_) => return None,
            None => {}
        }
    }
}
