//! CRCs and MD5, as the ROM has them.
//!
//! The CRC functions take and give the complement of the register, so that calls chain.

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_0614, "MD5Init", md5_init),
    function(0x4000_0618, "MD5Update", md5_update),
    function(0x4000_061C, "MD5Final", md5_final),
    function(0x4000_0628, "crc32_le", |call| crc(call, LE32)),
    function(0x4000_062C, "crc32_be", |call| crc(call, BE32)),
    function(0x4000_0630, "crc16_le", |call| crc(call, LE16)),
    function(0x4000_0634, "crc16_be", |call| crc(call, BE16)),
    function(0x4000_0638, "crc8_le", |call| crc(call, LE8)),
    function(0x4000_063C, "crc8_be", |call| crc(call, BE8)),
    function(0x4000_0640, "esp_crc8", esp_crc8),
];

/// A CRC's width and polynomial; `reflected` ones shift right.
#[derive(Clone, Copy)]
struct Polynomial {
    bits: u32,
    value: u32,
    reflected: bool,
}

const fn polynomial(bits: u32, value: u32, reflected: bool) -> Polynomial {
    Polynomial {
        bits,
        value,
        reflected,
    }
}

const LE32: Polynomial = polynomial(32, 0xEDB8_8320, true);
const BE32: Polynomial = polynomial(32, 0x04C1_1DB7, false);
const LE16: Polynomial = polynomial(16, 0x8408, true);
const BE16: Polynomial = polynomial(16, 0x1021, false);
const LE8: Polynomial = polynomial(8, 0xE0, true);
const BE8: Polynomial = polynomial(8, 0x07, false);
/// CRC-8 of MAC addresses in eFuse (x^8 + x^5 + x^4 + 1), without complement.
const MAC8: Polynomial = polynomial(8, 0x8C, true);

const CYCLES_PER_BYTE: u64 = 8;

impl Polynomial {
    fn mask(self) -> u32 {
        u32::MAX >> (32 - self.bits)
    }

    fn update(self, mut register: u32, byte: u8) -> u32 {
        let top = 1_u32 << (self.bits - 1);
        if self.reflected {
            register ^= u32::from(byte);
            for _ in 0..8 {
                let carry = register & 1 != 0;
                register = register >> 1 ^ if carry { self.value } else { 0 };
            }
        } else {
            register ^= u32::from(byte) << (self.bits - 8);
            for _ in 0..8 {
                let carry = register & top != 0;
                register = (register << 1 ^ if carry { self.value } else { 0 }) & self.mask();
            }
        }
        register
    }

    fn over(self, initial: u32, bytes: &[u8]) -> u32 {
        bytes.iter().fold(initial & self.mask(), |register, byte| {
            self.update(register, *byte)
        })
    }
}

/// The ROM's `crc32_le`: `initial` and the result are complements of the register.
pub(crate) fn crc32_le(initial: u32, bytes: &[u8]) -> u32 {
    !LE32.over(!initial, bytes)
}

/// Argument 1 and 2: address and length.
fn bytes_of(call: &mut Call<'_>) -> Result<Vec<u8>, RomFault> {
    let (from, length) = (call.argument(1), call.argument(2));
    let mut bytes = vec![0; length.min(MEMORY_BYTES_MAX) as usize];
    call.host.read_bytes(from, &mut bytes)?;
    Ok(bytes)
}

/// No memory of the chip is longer: a longer read faults at its end.
const MEMORY_BYTES_MAX: u32 = 16 * 1024 * 1024;

fn crc(call: &mut Call<'_>, polynomial: Polynomial) -> Result<u64, RomFault> {
    let bytes = bytes_of(call)?;
    let result = !polynomial.over(!call.argument(0), &bytes) & polynomial.mask();
    call.answer(result);
    Ok(20 + bytes.len() as u64 * CYCLES_PER_BYTE)
}

/// Address and length; the register starts at 0.
fn esp_crc8(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (from, length) = (call.argument(0), call.argument(1));
    let mut bytes = vec![0; length.min(MEMORY_BYTES_MAX) as usize];
    call.host.read_bytes(from, &mut bytes)?;
    call.answer(MAC8.over(0, &bytes));
    Ok(20 + bytes.len() as u64 * CYCLES_PER_BYTE)
}

/// The MD5 of `bytes` (RFC 1321).
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut state = Md5::START;
    state.update(bytes);
    state.finish()
}

/// The ROM's `MD5Context`: 88 bytes in the caller's memory, which it may move about.
#[derive(Clone)]
struct Md5 {
    words: [u32; 4],
    bytes: u64,
    pending: [u8; 64],
}

const MD5_CONTEXT_BYTES: usize = 88;
const MD5_CYCLES_PER_BYTE: u64 = 12;

