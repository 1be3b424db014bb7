//! A second, naive RV32IMC hart, written apart from the real one: fetches, decodes and executes one instruction at a
//! time straight from the bits, keeps nothing decoded, computes nothing ahead.
//!
//! It exists to disagree. It shares the [`Bus`] trait and the exception type with the real hart and not a line of
//! decoding, execution, CSR, trigger or PMP code. No debug mode: that has its own tests.

mod compressed;
mod registers;

use virtual_hart::{Bus, BusFault, Exception, Fetched, Width};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trigger {
    napot: bool,
    machine: bool,
    user: bool,
    execute: bool,
    store: bool,
    load: bool,
    hit: bool,
    address: u32,
}

#[derive(Debug, Clone)]
pub struct Reference {
    pub x: [u32; 32],
    pub pc: u32,
    pub cycles: u64,
    pub retired: u64,
    pub interrupt: Option<u8>,
    pub waiting: bool,
    machine: bool,
    mie: bool,
    mpie: bool,
    mpp_machine: bool,
    tw: bool,
    mtvec: u32,
    mscratch: u32,
    mepc: u32,
    mcause: u32,
    mtval: u32,
    pmpcfg: [u8; 16],
    pmpaddr: [u32; 16],
    tselect: usize,
    triggers: [Trigger; 8],
    mte: bool,
    mpte: bool,
    mpcer: u32,
    mpcmr: u32,
    mpccr: u32,
    gpio: [u32; 2],
    /// Set by a write to `mpccr` in the current instruction: the counter stands still for it.
    counter_written: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    Write,
    Run,
}

type Outcome = Result<u32, Exception>;

/// Bits `high` to `low` of a word, shifted down.
fn bits(word: u32, high: u32, low: u32) -> u32 {
    (word >> low) & ((1u64 << (high - low + 1)) - 1) as u32
}

/// `value` with `width` bits, sign-extended.
fn signed(value: u32, width: u32) -> i32 {
    let sign = 1i64 << (width - 1);
    ((i64::from(value) ^ sign) - sign) as i32
}

impl Reference {
    pub fn new(pc: u32) -> Reference {
        let trigger = Trigger {
            napot: false,
            machine: false,
            user: false,
            execute: false,
            store: false,
            load: false,
            hit: false,
            address: 0,
        };
        Reference {
            x: [0; 32],
            pc,
            cycles: 0,
            retired: 0,
            interrupt: None,
            waiting: false,
            machine: true,
            mie: false,
            mpie: false,
            mpp_machine: false,
            tw: false,
            mtvec: 1,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            pmpcfg: [0; 16],
            pmpaddr: [0; 16],
            tselect: 0,
            triggers: [trigger; 8],
            mte: false,
            mpte: false,
            mpcer: 1,
            mpcmr: 1,
            mpccr: 0,
            gpio: [0; 2],
            counter_written: false,
        }
    }

    /// One instruction, one exception or one interrupt: one cycle each.
    pub fn step<B: Bus>(&mut self, bus: &mut B) {
        self.waiting = false;
        self.counter_written = false;
        let mut retired = 0;
        let (counting, events) = (self.mpcmr & 1 == 1, self.mpcer);
        match self.interrupt {
            Some(line) if self.mie || !self.machine => {
                self.trap(0x8000_0000 + u32::from(line), 0);
                self.pc = (self.mtvec & !0xff) + 4 * u32::from(line);
            }
            _ => match self.instruction(bus) {
                Ok(next) => {
                    self.pc = next;
                    retired = 1;
                }
                Err(exception) => {
                    self.trap(exception.cause(), exception.value());
                    self.pc = self.mtvec & !0xff;
                }
            },
        }
        self.cycles += 1;
        self.retired += retired;
        if counting && !self.counter_written {
            if events & 1 == 1 {
                self.mpccr = self.mpccr.wrapping_add(1);
            } else if events & 2 == 2 {
                self.mpccr = self.mpccr.wrapping_add(retired as u32);
            }
        }
    }

    fn trap(&mut self, cause: u32, value: u32) {
        self.mepc = self.pc;
        self.mcause = cause;
        self.mtval = value;
        (self.mpie, self.mie) = (self.mie, false);
        (self.mpp_machine, self.machine) = (self.machine, true);
        (self.mpte, self.mte) = (self.mte, false);
    }

