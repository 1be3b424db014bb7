//! Three guest programs that stand for what firmware does: a tight loop; memory, multiplication and division; CRC-32,
//! sorting and number formatting with calls. RV32IM without compression, so that other simulators run them too.
//!
//! Each ends at `ebreak` with a checksum in a0.

#![allow(missing_docs, unreachable_pub)] // Included by benches and tests alike.

use super::assembler::*;

/// Where kernels keep their data; the code lies below.
pub const DATA: u32 = 0x1_0000;
/// Bytes of RAM a kernel needs, from address 0.
pub const RAM_BYTES: u32 = 0x4_0000;

/// A guest program with its name and the checksum it must end with.
pub struct Kernel {
    pub name: &'static str,
    pub program: Vec<u32>,
    pub checksum: u32,
    /// A word that it never touches, as close to its data as there is one.
    #[allow(dead_code, reason = "for one of the benchmarks")]
    pub beside: u32,
}

/// All three, with this many rounds each.
pub fn all(rounds: u32) -> [Kernel; 3] {
    [
        tight_loop(rounds * 2000),
        arithmetic(rounds),
        library(rounds),
    ]
}

/// k1: a xorshift generator and a sum; six instructions and a branch.
pub fn tight_loop(rounds: u32) -> Kernel {
    let mut a = Assembler::new(0);
    a.li(T0, 2_463_534_242);
    a.li(T1, rounds);
    a.li(A0, 0);
    let again = a.here();
    xorshift(&mut a, T0, T2);
    a.add(A0, A0, T0);
    a.addi(T1, T1, -1);
    a.bne(T1, ZERO, again);
    a.word(EBREAK);

    let (mut x, mut sum) = (2_463_534_242u32, 0u32);
    for _ in 0..rounds {
        x = next(x);
        sum = sum.wrapping_add(x);
    }
    Kernel {
        name: "k1 tight loop",
        program: a.finish(),
        checksum: sum,
        beside: DATA,
    }
}

/// k2: passes over 1024 words with multiplication, division, remainder, and bytes of each word.
pub fn arithmetic(rounds: u32) -> Kernel {
    const WORDS: u32 = 1024;
    let mut a = Assembler::new(0);
    a.li(S0, DATA);
    a.li(S1, rounds);
    a.li(A0, 0);
    a.li(A4, 1_664_525);
    a.li(A5, 1000);
    let round = a.here();
    a.addi(T0, S0, 0);
    a.li(T1, WORDS);
    let each = a.here();
    a.lw(T2, T0, 0);
    a.mul(T3, T2, A4);
    a.add(T3, T3, T1);
    a.divu(T4, T3, A5);
    a.remu(T5, T3, A5);
    a.mulhu(T6, T3, T5);
    a.xor(A0, A0, T4);
    a.add(A0, A0, T6);
    a.sw(T3, T0, 0);
    a.lbu(T2, T0, 1);
    a.sb(T5, T0, 2);
    a.lhu(T6, T0, 2);
    a.add(A0, A0, T2);
    a.add(A0, A0, T6);
    a.addi(T0, T0, 4);
    a.addi(T1, T1, -1);
    a.bne(T1, ZERO, each);
    a.addi(S1, S1, -1);
    a.bne(S1, ZERO, round);
    a.word(EBREAK);

    let mut data = vec![0u32; WORDS as usize];
    let mut sum = 0u32;
    for _ in 0..rounds {
        for (i, word) in data.iter_mut().enumerate() {
            let value = word.wrapping_mul(1_664_525).wrapping_add(WORDS - i as u32);
            let remainder = value % 1000;
            sum ^= value / 1000;
            sum = sum.wrapping_add(((u64::from(value) * u64::from(remainder)) >> 32) as u32);
            *word = value & 0xff00_ffff | (remainder & 0xff) << 16;
            sum = sum
                .wrapping_add(*word >> 8 & 0xff)
                .wrapping_add(*word >> 16);
        }
    }
    Kernel {
        name: "k2 memory, mul, div",
        program: a.finish(),
        checksum: sum,
        beside: DATA + 4 * WORDS,
    }
}

const TABLE: u32 = DATA;
const BUFFER: u32 = DATA + 0x1000;
const NUMBERS: u32 = DATA + 0x3000;
const BUFFER_BYTES: u32 = 1024;
const NUMBERS_COUNT: u32 = 64;

