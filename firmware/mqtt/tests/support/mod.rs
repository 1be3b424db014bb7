//! A client, a small broker with a codec that is not ours, and a connection between them that can break
//! anywhere; and what must hold in the end.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use firmware_mqtt::{
    Class, Client, Connect, Delivery, Event, Filter, Limits, Message, Outgoing, Publish, QoS,
    Reader, Received,
};
use rumqttc::mqttbytes::{Error, v4 as theirs};

const TOPIC: &str = "t";
const BYTES_MAX: usize = 256;

pub type Number = u32;

/// A message that a broker has for the client.
#[derive(Clone, Debug)]
struct ForClient {
    number: Number,
    qos: QoS,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Queued,
    /// Sent in this connection, or not.
    Sent {
        id: u16,
        again: bool,
    },
    /// PUBREC has come; PUBREL was sent in this connection, or not.
    Released {
        id: u16,
        again: bool,
    },
}

/// The broker's half: one client, everything kept for ever unless told to forget.
#[derive(Default)]
pub struct Broker {
    pub has_session: bool,
    /// Whether it ever lost one.
    pub forgot: bool,
    stream: BytesMut,
    connected: bool,
    /// Messages at QoS 2 that the client has not released.
    unreleased: BTreeSet<u16>,
    for_client: Vec<ForClient>,
    last_id: u16,
    /// What has arrived, in order: number, QoS, identifier, DUP, and the number of the session.
    pub arrived: Vec<(Number, QoS, u16, bool, u32)>,
    session: u32,
}

impl Broker {
    fn disconnected(&mut self) {
        self.connected = false;
        self.stream.clear();
        for message in &mut self.for_client {
            match &mut message.state {
                State::Queued => {}
                State::Sent { again, .. } | State::Released { again, .. } => *again = true,
            }
        }
    }

    /// Loses the session, as a broker does that restarts without a disk.
    pub fn forget(&mut self) {
        self.forgot |= self.has_session;
        self.has_session = false;
        self.unreleased.clear();
        self.for_client.clear();
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.stream.extend_from_slice(bytes);
        loop {
            match theirs::Packet::read(&mut self.stream, BYTES_MAX) {
                Ok(packet) => self.handle(packet, out),
                Err(Error::InsufficientBytes(_)) => return,
                Err(error) => panic!("the client sent {error:?}"),
            }
        }
    }

    fn handle(&mut self, packet: theirs::Packet, out: &mut Vec<u8>) {
        use theirs::Packet as P;
        match packet {
            P::Connect(connect) => {
                assert!(!self.connected, "a second CONNECT");
                self.connected = true;
                if connect.clean_session {
                    self.forget();
                }
                if !self.has_session {
                    self.session += 1;
                }
                let accepted = theirs::ConnectReturnCode::Success;
                write(
                    out,
                    P::ConnAck(theirs::ConnAck::new(accepted, self.has_session)),
                );
                self.has_session = true;
            }
            P::Publish(publish) => {
                let number = Number::from_be_bytes(publish.payload[..].try_into().expect("four"));
                let qos = match publish.qos {
                    rumqttc::QoS::AtMostOnce => QoS::AtMostOnce,
                    rumqttc::QoS::AtLeastOnce => QoS::AtLeastOnce,
                    rumqttc::QoS::ExactlyOnce => QoS::ExactlyOnce,
                };
                let is_new = qos != QoS::ExactlyOnce || self.unreleased.insert(publish.pkid);
                if is_new {
                    let (id, dup) = (publish.pkid, publish.dup);
                    self.arrived.push((number, qos, id, dup, self.session));
                }
                match qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => write(out, P::PubAck(theirs::PubAck::new(publish.pkid))),
                    QoS::ExactlyOnce => write(out, P::PubRec(theirs::PubRec::new(publish.pkid))),
                }
            }
            P::PubRel(pubrel) => {
                self.unreleased.remove(&pubrel.pkid);
                write(out, P::PubComp(theirs::PubComp::new(pubrel.pkid)));
            }
            P::PubAck(puback) => self.done(QoS::AtLeastOnce, puback.pkid),
            P::PubRec(pubrec) => {
                let id = pubrec.pkid;
                for message in &mut self.for_client {
                    if matches!(message.state, State::Sent { id: sent, .. } if sent == id) {
                        assert_eq!(message.qos, QoS::ExactlyOnce);
                        message.state = State::Released { id, again: false };
                    }
                }
                write(out, P::PubRel(theirs::PubRel::new(id)));
            }
            P::PubComp(pubcomp) => self.done(QoS::ExactlyOnce, pubcomp.pkid),
            P::Subscribe(subscribe) => {
                let granted = theirs::SubscribeReasonCode::Success(rumqttc::QoS::ExactlyOnce);
                let codes = vec![granted; subscribe.filters.len()];
                write(out, P::SubAck(theirs::SubAck::new(subscribe.pkid, codes)));
            }
            other => panic!("the client sent {other:?}"),
        }
    }

    fn done(&mut self, qos: QoS, done: u16) {
        self.for_client.retain(|message| match message.state {
            State::Queued => true,
            State::Sent { id, .. } => message.qos != qos || qos == QoS::ExactlyOnce || id != done,
            State::Released { id, .. } => id != done,
        });
    }

    fn send_next(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.connected {
            return false;
        }
        let Some(message) = self.for_client.iter_mut().find(|message| {
            matches!(
                message.state,
                State::Queued
                    | State::Sent { again: true, .. }
                    | State::Released { again: true, .. }
            )
        }) else {
            return false;
        };
        let (id, dup) = match message.state {
            State::Released { id, .. } => {
                message.state = State::Released { id, again: false };
                write(out, theirs::Packet::PubRel(theirs::PubRel::new(id)));
                return true;
            }
            State::Sent { id, .. } => (id, true),
            State::Queued => {
                self.last_id += 1;
                (self.last_id, false)
            }
        };
        message.state = State::Sent { id, again: false };
        let qos = match message.qos {
            QoS::AtMostOnce => unreachable!("this broker sends at QoS 1 and 2"),
            QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
            QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
        };
        let publish = theirs::Publish {
            dup,
            qos,
            retain: false,
            topic: Bytes::from_static(TOPIC.as_bytes()),
            pkid: id,
            payload: Bytes::copy_from_slice(&message.number.to_be_bytes()),
        };
        write(out, theirs::Packet::Publish(publish));
        true
    }
}

