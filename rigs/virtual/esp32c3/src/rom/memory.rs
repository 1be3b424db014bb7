//! `memset`, `memcpy` and the string functions: newlib's, as the ROM has them.
//!
//! Cycles: about one per byte for short runs, a word per cycle beyond, plus the call.

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_0354, "memset", memset),
    function(0x4000_0358, "memcpy", memmove),
    function(0x4000_035C, "memmove", memmove),
    function(0x4000_0360, "memcmp", memcmp),
    function(0x4000_0364, "strcpy", strcpy),
    function(0x4000_0368, "strncpy", strncpy),
    function(0x4000_036C, "strcmp", strcmp),
    function(0x4000_0370, "strncmp", strncmp),
    function(0x4000_0374, "strlen", strlen),
    function(0x4000_0378, "strstr", strstr),
    function(0x4000_037C, "bzero", bzero),
    function(0x4000_03C8, "memchr", memchr),
    function(0x4000_03D0, "strcasecmp", strcasecmp),
    function(0x4000_03D8, "strcat", strcat),
    function(0x4000_03E0, "strchr", strchr),
    function(0x4000_03F0, "strlcpy", strlcpy),
    function(0x4000_0424, "abs", abs),
    function(0x4000_0814, "__gcc_bcmp", memcmp),
];

/// Bytes moved at once: a wild length faults at the end of memory before the host allocates gigabytes.
const CHUNK_BYTES: u32 = 0x1000;

fn block_cycles(bytes: u32) -> u64 {
    12 + u64::from(bytes).div_ceil(4) * 2
}

fn string_cycles(bytes: usize) -> u64 {
    10 + bytes as u64 * 4
}

fn memset(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, value, length) = (call.argument(0), call.argument(1) as u8, call.argument(2));
    fill(call, to, value, length)
}

fn bzero(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, length) = (call.argument(0), call.argument(1));
    fill(call, to, 0, length)
}

fn fill(call: &mut Call<'_>, to: u32, value: u8, length: u32) -> Result<u64, RomFault> {
    let bytes = [value; CHUNK_BYTES as usize];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(CHUNK_BYTES);
        call.host
            .write_bytes(to.wrapping_add(done), &bytes[..part as usize])?;
        done += part;
    }
    Ok(block_cycles(length))
}

/// `memcpy` too: the difference is only in what is undefined.
fn memmove(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, from, length) = (call.argument(0), call.argument(1), call.argument(2));
    let mut buffer = [0; CHUNK_BYTES as usize];
    // Upwards or downwards, so that what is still to be read is not overwritten.
    let downwards = to.wrapping_sub(from) < length;
    let mut done = 0;
    while done < length {
        let part = (length - done).min(CHUNK_BYTES);
        let at = if downwards {
            length - done - part
        } else {
            done
        };
        let bytes = &mut buffer[..part as usize];
        call.host.read_bytes(from.wrapping_add(at), bytes)?;
        call.host.write_bytes(to.wrapping_add(at), bytes)?;
        done += part;
    }
    Ok(block_cycles(length))
}

fn memcmp(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (left, right, length) = (call.argument(0), call.argument(1), call.argument(2));
    let mut buffers = [[0; 256]; 2];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(256);
        let [a, b] = &mut buffers;
        let (a, b) = (&mut a[..part as usize], &mut b[..part as usize]);
        call.host.read_bytes(left.wrapping_add(done), a)?;
        call.host.read_bytes(right.wrapping_add(done), b)?;
        if let Some(at) = a.iter().zip(b.iter()).position(|(a, b)| a != b) {
            call.answer((i32::from(a[at]) - i32::from(b[at])) as u32);
            return Ok(block_cycles(done + at as u32));
        }
        done += part;
    }
    call.answer(0);
    Ok(block_cycles(length))
}

fn memchr(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (from, wanted, length) = (call.argument(0), call.argument(1) as u8, call.argument(2));
    for at in 0..length {
        let address = from.wrapping_add(at);
        if call.load_byte(address)? == wanted {
            call.answer(address);
            return Ok(string_cycles(at as usize));
        }
    }
    call.answer(0);
    Ok(string_cycles(length as usize))
}

