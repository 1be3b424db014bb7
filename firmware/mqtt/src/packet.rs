//! Packets from the client to the broker (chapter 3).
//!
//! A publish is encoded without its payload: that is sent from where it lies, as it may be the
//! largest buffer of the device.

/// PINGREQ (3.12).
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT (3.14): the broker drops the will.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

const FLAG_CLEAN_SESSION: u8 = 1 << 1;
const FLAG_WILL: u8 = 1 << 2;
const FLAG_WILL_QOS_SHIFT: u8 = 3;
const FLAG_WILL_RETAIN: u8 = 1 << 5;
const FLAG_PASSWORD: u8 = 1 << 6;
const FLAG_USERNAME: u8 = 1 << 7;
/// The fixed header at its longest: type, and four bytes of remaining length (2.2.3).
const FIXED_HEADER_BYTES_MAX: usize = 5;

/// The packet does not fit the buffer, or a field its length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// How often a message is delivered (4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QoS {
    /// Once, or not at all.
    AtMostOnce = 0,
    /// Once, or more often.
    AtLeastOnce = 1,
}

/// CONNECT (3.1), always with a clean session.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// Client identifier.
    pub client_id: &'a str,
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
    /// Where.
    pub topic: &'a str,
    /// Bytes of the payload that follows.
    pub payload_bytes: usize,
    /// The packet identifier: with one it is QoS 1, without QoS 0.
    pub id: Option<u16>,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// SUBSCRIBE (3.8) to one filter at QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub id: u16,
    /// The topic filter.
    pub filter: &'a str,
}

/// PUBACK (3.4).
#[must_use]
pub fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

impl Connect<'_> {
    /// The packet's bytes, at the start of `buffer`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], TooLong> {
        let mut flags = FLAG_CLEAN_SESSION;
        if let Some(will) = self.will {
            flags |= FLAG_WILL | (will.qos as u8) << FLAG_WILL_QOS_SHIFT;
            if will.retain {
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
    /// The packet's bytes up to its payload, at the start of `buffer`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], TooLong> {
        let qos = if self.id.is_some() { 1 << 1 } else { 0 };
        let kind = 0x30 | qos | u8::from(self.retain);
        packet(kind, self.payload_bytes, buffer, |body| {
            body.field(self.topic.as_bytes())?;
            match self.id {
                Some(id) => body.raw(&id.to_be_bytes()),
                None => Ok(()),
            }
        })
    }
}

impl Subscribe<'_> {
    /// The packet's bytes, at the start of `buffer`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], TooLong> {
        packet(0x82, 0, buffer, |body| {
            body.raw(&self.id.to_be_bytes())?;
            body.field(self.filter.as_bytes())?;
            body.raw(&[QoS::AtLeastOnce as u8])
        })
    }
}

/// What follows the fixed header.
struct Body<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl Body<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = self.length + bytes.len();
        self.buffer
            .get_mut(self.length..end)
            .ok_or(TooLong)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Bytes with their length before them (1.5.3).
    fn field(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let length = u16::try_from(bytes.len()).map_err(|_| TooLong)?;
        self.raw(&length.to_be_bytes())?;
        self.raw(bytes)
    }
}

/// A packet whose body `write` writes, and that `more` bytes follow.
fn packet(
    kind: u8,
    more: usize,
    buffer: &mut [u8],
    write: impl FnOnce(&mut Body<'_>) -> Result<(), TooLong>,
) -> Result<&[u8], TooLong> {
    let mut body = Body {
        buffer: buffer.get_mut(FIXED_HEADER_BYTES_MAX..).ok_or(TooLong)?,
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
fn remaining_length(mut length: usize, out: &mut [u8]) -> Result<usize, TooLong> {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = (length % 128) as u8;
        length /= 128;
        if length == 0 {
            return Ok(i + 1);
        }
        *byte |= 0x80;
    }
    Err(TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Connect<'_> = Connect {
        client_id: "dev",
        keep_alive_s: 30,
        credentials: None,
        will: None,
    };

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
    fn publish() {
        let publish = Publish {
            topic: "a/b",
            payload_bytes: 5,
            id: None,
            retain: false,
        };
        check_publish(publish, b"\x30\x0a\x00\x03a/b");
        check_publish(
            Publish {
                id: Some(0x1234),
                retain: true,
                ..publish
            },
            b"\x33\x0c\x00\x03a/b\x12\x34",
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
                id: None,
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
            id: None,
            retain: false,
        };
        assert_eq!(publish.encode(&mut [0; 64]), Err(TooLong));
        for length in 0..19 {
            assert_eq!(BARE.encode(&mut [0; 64][..length]), Err(TooLong));
        }
        assert!(BARE.encode(&mut [0; 20]).is_ok());
    }

    #[test]
    fn subscribe_and_acknowledge() {
        let subscribe = Subscribe {
            id: 7,
            filter: "x/y",
        };
        assert_eq!(
            subscribe.encode(&mut [0; 32]),
            Ok(&b"\x82\x08\x00\x07\x00\x03x/y\x01"[..])
        );
        assert_eq!(puback(0x0102), [0x40, 2, 1, 2]);
    }
}
