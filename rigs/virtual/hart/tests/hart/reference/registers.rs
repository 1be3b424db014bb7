//! The reference hart's CSRs, triggers and memory protection.

use super::{Access, Reference};

impl Reference {
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
    pub(super) fn trigger(&mut self, access: Access, address: u32, length: u32) -> bool {
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

    pub(super) fn permitted(&self, access: Access, address: u32, length: u32) -> bool {
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
