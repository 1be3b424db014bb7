//! The SPI NOR flash: an array of bytes that can only be cleared bit by bit, and set a sector at a time.
//!
//! Firmware that stores settings depends on what makes flash unlike memory: programming is an AND, erasing takes
//! milliseconds, and a power cut in the middle leaves a page or sector that is neither old nor new. All three are here,
//! so that a scenario can cut the power while the device writes and see what it makes of the remains.
//!
//! Behaviour and typical times after the Winbond W25Q32JV data sheet (sections 8.2 and 9.6). An operation changes the
//! array at once and stays *in flight* until its time is over; [`Flash::power_cut`] takes back what had not happened
//! yet, and `flash/interrupted.rs` says what is left of what had begun. That lets a ROM function queue a whole run of
//! pages and still be cut in the middle.
//!
//! Not modelled: wear, protection bits (writable but without effect), suspend and resume, the security registers,
//! garbage on reads through the cache while an operation is in flight.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::time::Ticks;

mod interrupted;

use interrupted::{Chance, Interrupted};

/// Bytes one program command can reach: the address wraps within it.
pub(crate) const PAGE_BYTES: u32 = 256;
/// Bytes of the smallest erase.
pub(crate) const SECTOR_BYTES: u32 = 4096;
/// Bytes of the small block erase (0x52).
pub(crate) const HALF_BLOCK_BYTES: u32 = 32 * 1024;
/// Bytes of the large block erase (0xD8).
pub(crate) const BLOCK_BYTES: u32 = 64 * 1024;

/// Size of a flash nobody asked anything of: 4 MiB, as on most ESP32-C3 boards.
pub const DEFAULT_BYTES: u32 = 4 * 1024 * 1024;

const MANUFACTURER: u32 = 0xEF;
const MEMORY_TYPE: u32 = 0x40;

const PROGRAM_FIRST_BYTE_US: u64 = 30;
const PROGRAM_PAGE_US: u64 = 400;
const ERASE_SECTOR_US: u64 = 45_000;
const ERASE_HALF_BLOCK_US: u64 = 120_000;
const ERASE_BLOCK_US: u64 = 150_000;
/// 10 s for the 4 MiB part; larger parts scale.
const ERASE_CHIP_US_PER_MEBIBYTE: u64 = 2_500_000;
const WRITE_STATUS_US: u64 = 10_000;

/// Status register 1: an operation is in flight.
pub(crate) const STATUS_BUSY: u32 = 1 << 0;
/// Status register 1: program, erase and status writes are accepted.
pub(crate) const STATUS_WRITE_ENABLED: u32 = 1 << 1;

/// What an erase command takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erase {
    /// 4 KiB.
    Sector,
    /// 32 KiB.
    HalfBlock,
    /// 64 KiB.
    Block,
    /// Everything.
    Chip,
}

/// Why a flash could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The part number encodes the size as a power of two.
    #[error(
        "no flash of {bytes} bytes is made: take a power of two from 262144 (256 KiB) to 16777216 (16 MiB)"
    )]
    Size {
        /// What was asked for.
        bytes: u64,
    },
    /// The file holds another flash than the one described.
    #[error(
        "flash file `{path}` holds {found} bytes, the rig describes {expected}: correct the size, or delete the file to start with an erased flash"
    )]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its length, bytes.
        found: u64,
        /// The size asked for, bytes.
        expected: u32,
    },
    /// The file could not be read.
    #[error("can't read flash file `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error("can't write flash file `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Flash operations that a power failure can wait for; see [`Flash::fail_in_operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashOperation {
    /// Programs and erases alike.
    Any,
    /// Programming: a page or a part of it.
    Program,
    /// Erasing: a sector, a block or the chip.
    Erase,
}

/// An operation that changed the array but whose time is not over.
#[derive(Clone, Debug)]
struct InFlight {
    start: Ticks,
    end: Ticks,
    address: u32,
    /// What the bytes were before.
    before: Vec<u8>,
    kind: Interrupted,
}

/// A power failure that waits for its operation.
#[derive(Clone, Copy, Debug)]
struct Armed {
    operation: FlashOperation,
    /// Operations to go, this one included.
    left: u32,
    /// From the operation's beginning; `None`: chance decides.
    delay: Option<Ticks>,
}

