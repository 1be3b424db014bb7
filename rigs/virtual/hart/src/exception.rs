//! Synchronous exceptions with their `mcause` code and `mtval`.
//!
//! Source: RISC-V Privileged Architecture 1.10, table 3.6 (machine cause register values after trap).

use crate::BusFault;

/// A synchronous exception, with the value it leaves in `mtval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Code 1: nothing could be fetched at this address.
    InstructionAccessFault(u32),
    /// Code 2: these instruction bits mean nothing here (16 bits for a compressed one).
    IllegalInstruction(u32),
    /// Code 3: `ebreak` (its own address) or a trigger (the address that matched).
    Breakpoint(u32),
    /// Code 4: a load from this address had an alignment the bus does not carry.
    LoadMisaligned(u32),
    /// Code 5: a load from this address was refused.
    LoadAccessFault(u32),
    /// Code 6: a store to this address had an alignment the bus does not carry.
    StoreMisaligned(u32),
    /// Code 7: a store to this address was refused.
    StoreAccessFault(u32),
    /// Code 8: `ecall` from user mode.
    UserEnvironmentCall,
    /// Code 11: `ecall` from machine mode.
    MachineEnvironmentCall,
}

impl Exception {
    /// The exception code, as it appears in `mcause`.
    pub const fn cause(self) -> u32 {
        match self {
            Exception::InstructionAccessFault(_) => 1,
            Exception::IllegalInstruction(_) => 2,
            Exception::Breakpoint(_) => 3,
            Exception::LoadMisaligned(_) => 4,
            Exception::LoadAccessFault(_) => 5,
            Exception::StoreMisaligned(_) => 6,
            Exception::StoreAccessFault(_) => 7,
            Exception::UserEnvironmentCall => 8,
            Exception::MachineEnvironmentCall => 11,
        }
    }

    /// The value written to `mtval`.
    pub const fn value(self) -> u32 {
        match self {
            Exception::InstructionAccessFault(value)
            | Exception::IllegalInstruction(value)
            | Exception::Breakpoint(value)
            | Exception::LoadMisaligned(value)
            | Exception::LoadAccessFault(value)
            | Exception::StoreMisaligned(value)
            | Exception::StoreAccessFault(value) => value,
            Exception::UserEnvironmentCall | Exception::MachineEnvironmentCall => 0,
        }
    }

    pub(crate) const fn of_load(fault: BusFault, address: u32) -> Exception {
        match fault {
            BusFault::Misaligned => Exception::LoadMisaligned(address),
            BusFault::Unmapped | BusFault::Denied => Exception::LoadAccessFault(address),
        }
    }

    pub(crate) const fn of_store(fault: BusFault, address: u32) -> Exception {
        match fault {
            BusFault::Misaligned => Exception::StoreMisaligned(address),
            BusFault::Unmapped | BusFault::Denied => Exception::StoreAccessFault(address),
        }
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exception::InstructionAccessFault(at) => write!(f, "no instruction at {at:#010x}"),
            Exception::IllegalInstruction(bits) => write!(f, "illegal instruction {bits:#x}"),
            Exception::Breakpoint(at) => write!(f, "breakpoint at {at:#010x}"),
            Exception::LoadMisaligned(at) => write!(f, "misaligned load from {at:#010x}"),
            Exception::LoadAccessFault(at) => write!(f, "load from {at:#010x} refused"),
            Exception::StoreMisaligned(at) => write!(f, "misaligned store to {at:#010x}"),
            Exception::StoreAccessFault(at) => write!(f, "store to {at:#010x} refused"),
            Exception::UserEnvironmentCall => write!(f, "environment call from user mode"),
            Exception::MachineEnvironmentCall => write!(f, "environment call from machine mode"),
        }
    }
}

impl std::error::Error for Exception {}