/// k3: fills a buffer, takes its CRC-32 by table, sorts numbers by insertion, formats them in decimal into the buffer.
pub fn library(rounds: u32) -> Kernel {
    let mut a = Assembler::new(0);
    let (crc, fill, sort, format) = (a.label(), a.label(), a.label(), a.label());
    a.li(S0, TABLE);
    a.li(S1, BUFFER);
    a.li(S2, NUMBERS);
    a.li(S3, rounds);
    a.li(S4, 2_463_534_242);
    a.li(S5, 0);
    make_crc_table(&mut a);
    let round = a.here();
    for function in [fill, sort, format, crc] {
        a.jal(RA, function);
    }
    a.addi(S3, S3, -1);
    a.bne(S3, ZERO, round);
    a.addi(A0, S5, 0);
    a.word(EBREAK);

    // Numbers from the generator in s4.
    a.bind(fill);
    a.addi(T0, S2, 0);
    a.li(T1, NUMBERS_COUNT);
    let each = a.here();
    xorshift(&mut a, S4, T2);
    a.sw(S4, T0, 0);
    a.addi(T0, T0, 4);
    a.addi(T1, T1, -1);
    a.bne(T1, ZERO, each);
    a.ret();

    // Insertion sort: t0 = index, t1 = value, t2 = place, t3 = neighbour.
    a.bind(sort);
    a.li(T0, 1);
    a.li(T4, NUMBERS_COUNT);
    let (outer, inner, place) = (a.here(), a.label(), a.label());
    a.slli(T2, T0, 2);
    a.add(T2, T2, S2);
    a.lw(T1, T2, 0);
    a.bind(inner);
    a.beq(T2, S2, place);
    a.lw(T3, T2, -4);
    a.bgeu(T1, T3, place);
    a.sw(T3, T2, 0);
    a.addi(T2, T2, -4);
    a.jal(ZERO, inner);
    a.bind(place);
    a.sw(T1, T2, 0);
    a.addi(T0, T0, 1);
    a.bne(T0, T4, outer);
    a.ret();

    // Decimal digits of each number, lowest first, one blank behind each: t0 = number, t1 = out, t2 = count.
    a.bind(format);
    a.addi(T1, S1, 0);
    a.addi(T3, S2, 0);
    a.li(T2, NUMBERS_COUNT);
    a.li(T4, 10);
    let number = a.here();
    a.lw(T0, T3, 0);
    let digit = a.here();
    a.remu(T5, T0, T4);
    a.divu(T0, T0, T4);
    a.addi(T5, T5, 48);
    a.sb(T5, T1, 0);
    a.addi(T1, T1, 1);
    a.bne(T0, ZERO, digit);
    a.li(T5, 32);
    a.sb(T5, T1, 0);
    a.addi(T1, T1, 1);
    a.addi(T3, T3, 4);
    a.addi(T2, T2, -1);
    a.bne(T2, ZERO, number);
    a.ret();

    // CRC-32 of the buffer, xored into s5.
    a.bind(crc);
    a.addi(T0, S1, 0);
    a.li(T1, BUFFER + BUFFER_BYTES);
    a.addi(T2, ZERO, -1);
    let byte = a.here();
    a.lbu(T3, T0, 0);
    a.xor(T3, T3, T2);
    a.andi(T3, T3, 255);
    a.slli(T3, T3, 2);
    a.add(T3, T3, S0);
    a.lw(T3, T3, 0);
    a.srli(T2, T2, 8);
    a.xor(T2, T2, T3);
    a.addi(T0, T0, 1);
    a.bne(T0, T1, byte);
    a.xor(S5, S5, T2);
    a.ret();

    Kernel {
        name: "k3 crc, sort, format",
        program: a.finish(),
        checksum: library_checksum(rounds),
        // Behind the table of the CRC.
        beside: TABLE + 0x400,
    }
}

/// 256 entries of the reflected polynomial 0xEDB88320 at s0.
fn make_crc_table(a: &mut Assembler) {
    a.li(T0, 0);
    a.li(T5, 0xedb8_8320);
    a.li(T6, 256);
    let entry = a.here();
    a.addi(T1, T0, 0);
    a.li(T2, 8);
    let bit = a.here();
    let even = a.label();
    a.andi(T3, T1, 1);
    a.srli(T1, T1, 1);
    a.beq(T3, ZERO, even);
    a.xor(T1, T1, T5);
    a.bind(even);
    a.addi(T2, T2, -1);
    a.bne(T2, ZERO, bit);
    a.slli(T3, T0, 2);
    a.add(T3, T3, S0);
    a.sw(T1, T3, 0);
    a.addi(T0, T0, 1);
    a.bne(T0, T6, entry);
}

fn library_checksum(rounds: u32) -> u32 {
    let mut buffer = vec![0u8; BUFFER_BYTES as usize];
    let (mut x, mut sum) = (2_463_534_242u32, 0u32);
    for _ in 0..rounds {
        let mut numbers: Vec<u32> = (0..NUMBERS_COUNT)
            .map(|_| {
                x = next(x);
                x
            })
            .collect();
        numbers.sort_unstable();
        let text = numbers.iter().flat_map(|number| {
            let mut digits: Vec<u8> = number.to_string().into_bytes();
            digits.reverse();
            digits.push(b' ');
            digits
        });
        for (at, byte) in buffer.iter_mut().zip(text) {
            *at = byte;
        }
        let mut crc = u32::MAX;
        for byte in &buffer {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ (crc & 1).wrapping_neg() & 0xedb8_8320;
            }
        }
        sum ^= crc;
    }
    sum
}

fn xorshift(a: &mut Assembler, x: u32, scratch: u32) {
    a.slli(scratch, x, 13);
    a.xor(x, x, scratch);
    a.srli(scratch, x, 17);
    a.xor(x, x, scratch);
    a.slli(scratch, x, 5);
    a.xor(x, x, scratch);
}

fn next(mut x: u32) -> u32 {
    x ^= x << 13;
    x ^= x >> 17;
    x ^ x << 5
}
