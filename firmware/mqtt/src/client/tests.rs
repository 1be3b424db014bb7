//! The client, packet by packet. Whole sessions over bad connections: `tests/sessions.rs`.

use super::*;
use crate::{Class, QoS};

type Small = Client<char, 4, 100>;

const CONNECT: Connect<'_> = Connect {
    client_id: "dev",
    clean_session: false,
    keep_alive_s: 40,
    credentials: None,
    will: None,
};

const FILTERS: [Filter<'_>; 2] = [
    Filter {
        filter: "a",
        qos: QoS::ExactlyOnce,
    },
    Filter {
        filter: "b",
        qos: QoS::AtLeastOnce,
    },
];

fn closed() -> Small {
    Client::new(Limits {
        in_flight_max: 4,
        telemetry_max: 1,
    })
}

fn connect(client: &mut Small, clean_session: bool, session_present: bool) {
    let connect = Connect {
        clean_session,
        ..CONNECT
    };
    client.connect(&connect, 0, &mut [0; 32]).expect("fits");
    let connack = Packet::ConnAck {
        session_present,
        code: 0,
    };
    client.receive(connack).expect("accepted");
}

fn open() -> Small {
    let mut client = closed();
    connect(&mut client, false, false);
    client
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not 0")
}

fn publish(delivery: Delivery) -> Packet<'static> {
    Packet::Publish {
        topic: "a",
        payload: b"hi",
        payload_bytes: 2,
        delivery,
        retain: true,
    }
}

const MESSAGE: Event<'_> = Event::Message {
    topic: "a",
    payload: b"hi",
    payload_bytes: 2,
    retain: true,
};

fn at_least_once(n: u16, dup: bool) -> Packet<'static> {
    publish(Delivery::AtLeastOnce { id: id(n), dup })
}

fn exactly_once(n: u16, dup: bool) -> Packet<'static> {
    publish(Delivery::ExactlyOnce { id: id(n), dup })
}

fn check(client: &mut Small, packet: Packet<'static>, event: Event<'static>, answer: Option<Ack>) {
    assert_eq!(client.receive(packet), Ok(Received { event, answer }));
}

fn event(topic: char, qos: QoS) -> Message<'static, char> {
    Message {
        topic,
        payload: b"x",
        qos,
        retain: false,
        class: Class::Event,
    }
}

fn send(client: &mut Small) -> Option<(char, Delivery)> {
    client.send_next(|outgoing| match outgoing {
        Outgoing::Message {
            topic, delivery, ..
        } => (topic, delivery),
        other => panic!("{other:?}"),
    })
}

#[test]
fn nothing_but_connack_comes_first() {
    let mut c = closed();
    assert_eq!(c.receive(Packet::PingResp), Err(Violation::NoConnAck));
    c.connect(&CONNECT, 0, &mut [0; 32]).expect("fits");
    assert!(!c.is_open());
    assert_eq!(c.receive(Packet::PingResp), Err(Violation::NoConnAck));
    let connack = Packet::ConnAck {
        session_present: false,
        code: 0,
    };
    assert_eq!(
        c.receive(connack),
        Err(Violation::NoConnAck),
        "closed by then"
    );
}

#[test]
fn connack_opens_or_refuses_and_comes_once() {
    let connack = |code, session_present| Packet::ConnAck {
        session_present,
        code,
    };
    for (clean_session, present, expected) in [
        (false, false, false),
        (false, true, true),
        (true, false, false),
        (true, true, false),
    ] {
        let mut c = closed();
        let connect = Connect {
            clean_session,
            ..CONNECT
        };
        c.connect(&connect, 0, &mut [0; 32]).expect("fits");
        let session_present = expected;
        check(
            &mut c,
            connack(0, present),
            Event::Connected { session_present },
            None,
        );
        assert!(c.is_open());
        assert_eq!(c.receive(connack(0, false)), Err(Violation::SecondConnAck));
        assert!(!c.is_open());
    }
    let mut c = closed();
    c.connect(&CONNECT, 0, &mut [0; 32]).expect("fits");
    check(&mut c, connack(5, false), Event::Refused { code: 5 }, None);
    assert!(!c.is_open());
}

#[test]
fn what_comes_in_is_answered_as_its_qos_asks() {
    let mut c = open();
    check(&mut c, publish(Delivery::AtMostOnce), MESSAGE, None);
    check(
        &mut c,
        at_least_once(7, false),
        MESSAGE,
        Some(Ack::PubAck(id(7))),
    );
    check(
        &mut c,
        at_least_once(7, true),
        MESSAGE,
        Some(Ack::PubAck(id(7))),
    );
    let pubrec = Some(Ack::PubRec(id(7)));
    check(&mut c, exactly_once(7, false), MESSAGE, pubrec);
    check(&mut c, exactly_once(7, true), Event::Nothing, pubrec);
    let pubcomp = Some(Ack::PubComp(id(7)));
    let pubrel = Packet::PubRel { id: id(7) };
    check(&mut c, pubrel, Event::Nothing, pubcomp);
    check(&mut c, pubrel, Event::Nothing, pubcomp);
    check(&mut c, exactly_once(7, false), MESSAGE, pubrec);
}