/// The flash chip. Keeps its contents without power.
#[derive(Clone, Debug)]
pub struct Flash {
    bytes: Vec<u8>,
    write_enabled: bool,
    /// Status registers 1 (writable bits) and 2.
    status: [u8; 2],
    /// In order of time; never overlapping.
    in_flight: VecDeque<InFlight>,
    /// Changed since the last save.
    dirty: bool,
    /// Address range changed since last asked.
    changed: Option<(u32, u32)>,
    /// Choices around power cuts come from here.
    chance: Chance,
    /// Programs and erases begun so far.
    operations: u64,
    armed: Option<Armed>,
    /// When the supply fails, once its operation has been asked for.
    fails_at: Option<Ticks>,
}

impl Default for Flash {
    fn default() -> Self {
        Flash::erased(vec![0xFF; DEFAULT_BYTES as usize])
    }
}

impl Flash {
    /// An erased flash of `bytes` bytes.
    ///
    /// # Errors
    /// [`FlashError::Size`] unless a power of two from 256 KiB to 16 MiB.
    pub fn new(bytes: u32) -> Result<Flash, FlashError> {
        if !bytes.is_power_of_two() || !(1 << 18..=1 << 24).contains(&bytes) {
            return Err(FlashError::Size {
                bytes: u64::from(bytes),
            });
        }
        Ok(Flash::erased(vec![0xFF; bytes as usize]))
    }

