//! The processor of the simulated ESP32-C3: RV32IMC with Zicsr and Zifencei, machine and user mode, debug mode and
//! triggers, Espressif's registers. It exists because a test run must not need a board, and must be fast: what a run
//! waits for is this loop.
//!
//! In reading order: [`Bus`] is what a hart is wired to, [`Hart`] the hart itself, [`Stop`] why it came back,
//! [`Exception`] what may go wrong in between. Inside, `decode` turns bits into ops, `cache` keeps them as linked basic
//! blocks, `execute` runs one block, `run` goes from block to block, `system` does everything rare, `debug` is the
//! debugger's side. `csr`, `pmp`, `trigger` and `counter` hold the registers, `guard` makes watchpoints cheap. [`FlatRam`] is the simplest bus.
//!
//! One instruction takes one cycle; a trap entry takes one too. Not modelled: pipeline effects, and `mie`/`mip`, which
//! the ESP32-C3 doesn't have (its interrupt matrix enables and prioritises lines; the hart sees one line number).
//! Standard `mcycle`/`minstret` and their user aliases don't exist on that chip either and are illegal instructions
//! here; its cycle counter is `mpccr` (0x7E2).
//!
//! Held against the public riscv-tests (rv32ui, rv32um, rv32uc, rv32mi: 67 programs, all passed, November 2026) with
//! [`HartProfile::Generic`] through the example `run-elf`; they are not part of this repository.

mod bus;
mod cache;
mod compressed;
mod counter;
mod csr;
mod debug;
mod decode;
mod exception;
mod execute;
mod flat;
mod guard;
mod hart;
mod pmp;
mod profile;
mod run;
mod stop;
mod system;
mod trigger;

pub use bus::{Bus, BusFault, Fetched, StaleCode, Stored, Width};
pub use csr::number as csr_number;
pub use exception::Exception;
pub use flat::FlatRam;
pub use hart::Hart;
pub use profile::HartProfile;
pub use stop::{HaltCause, Stop};
