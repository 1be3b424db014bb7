//! The partition table, and which application `otadata` chooses from it.
//!
//! Formats: ESP-IDF documentation, "Partition Tables" (32-byte entries at 0x8000, MD5 entry, end mark) and "Over The Air
//! Updates" (two copies of a sequence number with CRC).

use std::fmt;

use crate::rom::{crc32_le, md5};

/// Flash offset of the table, bytes.
pub(crate) const TABLE_OFFSET: u32 = 0x8000;
const TABLE_ENTRIES_MAX: usize = 95;
const ENTRY_BYTES: usize = 32;
const ENTRY_MAGIC: [u8; 2] = [0xAA, 0x50];
const MD5_MAGIC: [u8; 2] = [0xEB, 0xEB];

const TYPE_APP: u8 = 0;
const TYPE_DATA: u8 = 1;
const APP_FACTORY: u8 = 0x00;
const APP_OTA_FIRST: u8 = 0x10;
const APP_OTA_LAST: u8 = 0x1F;
const DATA_OTA: u8 = 0x00;

const SECTOR_BYTES: u32 = 0x1000;
/// `ota_state` of an image that must not be booted.
const OTA_INVALID: u32 = 3;
const OTA_ABORTED: u32 = 4;

/// An application partition, in the order to try them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its name in the table.
    pub(crate) label: String,
    /// Flash offset, bytes.
    pub(crate) offset: u32,
    /// Size, bytes.
    pub(crate) bytes: u32,
}

/// Why no application can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartitionError {
    /// Nothing there (all ones).
    Missing,
    /// Entry `index` does not start as an entry does.
    Magic { index: usize, found: [u8; 2] },
    /// The MD5 entry does not match the entries before it.
    Md5,
    /// Entry `label` reaches beyond the flash.
    Outside { label: String, end: u64, flash: u64 },
    /// No application among the entries.
    NoApplication { entries: usize },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionError::Missing => {
                write!(
                    f,
                    "no partition table at {TABLE_OFFSET:#x}: flash is erased there"
                )
            }
            PartitionError::Magic { index, found } => write!(
                f,
                "partition table entry {index} starts with {:02x} {:02x}, not aa 50",
                found[0], found[1]
            ),
            PartitionError::Md5 => write!(f, "MD5 of the partition table is wrong"),
            PartitionError::Outside { label, end, flash } => write!(
                f,
                "partition `{label}` ends at {end:#x}, the flash at {flash:#x}"
            ),
            PartitionError::NoApplication { entries } => write!(
                f,
                "no app partition among the {entries} in the partition table"
            ),
        }
    }
}

struct Entry {
    kind: u8,
    subtype: u8,
    offset: u32,
    bytes: u32,
    label: String,
}

/// The applications of `flash` in the order the bootloader tries them: the chosen one, those before it down to the
/// factory application, then those after it.
pub(crate) fn applications(flash: &[u8]) -> Result<Vec<Choice>, PartitionError> {
    let entries = read_table(flash)?;
    let app = |subtype: u8| {
        entries
            .iter()
            .find(|entry| entry.kind == TYPE_APP && entry.subtype == subtype)
    };
    let factory = app(APP_FACTORY);
    let slots: Vec<&Entry> = (APP_OTA_FIRST..=APP_OTA_LAST).map_while(app).collect();
    let selected = entries
        .iter()
        .find(|entry| entry.kind == TYPE_DATA && entry.subtype == DATA_OTA)
        .and_then(|data| selected_slot(flash, data, slots.len()));
    let mut order: Vec<&Entry> = Vec::new();
    let tried_last = match selected {
        Some(slot) => {
            order.extend(slots[..=slot].iter().rev());
            &slots[slot + 1..]
        }
        None => &slots[..],
    };
    order.extend(factory);
    order.extend(tried_last);
    if order.is_empty() {
        return Err(PartitionError::NoApplication {
            entries: entries.len(),
        });
    }
    Ok(order
        .into_iter()
        .map(|entry| Choice {
            label: entry.label.clone(),
            offset: entry.offset,
            bytes: entry.bytes,
        })
        .collect())
}

fn read_table(flash: &[u8]) -> Result<Vec<Entry>, PartitionError> {
    let start = flash.len().min(TABLE_OFFSET as usize);
    let end = flash.len().min(start + TABLE_ENTRIES_MAX * ENTRY_BYTES);
    let table = &flash[start..end];
    let mut entries = Vec::new();
    for (index, raw) in table.chunks_exact(ENTRY_BYTES).enumerate() {
        match [raw[0], raw[1]] {
            ENTRY_MAGIC => entries.push(read_entry(raw, flash.len() as u64)?),
            MD5_MAGIC => {
                if md5(&table[..index * ENTRY_BYTES])[..] != raw[16..] {
                    return Err(PartitionError::Md5);
                }
            }
            [0xFF, 0xFF] if index == 0 => return Err(PartitionError::Missing),
            [0xFF, 0xFF] => return Ok(entries),
            found => return Err(PartitionError::Magic { index, found }),
        }
    }
    if entries.is_empty() {
        return Err(PartitionError::Missing);
    }
    Ok(entries)
}

