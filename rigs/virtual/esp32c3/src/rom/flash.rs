//! The legacy `esp_rom_spiflash_*` functions: what esp-storage, ESP-IDF and probe-rs' flash algorithm use.
//!
//! Each waits until the flash is done, as the real ones do, so a call takes the flash's own time. The result is 0 for
//! success and 1 for an error.

use super::{Call, Function, RomFault, function};
use crate::flash::{BLOCK_BYTES, Erase, PAGE_BYTES, SECTOR_BYTES};
use crate::time::Ticks;

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_010C, "esp_rom_spiflash_wait_idle", wait_idle),
    function(0x4000_0120, "esp_rom_spiflash_erase_chip", erase_chip),
    function(0x4000_0124, "esp_rom_spiflash_erase_block", erase_block),
    function(0x4000_0128, "esp_rom_spiflash_erase_sector", erase_sector),
    function(0x4000_012C, "esp_rom_spiflash_write", write),
    function(0x4000_0130, "esp_rom_spiflash_read", read),
    function(0x4000_0134, "esp_rom_spiflash_config_param", succeed),
    function(
        0x4000_0138,
        "esp_rom_spiflash_read_user_cmd",
        read_status_at,
    ),
    function(0x4000_013C, "esp_rom_spiflash_select_qio_pins", succeed),
    function(0x4000_0140, "esp_rom_spiflash_unlock", unlock),
    function(0x4000_0150, "esp_rom_spiflash_config_clk", succeed),
    function(0x4000_0154, "esp_rom_spiflash_config_readmode", succeed),
    function(0x4000_0158, "esp_rom_spiflash_read_status", read_status),
    function(
        0x4000_015C,
        "esp_rom_spiflash_read_statushigh",
        read_status_high,
    ),
    function(0x4000_0160, "esp_rom_spiflash_write_status", write_status),
    function(0x4000_0164, "esp_rom_spiflash_attach", succeed),
    function(0x4000_01E4, "SPIEraseArea", erase_area),
    function(0x4000_0210, "SPI_write_enable", write_enable),
    function(0x4000_0214, "SelectSpiFunction", succeed),
    function(0x4000_0218, "SetSpiDrvs", succeed),
    function(0x4000_021C, "Wait_SPI_Idle", wait_idle),
    function(0x4000_0220, "spi_dummy_len_fix", succeed),
];

const OK: u32 = 0;
const ERROR: u32 = 1;

/// Commands and checks around every operation, CPU cycles.
const OVERHEAD_CYCLES: u64 = 400;
/// Reading at 80 MHz over two lines, CPU cycles a byte.
const READ_CYCLES_PER_BYTE: u64 = 8;
/// Bytes read or written at once.
const CHUNK_BYTES: u32 = 0x1000;

/// Ends a call at `end`, when the flash will be done.
fn finish(call: &mut Call<'_>, end: Ticks) -> Result<u64, RomFault> {
    let waited = end.since(call.host.now()).0;
    call.answer(OK);
    Ok(OVERHEAD_CYCLES + waited.div_ceil(call.host.ticks_per_cycle()))
}

fn refuse(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(ERROR);
    Ok(OVERHEAD_CYCLES)
}

fn succeed(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(OK);
    Ok(OVERHEAD_CYCLES)
}

fn wait_idle(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let now = call.host.now();
    let end = call.host.flash().busy_until(now);
    finish(call, end)
}

fn write_enable(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.host.flash().set_write_enabled(true);
    wait_idle(call)
}

/// Clears the protection bits.
fn unlock(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let now = call.host.now();
    let flash = call.host.flash();
    // Quad enable is all that stays.
    let protection = flash.status(now) & 0x7C;
    if protection != 0 {
        flash.set_write_enabled(true);
        let status = (flash.status(now) & 0x0200) as u16;
        flash.write_status(now, status);
    }
    wait_idle(call)
}

fn erase(call: &mut Call<'_>, unit: Erase, address: u64) -> Result<u64, RomFault> {
    let now = call.host.now();
    let flash = call.host.flash();
    if address >= u64::from(flash.len()) {
        return refuse(call);
    }
    flash.set_write_enabled(true);
    let end = flash.erase(now, unit, address as u32);
    finish(call, end)
}

fn erase_chip(call: &mut Call<'_>) -> Result<u64, RomFault> {
    erase(call, Erase::Chip, 0)
}