    fn instruction<B: Bus>(&mut self, bus: &mut B) -> Outcome {
        if self.trigger(Access::Run, self.pc, 1) {
            return Err(Exception::Breakpoint(self.pc));
        }
        let low = self.parcel(bus, self.pc)?;
        if low % 4 != 3 {
            return self.compressed(bus, low);
        }
        let high = self.parcel(bus, self.pc.wrapping_add(2))?;
        self.full(bus, high * 0x1_0000 + low)
    }

    fn parcel<B: Bus>(&mut self, bus: &mut B, address: u32) -> Outcome {
        let fault = Err(Exception::InstructionAccessFault(address));
        if !self.permitted(Access::Run, address, 2) {
            return fault;
        }
        match bus.fetch(address) {
            Fetched::Parcel(parcel) => Ok(u32::from(parcel)),
            _ => fault,
        }
    }

    fn set(&mut self, register: u32, value: u32) {
        if register != 0 {
            self.x[register as usize] = value;
        }
    }

    fn full<B: Bus>(&mut self, bus: &mut B, i: u32) -> Outcome {
        let next = self.pc.wrapping_add(4);
        let (rd, f3, r1, r2, f7) = (
            bits(i, 11, 7),
            bits(i, 14, 12),
            bits(i, 19, 15),
            bits(i, 24, 20),
            bits(i, 31, 25),
        );
        let (a, b) = (self.x[r1 as usize], self.x[r2 as usize]);
        let imm = signed(bits(i, 31, 20), 12) as u32;
        let illegal = Err(Exception::IllegalInstruction(i));
        match bits(i, 6, 0) {
            0b0110111 => self.set(rd, bits(i, 31, 12) << 12),
            0b0010111 => self.set(rd, self.pc.wrapping_add(bits(i, 31, 12) << 12)),
            0b1101111 => {
                let offset = bits(i, 31, 31) << 20
                    | bits(i, 19, 12) << 12
                    | bits(i, 20, 20) << 11
                    | bits(i, 30, 21) << 1;
                self.set(rd, next);
                return Ok(self.pc.wrapping_add_signed(signed(offset, 21)));
            }
            0b1100111 if f3 == 0 => {
                self.set(rd, next);
                return Ok(a.wrapping_add(imm) & 0xffff_fffe);
            }
            0b1100011 => {
                let taken = match f3 {
                    0b000 => a == b,
                    0b001 => a != b,
                    0b100 => (a as i32) < (b as i32),
                    0b101 => (a as i32) >= (b as i32),
                    0b110 => a < b,
                    0b111 => a >= b,
                    _ => return illegal,
                };
                let offset = bits(i, 31, 31) << 12
                    | bits(i, 7, 7) << 11
                    | bits(i, 30, 25) << 5
                    | bits(i, 11, 8) << 1;
                if taken {
                    return Ok(self.pc.wrapping_add_signed(signed(offset, 13)));
                }
            }
            0b0000011 => {
                let (width, sign) = match f3 {
                    0b000 => (Width::Byte, 8),
                    0b001 => (Width::Half, 16),
                    0b010 => (Width::Word, 32),
                    0b100 => (Width::Byte, 0),
                    0b101 => (Width::Half, 0),
                    _ => return illegal,
                };
                let value = self.load(bus, a.wrapping_add(imm), width)?;
                self.set(
                    rd,
                    if sign == 0 {
                        value
                    } else {
                        signed(value, sign) as u32
                    },
                );
            }
            0b0100011 => {
                let offset = signed(f7 << 5 | rd, 12) as u32;
                let width = match f3 {
                    0b000 => Width::Byte,
                    0b001 => Width::Half,
                    0b010 => Width::Word,
                    _ => return illegal,
                };
                self.store(bus, a.wrapping_add(offset), b, width)?;
            }
            0b0010011 => {
                let value = match f3 {
                    0b000 => a.wrapping_add(imm),
                    0b010 => u32::from((a as i32) < (imm as i32)),
                    0b011 => u32::from(a < imm),
                    0b100 => a ^ imm,
                    0b110 => a | imm,
                    0b111 => a & imm,
                    0b001 if f7 == 0 => a << r2,
                    0b101 if f7 == 0 => a >> r2,
                    0b101 if f7 == 32 => ((a as i32) >> r2) as u32,
                    _ => return illegal,
                };
                self.set(rd, value);
            }
            0b0110011 => match arithmetic(f7, f3, a, b) {
                Some(value) => self.set(rd, value),
                None => return illegal,
            },
            0b0001111 if f3 < 2 => {}
            0b1110011 => return self.system(i, next),
            _ => return illegal,
        }
        Ok(next)
    }

