//! Packets from the client to the broker (chapter 3).
//!
//! A publish is encoded without its payload: that is sent from where it lies, as it may be the
//! largest buffer of the device.

use core::num::NonZeroU16;

use crate::mutants::{self, Mutant};

/// PINGREQ (3.12).
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT (3.14): the broker drops the will.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];
/// The fixed header at its longest: type, and four bytes of remaining length (2.2.3).
pub const FIXED_HEADER_BYTES_MAX: usize = 5;

const FLAG_CLEAN_SESSION: u8 = 1 << 1;
const FLAG_WILL: u8 = 1 << 2;
const FLAG_WILL_QOS_SHIFT: u8 = 3;
const FLAG_WILL_RETAIN: u8 = 1 << 5;
const FLAG_PASSWORD: u8 = 1 << 6;
const FLAG_USERNAME: u8 = 1 << 7;

/// A packet identifier; never 0 (2.3.1). Client and broker count theirs apart.
pub type PacketId = NonZeroU16;

/// Why a packet can't be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The packet does not fit the buffer, or a field its length prefix.
    TooLong,
    /// A SUBSCRIBE to nothing (3.8.3).
    NoFilter,
    /// A packet whose time it is not: it needs an open connection, or the answer to another first.
    OutOfTurn,
}

/// How often a message is delivered (4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// Once, or not at all (4.3.1).
    AtMostOnce = 0,
    /// Once, or more often (4.3.2).
    AtLeastOnce = 1,
    /// Once (4.3.3).
    ExactlyOnce = 2,
}

/// How one PUBLISH is delivered: its QoS and what goes with it (3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1, answered with PUBACK.
    AtLeastOnce {
        /// The packet identifier.
        id: PacketId,
        /// Whether the same packet was sent before (3.3.1.1).
        dup: bool,
    },
    /// QoS 2, answered with PUBREC.
    ExactlyOnce {
        /// The packet identifier.
        id: PacketId,
        /// Whether the same packet was sent before (3.3.1.1).
        dup: bool,
    },
}

/// CONNECT (3.1).
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// Client identifier.
    pub client_id: &'a str,
    /// Whether the broker forgets the session: the one it has, and this one at its end (3.1.2.4).
    pub clean_session: bool,
    /// Seconds within which something is sent, 0 for no limit.
    pub keep_alive_s: u16,
    /// User name and password.
    pub credentials: Option<(&'a str, &'a str)>,
    /// What the broker publishes when the connection is lost.
    pub will: Option<Will<'a>>,
}

/// The will (3.1.2.5).
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// How.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// PUBLISH (3.3), all but its payload.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Where: at least one character, no wildcard (3.3.2.1).
    pub topic: &'a str,
    /// Bytes of the payload that follows.
    pub payload_bytes: usize,
    /// How.
    pub delivery: Delivery,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// SUBSCRIBE (3.8).
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub id: PacketId,
    /// What to subscribe to; at least one.
    pub filters: &'a [Filter<'a>],
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The topic filter (4.7).
    pub filter: &'a str,
    /// The QoS that its messages come with at most.
    pub qos: QoS,
}

/// A packet that says something about another one and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// PUBACK (3.4): a message at QoS 1 has come.
    PubAck(PacketId),
    /// PUBREC (3.5): a message at QoS 2 has come.
    PubRec(PacketId),
    /// PUBREL (3.6): the sender will not send it again.
    PubRel(PacketId),
    /// PUBCOMP (3.7): the identifier is free.
    PubComp(PacketId),
}

impl Ack {
    /// The packet's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; 4] {
        let (kind, id) = match self {
            Self::PubAck(id) => (0x40, id),
            Self::PubRec(id) => (0x50, id),
            // With the flags that 2.2.2 reserves.
            Self::PubRel(id) => (0x62, id),
            Self::PubComp(id) => (0x70, id),
        };
        let [high, low] = id.get().to_be_bytes();
        [kind, 2, high, low]
    }
}

