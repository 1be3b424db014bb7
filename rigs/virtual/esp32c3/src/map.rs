//! The address map: one table says which registers lie where, and the peripherals are made from it.
//!
//! ESP32-C3 Technical Reference Manual, chapter "System and Memory", table "Module/Peripheral Address Mapping".
//!
//! | addresses | what | where |
//! |---|---|---|
//! | 0x3C00_0000, 8 MiB | flash, as data | `extmem` |
//! | 0x3FC8_0000, 384 KiB | SRAM, as data | `memory` |
//! | 0x3FF0_0000, 128 KiB | mask ROM, as data | `rom` |
//! | 0x4000_0000, 384 KiB | mask ROM | `rom` |
//! | 0x4037_C000, 400 KiB | SRAM, as instructions | `memory` |
//! | 0x4200_0000, 8 MiB | flash, as instructions | `extmem` |
//! | 0x5000_0000, 8 KiB | RTC memory | `memory` |
//! | 0x6000_0000, 836 KiB | registers | the table below |
//!
//! Between the blocks of the table reads give 0 and writes go nowhere, as on the chip; both are noted.

use crate::apb_ctrl::ApbCtrl;
use crate::assist_debug::AssistDebug;
use crate::efuse::Efuse;
use crate::extmem::Extmem;
use crate::gpio::Gpio;
use crate::i2c_ana::I2cAna;
use crate::interrupt_core0::InterruptCore0;
use crate::io_mux::IoMux;
use crate::open_eth::OpenEth;
use crate::peripheral::Peripheral;
use crate::registers::Registers;
use crate::rtc_cntl::RtcCntl;
use crate::spi_mem::{self, SpiMem};
use crate::system::System;
use crate::systimer::Systimer;
use crate::time::Ticks;
use crate::timg::Timg;
use crate::uart::Uart;
use crate::usb_serial_jtag::UsbSerialJtag;

/// First address of the registers.
pub(crate) const REGISTERS_START: u32 = 0x6000_0000;
/// First address after the registers.
pub(crate) const REGISTERS_END: u32 = 0x600D_1000;

/// What the chip is made with, as far as peripherals must know.
pub(crate) struct Identity {
    pub(crate) seed: u64,
    pub(crate) mac: [u8; 6],
    pub(crate) revision: (u8, u8),
}

/// One row of the table.
struct Row {
    base: u32,
    length: u32,
    block: Block,
}

macro_rules! address_map {
    ($identity:ident; $($base:literal $length:literal $block:ident $field:ident: $kind:ty = $new:expr;)*) => {
        /// A block of registers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Block { $($block),* }

        /// Every peripheral of the chip.
        pub(crate) struct Peripherals { $(pub(crate) $field: $kind),* }

        impl Peripherals {
            /// All of them, as power-on at time 0 leaves them.
            pub(crate) fn new($identity: &Identity) -> Peripherals {
                Peripherals { $($field: $new),* }
            }

            /// The peripheral behind a block.
            pub(crate) fn get(&mut self, block: Block) -> &mut dyn Peripheral {
                match block { $(Block::$block => &mut self.$field),* }
            }
        }

        impl Block {
            /// Every block, in the order of addresses.
            pub(crate) const ALL: &'static [Block] = &[$(Block::$block),*];
        }

        const TABLE: &[Row] = &[$(Row { base: $base, length: $length, block: Block::$block }),*];
    };
}

