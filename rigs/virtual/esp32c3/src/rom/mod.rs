//! The mask ROM by emulation: what firmware and flash algorithms call at 0x4000_0000, done by the host.
//!
//! The ROM's code is Espressif's and not ours to ship, so its functions are implemented here by what they promise.
//! A call arrives as a fetch from the ROM's addresses; the function reads arguments from `a0`..`a7`, leaves results in
//! `a0` and `a1`, and takes about the cycles the real one takes. A function that is not emulated is an error with its
//! name, never a silent zero.
//!
//! Addresses are those of the linker scripts for all revisions of the ESP32-C3 (a jump table at the ROM's start keeps
//! them constant). [`functions`] is the whole table; [`names`] knows the names of the rest.
//!
//! Not modelled: the ROM's own data in SRAM (0x3FCD_F000 upwards) other than where a function writes it, secure boot,
//! download mode, ROM parts of the Wi-Fi and Bluetooth stacks. An interrupt in the middle of a function (a long
//! `ets_delay_us`) waits for its end; watchdogs don't.

mod arithmetic;
mod cache;
mod checksum;
mod console;
mod flash;
mod float;
mod host;
mod inflate;
mod memory;
mod names;
mod regi2c;
mod system;

use std::collections::BTreeMap;

use miniz_oxide::inflate::core::DecompressorOxide;

pub(crate) use checksum::{crc32_le, md5};
pub(crate) use host::{RomFault, RomHost};

use crate::unmodelled;

/// First address of the ROM.
pub(crate) const ROM_START: u32 = 0x4000_0000;
/// First address after the ROM.
pub(crate) const ROM_END: u32 = 0x4006_0000;

/// The word probe-rs reads to tell an ESP32-C3 from its siblings.
const CHIP_DETECTION: (u32, u32) = (0x4000_1000, 0x1B31_506F);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RomOutcome {
    /// Results are in the registers: go on at `ra`, `cycles` later.
    Return {
        /// CPU cycles taken.
        cycles: u64,
    },
    /// The function touched memory that isn't there: an access fault inside the ROM.
    Fault(RomFault),
    /// Nothing is emulated at this address. In words, with the name if it is known.
    Unknown {
        /// "call of ROM function 0x4000_10a4 (`ets_printf`), which is not emulated (from 0x4200_1a2c)".
        message: String,
    },
}

/// What the ROM functions remember from call to call.
#[derive(Default)]
pub(crate) struct RomState {
    /// Decompressors by the address of their `tinfl_decompressor`.
    inflate: BTreeMap<u32, Box<DecompressorOxide>>,
    /// Analog registers behind the internal I2C bus: (block, host, register).
    regi2c: BTreeMap<(u8, u8, u8), u8>,
    /// Bytes on their way, kept so that copying allocates nothing.
    buffer: Vec<u8>,
    /// What `ets_update_cpu_frequency` was told, MHz.
    ticks_per_micro: Option<u32>,
}