fn write(out: &mut Vec<u8>, packet: theirs::Packet) {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, BYTES_MAX).expect("fits");
    out.extend_from_slice(&bytes);
}

/// Both sides, and the bytes between them.
pub struct World {
    pub client: Client<(), 64, 1024>,
    pub reader: Reader<64>,
    pub broker: Broker,
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// What the client was handed.
    pub handed: Vec<(Number, QoS)>,
    pushed: Vec<(Number, QoS)>,
    published: Vec<(Number, QoS)>,
    next: Number,
    /// Connections that found no session, the first of all among them.
    pub sessions_begun: u32,
}

impl World {
    pub fn new() -> Self {
        Self {
            client: Client::new(Limits {
                in_flight_max: 4,
                telemetry_max: 0,
            }),
            reader: Reader::new(),
            broker: Broker::default(),
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            handed: Vec::new(),
            pushed: Vec::new(),
            published: Vec::new(),
            next: 0,
            sessions_begun: 0,
        }
    }

    pub fn connect(&mut self) {
        self.cut();
        let connect = Connect {
            client_id: "dev",
            clean_session: false,
            keep_alive_s: 0,
            credentials: None,
            will: None,
        };
        let mut buffer = [0; 64];
        let packet = self.client.connect(&connect, 0, &mut buffer).expect("fits");
        self.to_broker.extend(packet);
    }

    /// The connection breaks: what is on its way is lost.
    pub fn cut(&mut self) {
        self.to_broker.clear();
        self.to_client.clear();
        self.reader = Reader::new();
        self.client.closed();
        self.broker.disconnected();
    }

    pub fn push(&mut self, qos: QoS) {
        self.next += 1;
        self.pushed.push((self.next, qos));
        let message = Message {
            topic: (),
            payload: &self.next.to_be_bytes(),
            qos,
            retain: false,
            class: Class::Event,
        };
        self.client.push(message).expect("room");
    }

    pub fn publish(&mut self, qos: QoS) {
        if !self.broker.has_session {
            return;
        }
        self.next += 1;
        self.published.push((self.next, qos));
        self.broker.for_client.push(ForClient {
            number: self.next,
            qos,
            state: State::Queued,
        });
    }

    pub fn client_sends(&mut self) -> bool {
        let packet = self.client.send_next(|outgoing| match outgoing {
            Outgoing::Message {
                topic: (),
                payload,
                delivery,
                retain,
            } => {
                let publish = Publish {
                    topic: TOPIC,
                    payload_bytes: payload.len(),
                    delivery,
                    retain,
                };
                let mut buffer = [0; 64];
                let mut packet = publish.encode(&mut buffer).expect("fits").to_vec();
                packet.extend(payload);
                packet
            }
            Outgoing::Release(release) => release.encode().to_vec(),
        });
        let sent = packet.is_some();
        self.to_broker.extend(packet.unwrap_or_default());
        sent
    }