/// The bytes before the terminating zero, at most `limit` of them.
pub(super) fn string(call: &mut Call<'_>, from: u32, limit: u32) -> Result<Vec<u8>, RomFault> {
    let mut bytes = Vec::new();
    while (bytes.len() as u32) < limit {
        match call.load_byte(from.wrapping_add(bytes.len() as u32))? {
            0 => break,
            byte => bytes.push(byte),
        }
    }
    Ok(bytes)
}

fn write_string(call: &mut Call<'_>, to: u32, mut bytes: Vec<u8>) -> Result<(), RomFault> {
    bytes.push(0);
    call.host.write_bytes(to, &bytes)
}

fn strlen(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let bytes = string(call, call.argument(0), u32::MAX)?;
    call.answer(bytes.len() as u32);
    Ok(string_cycles(bytes.len()))
}

fn strcpy(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let bytes = string(call, call.argument(1), u32::MAX)?;
    let cycles = string_cycles(bytes.len());
    write_string(call, call.argument(0), bytes)?;
    Ok(cycles)
}

fn strcat(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let to = call.argument(0);
    let end = to.wrapping_add(string(call, to, u32::MAX)?.len() as u32);
    let bytes = string(call, call.argument(1), u32::MAX)?;
    let cycles = string_cycles(bytes.len());
    write_string(call, end, bytes)?;
    Ok(cycles)
}

/// Fills the rest of the destination with zeros, and leaves no terminator when there is no room.
fn strncpy(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, from, length) = (call.argument(0), call.argument(1), call.argument(2));
    let bytes = string(call, from, length)?;
    call.host.write_bytes(to, &bytes)?;
    let copied = bytes.len() as u32;
    fill(call, to.wrapping_add(copied), 0, length - copied)?;
    call.answer(to);
    Ok(string_cycles(length as usize))
}

/// Always terminates; answers the length of the source.
fn strlcpy(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, from, size) = (call.argument(0), call.argument(1), call.argument(2));
    let mut bytes = string(call, from, u32::MAX)?;
    let whole = bytes.len();
    if size > 0 {
        bytes.truncate(size as usize - 1);
        write_string(call, to, bytes)?;
    }
    call.answer(whole as u32);
    Ok(string_cycles(whole))
}

fn strcmp(call: &mut Call<'_>) -> Result<u64, RomFault> {
    compare(call, u32::MAX, |byte| byte)
}

fn strncmp(call: &mut Call<'_>) -> Result<u64, RomFault> {
    compare(call, call.argument(2), |byte| byte)
}

fn strcasecmp(call: &mut Call<'_>) -> Result<u64, RomFault> {
    compare(call, u32::MAX, |byte| byte.to_ascii_lowercase())
}

fn compare(call: &mut Call<'_>, limit: u32, fold: fn(u8) -> u8) -> Result<u64, RomFault> {
    let (left, right) = (call.argument(0), call.argument(1));
    let mut at = 0;
    let mut difference = 0;
    while at < limit {
        let a = fold(call.load_byte(left.wrapping_add(at))?);
        let b = fold(call.load_byte(right.wrapping_add(at))?);
        difference = i32::from(a) - i32::from(b);
        if difference != 0 || a == 0 {
            break;
        }
        at += 1;
    }
    call.answer(difference as u32);
    Ok(string_cycles(at as usize))
}

fn strchr(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (from, wanted) = (call.argument(0), call.argument(1) as u8);
    let mut bytes = string(call, from, u32::MAX)?;
    bytes.push(0);
    let found = bytes.iter().position(|byte| *byte == wanted);
    call.answer(found.map_or(0, |at| from.wrapping_add(at as u32)));
    Ok(string_cycles(found.unwrap_or(bytes.len())))
}

fn strstr(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let from = call.argument(0);
    let hay = string(call, from, u32::MAX)?;
    let needle = string(call, call.argument(1), u32::MAX)?;
    let found = if needle.is_empty() {
        Some(0)
    } else {
        hay.windows(needle.len()).position(|part| part == needle)
    };
    call.answer(found.map_or(0, |at| from.wrapping_add(at as u32)));
    Ok(string_cycles(hay.len()))
}

fn abs(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer((call.argument(0) as i32).wrapping_abs() as u32);
    Ok(4)
}

#[cfg(test)]
mod tests {
    use super::super::host::TestHost;
    use super::super::{RomHost as _, RomOutcome, RomState};
    use super::*;

    const A: u32 = TestHost::MEMORY + 0x100;
    const B: u32 = TestHost::MEMORY + 0x200;

