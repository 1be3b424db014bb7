//! The ROM's console: characters out, and `ets_printf`.
//!
//! Output goes to UART0 at once; a character takes the time it takes at 115,200 baud only when the caller waits for it
//! (`uart_tx_wait_idle`), which is not modelled. There is no input.

use super::memory::string;
use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_003C, "ets_is_print_boot", yes),
    function(0x4000_0040, "ets_printf", ets_printf),
    function(0x4000_0044, "ets_install_putc1", done),
    function(0x4000_0048, "ets_install_uart_printf", done),
    function(0x4000_004C, "ets_install_putc2", done),
    function(0x4000_0068, "uart_tx_one_char", transmit),
    function(0x4000_006C, "uart_tx_one_char2", transmit),
    function(0x4000_0070, "uart_rx_one_char", nothing_received),
    function(0x4000_0080, "uart_tx_flush", done),
    function(0x4000_0084, "uart_tx_wait_idle", done),
    function(0x4000_0088, "uart_div_modify", done),
    function(0x4000_08CC, "usb_uart_rx_one_char", nothing_received),
    function(0x4000_08D4, "usb_uart_tx_flush", done),
    function(0x4000_08D8, "usb_uart_tx_one_char", transmit),
];

const CYCLES: u64 = 40;
/// Longer texts are cut: a format gone wild must end.
const TEXT_BYTES_MAX: u32 = 4096;

fn done(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(0);
    Ok(CYCLES)
}

fn yes(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(1);
    Ok(CYCLES)
}

/// 1: no character has come.
fn nothing_received(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(1);
    Ok(CYCLES)
}

fn transmit(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let byte = call.argument(0) as u8;
    call.host.console(&[byte]);
    call.answer(0);
    Ok(CYCLES)
}

/// Where the next variable argument is: `a1`..`a7`, then the stack.
struct Arguments(u32);

impl Arguments {
    fn next(&mut self, call: &mut Call<'_>) -> Result<u32, RomFault> {
        let n = self.0;
        self.0 += 1;
        if n < 8 {
            Ok(call.argument(n as u8))
        } else {
            call.load_word(call.host.x(2).wrapping_add((n - 8) * 4))
        }
    }

    /// 64-bit arguments start at an even register.
    fn next64(&mut self, call: &mut Call<'_>) -> Result<u64, RomFault> {
        self.0 += self.0 % 2;
        Ok(u64::from(self.next(call)?) | u64::from(self.next(call)?) << 32)
    }
}

/// `%d %i %u %x %X %p %c %s %%`, with width, `0`, `-`, and `l`/`ll`; answers the number of characters.
fn ets_printf(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let format = string(call, call.argument(0), TEXT_BYTES_MAX)?;
    let mut arguments = Arguments(1);
    let mut text = Vec::new();
    let mut rest = format.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            text.push(*first);
            continue;
        }
        let (zeros, left, width, longs);
        (zeros, left, rest) = flags(rest);
        (width, rest) = number(rest);
        (longs, rest) = long(rest);
        let Some((conversion, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        let wide = longs >= 2;
        let piece = match conversion {
            b'd' | b'i' if wide => (arguments.next64(call)? as i64).to_string(),
            b'd' | b'i' => (arguments.next(call)? as i32).to_string(),
            b'u' if wide => arguments.next64(call)?.to_string(),
            b'u' => arguments.next(call)?.to_string(),
            b'x' | b'p' if wide => format!("{:x}", arguments.next64(call)?),
            b'x' | b'p' => format!("{:x}", arguments.next(call)?),
            b'X' => format!("{:X}", arguments.next(call)?),
            b'c' => char::from(arguments.next(call)? as u8).to_string(),
            b's' => {
                let from = arguments.next(call)?;
                let bytes = string(call, from, TEXT_BYTES_MAX)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            b'%' => "%".to_owned(),
            other => format!("%{}", char::from(*other)),
        };
        pad(&mut text, &piece, width, zeros, left);
        if text.len() > TEXT_BYTES_MAX as usize {
            break;
        }
    }
    call.host.console(&text);
    call.answer(text.len() as u32);
    Ok(CYCLES + text.len() as u64 * 60)
}

fn flags(mut rest: &[u8]) -> (bool, bool, &[u8]) {
    let (mut zeros, mut left) = (false, false);
    while let Some((flag @ (b'0' | b'-' | b'#' | b'+' | b' '), after)) = rest.split_first() {
        zeros |= *flag == b'0';
        left |= *flag == b'-';
        rest = after;
    }
    (zeros, left, rest)
}

fn number(mut rest: &[u8]) -> (usize, &[u8]) {
    let mut value = 0_usize;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        value = (value * 10 + usize::from(digit - b'0')).min(TEXT_BYTES_MAX as usize);
        rest = after;
    }
    (value, rest)
}

