//! `tinfl_decompress`: the ROM's inflate, which flash loaders use to unpack what is sent to them.
//!
//! The ROM has miniz, and `miniz_oxide` is its translation: the state machine, the flags and the result codes are the
//! same. Only the decompressor's state lives here instead of in the caller's structure, found again by that structure's
//! address; its first word says, as in the original, whether decompression has begun.

use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] =
    &[function(0x4000_00F4, "tinfl_decompress", tinfl_decompress)];

const STATUS_BAD_PARAMETER: i32 = -3;
const STATUS_FAILED: i32 = -1;
/// First word of the structure before and after the first call.
const STATE_START: u32 = 0;
const STATE_BEGUN: u32 = 1;
/// More than this can't be in the chip's memory.
const BUFFER_BYTES_MAX: u32 = 512 * 1024;
/// Decompressors remembered: a caller that never finishes must not fill the host's memory.
const DECOMPRESSORS_MAX: usize = 16;
/// Cycles for a byte that goes in, and for one that comes out, measured roughly on a C3 at 160 MHz.
const CYCLES_PER_INPUT_BYTE: u64 = 20;
const CYCLES_PER_OUTPUT_BYTE: u64 = 6;

/// Arguments: state, next input, input size in and out, start of output, next output, output size in and out, flags.
fn tinfl_decompress(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let argument = |n| call.argument(n);
    let (state, input, input_size) = (argument(0), argument(1), argument(2));
    let (output_start, output, output_size) = (argument(3), argument(4), argument(5));
    let flags = argument(6)
        & (inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
            | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT
            | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
            | inflate_flags::TINFL_FLAG_COMPUTE_ADLER32);
    let input_bytes = call.load_word(input_size)?;
    let output_bytes = call.load_word(output_size)?;
    let position = output.wrapping_sub(output_start);
    let window_bytes = u64::from(position) + u64::from(output_bytes);
    let wraps = flags & inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF == 0;
    if input_bytes > BUFFER_BYTES_MAX
        || window_bytes > u64::from(BUFFER_BYTES_MAX)
        || (wraps && !window_bytes.is_power_of_two())
    {
        call.store_word(input_size, 0)?;
        call.store_word(output_size, 0)?;
        call.answer(STATUS_BAD_PARAMETER as u32);
        return Ok(100);
    }

    let mut decompressor = if call.load_word(state)? == STATE_START {
        call.store_word(state, STATE_BEGUN)?;
        Box::<DecompressorOxide>::default()
    } else if let Some(begun) = call.state.inflate.remove(&state) {
        begun
    } else {
        call.store_word(input_size, 0)?;
        call.store_word(output_size, 0)?;
        call.answer(STATUS_FAILED as u32);
        return Ok(100);
    };

    let mut buffer = std::mem::take(&mut call.state.buffer);
    buffer.clear();
    buffer.resize(input_bytes as usize + window_bytes as usize, 0);
    let (compressed, window) = buffer.split_at_mut(input_bytes as usize);
    call.host.read_bytes(input, compressed)?;
    call.host.read_bytes(output_start, window)?;
    let (status, consumed, produced) = decompress(
        &mut decompressor,
        compressed,
        window,
        position as usize,
        flags,
    );
    // Matches reach back in the window but only bytes after `position` are new.
    let fresh = &window[position as usize..][..produced];
    call.host.write_bytes(output, fresh)?;
    call.state.buffer = buffer;
    call.store_word(input_size, consumed as u32)?;
    call.store_word(output_size, produced as u32)?;
    let inflate = &mut call.state.inflate;
    if inflate.len() >= DECOMPRESSORS_MAX {
        inflate.pop_first();
    }
    inflate.insert(state, decompressor);
    call.answer(status as i32 as u32);
    Ok(200 + consumed as u64 * CYCLES_PER_INPUT_BYTE + produced as u64 * CYCLES_PER_OUTPUT_BYTE)
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::super::host::TestHost;
    use super::super::{RomHost as _, RomState};
    use super::*;

    const STATE: u32 = TestHost::MEMORY;
    const SIZES: u32 = TestHost::MEMORY + 0x100;
    const INPUT: u32 = TestHost::MEMORY + 0x1000;
    const WINDOW: u32 = TestHost::MEMORY + 0x8000;
    const WINDOW_BYTES: u32 = 0x8000;
    const DONE: u32 = 0;
    const NEEDS_MORE_INPUT: u32 = 1;
    const HAS_MORE_OUTPUT: u32 = 2;

    /// Feeds `compressed` in pieces through a wrapping window, as a flash loader does.
    fn inflate(compressed: &[u8], piece: usize) -> (Vec<u8>, u32) {
        let mut host = TestHost::new();
        let mut rom = RomState::default();
        let mut out = Vec::new();
        let mut next = WINDOW;
        let mut position = 0;
        loop {
            let part = &compressed[position..(position + piece).min(compressed.len())];
            let last = position + part.len() == compressed.len();
            host.write_bytes(INPUT, part).unwrap();
            host.write_bytes(SIZES, &(part.len() as u32).to_le_bytes())
                .unwrap();
            let room = WINDOW + WINDOW_BYTES - next;
            host.write_bytes(SIZES + 4, &room.to_le_bytes()).unwrap();
            let flags = 1 | if last { 0 } else { 2 };
            let arguments = [STATE, INPUT, SIZES, WINDOW, next, SIZES + 4, flags];
            let (status, cycles) = host.call(&mut rom, "tinfl_decompress", &arguments);
            assert!(cycles > 0);
            let size = |at: u32| {
                let at = (at - TestHost::MEMORY) as usize;
                u32::from_le_bytes(host.memory[at..at + 4].try_into().unwrap())
            };
            let (consumed, produced) = (size(SIZES), size(SIZES + 4));
            let start = (next - TestHost::MEMORY) as usize;
            out.extend_from_slice(&host.memory[start..start + produced as usize]);
            position += consumed as usize;
            next += produced;
            if next == WINDOW + WINDOW_BYTES {
                next = WINDOW;
            }
            if status != NEEDS_MORE_INPUT && status != HAS_MORE_OUTPUT {
                return (out, status);
            }
        }
    }

    #[test]
    fn inflates_through_a_wrapping_window() {
        let plain: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 9) as u8)
            .collect();
        let compressed = compress_to_vec_zlib(&plain, 9);
        for piece in [17, 1000, 0x4000] {
            let (out, status) = inflate(&compressed, piece);
            assert_eq!(status, DONE);
            assert!(out == plain, "pieces of {piece}");
        }
    }

    #[test]
    fn damaged_input_fails() {
        let mut compressed = compress_to_vec_zlib(&[7; 1000], 9);
        compressed[0] ^= 0x55;
        assert_eq!(inflate(&compressed, 100).1, STATUS_FAILED as u32);
    }

    #[test]
    fn wild_sizes_are_refused() {
        let mut host = TestHost::new();
        host.write_bytes(SIZES, &u32::MAX.to_le_bytes()).unwrap();
        let arguments = [STATE, INPUT, SIZES, WINDOW, WINDOW, SIZES, 0];
        let (status, _) = host.call(&mut RomState::default(), "tinfl_decompress", &arguments);
        assert_eq!(status, STATUS_BAD_PARAMETER as u32);
    }
}