address_map! {
    identity;
    0x6000_0000 0x1000 Uart0 uart0: Uart = Uart::new(0);
    0x6000_2000 0x1000 Spi1 spi1: SpiMem = SpiMem::default();
    0x6000_3000 0x1000 Spi0 spi0: Registers = spi_mem::spi0();
    0x6000_4000 0x1000 Gpio gpio: Gpio = Gpio::new(IoMux::default().pads());
    0x6000_5000 0x1000 Fe2 fe2: Registers = Registers::new("fe2", 0x1000, &[0xF0..0xF4], &[]);
    0x6000_6000 0x1000 Fe fe: Registers = Registers::new("fe", 0x1000, &[0x90..0x94], &[]);
    0x6000_8000 0x0800 RtcCntl rtc_cntl: RtcCntl = RtcCntl::new(Ticks::ZERO);
    0x6000_8800 0x0800 Efuse efuse: Efuse = Efuse::new(identity.mac, identity.revision);
    0x6000_9000 0x1000 IoMux io_mux: IoMux = IoMux::default();
    0x6000_E000 0x1000 I2cAna i2c_ana: I2cAna = I2cAna::new();
    0x6001_0000 0x1000 Uart1 uart1: Uart = Uart::new(1);
    0x6001_3000 0x1000 I2c0 i2c0: Registers = unmodelled("i2c0");
    0x6001_4000 0x1000 Uhci0 uhci0: Registers = unmodelled("uhci0");
    0x6001_6000 0x1000 Rmt rmt: Registers = unmodelled("rmt");
    0x6001_9000 0x1000 Ledc ledc: Registers = unmodelled("ledc");
    0x6001_C000 0x1000 Nrx nrx: Registers = Registers::new("nrx", 0x1000, &[0xCD4..0xCD8], &[]);
    0x6001_D000 0x1000 Bb bb: Registers = Registers::new("bb", 0x1000, &[0x54..0x58], &[]);
    0x6001_F000 0x1000 Timg0 timg0: Timg = Timg::new(0);
    0x6002_0000 0x1000 Timg1 timg1: Timg = Timg::new(1);
    0x6002_3000 0x1000 Systimer systimer: Systimer = Systimer::new();
    0x6002_4000 0x1000 Spi2 spi2: Registers = unmodelled("spi2");
    0x6002_6000 0x1000 ApbCtrl apb_ctrl: ApbCtrl = ApbCtrl::new(identity.seed);
    0x6002_B000 0x1000 Twai0 twai0: Registers = unmodelled("twai0");
    0x6002_D000 0x1000 I2s0 i2s0: Registers = unmodelled("i2s0");
    0x6003_3000 0x3000 WifiMac wifi_mac: Registers = unmodelled("wifi_mac");
    0x6003_A000 0x1000 Aes aes: Registers = unmodelled("aes");
    0x6003_B000 0x1000 Sha sha: Registers = unmodelled("sha");
    0x6003_C000 0x1000 Rsa rsa: Registers = unmodelled("rsa");
    0x6003_D000 0x1000 Ds ds: Registers = unmodelled("ds");
    0x6003_E000 0x1000 Hmac hmac: Registers = unmodelled("hmac");
    0x6003_F000 0x1000 Dma dma: Registers = unmodelled("dma");
    0x6004_0000 0x1000 ApbSaradc apb_saradc: Registers = unmodelled("apb_saradc");
    0x6004_3000 0x1000 UsbDevice usb_device: UsbSerialJtag = UsbSerialJtag::default();
    0x600C_0000 0x1000 System system: System = System::new();
    0x600C_1000 0x1000 Sensitive sensitive: Registers = Registers::new("sensitive", 0x1000, &[0x00..0x1000], &[]);
    0x600C_2000 0x1000 InterruptCore0 interrupt_core0: InterruptCore0 = InterruptCore0::new();
    0x600C_4000 0x2000 Extmem extmem: Extmem = Extmem::default();
    0x600C_C000 0x1000 XtsAes xts_aes: Registers = unmodelled("xts_aes");
    0x600C_D000 0x1000 OpenEth open_eth: OpenEth = OpenEth::default();
    0x600C_E000 0x1000 AssistDebug assist_debug: AssistDebug = AssistDebug::new();
    0x600D_0000 0x1000 WorldController world_controller: Registers = unmodelled("world_controller");
}

/// A block that is named but not modelled: it holds what is written, and every access is noted.
fn unmodelled(name: &'static str) -> Registers {
    Registers::new(name, 0x1000, &[], &[])
}

/// The finest step of the table's bases and lengths.
const PAGE_BYTES: u32 = 0x800;
const PAGES: usize = ((REGISTERS_END - REGISTERS_START) / PAGE_BYTES) as usize;
const NOTHING: u8 = u8::MAX;

/// Row of the table for each page, worked out by the compiler.
static ROWS: [u8; PAGES] = {
    let mut rows = [NOTHING; PAGES];
    let mut row = 0;
    while row < TABLE.len() {
        let Row { base, length, .. } = TABLE[row];
        assert!(base % PAGE_BYTES == 0 && length % PAGE_BYTES == 0);
        let mut page = (base - REGISTERS_START) / PAGE_BYTES;
        while page < (base + length - REGISTERS_START) / PAGE_BYTES {
            assert!(rows[page as usize] == NOTHING, "two blocks at one address");
            rows[page as usize] = row as u8;
            page += 1;
        }
        row += 1;
    }
    rows
};

/// The block at `address`, and the offset of its word there.
#[inline]
pub(crate) fn find(address: u32) -> Option<(Block, u32)> {
    let page = address.checked_sub(REGISTERS_START)? / PAGE_BYTES;
    let row = TABLE.get(usize::from(*ROWS.get(page as usize)?))?;
    Some((row.block, (address - row.base) & !3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_address() {
        fn check(address: u32, expected: Option<(Block, u32)>) {
            assert_eq!(find(address), expected, "{address:#x}");
        }
        check(0x6000_0000, Some((Block::Uart0, 0)));
        check(0x6000_8044, Some((Block::RtcCntl, 0x44)));
        check(0x6000_8844, Some((Block::Efuse, 0x44)));
        check(0x6001_F068, Some((Block::Timg0, 0x68)));
        check(0x6002_0067, Some((Block::Timg1, 0x64)));
        check(0x600C_20FC, Some((Block::InterruptCore0, 0xFC)));
        check(0x600C_5000, Some((Block::Extmem, 0x1000)));
        check(0x600C_E098, Some((Block::AssistDebug, 0x98)));
        check(0x6000_1000, None);
        check(0x600D_1000, None);
        check(0x5FFF_FFFC, None);
        check(u32::MAX, None);
    }

    #[test]
    fn every_block_has_its_peripheral_and_the_order_of_addresses() {
        let identity = Identity {
            seed: 0,
            mac: [0; 6],
            revision: (0, 4),
        };
        let mut peripherals = Peripherals::new(&identity);
        assert!(TABLE.windows(2).all(|rows| rows[0].base < rows[1].base));
        let names: std::collections::BTreeSet<&str> = Block::ALL
            .iter()
            .map(|block| peripherals.get(*block).name())
            .collect();
        assert_eq!(names.len(), Block::ALL.len(), "two blocks of one name");
    }
}
