//! What must hold whatever a broker sends. A function, so that the fuzz target and a test on the host
//! (`tests/foreign_bytes.rs`) run the same.

use firmware_mqtt::{
    Class, Client, Connect, Event, Filter, Limits, Malformed, Message, Packet, QoS, Reader,
};

const PACKET_BYTES: usize = 64;
const MESSAGES: usize = 4;

/// Takes the first byte for the size of the pieces in which the rest arrives.
///
/// # Panics
/// When the pieces make a difference, or the client keeps more than it may.
pub fn reader(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, stream.len());
    assert_eq!(whole, read(stream, usize::from(*piece)));
}

/// What is read and what the client makes of it, in words; the stream arrives in pieces of so many bytes.
fn read(stream: &[u8], piece: usize) -> Vec<String> {
    let mut reader = Reader::<PACKET_BYTES>::new();
    let mut client = connected();
    let mut seen = Vec::new();
    for mut bytes in stream.chunks(piece.max(1)) {
        while !bytes.is_empty() {
            match reader.next(&mut bytes) {
                Ok(None) => {}
                Ok(Some(packet)) => {
                    check(&packet);
                    seen.push(format!("{packet:?}"));
                    seen.push(work_on(&mut client, packet));
                }
                Err(Malformed) => {
                    assert_eq!(reader.next(&mut &b"\xd0\x00"[..]), Err(Malformed));
                    seen.push("malformed".to_owned());
                    return seen;
                }
            }
        }
    }
    seen
}

fn check(packet: &Packet<'_>) {
    if let Packet::Publish {
        topic,
        payload,
        payload_bytes,
        ..
    } = packet
    {
        assert!(!topic.is_empty() && topic.len() + payload.len() <= PACKET_BYTES);
        assert!(payload.len() <= *payload_bytes);
    }
}

/// A client that is connected, subscribes, and has something to say at each QoS.
fn connected() -> Client<u8, MESSAGES, 32> {
    let mut client = Client::new(Limits {
        in_flight_max: 3,
        telemetry_max: 1,
    });
    let connect = Connect {
        client_id: "dev",
        clean_session: false,
        keep_alive_s: 30,
        credentials: None,
        will: None,
    };
    client.connect(&connect, 0, &mut [0; 32]).expect("fits");
    let connack = Packet::ConnAck {
        session_present: false,
        code: 0,
    };
    client.receive(connack).expect("accepted");
    let filters = [Filter {
        filter: "a",
        qos: QoS::ExactlyOnce,
    }];
    client.subscribe(&filters, &mut [0; 32]).expect("fits");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        say(&mut client, qos);
    }
    client
}

/// A message may find no room, as a broker need not acknowledge anything.
fn say(client: &mut Client<u8, MESSAGES, 32>, qos: QoS) {
    let _ = client.push(Message {
        topic: 0,
        payload: b"hello",
        qos,
        retain: false,
        class: Class::Event,
    });
    while client.send_next(|_| ()).is_some() {}
    assert!(client.outbox().len() <= MESSAGES && client.outbox().used_bytes() <= 32);
}

fn work_on(client: &mut Client<u8, MESSAGES, 32>, packet: Packet<'_>) -> String {
    let received = client.receive(packet);
    if let Ok(received) = &received
        && let Event::Message { .. } = received.event
    {
        say(client, QoS::AtLeastOnce);
    }
    format!("{received:?}")
}
