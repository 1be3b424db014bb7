//! Each instruction by itself: operands in, result out. The expected values come from the manual's definitions, not
//! from either implementation.

use virtual_hart::Stop;

use crate::assembler::*;
use crate::machine::{CODE, DATA, Machine};

/// Runs `instruction` with a1 and a2 set; expects `expected` in a0 and the next `pc`.
#[track_caller]
fn check(instruction: u32, a1: u32, a2: u32, expected: u32) {
    let mut machine = Machine::new(|a| a.word(instruction));
    machine.hart.set_x(11, a1);
    machine.hart.set_x(12, a2);
    assert_eq!(machine.step(), Stop::Deadline);
    assert_eq!(
        machine.hart.x(10),
        expected,
        "{instruction:#010x} of {a1:#x} and {a2:#x}"
    );
    assert_eq!(machine.hart.pc(), CODE + 4);
    assert_eq!((machine.hart.cycles(), machine.hart.instructions()), (1, 1));
}

#[test]
fn register_operations() {
    const MIN: u32 = 0x8000_0000;
    const M1: u32 = u32::MAX;
    let cases = [
        // funct7, funct3, a1, a2, result
        (0x00, 0, 3, 4, 7),
        (0x00, 0, M1, 1, 0),
        (0x20, 0, 3, 4, M1),
        (0x00, 1, 1, 33, 2),
        (0x00, 1, 1, 31, MIN),
        (0x00, 2, M1, 0, 1),
        (0x00, 2, 0, M1, 0),
        (0x00, 2, 5, 5, 0),
        (0x00, 3, 5, 5, 0),
        (0x00, 3, M1, 0, 0),
        (0x00, 3, 0, M1, 1),
        (0x00, 4, 0xff00, 0x0ff0, 0xf0f0),
        (0x00, 5, MIN, 31, 1),
        (0x20, 5, MIN, 31, M1),
        (0x20, 5, MIN, 32, MIN),
        (0x00, 6, 0xff00, 0x0ff0, 0xfff0),
        (0x00, 7, 0xff00, 0x0ff0, 0x0f00),
        (0x01, 0, 0x1_0001, 0x1_0001, 0x2_0001),
        (0x01, 1, M1, M1, 0),
        (0x01, 1, MIN, MIN, 0x4000_0000),
        (0x01, 2, M1, M1, M1),
        (0x01, 2, MIN, 2, M1),
        (0x01, 3, M1, M1, 0xffff_fffe),
        (0x01, 4, 7, 0u32.wrapping_sub(2), 0u32.wrapping_sub(3)),
        (0x01, 4, 7, 0, M1),
        (0x01, 4, MIN, M1, MIN),
        (0x01, 5, M1, 2, 0x7fff_ffff),
        (0x01, 5, 7, 0, M1),
        (0x01, 6, 0u32.wrapping_sub(7), 2, M1),
        (0x01, 6, 7, 0, 7),
        (0x01, 6, MIN, M1, 0),
        (0x01, 7, M1, 10, 5),
        (0x01, 7, 7, 0, 7),
    ];
    for (funct7, funct3, a1, a2, expected) in cases {
        check(r_type(funct7, A2, A1, funct3, A0), a1, a2, expected);
    }
}

#[test]
fn immediate_operations() {
    let m1 = u32::MAX;
    let cases = [
        // funct3, immediate, a1, result
        (0, -1, 0, m1),
        (0, 2047, 1, 2048),
        (0, 0, 0x1234_5678, 0x1234_5678),
        (2, -1, 0u32.wrapping_sub(2), 1),
        (2, 0, 1, 0),
        (2, 5, 5, 0),
        (3, 5, 5, 0),
        (3, -1, 5, 1),
        (3, 1, 0, 1),
        (4, -1, 0x0f0f_0f0f, 0xf0f0_f0f0),
        (6, 0x700, 0x0ff, 0x7ff),
        (7, -16, 0xff, 0xf0),
        (1, 31, 3, 0x8000_0000),
        (5, 4, 0x8000_0000, 0x0800_0000),
        (5, 0x404, 0x8000_0000, 0xf800_0000),
    ];
    for (funct3, imm, a1, expected) in cases {
        check(i_type(0x13, imm, A1, funct3, A0), a1, 0, expected);
    }
}

