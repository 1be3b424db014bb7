//! The one buffer that messages are written and sent from.
//!
//! The packet's header goes right before the payload, so that a message leaves in one piece: two
//! writes would be two segments, and the second would wait for the first's acknowledgement.

use core::fmt;

use firmware_control::{MESSAGE_BYTES_MAX, topics::TOPIC_BYTES_MAX};
use firmware_mqtt::{Delivery, EncodeError, FIXED_HEADER_BYTES_MAX, Publish};

use crate::status::MQTT_BUFFER_USED_MAX;

/// Fixed header, topic with its length, packet identifier.
const HEADER_BYTES_MAX: usize = FIXED_HEADER_BYTES_MAX + 2 + TOPIC_BYTES_MAX + 2;

/// A payload, with room before it.
pub(super) struct MessageBuffer {
    bytes: [u8; HEADER_BYTES_MAX + MESSAGE_BYTES_MAX],
    /// Bytes of the payload.
    length: usize,
}

impl MessageBuffer {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; HEADER_BYTES_MAX + MESSAGE_BYTES_MAX],
            length: 0,
        }
    }

    /// Forgets the payload.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// What was written.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES_MAX..HEADER_BYTES_MAX + self.length]
    }

    /// The packet that publishes what was written.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        delivery: Delivery,
        retain: bool,
    ) -> Result<&[u8], EncodeError> {
        MQTT_BUFFER_USED_MAX.raise_to(self.length);
        let publish = Publish {
            topic,
            payload_bytes: self.length,
            delivery,
            retain,
        };
        let mut header = [0; HEADER_BYTES_MAX];
        let header = publish.encode(&mut header)?;
        let start = HEADER_BYTES_MAX - header.len();
        self.bytes[start..HEADER_BYTES_MAX].copy_from_slice(header);
        Ok(&self.bytes[start..HEADER_BYTES_MAX + self.length])
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> fmt::Result {
        let start = HEADER_BYTES_MAX + self.length;
        self.bytes
            .get_mut(start..start + bytes.len())
            .ok_or(fmt::Error)?
            .copy_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }
}

impl fmt::Write for MessageBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes())
    }
}
