//! Packets from the broker, cut out of the TCP stream (chapter 3).
//!
//! A message may be longer than the device has room for: its beginning is kept, the rest counted,
//! and the application decides what to answer. Everything else that is too long or makes no sense
//! ends the session, as the standard asks (4.8), and as soon as it is seen to be: a fixed header that
//! announces megabytes of PUBACK is not waited for.

use crate::{
    mutants::{self, Mutant},
    packet::{Delivery, PacketId, QoS},
};

/// A packet from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'r> {
    /// CONNACK (3.2).
    ConnAck {
        /// Whether the broker has the session from before (3.2.2.2).
        session_present: bool,
        /// Return code, table 3.1: 0 accepted, 1 to 5 refused.
        code: u8,
    },
    /// PUBLISH (3.3).
    Publish {
        /// Where.
        topic: &'r str,
        /// What, or as much of its beginning as there was room for.
        payload: &'r [u8],
        /// Bytes of the whole payload.
        payload_bytes: usize,
        /// How, with the broker's packet identifier.
        delivery: Delivery,
        /// Whether it was kept for later subscribers, and this one is late.
        retain: bool,
    },
    /// PUBACK (3.4).
    PubAck {
        /// The client's packet identifier.
        id: PacketId,
    },
    /// PUBREC (3.5).
    PubRec {
        /// The client's packet identifier.
        id: PacketId,
    },
    /// PUBREL (3.6).
    PubRel {
        /// The broker's packet identifier.
        id: PacketId,
    },
    /// PUBCOMP (3.7).
    PubComp {
        /// The client's packet identifier.
        id: PacketId,
    },
    /// SUBACK (3.9).
    SubAck {
        /// The packet identifier of the SUBSCRIBE.
        id: PacketId,
        /// One for each filter, in order.
        codes: ReturnCodes<'r>,
    },
    /// PINGRESP (3.13).
    PingResp,
}

/// The return codes of a SUBACK: the QoS that was granted, or none when the filter was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnCodes<'r>(&'r [u8]);

impl<'r> ReturnCodes<'r> {
    /// How many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One for each filter, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<QoS>> + use<'r> {
        self.0.iter().map(|code| qos(*code))
    }
}

/// The broker sent what is no packet, or none that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Cuts the stream into packets. `N`: how many bytes of a packet, after its fixed header, are kept.
#[derive(Clone, Debug)]
pub struct Reader<const N: usize> {
    state: State,
    buffer: [u8; N],
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the first byte.
    Start,
    /// Within the remaining length (2.2.3).
    Length { kind: u8, value: usize, shift: u8 },
    /// Within the body.
    Body {
        kind: u8,
        /// Bytes of the whole body.
        bytes: usize,
        /// How many of them have come.
        taken: usize,
    },
    /// For ever.
    Malformed,
}

impl<const N: usize> Default for Reader<N> {
    fn default() -> Self {
        Self {
            state: State::Start,
            buffer: [0; N],
        }
    }
}

impl<const N: usize> Reader<N> {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `stream` until a packet is complete; none when `stream` is used
    /// up before.
    ///
    /// # Errors
    /// [`Malformed`], and again for whatever follows: the stream makes no sense from there on.
    pub fn next(&mut self, stream: &mut &[u8]) -> Result<Option<Packet<'_>>, Malformed> {
        let Self { state, buffer } = self;
        while !stream.is_empty() {
            *state = match *state {
                State::Start => State::Length {
                    kind: take_byte(stream),
                    value: 0,
                    shift: 0,
                },
                State::Length { kind, value, shift } => {
                    let byte = take_byte(stream);
                    let value = value | usize::from(byte & 0x7F) << shift;
                    match (byte & 0x80 != 0, shift) {
                        (true, 21) => State::Malformed,
                        (true, _) => State::Length {
                            kind,
                            value,
                            shift: shift + 7,
                        },
                        (false, _) if !is_possible(kind, value, N) => State::Malformed,
                        (false, _) => State::Body {
                            kind,
                            bytes: value,
                            taken: 0,
                        },
                    }
                }
                State::Body { kind, bytes, taken } => State::Body {
                    kind,
                    bytes,
                    taken: taken + take_body(stream, bytes - taken, buffer.get_mut(taken..)),
                },
                State::Malformed => return Err(Malformed),
            };
            if let State::Body { kind, bytes, taken } = *state
                && taken == bytes
            {
                let packet = decode(kind, &buffer[..bytes.min(N)], bytes);
                *state = match packet {
                    Ok(_) => State::Start,
                    Err(Malformed) => State::Malformed,
                };
                return packet.map(Some);
            }
        }
        match state {
            State::Malformed => Err(Malformed),
            _ => Ok(None),
        }
    }
}

