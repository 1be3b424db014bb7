//! A second, naive RV32IMC hart, written apart from the real one: fetches, decodes and executes one instruction at a
//! time straight from the bits, keeps nothing decoded, computes nothing ahead.
//!
//! It exists to disagree. It shares the [`Bus`] trait and the exception type with the real hart and not a line of
//! decoding, execution, CSR, trigger or PMP code. No debug mode: that has its own tests.

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

    /// Quadrants as printed in the manual, executed directly, without going through the 32-bit form.
    fn compressed<B: Bus>(&mut self, bus: &mut B, c: u32) -> Outcome {
        let next = self.pc.wrapping_add(2);
        let illegal = Err(Exception::IllegalInstruction(c));
        let (rd, r2) = (bits(c, 11, 7), bits(c, 6, 2));
        let (p1, p2) = (8 + bits(c, 9, 7), 8 + bits(c, 4, 2));
        let imm = signed(bits(c, 12, 12) << 5 | bits(c, 6, 2), 6);
        let word = bits(c, 12, 10) << 3 | bits(c, 6, 6) << 2 | bits(c, 5, 5) << 6;
        let value = |register: u32| self.x[register as usize];
        match (bits(c, 1, 0), bits(c, 15, 13)) {
            (0, 0b000) => {
                let offset = bits(c, 12, 11) << 4
                    | bits(c, 10, 7) << 6
                    | bits(c, 6, 6) << 2
                    | bits(c, 5, 5) << 3;
                if offset == 0 {
                    return illegal;
                }
                self.set(p2, value(2).wrapping_add(offset));
            }
            (0, 0b010) => {
                let loaded = self.load(bus, value(p1).wrapping_add(word), Width::Word)?;
                self.set(p2, loaded);
            }
            (0, 0b110) => self.store(bus, value(p1).wrapping_add(word), value(p2), Width::Word)?,
            (1, 0b000) => self.set(rd, value(rd).wrapping_add_signed(imm)),
            (1, 0b010) => self.set(rd, imm as u32),
            (1, 0b001 | 0b101) => {
                let offset = bits(c, 12, 12) << 11
                    | bits(c, 11, 11) << 4
                    | bits(c, 10, 9) << 8
                    | bits(c, 8, 8) << 10
                    | bits(c, 7, 7) << 6
                    | bits(c, 6, 6) << 7
                    | bits(c, 5, 3) << 1
                    | bits(c, 2, 2) << 5;
                if bits(c, 15, 13) == 0b001 {
                    self.set(1, next);
                }
                return Ok(self.pc.wrapping_add_signed(signed(offset, 12)));
            }
            (1, 0b011) if rd == 2 => {
                let offset = bits(c, 12, 12) << 9
                    | bits(c, 6, 6) << 4
                    | bits(c, 5, 5) << 6
                    | bits(c, 4, 3) << 7
                    | bits(c, 2, 2) << 5;
                if offset == 0 {
                    return illegal;
                }
                self.set(2, value(2).wrapping_add_signed(signed(offset, 10)));
            }
            (1, 0b011) if imm == 0 => return illegal,
            (1, 0b011) => self.set(rd, (imm as u32) << 12),
            (1, 0b100) => {
                let (a, b) = (value(p1), value(p2));
                let wide = bits(c, 12, 12) == 1;
                let result = match (bits(c, 11, 10), wide, bits(c, 6, 5)) {
                    (0b00, false, _) => a >> r2,
                    (0b01, false, _) => ((a as i32) >> r2) as u32,
                    (0b10, _, _) => a & imm as u32,
                    (0b11, false, 0b00) => a.wrapping_sub(b),
                    (0b11, false, 0b01) => a ^ b,
                    (0b11, false, 0b10) => a | b,
                    (0b11, false, 0b11) => a & b,
                    _ => return illegal,
                };
                self.set(p1, result);
            }
            (1, 0b110 | 0b111) => {
                let offset = bits(c, 12, 12) << 8
                    | bits(c, 11, 10) << 3
                    | bits(c, 6, 5) << 6
                    | bits(c, 4, 3) << 1
                    | bits(c, 2, 2) << 5;
                if (value(p1) == 0) == (bits(c, 13, 13) == 0) {
                    return Ok(self.pc.wrapping_add_signed(signed(offset, 9)));
                }
            }
            (2, 0b000) if bits(c, 12, 12) == 0 => self.set(rd, value(rd) << r2),
            (2, 0b010) if rd != 0 => {
                let offset = bits(c, 12, 12) << 5 | bits(c, 6, 4) << 2 | bits(c, 3, 2) << 6;
                let loaded = self.load(bus, value(2).wrapping_add(offset), Width::Word)?;
                self.set(rd, loaded);
            }
            (2, 0b100) => match (bits(c, 12, 12), rd, r2) {
                (0, 0, 0) => return illegal,
                (0, _, 0) => return Ok(value(rd) & !1),
                (0, _, _) => self.set(rd, value(r2)),
                (_, 0, 0) => return Err(Exception::Breakpoint(self.pc)),
                (_, _, 0) => {
                    let target = value(rd) & !1;
                    self.set(1, next);
                    return Ok(target);
                }
                _ => self.set(rd, value(rd).wrapping_add(value(r2))),
            },
            (2, 0b110) => {
                let offset = bits(c, 12, 9) << 2 | bits(c, 8, 7) << 6;
                self.store(bus, value(2).wrapping_add(offset), value(r2), Width::Word)?;
            }
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

    pub fn read_csr(&self, csr: u32) -> Option<u32> {
        let flag = |set: bool, bit: u32| u32::from(set) << bit;
        let trigger = self.triggers[self.tselect];
        Some(match csr {
            0x300 => {
                flag(self.mie, 3)
                    + flag(self.mpie, 7)
                    + flag(self.mpp_machine, 11)
                    + flag(self.mpp_machine, 12)
                    + flag(self.tw, 21)
            }
            0x301 => 0x4010_1104,
            0x305 => self.mtvec,
            0x340 => self.mscratch,
            0x341 => self.mepc,
            0x342 => self.mcause,
            0x343 => self.mtval,
            0x3a0..=0x3a3 => {
                let at = (csr as usize - 0x3a0) * 4;
                (0..4)
                    .map(|k| u32::from(self.pmpcfg[at + k]) << (8 * k))
                    .sum()
            }
            0x3b0..=0x3bf => self.pmpaddr[csr as usize - 0x3b0],
            0x7a0 => self.tselect as u32,
            0x7a1 => {
                0x2000_0000
                    + 0x03e0_0000
                    + flag(trigger.hit, 20)
                    + flag(trigger.napot, 7)
                    + flag(trigger.machine, 6)
                    + flag(trigger.user, 3)
                    + flag(trigger.execute, 2)
                    + flag(trigger.store, 1)
                    + flag(trigger.load, 0)
            }
            0x7a2 => trigger.address,
            0x7a3 => 0,
            0x7a4 => 4,
            0x7a5 => flag(self.mte, 3) + flag(self.mpte, 7),
            0x7e0 => self.mpcer,
            0x7e1 => self.mpcmr,
            0x7e2 => self.mpccr,
            0x803 => self.gpio[0],
            0x804 => 0,
            0x805 => self.gpio[1],
            0xf11 => 0x612,
            0xf12 => 0x8000_0001,
            0xf13 => 1,
            0xf14 => 0,
            _ => return None,
        })
    }

    pub fn write_csr(&mut self, csr: u32, value: u32) {
        let bit = |n: u32| value >> n & 1 == 1;
        match csr {
            0x300 => {
                self.mie = bit(3);
                self.mpie = bit(7);
                self.mpp_machine = bit(11) && bit(12);
                self.tw = bit(21);
            }
            0x305 => self.mtvec = (value & 0xffff_ff00) + 1,
            0x340 => self.mscratch = value,
            0x341 => self.mepc = value & 0xffff_fffe,
            0x342 => self.mcause = value & 0x8000_001f,
            0x343 => self.mtval = value,
            0x3a0..=0x3a3 => {
                for k in 0..4 {
                    let entry = &mut self.pmpcfg[(csr as usize - 0x3a0) * 4 + k];
                    let mut byte = (value >> (8 * k)) as u8 & 0b1001_1111;
                    if byte & 0b11 == 0b10 {
                        byte &= 0b1111_1101;
                    }
                    if *entry < 0x80 {
                        *entry = byte;
                    }
                }
            }
            0x3b0..=0x3bf => {
                let entry = csr as usize - 0x3b0;
                let above_locks = entry < 15 && self.pmpcfg[entry + 1] & 0b1001_1000 == 0b1000_1000;
                if self.pmpcfg[entry] < 0x80 && !above_locks {
                    self.pmpaddr[entry] = value;
                }
            }
            0x7a0 if value < 8 => self.tselect = value as usize,
            0x7a1 => {
                let trigger = &mut self.triggers[self.tselect];
                trigger.hit = bit(20);
                trigger.napot = value >> 7 & 15 == 1;
                trigger.machine = bit(6);
                trigger.user = bit(3);
                trigger.execute = bit(2);
                trigger.store = bit(1);
                trigger.load = bit(0);
            }
            0x7a2 => self.triggers[self.tselect].address = value,
            0x7a5 => (self.mte, self.mpte) = (bit(3), bit(7)),
            0x7e0 => self.mpcer = value & 0x7ff,
            0x7e1 => self.mpcmr = value & 3,
            0x7e2 => {
                self.mpccr = value;
                self.counter_written = true;
            }
            0x803 => self.gpio[0] = value & 0xff,
            0x805 => self.gpio[1] = value & 0xff,
            _ => {}
        }
    }

    /// Whether an armed trigger fires on a byte of the access.
    fn trigger(&mut self, access: Access, address: u32, length: u32) -> bool {
        if self.machine && !self.mte {
            return false;
        }
        let machine = self.machine;
        let mut fired = false;
        for trigger in &mut self.triggers {
            let armed = match access {
                Access::Read => trigger.load,
                Access::Write => trigger.store,
                Access::Run => trigger.execute,
            };
            let mode = if machine {
                trigger.machine
            } else {
                trigger.user
            };
            let compare = u64::from(trigger.address);
            // All ones below and including the lowest zero are not compared.
            let ignored = if trigger.napot {
                compare ^ (compare + 1)
            } else {
                0
            };
            let bytes = u64::from(address)..u64::from(address) + u64::from(length);
            if armed
                && mode
                && bytes
                    .into_iter()
                    .any(|byte| byte | ignored == compare | ignored)
            {
                trigger.hit = true;
                fired = true;
            }
        }
        fired
    }

    fn permitted(&self, access: Access, address: u32, length: u32) -> bool {
        let right = match access {
            Access::Read => 1,
            Access::Write => 2,
            Access::Run => 4,
        };
        let inside = |entry: usize, byte: u64| {
            let top = u64::from(self.pmpaddr[entry]);
            match self.pmpcfg[entry] >> 3 & 3 {
                1 => {
                    let bottom = if entry == 0 {
                        0
                    } else {
                        u64::from(self.pmpaddr[entry - 1])
                    };
                    bottom <= byte / 4 && byte / 4 < top
                }
                2 => byte / 4 == top,
                3 => {
                    let ignored = top ^ (top + 1);
                    (byte / 4) | ignored == top | ignored
                }
                _ => false,
            }
        };
        for entry in 0..16 {
            let matched = (0..length)
                .filter(|k| inside(entry, u64::from(address) + u64::from(*k)))
                .count();
            if matched == length as usize {
                let binding = !self.machine || self.pmpcfg[entry] & 0x80 != 0;
                return !binding || self.pmpcfg[entry] & right != 0;
            }
            if matched > 0 {
                return false;
            }
        }
        self.machine
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
        (1, 5) => {
            if b == 0 {
                u32::MAX
            } else {
                a / b
            }
        }
        (1, 6) => match (sa, sb) {
            (_, 0) => a,
            (i32::MIN, -1) => 0,
            _ => (sa % sb) as u32,
        },
        (1, 7) => {
            if b == 0 {
                a
            } else {
                a % b
            }
        }
        _ => return None,
    })
}
