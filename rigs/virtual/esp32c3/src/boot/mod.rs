//! Boot by emulation: what the ROM and Espressif's second-stage bootloader do until the application's first instruction.
//!
//! Running the real bootloader would need a model of every register it touches and buys nothing a scenario can see.
//! What can be seen is reproduced: the bootloader image must be there, the partition table is read and its MD5 checked,
//! `otadata` chooses the application, every candidate is verified before it is taken, and what can't be booted is
//! refused for the reason the real one would give, in words.
//!
//! Formats: ESP-IDF documentation, "Partition Tables", "App Image Format", "Over The Air Updates". Everything here is
//! a pure function of the flash contents: [`plan`] says what to do and the chip does it. A chip that finds nothing to
//! boot stands still with [`crate::ChipEvent::BootFailed`]; the real one repeats the attempt by watchdog, which adds
//! nothing but noise to a log.
//!
//! Not modelled: secure boot, flash encryption, anti-rollback, the rollback states of `otadata` beyond refusing an
//! image marked invalid or aborted, deep-sleep wake stubs, a boot from another place than 0x0 and 0x8000.

mod image;
mod partitions;

#[cfg(test)]
pub(crate) mod testing;

use std::fmt;

pub(crate) use image::{Image, ImageError};
pub(crate) use partitions::{Choice, PartitionError};

use crate::reset::ResetCause;

/// Flash offset of the second-stage bootloader, bytes.
pub(crate) const BOOTLOADER_OFFSET: u32 = 0;
/// Where the bootloader leaves the stack pointer; the application sets its own.
const STACK_POINTER: u32 = 0x3FCD_E710;

/// All there is to do to start an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootPlan {
    /// The image, verified.
    pub(crate) image: Image,
    /// Stack pointer at the first instruction.
    pub(crate) stack_pointer: u32,
    /// Applications that were preferred but refused, and why.
    pub(crate) refused: Vec<String>,
}

/// Why nothing could be booted. Printed, it says so in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootError {
    /// The ROM found no second-stage bootloader it would run.
    Bootloader(ImageError),
    /// No use could be made of the partition table.
    Partitions(PartitionError),
    /// Every application was refused: each with its label.
    Applications(Vec<String>),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Bootloader(error) => write!(f, "no bootloader at 0x0: {error}"),
            BootError::Partitions(error) => write!(f, "{error}"),
            BootError::Applications(refused) => write!(f, "{}", refused.join("; ")),
        }
    }
}

impl BootError {
    /// What the ROM or the bootloader says about it on the console.
    pub(crate) fn console(&self) -> String {
        match self {
            BootError::Bootloader(ImageError::Magic { word, .. }) => {
                format!("invalid header: {word:#010x}\r\n")
            }
            BootError::Bootloader(error) => format!("ets_main.c: {error}\r\n"),
            BootError::Partitions(error) => {
                format!("E (40) boot: {error}\r\nE (40) boot: load partition table error!\r\n")
            }
            BootError::Applications(refused) => {
                let mut text: String = refused
                    .iter()
                    .map(|reason| format!("E (60) esp_image: {reason}\r\n"))
                    .collect();
                text.push_str("E (60) boot: No bootable app partitions in the partition table\r\n");
                text
            }
        }
    }
}

/// The first lines on the ROM's console after a reset.
pub(crate) fn banner(cause: ResetCause) -> String {
    let name = match cause {
        ResetCause::PowerOn => "POWERON",
        ResetCause::CoreSoftware => "RTC_SW_SYS_RST",
        ResetCause::CoreWatchdog0 => "TG0WDT_SYS_RST",
        ResetCause::CoreWatchdog1 => "TG1WDT_SYS_RST",
        ResetCause::CoreRtcWatchdog => "RTCWDT_SYS_RST",
        ResetCause::CpuWatchdog0 => "TG0WDT_CPU_RST",
        ResetCause::CpuSoftware => "RTC_SW_CPU_RST",
        ResetCause::CpuRtcWatchdog => "RTCWDT_CPU_RST",
        ResetCause::CpuWatchdog1 => "TG1WDT_CPU_RST",
        ResetCause::SystemRtcWatchdog => "RTCWDT_RTC_RST",
        ResetCause::SystemSuperWatchdog => "SUPER_WDT_RST",
        ResetCause::CoreUsbJtag => "USB_JTAG_CHIP_RST",
    };
    format!(
        "ESP-ROM:esp32c3-api1-20210207\r\nrst:{:#x} ({name}),boot:0xd (SPI_FAST_FLASH_BOOT)\r\n",
        cause.code()
    )
}

