//! A NOR flash chip whose supply can fail in the middle of an operation.
//!
//! What an interrupted operation leaves: a program, its bytes up to where it came, and bits of the
//! next on which nothing has decided; an erase, zeros from the front while cells are first
//! programmed to one charge, then noise, then ones with fewer and fewer zeros among them.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

const PROGRAM_PAGE_BYTES: usize = 256;
const ERASE_BYTES: usize = 4_096;
/// Share of an erase in which everything is programmed to 0.
const PREPROGRAM_SHARE: f64 = 0.2;

/// When the supply fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// In which program or erase from now on, from 0.
    pub(crate) operation: usize,
    /// How much of its time had gone by, 0 to 1.
    pub(crate) share: f64,
    /// Of the noise.
    pub(crate) seed: u64,
}

#[derive(Clone, Debug)]
struct State {
    bytes: Vec<u8>,
    operations: usize,
    erases: usize,
    cut: Option<Cut>,
    has_power: bool,
    /// A byte whose lowest bit reads 0 whatever is done.
    stuck: Option<usize>,
}

/// A chip; clones are handles to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Chip(Rc<RefCell<State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPower;

impl NorFlashError for NoPower {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl Chip {
    /// As it comes from the maker: blank.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            bytes: vec![0xFF; bytes],
            operations: 0,
            erases: 0,
            cut: None,
            has_power: true,
            stuck: None,
        })))
    }

    /// Another chip with the same content, with power.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(0);
        copy.0.borrow_mut().bytes = self.0.borrow().bytes.clone();
        copy
    }

    pub(crate) fn cut(&self, cut: Cut) {
        let mut state = self.0.borrow_mut();
        state.operations = 0;
        state.cut = Some(cut);
    }

    /// Gives power again, for good.
    pub(crate) fn power_on(&self) {
        let mut state = self.0.borrow_mut();
        state.has_power = true;
        state.cut = None;
    }

    pub(crate) fn has_power(&self) -> bool {
        self.0.borrow().has_power
    }

    /// Programs and erases since the last [`Self::cut`], or ever.
    pub(crate) fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    pub(crate) fn erases(&self) -> usize {
        self.0.borrow().erases
    }

    pub(crate) fn stick(&self, byte: Option<usize>) {
        self.0.borrow_mut().stuck = byte;
    }

    pub(crate) fn fill(&self, with: impl FnMut() -> u8) {
        let mut state = self.0.borrow_mut();
        let count = state.bytes.len();
        state.bytes = std::iter::repeat_with(with).take(count).collect();
    }
}

impl State {
    /// How much of the operation that begins is done, and the seed of what else happens.
    fn begin(&mut self) -> Result<(f64, u64), NoPower> {
        if !self.has_power {
            return Err(NoPower);
        }
        let number = self.operations;
        self.operations += 1;
        match self.cut {
            Some(cut) if cut.operation == number => {
                self.has_power = false;
                Ok((cut.share, cut.seed))
            }
            _ => Ok((1.0, 0)),
        }
    }

    fn end(&self) -> Result<(), NoPower> {
        if self.has_power { Ok(()) } else { Err(NoPower) }
    }

    fn program(&mut self, offset: usize, bytes: &[u8]) -> Result<(), NoPower> {
        let (share, seed) = self.begin()?;
        let whole = self.has_power;
        let done = (bytes.len() as f64 * share) as usize;
        for (i, byte) in bytes.iter().enumerate() {
            let cell = &mut self.bytes[offset + i];
            match () {
                () if whole || i < done => *cell &= byte,
                () if i == done => *cell &= byte | noise(seed, i),
                () => {}
            }
        }
        self.end()
    }

    fn erase(&mut self, offset: usize) -> Result<(), NoPower> {
        let (share, seed) = self.begin()?;
        self.erases += 1;
        let sector = &mut self.bytes[offset..offset + ERASE_BYTES];
        if self.has_power {
            sector.fill(0xFF);
        } else if share < PREPROGRAM_SHARE {
            let done = (ERASE_BYTES as f64 * share / PREPROGRAM_SHARE) as usize;
            sector[..done].fill(0);
            sector[done] &= noise(seed, done);
        } else {
            let risen = (share - PREPROGRAM_SHARE) / (1.0 - PREPROGRAM_SHARE);
            for (i, byte) in sector.iter_mut().enumerate() {
                *byte = (0..8).fold(0, |bits, bit| {
                    let threshold = (risen * 256.0) as u8;
                    bits << 1 | u8::from(noise(seed, i * 8 + bit) < threshold)
                });
            }
        }
        self.end()
    }
}

/// SplitMix64's finisher.
fn noise(seed: u64, index: usize) -> u8 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ z >> 31) as u8
}

impl ErrorType for Chip {
    type Error = NoPower;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NoPower> {
        let state = self.0.borrow();
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4));
        assert!(
            (bytes.as_ptr() as usize).is_multiple_of(4),
            "costs a sector of stack"
        );
        state.end()?;
        let start = offset as usize;
        bytes.copy_from_slice(&state.bytes[start..start + bytes.len()]);
        if let Some(stuck) = state.stuck
            && let Some(byte) = stuck.checked_sub(start).and_then(|i| bytes.get_mut(i))
        {
            *byte &= !1;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = ERASE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NoPower> {
        (from as usize..to as usize)
            .step_by(ERASE_BYTES)
            .try_for_each(|sector| self.0.borrow_mut().erase(sector))
    }

    fn write(&mut self, offset: u32, mut bytes: &[u8]) -> Result<(), NoPower> {
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4));
        let mut offset = offset as usize;
        while !bytes.is_empty() {
            let room = PROGRAM_PAGE_BYTES - offset % PROGRAM_PAGE_BYTES;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.0.borrow_mut().program(offset, now)?;
            offset += now.len();
            bytes = later;
        }
        Ok(())
    }
}