/// The argument counts blocks of 64 KiB.
fn erase_block(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let block = u64::from(call.argument(0));
    erase(call, Erase::Block, block * u64::from(BLOCK_BYTES))
}

/// The argument counts sectors of 4 KiB.
fn erase_sector(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let sector = u64::from(call.argument(0));
    erase(call, Erase::Sector, sector * u64::from(SECTOR_BYTES))
}

/// Start address and length; whole blocks at once where they fit.
fn erase_area(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (start, length) = (call.argument(0), call.argument(1));
    let now = call.host.now();
    let flash = call.host.flash();
    let end_address = u64::from(start) + u64::from(length);
    if start % SECTOR_BYTES != 0 || end_address > u64::from(flash.len()) {
        return refuse(call);
    }
    let (mut address, mut end) = (start, now);
    while u64::from(address) < end_address {
        let block_fits = address % BLOCK_BYTES == 0
            && u64::from(address) + u64::from(BLOCK_BYTES) <= end_address;
        let (unit, bytes) = if block_fits {
            (Erase::Block, BLOCK_BYTES)
        } else {
            (Erase::Sector, SECTOR_BYTES)
        };
        flash.set_write_enabled(true);
        end = flash.erase(now, unit, address);
        address += bytes;
    }
    finish(call, end)
}

/// Flash address, source, length: pages one after the other.
fn write(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, from, length) = (call.argument(0), call.argument(1), call.argument(2));
    let now = call.host.now();
    if u64::from(to) + u64::from(length) > u64::from(call.host.flash().len()) {
        return refuse(call);
    }
    let mut page = [0; PAGE_BYTES as usize];
    let (mut done, mut end) = (0, now);
    while done < length {
        let address = to + done;
        let part = (PAGE_BYTES - address % PAGE_BYTES).min(length - done);
        let bytes = &mut page[..part as usize];
        call.host.read_bytes(from.wrapping_add(done), bytes)?;
        let flash = call.host.flash();
        flash.set_write_enabled(true);
        end = flash.program(now, address, bytes);
        done += part;
    }
    finish(call, end)
}

/// Flash address, destination, length.
fn read(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (from, to, length) = (call.argument(0), call.argument(1), call.argument(2));
    let now = call.host.now();
    let flash = call.host.flash();
    if u64::from(from) + u64::from(length) > u64::from(flash.len()) {
        return refuse(call);
    }
    let idle = flash.busy_until(now);
    let mut done = 0;
    while done < length {
        let part = (length - done).min(CHUNK_BYTES);
        let start = (from + done) as usize;
        let mut chunk = [0; CHUNK_BYTES as usize];
        let bytes = &mut chunk[..part as usize];
        bytes.copy_from_slice(&call.host.flash().bytes()[start..start + part as usize]);
        call.host.write_bytes(to.wrapping_add(done), bytes)?;
        done += part;
    }
    Ok(finish(call, idle)? + u64::from(length) * READ_CYCLES_PER_BYTE)
}

/// `read_user_cmd(&status, command)`: command 5 reads status register 1, 0x35 register 2.
fn read_status_at(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (to, command) = (call.argument(0), call.argument(1) as u8);
    let now = call.host.now();
    let status = call.host.flash().status(now);
    let value = match command {
        0x05 => status & 0xFF,
        0x35 => status >> 8,
        _ => 0,
    };
    call.store_word(to, value)?;
    succeed(call)
}

/// `read_status(chip, &status)`: waits for the flash first, as the real one.
fn read_status(call: &mut Call<'_>) -> Result<u64, RomFault> {
    status_after_idle(call, 0xFF)
}

/// `read_statushigh(chip, &status)`: register 2, in bits 8-15.
fn read_status_high(call: &mut Call<'_>) -> Result<u64, RomFault> {
    status_after_idle(call, 0xFF00)
}

fn status_after_idle(call: &mut Call<'_>, mask: u32) -> Result<u64, RomFault> {
    let now = call.host.now();
    let idle = call.host.flash().busy_until(now);
    let status = call.host.flash().status(idle);
    call.store_word(call.argument(1), status & mask)?;
    finish(call, idle)
}