fn long(mut rest: &[u8]) -> (usize, &[u8]) {
    let mut count = 0;
    while let Some((b'l' | b'h' | b'z', after)) = rest.split_first() {
        count += usize::from(rest[0] == b'l');
        rest = after;
    }
    (count, rest)
}

fn pad(text: &mut Vec<u8>, piece: &str, width: usize, zeros: bool, left: bool) {
    let missing = width.saturating_sub(piece.len());
    if left {
        text.extend(piece.bytes());
        text.extend(std::iter::repeat_n(b' ', missing));
    } else if zeros {
        let (sign, digits) = match piece.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", piece),
        };
        text.extend(sign.bytes());
        text.extend(std::iter::repeat_n(b'0', missing));
        text.extend(digits.bytes());
    } else {
        text.extend(std::iter::repeat_n(b' ', missing));
        text.extend(piece.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::TestHost;
    use super::super::{RomHost as _, RomState};

    const FORMAT: u32 = TestHost::MEMORY;
    const TEXT: u32 = TestHost::MEMORY + 0x100;

    fn check(format: &str, arguments: &[u32], expected: &str) {
        let mut host = TestHost::new();
        host.write_bytes(FORMAT, format.as_bytes()).unwrap();
        host.write_bytes(TEXT, b"relay").unwrap();
        // The stack holds what does not fit in registers.
        host.set_x(2, TestHost::MEMORY + 0x200);
        host.write_bytes(TestHost::MEMORY + 0x200, &99_u32.to_le_bytes())
            .unwrap();
        let arguments = [&[FORMAT], arguments].concat();
        let (length, _) = host.call(&mut RomState::default(), "ets_printf", &arguments);
        assert_eq!(String::from_utf8_lossy(&host.console), expected);
        assert_eq!(length as usize, expected.len());
    }

    #[test]
    fn printf() {
        check("plain\n", &[], "plain\n");
        check(
            "%d|%5d|%-5d|%05d",
            &[1, 2, 3, -4_i32 as u32],
            "1|    2|3    |-0004",
        );
        check("%x %08X %p", &[0xAB, 0xCD, 0x1000], "ab 000000CD 1000");
        check(
            "%s is %c%c, 100%%",
            &[TEXT, 0x6F, 0x6B],
            "relay is ok, 100%",
        );
        check("%llu", &[0, 1, 1], "4294967297");
        check("%u%u%u%u%u%u%u %u", &[1, 2, 3, 4, 5, 6, 7], "1234567 99");
        check("%q %", &[], "%q ");
        check("%lu %hd", &[7, 8], "7 8");
    }

    #[test]
    fn characters() {
        let mut host = TestHost::new();
        let mut state = RomState::default();
        for byte in *b"ok" {
            host.call(&mut state, "uart_tx_one_char", &[u32::from(byte)]);
        }
        assert_eq!(host.console, b"ok");
        assert_eq!(host.call(&mut state, "uart_rx_one_char", &[FORMAT]).0, 1);
    }
}
