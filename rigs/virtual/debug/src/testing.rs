//! A fake chip for this crate's tests: a little memory, a map of registers, and a record of what was asked.

use std::collections::BTreeMap;

use virtual_hart::{BusFault, Width};

use crate::target::{DebugTarget, ExecuteError, RegisterError};

/// Memory from address 0.
pub(crate) const MEMORY_BYTES: u32 = 64;
/// An address that exists and is denied.
pub(crate) const DENIED: u32 = 0x1000;
/// A first program word that raises an exception.
pub(crate) const PROGRAM_THAT_TRAPS: u32 = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FakeTarget {
    pub(crate) halted: bool,
    pub(crate) reset_seen: bool,
    pub(crate) hart_resets: u32,
    pub(crate) system_resets: u32,
    pub(crate) registers: BTreeMap<u16, u32>,
    pub(crate) executed: Vec<Vec<u32>>,
    pub(crate) memory: [u8; MEMORY_BYTES as usize],
}

impl Default for FakeTarget {
    fn default() -> FakeTarget {
        FakeTarget {
            halted: false,
            reset_seen: false,
            hart_resets: 0,
            system_resets: 0,
            registers: BTreeMap::new(),
            executed: Vec::new(),
            memory: [0; MEMORY_BYTES as usize],
        }
    }
}

impl FakeTarget {
    fn bytes(&mut self, address: u32, width: Width) -> Result<&mut [u8], BusFault> {
        if address == DENIED {
            return Err(BusFault::Denied);
        }
        let length = match width {
            Width::Byte => 1,
            Width::Half => 2,
            Width::Word => 4,
        };
        let start = address as usize;
        self.memory
            .get_mut(start..start + length)
            .ok_or(BusFault::Unmapped)
    }
}

impl DebugTarget for FakeTarget {
    fn is_halted(&self) -> bool {
        self.halted
    }

    fn halt(&mut self) {
        self.halted = true;
    }

    fn resume(&mut self) {
        self.halted = false;
    }

    fn read_register(&mut self, number: u16) -> Result<u32, RegisterError> {
        match number {
            0x0FFF => Err(RegisterError::Exception),
            0xC000.. => Err(RegisterError::Unsupported),
            _ => Ok(self.registers.get(&number).copied().unwrap_or_default()),
        }
    }

    fn write_register(&mut self, number: u16, value: u32) -> Result<(), RegisterError> {
        self.read_register(number)?;
        self.registers.insert(number, value);
        Ok(())
    }

    fn execute(&mut self, program: &[u32]) -> Result<(), ExecuteError> {
        self.executed.push(program.to_vec());
        if program[0] == PROGRAM_THAT_TRAPS {
            Err(ExecuteError)
        } else {
            Ok(())
        }
    }

    fn bus_read(&mut self, address: u32, width: Width) -> Result<u32, BusFault> {
        let bytes = self.bytes(address, width)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn bus_write(&mut self, address: u32, width: Width, value: u32) -> Result<(), BusFault> {
        let bytes = self.bytes(address, width)?;
        let length = bytes.len();
        bytes.copy_from_slice(&value.to_le_bytes()[..length]);
        Ok(())
    }

    fn reset_hart(&mut self) {
        self.hart_resets += 1;
        self.reset_seen = true;
    }

    fn reset_system(&mut self) {
        self.system_resets += 1;
        self.reset_seen = true;
    }

    fn has_reset(&self) -> bool {
        self.reset_seen
    }

    fn acknowledge_reset(&mut self) {
        self.reset_seen = false;
    }
}
