//! SPI0 and SPI1, the two controllers of the flash: SPI1 runs commands, SPI0 serves the cache.
//!
//! ESP32-C3 Technical Reference Manual, chapter "SPI Controller"; of these two the manual gives only the register list,
//! the rest is in the vendor's headers. A command is either one of the bits of `CMD` that stand for a flash command
//! (read, program, erase, identification, ...) or a free one (`USR`) put together from `USER`, `USER1`, `USER2` and the
//! data registers W0 to W15. The bit reads 1 until the transfer is over. Erase and program go on inside the flash after
//! the transfer, as on the board: software polls the status register.
//!
//! Not modelled: SPI0's own transfers (its registers keep their values), line modes other than in the time they take,
//! auto suspend, the end-of-command interrupts, the second chip select.

use crate::flash::{Erase, Flash, PAGE_BYTES};
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;
use crate::time::Ticks;

const CMD: u32 = 0x00;
const ADDR: u32 = 0x04;
const CTRL: u32 = 0x08;
const USER: u32 = 0x18;
const USER1: u32 = 0x1C;
const USER2: u32 = 0x20;
const MOSI_DLEN: u32 = 0x24;
const MISO_DLEN: u32 = 0x28;
const RD_STATUS: u32 = 0x2C;
const W0: u32 = 0x58;
const W_BYTES: usize = 64;

const CMD_USR: u32 = 1 << 18;
const CMD_HPM: u32 = 1 << 19;
const CMD_RES: u32 = 1 << 20;
const CMD_DP: u32 = 1 << 21;
const CMD_CE: u32 = 1 << 22;
const CMD_BE: u32 = 1 << 23;
const CMD_SE: u32 = 1 << 24;
const CMD_PP: u32 = 1 << 25;
const CMD_WRSR: u32 = 1 << 26;
const CMD_RDSR: u32 = 1 << 27;
const CMD_RDID: u32 = 1 << 28;
const CMD_WRDI: u32 = 1 << 29;
const CMD_WREN: u32 = 1 << 30;
const CMD_READ: u32 = 1 << 31;
const CMD_ALL: u32 = 0xFFFC_0000;

const CTRL_WRSR_2B: u32 = 1 << 22;

const USER_MOSI_HIGHPART: u32 = 1 << 25;
const USER_MISO_HIGHPART: u32 = 1 << 24;
const USER_MOSI: u32 = 1 << 27;
const USER_MISO: u32 = 1 << 28;
const USER_ADDR: u32 = 1 << 30;
const USER_COMMAND: u32 = 1 << 31;

/// One bit at the bootloader's 40 MHz.
const TICKS_PER_BIT: u64 = 12;

/// SPI0: registers that the cache's reads are configured with.
pub(crate) fn spi0() -> Registers {
    Registers::new(
        "spi0",
        0x400,
        &[
            0x008..0x024,
            0x02C..0x040,
            0x054..0x058,
            0x0A8..0x0E4,
            0x3FC..0x400,
        ],
        &[
            (CTRL, 0x002C_2000),
            (0x010, 0x21),
            (0x014, 0x0003_0103),
            (USER1, 0x5C00_0007),
            (USER2, 0x7000_0000),
            (0x054, 0x0200),
            (0x0A8, 0x1),
            (0x0DC, 0x1),
        ],
    )
}

/// SPI1: the controller software runs commands with.
pub(crate) struct SpiMem {
    registers: Registers,
    /// The command under way: its bit of `CMD`, and when the transfer is over.
    command: Option<(u32, Ticks)>,
}

impl Default for SpiMem {
    fn default() -> Self {
        SpiMem {
            registers: Registers::new(
                "spi1",
                0x400,
                &[
                    0x000..0x03C,
                    0x03C..0x040,
                    W0..0x0AC,
                    0x0C0..0x0D0,
                    0x0DC..0x0E0,
                    0x3FC..0x400,
                ],
                &[
                    (CTRL, 0x002C_A000),
                    (0x00C, 0x0FFC),
                    (0x014, 0x0003_0103),
                    (USER, 0x8000_0000),
                    (USER1, 0x5C00_0007),
                    (USER2, 0x7000_0000),
                    (0x034, 0x2),
                    (0x038, u32::MAX),
                    (0x098, 0x14),
                    (0x09C, 0x0800_2000),
                    (0x0A0, 0x0005_757A),
                    (0x0DC, 0x1),
                ],
            ),
            command: None,
        }
    }
}