fn read_entry(raw: &[u8], flash: u64) -> Result<Entry, PartitionError> {
    let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let label = raw[12..28].split(|byte| *byte == 0).next().unwrap_or(&[]);
    let entry = Entry {
        kind: raw[2],
        subtype: raw[3],
        offset: word(4),
        bytes: word(8),
        label: String::from_utf8_lossy(label).into_owned(),
    };
    let end = u64::from(entry.offset) + u64::from(entry.bytes);
    if end > flash {
        return Err(PartitionError::Outside {
            label: entry.label,
            end,
            flash,
        });
    }
    Ok(entry)
}

/// The slot the newer of the two valid copies in `otadata` names.
fn selected_slot(flash: &[u8], data: &Entry, slots: usize) -> Option<usize> {
    if slots == 0 {
        return None;
    }
    let sequence = [0, SECTOR_BYTES]
        .into_iter()
        .filter(|copy| copy + SECTOR_BYTES <= data.bytes)
        .filter_map(|copy| {
            let start = (data.offset + copy) as usize;
            let raw: &[u8; 32] = flash.get(start..start + 32)?.try_into().ok()?;
            let word =
                |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
            let (sequence, state, crc) = (word(0), word(24), word(28));
            let bootable = sequence != u32::MAX
                && sequence != 0
                && state != OTA_INVALID
                && state != OTA_ABORTED
                && crc == crc32_le(u32::MAX, &raw[..4]);
            bootable.then_some(sequence)
        })
        .max()?;
    Some((sequence - 1) as usize % slots)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PartitionBuilder, ota_select};
    use super::*;

    fn flash(table: &[u8]) -> Vec<u8> {
        let mut flash = vec![0xFF; 0x20_0000];
        flash[0x8000..0x8000 + table.len()].copy_from_slice(table);
        flash
    }

    fn two_slots() -> PartitionBuilder {
        PartitionBuilder::new()
            .entry(1, 2, 0x9000, 0x4000, "nvs")
            .entry(1, 0, 0xD000, 0x2000, "otadata")
            .entry(0, 0x10, 0x10_0000, 0x1_0000, "ota_0")
            .entry(0, 0x11, 0x11_0000, 0x1_0000, "ota_1")
    }

    fn order(flash: &[u8]) -> String {
        match applications(flash) {
            Ok(choices) => {
                let labels: Vec<String> = choices.into_iter().map(|choice| choice.label).collect();
                labels.join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn otadata_chooses_the_slot() {
        let check = |first: Option<[u8; 32]>, second: Option<[u8; 32]>, expected: &str| {
            let mut flash = flash(
                &two_slots()
                    .entry(0, 0, 0x1_0000, 0x1_0000, "factory")
                    .build(),
            );
            for (copy, at) in [(first, 0xD000), (second, 0xE000)] {
                if let Some(copy) = copy {
                    flash[at..at + 32].copy_from_slice(&copy);
                }
            }
            assert_eq!(order(&flash), expected);
        };
        check(None, None, "factory ota_0 ota_1");
        check(Some(ota_select(1, 2)), None, "ota_0 factory ota_1");
        check(
            Some(ota_select(1, 2)),
            Some(ota_select(2, 2)),
            "ota_1 ota_0 factory",
        );
        check(
            Some(ota_select(3, 2)),
            Some(ota_select(2, 2)),
            "ota_0 factory ota_1",
        );
        // The newer copy is marked invalid or aborted, or damaged: the older one counts.
        check(
            Some(ota_select(1, 2)),
            Some(ota_select(2, 3)),
            "ota_0 factory ota_1",
        );
        check(
            Some(ota_select(1, 2)),
            Some(ota_select(2, 4)),
            "ota_0 factory ota_1",
        );
        let mut damaged = ota_select(2, 2);
        damaged[28] ^= 1;
        check(Some(ota_select(1, 2)), Some(damaged), "ota_0 factory ota_1");
    }

    #[test]
    fn without_factory_the_first_slot_boots() {
        assert_eq!(order(&flash(&two_slots().build())), "ota_0 ota_1");
    }

    #[test]
    fn bad_tables_are_refused_in_words() {
        let check = |table: Vec<u8>, expected: &str| assert_eq!(order(&flash(&table)), expected);
        check(
            vec![],
            "no partition table at 0x8000: flash is erased there",
        );
        check(
            vec![0; 64],
            "partition table entry 0 starts with 00 00, not aa 50",
        );
        check(
            PartitionBuilder::new()
                .entry(1, 2, 0x9000, 0x4000, "nvs")
                .build(),
            "no app partition among the 1 in the partition table",
        );
        check(
            PartitionBuilder::new()
                .entry(0, 0, 0x1_0000, 0x100_0000, "factory")
                .build(),
            "partition `factory` ends at 0x1010000, the flash at 0x200000",
        );
        let mut table = two_slots().build();
        table[0x20 + 5] ^= 1;
        check(table, "MD5 of the partition table is wrong");
        let mut table = two_slots().build();
        table.truncate(128);
        check(table, "ota_0 ota_1");
    }
}
