//! Our packets against an independent codec, both ways: what one writes the other must read as meant,
//! and what one refuses the other must not take, but for the few differences that are named here.

use bytes::{Bytes, BytesMut};
use firmware_mqtt::{
    Ack, Connect, DISCONNECT, Delivery, Filter, Malformed, PINGREQ, Packet, PacketId, Publish, QoS,
    Reader, Subscribe, Will,
};
use proptest::{collection::vec, prelude::*};
use rumqttc::mqttbytes::v4 as theirs;

const BYTES_MAX: usize = 4_096;

fn their_qos(qos: QoS) -> rumqttc::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
    }
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn id() -> impl Strategy<Value = PacketId> {
    any::<PacketId>()
}

/// A topic without wildcards, not always of ASCII.
fn topic() -> impl Strategy<Value = String> {
    "[a-zé€/ ]{1,40}"
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (qos(), id(), any::<bool>()).prop_map(|(qos, id, dup)| match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    })
}

fn publish(topic: &str, payload: &[u8], delivery: Delivery, retain: bool) -> theirs::Publish {
    let (qos, pkid, dup) = match delivery {
        Delivery::AtMostOnce => (QoS::AtMostOnce, 0, false),
        Delivery::AtLeastOnce { id, dup } => (QoS::AtLeastOnce, id.get(), dup),
        Delivery::ExactlyOnce { id, dup } => (QoS::ExactlyOnce, id.get(), dup),
    };
    theirs::Publish {
        dup,
        qos: their_qos(qos),
        retain,
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        pkid,
        payload: Bytes::copy_from_slice(payload),
    }
}

/// What they read, which must be all of it.
fn they_read(bytes: &[u8]) -> theirs::Packet {
    let mut stream = BytesMut::from(bytes);
    let packet = theirs::Packet::read(&mut stream, BYTES_MAX).expect("a packet");
    assert!(stream.is_empty(), "{} bytes more", stream.len());
    packet
}

fn they_write(packet: &theirs::Packet) -> Vec<u8> {
    let mut stream = BytesMut::new();
    packet.write(&mut stream, BYTES_MAX).expect("fits");
    stream.to_vec()
}

/// What we read, in their words.
fn in_their_words(packet: Packet<'_>) -> theirs::Packet {
    match packet {
        Packet::ConnAck {
            session_present,
            code,
        } => {
            let code = match code {
                0 => theirs::ConnectReturnCode::Success,
                1 => theirs::ConnectReturnCode::RefusedProtocolVersion,
                2 => theirs::ConnectReturnCode::BadClientId,
                3 => theirs::ConnectReturnCode::ServiceUnavailable,
                4 => theirs::ConnectReturnCode::BadUserNamePassword,
                _ => theirs::ConnectReturnCode::NotAuthorized,
            };
            theirs::Packet::ConnAck(theirs::ConnAck::new(code, session_present))
        }
        Packet::Publish {
            topic,
            payload,
            payload_bytes,
            delivery,
            retain,
        } => {
            assert_eq!(payload.len(), payload_bytes);
            theirs::Packet::Publish(publish(topic, payload, delivery, retain))
        }
        Packet::PubAck { id } => theirs::Packet::PubAck(theirs::PubAck::new(id.get())),
        Packet::PubRec { id } => theirs::Packet::PubRec(theirs::PubRec::new(id.get())),
        Packet::PubRel { id } => theirs::Packet::PubRel(theirs::PubRel::new(id.get())),
        Packet::PubComp { id } => theirs::Packet::PubComp(theirs::PubComp::new(id.get())),
        Packet::SubAck { id, codes } => {
            let codes = codes.iter().map(|granted| match granted {
                Some(qos) => theirs::SubscribeReasonCode::Success(their_qos(qos)),
                None => theirs::SubscribeReasonCode::Failure,
            });
            theirs::Packet::SubAck(theirs::SubAck::new(id.get(), codes.collect()))
        }
        Packet::PingResp => theirs::Packet::PingResp,
    }
}

/// The first packet that we read.
fn we_read(bytes: &[u8]) -> Result<Option<theirs::Packet>, Malformed> {
    let mut reader = Reader::<BYTES_MAX>::new();
    let mut stream = bytes;
    Ok(reader.next(&mut stream)?.map(in_their_words))
}