/// Takes up to `missing` bytes of a body, and keeps those that there is room for; how many it took.
fn take_body(stream: &mut &[u8], missing: usize, room: Option<&mut [u8]>) -> usize {
    let count = stream.len().min(missing);
    let (body, rest) = stream.split_at(count);
    *stream = rest;
    if let Some(room) = room {
        let kept = room.len().min(count);
        room[..kept].copy_from_slice(&body[..kept]);
    }
    count
}

/// `stream` is not empty.
fn take_byte(stream: &mut &[u8]) -> u8 {
    let (byte, rest) = stream.split_at(1);
    *stream = rest;
    byte[0]
}

/// Whether a broker sends a packet with this fixed header (2.2), and it can be kept.
fn is_possible(kind: u8, bytes: usize, room: usize) -> bool {
    match kind {
        // The flags of all but PUBLISH are reserved (2.2.2).
        0x20 | 0x40 | 0x50 | 0x62 | 0x70 => bytes == 2,
        0x90 => (3..=room).contains(&bytes),
        0xD0 => bytes == 0,
        0x30..=0x3F if mutants::active(Mutant::LongMessageEndsSession) => bytes <= room,
        0x30..=0x3F => true,
        _ => false,
    }
}

/// The packet whose body is `bytes` long and begins with `kept`; its header was checked.
fn decode(kind: u8, kept: &[u8], bytes: usize) -> Result<Packet<'_>, Malformed> {
    match (kind, kept) {
        // The other seven bits are reserved (3.2.2.1).
        (0x20, [flags @ (0 | 1), code]) => Ok(Packet::ConnAck {
            session_present: *flags == 1,
            code: *code,
        }),
        (0x40, _) => Ok(Packet::PubAck { id: id(kept)?.0 }),
        (0x50, _) => Ok(Packet::PubRec { id: id(kept)?.0 }),
        (0x62, _) => Ok(Packet::PubRel { id: id(kept)?.0 }),
        (0x70, _) => Ok(Packet::PubComp { id: id(kept)?.0 }),
        (0x90, _) => {
            let (id, codes) = id(kept)?;
            let valid = |code: &u8| *code == 0x80 || qos(*code).is_some();
            if !codes.iter().all(valid) {
                return Err(Malformed);
            }
            let codes = ReturnCodes(codes);
            Ok(Packet::SubAck { id, codes })
        }
        (0xD0, _) => Ok(Packet::PingResp),
        (0x30..=0x3F, _) => decode_publish(kind, kept, bytes),
        _ => Err(Malformed),
    }
}