#[test]
fn a_message_at_qos_2_is_known_in_the_next_connection_as_far_as_the_session_lasts() {
    let mut c = open();
    let pubrec = Some(Ack::PubRec(id(7)));
    check(&mut c, exactly_once(7, false), MESSAGE, pubrec);
    c.closed();
    connect(&mut c, false, true);
    check(&mut c, exactly_once(7, true), Event::Nothing, pubrec);
    connect(&mut c, false, false);
    check(&mut c, exactly_once(7, false), MESSAGE, pubrec);
    connect(&mut c, true, true);
    check(&mut c, exactly_once(7, false), MESSAGE, pubrec);
}

#[test]
fn more_unreleased_messages_than_can_be_remembered_end_the_connection() {
    let mut c = open();
    for n in 1..=64 {
        c.receive(exactly_once(n, false)).expect("remembered");
    }
    assert_eq!(
        c.receive(exactly_once(65, false)),
        Err(Violation::TooManyUnreleased)
    );
    assert!(!c.is_open());
}

#[test]
fn what_goes_out_is_acknowledged() {
    let mut c = open();
    c.push(event('a', QoS::AtLeastOnce)).expect("room");
    c.push(event('x', QoS::ExactlyOnce)).expect("room");
    let dup = false;
    let (one, two) = (id(1), id(2));
    assert_eq!(
        send(&mut c),
        Some(('a', Delivery::AtLeastOnce { id: one, dup }))
    );
    assert_eq!(
        send(&mut c),
        Some(('x', Delivery::ExactlyOnce { id: two, dup }))
    );
    check(&mut c, Packet::PubAck { id: one }, Event::Nothing, None);
    let pubrel = Some(Ack::PubRel(two));
    check(&mut c, Packet::PubRec { id: two }, Event::Nothing, pubrel);
    check(&mut c, Packet::PubRec { id: two }, Event::Nothing, pubrel);
    assert_eq!(c.outbox().len(), 1);
    check(&mut c, Packet::PubComp { id: two }, Event::Nothing, None);
    assert!(c.outbox().is_empty());
    // Whatever the broker acknowledges beyond that is nothing to us.
    check(&mut c, Packet::PubAck { id: one }, Event::Nothing, None);
    check(&mut c, Packet::PubComp { id: two }, Event::Nothing, None);
}

#[test]
fn messages_wait_for_the_connection() {
    let mut c = closed();
    c.push(event('a', QoS::AtLeastOnce)).expect("room");
    assert_eq!(send(&mut c), None);
    c.connect(&CONNECT, 0, &mut [0; 32]).expect("fits");
    assert_eq!(send(&mut c), None);
    connect(&mut c, false, false);
    assert_eq!(send(&mut c).map(|sent| sent.0), Some('a'));
    c.closed();
    assert_eq!(send(&mut c), None);
    connect(&mut c, false, true);
    let (id, dup) = (id(1), true);
    assert_eq!(send(&mut c), Some(('a', Delivery::AtLeastOnce { id, dup })));
}

#[test]
fn a_subscription_is_answered_filter_by_filter() {
    let mut c = open();
    let mut buffer = [0; 32];
    c.subscribe(&FILTERS, &mut buffer).expect("fits");
    assert!(c.is_subscribing());
    assert_eq!(
        c.subscribe(&FILTERS, &mut buffer),
        Err(EncodeError::OutOfTurn)
    );
    let mut reader = crate::Reader::<8>::new();
    let suback = reader.next(&mut &b"\x90\x04\x00\x01\x02\x80"[..]);
    match c.receive(suback.expect("a packet").expect("whole")) {
        Ok(Received {
            event: Event::Subscribed { codes },
            answer: None,
        }) => assert!(codes.iter().eq([Some(QoS::ExactlyOnce), None])),
        other => panic!("{other:?}"),
    }
    assert!(!c.is_subscribing());
}

#[test]
fn a_suback_that_fits_no_subscribe_is_a_violation() {
    for suback in [
        &b"\x90\x04\x00\x02\x02\x80"[..],
        b"\x90\x03\x00\x01\x02",
        b"\x90\x05\x00\x01\x02\x02\x02",
    ] {
        let mut c = open();
        c.subscribe(&FILTERS, &mut [0; 32]).expect("fits");
        let mut reader = crate::Reader::<8>::new();
        let suback = reader.next(&mut &suback[..]).expect("a packet");
        assert_eq!(c.receive(suback.expect("whole")), Err(Violation::SubAck));
    }
}

#[test]
fn a_subscription_needs_an_open_connection_and_room() {
    let mut c = closed();
    assert_eq!(
        c.subscribe(&FILTERS, &mut [0; 32]),
        Err(EncodeError::OutOfTurn)
    );
    let mut c = open();
    assert_eq!(
        c.subscribe(&FILTERS, &mut [0; 8]),
        Err(EncodeError::TooLong)
    );
    assert!(!c.is_subscribing());
    c.subscribe(&FILTERS, &mut [0; 32]).expect("fits");
}

#[test]
fn keep_alive_runs_while_the_connection_is_open() {
    let mut c = closed();
    assert_eq!(c.poll_at(), None);
    connect(&mut c, false, false);
    assert_eq!(c.poll_at(), Some(30_000));
    c.sent(1_000);
    assert_eq!(c.poll(30_999), Due::Nothing);
    assert_eq!(c.poll(31_000), Due::Ping);
    check(&mut c, Packet::PingResp, Event::Nothing, None);
    assert_eq!(c.poll(61_000), Due::Ping);
    assert_eq!(c.poll(71_000), Due::Dead);
    c.closed();
    assert_eq!(c.poll(71_000), Due::Nothing);
}
