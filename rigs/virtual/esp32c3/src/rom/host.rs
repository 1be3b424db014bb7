//! What ROM functions need of the chip: registers, memory through the bus, the flash, time, and a way out.

use crate::extmem::Extmem;
use crate::flash::Flash;
use crate::reset::ResetCause;
use crate::time::Ticks;

/// A ROM function's access to memory that isn't there: becomes a load or store access fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RomFault {
    /// The address touched.
    pub(crate) address: u32,
    /// True for a store (exception 7), false for a load (exception 5).
    pub(crate) store: bool,
}

/// The chip, as a ROM function sees it.
pub(crate) trait RomHost {
    /// Integer register `n` (0..32).
    fn x(&self, n: u8) -> u32;

    /// Sets integer register `n`.
    fn set_x(&mut self, n: u8, value: u32);

    /// Copies from any memory the bus reaches: SRAM, RTC memory, the flash windows, the ROM itself.
    fn read_bytes(&mut self, address: u32, into: &mut [u8]) -> Result<(), RomFault>;

    /// Copies to any memory the bus reaches, marking decoded code stale.
    fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), RomFault>;

    /// The flash chip.
    fn flash(&mut self) -> &mut Flash;

    /// The cache controller with its MMU table. The chip must look for `take_changed` afterwards.
    fn extmem(&mut self) -> &mut Extmem;

    /// Chip time at the call.
    fn now(&self) -> Ticks;

    /// Ticks of one CPU cycle: 3 at 160 MHz.
    fn ticks_per_cycle(&self) -> u64;

    /// Bytes for the ROM's console (UART0).
    fn console(&mut self, bytes: &[u8]);

    /// Why the chip was last reset.
    fn reset_cause(&self) -> ResetCause;

    /// Resets the chip when the call is over.
    fn request_reset(&mut self, cause: ResetCause);
}

#[cfg(test)]
pub(crate) use testing::TestHost;

#[cfg(test)]
mod testing {
    use super::*;

    /// A chip reduced to what ROM functions touch: 64 KiB of memory at 0x3FC8_0000.
    pub(crate) struct TestHost {
        pub(crate) registers: [u32; 32],
        pub(crate) memory: Vec<u8>,
        pub(crate) flash: Flash,
        pub(crate) extmem: Extmem,
        pub(crate) console: Vec<u8>,
        pub(crate) reset: Option<ResetCause>,
    }

    /// Where the test host's memory starts.
    pub(crate) const MEMORY: u32 = 0x3FC8_0000;

    impl TestHost {
        pub(crate) const MEMORY: u32 = MEMORY;

        pub(crate) fn new() -> TestHost {
            TestHost {
                registers: [0; 32],
                memory: vec![0; 0x10000],
                flash: Flash::new(1 << 20).expect("a size that is made"),
                extmem: Extmem::default(),
                console: Vec::new(),
                reset: None,
            }
        }

        /// Calls the function named `name` with `arguments` and returns `a0` and the cycles taken.
        pub(crate) fn call(
            &mut self,
            state: &mut crate::rom::RomState,
            name: &str,
            arguments: &[u32],
        ) -> (u32, u64) {
            let function = crate::rom::functions()
                .find(|function| function.name == name)
                .expect("an emulated function");
            for (n, value) in arguments.iter().enumerate() {
                self.registers[10 + n] = *value;
            }
            match state.call(function.address, self) {
                crate::rom::RomOutcome::Return { cycles } => (self.registers[10], cycles),
                other => panic!("{name}: {other:?}"),
            }
        }

        /// `a1`:`a0`.
        pub(crate) fn result64(&self) -> u64 {
            u64::from(self.registers[10]) | u64::from(self.registers[11]) << 32
        }

        fn place(
            &mut self,
            address: u32,
            length: usize,
            store: bool,
        ) -> Result<&mut [u8], RomFault> {
            let fault = RomFault { address, store };
            let start = address.checked_sub(MEMORY).ok_or(fault)? as usize;
            self.memory.get_mut(start..start + length).ok_or(fault)
        }
    }

    impl RomHost for TestHost {
        fn x(&self, n: u8) -> u32 {
            self.registers[n as usize]
        }

        fn set_x(&mut self, n: u8, value: u32) {
            self.registers[n as usize] = value;
        }

        fn read_bytes(&mut self, address: u32, into: &mut [u8]) -> Result<(), RomFault> {
            into.copy_from_slice(self.place(address, into.len(), false)?);
            Ok(())
        }

        fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), RomFault> {
            self.place(address, bytes.len(), true)?
                .copy_from_slice(bytes);
            Ok(())
        }

        fn flash(&mut self) -> &mut Flash {
            &mut self.flash
        }

        fn extmem(&mut self) -> &mut Extmem {
            &mut self.extmem
        }

        fn now(&self) -> Ticks {
            Ticks(1000)
        }

        fn ticks_per_cycle(&self) -> u64 {
            3
        }

        fn console(&mut self, bytes: &[u8]) {
            self.console.extend_from_slice(bytes);
        }

        fn reset_cause(&self) -> ResetCause {
            ResetCause::CpuSoftware
        }

        fn request_reset(&mut self, cause: ResetCause) {
            self.reset = Some(cause);
        }
    }
}
