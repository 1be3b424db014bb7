//! Compressed instructions by hand-made encodings, so that a mistake shared by both implementations shows too.
//!
//! The parcels were taken from a GNU assembler's listing of the mnemonic beside each.

use crate::machine::{CODE, DATA, Machine};

/// Executes one parcel with x8 = DATA, x9 = 5, x10 = -8, sp = DATA + 256; gives the register asked for.
#[track_caller]
fn check(parcel: u16, mnemonic: &str, register: u8, expected: u32) {
    let mut machine = Machine::new(|_| {});
    machine.bus.ram.write(CODE, &parcel.to_le_bytes());
    machine.bus.ram.write(DATA, &0x1122_3344u32.to_le_bytes());
    machine
        .bus
        .ram
        .write(DATA + 0x7c, &0x5566_7788u32.to_le_bytes());
    machine
        .bus
        .ram
        .write(DATA + 256 + 0x10, &0x99aa_bbccu32.to_le_bytes());
    for (number, value) in [
        (2, DATA + 256),
        (8, DATA),
        (9, 5),
        (10, 0u32.wrapping_sub(8)),
    ] {
        machine.hart.set_x(number, value);
    }
    machine.step();
    let observed = match register {
        PC => machine.hart.pc(),
        register => machine.hart.x(register),
    };
    assert_eq!(
        observed, expected,
        "{mnemonic}: {observed:#x}, not {expected:#x}"
    );
}

/// Stands for `pc` in `check`.
const PC: u8 = 255;

#[test]
fn compressed_instructions() {
    check(0x0028, "addi a0, sp, 8", 10, DATA + 264);
    check(0x4008, "lw a0, 0(s0)", 10, 0x1122_3344);
    check(0x5c68, "lw a0, 124(s0)", 10, 0x5566_7788);
    check(0x14fd, "addi s1, s1, -1", 9, 4);
    check(0x5529, "li a0, -22", 10, 0u32.wrapping_sub(22));
    check(0x6505, "lui a0, 1", 10, 0x1000);
    check(0x757d, "lui a0, 0xfffff", 10, 0xffff_f000);
    check(0x1101, "addi sp, sp, -32", 2, DATA + 224);
    check(0x7139, "addi sp, sp, -64", 2, DATA + 192);
    check(0x6105, "addi sp, sp, 32", 2, DATA + 288);
    check(0x8111, "srli a0, a0, 4", 10, 0x0fff_ffff);
    check(0x8511, "srai a0, a0, 4", 10, 0xffff_ffff);
    check(0x8941, "andi a0, a0, 16", 10, 16);
    check(0x8d05, "sub a0, a0, s1", 10, 0u32.wrapping_sub(13));
    check(0x8d25, "xor a0, a0, s1", 10, 0xffff_fffd);
    check(0x8d45, "or a0, a0, s1", 10, 0xffff_fffd);
    check(0x8d65, "and a0, a0, s1", 10, 0);
    check(0x0512, "slli a0, a0, 4", 10, 0xffff_ff80);
    check(0x4542, "lw a0, 16(sp)", 10, 0x99aa_bbcc);
    check(0x8526, "mv a0, s1", 10, 5);
    check(0x9526, "add a0, a0, s1", 10, 0u32.wrapping_sub(3));
    check(0xa001, "j .", PC, CODE);
    check(0xbffd, "j .-2", PC, CODE - 2);
    check(0x2001, "jal .", 1, CODE + 2);
    check(0x8402, "jr s0", PC, DATA);
    check(0x9402, "jalr s0", 1, CODE + 2);
    check(0xc081, "beqz s1, .", PC, CODE + 2);
    check(0xe081, "bnez s1, .", PC, CODE);
    check(0xfcfd, "bnez s1, .-2", PC, CODE - 2);
    check(0x0001, "nop", PC, CODE + 2);
}

#[test]
fn compressed_stores() {
    let mut machine = Machine::new(|_| {});
    // sw a0, 4(s0); sw s1, 12(sp)
    machine.bus.ram.write(CODE, &[0x48, 0xc0, 0x26, 0xc6]);
    for (number, value) in [(2, DATA + 256), (8, DATA), (9, 5), (10, 7)] {
        machine.hart.set_x(number, value);
    }
    machine.run(2);
    assert_eq!((machine.word(DATA + 4), machine.word(DATA + 268)), (7, 5));
}