impl SpiMem {
    /// The data registers as bytes.
    fn data(&self) -> [u8; W_BYTES] {
        let mut bytes = [0; W_BYTES];
        for (n, word) in bytes.chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&self.registers.get(W0 + 4 * n as u32).to_le_bytes());
        }
        bytes
    }

    /// Puts `bytes` into the data registers from byte `first` on.
    fn set_data(&mut self, first: usize, bytes: &[u8]) {
        let mut data = self.data();
        for (to, from) in data[first..].iter_mut().zip(bytes) {
            *to = *from;
        }
        for (n, word) in data.chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            self.registers.set(W0 + 4 * n as u32, word);
        }
    }

    /// A 24-bit address: right-aligned in `ADDR` for the command bits.
    fn address(&self) -> u32 {
        self.registers.get(ADDR) & 0x00FF_FFFF
    }

    fn start(&mut self, command: u32, context: &mut Context<'_>) {
        let now = context.now;
        let flash = &mut *context.flash;
        let bits = match command {
            CMD_USR => self.user_command(now, flash),
            CMD_READ => {
                let count = self.length(MISO_DLEN);
                let bytes = read_array(flash, now, self.address(), count);
                self.set_data(0, &bytes);
                32 + 8 * count
            }
            CMD_PP => {
                // `ADDR` bits 24-31 hold the length here.
                let length = match (self.registers.get(ADDR) >> 24) as usize {
                    0 => self.length(MOSI_DLEN),
                    length => length.min(W_BYTES),
                };
                let data = self.data();
                if !flash.is_busy(now) {
                    flash.program(now, self.address(), &data[..length]);
                }
                32 + 8 * length
            }
            CMD_SE | CMD_BE | CMD_CE => {
                let (unit, bits) = match command {
                    CMD_SE => (Erase::Sector, 32),
                    CMD_BE => (Erase::Block, 32),
                    _ => (Erase::Chip, 8),
                };
                if !flash.is_busy(now) {
                    flash.erase(now, unit, self.address());
                }
                bits
            }
            CMD_WRSR => {
                let value = self.registers.get(RD_STATUS);
                let two = self.registers.get(CTRL) & CTRL_WRSR_2B != 0;
                let high = if two {
                    value & 0xFF00
                } else {
                    flash.status(now) & 0xFF00
                };
                if !flash.is_busy(now) {
                    flash.write_status(now, (value & 0xFF | high) as u16);
                }
                if two { 24 } else { 16 }
            }
            CMD_RDSR => {
                let status = flash.status(now) & 0xFF;
                self.registers.set(RD_STATUS, status);
                16
            }
            CMD_RDID => {
                self.registers.set(W0, identification(flash, now));
                32
            }
            CMD_WREN | CMD_WRDI => {
                if !flash.is_busy(now) {
                    flash.set_write_enabled(command == CMD_WREN);
                }
                8
            }
            // Deep power-down, release and high-performance mode: nothing to see.
            CMD_DP | CMD_RES | CMD_HPM => 8,
            _ => 0,
        };
        self.command = Some((command, now + Ticks(bits as u64 * TICKS_PER_BIT)));
        // What was mapped may read differently now.
        context.requests.mmu_changed |= flash.has_changed();
    }

    /// Bytes of a data phase: the register holds bits less one.
    fn length(&self, register: u32) -> usize {
        let bits = self.registers.get(register) & 0x3FF;
        ((bits as usize + 1).div_ceil(8)).min(W_BYTES)
    }

    /// `USR`: command, address, dummy and data phases as configured. Returns the bits transferred.
    fn user_command(&mut self, now: Ticks, flash: &mut Flash) -> usize {
        let user = self.registers.get(USER);
        let phase = |bit: u32, bits: usize| if user & bit != 0 { bits } else { 0 };
        let user2 = self.registers.get(USER2);
        let command_bits = phase(USER_COMMAND, (user2 >> 28) as usize + 1);
        let address_bits = phase(USER_ADDR, (self.registers.get(USER1) >> 26) as usize + 1);
        let send = phase(USER_MOSI, self.length(MOSI_DLEN));
        let receive = phase(USER_MISO, self.length(MISO_DLEN));
        // The address phase sends `ADDR` from its top bit; 24-bit addresses are right-aligned on this chip.
        let address = match address_bits {
            0 => 0,
            25.. => self.registers.get(ADDR),
            _ => self.address(),
        };
        let first_out = if user & USER_MOSI_HIGHPART != 0 {
            32
        } else {
            0
        };
        let first_in = if user & USER_MISO_HIGHPART != 0 {
            32
        } else {
            0
        };
        let data = self.data();
        let out = &data[first_out..(first_out + send).min(W_BYTES)];
        let code = if command_bits == 0 {
            None
        } else {
            Some(user2 as u8)
        };
        let answer = code.map_or(Vec::new(), |code| {
            flash_command(flash, now, code, address, out, receive)
        });
        if receive > 0 {
            self.set_data(first_in, &answer);
        }
        command_bits + address_bits + 8 * (send + receive)
    }
}

