//! MQTT 3.1.1 as a client on the device needs it, without any IO: bytes and time in, bytes out.
//!
//! Why not a client from the shelf: `docs/decisions/2026-11-23-mqtt-client-on-device.md` and
//! `2026-11-26-qos-2.md`. Whoever owns the socket (the firmware's `mqtt` module) puts these together:
//!
//! - [`Client`]: the protocol, over as many connections as a session lasts; the place to start.
//! - [`Reader`], [`Packet`]: packets from the broker, cut out of the stream.
//! - [`Connect`], [`Publish`], [`Ack`] and others: packets to the broker.
//! - [`Outbox`], [`Message`]: what is to be sent, queued and kept until the broker has it.
//! - [`KeepAlive`]: when to ping, and when to give the broker up.
//! - [`BackOff`]: how long to wait before the next connection.
//! - [`mutants`]: deliberate faults, for the scenarios to find.
//!
//! Section numbers are those of the OASIS standard "MQTT Version 3.1.1".
//! Not here: UNSUBSCRIBE; the product has no use for it.
#![no_std]

#[cfg(test)]
extern crate alloc;

mod back_off;
mod client;
mod inbox;
mod keep_alive;
pub mod mutants;
mod outbox;
mod packet;
mod reader;

pub use back_off::{BackOff, BackOffLimits};
pub use client::{Client, Event, Received, Violation};
pub use keep_alive::{Due, KeepAlive};
pub use outbox::{Class, Full, Limits, Losses, Message, Outbox, Outgoing, Room};
pub use packet::{
    Ack, Connect, DISCONNECT, Delivery, EncodeError, FIXED_HEADER_BYTES_MAX, Filter, PINGREQ,
    PacketId, Publish, QoS, Subscribe, Will,
};
pub use reader::{Malformed, Packet, Reader, ReturnCodes};
