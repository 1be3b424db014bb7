//! The outbox, case by case, and against a naive one that keeps everything in vectors.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    in_flight_max: 8,
    telemetry_max: 2,
};

type Small = Outbox<char, 4, 10>;

fn outbox() -> Small {
    Outbox::new(LIMITS)
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not 0")
}

fn event(topic: char, payload: &[u8]) -> Message<'_, char> {
    Message {
        topic,
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        class: Class::Event,
    }
}

fn telemetry(topic: char, payload: &[u8]) -> Message<'_, char> {
    Message {
        qos: QoS::AtMostOnce,
        class: Class::Telemetry,
        ..event(topic, payload)
    }
}

fn state(topic: char, payload: &[u8]) -> Message<'_, char> {
    Message {
        retain: true,
        class: Class::State,
        ..event(topic, payload)
    }
}

fn exactly_once(topic: char, payload: &[u8]) -> Message<'_, char> {
    Message {
        qos: QoS::ExactlyOnce,
        ..event(topic, payload)
    }
}

/// What is sent until there is nothing more, as text: topic, identifier and `!` for DUP; `~` and the
/// identifier for PUBREL.
fn sent<const M: usize, const B: usize>(
    outbox: &mut Outbox<char, M, B>,
) -> Vec<alloc::string::String> {
    use alloc::{format, string::ToString as _};
    core::iter::from_fn(|| {
        outbox.send_next(|outgoing| match outgoing {
            Outgoing::Message {
                topic, delivery, ..
            } => match delivery {
                Delivery::AtMostOnce => topic.to_string(),
                Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
                    format!("{topic}{id}{}", if dup { "!" } else { "" })
                }
            },
            Outgoing::Release(ack) => match ack {
                Ack::PubRel(id) => format!("~{id}"),
                other => panic!("{other:?}"),
            },
        })
    })
    .collect()
}

#[test]
fn messages_go_out_in_order_and_once_a_connection() {
    let mut o = outbox();
    for message in [event('a', b"1"), telemetry('t', b"2"), event('b', b"3")] {
        o.push(message).expect("room");
    }
    assert_eq!(sent(&mut o), ["a1", "t", "b2"]);
    assert!(sent(&mut o).is_empty());
    assert_eq!((o.len(), o.used_bytes(), o.in_flight()), (2, 2, 2));
}

