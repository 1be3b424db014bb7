//! The items: a log that goes round the pages, and an index of it in RAM.
//!
//! ```text
//!    oldest                              newest
//!   ┌────────┬────────┬────────┬────────┬────────┐
//!   │ next   │ full   │ full   │ full   │ active │◀─ items are appended here
//!   └────────┴────────┴────────┴────────┴────────┘
//!     nothing here is current
//! ```
//! Between two calls the page after the active one, the oldest, holds no current item. When the
//! active page is full, that one is erased and becomes the active page; then the current items of
//! the page after it, now the oldest, are copied into it. Power may fail
//!
//! - while an item is written: it does not check, the item before stays current;
//! - in the erase: nothing current was there, and without a valid header the page is not looked at;
//! - while items are copied: they are all still where they were. The active page holds nothing but
//!   copies then, so it is erased again and filled anew.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use crate::page::{
    ITEM_HEADER_BYTES, ItemHeader, Kind, PAGE_HEADER_BYTES, page_header, sequence as sequence_of,
};
use crate::{ITEM_BYTES_MAX, PAGE_BYTES};

/// How many keys there are.
pub const KEYS: usize = 48;
/// Flash is read and written in pieces of this many bytes.
const PIECE_BYTES: usize = 128;

/// Which item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u8);

impl Key {
    /// Key `number`, below [`KEYS`].
    ///
    /// # Panics
    /// When it is not; in a constant that is an error of the compiler.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        assert!((number as usize) < KEYS, "no such key");
        Self(number)
    }
}

/// Why something is not kept, or can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The range is no range of at least three whole pages.
    Range,
    /// The flash refused to be read, erased or written, or did not keep what was written.
    Flash,
    /// The item is longer than [`ITEM_BYTES_MAX`], or than the buffer it is to be read to.
    TooLong,
    /// There is no room left. What was there before still is.
    Full,
}

/// Where an item's bytes are.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: usize,
    /// Of the item's header within the page.
    offset: usize,
    header: ItemHeader,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    page: usize,
    sequence: u32,
    /// Where the next item goes; [`PAGE_BYTES`] when none may.
    end: usize,
}

/// Word-aligned: flash drivers copy through a large buffer otherwise.
#[repr(align(4))]
struct Piece([u8; PIECE_BYTES]);

/// Items in a range of NOR flash.
#[derive(Debug)]
pub struct Storage<F> {
    flash: F,
    /// Of the range, in flash.
    start: u32,
    pages: usize,
    active: Option<Active>,
    index: [Option<Place>; KEYS],
}

impl<F: NorFlash> Storage<F> {
    const GEOMETRY: () = {
        assert!(F::ERASE_SIZE == PAGE_BYTES);
        assert!(F::WRITE_SIZE <= 4 && 4 % F::WRITE_SIZE == 0);
        assert!(F::READ_SIZE <= 4 && 4 % F::READ_SIZE == 0);
    };

