//! What survives a loss of power, by name: boot count, configuration, certificates, what the
//! controller keeps; in the flash's `nvs` partition.
//!
//! How it survives is `firmware-storage`'s business; this says what the items are and how they are
//! written. The configuration, and what the controller keeps, begin with the version of their
//! encoding: one of another version is taken for none. Numbers, certificates and the table of the
//! sensors' codes are plain bytes that no version changes. No call waits in the middle, so several tasks share the flash
//! through [`with`].

use core::{fmt, ops::Range};

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, mutex::Mutex};
use esp_bootloader_esp_idf::partitions::{
    DataPartitionSubType, PARTITION_TABLE_MAX_LEN, PartitionType, read_partition_table,
};
use esp_hal::{delay::Delay, peripherals::FLASH};
use esp_storage::FlashStorage;
use firmware_control::KEPT_BYTES_MAX;
pub use firmware_storage::ITEM_BYTES_MAX;
use firmware_storage::{Error, Key};
use firmware_wire::{CertificateSlot, Provision};

use crate::provisioning;

const BOOT_COUNT: Key = Key::new(1);
const CONFIGURATION: Key = Key::new(2);
#[cfg(feature = "mutants")]
const MUTANT: Key = Key::new(3);
const THRESHOLDS: Key = Key::new(4);
const SCHEDULES: Key = Key::new(5);
const SENSORS: Key = Key::new(6);
const AUTHORITY: Key = Key::new(8);
const CLIENT: Key = Key::new(9);
const CLIENT_KEY: Key = Key::new(10);

/// A [`Configuration`] whose texts are all full, with its version.
const CONFIGURATION_BYTES_MAX: usize = 2 + firmware_wire::CONTROL_FRAME_BYTES_MAX + KEPT_BYTES_MAX;

/// How long the flash may be busy with what was begun before a reset (data sheets: 400 ms for a
/// sector at most), and how often that is looked at, milliseconds.
const BUSY_MAX_MS: u32 = 600;
const BUSY_LOOK_MS: u32 = 20;

static SHARED: Mutex<CriticalSectionRawMutex, Option<Storage>> = Mutex::new(None);

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub enum StorageError {
    /// The flash has no partition table, or that has no usable `nvs` partition.
    NoPartition,
    /// The flash refused to be read, erased or written, or did not keep what was written.
    Flash,
    /// The item is longer than any should be.
    TooLong,
    /// There is no room left.
    Full,
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Range => Self::NoPartition,
            Error::Flash => Self::Flash,
            Error::TooLong => Self::TooLong,
            Error::Full => Self::Full,
        }
    }
}

/// What the device works with. One item, so that its two parts never contradict each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Configuration {
    /// As the bench provisioned it.
    pub provision: Provision,
    /// What the controller has made of its MQTT part since then, as it keeps it itself
    /// ([`firmware_control::Kept::Configuration`]); empty when nothing was changed.
    pub kept: heapless::Vec<u8, KEPT_BYTES_MAX>,
}

// What the controller keeps holds the password of the broker, as bytes.
impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("provision", &self.provision)
            .field("kept", &format_args!("{} bytes", self.kept.len()))
            .finish()
    }
}

/// What is kept beside the configuration, each in its owner's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The controller's thresholds.
    Thresholds,
    /// The controller's schedules.
    Schedules,
    /// Which sensor has which point.
    Sensors,
}

impl Kept {
    fn key(self) -> Key {
        match self {
            Self::Thresholds => THRESHOLDS,
            Self::Schedules => SCHEDULES,
            Self::Sensors => SENSORS,
        }
    }
}

fn certificate_key(slot: CertificateSlot) -> Key {
    match slot {
        CertificateSlot::Authority => AUTHORITY,
        CertificateSlot::Client => CLIENT,
        CertificateSlot::ClientKey => CLIENT_KEY,
    }
}

/// The flash's `nvs` partition.
#[derive(Debug)]
pub struct Storage {
    items: firmware_storage::Storage<FlashStorage<'static>>,
}

/// Where the flash's partition table says that the partition is.
fn find_partition(flash: &mut FlashStorage<'_>) -> Option<Range<u32>> {
    let mut table = [0; PARTITION_TABLE_MAX_LEN];
    let table = read_partition_table(flash, &mut table).ok()?;
    let nvs = table
        .find_partition(PartitionType::Data(DataPartitionSubType::Nvs))
        .ok()??;
    Some(nvs.offset()..nvs.offset() + nvs.len())
}

/// Shares `storage` from now on; see [`with`].
pub async fn share(storage: Storage) {
    *SHARED.lock().await = Some(storage);
}

/// Works with the storage, once nobody else does.
///
/// # Errors
/// [`StorageError::NoPartition`] when there is none, and what `work` returns.
pub async fn with<T>(
    work: impl FnOnce(&mut Storage) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let mut storage = SHARED.lock().await;
    work(storage.as_mut().ok_or(StorageError::NoPartition)?)
}