impl Connect<'_> {
    /// The packet's bytes, within `buffer`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        let mut flags = 0;
        if self.clean_session {
            flags |= FLAG_CLEAN_SESSION;
        }
        if let Some(will) = self.will {
            flags |= FLAG_WILL | (will.qos as u8) << FLAG_WILL_QOS_SHIFT;
            if will.retain && !mutants::active(Mutant::WillNotRetained) {
                flags |= FLAG_WILL_RETAIN;
            }
        }
        if self.credentials.is_some() {
            flags |= FLAG_USERNAME | FLAG_PASSWORD;
        }
        packet(0x10, 0, buffer, |body| {
            body.field(b"MQTT")?;
            body.raw(&[4, flags])?;
            body.raw(&self.keep_alive_s.to_be_bytes())?;
            body.field(self.client_id.as_bytes())?;
            if let Some(will) = self.will {
                body.field(will.topic.as_bytes())?;
                body.field(will.payload)?;
            }
            if let Some((username, password)) = self.credentials {
                body.field(username.as_bytes())?;
                body.field(password.as_bytes())?;
            }
            Ok(())
        })
    }
}

impl Publish<'_> {
    /// The packet's bytes up to its payload, within `buffer`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        let (qos, dup, id) = match self.delivery {
            Delivery::AtMostOnce => (QoS::AtMostOnce, false, None),
            Delivery::AtLeastOnce { id, dup } => (QoS::AtLeastOnce, dup, Some(id)),
            Delivery::ExactlyOnce { id, dup } => (QoS::ExactlyOnce, dup, Some(id)),
        };
        let retain = self.retain && !mutants::active(Mutant::RetainFlagLost);
        let kind = 0x30 | u8::from(dup) << 3 | (qos as u8) << 1 | u8::from(retain);
        packet(kind, self.payload_bytes, buffer, |body| {
            body.field(self.topic.as_bytes())?;
            match id {
                Some(id) => body.raw(&id.get().to_be_bytes()),
                None => Ok(()),
            }
        })
    }
}

impl Subscribe<'_> {
    /// The packet's bytes, within `buffer`.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::NoFilter);
        }
        packet(0x82, 0, buffer, |body| {
            body.raw(&self.id.get().to_be_bytes())?;
            for Filter { filter, qos } in self.filters {
                body.field(filter.as_bytes())?;
                body.raw(&[*qos as u8])?;
            }
            Ok(())
        })
    }
}

/// What follows the fixed header.
struct Body<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl Body<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.length + bytes.len();
        self.buffer
            .get_mut(self.length..end)
            .ok_or(EncodeError::TooLong)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Bytes with their length before them (1.5.3).
    fn field(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?;
        self.raw(&length.to_be_bytes())?;
        self.raw(bytes)
    }
}