/// Reads `flash` as ROM and bootloader would, on a chip of `revision` (major, minor).
///
/// # Errors
/// [`BootError`] when there is nothing they would start.
pub(crate) fn plan(flash: &[u8], revision: (u8, u8)) -> Result<BootPlan, BootError> {
    Image::parse(flash, BOOTLOADER_OFFSET, partitions::TABLE_OFFSET, revision)
        .map_err(BootError::Bootloader)?;
    let candidates = partitions::applications(flash).map_err(BootError::Partitions)?;
    let mut refused = Vec::new();
    for Choice {
        label,
        offset,
        bytes,
    } in candidates
    {
        match Image::parse(flash, offset, bytes, revision) {
            Ok(image) => {
                return Ok(BootPlan {
                    image,
                    stack_pointer: STACK_POINTER,
                    refused,
                });
            }
            Err(error) => refused.push(format!(
                "image in partition `{label}` at {offset:#x}: {error}"
            )),
        }
    }
    Err(BootError::Applications(refused))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{ImageBuilder, PartitionBuilder, flash_with};
    use super::*;

    const REVISION: (u8, u8) = (0, 4);

    fn app() -> ImageBuilder {
        ImageBuilder::new(0x4038_0010)
            .segment(0x3C00_0020, &[1; 64])
            .segment(0x4038_0000, &[2; 32])
    }

    /// Refused in these words; what the console says of it.
    fn refused(flash: &[u8], expected: &str) -> String {
        let error = plan(flash, REVISION).expect_err("a refusal");
        assert_eq!(error.to_string(), expected);
        error.console()
    }

    #[test]
    fn factory_application_boots() {
        let flash = flash_with(&app());
        let plan = plan(&flash, REVISION).unwrap();
        assert_eq!(plan.image.offset, 0x1_0000);
        assert_eq!(plan.image.entry, 0x4038_0010);
        assert_eq!(plan.stack_pointer, 0x3FCD_E710);
        assert!(plan.refused.is_empty());
    }

    #[test]
    fn erased_flash_is_refused_as_the_rom_does() {
        let flash = vec![0xFF; 1 << 20];
        let console = refused(
            &flash,
            "no bootloader at 0x0: no image: flash is erased there",
        );
        assert_eq!(console, "invalid header: 0xffffffff\r\n");
    }

    #[test]
    fn flash_without_application_is_refused() {
        let mut flash = flash_with(&app());
        flash[0x1_0000..].fill(0xFF);
        let console = refused(
            &flash,
            "image in partition `factory` at 0x10000: no image: flash is erased there",
        );
        assert_eq!(
            console,
            "E (60) esp_image: image in partition `factory` at 0x10000: no image: flash is erased there\r\n\
             E (60) boot: No bootable app partitions in the partition table\r\n"
        );
        flash[0x8000..0x9000].fill(0xFF);
        let console = refused(
            &flash,
            "no partition table at 0x8000: flash is erased there",
        );
        assert_eq!(
            console,
            "E (40) boot: no partition table at 0x8000: flash is erased there\r\n\
             E (40) boot: load partition table error!\r\n"
        );
    }

    #[test]
    fn next_application_is_tried_when_the_chosen_one_is_bad() {
        let mut flash = flash_with(&app());
        let table = PartitionBuilder::new()
            .entry(1, 0, 0xD000, 0x2000, "otadata")
            .entry(0, 0x10, 0x1_0000, 0x1_0000, "ota_0")
            .entry(0, 0x11, 0x2_0000, 0x1_0000, "ota_1")
            .build();
        flash[0x8000..0x8000 + table.len()].copy_from_slice(&table);
        flash[0xD000..0xD020].copy_from_slice(&testing::ota_select(2, 2));
        let plan = plan(&flash, REVISION).unwrap();
        assert_eq!(plan.image.offset, 0x1_0000);
        assert_eq!(
            plan.refused,
            ["image in partition `ota_1` at 0x20000: no image: flash is erased there"]
        );
    }

    proptest! {
        #[test]
        fn random_flash_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..4096),
            at in prop::sample::select(vec![0_usize, 0x8000, 0xD000, 0x1_0000]),
            cut in 0_usize..0x1_2000,
        ) {
            let mut flash = flash_with(&app());
            let end = (at + bytes.len()).min(flash.len());
            flash[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = plan(&flash, REVISION);
            flash.truncate(cut);
            let _ = plan(&flash, REVISION);
        }

        #[test]
        fn one_flipped_bit_is_always_noticed(bit in 0_usize..8 * 96) {
            let mut flash = flash_with(&app());
            // Anywhere in the application: header, segment headers, data. Only not in the byte that says whether there
            // is a hash.
            prop_assume!(bit / 8 != 23);
            flash[0x1_0000 + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(plan(&flash, REVISION).is_err());
        }
    }
}