impl Storage {
    /// Opens the partition that the flash's partition table names. Needs no heap, writes nothing.
    ///
    /// # Errors
    /// [`StorageError::NoPartition`], [`StorageError::Flash`].
    pub fn open(mut flash: FLASH<'static>) -> Result<Self, StorageError> {
        let mut range = find_partition(&mut FlashStorage::new(flash.reborrow()));
        // A reset does not end an erase: the chip starts anew, its flash answers nothing meanwhile.
        for _ in 0..BUSY_MAX_MS / BUSY_LOOK_MS {
            if range.is_some() {
                break;
            }
            Delay::new().delay_millis(BUSY_LOOK_MS);
            range = find_partition(&mut FlashStorage::new(flash.reborrow()));
        }
        let range = range.ok_or(StorageError::NoPartition)?;
        let flash = FlashStorage::new(flash);
        let items = firmware_storage::Storage::open(flash, range)?;
        Ok(Self { items })
    }

    /// Boots since the flash was erased, as far as flash knows; 0 when it does not.
    pub fn boot_count(&mut self) -> u32 {
        let mut buffer = [0; 4];
        match self.items.read(BOOT_COUNT, &mut buffer) {
            Ok(Some(_)) => u32::from_le_bytes(buffer),
            Ok(None) => 0,
            Err(_) => {
                defmt::error!("the boot count can't be read");
                0
            }
        }
    }

    /// Keeps the boot count.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`].
    pub fn set_boot_count(&mut self, count: u32) -> Result<(), StorageError> {
        Ok(self.items.write(BOOT_COUNT, &count.to_le_bytes())?)
    }

    /// The configuration; none when there is none, or only one of another version, or one that the
    /// device can't work with.
    pub fn configuration(&mut self) -> Option<Configuration> {
        let mut buffer = [0; CONFIGURATION_BYTES_MAX];
        let item = self.items.read(CONFIGURATION, &mut buffer).ok().flatten()?;
        let (version, rest) = item.split_first_chunk()?;
        if u16::from_le_bytes(*version) != firmware_wire::VERSION {
            return None;
        }
        let (provision, kept) = postcard::take_from_bytes(rest).ok()?;
        // Flash may hold what a version with other limits took.
        if provisioning::check(&provision).is_err() {
            defmt::warn!("configuration kept in flash is out of range: waiting for another");
            return None;
        }
        Some(Configuration {
            provision,
            kept: heapless::Vec::from_slice(kept).ok()?,
        })
    }

    /// Keeps the configuration.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`], [`StorageError::TooLong`].
    pub fn set_configuration(&mut self, configuration: &Configuration) -> Result<(), StorageError> {
        let mut bytes = [0; CONFIGURATION_BYTES_MAX];
        let (version, rest) = bytes.split_at_mut(2);
        version.copy_from_slice(&firmware_wire::VERSION.to_le_bytes());
        let provision = postcard::to_slice(&configuration.provision, rest)
            .map_err(|_| StorageError::TooLong)?
            .len();
        let kept = configuration.kept.as_slice();
        rest.get_mut(provision..provision + kept.len())
            .ok_or(StorageError::TooLong)?
            .copy_from_slice(kept);
        let length = 2 + provision + kept.len();
        Ok(self.items.write(CONFIGURATION, &bytes[..length])?)
    }

    /// A certificate or key, in `buffer`; none when there is none.
    pub fn certificate<'b>(
        &mut self,
        slot: CertificateSlot,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        self.items
            .read(certificate_key(slot), buffer)
            .ok()
            .flatten()
    }

    /// How long a certificate or key is, bytes; none when there is none.
    pub fn certificate_bytes(&self, slot: CertificateSlot) -> Option<usize> {
        self.items.length(certificate_key(slot))
    }

    /// Keeps a certificate or key; forgets it when `bytes` is empty.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`], [`StorageError::TooLong`].
    pub fn set_certificate(
        &mut self,
        slot: CertificateSlot,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let key = certificate_key(slot);
        let kept = match bytes {
            [] => self.items.remove(key),
            _ => self.items.write(key, bytes),
        };
        Ok(kept?)
    }

    /// What was kept under this name, in `buffer`; none when there is none, or none that fits.
    pub fn kept<'b>(&mut self, kept: Kept, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        self.items.read(kept.key(), buffer).ok().flatten()
    }

    /// Keeps `bytes` under this name.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`], [`StorageError::TooLong`].
    pub fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), StorageError> {
        Ok(self.items.write(kept.key(), bytes)?)
    }

    /// Forgets what was kept under this name.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`].
    pub fn forget(&mut self, kept: Kept) -> Result<(), StorageError> {
        Ok(self.items.remove(kept.key())?)
    }

    /// The deliberate bug that this device is to have; 0 for none.
    #[cfg(feature = "mutants")]
    pub fn mutant(&mut self) -> u16 {
        let mut buffer = [0; 2];
        match self.items.read(MUTANT, &mut buffer) {
            Ok(Some(_)) => u16::from_le_bytes(buffer),
            _ => 0,
        }
    }

    /// Keeps which deliberate bug this device is to have.
    ///
    /// # Errors
    /// [`StorageError::Flash`], [`StorageError::Full`].
    #[cfg(feature = "mutants")]
    pub fn set_mutant(&mut self, number: u16) -> Result<(), StorageError> {
        Ok(self.items.write(MUTANT, &number.to_le_bytes())?)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// [`StorageError::Flash`].
    pub fn erase(&mut self) -> Result<(), StorageError> {
        Ok(self.items.erase()?)
    }
}
