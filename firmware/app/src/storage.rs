//! What survives a loss of power: boot count and configuration, in the flash's `nvs` partition.
//!
//! A log-structured map (sequential-storage) spreads the writes over the partition's sectors and
//! checks every item by CRC; a write cut by a loss of power leaves the item before. A partition that
//! holds something else, or nothing sound, is erased: the device then is unprovisioned, and says so.

use embassy_embedded_hal::adapter::BlockingAsync;
use esp_bootloader_esp_idf::partitions::{
    DataPartitionSubType, PARTITION_TABLE_MAX_LEN, PartitionType, read_partition_table,
};
use esp_hal::peripherals::FLASH;
use esp_storage::FlashStorage;
use firmware_wire::Provision;
use sequential_storage::{
    cache::{Cache, Uncached},
    map::{MapConfig, MapStorage},
};

type Flash = BlockingAsync<FlashStorage<'static>>;
type Map = MapStorage<u8, Flash, Cache<Uncached, Uncached, Uncached, u8>>;

const KEY_BOOT_COUNT: u8 = 1;
const KEY_PROVISION: u8 = 2;
#[cfg(feature = "mutants")]
const KEY_MUTANT: u8 = 3;

/// Bytes of the longest item: a [`Provision`] whose texts are all full, and its version.
const ITEM_BYTES_MAX: usize = firmware_wire::CONTROL_FRAME_BYTES_MAX;

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub enum StorageError {
    /// The flash has no partition table, or that has no usable `nvs` partition.
    NoPartition,
    /// The flash refused to be read, erased or written, or did not keep what was written.
    Flash,
    /// The item is longer than any should be.
    TooLong,
}

/// The flash's `nvs` partition.
#[allow(missing_debug_implementations)]
pub struct Storage {
    map: Map,
}

/// Word-aligned, so that esp-storage need not go through a sector's worth of stack.
#[repr(align(4))]
struct Buffer([u8; ITEM_BYTES_MAX + 16]);

impl Buffer {
    fn new() -> Self {
        Self([0; ITEM_BYTES_MAX + 16])
    }
}

impl Storage {
    /// Opens the partition that the flash's partition table names. Needs no heap.
    ///
    /// # Errors
    /// [`StorageError::NoPartition`].
    pub fn open(flash: FLASH<'static>) -> Result<Self, StorageError> {
        let mut flash = FlashStorage::new(flash);
        let range = {
            let mut table = [0; PARTITION_TABLE_MAX_LEN];
            let table = read_partition_table(&mut flash, &mut table)
                .map_err(|_| StorageError::NoPartition)?;
            let nvs = table
                .find_partition(PartitionType::Data(DataPartitionSubType::Nvs))
                .ok()
                .flatten()
                .ok_or(StorageError::NoPartition)?;
            nvs.offset()..nvs.offset() + nvs.len()
        };
        let config = MapConfig::try_new(range).map_err(|_| StorageError::NoPartition)?;
        Ok(Self {
            map: MapStorage::new(BlockingAsync::new(flash), config, Cache::new_uncached()),
        })
    }

    /// Boots since the flash was erased, as far as flash knows; 0 when it does not.
    pub async fn boot_count(&mut self) -> u32 {
        let mut buffer = Buffer::new();
        match self
            .map
            .fetch_item::<u32>(&mut buffer.0, &KEY_BOOT_COUNT)
            .await
        {
            Ok(count) => count.unwrap_or(0),
            Err(_) => {
                self.erase().await;
                0
            }
        }
    }

    /// Keeps the boot count.
    ///
    /// # Errors
    /// [`StorageError::Flash`].
    pub async fn set_boot_count(&mut self, count: u32) -> Result<(), StorageError> {
        let mut buffer = Buffer::new();
        self.map
            .store_item(&mut buffer.0, &KEY_BOOT_COUNT, &count)
            .await
            .map_err(|_| StorageError::Flash)
    }

    /// The configuration; none when there is none, or only one of another version of the frames.
    pub async fn provision(&mut self) -> Option<Provision> {
        let mut buffer = Buffer::new();
        let item = self
            .map
            .fetch_item::<&[u8]>(&mut buffer.0, &KEY_PROVISION)
            .await;
        let item = match item {
            Ok(item) => item?,
            Err(_) => {
                self.erase().await;
                return None;
            }
        };
        let (version, provision) = item.split_first_chunk()?;
        if u16::from_le_bytes(*version) != firmware_wire::VERSION {
            return None;
        }
        postcard::from_bytes(provision).ok()
    }

    /// Keeps the configuration.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::TooLong`].
    pub async fn set_provision(&mut self, provision: &Provision) -> Result<(), StorageError> {
        let mut item = [0; ITEM_BYTES_MAX];
        let (version, rest) = item.split_at_mut(2);
        version.copy_from_slice(&firmware_wire::VERSION.to_le_bytes());
        let length = postcard::to_slice(provision, rest)
            .map_err(|_| StorageError::TooLong)?
            .len();
        let mut buffer = Buffer::new();
        self.map
            .store_item(&mut buffer.0, &KEY_PROVISION, &&item[..2 + length])
            .await
            .map_err(|_| StorageError::Flash)
    }

    /// The deliberate bug that this device is to have; 0 for none.
    #[cfg(feature = "mutants")]
    pub async fn mutant(&mut self) -> u16 {
        let mut buffer = Buffer::new();
        self.map
            .fetch_item::<u16>(&mut buffer.0, &KEY_MUTANT)
            .await
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    /// Keeps which deliberate bug this device is to have.
    ///
    /// # Errors
    /// [`StorageError::Flash`].
    #[cfg(feature = "mutants")]
    pub async fn set_mutant(&mut self, number: u16) -> Result<(), StorageError> {
        let mut buffer = Buffer::new();
        self.map
            .store_item(&mut buffer.0, &KEY_MUTANT, &number)
            .await
            .map_err(|_| StorageError::Flash)
    }

    /// Forgets everything.
    pub async fn erase(&mut self) {
        defmt::warn!("storage holds nothing sound: erasing it");
        if self.map.erase_all().await.is_err() {
            defmt::error!("storage can't be erased");
        }
    }
}