/// One function of the table.
pub(crate) struct Function {
    /// Where it is called.
    pub(crate) address: u32,
    /// As in the linker scripts.
    pub(crate) name: &'static str,
    /// Does it; returns the cycles it takes.
    call: fn(&mut Call<'_>) -> Result<u64, RomFault>,
}

const fn function(
    address: u32,
    name: &'static str,
    call: fn(&mut Call<'_>) -> Result<u64, RomFault>,
) -> Function {
    Function {
        address,
        name,
        call,
    }
}

/// Every function emulated.
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    [
        system::FUNCTIONS,
        console::FUNCTIONS,
        inflate::FUNCTIONS,
        flash::FUNCTIONS,
        memory::FUNCTIONS,
        cache::FUNCTIONS,
        checksum::FUNCTIONS,
        arithmetic::FUNCTIONS,
        float::FUNCTIONS,
        regi2c::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Address and name of every ROM function that is emulated: to check before a run what an ELF would miss.
pub fn emulated_functions() -> impl Iterator<Item = (u32, &'static str)> {
    functions().map(|function| (function.address, function.name))
}

/// A call in progress: registers, memory and the state behind them.
struct Call<'a> {
    host: &'a mut dyn RomHost,
    state: &'a mut RomState,
}

impl Call<'_> {
    /// Argument `n` (0..8).
    fn argument(&self, n: u8) -> u32 {
        self.host.x(10 + n)
    }

    /// The 64-bit argument in registers `a{n}` (low) and `a{n+1}` (high).
    fn argument64(&self, n: u8) -> u64 {
        u64::from(self.argument(n)) | u64::from(self.argument(n + 1)) << 32
    }

    /// Result in `a0`.
    fn answer(&mut self, value: u32) {
        self.host.set_x(10, value);
    }

    /// Result in `a0` (low) and `a1` (high).
    fn answer64(&mut self, value: u64) {
        self.host.set_x(10, value as u32);
        self.host.set_x(11, (value >> 32) as u32);
    }

    fn load_word(&mut self, address: u32) -> Result<u32, RomFault> {
        let mut bytes = [0; 4];
        self.host.read_bytes(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn store_word(&mut self, address: u32, value: u32) -> Result<(), RomFault> {
        self.host.write_bytes(address, &value.to_le_bytes())
    }

    fn load_byte(&mut self, address: u32) -> Result<u8, RomFault> {
        let mut bytes = [0];
        self.host.read_bytes(address, &mut bytes)?;
        Ok(bytes[0])
    }
}

impl RomState {
    /// Runs the function at `pc`.
    pub(crate) fn call(&mut self, pc: u32, host: &mut dyn RomHost) -> RomOutcome {
        let Some(function) = lookup(pc) else {
            return RomOutcome::Unknown {
                message: unknown(pc, host.x(1)),
            };
        };
        let mut call = Call { host, state: self };
        match (function.call)(&mut call) {
            Ok(cycles) => RomOutcome::Return { cycles },
            Err(fault) => RomOutcome::Fault(fault),
        }
    }

    /// Forgets what a reset of the CPU takes away.
    pub(crate) fn reset(&mut self) {
        self.inflate.clear();
        self.ticks_per_micro = None;
    }
}

/// Contents of the ROM as data: the chip-detection word, else zero, which the flash algorithm's tables accept.
pub(crate) fn word(address: u32) -> u32 {
    if address & !3 == CHIP_DETECTION.0 {
        CHIP_DETECTION.1
    } else {
        0
    }
}

fn lookup(pc: u32) -> Option<&'static Function> {
    use std::sync::OnceLock;
    static TABLE: OnceLock<Vec<Option<&'static Function>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let slot = |function: &Function| ((function.address - ROM_START) / 4) as usize;
        let size = functions().map(slot).max().map_or(0, |last| last + 1);
        let mut table = vec![None; size];
        for function in functions() {
            table[slot(function)] = Some(function);
        }
        table
    });
    if !pc.is_multiple_of(4) {
        return None;
    }
    *table.get((pc.wrapping_sub(ROM_START) / 4) as usize)?
}

fn unknown(pc: u32, caller: u32) -> String {
    let name = names::of(pc).map_or(String::new(), |name| format!(" (`{name}`)"));
    format!(
        "call of ROM function {}{name}, which is not emulated (from {})",
        unmodelled::address(pc),
        unmodelled::address(caller)
    )
}

#[cfg(test)]
mod tests {
    use super::host::TestHost;
    use super::*;

    #[test]
    fn table_is_sound_and_agrees_with_the_names() {
        let mut seen = std::collections::BTreeSet::new();
        for function in functions() {
            assert!(seen.insert(function.address), "{} twice", function.name);
            assert_eq!(names::of(function.address), Some(function.name));
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn unknown_function_is_named() {
        let check = |pc: u32, expected: &str| {
            let mut host = TestHost::new();
            host.set_x(1, 0x4200_1A2C);
            match RomState::default().call(pc, &mut host) {
                RomOutcome::Unknown { message } => assert_eq!(message, expected),
                other => panic!("{other:?}"),
            }
        };
        check(
            0x4000_00CC,
            "call of ROM function 0x4000_00cc (`tdefl_compress`), which is not emulated (from 0x4200_1a2c)",
        );
        check(
            0x4004_0002,
            "call of ROM function 0x4004_0002, which is not emulated (from 0x4200_1a2c)",
        );
    }

    #[test]
    fn chip_is_recognised() {
        assert_eq!(word(0x4000_1000), 0x1B31_506F);
        assert_eq!(word(0x4005_8898), 0);
    }
}