    /// Finds what is kept in `range`, which need not have been used before: a range that holds
    /// something else, or nothing, is taken to be empty. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Flash`].
    pub fn open(flash: F, range: Range<u32>) -> Result<Self, Error> {
        let () = Self::GEOMETRY;
        let bytes = range.end.checked_sub(range.start).ok_or(Error::Range)? as usize;
        let whole =
            (range.start as usize).is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES);
        if !whole || bytes / PAGE_BYTES < 3 || range.end as usize > flash.capacity() {
            return Err(Error::Range);
        }
        let mut storage = Self {
            flash,
            start: range.start,
            pages: bytes / PAGE_BYTES,
            active: None,
            index: [None; KEYS],
        };
        storage.scan()?;
        Ok(storage)
    }

    /// How long an item is, bytes; none when there is none.
    #[must_use]
    pub fn length(&self, key: Key) -> Option<usize> {
        self.place(key).map(|place| place.header.length.into())
    }

    /// The item's bytes, in `buffer`; none when there is none.
    ///
    /// # Errors
    /// [`Error::TooLong`] when `buffer` is too short, [`Error::Flash`].
    pub fn read<'b>(&mut self, key: Key, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Error> {
        let Some(Place {
            page,
            offset,
            header,
        }) = self.place(key)
        else {
            return Ok(None);
        };
        let bytes = buffer
            .get_mut(..header.length.into())
            .ok_or(Error::TooLong)?;
        let mut digest = header.digest();
        let mut rest = &mut *bytes;
        self.for_each_piece(page, offset + ITEM_HEADER_BYTES, rest.len(), |piece| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(piece.len());
            now.copy_from_slice(piece);
            digest.update(piece);
            rest = later;
            true
        })?;
        if digest.finalize() == header.check {
            Ok(Some(bytes))
        } else {
            Err(Error::Flash)
        }
    }

    /// Keeps `bytes` as the item. Writes nothing when that is what it is already.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Full`], [`Error::Flash`]: the item is what it was before.
    pub fn write(&mut self, key: Key, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > ITEM_BYTES_MAX {
            return Err(Error::TooLong);
        }
        if self.holds(key, bytes)? {
            return Ok(());
        }
        // Fits: see above.
        self.append(
            ItemHeader::new(key.0, Kind::Value, bytes.len() as u16),
            bytes,
        )
    }

    /// Forgets the item, if there is one. Its bytes stay in flash until their page is erased.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Flash`]: the item is what it was before.
    pub fn remove(&mut self, key: Key) -> Result<(), Error> {
        match self.place(key) {
            Some(_) => self.append(ItemHeader::new(key.0, Kind::Removed, 0), &[]),
            None => Ok(()),
        }
    }

    /// Forgets everything, and erases it.
    ///
    /// # Errors
    /// [`Error::Flash`].
    pub fn erase(&mut self) -> Result<(), Error> {
        self.index = [None; KEYS];
        self.active = None;
        (0..self.pages).try_for_each(|page| self.erase_page(page))
    }

    /// The flash, given back.
    pub fn close(self) -> F {
        self.flash
    }

    fn place(&self, key: Key) -> Option<Place> {
        self.index[usize::from(key.0)]
    }

    fn address(&self, page: usize, offset: usize) -> u32 {
        self.start + (page * PAGE_BYTES + offset) as u32
    }

    fn page_after(&self, page: usize) -> usize {
        (page + 1) % self.pages
    }

    /// Whether the item has exactly these bytes already.
    fn holds(&mut self, key: Key, bytes: &[u8]) -> Result<bool, Error> {
        let Some(place) = self.place(key) else {
            return Ok(false);
        };
        Ok(usize::from(place.header.length) == bytes.len()
            && self.matches(place.page, place.offset + ITEM_HEADER_BYTES, bytes)?)
    }
}

/// Finding what is there.
impl<F: NorFlash> Storage<F> {
    /// Reads all pages, oldest first, so that the newest of each item is found last.
    fn scan(&mut self) -> Result<(), Error> {
        let mut after = None;
        while let Some((sequence, page)) = self.oldest_page_after(after)? {
            let end = self.scan_items(page)?;
            self.active = Some(Active {
                page,
                sequence,
                end,
            });
            after = Some(sequence);
        }
        Ok(())
    }

    /// The page with the lowest sequence number above `after`.
    fn oldest_page_after(&mut self, after: Option<u32>) -> Result<Option<(u32, usize)>, Error> {
        let mut oldest = None;
        for page in 0..self.pages {
            let mut piece = Piece([0; PIECE_BYTES]);
            let header = &mut piece.0[..PAGE_HEADER_BYTES];
            self.flash
                .read(self.address(page, 0), header)
                .map_err(|_| Error::Flash)?;
            let found = header
                .first_chunk()
                .and_then(sequence_of)
                .filter(|found| after.is_none_or(|after| *found > after));
            if let Some(found) = found
                && oldest.is_none_or(|(oldest, _)| found < oldest)
            {
                oldest = Some((found, page));
            }
        }
        Ok(oldest)
    }