    /// A flash of `bytes` bytes with the contents of `path`; erased when there is no such file.
    ///
    /// # Errors
    /// [`FlashError::FileSize`] when the file has another length, [`FlashError::Read`] when it can't be read.
    pub fn load(path: &Path, bytes: u32) -> Result<Flash, FlashError> {
        let mut flash = Flash::new(bytes)?;
        let found = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(flash),
            Err(source) => {
                return Err(FlashError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if found != u64::from(bytes) {
            return Err(FlashError::FileSize {
                path: path.to_owned(),
                found,
                expected: bytes,
            });
        }
        let contents = fs::read(path).map_err(|source| FlashError::Read {
            path: path.to_owned(),
            source,
        })?;
        if contents.len() != bytes as usize {
            return Err(FlashError::FileSize {
                path: path.to_owned(),
                found: contents.len() as u64,
                expected: bytes,
            });
        }
        flash.bytes = contents;
        Ok(flash)
    }

    /// Writes the contents to `path`, by way of a file beside it, so that a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// [`FlashError::Write`]; the old file is then untouched.
    pub fn save(&mut self, path: &Path) -> Result<(), FlashError> {
        let wrap = |source| FlashError::Write {
            path: path.to_owned(),
            source,
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(name);
        let written = fs::File::create(&beside)
            .and_then(|mut file| {
                file.write_all(&self.bytes)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, path));
        if let Err(source) = written {
            // The half-written file is of no use to anybody; that it may be gone already is no news.
            let _ = fs::remove_file(&beside);
            return Err(wrap(source));
        }
        self.dirty = false;
        Ok(())
    }

    /// True when the contents changed since [`Flash::save`] or creation.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Size in bytes.
    pub fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Never true: there is no flash without bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The whole array.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts `contents` at `address` as a programmer outside would (erase and program in no time).
    ///
    /// Returns false, and changes nothing, when they do not fit.
    pub fn preset(&mut self, address: u32, contents: &[u8]) -> bool {
        let start = address as usize;
        let Some(target) = start
            .checked_add(contents.len())
            .and_then(|end| self.bytes.get_mut(start..end))
        else {
            return false;
        };
        target.copy_from_slice(contents);
        self.touch(address, contents.len() as u32);
        true
    }

    /// JEDEC identification as SPI1 leaves it in W0: manufacturer, type, capacity from the low byte up
    /// (0x1640EF for 4 MiB).
    pub fn jedec_id(&self) -> u32 {
        MANUFACTURER | MEMORY_TYPE << 8 | self.len().trailing_zeros() << 16
    }

    /// Status register 1 in bits 0-7, status register 2 in bits 8-15.
    pub fn status(&mut self, now: Ticks) -> u32 {
        self.settle(now);
        let mut status = u32::from(self.status[0]) | u32::from(self.status[1]) << 8;
        if !self.in_flight.is_empty() {
            status |= STATUS_BUSY;
        }
        if self.write_enabled {
            status |= STATUS_WRITE_ENABLED;
        }
        status
    }

    /// True while an operation takes its time; the chip then answers nothing but status reads.
    pub fn is_busy(&mut self, now: Ticks) -> bool {
        self.settle(now);
        !self.in_flight.is_empty()
    }

    /// When everything begun so far is over; `now` when nothing is in flight.
    pub fn busy_until(&mut self, now: Ticks) -> Ticks {
        self.settle(now);
        self.in_flight.back().map_or(now, |last| last.end)
    }

    /// WREN (0x06) and WRDI (0x04).
    pub fn set_write_enabled(&mut self, enabled: bool) {
        self.write_enabled = enabled;
    }

    /// WRSR (0x01): protection and quad bits, kept and read back. Ignored without write enable.
    pub fn write_status(&mut self, start: Ticks, value: u16) {
        if !std::mem::take(&mut self.write_enabled) {
            return;
        }
        let [low, high] = value.to_le_bytes();
        self.status = [low & !(STATUS_BUSY | STATUS_WRITE_ENABLED) as u8, high];
        self.begin(start, WRITE_STATUS_US, 0, Vec::new(), Interrupted::Status);
    }

    /// Byte at `address`, which wraps at the end of the array as on the part.
    pub fn read(&self, address: u32) -> u8 {
        self.bytes[address as usize & (self.bytes.len() - 1)]
    }

    /// Program (0x02): clears the bits of `data` that are zero, wrapping within the page. Begins at `start` or when
    /// what is in flight ends, whichever is later. Ignored without write enable. Returns when it will be over.
    pub fn program(&mut self, start: Ticks, address: u32, data: &[u8]) -> Ticks {
        let start = start.max(self.busy_until(start));
        if !std::mem::take(&mut self.write_enabled) || data.is_empty() {
            return start;
        }
        let mask = self.bytes.len() - 1;
        let page = address as usize & mask & !(PAGE_BYTES as usize - 1);
        let before = self.bytes[page..page + PAGE_BYTES as usize].to_vec();
        for (index, byte) in data.iter().enumerate() {
            let column = (address as usize + index) % PAGE_BYTES as usize;
            self.bytes[page + column] &= byte;
        }
        self.touch(page as u32, PAGE_BYTES);
        let count = data.len().min(PAGE_BYTES as usize) as u64;
        let micros = PROGRAM_FIRST_BYTE_US
            + (PROGRAM_PAGE_US - PROGRAM_FIRST_BYTE_US) * count / u64::from(PAGE_BYTES);
        let kind = Interrupted::Program {
            column: address % PAGE_BYTES,
            count: count as u32,
        };
        self.begin(start, micros, page as u32, before, kind)
    }

    /// Erase (0x20, 0x52, 0xD8, 0xC7): all bits of the unit that holds `address` become 1. Timing, write enable and
    /// result as [`Flash::program`].
    pub fn erase(&mut self, start: Ticks, unit: Erase, address: u32) -> Ticks {
        let start = start.max(self.busy_until(start));
        if !std::mem::take(&mut self.write_enabled) {
            return start;
        }
        let size = self.len();
        let (length, micros) = match unit {
            Erase::Sector => (SECTOR_BYTES, ERASE_SECTOR_US),
            Erase::HalfBlock => (HALF_BLOCK_BYTES, ERASE_HALF_BLOCK_US),
            Erase::Block => (BLOCK_BYTES, ERASE_BLOCK_US),
            Erase::Chip => (size, (ERASE_CHIP_US_PER_MEBIBYTE * u64::from(size)) >> 20),
        };
        let first = address & (size - 1) & !(length - 1);
        let target = &mut self.bytes[first as usize..(first + length) as usize];
        let before = target.to_vec();
        target.fill(0xFF);
        self.touch(first, length);
        self.begin(start, micros, first, before, Interrupted::Erase)
    }

    /// Programs and erases begun since the flash was made or loaded: each page and each erase is one.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The supply is to fail during the `nth` such operation from now on (1: the next one), `delay` after its beginning,
    /// or in the middle of it at a moment chosen from `seed`. Replaces what was asked for before; 0 asks for nothing.
    pub fn fail_in_operation(
        &mut self,
        operation: FlashOperation,
        nth: u32,
        delay: Option<Ticks>,
        seed: u64,
    ) {
        self.chance.stir(seed);
        self.armed = (nth > 0).then_some(Armed {
            operation,
            left: nth,
            delay,
        });
        self.fails_at = None;
    }

    /// When the supply fails: known once the operation that [`Flash::fail_in_operation`] waits for has been asked for.
    pub fn fails_at(&self) -> Option<Ticks> {
        self.fails_at
    }

    /// The supply fails at `now`: what had not begun does not happen, what was in flight stays partly done (which bits
    /// is chosen from `seed`), and the volatile state is lost.
    pub fn power_cut(&mut self, now: Ticks, seed: u64) {
        self.settle(now);
        self.chance.stir(seed);
        (self.armed, self.fails_at) = (None, None);
        for operation in std::mem::take(&mut self.in_flight).into_iter().rev() {
            let first = operation.address as usize;
            let range = first..first + operation.before.len();
            let array = &mut self.bytes[range];
            if operation.start >= now {
                array.copy_from_slice(&operation.before);
            } else {
                let done = (now - operation.start).0 as f64;
                let whole = (operation.end - operation.start).0.max(1) as f64;
                let share = done / whole;
                operation
                    .kind
                    .leave(array, &operation.before, share, &mut self.chance);
            }
            self.touch(operation.address, operation.before.len() as u32);
        }
        self.write_enabled = false;
    }

    /// True when [`Flash::take_changed`] has something to tell.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// Addresses `[start, end)` whose contents changed since the last call, widened to one range.
    pub(crate) fn take_changed(&mut self) -> Option<(u32, u32)> {
        self.changed.take()
    }

    fn erased(bytes: Vec<u8>) -> Flash {
        Flash {
            bytes,
            write_enabled: false,
            status: [0, 0],
            in_flight: VecDeque::new(),
            dirty: false,
            changed: None,
            chance: Chance::default(),
            operations: 0,
            armed: None,
            fails_at: None,
        }
    }

    fn touch(&mut self, address: u32, length: u32) {
        self.dirty = true;
        let end = address + length;
        self.changed = Some(match self.changed {
            Some((first, last)) => (first.min(address), last.max(end)),
            None => (address, end),
        });
    }

    fn begin(
        &mut self,
        start: Ticks,
        micros: u64,
        address: u32,
        before: Vec<u8>,
        kind: Interrupted,
    ) -> Ticks {
        let end = start + Ticks::from_micros(micros);
        self.in_flight.push_back(InFlight {
            start,
            end,
            address,
            before,
            kind,
        });
        self.count_down(kind, start, end);
        end
    }

    /// An operation of this kind was asked for: perhaps it is the one that does not end.
    fn count_down(&mut self, kind: Interrupted, start: Ticks, end: Ticks) {
        if kind == Interrupted::Status {
            return;
        }
        self.operations += 1;
        let Some(armed) = &mut self.armed else { return };
        let counts = match armed.operation {
            FlashOperation::Any => true,
            FlashOperation::Program => matches!(kind, Interrupted::Program { .. }),
            FlashOperation::Erase => kind == Interrupted::Erase,
        };
        armed.left -= u32::from(counts);
        if armed.left == 0 {
            // Neither the first nor the last moment: those would be no failure in the middle.
            let part = self.chance.below(998) + 1;
            let somewhere = Ticks((end - start).0 * part / 1000);
            self.fails_at = Some(start.saturating_add(armed.delay.unwrap_or(somewhere)));
            self.armed = None;
        }
    }

    /// Forgets operations whose time is over.
    fn settle(&mut self, now: Ticks) {
        while self.in_flight.front().is_some_and(|first| first.end <= now) {
            self.in_flight.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