/// A packet whose body `write` writes, and that `more` bytes follow.
fn packet(
    kind: u8,
    more: usize,
    buffer: &mut [u8],
    write: impl FnOnce(&mut Body<'_>) -> Result<(), EncodeError>,
) -> Result<&[u8], EncodeError> {
    let mut body = Body {
        buffer: buffer
            .get_mut(FIXED_HEADER_BYTES_MAX..)
            .ok_or(EncodeError::TooLong)?,
        length: 0,
    };
    write(&mut body)?;
    let length = body.length;
    let mut header = [kind, 0, 0, 0, 0];
    let header_bytes = 1 + remaining_length(length + more, &mut header[1..])?;
    // The header's length is known last: it is put right before the body.
    let start = FIXED_HEADER_BYTES_MAX - header_bytes;
    buffer[start..FIXED_HEADER_BYTES_MAX].copy_from_slice(&header[..header_bytes]);
    Ok(&buffer[start..FIXED_HEADER_BYTES_MAX + length])
}

/// Writes the remaining length (2.2.3), and says how many bytes it takes.
fn remaining_length(mut length: usize, out: &mut [u8]) -> Result<usize, EncodeError> {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = (length % 128) as u8;
        length /= 128;
        if length == 0 {
            return Ok(i + 1);
        }
        *byte |= 0x80;
    }
    Err(EncodeError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Connect<'_> = Connect {
        client_id: "dev",
        clean_session: true,
        keep_alive_s: 30,
        credentials: None,
        will: None,
    };

    fn id(id: u16) -> PacketId {
        PacketId::new(id).expect("not 0")
    }

    fn check_connect(connect: Connect<'_>, expected: &[u8]) {
        let mut buffer = [0; 128];
        assert_eq!(connect.encode(&mut buffer), Ok(expected));
    }

    fn check_publish(publish: Publish<'_>, expected: &[u8]) {
        let mut buffer = [0; 64];
        assert_eq!(publish.encode(&mut buffer), Ok(expected));
    }

    #[test]
    fn connect() {
        check_connect(BARE, b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x1e\x00\x03dev");
        check_connect(
            Connect {
                clean_session: false,
                ..BARE
            },
            b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x1e\x00\x03dev",
        );
        let will = Some(Will {
            topic: "t",
            payload: b"offline",
            qos: QoS::AtLeastOnce,
            retain: true,
        });
        check_connect(
            Connect { will, ..BARE },
            b"\x10\x1b\x00\x04MQTT\x04\x2e\x00\x1e\x00\x03dev\x00\x01t\x00\x07offline",
        );
        let credentials = Some(("user", "pass"));
        check_connect(
            Connect {
                credentials,
                ..BARE
            },
            b"\x10\x1b\x00\x04MQTT\x04\xc2\x00\x1e\x00\x03dev\x00\x04user\x00\x04pass",
        );
    }

    #[test]
    fn publish_at_each_qos() {
        let publish = Publish {
            topic: "a/b",
            payload_bytes: 5,
            delivery: Delivery::AtMostOnce,
            retain: false,
        };
        check_publish(publish, b"\x30\x0a\x00\x03a/b");
        check_publish(
            Publish {
                delivery: Delivery::AtLeastOnce {
                    id: id(0x1234),
                    dup: false,
                },
                retain: true,
                ..publish
            },
            b"\x33\x0c\x00\x03a/b\x12\x34",
        );
        check_publish(
            Publish {
                delivery: Delivery::ExactlyOnce {
                    id: id(0x1234),
                    dup: true,
                },
                ..publish
            },
            b"\x3c\x0c\x00\x03a/b\x12\x34",
        );
    }

    #[test]
    fn remaining_lengths_are_the_standard_s_examples() {
        // 2.2.3, table 2.4: the ends of each range; five bytes are topic, the rest payload.
        for (remaining, expected) in [
            (127, &b"\x7f"[..]),
            (128, b"\x80\x01"),
            (16_383, b"\xff\x7f"),
            (16_384, b"\x80\x80\x01"),
            (2_097_151, b"\xff\xff\x7f"),
            (2_097_152, b"\x80\x80\x80\x01"),
            (268_435_455, b"\xff\xff\xff\x7f"),
        ] {
            let publish = Publish {
                topic: "a/b",
                payload_bytes: remaining - 5,
                delivery: Delivery::AtMostOnce,
                retain: false,
            };
            let mut buffer = [0; 64];
            let bytes = publish.encode(&mut buffer).expect("fits");
            assert_eq!(&bytes[1..bytes.len() - 5], expected, "{remaining}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let publish = Publish {
            topic: "a/b",
            payload_bytes: 268_435_456,
            delivery: Delivery::AtMostOnce,
            retain: false,
        };
        assert_eq!(publish.encode(&mut [0; 64]), Err(EncodeError::TooLong));
        for length in 0..19 {
            assert_eq!(
                BARE.encode(&mut [0; 64][..length]),
                Err(EncodeError::TooLong)
            );
        }
        assert!(BARE.encode(&mut [0; 20]).is_ok());
    }

    #[test]
    fn subscribe_to_several_filters() {
        let filters = [
            Filter {
                filter: "x/y",
                qos: QoS::AtLeastOnce,
            },
            Filter {
                filter: "#",
                qos: QoS::ExactlyOnce,
            },
        ];
        let subscribe = Subscribe {
            id: id(7),
            filters: &filters,
        };
        assert_eq!(
            subscribe.encode(&mut [0; 32]),
            Ok(&b"\x82\x0c\x00\x07\x00\x03x/y\x01\x00\x01#\x02"[..])
        );
        let nothing = Subscribe {
            filters: &[],
            ..subscribe
        };
        assert_eq!(nothing.encode(&mut [0; 32]), Err(EncodeError::NoFilter));
    }

    #[test]
    fn acknowledgements() {
        let id = id(0x0102);
        assert_eq!(Ack::PubAck(id).encode(), [0x40, 2, 1, 2]);
        assert_eq!(Ack::PubRec(id).encode(), [0x50, 2, 1, 2]);
        assert_eq!(Ack::PubRel(id).encode(), [0x62, 2, 1, 2]);
        assert_eq!(Ack::PubComp(id).encode(), [0x70, 2, 1, 2]);
    }
}
