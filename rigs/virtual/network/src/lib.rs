//! The Ethernet gateway of the virtual rig: the far end of the simulated device's network cable.
//!
//! A firmware image that talks DHCP, DNS, SNTP, MQTT and HTTP needs a network. This crate is one, made of
//! ordinary sockets of this machine: no privileges, no TAP device, no other host is ever contacted unless
//! the configuration names it. The device sees a small subnet whose gateway is this machine's loopback.
//!
//! ```text
//!  device ── frames ──▶ faults ──▶ capture ──▶ services: DHCP, DNS, SNTP
//!         ◀──────────── faults ◀── capture ◀── stack:    ARP, ICMP echo, TCP (smoltcp)
//!                                                │
//!                                                ▼
//!                                  flows: TCP and UDP sockets on 127.0.0.1 (mio)
//! ```
//!
//! Time is the chip's and comes in by argument, in nanoseconds; nothing here reads a clock. Only
//! [`Gateway::wait`] blocks.
//!
//! In reading order:
//!
//! - [`GatewayConfig`], [`Subnet`]: what the network looks like to the device
//! - [`Gateway`]: frames in, frames out, host sockets at the edge
//! - [`FaultPlan`]: what goes wrong on the cable
//! - [`Statistics`], [`Activity`]: what was counted
//! - [`GatewayError`]: what can fail, all of it at set-up

mod alarm;
mod cable;
mod capture;
mod config;
mod dhcp;
mod dns;
mod error;
mod faults;
mod frame;
mod gateway;
mod sntp;
mod stack;
mod statistics;
mod tcp;
mod udp;

pub use config::{GatewayConfig, Subnet};
pub use error::GatewayError;
pub use faults::{DirectionFaults, FaultPlan};
pub use gateway::{Gateway, Waker};
pub use statistics::{Activity, Statistics};