    /// Takes the page's items into the index; returns where the next one may be written.
    fn scan_items(&mut self, page: usize) -> Result<usize, Error> {
        let mut offset = PAGE_HEADER_BYTES;
        while let Some(header) = self.item_at(page, offset)? {
            self.note(page, offset, header);
            offset += header.stored_bytes();
        }
        // A write that was cut leaves something that is no item: nothing is put behind or over it.
        let blank = self.for_each_piece(page, offset, PAGE_BYTES - offset, is_blank)?;
        Ok(if blank { offset } else { PAGE_BYTES })
    }

    /// The item there, if it is whole.
    fn item_at(&mut self, page: usize, offset: usize) -> Result<Option<ItemHeader>, Error> {
        if offset + ITEM_HEADER_BYTES > PAGE_BYTES {
            return Ok(None);
        }
        let mut piece = Piece([0; PIECE_BYTES]);
        let bytes = &mut piece.0[..ITEM_HEADER_BYTES];
        self.flash
            .read(self.address(page, offset), bytes)
            .map_err(|_| Error::Flash)?;
        let Some(header) = bytes.first_chunk().and_then(ItemHeader::decode) else {
            return Ok(None);
        };
        if usize::from(header.key) >= KEYS || offset + header.stored_bytes() > PAGE_BYTES {
            return Ok(None);
        }
        let mut digest = header.digest();
        self.for_each_piece(
            page,
            offset + ITEM_HEADER_BYTES,
            header.length.into(),
            |piece| {
                digest.update(piece);
                true
            },
        )?;
        Ok((digest.finalize() == header.check).then_some(header))
    }

    fn note(&mut self, page: usize, offset: usize, header: ItemHeader) {
        let place = Place {
            page,
            offset,
            header,
        };
        self.index[usize::from(header.key)] = match header.kind {
            Kind::Value => Some(place),
            Kind::Removed => None,
        };
    }
}

/// Writing.
impl<F: NorFlash> Storage<F> {
    /// Appends an item to the log, and makes room for it.
    fn append(&mut self, mut header: ItemHeader, bytes: &[u8]) -> Result<(), Error> {
        let mut digest = header.digest();
        digest.update(bytes);
        header.check = digest.finalize();
        self.finish_copying()?;
        // Each round gives the room of the oldest page's items that are not current.
        for _ in 0..=self.pages {
            if let Some(active) = self.active
                && active.end + header.stored_bytes() <= PAGE_BYTES
                && self.append_here(active, header, bytes)?
            {
                return Ok(());
            }
            self.turn_page()?;
        }
        Err(Error::Full)
    }

    /// Writes an item to the active page, where it fits. False when the flash did not keep it.
    fn append_here(
        &mut self,
        active: Active,
        header: ItemHeader,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        // Whatever happens from here on, nothing else is written to this place.
        self.set_end(PAGE_BYTES);
        self.program(active.page, active.end, &header.encode())?;
        self.program(active.page, active.end + ITEM_HEADER_BYTES, bytes)?;
        if self.item_at(active.page, active.end)? != Some(header) {
            return Ok(false);
        }
        self.set_end(active.end + header.stored_bytes());
        self.note(active.page, active.end, header);
        Ok(true)
    }

    /// Makes the oldest page the active one, and copies to it what is current in the page after it.
    fn turn_page(&mut self) -> Result<(), Error> {
        let (page, sequence) = match self.active {
            Some(active) => (self.page_after(active.page), active.sequence + 1),
            None => (0, 1),
        };
        self.begin_page(page, sequence)
    }

    /// Erases a page that holds nothing that is needed, and fills it with what the next one has.
    fn begin_page(&mut self, page: usize, sequence: u32) -> Result<(), Error> {
        self.erase_page(page)?;
        self.program(page, 0, &page_header(sequence))?;
        self.active = Some(Active {
            page,
            sequence,
            end: PAGE_HEADER_BYTES,
        });
        let oldest = self.page_after(page);
        for key in 0..KEYS {
            if let Some(place) = self.index[key]
                && place.page == oldest
            {
                self.copy(place)?;
            }
        }
        Ok(())
    }

