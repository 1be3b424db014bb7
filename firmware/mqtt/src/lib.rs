//! MQTT 3.1.1 as a client on the device needs it, without any IO: bytes and time in, bytes out.
//!
//! Why not a client from the shelf: `docs/decisions/2026-11-23-mqtt-client-on-device.md`. Whoever
//! owns the socket (the firmware's `mqtt` module) puts these together:
//!
//! - [`Connect`], [`Publish`], [`Subscribe`] and a few constants: packets to the broker.
//! - [`Reader`], [`Packet`]: packets from the broker, cut out of the stream.
//! - [`KeepAlive`]: when to ping, and when to give the broker up.
//! - [`Outbox`]: messages at QoS 1, kept until the broker has acknowledged them.
//!
//! Section numbers are those of the OASIS standard "MQTT Version 3.1.1".
//! Not here: QoS 2, persistent sessions, unsubscribing; the product uses none of them.
#![no_std]

extern crate alloc;

mod keep_alive;
mod outbox;
mod packet;
mod reader;

pub use keep_alive::{Due, KeepAlive};
pub use outbox::{Message, Outbox, OutboxFull};
pub use packet::{Connect, DISCONNECT, PINGREQ, Publish, QoS, Subscribe, TooLong, Will, puback};
pub use reader::{Malformed, Packet, Reader};
