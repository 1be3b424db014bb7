//! The temperature controller's firmware for ESP32-C3 and ESP32-C6.
//!
//! What the product decides is in `firmware-control`, what is said over RTT in `firmware-wire`,
//! MQTT's packets in `firmware-mqtt`, HTTP's in `firmware-http`; this crate is the rest: pins, tasks, network, logging. It is a
//! library so that the on-target tests under `tests/` exercise the very modules that ship; the
//! binary (`src/main.rs`) adds the wiring and the panic handler. In reading order:
//!
//! - boot: [`chip`] which one it is, [`boot_memory`] what survives a reset, [`reset_reason`],
//!   [`storage`] what survives a loss of power, [`watchdog`];
//! - seen from outside: [`rtt`] the channels, [`log`], [`telemetry`], [`allocation_trace`],
//!   [`heap`], [`stack`], [`threads`], [`call_path`], [`exception`];
//! - told from outside: [`control_channel`], [`provisioning`], [`certificates`], `faults` (with
//!   `test-hooks`);
//! - at work: [`desk`] what the tasks share, [`control_loop`], [`board`] pins and coils,
//!   [`sensors`], [`network`], [`clock`], [`mqtt`], [`tls`], [`http`], [`status`].
#![no_std]

extern crate alloc;

// The time driver, which embassy-time and the logs' time stamps find by symbol name alone.
use esp_rtos as _;

pub mod allocation_trace;
pub mod board;
pub mod boot_memory;
pub mod call_path;
pub mod certificates;
pub mod chip;
pub mod clock;
pub mod control_channel;
pub mod control_loop;
pub mod desk;
pub mod exception;
#[cfg(feature = "test-hooks")]
pub mod faults;
pub mod heap;
pub mod http;
pub mod log;
pub mod mqtt;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod provisioning;
pub mod reset_reason;
pub mod rtt;
pub mod sensors;
pub mod stack;
pub mod status;
pub mod storage;
pub mod telemetry;
pub mod threads;
pub mod tls;
pub mod watchdog;

/// The version of the firmware, from its `Cargo.toml`.
pub const FIRMWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

// What the second-stage bootloader and probe-rs' `idf` format look for in the image.
esp_bootloader_esp_idf::esp_app_desc!();