    /// Begins the active page again when it was not filled to the end: power failed, or the flash.
    fn finish_copying(&mut self) -> Result<(), Error> {
        let Some(active) = self.active else {
            return Ok(());
        };
        let oldest = self.page_after(active.page);
        let interrupted = self
            .index
            .iter()
            .flatten()
            .any(|place| place.page == oldest);
        if !interrupted {
            return Ok(());
        }
        // What was copied already is needed from where it came from.
        self.index = [None; KEYS];
        self.erase_page(active.page)?;
        self.active = None;
        self.scan()?;
        self.begin_page(active.page, active.sequence)
    }

    /// Copies an item to the active page, where there is room: all that is copied fitted one page.
    fn copy(&mut self, from: Place) -> Result<(), Error> {
        let active = self.active.ok_or(Error::Flash)?;
        self.set_end(PAGE_BYTES);
        let bytes = from.header.stored_bytes();
        let mut piece = Piece([0; PIECE_BYTES]);
        for done in (0..bytes).step_by(PIECE_BYTES) {
            let piece = &mut piece.0[..PIECE_BYTES.min(bytes - done)];
            self.flash
                .read(self.address(from.page, from.offset + done), piece)
                .map_err(|_| Error::Flash)?;
            self.flash
                .write(self.address(active.page, active.end + done), piece)
                .map_err(|_| Error::Flash)?;
        }
        if self.item_at(active.page, active.end)? != Some(from.header) {
            return Err(Error::Flash);
        }
        self.set_end(active.end + bytes);
        self.note(active.page, active.end, from.header);
        Ok(())
    }

    fn set_end(&mut self, end: usize) {
        if let Some(active) = &mut self.active {
            active.end = end;
        }
    }

    /// Erases a page, and sees that it is blank.
    fn erase_page(&mut self, page: usize) -> Result<(), Error> {
        let from = self.address(page, 0);
        self.flash
            .erase(from, from + PAGE_BYTES as u32)
            .map_err(|_| Error::Flash)?;
        match self.for_each_piece(page, 0, PAGE_BYTES, is_blank)? {
            true => Ok(()),
            false => Err(Error::Flash),
        }
    }
}

/// Pieces of flash.
impl<F: NorFlash> Storage<F> {
    /// Hands `count` bytes to `look`, piece by piece, for as long as it returns true; whether it did
    /// to the end.
    fn for_each_piece(
        &mut self,
        page: usize,
        offset: usize,
        count: usize,
        mut look: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, Error> {
        let mut piece = Piece([0; PIECE_BYTES]);
        for done in (0..count).step_by(PIECE_BYTES) {
            let wanted = PIECE_BYTES.min(count - done);
            let read = &mut piece.0[..wanted.next_multiple_of(4)];
            self.flash
                .read(self.address(page, offset + done), read)
                .map_err(|_| Error::Flash)?;
            if !look(&read[..wanted]) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether exactly these bytes are there.
    fn matches(&mut self, page: usize, offset: usize, bytes: &[u8]) -> Result<bool, Error> {
        let mut rest = bytes;
        self.for_each_piece(page, offset, bytes.len(), |piece| {
            let same = rest.starts_with(piece);
            rest = rest.get(piece.len()..).unwrap_or_default();
            same
        })
    }

    /// Programs bytes, and zeros up to a multiple of 4.
    fn program(&mut self, page: usize, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        for (i, part) in bytes.chunks(PIECE_BYTES).enumerate() {
            let mut piece = Piece([0; PIECE_BYTES]);
            piece.0[..part.len()].copy_from_slice(part);
            self.flash
                .write(
                    self.address(page, offset + i * PIECE_BYTES),
                    &piece.0[..part.len().next_multiple_of(4)],
                )
                .map_err(|_| Error::Flash)?;
        }
        Ok(())
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xFF)
}
