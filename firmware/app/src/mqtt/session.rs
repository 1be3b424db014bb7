//! One connection of the MQTT session, from TCP to its end.

use core::{convert::Infallible, fmt};

use embassy_futures::select::{Either, Either4, select, select4};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use firmware_control::{Clock as _, REQUEST_BYTES_MAX};
use firmware_mqtt::{
    Connect, DISCONNECT, Delivery, Due, Event, Filter, Outgoing, PINGREQ, Packet, QoS, Reader,
    Received, Will,
    mutants::{self, Mutant},
};
use firmware_wire::{Connection, DeviceBody};
use portable_atomic::Ordering::Relaxed;

use super::{
    ANSWER_MAX, End, FAREWELL_MAX, Parts, Topic,
    transport::{Buffers, Transport},
};
use crate::{
    clock::DeviceClock,
    control_loop::Flash,
    desk::Desk,
    reset_reason, stack,
    status::{self, COMMANDS_RECEIVED, MESSAGES_PUBLISHED, MQTT_CONNECTED, SESSIONS_OPENED},
    telemetry,
};

/// What is kept of a packet that comes in: the longest request that is read, one byte more so that a
/// longer one is seen to be, and its topic.
const PACKET_BYTES_MAX: usize =
    REQUEST_BYTES_MAX + 1 + firmware_control::topics::TOPIC_BYTES_MAX + 4;
/// How long the broker may take to close a connection after DISCONNECT.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// CONNECT at its longest: client id, will topic, credentials.
const CONNECT_BYTES_MAX: usize = 384;

const ONLINE: &str = "online";
const OFFLINE: &[u8] = b"offline";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To make the broker forget the session (3.1.2.4).
    Forget,
    /// To be at work.
    Serve,
}

/// One connection.
pub(super) struct Session<'s, 'p> {
    parts: &'s mut Parts<'p>,
    purpose: Purpose,
    /// When the broker accepted the connection.
    opened_ms: Option<u64>,
    /// When the answer to CONNECT or SUBSCRIBE must have come.
    answer_by_ms: Option<u64>,
}