/// `write_status(chip, value)`.
fn write_status(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let value = call.argument(1) as u16;
    let now = call.host.now();
    let flash = call.host.flash();
    let start = flash.busy_until(now);
    flash.set_write_enabled(true);
    flash.write_status(start, value);
    wait_idle(call)
}

#[cfg(test)]
mod tests {
    use super::super::host::TestHost;
    use super::super::{RomHost as _, RomState};
    use super::*;

    const BUFFER: u32 = TestHost::MEMORY;

    fn call(host: &mut TestHost, name: &str, arguments: &[u32]) -> (u32, u64) {
        host.call(&mut RomState::default(), name, arguments)
    }

    #[test]
    fn write_and_read_back() {
        let mut host = TestHost::new();
        host.write_bytes(BUFFER, &[0x11; 600]).unwrap();
        let (result, cycles) = call(&mut host, "esp_rom_spiflash_write", &[0x1F0, BUFFER, 600]);
        assert_eq!(result, OK);
        // 16, 256, 256 and 72 bytes: four page programs at 160 MHz.
        let micros = cycles as f64 / 160.0;
        assert!((900.0..1100.0).contains(&micros), "{micros} µs");
        assert!(
            host.flash.bytes()[0x1F0..0x1F0 + 600]
                .iter()
                .all(|byte| *byte == 0x11)
        );
        assert_eq!(host.flash.read(0x1F0 + 600), 0xFF);

        let into = BUFFER + 0x1000;
        let (result, cycles) = call(&mut host, "esp_rom_spiflash_read", &[0x1EF, into, 602]);
        assert_eq!((result, cycles > 4800), (OK, true));
        assert_eq!(host.memory[0x1000..0x1002], [0xFF, 0x11]);
        assert_eq!(host.memory[0x1000 + 601], 0xFF);
    }

    #[test]
    fn erases_take_their_unit_and_time() {
        let check = |name: &str, arguments: &[u32], expected: std::ops::Range<usize>, millis| {
            let mut host = TestHost::new();
            host.flash.preset(0, &vec![0; 1 << 20]);
            let (result, cycles) = call(&mut host, name, arguments);
            assert_eq!(result, OK, "{name}");
            assert_eq!(cycles / 160_000, millis, "{name}");
            let ones = host.flash.bytes().iter().filter(|byte| **byte == 0xFF);
            assert_eq!(ones.count(), expected.len(), "{name}");
            assert_eq!(host.flash.read(expected.start as u32), 0xFF);
            assert!(!host.flash.is_busy(Ticks::from_seconds(60)));
        };
        check("esp_rom_spiflash_erase_sector", &[3], 0x3000..0x4000, 45);
        check(
            "esp_rom_spiflash_erase_block",
            &[2],
            0x2_0000..0x3_0000,
            150,
        );
        check("esp_rom_spiflash_erase_chip", &[], 0..1 << 20, 2500);
        check("SPIEraseArea", &[0xF000, 0x1_1000], 0xF000..0x2_0000, 195);
    }

    #[test]
    fn addresses_beyond_the_flash_are_errors() {
        let check = |name: &str, arguments: &[u32]| {
            let mut host = TestHost::new();
            assert_eq!(call(&mut host, name, arguments).0, ERROR, "{name}");
        };
        check("esp_rom_spiflash_write", &[0xF_FFFF, BUFFER, 2]);
        check("esp_rom_spiflash_read", &[u32::MAX, BUFFER, 2]);
        check("esp_rom_spiflash_erase_sector", &[0x100]);
        check("esp_rom_spiflash_erase_block", &[u32::MAX]);
        check("SPIEraseArea", &[1, 0x1000]);
    }

    #[test]
    fn status_is_read_idle() {
        let mut host = TestHost::new();
        host.memory[..4].fill(0xEE);
        call(&mut host, "esp_rom_spiflash_read_user_cmd", &[BUFFER, 5]);
        assert_eq!(host.memory[..4], [0; 4]);
        call(&mut host, "esp_rom_spiflash_write_status", &[0, 0x021C]);
        call(&mut host, "esp_rom_spiflash_read_statushigh", &[0, BUFFER]);
        assert_eq!(host.memory[..4], [0, 2, 0, 0]);
        call(&mut host, "esp_rom_spiflash_unlock", &[]);
        call(&mut host, "esp_rom_spiflash_read_status", &[0, BUFFER]);
        assert_eq!(host.memory[..4], [0; 4]);
    }
}
