//! The compressed instructions of the reference hart.

use virtual_hart::{Bus, Exception, Width};

use super::{Outcome, Reference, bits, signed};

impl Reference {
    /// Quadrants as printed in the manual, executed directly, without going through the 32-bit form.
    pub(super) fn compressed<B: Bus>(&mut self, bus: &mut B, c: u32) -> Outcome {
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
}