fn identification(flash: &mut Flash, now: Ticks) -> u32 {
    if flash.is_busy(now) {
        0
    } else {
        flash.jedec_id()
    }
}

/// Bytes of the array, all ones while the flash is busy: it does not drive the line.
fn read_array(flash: &mut Flash, now: Ticks, address: u32, count: usize) -> Vec<u8> {
    if flash.is_busy(now) {
        return vec![0xFF; count];
    }
    (0..count as u32)
        .map(|n| flash.read(address.wrapping_add(n)))
        .collect()
}

/// What the flash makes of a command: `out` is what it is sent, the result `receive` bytes of answer.
fn flash_command(
    flash: &mut Flash,
    now: Ticks,
    code: u8,
    address: u32,
    out: &[u8],
    receive: usize,
) -> Vec<u8> {
    let repeated = |value: u32| vec![value as u8; receive];
    match code {
        // Status is the one thing a busy flash answers.
        0x05 => return repeated(flash.status(now)),
        0x35 => return repeated(flash.status(now) >> 8),
        _ if flash.is_busy(now) => return vec![0xFF; receive],
        0x9F => {
            let id = flash.jedec_id().to_le_bytes();
            return (0..receive).map(|n| id[n % 3]).collect();
        }
        0x03 | 0x0B | 0x3B | 0xBB | 0x6B | 0xEB => {
            return read_array(flash, now, address, receive);
        }
        0x06 => flash.set_write_enabled(true),
        0x04 => flash.set_write_enabled(false),
        0x02 | 0x32 => {
            let out = &out[..out.len().min(PAGE_BYTES as usize)];
            flash.program(now, address, out);
        }
        0x20 => drop(flash.erase(now, Erase::Sector, address)),
        0x52 => drop(flash.erase(now, Erase::HalfBlock, address)),
        0xD8 => drop(flash.erase(now, Erase::Block, address)),
        0xC7 | 0x60 => drop(flash.erase(now, Erase::Chip, 0)),
        0x01 => {
            let byte = |n: usize| out.get(n).copied();
            let high = byte(1).unwrap_or((flash.status(now) >> 8) as u8);
            if let Some(low) = byte(0) {
                flash.write_status(now, u16::from_le_bytes([low, high]));
            }
        }
        0x31 => {
            let low = flash.status(now) as u8;
            if let Some(high) = out.first() {
                flash.write_status(now, u16::from_le_bytes([low, *high]));
            }
        }
        // Reset, power-down, release: nothing to see. An unknown command is ignored, as by the part.
        _ => {}
    }
    vec![0xFF; receive]
}