impl Md5 {
    const START: Md5 = Md5 {
        words: [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476],
        bytes: 0,
        pending: [0; 64],
    };

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = (self.bytes % 64) as usize;
            let part = bytes.len().min(64 - filled);
            self.pending[filled..filled + part].copy_from_slice(&bytes[..part]);
            self.bytes += part as u64;
            bytes = &bytes[part..];
            if filled + part == 64 {
                self.block();
            }
        }
    }

    fn finish(mut self) -> [u8; 16] {
        let bits = self.bytes.wrapping_mul(8);
        self.update(&[0x80]);
        while self.bytes % 64 != 56 {
            self.update(&[0]);
        }
        self.update(&bits.to_le_bytes());
        let mut digest = [0; 16];
        for (to, word) in digest.chunks_exact_mut(4).zip(self.words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    fn block(&mut self) {
        const SHIFTS: [[u32; 4]; 4] = [
            [7, 12, 17, 22],
            [5, 9, 14, 20],
            [4, 11, 16, 23],
            [6, 10, 15, 21],
        ];
        let mut message = [0_u32; 16];
        for (word, bytes) in message.iter_mut().zip(self.pending.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [mut a, mut b, mut c, mut d] = self.words;
        for step in 0..64 {
            let (mix, index) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            // Table T of the RFC: 2^32 times the sine of the step's number.
            let sine = (f64::from(step as u32 + 1).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a
                .wrapping_add(mix)
                .wrapping_add(sine)
                .wrapping_add(message[index % 16]);
            let turned = sum.rotate_left(SHIFTS[step / 16][step % 4]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (word, add) in self.words.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(add);
        }
    }

    fn load(call: &mut Call<'_>, address: u32) -> Result<Md5, RomFault> {
        let mut raw = [0; MD5_CONTEXT_BYTES];
        call.host.read_bytes(address, &mut raw)?;
        let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let bits = u64::from(word(16)) | u64::from(word(20)) << 32;
        let mut pending = [0; 64];
        pending.copy_from_slice(&raw[24..]);
        Ok(Md5 {
            words: [word(0), word(4), word(8), word(12)],
            bytes: bits / 8,
            pending,
        })
    }

    fn store(&self, call: &mut Call<'_>, address: u32) -> Result<(), RomFault> {
        let mut raw = Vec::with_capacity(MD5_CONTEXT_BYTES);
        for word in self.words {
            raw.extend(word.to_le_bytes());
        }
        raw.extend(self.bytes.wrapping_mul(8).to_le_bytes());
        raw.extend(self.pending);
        call.host.write_bytes(address, &raw)
    }
}

fn md5_init(call: &mut Call<'_>) -> Result<u64, RomFault> {
    Md5::START.store(call, call.argument(0))?;
    Ok(40)
}

fn md5_update(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let context = call.argument(0);
    let mut state = Md5::load(call, context)?;
    let bytes = bytes_of(call)?;
    state.update(&bytes);
    state.store(call, context)?;
    Ok(40 + bytes.len() as u64 * MD5_CYCLES_PER_BYTE)
}

fn md5_final(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, context) = (call.argument(0), call.argument(1));
    let digest = Md5::load(call, context)?.finish();
    call.host.write_bytes(to, &digest)?;
    call.host.write_bytes(context, &[0; MD5_CONTEXT_BYTES])?;
    Ok(40 + 64 * MD5_CYCLES_PER_BYTE)
}

#[cfg(test)]
mod tests {
    use super::super::host::TestHost;
    use super::super::{RomHost as _, RomState};
    use super::*;

    const TEXT: &[u8] = b"123456789";

    #[test]
    fn crcs_match_the_catalogue() {
        // Check values of the CRC catalogue: ISO-HDLC, BZIP2, X-25, GENIBUS, ROHC-like and the eFuse MAC's.
        let check = |name: &str, initial: u32, expected: u32| {
            let mut host = TestHost::new();
            host.write_bytes(TestHost::MEMORY, TEXT).unwrap();
            let arguments = [initial, TestHost::MEMORY, 9];
            let (result, _) = host.call(&mut RomState::default(), name, &arguments);
            assert_eq!(result, expected, "{name}: {result:#x}");
        };
        check("crc32_le", 0, 0xCBF4_3926);
        check("crc32_be", 0, 0xFC89_1918);
        check("crc16_le", 0, 0x906E);
        check("crc16_be", 0, 0xD64E);
        check("crc8_be", 0xFF, 0xF4 ^ 0xFF);
        check("crc8_le", 0, 0xD0 ^ 0xFF);
        assert_eq!(MAC8.over(0, TEXT), 0xA1);
    }

    #[test]
    fn crcs_chain() {
        let whole = crc32_le(0, TEXT);
        assert_eq!(crc32_le(crc32_le(0, &TEXT[..4]), &TEXT[4..]), whole);
    }

    #[test]
    fn md5_matches_the_rfc() {
        let check = |text: &str, expected: &str| {
            let hex: String = md5(text.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, expected, "{text:?}");
        };
        check("", "d41d8cd98f00b204e9800998ecf8427e");
        check("abc", "900150983cd24fb0d6963f7d28e17f72");
        check(
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        );
    }

    #[test]
    fn md5_in_pieces_with_the_context_moved() {
        let mut host = TestHost::new();
        let mut state = RomState::default();
        let (text, context, moved) = (
            TestHost::MEMORY,
            TestHost::MEMORY + 0x100,
            TestHost::MEMORY + 0x200,
        );
        host.write_bytes(text, TEXT).unwrap();
        host.call(&mut state, "MD5Init", &[context]);
        host.call(&mut state, "MD5Update", &[context, text, 4]);
        host.memory.copy_within(0x100..0x158, 0x200);
        host.call(&mut state, "MD5Update", &[moved, text + 4, 5]);
        host.call(&mut state, "MD5Final", &[text, moved]);
        assert_eq!(host.memory[..16], md5(TEXT));
    }
}