/// A packet from a broker.
fn from_broker() -> impl Strategy<Value = theirs::Packet> {
    use theirs::{Packet as P, SubscribeReasonCode as Code};
    let connack = prop_oneof![
        any::<bool>().prop_map(|present| (theirs::ConnectReturnCode::Success, present)),
        Just((theirs::ConnectReturnCode::RefusedProtocolVersion, false)),
        Just((theirs::ConnectReturnCode::BadClientId, false)),
        Just((theirs::ConnectReturnCode::ServiceUnavailable, false)),
        Just((theirs::ConnectReturnCode::BadUserNamePassword, false)),
        Just((theirs::ConnectReturnCode::NotAuthorized, false)),
    ]
    .prop_map(|(code, present)| P::ConnAck(theirs::ConnAck::new(code, present)));
    let publish = (topic(), vec(any::<u8>(), 0..300), delivery(), any::<bool>()).prop_map(
        |(topic, payload, delivery, retain)| {
            P::Publish(publish(&topic, &payload, delivery, retain))
        },
    );
    let code = prop_oneof![
        Just(Code::Failure),
        qos().prop_map(|qos| Code::Success(their_qos(qos)))
    ];
    let suback = (id(), vec(code, 1..9))
        .prop_map(|(id, codes)| P::SubAck(theirs::SubAck::new(id.get(), codes)));
    prop_oneof![
        connack,
        publish,
        suback,
        id().prop_map(|id| P::PubAck(theirs::PubAck::new(id.get()))),
        id().prop_map(|id| P::PubRec(theirs::PubRec::new(id.get()))),
        id().prop_map(|id| P::PubRel(theirs::PubRel::new(id.get()))),
        id().prop_map(|id| P::PubComp(theirs::PubComp::new(id.get()))),
        Just(P::PingResp),
    ]
}

/// Where the two differ on purpose: they take it, we refuse it.
fn only_they_take(packet: &theirs::Packet, bytes: &[u8]) -> bool {
    match packet {
        // Theirs is a broker's codec too.
        theirs::Packet::Connect(_)
        | theirs::Packet::Subscribe(_)
        | theirs::Packet::Unsubscribe(_)
        | theirs::Packet::PingReq
        | theirs::Packet::Disconnect => true,
        // The client never asks to unsubscribe.
        theirs::Packet::UnsubAck(_) => true,
        // With a body, which 3.13 does not have.
        theirs::Packet::PingResp => bytes[1] != 0,
        _ => false,
    }
}

/// We take it, they refuse it: a refusal whose reserved bit or code is wrong is reported all the same.
fn only_we_take(packet: &theirs::Packet) -> bool {
    matches!(packet, theirs::Packet::ConnAck(connack)
        if connack.code != theirs::ConnectReturnCode::Success)
}

/// What happens to a byte: a bit flips, or it becomes one that means something.
fn damage() -> impl Strategy<Value = fn(u8) -> u8> {
    prop::sample::select(vec![
        (|byte| byte ^ 0x01) as fn(u8) -> u8,
        |byte| byte ^ 0x02,
        |byte| byte ^ 0x04,
        |byte| byte ^ 0x08,
        |byte| byte ^ 0x80,
        |_| 0,
        |_| b'+',
        |_| b'#',
        |_| 0xFF,
    ])
}