/// Notes that no connection is open, also when the session is dropped by a new configuration.
struct Open(&'static Desk);

impl Drop for Open {
    fn drop(&mut self) {
        MQTT_CONNECTED.store(false, Relaxed);
        self.0.with_client(|client| client.closed());
        // What waited for room waits for a connection now, and gives way to what is newer.
        self.0.room_made();
    }
}

fn now_ms() -> u64 {
    Instant::now().as_millis()
}

impl<'s, 'p> Session<'s, 'p> {
    pub(super) fn new(parts: &'s mut Parts<'p>, purpose: Purpose) -> Self {
        Self {
            parts,
            purpose,
            opened_ms: None,
            answer_by_ms: None,
        }
    }

    /// Connects, and serves the connection to its end. How it ended, and how many milliseconds after
    /// the broker had accepted it; 0 if it did not.
    pub(super) async fn run(mut self) -> (End, u64) {
        let _open = Open(self.parts.desk);
        let mut buffers = Buffers::new();
        let parts = &mut *self.parts;
        let connected = select(Transport::connect(parts, &mut buffers), parts.asked.wait()).await;
        let end = match connected {
            Either::First(Ok(mut stream)) => {
                let Err(end) = self.serve(&mut stream).await;
                match end {
                    End::Forgotten | End::Asked(_) => stream.close().await,
                    _ => stream.abort().await,
                }
                end
            }
            Either::First(Err(end)) => end,
            Either::Second(farewell) => End::Asked(farewell),
        };
        let open_ms = self.opened_ms.map_or(0, |opened| now_ms() - opened);
        (end, open_ms)
    }

    async fn serve(&mut self, stream: &mut Transport<'_>) -> Result<Infallible, End> {
        let mut reader = Reader::<PACKET_BYTES_MAX>::new();
        self.connect(stream).await?;
        loop {
            let mut chunk = [0; 512];
            match select4(
                stream.read(&mut chunk),
                self.parts.desk.outgoing.wait(),
                Timer::at(self.poll_at()),
                self.parts.asked.wait(),
            )
            .await
            {
                Either4::First(Ok(0)) => return Err(self.lost("the broker closed the connection")),
                Either4::First(Err(_)) => return Err(self.lost("the connection was reset")),
                Either4::First(Ok(length)) => {
                    stack::arm_guard();
                    let received_ms = now_ms();
                    let mut received = &chunk[..length];
                    while let Some(packet) = reader
                        .next(&mut received)
                        .map_err(|_| self.lost("the broker sent what is no MQTT"))?
                    {
                        self.handle(stream, packet, received_ms).await?;
                    }
                }
                Either4::Second(()) | Either4::Third(()) => {}
                Either4::Fourth(farewell) => {
                    let _ = with_timeout(FAREWELL_MAX, self.say_farewell(stream)).await;
                    return Err(End::Asked(farewell));
                }
            }
            if self.answer_by_ms.is_some_and(|by| now_ms() >= by) {
                return Err(match self.opened_ms {
                    Some(_) => End::Lost("no SUBACK"),
                    None => End::Unreachable("no CONNACK"),
                });
            }
            self.keep_alive_if_due(stream).await?;
            self.send_outbox(stream).await?;
        }
    }

    /// When there is something to do that nothing else tells of.
    fn poll_at(&self) -> Instant {
        let due = [
            self.answer_by_ms,
            self.parts.desk.with_client(|client| client.poll_at()),
        ];
        due.into_iter()
            .flatten()
            .min()
            .map_or(Instant::MAX, Instant::from_millis)
    }

    async fn connect(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        let configuration = self.parts.configuration;
        let will_topic = self.parts.topics.connection();
        let will = Will {
            topic: &will_topic,
            payload: OFFLINE,
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        let connect = Connect {
            client_id: &configuration.device_name,
            clean_session: self.purpose == Purpose::Forget,
            keep_alive_s: self.parts.provision.broker.keep_alive_s,
            credentials: configuration.credentials(),
            // A connection that is there to be closed has nothing to leave behind.
            will: (self.purpose == Purpose::Serve).then_some(will),
        };
        let mut buffer = [0; CONNECT_BYTES_MAX];
        let desk = self.parts.desk;
        let packet = desk
            .with_client(|client| client.connect(&connect, now_ms(), &mut buffer))
            .map_err(|_| End::Unreachable("the CONNECT packet is too long"))?;
        self.answer_by_ms = Some(now_ms() + ANSWER_MAX.as_millis());
        self.write(stream, packet).await
    }

    async fn handle(
        &mut self,
        stream: &mut Transport<'_>,
        packet: Packet<'_>,
        received_ms: u64,
    ) -> Result<(), End> {
        let Received { event, answer } = self
            .parts
            .desk
            .with_client(|client| client.receive(packet))
            .map_err(|violation| self.lost(violation.as_str()))?;
        match event {
            Event::Nothing => {}
            Event::Connected { session_present } => {
                defmt::debug!("CONNACK, session present: {=bool}", session_present);
                self.opened_ms = Some(now_ms());
                self.parts.reached = true;
                self.parts.announced &= session_present;
                match self.purpose {
                    Purpose::Forget => {
                        self.disconnect(stream).await?;
                        return Err(End::Forgotten);
                    }
                    Purpose::Serve => self.subscribe(stream).await?,
                }
            }
            Event::Refused { code } => return Err(End::Refused(code)),
            Event::Subscribed { codes } => {
                if codes.iter().any(|granted| granted.is_none()) {
                    return Err(End::Lost("the broker refused the subscription"));
                }
                self.answer_by_ms = None;
                self.subscribed()?;
            }
            Event::Message {
                topic,
                payload,
                retain,
                ..
            } => {
                if topic != self.parts.topics.request().as_str() {
                    // Nothing else is subscribed to.
                } else if retain {
                    // It would come again, and be carried out, at each connection.
                    defmt::warn!("a retained request is not carried out");
                } else {
                    #[cfg(feature = "mutants")]
                    crate::mutants::on_request();
                    self.handle_request(stream, payload, received_ms).await?;
                }
            }
        }
        // After the response is kept: what is acknowledged does not come again.
        if let Some(answer) = answer {
            self.write(stream, &answer.encode()).await?;
        }
        self.parts.desk.count();
        self.parts.desk.room_made();
        Ok(())
    }

    /// Also in a session that the broker has kept: that costs little, and repairs one whose
    /// subscription was lost.
    async fn subscribe(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        let request = self.parts.topics.request();
        let filters = [Filter {
            filter: &request,
            // Whoever publishes a request chooses; at QoS 2 it is carried out once.
            qos: QoS::ExactlyOnce,
        }];
        let mut buffer = [0; CONNECT_BYTES_MAX];
        let packet = self
            .parts
            .desk
            .with_client(|client| client.subscribe(&filters, &mut buffer))
            .map_err(|_| End::Lost("the SUBSCRIBE packet is too long"))?;
        self.answer_by_ms = Some(now_ms() + ANSWER_MAX.as_millis());
        self.write(stream, packet).await
    }

    /// Ends the connection, and with it a clean session, which the broker then forgets.
    async fn disconnect(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        self.write(stream, &DISCONNECT).await?;
        // Until the broker closes the connection (3.14.4), so that the next finds it done.
        let closed = async {
            let mut unwanted = [0; 64];
            while stream.read(&mut unwanted).await.is_ok_and(|read| read > 0) {}
        };
        let _ = with_timeout(CLOSE_MAX, closed).await;
        Ok(())
    }

    /// Ends the connection as one that ends on purpose: with `offline`, as the will would have it,
    /// which DISCONNECT takes back (3.14.4).
    async fn say_farewell(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        if self.purpose == Purpose::Serve && self.opened_ms.is_some() {
            self.send_outbox(stream).await?;
            let message = &mut *self.parts.message;
            message.clear();
            message.write(OFFLINE).map_err(too_long)?;
            let id = self.parts.desk.with_client(|client| client.last_id());
            let delivery = Delivery::AtLeastOnce { id, dup: false };
            self.publish(stream, Topic::Connection, delivery, true)
                .await?;
        }
        self.disconnect(stream).await
    }

    /// The session is open and subscribed: says so to the bench and to the broker.
    fn subscribed(&mut self) -> Result<(), End> {
        MQTT_CONNECTED.store(true, Relaxed);
        SESSIONS_OPENED.increment();
        defmt::info!("MQTT connected");
        telemetry::send(DeviceBody::Connection(Connection::Connected));
        status::set_last_error("");
        let desk = self.parts.desk;
        if !self.parts.announced {
            self.parts.announced = true;
            self.announce().map_err(too_long)?;
        }
        desk.publish(Topic::Connection, |_, out| out.write_str(ONLINE))
            .map_err(too_long)
    }

    /// What the broker is to keep for later subscribers, and may have lost with the session.
    fn announce(&self) -> fmt::Result {
        let (desk, now) = (self.parts.desk, DeviceClock.now());
        let reason = reset_reason::name(self.parts.boot.reason);
        desk.publish(Topic::Boot, |c, out| c.write_boot(now, reason, out))?;
        // Not before the first scan: what an earlier boot left says more than no points at all.
        let measured = desk.look(|c| c.points().measured().next().is_some());
        if measured && self.parts.configuration.retain_telemetry {
            desk.publish(Topic::Temperature, |c, out| c.write_temperature(now, out))?;
        }
        Ok(())
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
        // The oldest gives way to an answer that finds no room: it is to be one that was sent.
        self.send_outbox(stream).await?;
        let status = status::device_status();
        let desk = self.parts.desk;
        desk.publish(Topic::Response, |c, out| {
            let clock = &DeviceClock;
            let handled =
                c.handle_request(clock, received_ms, &status, payload, &mut Flash, out)?;
            defmt::debug!("command: {}", defmt::Debug2Format(&handled));
            Ok(())
        })
        .map_err(too_long)?;
        // What the command decided is done by the control loop.
        desk.touched.signal(());
        self.send_outbox(stream).await
    }

    /// Sends what the outbox has and the window allows.
    async fn send_outbox(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        loop {
            let message = &mut *self.parts.message;
            // A copy: packets are built in the message buffer.
            let encode = |outgoing: Outgoing<'_, Topic>| match outgoing {
                Outgoing::Message {
                    topic,
                    payload,
                    delivery,
                    retain,
                } => {
                    message.clear();
                    let written = message.write(payload);
                    Next::Message(written.map(|()| (topic, delivery, retain)))
                }
                Outgoing::Release(release) => Next::Packet(release.encode()),
            };
            match self
                .parts
                .desk
                .with_client(|client| client.send_next(encode))
            {
                None => return Ok(()),
                Some(Next::Packet(packet)) => self.write(stream, &packet).await?,
                Some(Next::Message(message)) => {
                    let (topic, delivery, retain) = message.map_err(too_long)?;
                    self.publish(stream, topic, delivery, retain).await?;
                    if topic == Topic::Temperature && mutants::active(Mutant::TelemetryTwice) {
                        self.publish(stream, topic, delivery, retain).await?;
                    }
                }
            }
        }
    }

    async fn keep_alive_if_due(&mut self, stream: &mut Transport<'_>) -> Result<(), End> {
        match self.parts.desk.with_client(|client| client.poll(now_ms())) {
            Due::Nothing => Ok(()),
            Due::Ping => self.write(stream, &PINGREQ).await,
            Due::Dead => Err(End::Lost("the broker does not answer pings")),
        }
    }

    /// Publishes what is in the message buffer.
    async fn publish(
        &mut self,
        stream: &mut Transport<'_>,
        topic: Topic,
        delivery: Delivery,
        retain: bool,
    ) -> Result<(), End> {
        let topic = topic.name(self.parts.topics);
        let packet = self
            .parts
            .message
            .publish(&topic, delivery, retain)
            .map_err(|_| End::Lost("a message is too long"))?;
        write_all(stream, packet).await.map_err(End::Lost)?;
        self.parts.desk.with_client(|client| client.sent(now_ms()));
        MESSAGES_PUBLISHED.increment();
        Ok(())
    }

    async fn write(&mut self, stream: &mut Transport<'_>, packet: &[u8]) -> Result<(), End> {
        write_all(stream, packet)
            .await
            .map_err(|reason| self.lost(reason))?;
        self.parts.desk.with_client(|client| client.sent(now_ms()));
        Ok(())
    }

    /// The end for this reason.
    fn lost(&self, reason: &'static str) -> End {
        match self.opened_ms {
            Some(_) => End::Lost(reason),
            None => End::Unreachable("the connection broke before CONNACK"),
        }
    }
}

/// What [`Session::send_outbox`] sends next.
enum Next {
    /// What is in the message buffer, if it fitted.
    Message(Result<(Topic, Delivery, bool), fmt::Error>),
    /// A packet.
    Packet([u8; 4]),
}

fn too_long(_: fmt::Error) -> End {
    End::Lost("a message is too long")
}

async fn write_all(stream: &mut Transport<'_>, mut bytes: &[u8]) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let written = with_timeout(ANSWER_MAX, stream.write(bytes))
            .await
            .map_err(|_| "the broker takes nothing more")?
            .map_err(|_| "the connection was reset")?;
        bytes = &bytes[written..];
    }
    with_timeout(ANSWER_MAX, stream.flush())
        .await
        .map_err(|_| "the broker takes nothing more")?
        .map_err(|_| "the connection was reset")
}