impl Peripheral for SpiMem {
    fn name(&self) -> &'static str {
        "spi1"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            CMD => match self.command {
                Some((bit, end)) if end > context.now => bit,
                _ => 0,
            },
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            CMD => {
                // One at a time: the lowest wins, as nothing says otherwise.
                let asked = value & CMD_ALL;
                if asked != 0 {
                    self.start(asked & asked.wrapping_neg(), context);
                }
            }
            _ => self.registers.write(offset, value, context),
        }
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::Core {
            self.command = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn bench() -> Bench<SpiMem> {
        Bench::new(SpiMem::default())
    }

    /// Runs a command and waits for its end.
    fn run(bench: &mut Bench<SpiMem>, command: u32) {
        bench.write(CMD, command);
        assert_eq!(bench.read(CMD), command);
        bench.now += Ticks(200 * TICKS_PER_BIT);
        assert_eq!(bench.read(CMD), 0);
    }

    fn user(bench: &mut Bench<SpiMem>, code: u32, phases: u32, send: u32, receive: u32) {
        bench.write(USER, USER_COMMAND | phases);
        bench.write(USER1, 23 << 26);
        bench.write(USER2, 7 << 28 | code);
        bench.write(MOSI_DLEN, (send * 8).saturating_sub(1));
        bench.write(MISO_DLEN, (receive * 8).saturating_sub(1));
        run(bench, CMD_USR);
    }

    #[test]
    fn identification_both_ways() {
        let mut bench = bench();
        run(&mut bench, CMD_RDID);
        assert_eq!(bench.read(W0), 0x0012_40EF);
        bench.write(W0, 0);
        user(&mut bench, 0x9F, USER_MISO, 0, 3);
        assert_eq!(bench.read(W0), 0x0012_40EF);
    }

    #[test]
    fn program_read_erase_by_command_bits() {
        let mut bench = bench();
        bench.write(W0, 0x4433_2211);
        bench.write(ADDR, 4 << 24 | 0x1000);
        run(&mut bench, CMD_WREN);
        run(&mut bench, CMD_RDSR);
        assert_eq!(bench.read(RD_STATUS), 2);
        run(&mut bench, CMD_PP);
        run(&mut bench, CMD_RDSR);
        assert_eq!(bench.read(RD_STATUS), 1, "busy");
        bench.now += Ticks::from_millis(1);
        bench.write(ADDR, 0x1001);
        bench.write(MISO_DLEN, 15);
        bench.write(W0, 0);
        run(&mut bench, CMD_READ);
        assert_eq!(bench.read(W0), 0x3322);
        assert!(bench.requests.mmu_changed);

        run(&mut bench, CMD_WREN);
        run(&mut bench, CMD_SE);
        assert_eq!(bench.flash.read(0x1000), 0xFF);
    }

    #[test]
    fn program_read_erase_by_user_commands() {
        let mut bench = bench();
        user(&mut bench, 0x06, 0, 0, 0);
        bench.write(ADDR, 0x2000);
        bench.write(W0 + 32, 0xAABB_CCDD);
        user(
            &mut bench,
            0x02,
            USER_ADDR | USER_MOSI | USER_MOSI_HIGHPART,
            4,
            0,
        );
        assert_eq!(
            bench.flash.bytes()[0x2000..0x2004],
            [0xDD, 0xCC, 0xBB, 0xAA]
        );
        // Busy: reads see nothing, status says why.
        user(&mut bench, 0x03, USER_ADDR | USER_MISO, 0, 4);
        assert_eq!(bench.read(W0), u32::MAX);
        // Other commands are not taken at all.
        user(&mut bench, 0x06, 0, 0, 0);
        user(&mut bench, 0x05, USER_MISO, 0, 1);
        assert_eq!(bench.read(W0) & 0xFF, 1);
        bench.now += Ticks::from_millis(1);
        user(&mut bench, 0x03, USER_ADDR | USER_MISO, 0, 4);
        assert_eq!(bench.read(W0), 0xAABB_CCDD);
        user(&mut bench, 0x06, 0, 0, 0);
        user(&mut bench, 0x20, USER_ADDR, 0, 0);
        assert_eq!(bench.flash.read(0x2000), 0xFF);
    }

    #[test]
    fn without_write_enable_nothing_changes() {
        let mut bench = bench();
        bench.write(ADDR, 4 << 24);
        run(&mut bench, CMD_PP);
        assert_eq!(bench.flash.read(0), 0xFF);
        assert!(!bench.requests.mmu_changed);
    }

    #[test]
    fn status_register_is_written_and_kept() {
        let mut bench = bench();
        run(&mut bench, CMD_WREN);
        bench.write(CTRL, CTRL_WRSR_2B);
        bench.write(RD_STATUS, 0x0200);
        run(&mut bench, CMD_WRSR);
        bench.now += Ticks::from_millis(20);
        user(&mut bench, 0x35, USER_MISO, 0, 1);
        assert_eq!(bench.read(W0) & 0xFF, 2);
    }
}
