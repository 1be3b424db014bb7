//! How a page and its items lie in flash.
//!
//! ```text
//! page:  magic, sequence, CRC of both │ item │ item │ … │ blank
//! item:  key, kind, length, CRC of all but itself │ bytes, zeros up to a multiple of 4
//! ```
//! All numbers are little-endian, both CRCs CRC-32/ISCSI. A page's header is written after its erase
//! was seen to be complete, so a header that checks means a page that was blank. An item that does
//! not check ends its page: what lies behind it was never written.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

/// Changes with the layout.
const MAGIC: u32 = 0x5331_C7E9;
const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Bytes of a page's header.
pub(crate) const PAGE_HEADER_BYTES: usize = 12;
/// Bytes of an item's header.
pub(crate) const ITEM_HEADER_BYTES: usize = 8;
/// What an item takes beside its own bytes, at most, bytes.
pub const ITEM_OVERHEAD_BYTES: usize = ITEM_HEADER_BYTES + 3;

/// A page's header in flash.
pub(crate) fn page_header(sequence: u32) -> [u8; PAGE_HEADER_BYTES] {
    let mut bytes = [0; PAGE_HEADER_BYTES];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&sequence.to_le_bytes());
    let check = CHECK.checksum(&bytes[..8]);
    bytes[8..].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// The page's sequence number; none when these bytes are no page's header.
pub(crate) fn sequence(bytes: &[u8; PAGE_HEADER_BYTES]) -> Option<u32> {
    let sequence = word(&bytes[4..8]);
    (page_header(sequence) == *bytes).then_some(sequence)
}

/// What an item says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has these bytes.
    Value = 1,
    /// It is no more.
    Removed = 2,
}

/// An item without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemHeader {
    pub(crate) key: u8,
    pub(crate) kind: Kind,
    pub(crate) length: u16,
    pub(crate) check: u32,
}

impl ItemHeader {
    /// The check word is put in later: [`Self::digest`] is fed the bytes meanwhile.
    pub(crate) fn new(key: u8, kind: Kind, length: u16) -> Self {
        Self {
            key,
            kind,
            length,
            check: 0,
        }
    }

    /// None when these bytes begin no item; its own bytes are not checked yet.
    pub(crate) fn decode(bytes: &[u8; ITEM_HEADER_BYTES]) -> Option<Self> {
        let kind = match bytes[1] {
            1 => Kind::Value,
            2 => Kind::Removed,
            _ => return None,
        };
        Some(Self {
            key: bytes[0],
            kind,
            length: u16::from_le_bytes([bytes[2], bytes[3]]),
            check: word(&bytes[4..]),
        })
    }

    pub(crate) fn encode(&self) -> [u8; ITEM_HEADER_BYTES] {
        let mut bytes = [0; ITEM_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.begin());
        bytes[4..].copy_from_slice(&self.check.to_le_bytes());
        bytes
    }

    /// A CRC that already covers the header; the item's bytes come next, without the zeros.
    pub(crate) fn digest(&self) -> Digest<'static, u32, Table<1>> {
        let mut digest = CHECK.digest();
        digest.update(&self.begin());
        digest
    }

    /// Bytes in flash, header and trailing zeros included.
    pub(crate) fn stored_bytes(&self) -> usize {
        ITEM_HEADER_BYTES + usize::from(self.length).next_multiple_of(4)
    }

    fn begin(&self) -> [u8; 4] {
        let [low, high] = self.length.to_le_bytes();
        [self.key, self.kind as u8, low, high]
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