#[test]
fn payload_and_retain_flag_are_those_given() {
    let mut o = outbox();
    o.push(event('a', b"hello")).expect("room");
    o.push(state('b', b"on")).expect("room");
    let mut next = || {
        o.send_next(|outgoing| match outgoing {
            Outgoing::Message {
                payload, retain, ..
            } => (payload.to_vec(), retain),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(next(), Some((b"hello".to_vec(), false)));
    assert_eq!(next(), Some((b"on".to_vec(), true)));
    assert_eq!(next(), None);
}

#[test]
fn an_acknowledgement_counts_once_and_for_what_was_sent_at_its_qos() {
    let mut o = outbox();
    o.push(event('a', b"1")).expect("room");
    assert!(!o.puback(id(1)), "not sent yet");
    sent(&mut o);
    assert!(!o.puback(id(2)));
    assert!(!o.pubrec(id(1)));
    assert!(!o.pubcomp(id(1)));
    assert!(o.puback(id(1)));
    assert!(!o.puback(id(1)));
    assert!(o.is_empty());
}

#[test]
fn exactly_once_is_four_packets() {
    let mut o = outbox();
    o.push(exactly_once('x', b"12345")).expect("room");
    assert_eq!(sent(&mut o), ["x1"]);
    assert!(!o.puback(id(1)));
    assert!(!o.pubcomp(id(1)));
    assert!(o.pubrec(id(1)));
    assert_eq!((o.len(), o.used_bytes(), o.in_flight()), (1, 0, 1));
    assert!(!o.pubrec(id(1)), "the message is gone");
    assert!(o.pubcomp(id(1)));
    assert!(o.is_empty());
}

#[test]
fn with_the_session_present_the_handshakes_go_on_where_they_were() {
    let mut o = outbox();
    for message in [
        event('a', b"1"),
        exactly_once('x', b"2"),
        exactly_once('y', b"3"),
    ] {
        o.push(message).expect("room");
    }
    assert_eq!(sent(&mut o), ["a1", "x2", "y3"]);
    o.pubrec(id(2));
    o.push(event('b', b"4")).expect("room");
    o.connected(true);
    assert_eq!(sent(&mut o), ["~2", "a1!", "y3!", "b4"]);
    o.connected(true);
    assert!(o.pubcomp(id(2)), "the broker's answer to the first PUBREL");
    assert_eq!(sent(&mut o), ["a1!", "y3!", "b4!"]);
}

#[test]
fn without_the_session_everything_unacknowledged_is_new() {
    let mut o = outbox();
    for message in [
        event('a', b"1"),
        exactly_once('x', b"2"),
        exactly_once('y', b"3"),
    ] {
        o.push(message).expect("room");
    }
    assert_eq!(sent(&mut o), ["a1", "x2", "y3"]);
    o.pubrec(id(2));
    o.connected(false);
    assert_eq!(sent(&mut o), ["a4", "y5"]);
    assert!(!o.puback(id(1)));
    assert!(o.puback(id(4)));
}

#[test]
fn what_is_in_flight_is_bounded_but_for_qos_0() {
    let mut o = Outbox::<char, 4, 10>::new(Limits {
        in_flight_max: 1,
        ..LIMITS
    });
    for message in [event('a', b"1"), event('b', b"2"), telemetry('t', b"3")] {
        o.push(message).expect("room");
    }
    assert_eq!(sent(&mut o), ["a1", "t"]);
    o.puback(id(1));
    assert_eq!(sent(&mut o), ["b2"]);
}

#[test]
fn of_telemetry_the_newest_few_are_kept() {
    let mut o = outbox();
    for topic in ['r', 's', 't'] {
        o.push(telemetry(topic, b"1")).expect("room");
    }
    assert_eq!(o.losses().telemetry, 1);
    assert_eq!(sent(&mut o), ["s", "t"]);
}

#[test]
fn telemetry_gives_way_first_and_takes_nothing_else_s_place() {
    let mut o = outbox();
    for message in [
        event('a', b"123"),
        telemetry('s', b"1"),
        event('b', b"123"),
        telemetry('t', b"1"),
    ] {
        o.push(message).expect("room");
    }
    o.push(event('c', b"123")).expect("telemetry gives way");
    let losses = |telemetry, events, unacknowledged| Losses {
        telemetry,
        events,
        unacknowledged,
    };
    assert_eq!(o.losses(), losses(1, 0, 0));
    o.push(event('d', b"1234"))
        .expect("telemetry and the oldest event give way");
    assert_eq!(o.losses(), losses(2, 1, 0));
    assert_eq!(o.push(telemetry('u', b"1")), Err(Full));
    assert_eq!(o.losses(), losses(3, 1, 0));
    assert_eq!(sent(&mut o), ["b1", "c2", "d3"]);
}

#[test]
fn what_was_sent_is_given_up_last_come_first_gone_and_counted_apart() {
    let mut o = outbox();
    for topic in ['a', 'b', 'c', 'd'] {
        o.push(event(topic, b"")).expect("room");
    }
    assert_eq!(sent(&mut o).len(), 4);
    o.push(event('e', b"")).expect("the oldest gives way");
    assert_eq!(o.losses().unacknowledged, 1);
    assert!(!o.puback(id(1)));
    assert_eq!(sent(&mut o), ["e5"]);
}

#[test]
fn a_handshake_at_qos_2_is_never_given_up() {
    let mut o = outbox();
    for topic in ['w', 'x', 'y', 'z'] {
        o.push(exactly_once(topic, b"")).expect("room");
    }
    sent(&mut o);
    o.pubrec(id(1));
    assert_eq!(o.push(event('e', b"")), Err(Full));
    assert_eq!(o.losses().events, 1);
    o.pubcomp(id(1));
    o.push(event('e', b"")).expect("room");
}

#[test]
fn a_message_longer_than_all_room_costs_no_other() {
    let mut o = outbox();
    o.push(telemetry('t', b"1")).expect("room");
    assert_eq!(o.push(event('a', &[0; 11])), Err(Full));
    assert_eq!(
        (o.len(), o.losses().telemetry, o.losses().events),
        (1, 0, 1)
    );
}

#[test]
fn a_state_takes_the_place_of_one_that_was_not_sent() {
    let mut o = outbox();
    for message in [state('s', b"1"), event('a', b"2"), state('z', b"3")] {
        o.push(message).expect("room");
    }
    o.push(state('s', b"4")).expect("room");
    assert_eq!(o.losses(), Losses::default());
    assert_eq!(sent(&mut o), ["a1", "z2", "s3"]);
    o.push(state('s', b"5")).expect("room");
    assert_eq!(sent(&mut o), ["s4"], "one that was sent stays");
}

#[test]
fn packet_identifiers_are_never_0_nor_in_use() {
    let mut o = Outbox::<char, 4, 10>::new(LIMITS);
    o.push(event('a', b"")).expect("room");
    o.push(exactly_once('x', b"")).expect("room");
    sent(&mut o);
    o.pubrec(id(2));
    assert_eq!(o.reserve_id(), id(3));
    for round in 0..70_000 {
        o.push(event('b', b"")).expect("room");
        let next = o.send_next(|outgoing| match outgoing {
            Outgoing::Message {
                delivery: Delivery::AtLeastOnce { id, .. },
                ..
            } => id,
            other => panic!("{other:?}"),
        });
        let next = next.expect("a message");
        assert!(next.get() > 3, "{next} in round {round}");
        assert!(o.puback(next));
    }
}

#[test]
fn there_is_room_for_events_where_only_telemetry_would_give_way() {
    let mut o = outbox();
    let room = |messages, bytes| Room { messages, bytes };
    assert!(o.has_room_for(room(4, 10)));
    assert!(!o.has_room_for(room(5, 0)) && !o.has_room_for(room(0, 11)));
    o.push(telemetry('t', b"12345")).expect("room");
    o.push(telemetry('t', b"12345")).expect("room");
    assert!(o.has_room_for(room(4, 10)));
    o.push(event('a', b"123456")).expect("room");
    assert!(o.has_room_for(room(3, 4)));
    assert!(!o.has_room_for(room(4, 0)) && !o.has_room_for(room(1, 5)));
    o.push(exactly_once('x', b"1")).expect("room");
    sent(&mut o);
    o.pubrec(id(2));
    assert!(o.has_room_for(room(2, 4)) && !o.has_room_for(room(3, 0)));
}

/// The same, done the plain way.
#[derive(Clone, Debug, Default)]
struct Naive {
    messages: Vec<NaiveMessage>,
    released: Vec<(PacketId, bool)>,
    losses: Losses,
    in_flight_max: usize,
    telemetry_max: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct NaiveMessage {
    topic: char,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    class: Class,
    id: Option<PacketId>,
    sent: bool,
}

const MESSAGES: usize = 6;
const BYTES: usize = 40;

impl Naive {
    fn fits(&self) -> bool {
        let telemetry = |m: &&NaiveMessage| m.class == Class::Telemetry;
        self.messages.len() + self.released.len() <= MESSAGES
            && self.messages.iter().map(|m| m.payload.len()).sum::<usize>() <= BYTES
            && self.messages.iter().filter(telemetry).count() <= self.telemetry_max
    }

    /// Puts the message in first, then drops others until all fit; when that ends, nothing was done.
    fn push(&mut self, new: NaiveMessage) -> Result<(), Full> {
        let mut after = self.clone();
        if new.class == Class::State {
            after
                .messages
                .retain(|m| !(m.class == Class::State && m.id.is_none() && m.topic == new.topic));
        }
        let mut may_go: Vec<_> = after
            .messages
            .iter()
            .filter(|m| m.qos != QoS::ExactlyOnce || m.id.is_none())
            .cloned()
            .collect();
        may_go.sort_by_key(|m| m.class != Class::Telemetry);
        if new.class == Class::Telemetry {
            may_go.retain(|m| m.class == Class::Telemetry);
        }
        after.messages.push(new.clone());
        let mut may_go = may_go.into_iter();
        loop {
            if after.fits() {
                *self = after;
                return Ok(());
            }
            let Some(gone) = may_go.next() else {
                self.count(new.class, None);
                return Err(Full);
            };
            let index = after.messages.iter().position(|m| *m == gone);
            after.messages.remove(index.expect("still there"));
            after.count(gone.class, gone.id);
        }
    }

    fn count(&mut self, class: Class, id: Option<PacketId>) {
        match (id, class) {
            (Some(_), _) => self.losses.unacknowledged += 1,
            (None, Class::Telemetry) => self.losses.telemetry += 1,
            (None, _) => self.losses.events += 1,
        }
    }

    fn in_flight(&self) -> usize {
        self.messages.iter().filter(|m| m.sent).count() + self.released.len()
    }

    /// What must be sent next; the identifier only where it is not a new one.
    fn next(&mut self) -> Option<Result<NaiveMessage, PacketId>> {
        for (id, sent) in &mut self.released {
            if !*sent {
                *sent = true;
                return Some(Err(*id));
            }
        }
        let open = self.in_flight() < self.in_flight_max;
        let may_go = |m: &NaiveMessage| !m.sent && (open || m.qos == QoS::AtMostOnce);
        let index = self.messages.iter().position(may_go)?;
        let message = self.messages[index].clone();
        if message.qos == QoS::AtMostOnce {
            self.messages.remove(index);
        } else {
            self.messages[index].sent = true;
        }
        Some(Ok(message))
    }

    fn connected(&mut self, present: bool) {
        for message in &mut self.messages {
            message.sent = false;
            message.id = message.id.filter(|_| present);
        }
        self.released.iter_mut().for_each(|(_, sent)| *sent = false);
        if !present {
            self.released.clear();
        }
    }

    fn remove(&mut self, qos: QoS, id: PacketId) -> bool {
        let index = self
            .messages
            .iter()
            .position(|m| m.id == Some(id) && m.qos == qos);
        index.is_some_and(|index| {
            self.messages.remove(index);
            true
        })
    }

    fn in_use(&self) -> Vec<PacketId> {
        let messages = self.messages.iter().filter_map(|m| m.id);
        messages.chain(self.released.iter().map(|r| r.0)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        topic: u8,
        bytes: usize,
        qos: QoS,
        retain: bool,
        class: Class,
    },
    Send,
    /// Of the identifiers in use, the n-th from the front; some other one beyond.
    PubAck(usize),
    PubRec(usize),
    PubComp(usize),
    Connected(bool),
    Reserve,
    Free,
}

fn step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    let class = prop_oneof![
        Just(Class::Telemetry),
        Just(Class::Event),
        Just(Class::State)
    ];
    let push = (0..3_u8, 0..14_usize, qos, any::<bool>(), class).prop_map(
        |(topic, bytes, qos, retain, class)| Step::Push {
            topic,
            bytes,
            qos,
            retain,
            class,
        },
    );
    prop_oneof![
        8 => push,
        8 => Just(Step::Send),
        3 => (0..8_usize).prop_map(Step::PubAck),
        3 => (0..8_usize).prop_map(Step::PubRec),
        2 => (0..8_usize).prop_map(Step::PubComp),
        1 => any::<bool>().prop_map(Step::Connected),
        1 => Just(Step::Reserve),
        1 => Just(Step::Free),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_naive_one_does(
        in_flight_max in 1..5_usize,
        telemetry_max in 0..4_usize,
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut outbox = Outbox::<char, MESSAGES, BYTES>::new(Limits { in_flight_max, telemetry_max });
        let mut naive = Naive { in_flight_max, telemetry_max, ..Naive::default() };
        let mut reserved = None;
        for (number, step) in steps.into_iter().enumerate() {
            let pick = |naive: &Naive, n: usize| naive.in_use().get(n).copied().unwrap_or(id(60_000));
            match step {
                Step::Push { topic, bytes, qos, retain, class } => {
                    // Each payload is another one, so that none can stand for another.
                    let payload: Vec<u8> = vec![number as u8; bytes];
                    let topic = char::from(b'a' + topic);
                    let expected = naive.push(NaiveMessage {
                        topic, payload: payload.clone(), qos, retain, class, id: None, sent: false,
                    });
                    prop_assert_eq!(outbox.push(Message { topic, payload: &payload, qos, retain, class }), expected);
                }
                Step::Send => {
                    let in_use = naive.in_use();
                    let expected = naive.next();
                    let sent = outbox.send_next(|outgoing| match outgoing {
                        Outgoing::Message { topic, payload, delivery, retain } => {
                            Ok((topic, payload.to_vec(), delivery, retain))
                        }
                        Outgoing::Release(Ack::PubRel(id)) => Err(id),
                        other => panic!("{other:?}"),
                    });
                    match (sent, expected) {
                        (None, None) => {}
                        (Some(Err(id)), Some(Err(expected))) => prop_assert_eq!(id, expected),
                        (Some(Ok((topic, payload, delivery, retain))), Some(Ok(m))) => {
                            prop_assert_eq!((topic, retain), (m.topic, m.retain));
                            prop_assert_eq!(payload, &m.payload[..]);
                            let (qos, id, dup) = match delivery {
                                Delivery::AtMostOnce => (QoS::AtMostOnce, None, false),
                                Delivery::AtLeastOnce { id, dup } => (QoS::AtLeastOnce, Some(id), dup),
                                Delivery::ExactlyOnce { id, dup } => (QoS::ExactlyOnce, Some(id), dup),
                            };
                            prop_assert_eq!((qos, dup), (m.qos, m.id.is_some()));
                            if dup {
                                prop_assert_eq!(id, m.id);
                            } else if let Some(id) = id {
                                prop_assert!(!in_use.contains(&id) && reserved != Some(id));
                                let sent = naive.messages.iter_mut().find(|n| n.sent && n.id.is_none());
                                sent.expect("just sent").id = Some(id);
                            }
                        }
                        (sent, expected) => prop_assert!(false, "{:?}, not {:?}", sent, expected),
                    }
                }
                Step::PubAck(n) => {
                    let id = pick(&naive, n);
                    prop_assert_eq!(outbox.puback(id), naive.remove(QoS::AtLeastOnce, id));
                }
                Step::PubRec(n) => {
                    let id = pick(&naive, n);
                    let expected = naive.remove(QoS::ExactlyOnce, id);
                    if expected {
                        naive.released.push((id, true));
                    }
                    prop_assert_eq!(outbox.pubrec(id), expected);
                }
                Step::PubComp(n) => {
                    let id = pick(&naive, n);
                    let before = naive.released.len();
                    naive.released.retain(|r| r.0 != id);
                    prop_assert_eq!(outbox.pubcomp(id), naive.released.len() < before);
                }
                Step::Connected(present) => {
                    outbox.connected(present);
                    naive.connected(present);
                    reserved = None;
                }
                Step::Reserve => {
                    let id = outbox.reserve_id();
                    prop_assert!(!naive.in_use().contains(&id));
                    reserved = Some(id);
                }
                Step::Free => {
                    outbox.free_id();
                    reserved = None;
                }
            }
            prop_assert_eq!(outbox.len(), naive.messages.len() + naive.released.len());
            prop_assert_eq!(outbox.in_flight(), naive.in_flight());
            prop_assert_eq!(outbox.losses(), naive.losses);
            let bytes: usize = naive.messages.iter().map(|m| m.payload.len()).sum();
            prop_assert_eq!(outbox.used_bytes(), bytes);
            prop_assert!(outbox.len() <= MESSAGES && bytes <= BYTES);
        }
    }
}