proptest! {
    #[test]
    fn they_read_our_connect(
        client_id in "[a-z0-9]{1,32}", clean_session in any::<bool>(), keep_alive_s in any::<u16>(),
        credentials in proptest::option::of(("[a-z]{0,20}", "[a-z]{0,20}")),
        will in proptest::option::of((topic(), vec(any::<u8>(), 0..50), qos(), any::<bool>())),
    ) {
        let ours = Connect {
            client_id: &client_id,
            clean_session,
            keep_alive_s,
            credentials: credentials.as_ref().map(|(username, password)| (&**username, &**password)),
            will: will.as_ref().map(|(topic, payload, qos, retain)| Will {
                topic, payload, qos: *qos, retain: *retain,
            }),
        };
        let mut expected = theirs::Connect::new(client_id.clone());
        expected.clean_session = clean_session;
        expected.keep_alive = keep_alive_s;
        expected.last_will = will.as_ref().map(|(topic, payload, qos, retain)| {
            theirs::LastWill::new(topic.clone(), payload.clone(), their_qos(*qos), *retain)
        });
        if let Some((username, password)) = credentials.clone() {
            expected.set_credentials(username, password);
        }
        let mut buffer = [0; 512];
        let bytes = ours.encode(&mut buffer).expect("fits");
        prop_assert_eq!(they_read(bytes), theirs::Packet::Connect(expected));
    }

    #[test]
    fn they_read_our_publish(
        topic in topic(), payload in vec(any::<u8>(), 0..300), delivery in delivery(), retain in any::<bool>(),
    ) {
        let ours = Publish { topic: &topic, payload_bytes: payload.len(), delivery, retain };
        let mut buffer = [0; 512];
        let mut bytes = ours.encode(&mut buffer).expect("fits").to_vec();
        bytes.extend(&payload);
        let expected = publish(&topic, &payload, delivery, retain);
        prop_assert_eq!(they_read(&bytes), theirs::Packet::Publish(expected));
    }

    #[test]
    fn they_read_our_subscribe(id in id(), filters in vec(("[a-z/+#]{1,20}", qos()), 1..6)) {
        let ours: Vec<_> = filters.iter().map(|(filter, qos)| Filter { filter, qos: *qos }).collect();
        let mut expected = theirs::Subscribe::new_many(filters.iter().map(|(filter, qos)| {
            theirs::SubscribeFilter::new(filter.clone(), their_qos(*qos))
        }));
        expected.pkid = id.get();
        let mut buffer = [0; 512];
        let bytes = Subscribe { id, filters: &ours }.encode(&mut buffer).expect("fits");
        prop_assert_eq!(they_read(bytes), theirs::Packet::Subscribe(expected));
    }

    #[test]
    fn they_read_our_acknowledgements(id in id()) {
        let n = id.get();
        for (ours, expected) in [
            (Ack::PubAck(id), theirs::Packet::PubAck(theirs::PubAck::new(n))),
            (Ack::PubRec(id), theirs::Packet::PubRec(theirs::PubRec::new(n))),
            (Ack::PubRel(id), theirs::Packet::PubRel(theirs::PubRel::new(n))),
            (Ack::PubComp(id), theirs::Packet::PubComp(theirs::PubComp::new(n))),
        ] {
            prop_assert_eq!(they_read(&ours.encode()), expected);
        }
    }

    #[test]
    fn we_read_what_their_broker_writes(packet in from_broker()) {
        prop_assert_eq!(we_read(&they_write(&packet)), Ok(Some(packet)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Bytes that are nearly a packet: what both take they understand alike, and what one refuses the
    /// other refuses too.
    #[test]
    fn we_refuse_what_they_refuse(
        packet in from_broker(),
        damage in vec((any::<prop::sample::Index>(), damage()), 0..3),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = they_write(&packet);
        for (index, damage) in damage {
            let index = index.index(bytes.len().min(8));
            bytes[index] = damage(bytes[index]);
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        let mut stream = BytesMut::from(&bytes[..]);
        let they = theirs::Packet::read(&mut stream, BYTES_MAX - 5);
        match (we_read(&bytes), they) {
            (Ok(Some(ours)), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Ok(Some(ours)), Err(error)) => prop_assert!(only_we_take(&ours), "{:?} from {:02x?}: {:?}", ours, bytes, error),
            (Ok(None), Err(rumqttc::mqttbytes::Error::InsufficientBytes(_))) => {}
            // Ours goes on with a message that is too long.
            (Ok(None), Err(rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_))) => {}
            (Ok(None), other) => prop_assert!(false, "we wait, they have {:?}", other),
            // Before all of it is there, and whatever they say about it then.
            (Err(Malformed), Err(_)) => {}
            (Err(Malformed), Ok(theirs)) => {
                prop_assert!(only_they_take(&theirs, &bytes), "{:?} from {:02x?}", theirs, bytes);
            }
        }
    }
}

#[test]
fn they_read_the_two_constants() {
    assert_eq!(they_read(&PINGREQ), theirs::Packet::PingReq);
    assert_eq!(they_read(&DISCONNECT), theirs::Packet::Disconnect);
}