#[test]
fn upper_immediates() {
    check(0xabcd_e000 | A0 << 7 | 0x37, 0, 0, 0xabcd_e000);
    check(0x1000 | A0 << 7 | 0x17, 0, 0, CODE + 0x1000);
}

#[test]
fn loads_extend_as_they_say() {
    for (funct3, expected) in [
        (0, 0xffff_ff81),
        (1, 0xffff_8281),
        (2, 0x8483_8281),
        (4, 0x81),
        (5, 0x8281),
    ] {
        let mut machine = Machine::new(|a| a.word(i_type(0x03, -4, A1, funct3, A0)));
        machine.bus.ram.write(DATA, &[0x81, 0x82, 0x83, 0x84]);
        machine.hart.set_x(11, DATA + 4);
        machine.step();
        assert_eq!(machine.hart.x(10), expected, "load with funct3 {funct3}");
    }
}

#[test]
fn stores_write_their_width_only() {
    for (funct3, expected) in [(0, 0xffff_ff44), (1, 0xffff_3344), (2, 0x1122_3344)] {
        let mut machine = Machine::new(|a| a.word(s_type(8, A2, A1, funct3)));
        machine.bus.ram.write(DATA + 8, &[0xff; 8]);
        machine.hart.set_x(11, DATA);
        machine.hart.set_x(12, 0x1122_3344);
        machine.step();
        assert_eq!(
            machine.word(DATA + 8),
            expected,
            "store with funct3 {funct3}"
        );
        assert_eq!(machine.word(DATA + 12), 0xffff_ffff);
    }
}

#[test]
fn branches_go_where_their_condition_says() {
    let m1 = u32::MAX;
    let cases = [
        // funct3, a1, a2, taken
        (0, 5, 5, true),
        (0, 5, 6, false),
        (1, 5, 5, false),
        (1, 5, 6, true),
        (4, m1, 0, true),
        (4, 0, m1, false),
        (4, 3, 3, false),
        (5, m1, 0, false),
        (5, 3, 3, true),
        (6, m1, 0, false),
        (6, 0, m1, true),
        (7, m1, 0, true),
        (7, 3, 3, true),
    ];
    for (funct3, a1, a2, taken) in cases {
        for distance in [-64, 4094] {
            let mut machine = Machine::new(|a| a.word(b_type(distance, A2, A1, funct3)));
            machine.hart.set_x(11, a1);
            machine.hart.set_x(12, a2);
            machine.step();
            let expected = if taken {
                CODE.wrapping_add_signed(distance)
            } else {
                CODE + 4
            };
            assert_eq!(
                machine.hart.pc(),
                expected,
                "branch {funct3} on {a1:#x}, {a2:#x}"
            );
        }
    }
}

#[test]
fn jumps_link() {
    for distance in [-1024, 2046, 0x3000] {
        let mut machine = Machine::new(|a| a.word(j_type(distance, RA)));
        machine.step();
        assert_eq!(machine.hart.pc(), CODE.wrapping_add_signed(distance));
        assert_eq!(machine.hart.x(1), CODE + 4);
    }
    // The target is taken before the link is written, and bit 0 is dropped.
    let mut machine = Machine::new(|a| a.jalr(A1, A1, 3));
    machine.hart.set_x(11, DATA);
    machine.step();
    assert_eq!(machine.hart.pc(), DATA + 2);
    assert_eq!(machine.hart.x(11), CODE + 4);
}

#[test]
fn x0_stays_zero() {
    let mut machine = Machine::new(|a| {
        a.addi(ZERO, ZERO, 5);
        a.jalr(ZERO, A1, 0);
    });
    machine.write(DATA, |a| {
        a.lw(ZERO, A1, 0);
        a.word(csrrs(ZERO, 0x301, ZERO));
        a.addi(A0, ZERO, 0);
    });
    machine.hart.set_x(10, 9);
    machine.hart.set_x(11, DATA);
    machine.run(5);
    assert_eq!(machine.hart.x(10), 0);
    machine.hart.set_x(0, 7);
    assert_eq!(machine.hart.x(0), 0);
}
