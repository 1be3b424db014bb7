//! What differs from chip to chip, in one place; which one it is says a feature of this crate.
//!
//! Sources: ESP32-C3 and ESP32-C6 Technical Reference Manuals, "System and Memory".

use core::ops::Range;

#[cfg(not(any(feature = "esp32c3", feature = "esp32c6")))]
compile_error!("name a chip: `--no-default-features --features esp32c6`, see docs/chips.md");
#[cfg(all(feature = "esp32c3", feature = "esp32c6"))]
compile_error!("name one chip: `--no-default-features --features esp32c6`, see docs/chips.md");

/// Where stacks are: internal SRAM, by the data bus.
#[cfg(feature = "esp32c3")]
pub const STACKS: Range<u32> = 0x3FC8_0000..0x3FCE_0000;
/// Where code is: internal SRAM by the instruction bus, and the flash window.
#[cfg(feature = "esp32c3")]
pub const CODE: [Range<u32>; 2] = [0x4037_C000..0x403E_0000, 0x4200_0000..0x4280_0000];

/// Where stacks are: internal SRAM.
#[cfg(feature = "esp32c6")]
pub const STACKS: Range<u32> = 0x4080_0000..0x4088_0000;
/// Where code is: internal SRAM, which both buses see at one address, and the flash window.
#[cfg(feature = "esp32c6")]
pub const CODE: [Range<u32>; 2] = [0x4080_0000..0x4088_0000, 0x4200_0000..0x4300_0000];

/// An address where nothing is.
pub const UNMAPPED: u32 = 0x2000_0000;

/// Whether the image has a driver for the OpenCores Ethernet MAC: no silicon has that, only
/// simulated ESP32-C3 have.
pub const HAS_ETHERNET: bool = cfg!(feature = "esp32c3");
