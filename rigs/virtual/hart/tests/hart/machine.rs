//! A small machine for tests: RAM, a few registers that record every access, and the hart in it.
//!
//! ```text
//! 0x0000_8000  RAM, 32 KiB: trap vectors first, programs from CODE, data from DATA
//! 0x4000_0000  emulated functions
//! 0x6000_0000  register that reads as a mix of time and address; stores are recorded
//! 0x6000_0004  interrupt line: a store sets it (0 for none) and asks for attention
//! 0x6000_0008  a load asks for attention
//! 0x6000_0100  denied
//! ```

use virtual_hart::{Bus, BusFault, Fetched, FlatRam, Hart, StaleCode, Stop, Stored, Width};

use crate::assembler::Assembler;

pub const RAM: u32 = 0x8000;
pub const RAM_BYTES: u32 = 0x8000;
/// Trap vectors, aligned to 256 as the chip needs it.
pub const VECTORS: u32 = RAM;
pub const CODE: u32 = RAM + 0x400;
pub const DATA: u32 = RAM + 0x4000;
pub const EMULATED: u32 = 0x4000_0000;
pub const REGISTERS: u32 = 0x6000_0000;
pub const LINE: u32 = REGISTERS + 4;
pub const ATTENTION: u32 = REGISTERS + 8;
pub const DENIED: u32 = REGISTERS + 0x100;

/// An access to a register: time, `pc`, address, the value stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    pub now: u64,
    pub pc: u32,
    pub address: u32,
    pub stored: Option<u32>,
}

#[derive(Debug, Clone)]
pub struct TestBus {
    pub ram: FlatRam,
    pub log: Vec<Logged>,
    pub line: Option<u8>,
    /// Stores to decoded code don't say so, as on a chip whose caches are not coherent.
    pub hides_changed_code: bool,
    attention: bool,
}

impl TestBus {
    pub fn new() -> TestBus {
        TestBus {
            ram: FlatRam::new(RAM, RAM_BYTES),
            log: Vec::new(),
            line: None,
            hides_changed_code: false,
            attention: false,
        }
    }

    fn check(address: u32, width: Width) -> Result<(), BusFault> {
        if !(REGISTERS..REGISTERS + 0x200).contains(&address) {
            Err(BusFault::Unmapped)
        } else if !address.is_multiple_of(width.bytes()) {
            Err(BusFault::Misaligned)
        } else if address >= DENIED {
            Err(BusFault::Denied)
        } else {
            Ok(())
        }
    }
}

impl Bus for TestBus {
    fn fetch(&mut self, address: u32) -> Fetched {
        if (EMULATED..EMULATED + 0x1000).contains(&address) {
            return Fetched::Emulated;
        }
        self.ram.fetch(address)
    }

    fn load(&mut self, now: u64, pc: u32, address: u32, width: Width) -> Result<u32, BusFault> {
        if let Ok(value) = self.ram.load(now, pc, address, width) {
            return Ok(value);
        }
        TestBus::check(address, width)?;
        self.log.push(Logged {
            now,
            pc,
            address,
            stored: None,
        });
        self.attention |= address == ATTENTION;
        let mix = (now as u32).wrapping_mul(0x9e37_79b9) ^ address ^ pc;
        Ok(mix & (u32::MAX >> (32 - 8 * width.bytes())))
    }

    fn store(
        &mut self,
        now: u64,
        pc: u32,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<Stored, BusFault> {
        match self.ram.store(now, pc, address, value, width) {
            Ok(_) if self.hides_changed_code => return Ok(Stored::Done),
            Ok(stored) => return Ok(stored),
            Err(_) => {}
        }
        TestBus::check(address, width)?;
        self.log.push(Logged {
            now,
            pc,
            address,
            stored: Some(value),
        });
        if address == LINE {
            self.line = Some(value as u8 & 31).filter(|line| *line != 0);
            self.attention = true;
            return Ok(Stored::Attention);
        }
        Ok(Stored::Done)
    }

    fn take_attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }

    fn take_stale_code(&mut self) -> StaleCode {
        self.ram.take_stale_code()
    }

    fn watch_code(&mut self, start: u32, end: u32) {
        self.ram.watch_code(start, end);
    }
}

/// A hart with its bus.
pub struct Machine {
    pub hart: Hart,
    pub bus: TestBus,
}

impl Machine {
    /// With `code` at [`CODE`], where `pc` is, and the trap vectors at [`VECTORS`]; what they jump to is the caller's.
    pub fn new(code: impl FnOnce(&mut Assembler)) -> Machine {
        let mut machine = Machine {
            hart: Hart::new(),
            bus: TestBus::new(),
        };
        machine.hart.set_pc(CODE);
        machine
            .hart
            .set_csr(virtual_hart::csr_number::MTVEC, VECTORS);
        machine.write(CODE, code);
        machine
    }

    pub fn write(&mut self, address: u32, code: impl FnOnce(&mut Assembler)) {
        let mut assembler = Assembler::new(address);
        code(&mut assembler);
        self.bus.ram.write(address, &assembler.bytes());
    }

    pub fn run(&mut self, cycles: u64) -> Stop {
        self.hart.run(&mut self.bus, self.hart.cycles() + cycles)
    }

    pub fn step(&mut self) -> Stop {
        self.hart.step(&mut self.bus)
    }

    pub fn csr(&self, number: u16) -> u32 {
        self.hart.csr(number).expect("this register exists")
    }

    pub fn set_csr(&mut self, number: u16, value: u32) {
        assert!(self.hart.set_csr(number, value), "this register exists");
    }

    pub fn word(&self, address: u32) -> u32 {
        u32::from_le_bytes(
            self.bus
                .ram
                .read(address, 4)
                .try_into()
                .expect("four bytes"),
        )
    }
}
