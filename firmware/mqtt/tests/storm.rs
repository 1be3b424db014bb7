//! More to say at once than the outbox holds: a controller whose sixty sensors all fail, and more
//! requests than the broker has acknowledged answers to.
//!
//! What must hold with a connection: each alarm message and each answer is sent, and sent once; what
//! the outbox has no room for waits where it is. Outbox, limits and loop are as the firmware has them.

use std::collections::{BTreeMap, VecDeque};

use firmware_control::{
    Action, Configuration, Controller, EVENT_BYTES_MAX, Identity, MESSAGE_BYTES_MAX, Measurement,
    Now, POINTS, Reading, Tenths,
};
use firmware_mqtt::{
    Class, Client, Connect, Delivery, Limits, Losses, Message, Outgoing, Packet, PacketId, QoS,
    Room,
};
use serde_json::Value;

const MESSAGES: usize = 48;
const IN_FLIGHT: usize = 16;
const RESERVED: Room = Room {
    messages: 16,
    bytes: MESSAGE_BYTES_MAX,
};

type DeviceClient = Client<&'static str, MESSAGES, { 16 * 1024 }>;

/// A device, and a broker that acknowledges when it is told to.
struct World {
    controller: Controller,
    client: DeviceClient,
    now_ms: u64,
    /// What was sent at QoS 1, not acknowledged yet.
    unacknowledged: VecDeque<PacketId>,
    arrived: Vec<(&'static str, String)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            controller: Controller::new(Identity::new("0.1.0", 7), Configuration::default()),
            client: Client::new(Limits {
                in_flight_max: IN_FLIGHT,
                telemetry_max: 4,
            }),
            now_ms: 1_000,
            unacknowledged: VecDeque::new(),
            arrived: Vec::new(),
        };
        world.measure_all(Reading::Temperature(Tenths::new(200).expect("in range")));
        world.act();
        world
    }

    fn now(&self) -> Now {
        Now {
            uptime_ms: self.now_ms,
            unix_ms: None,
        }
    }

    fn connect(&mut self) {
        let connect = Connect {
            client_id: "dev",
            clean_session: false,
            keep_alive_s: 0,
            credentials: None,
            will: None,
        };
        self.client
            .connect(&connect, self.now_ms, &mut [0; 64])
            .expect("fits");
        self.unacknowledged.clear();
        let connack = Packet::ConnAck {
            session_present: false,
            code: 0,
        };
        self.client.receive(connack).expect("accepted");
    }

    fn measure_all(&mut self, reading: Reading) {
        let now = self.now();
        for id in 0..POINTS {
            let measurement = Measurement {
                sensor_id: id as u64,
                reading,
            };
            self.controller.measured(now, id, Some(measurement));
        }
    }

    /// The control loop comes around: it waits for nobody.
    fn act(&mut self) {
        let now = self.now();
        loop {
            let takes = self.client.takes_event(EVENT_BYTES_MAX, RESERVED);
            let action = match takes {
                true => self.controller.poll(now),
                false => self.controller.poll_without_events(now),
            };
            let mut text = String::new();
            match action {
                None => break,
                Some(Action::PublishAlarm(change)) => {
                    change.write(&mut text).expect("room");
                    self.push("alarm", &text);
                }
                Some(Action::PublishTelemetry) => {
                    let written = self.controller.write_temperature(now, &mut text);
                    written.expect("room");
                    let message = Message {
                        topic: "telemetry",
                        payload: text.as_bytes(),
                        qos: QoS::AtMostOnce,
                        retain: false,
                        class: Class::Telemetry,
                    };
                    self.client.push(message).expect("room");
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        let takes = self.client.takes_event(EVENT_BYTES_MAX, RESERVED);
        let next_ms = match takes {
            true => self.controller.poll_at(),
            false => self.controller.poll_at_without_events(),
        };
        assert!(next_ms > self.now_ms, "the loop would spin");
    }

    fn push(&mut self, topic: &'static str, payload: &str) {
        let message = Message {
            topic,
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            class: Class::Event,
        };
        self.client.push(message).expect("room");
    }

    /// A request comes in: what waits is sent first, then the answer is given and sent.
    fn answer(&mut self, number: usize) {
        self.send();
        self.push("response", &number.to_string());
        self.send();
    }

    /// The session sends what it may.
    fn send(&mut self) {
        let Self {
            client,
            unacknowledged,
            arrived,
            ..
        } = self;
        while client
            .send_next(|outgoing| match outgoing {
                Outgoing::Message {
                    topic,
                    payload,
                    delivery,
                    ..
                } => {
                    let text = String::from_utf8(payload.to_vec()).expect("text");
                    arrived.push((topic, text));
                    if let Delivery::AtLeastOnce { id, .. } = delivery {
                        unacknowledged.push_back(id);
                    }
                }
                Outgoing::Release(_) => panic!("nothing is at QoS 2"),
            })
            .is_some()
        {}
    }

    /// The broker acknowledges the oldest `count`; the control loop comes around.
    fn acknowledge(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(id) = self.unacknowledged.pop_front() {
                self.client.receive(Packet::PubAck { id }).expect("open");
            }
        }
        self.act();
    }

    fn settle(&mut self, count: usize) {
        self.act();
        self.send();
        while !self.client.outbox().is_empty() {
            self.acknowledge(count);
            self.send();
        }
    }

    /// How often each change of each point's alarm has arrived.
    fn alarms(&self) -> BTreeMap<(u64, String), usize> {
        let mut alarms = BTreeMap::new();
        for (_, text) in self.arrived.iter().filter(|(topic, _)| *topic == "alarm") {
            let message: Value = serde_json::from_str(text).expect("JSON");
            let point = message["point_id"].as_u64().expect("a point");
            let transition = message["state_transition"].as_str().expect("text");
            *alarms.entry((point, transition.to_owned())).or_default() += 1;
        }
        alarms
    }

    fn numbers(&self) -> Vec<usize> {
        let responses = self
            .arrived
            .iter()
            .filter(|(topic, _)| *topic == "response");
        responses
            .map(|(_, n)| n.parse().expect("a number"))
            .collect()
    }
}

/// Each point's alarm once raised and once cleared.
fn each_once() -> BTreeMap<(u64, String), usize> {
    let of = |point| ["NORMAL->ACTIVE", "ACTIVE->CLEARED"].map(|t| ((point, t.to_owned()), 1));
    (0..POINTS as u64).flat_map(of).collect()
}

#[test]
fn a_bus_that_fails_and_comes_back_says_so_once_for_each_point() {
    for acknowledged_at_once in [1, 7, 48] {
        let mut world = World::new();
        world.connect();
        world.measure_all(Reading::Error);
        world.act();
        // Telemetry is due in the middle of it, and is not what is lost either.
        world.now_ms = 61_000;
        world.settle(acknowledged_at_once);
        world.measure_all(Reading::Temperature(Tenths::new(210).expect("in range")));
        world.settle(acknowledged_at_once);
        assert_eq!(world.alarms(), each_once());
        assert_eq!(world.client.losses(), Losses::default());
        assert_eq!(world.controller.counters().events_dropped, 0);
        let telemetry = world
            .arrived
            .iter()
            .filter(|(topic, _)| *topic == "telemetry");
        assert_eq!(telemetry.count(), 1);
    }
}

#[test]
fn answers_have_room_beside_a_storm_of_alarms() {
    let mut world = World::new();
    world.connect();
    world.measure_all(Reading::Error);
    world.act();
    for number in 0..RESERVED.messages {
        world.answer(number);
    }
    world.measure_all(Reading::Temperature(Tenths::new(210).expect("in range")));
    world.settle(1);
    assert!(world.numbers().into_iter().eq(0..RESERVED.messages));
    assert_eq!(world.alarms(), each_once());
    assert_eq!(world.client.losses(), Losses::default());
}

#[test]
fn more_answers_than_the_outbox_holds_are_all_sent() {
    const ANSWERS: usize = 3 * MESSAGES;
    let mut world = World::new();
    world.connect();
    for number in 0..ANSWERS {
        world.answer(number);
    }
    world.settle(1);
    assert!(world.numbers().into_iter().eq(0..ANSWERS));
    let losses = world.client.losses();
    assert_eq!((losses.events, losses.telemetry), (0, 0));
    // These were sent, and would not have been sent again in a next connection.
    assert_eq!(losses.unacknowledged as usize, ANSWERS - MESSAGES);
}

#[test]
fn answers_to_what_waited_for_the_device_cost_nothing_that_waited_in_it() {
    let mut world = World::new();
    for number in 0..MESSAGES {
        world.push("response", &number.to_string());
    }
    world.connect();
    for number in MESSAGES..2 * MESSAGES {
        world.answer(number);
    }
    world.settle(5);
    assert!(world.numbers().into_iter().eq(0..2 * MESSAGES));
    assert_eq!(world.client.losses().events, 0);
}

#[test]
fn without_a_connection_the_newest_are_kept_and_the_others_counted() {
    let mut world = World::new();
    world.measure_all(Reading::Error);
    world.act();
    assert_eq!(world.client.losses().events as usize, POINTS - MESSAGES);
    world.connect();
    world.settle(3);
    let points: Vec<u64> = world.alarms().into_keys().map(|(point, _)| point).collect();
    assert!(
        points
            .into_iter()
            .eq((POINTS - MESSAGES) as u64..POINTS as u64)
    );
}