fn decode_publish(kind: u8, kept: &[u8], bytes: usize) -> Result<Packet<'_>, Malformed> {
    let (length, rest) = kept.split_first_chunk().ok_or(Malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (topic, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    let topic = core::str::from_utf8(topic).map_err(|_| Malformed)?;
    // 1.5.3, 3.3.2.1, 4.7.3.
    if topic.is_empty() || topic.contains(['\0', '+', '#']) {
        return Err(Malformed);
    }
    let dup = kind & 1 << 3 != 0;
    let (delivery, payload) = match qos(kind >> 1 & 3).ok_or(Malformed)? {
        // 3.3.1.1.
        QoS::AtMostOnce if dup => return Err(Malformed),
        QoS::AtMostOnce => (Delivery::AtMostOnce, rest),
        QoS::AtLeastOnce => {
            let (id, rest) = id(rest)?;
            (Delivery::AtLeastOnce { id, dup }, rest)
        }
        QoS::ExactlyOnce => {
            let (id, rest) = id(rest)?;
            (Delivery::ExactlyOnce { id, dup }, rest)
        }
    };
    let header_bytes = kept.len() - payload.len();
    Ok(Packet::Publish {
        topic,
        payload,
        payload_bytes: bytes - header_bytes,
        delivery,
        retain: kind & 1 != 0,
    })
}

/// The packet identifier at the front of `bytes` (2.3.1), and what follows it.
fn id(bytes: &[u8]) -> Result<(PacketId, &[u8]), Malformed> {
    let (id, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    let id = PacketId::new(u16::from_be_bytes(*id)).ok_or(Malformed)?;
    Ok((id, rest))
}

fn qos(bits: u8) -> Option<QoS> {
    match bits {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn check(stream: &[u8], expected: &[Result<Packet<'_>, Malformed>]) {
        // In one piece, and byte by byte.
        for piece in [stream.len().max(1), 1] {
            let mut reader = Reader::<16>::new();
            let mut expected = expected.iter();
            for mut bytes in stream.chunks(piece) {
                while !bytes.is_empty() {
                    match reader.next(&mut bytes) {
                        Ok(None) => {}
                        Ok(Some(packet)) => assert_eq!(Some(&Ok(packet)), expected.next()),
                        Err(error) => {
                            assert_eq!(Some(&Err(error)), expected.next());
                            return;
                        }
                    }
                }
            }
            assert_eq!(expected.next(), None);
        }
    }

    fn some_id(id: u16) -> PacketId {
        PacketId::new(id).expect("not 0")
    }

    #[test]
    fn each_packet() {
        check(
            b"\x20\x02\x01\x00\x20\x02\x00\x05",
            &[
                Ok(Packet::ConnAck {
                    session_present: true,
                    code: 0,
                }),
                Ok(Packet::ConnAck {
                    session_present: false,
                    code: 5,
                }),
            ],
        );
        let id = some_id(0x1234);
        check(
            b"\x40\x02\x12\x34\x50\x02\x12\x34\x62\x02\x12\x34\x70\x02\x12\x34\xd0\x00",
            &[
                Ok(Packet::PubAck { id }),
                Ok(Packet::PubRec { id }),
                Ok(Packet::PubRel { id }),
                Ok(Packet::PubComp { id }),
                Ok(Packet::PingResp),
            ],
        );
        check(
            b"\x90\x06\x12\x34\x01\x80\x02\x00",
            &[Ok(Packet::SubAck {
                id,
                codes: ReturnCodes(&[1, 0x80, 2, 0]),
            })],
        );
    }

    #[test]
    fn messages_at_each_qos() {
        let publish = |payload, delivery, retain| {
            Ok(Packet::Publish {
                topic: "a/b",
                payload,
                payload_bytes: payload.len(),
                delivery,
                retain,
            })
        };
        let id = some_id(9);
        check(
            b"\x31\x05\x00\x03a/b\x32\x09\x00\x03a/b\x00\x09hi\x3c\x09\x00\x03a/b\x00\x09ho",
            &[
                publish(b"", Delivery::AtMostOnce, true),
                publish(b"hi", Delivery::AtLeastOnce { id, dup: false }, false),
                publish(b"ho", Delivery::ExactlyOnce { id, dup: true }, false),
            ],
        );
    }

    #[test]
    fn return_codes_are_what_was_granted() {
        let codes = ReturnCodes(&[1, 0x80, 2, 0]);
        assert_eq!(
            codes.iter().collect::<Vec<_>>(),
            [
                Some(QoS::AtLeastOnce),
                None,
                Some(QoS::ExactlyOnce),
                Some(QoS::AtMostOnce),
            ]
        );
    }

    #[test]
    fn a_message_too_long_for_the_buffer_is_cut_and_the_stream_goes_on() {
        let mut stream = vec![0x30, 0xE8, 0x07, 0, 1, b't'];
        stream.resize(3 + 1_000, b'x');
        stream.extend(b"\x40\x02\x00\x01");
        check(
            &stream,
            &[
                Ok(Packet::Publish {
                    topic: "t",
                    payload: &[b'x'; 13],
                    payload_bytes: 997,
                    delivery: Delivery::AtMostOnce,
                    retain: false,
                }),
                Ok(Packet::PubAck { id: some_id(1) }),
            ],
        );
    }

    #[test]
    fn megabytes_of_what_is_short_are_not_waited_for() {
        for kind in [0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xD0] {
            let mut stream = &[kind, 0xff, 0xff, 0xff, 0x7f][..];
            assert_eq!(Reader::<16>::new().next(&mut stream), Err(Malformed));
        }
    }

    #[test]
    fn nothing_is_read_behind_what_is_no_packet() {
        let mut reader = Reader::<16>::new();
        for stream in [&b"\x41\x02\x00\x01"[..], b"\xd0\x00", b""] {
            assert_eq!(reader.next(&mut &stream[..]), Err(Malformed));
        }
    }

    #[test]
    fn what_is_no_packet_ends_the_stream() {
        for stream in [
            &b"\x00\x00"[..],
            b"\xf0\x00",
            // Too short, too long, reserved flags.
            b"\x20\x01\x00",
            b"\x20\x03\x00\x00\x00",
            b"\x20\x02\x02\x00",
            b"\x21\x02\x00\x00",
            b"\x40\x00",
            b"\x41\x02\x00\x01",
            b"\x52\x02\x00\x01",
            b"\x60\x02\x00\x01",
            b"\x72\x02\x00\x01",
            b"\xd0\x01\x00",
            b"\xd1\x00",
            // Packet identifier 0.
            b"\x40\x02\x00\x00",
            b"\x62\x02\x00\x00",
            b"\x32\x05\x00\x01t\x00\x00",
            // No return code, one that there is not, more than there is room for.
            b"\x90\x02\x00\x01",
            b"\x90\x03\x00\x01\x03",
            b"\x90\x11\x00\x01",
            // What only a client sends.
            b"\x10\x00",
            b"\x82\x06\x00\x01\x00\x01a\x00",
            b"\xc0\x00",
            b"\xe0\x00",
            b"\x30\x01\x00",
            // A topic longer than the packet, than the buffer, empty, not UTF-8, with what no topic has.
            b"\x30\x04\x00\x09ab",
            b"\x30\x14\x00\x12abcdefghijklmnopqr",
            b"\x30\x02\x00\x00",
            b"\x30\x03\x00\x01\xff",
            b"\x30\x03\x00\x01\x00",
            b"\x30\x05\x00\x03a/#",
            b"\x30\x05\x00\x03+/a",
            // QoS 1 and 2 without a packet identifier; QoS 3; QoS 0 sent again.
            b"\x32\x04\x00\x01t\x00",
            b"\x34\x03\x00\x01t",
            b"\x36\x05\x00\x01t\x00\x01",
            b"\x38\x03\x00\x01t",
            // Five bytes of length.
            b"\x30\xff\xff\xff\xff\x01",
        ] {
            check(stream, &[Err(Malformed)]);
        }
    }

    proptest! {
        #[test]
        fn messages_come_through_however_they_are_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
            cut in 1_usize..50,
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                let delivery = Delivery::ExactlyOnce { id: some_id(1), dup: false };
                let publish = crate::Publish { topic: "t/u", payload_bytes: payload.len(), delivery, retain: false };
                stream.extend(publish.encode(&mut [0; 32]).expect("fits"));
                stream.extend(payload);
            }
            let mut reader = Reader::<400>::new();
            let mut seen = Vec::new();
            for mut bytes in stream.chunks(cut) {
                while !bytes.is_empty() {
                    match reader.next(&mut bytes).expect("packets") {
                        Some(Packet::Publish { payload, .. }) => seen.push(payload.to_vec()),
                        Some(other) => panic!("{other:?}"),
                        None => {}
                    }
                }
            }
            prop_assert_eq!(seen, payloads);
        }
    }
}