    /// Puts `left` at A and `right` at B, calls, and gives `a0` and what is at A.
    fn check(name: &str, left: &[u8], right: &[u8], arguments: &[u32], answer: u32, at_a: &[u8]) {
        let mut host = TestHost::new();
        host.memory.fill(0xEE);
        host.write_bytes(A, left).unwrap();
        host.write_bytes(B, right).unwrap();
        let (result, cycles) = host.call(&mut RomState::default(), name, arguments);
        assert_eq!(result, answer, "{name}");
        assert!(cycles > 0);
        let start = (A - TestHost::MEMORY) as usize;
        assert_eq!(&host.memory[start..start + at_a.len()], at_a, "{name}");
    }

    #[test]
    fn blocks() {
        check("memset", b"abcd", b"", &[A, 0x7A, 3], A, b"zzzd");
        check("bzero", b"abcd", b"", &[A, 2], A, b"\0\0cd");
        check("memcpy", b"abcd", b"WXYZ", &[A, B, 2], A, b"WXcd");
        check("memmove", b"abcdef", b"", &[A + 2, A, 4], A + 2, b"ababcd");
        check("memmove", b"abcdef", b"", &[A, A + 2, 4], A, b"cdefef");
        check("memcmp", b"abc", b"abd", &[A, B, 3], u32::MAX, b"abc");
        check("memcmp", b"abc", b"abd", &[A, B, 2], 0, b"abc");
        check("__gcc_bcmp", b"b", b"a", &[A, B, 1], 1, b"b");
        check("memchr", b"abc", b"", &[A, 0x63, 3], A + 2, b"abc");
        check("memchr", b"abc", b"", &[A, 0x63, 2], 0, b"abc");
    }

    #[test]
    fn long_overlapping_moves() {
        for (to, from) in [(3, 0), (0, 3)] {
            let mut host = TestHost::new();
            for (at, byte) in host.memory.iter_mut().enumerate() {
                *byte = (at * 7 / 3) as u8;
            }
            let mut expected = host.memory.clone();
            expected.copy_within(from..from + 9000, to);
            host.call(
                &mut RomState::default(),
                "memmove",
                &[
                    TestHost::MEMORY + to as u32,
                    TestHost::MEMORY + from as u32,
                    9000,
                ],
            );
            assert!(host.memory == expected, "{to} {from}");
        }
    }

    #[test]
    fn strings() {
        check("strlen", b"abc\0", b"", &[A], 3, b"abc");
        check("strcpy", b"....", b"ab\0", &[A, B], A, b"ab\0.");
        check("strncpy", b".....", b"ab\0", &[A, B, 4], A, b"ab\0\0.");
        check("strncpy", b".....", b"abcd\0", &[A, B, 3], A, b"abc..");
        check("strlcpy", b".....", b"abcd\0", &[A, B, 3], 4, b"ab\0..");
        check("strcat", b"ab\0..", b"cd\0", &[A, B], A, b"abcd\0");
        check("strcmp", b"ab\0", b"ab\0", &[A, B], 0, b"ab");
        check("strcmp", b"ab\0", b"a\0", &[A, B], 0x62, b"ab");
        check("strncmp", b"abX", b"abY", &[A, B, 2], 0, b"ab");
        check("strcasecmp", b"AbC\0", b"aBc\0", &[A, B], 0, b"AbC");
        check("strchr", b"abc\0", b"", &[A, 0x62], A + 1, b"abc");
        check("strchr", b"abc\0", b"", &[A, 0], A + 3, b"abc");
        check("strstr", b"abcd\0", b"bc\0", &[A, B], A + 1, b"abcd");
        check("strstr", b"abcd\0", b"x\0", &[A, B], 0, b"abcd");
        check("abs", b"", b"", &[0xFFFF_FFFE], 2, b"");
    }

    #[test]
    fn memory_that_is_not_there_faults() {
        let mut host = TestHost::new();
        host.set_x(10, 0x10);
        host.set_x(11, A);
        host.set_x(12, 4);
        let expected = |address, store| RomOutcome::Fault(RomFault { address, store });
        let mut state = RomState::default();
        assert_eq!(state.call(0x4000_0358, &mut host), expected(0x10, true));
        assert_eq!(state.call(0x4000_0374, &mut host), expected(0x10, false));
    }
}