    fn load<B: Bus>(&mut self, bus: &mut B, address: u32, width: Width) -> Outcome {
        if self.trigger(Access::Read, address, width.bytes()) {
            return Err(Exception::Breakpoint(address));
        }
        if !self.permitted(Access::Read, address, width.bytes()) {
            return Err(Exception::LoadAccessFault(address));
        }
        bus.load(self.cycles, self.pc, address, width)
            .map_err(|fault| match fault {
                BusFault::Misaligned => Exception::LoadMisaligned(address),
                _ => Exception::LoadAccessFault(address),
            })
    }

    fn store<B: Bus>(
        &mut self,
        bus: &mut B,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<(), Exception> {
        if self.trigger(Access::Write, address, width.bytes()) {
            return Err(Exception::Breakpoint(address));
        }
        if !self.permitted(Access::Write, address, width.bytes()) {
            return Err(Exception::StoreAccessFault(address));
        }
        match bus.store(self.cycles, self.pc, address, value, width) {
            Ok(_) => Ok(()),
            Err(BusFault::Misaligned) => Err(Exception::StoreMisaligned(address)),
            Err(_) => Err(Exception::StoreAccessFault(address)),
        }
    }

    fn system(&mut self, i: u32, next: u32) -> Outcome {
        let illegal = Err(Exception::IllegalInstruction(i));
        match i {
            0x0000_0073 if self.machine => return Err(Exception::MachineEnvironmentCall),
            0x0000_0073 => return Err(Exception::UserEnvironmentCall),
            0x0010_0073 => return Err(Exception::Breakpoint(self.pc)),
            0x3020_0073 if self.machine => {
                self.machine = self.mpp_machine;
                (self.mie, self.mpie, self.mpp_machine) = (self.mpie, true, false);
                self.mte = self.mpte;
                return Ok(self.mepc);
            }
            0x1050_0073 if self.machine || !self.tw => {
                self.waiting = true;
                return Ok(next);
            }
            _ => {}
        }
        let (csr, f3, source) = (bits(i, 31, 20), bits(i, 14, 12), bits(i, 19, 15));
        let operand = if f3 >= 4 {
            source
        } else {
            self.x[source as usize]
        };
        let writes = f3 % 4 == 1 || source != 0;
        if f3 % 4 == 0 || bits(csr, 9, 8) != 0 && !self.machine || writes && bits(csr, 11, 10) == 3
        {
            return illegal;
        }
        let Some(old) = self.read_csr(csr) else {
            return illegal;
        };
        if writes {
            self.write_csr(
                csr,
                [0, operand, old | operand, old & !operand][(f3 % 4) as usize],
            );
        }
        self.set(bits(i, 11, 7), old);
        Ok(next)
    }
}

fn arithmetic(f7: u32, f3: u32, a: u32, b: u32) -> Option<u32> {
    let (sa, sb) = (a as i32, b as i32);
    let wide = |product: i128| (product >> 32) as u32;
    Some(match (f7, f3) {
        (0, 0) => a.wrapping_add(b),
        (32, 0) => a.wrapping_sub(b),
        (0, 1) => a << (b % 32),
        (0, 2) => u32::from(sa < sb),
        (0, 3) => u32::from(a < b),
        (0, 4) => a ^ b,
        (0, 5) => a >> (b % 32),
        (32, 5) => (sa >> (b % 32)) as u32,
        (0, 6) => a | b,
        (0, 7) => a & b,
        (1, 0) => a.wrapping_mul(b),
        (1, 1) => wide(i128::from(sa) * i128::from(sb)),
        (1, 2) => wide(i128::from(sa) * i128::from(b)),
        (1, 3) => wide(i128::from(a) * i128::from(b)),
        (1, 4) => match (sa, sb) {
            (_, 0) => u32::MAX,
            (i32::MIN, -1) => a,
            _ => (sa / sb) as u32,
        },
        (1, 5) => a.checked_div(b).unwrap_or(u32::MAX),
        (1, 6) => match (sa, sb) {
            (_, 0) => a,
            (i32::MIN, -1) => 0,
            _ => (sa % sb) as u32,
        },
        (1, 7) => a.checked_rem(b).unwrap_or(a),
        _ => return None,
    })
}
