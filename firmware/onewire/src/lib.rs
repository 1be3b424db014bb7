//! 1-Wire master for DS18B20 sensors: finds them, numbers them, reads them, and says what went wrong.
//!
//! The bus is driven by a UART whose two pins share one open-drain pin (application note 214), because
//! bit-banging misses its microseconds whenever the radio interrupts. This crate knows neither UART
//! nor clock: it is given a [`Line`] and a delay, so all of it is tested on the host. In reading order:
//!
//! - [`Line`]: the serial line that the firmware implements.
//! - [`Bus`]: reset pulse, presence and slots as characters on that line.
//! - [`Rom`], [`crc8`]: a device's ROM code, and the check of everything that is read.
//! - [`search`]: who is on the bus.
//! - [`Resolution`], [`Scratchpad`], [`Temperature`]: the DS18B20's nine bytes and what they mean.
//! - [`sensor`]: the DS18B20's commands.
//! - [`Scanner`], [`Outcome`]: all sensors, scan by scan, each with its point and its outcome; the
//!   place to start for whoever uses this crate.
//! - [`mutants`]: deliberate bugs, to see that the tests above this crate notice.
//!
//! # Time on the wire
//! A reset pulse takes 1.04 ms (10 bits at 9,600 baud), a slot 86.8 µs (10 bits at 115,200 baud); to
//! these come the driver's pauses between exchanges, of at most 64 slots each.
//!
//! | what | slots | time |
//! |---|---|---|
//! | read one scratchpad by ROM code | 152 | 14.2 ms |
//! | **scan of 60 sensors at 12 bits**: 753 ms of conversion, 854 ms of reading | 9,144 | **1.61 s** |
//! | the same at 9 bits: 97 ms of conversion | 9,144 | 0.95 s |
//! | search, for each device | 200 | 18.4 ms |
//! | search of 60 devices, now and then; twice before the first scan | 12,000 | 1.10 s |
//!
//! `tests/scan.rs` counts them on a simulated bus.
//!
//! # What the sensors need
//! A supply of their own. One that feeds on the bus (parasite power) needs a strong pull-up while it
//! converts, which an open-drain pin can't give: it reports conversions that failed. Sections named
//! "data sheet" are those of the DS18B20's, Maxim 19-7487 rev. 6.
#![no_std]

mod bus;
mod line;
pub mod mutants;
mod outcome;
mod reading;
mod rom;
mod scanner;
mod scratchpad;
pub mod search;
pub mod sensor;
mod settings;
mod statistics;

pub use bus::{Bus, BusError, SLOTS_MAX};
pub use line::{Line, LineError, RESET_BAUD, SLOT_BAUD};
pub use outcome::Outcome;
pub use rom::{Rom, crc8};
pub use scanner::{Point, ScanReport, Scanner};
pub use scratchpad::{Registers, Resolution, Scratchpad, Temperature, Unreadable};
pub use settings::Settings;
pub use statistics::Statistics;
