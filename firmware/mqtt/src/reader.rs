//! Packets from the broker, cut out of the TCP stream (chapter 3).
//!
//! A message may be longer than the device has room for: its beginning is kept, the rest counted,
//! and the application decides what to answer. Everything else that is too long or makes no sense
//! ends the session, as the standard asks (4.8).

/// A packet from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'r> {
    /// CONNACK (3.2) with its return code: 0 accepted, 1 to 5 refused.
    ConnAck {
        /// Return code, table 3.1.
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
        /// The packet identifier, to be acknowledged; none at QoS 0.
        id: Option<u16>,
    },
    /// PUBACK (3.4).
    PubAck {
        /// The packet identifier.
        id: u16,
    },
    /// SUBACK (3.9) to one filter.
    SubAck {
        /// The packet identifier.
        id: u16,
        /// Whether the broker took the subscription.
        accepted: bool,
    },
    /// PINGRESP (3.13).
    PingResp,
}

/// The broker sent what is no packet, or none that a client of QoS 0 and 1 gets.
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
    /// [`Malformed`]; the stream makes no sense from there on.
    pub fn next(&mut self, stream: &mut &[u8]) -> Result<Option<Packet<'_>>, Malformed> {
        while !stream.is_empty() {
            self.state = match self.state {
                State::Start => State::Length {
                    kind: take_byte(stream),
                    value: 0,
                    shift: 0,
                },
                State::Length { kind, value, shift } => {
                    let byte = take_byte(stream);
                    let value = value | usize::from(byte & 0x7F) << shift;
                    match (byte & 0x80 != 0, shift) {
                        (true, 21) => return Err(Malformed),
                        (true, _) => State::Length {
                            kind,
                            value,
                            shift: shift + 7,
                        },
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
                    taken: taken + self.take_body(stream, bytes, taken),
                },
            };
            if let State::Body { kind, bytes, taken } = self.state
                && taken == bytes
            {
                self.state = State::Start;
                return decode(kind, &self.buffer[..bytes.min(N)], bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes bytes of the body, keeping those that there is room for; how many.
    fn take_body(&mut self, stream: &mut &[u8], bytes: usize, taken: usize) -> usize {
        let count = stream.len().min(bytes - taken);
        let (body, rest) = stream.split_at(count);
        *stream = rest;
        if let Some(room) = self.buffer.get_mut(taken..) {
            let kept = room.len().min(count);
            room[..kept].copy_from_slice(&body[..kept]);
        }
        count
    }
}

/// `stream` is not empty.
fn take_byte(stream: &mut &[u8]) -> u8 {
    let (byte, rest) = stream.split_at(1);
    *stream = rest;
    byte[0]
}

/// The packet whose body is `bytes` long and begins with `kept`.
fn decode(kind: u8, kept: &[u8], bytes: usize) -> Result<Packet<'_>, Malformed> {
    let whole = kept.len() == bytes;
    match (kind, kept) {
        (0x20, [0 | 1, code]) if whole => Ok(Packet::ConnAck { code: *code }),
        (0x40, [high, low]) if whole => Ok(Packet::PubAck {
            id: u16::from_be_bytes([*high, *low]),
        }),
        (0x90, [high, low, code @ (0 | 1 | 2 | 0x80)]) if whole => Ok(Packet::SubAck {
            id: u16::from_be_bytes([*high, *low]),
            accepted: *code != 0x80,
        }),
        (0xD0, []) if whole => Ok(Packet::PingResp),
        (0x30..=0x3F, _) => decode_publish(kind, kept, bytes),
        _ => Err(Malformed),
    }
}

fn decode_publish(kind: u8, kept: &[u8], bytes: usize) -> Result<Packet<'_>, Malformed> {
    let (length, rest) = kept.split_first_chunk().ok_or(Malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (topic, mut payload) = rest.split_at_checked(length).ok_or(Malformed)?;
    let topic = core::str::from_utf8(topic).map_err(|_| Malformed)?;
    let mut header_bytes = 2 + length;
    let id = match kind >> 1 & 3 {
        0 => None,
        1 => {
            let (id, rest) = payload.split_first_chunk().ok_or(Malformed)?;
            payload = rest;
            header_bytes += 2;
            Some(u16::from_be_bytes(*id))
        }
        _ => return Err(Malformed),
    };
    Ok(Packet::Publish {
        topic,
        payload,
        payload_bytes: bytes - header_bytes,
        id,
    })
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

    #[test]
    fn each_packet() {
        check(b"\x20\x02\x01\x05", &[Ok(Packet::ConnAck { code: 5 })]);
        check(b"\x40\x02\x12\x34", &[Ok(Packet::PubAck { id: 0x1234 })]);
        check(b"\xd0\x00", &[Ok(Packet::PingResp)]);
        let accepted = true;
        check(
            b"\x90\x03\x00\x07\x01",
            &[Ok(Packet::SubAck { id: 7, accepted })],
        );
        let accepted = false;
        check(
            b"\x90\x03\x00\x07\x80",
            &[Ok(Packet::SubAck { id: 7, accepted })],
        );
        check(
            b"\x32\x09\x00\x03a/b\x00\x09hi\xd0\x00",
            &[
                Ok(Packet::Publish {
                    topic: "a/b",
                    payload: b"hi",
                    payload_bytes: 2,
                    id: Some(9),
                }),
                Ok(Packet::PingResp),
            ],
        );
        check(
            b"\x31\x03\x00\x01t",
            &[Ok(Packet::Publish {
                topic: "t",
                payload: b"",
                payload_bytes: 0,
                id: None,
            })],
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
                    id: None,
                }),
                Ok(Packet::PubAck { id: 1 }),
            ],
        );
    }

    #[test]
    fn what_is_no_packet_ends_the_stream() {
        for stream in [
            &b"\x00\x00"[..],
            b"\x20\x01\x00",
            b"\x20\x03\x00\x00\x00",
            b"\x20\x02\x02\x00",
            b"\x40\x00",
            b"\x90\x03\x00\x01\x03",
            b"\xd0\x01\x00",
            b"\x30\x01\x00",
            // A topic longer than the packet.
            b"\x30\x04\x00\x09ab",
            // Not UTF-8.
            b"\x30\x03\x00\x01\xff",
            // QoS 1 without a packet identifier; QoS 2; QoS 3.
            b"\x32\x04\x00\x01t\x00",
            b"\x34\x05\x00\x01t\x00\x01",
            b"\x36\x05\x00\x01t\x00\x01",
            // Five bytes of length.
            b"\x30\xff\xff\xff\xff\x01",
        ] {
            check(stream, &[Err(Malformed)]);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut reader = Reader::<16>::new();
            'stream: for piece in &pieces {
                let mut bytes = &piece[..];
                while !bytes.is_empty() {
                    if reader.next(&mut bytes).is_err() {
                        break 'stream;
                    }
                }
            }
        }

        #[test]
        fn messages_come_through_however_they_are_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
            cut in 1_usize..50,
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                let publish = crate::Publish { topic: "t/u", payload_bytes: payload.len(), id: Some(1), retain: false };
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
