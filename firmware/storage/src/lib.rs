//! What the device keeps through losses of power: a few items in NOR flash.
//!
//! Power may fail at any moment, in the middle of an erase too. An interrupted erase leaves what no
//! erase and no program would: zeros, noise, or ones that are not all ones. So nothing here is ever
//! concluded from a page that merely looks erased, and no page is erased that holds the only copy of
//! anything. Why not a crate: `docs/decisions/`. In reading order:
//!
//! - [`Storage`]: the items, and the place to start;
//! - `page`: how a page and its items lie in flash.
#![no_std]

mod page;
mod storage;

pub use page::ITEM_OVERHEAD_BYTES;
pub use storage::{Error, KEYS, Key, Storage};

/// Bytes of a page: what one erase clears. ESP32 flash chips call it a sector.
pub const PAGE_BYTES: usize = 4_096;

/// The longest item, bytes.
///
/// Two of this length share no page, but each leaves as much of it to shorter ones.
pub const ITEM_BYTES_MAX: usize = 2_048;