    pub fn broker_sends(&mut self) -> bool {
        let mut out = Vec::new();
        let sent = self.broker.send_next(&mut out);
        self.to_client.extend(out);
        sent
    }

    pub fn broker_reads(&mut self, bytes: usize) -> bool {
        let bytes: Vec<u8> = self
            .to_broker
            .drain(..bytes.min(self.to_broker.len()))
            .collect();
        let mut out = Vec::new();
        self.broker.receive(&bytes, &mut out);
        self.to_client.extend(out);
        !bytes.is_empty()
    }

    pub fn client_reads(&mut self, bytes: usize) -> bool {
        let bytes: Vec<u8> = self
            .to_client
            .drain(..bytes.min(self.to_client.len()))
            .collect();
        let mut stream = &bytes[..];
        while let Some(packet) = self.reader.next(&mut stream).expect("packets") {
            let qos = match packet {
                firmware_mqtt::Packet::Publish { delivery, .. } => match delivery {
                    Delivery::AtMostOnce => QoS::AtMostOnce,
                    Delivery::AtLeastOnce { .. } => QoS::AtLeastOnce,
                    Delivery::ExactlyOnce { .. } => QoS::ExactlyOnce,
                },
                _ => QoS::AtMostOnce,
            };
            let Received { event, answer } = self.client.receive(packet).expect("no violation");
            match event {
                Event::Connected { session_present } => {
                    let filters = [Filter {
                        filter: TOPIC,
                        qos: QoS::ExactlyOnce,
                    }];
                    let mut buffer = [0; 64];
                    let packet = self.client.subscribe(&filters, &mut buffer);
                    self.to_broker.extend(packet.expect("fits"));
                    if !session_present {
                        self.sessions_begun += 1;
                    }
                }
                Event::Message { payload, .. } => {
                    let number = Number::from_be_bytes(payload.try_into().expect("four bytes"));
                    self.handed.push((number, qos));
                }
                Event::Subscribed { codes } => assert!(codes.iter().all(|code| code.is_some())),
                Event::Nothing => {}
                Event::Refused { code } => panic!("refused with {code}"),
            }
            if let Some(answer) = answer {
                self.to_broker.extend(answer.encode());
            }
        }
        !bytes.is_empty()
    }

    /// One more connection, which lasts until nobody has anything to say.
    pub fn settle(&mut self) {
        self.connect();
        while self.client_sends()
            | self.broker_reads(usize::MAX)
            | self.broker_sends()
            | self.client_reads(usize::MAX)
        {}
    }

    pub fn check(&self) {
        assert!(
            self.client.outbox().is_empty(),
            "{:?}",
            self.client.outbox().len()
        );
        assert!(
            self.broker.for_client.is_empty(),
            "{:?}",
            self.broker.for_client
        );
        assert!(self.broker.unreleased.is_empty());
        let broker_forgot = self.broker.forgot;

        for (number, qos) in &self.pushed {
            let came: Vec<_> = self
                .broker
                .arrived
                .iter()
                .filter(|a| a.0 == *number)
                .collect();
            assert!(came.iter().all(|a| a.1 == *qos));
            match qos {
                QoS::AtMostOnce => assert!(came.len() <= 1, "{number}: {came:?}"),
                QoS::AtLeastOnce => assert!(!came.is_empty(), "{number} is lost"),
                QoS::ExactlyOnce if broker_forgot => assert!(!came.is_empty(), "{number} is lost"),
                QoS::ExactlyOnce => assert_eq!(came.len(), 1, "{number}: {came:?}"),
            }
            // In one session: the first as new, then with DUP and the same identifier.
            let mut sessions = BTreeMap::<u32, Vec<(u16, bool)>>::new();
            for (_, _, id, dup, session) in came {
                sessions.entry(*session).or_default().push((*id, *dup));
            }
            for came in sessions.values() {
                assert!(
                    came.iter().all(|(id, _)| *id == came[0].0),
                    "{number}: {came:?}"
                );
                assert!(came[1..].iter().all(|(_, dup)| *dup), "{number}: {came:?}");
            }
        }
        // First arrivals are in order, at each QoS (4.6).
        for of in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut seen = BTreeSet::new();
            let first = self
                .broker
                .arrived
                .iter()
                .filter(|a| a.1 == of && seen.insert(a.0));
            let first: Vec<_> = first.map(|a| a.0).collect();
            assert!(first.is_sorted(), "{of:?}: {first:?}");
        }
        for (number, qos) in &self.published {
            let count = self
                .handed
                .iter()
                .filter(|h| *h == &(*number, *qos))
                .count();
            match qos {
                _ if broker_forgot => {}
                QoS::ExactlyOnce => assert_eq!(count, 1, "{number}"),
                _ => assert!(count >= 1, "{number} is lost"),
            }
        }
    }
}
