//! A bus with one piece of RAM and nothing else: for tests, benches and running plain ELF files.
//!
//! It is also the smallest complete example of a [`Bus`]: decoded code is watched in lines of 64 bytes.

use crate::{Bus, BusFault, Fetched, StaleCode, Stored, Width};

const LINE_SHIFT: u32 = 6;

/// RAM from one base address up, readable, writable and executable, at any alignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatRam {
    base: u32,
    bytes: Vec<u8>,
    /// One flag a line: code in it was decoded.
    decoded: Vec<bool>,
    stale: StaleCode,
}

impl FlatRam {
    /// `length` zeroed bytes at `base`, which must be a multiple of 64.
    ///
    /// # Panics
    /// When `base` is not, or when the RAM would not fit below the end of the address space.
    pub fn new(base: u32, length: u32) -> FlatRam {
        assert!(
            base.is_multiple_of(1 << LINE_SHIFT),
            "base {base:#x} is not a multiple of 64"
        );
        assert!(
            base.checked_add(length).is_some(),
            "RAM does not fit at {base:#x}"
        );
        FlatRam {
            base,
            bytes: vec![0; length as usize],
            decoded: vec![false; (length as usize >> LINE_SHIFT) + 1],
            stale: StaleCode::None,
        }
    }

    /// Copies `bytes` to `address` from outside. Decoded code there becomes stale.
    ///
    /// # Panics
    /// When they don't lie wholly in the RAM.
    pub fn write(&mut self, address: u32, bytes: &[u8]) {
        let start = self.offset(address, bytes.len()).expect("inside the RAM");
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.stale = StaleCode::All;
    }

    /// The bytes at `address`.
    ///
    /// # Panics
    /// When they don't lie wholly in the RAM.
    pub fn read(&self, address: u32, length: usize) -> &[u8] {
        let start = self.offset(address, length).expect("inside the RAM");
        &self.bytes[start..start + length]
    }

    fn offset(&self, address: u32, length: usize) -> Option<usize> {
        let start = address.wrapping_sub(self.base) as usize;
        (start + length <= self.bytes.len()).then_some(start)
    }

    #[inline(always)]
    fn get<const N: usize>(&self, address: u32) -> Result<[u8; N], BusFault> {
        let start = address.wrapping_sub(self.base) as usize;
        match self.bytes.get(start..start + N) {
            Some(bytes) => Ok(bytes.try_into().map_err(|_| BusFault::Unmapped)?),
            None => Err(BusFault::Unmapped),
        }
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, address: u32, value: [u8; N]) -> Result<Stored, BusFault> {
        let start = address.wrapping_sub(self.base) as usize;
        match self.bytes.get_mut(start..start + N) {
            Some(bytes) => bytes.copy_from_slice(&value),
            None => return Err(BusFault::Unmapped),
        }
        let (first, last) = (start >> LINE_SHIFT, (start + N - 1) >> LINE_SHIFT);
        if self.decoded[first] || (first != last && self.decoded[last]) {
            self.changed(first, last);
            return Ok(Stored::CodeChanged);
        }
        Ok(Stored::Done)
    }

    #[cold]
    fn changed(&mut self, first: usize, last: usize) {
        self.decoded[first..=last].fill(false);
        let address = |line: usize| self.base + ((line as u32) << LINE_SHIFT);
        self.stale = match self.stale {
            StaleCode::None => StaleCode::Range(address(first), address(last + 1)),
            _ => StaleCode::All,
        };
    }
}

impl Bus for FlatRam {
    fn fetch(&mut self, address: u32) -> Fetched {
        match self.get(address) {
            Ok(bytes) => Fetched::Parcel(u16::from_le_bytes(bytes)),
            Err(fault) => Fetched::Fault(fault),
        }
    }

    #[inline(always)]
    fn load(&mut self, _: u64, _: u32, address: u32, width: Width) -> Result<u32, BusFault> {
        Ok(match width {
            Width::Byte => u32::from(u8::from_le_bytes(self.get(address)?)),
            Width::Half => u32::from(u16::from_le_bytes(self.get(address)?)),
            Width::Word => u32::from_le_bytes(self.get(address)?),
        })
    }

    #[inline(always)]
    fn store(
        &mut self,
        _: u64,
        _: u32,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<Stored, BusFault> {
        match width {
            Width::Byte => self.put(address, (value as u8).to_le_bytes()),
            Width::Half => self.put(address, (value as u16).to_le_bytes()),
            Width::Word => self.put(address, value.to_le_bytes()),
        }
    }

    #[inline(always)]
    fn take_attention(&mut self) -> bool {
        false
    }

    fn take_stale_code(&mut self) -> StaleCode {
        std::mem::replace(&mut self.stale, StaleCode::None)
    }

    fn watch_code(&mut self, start: u32, end: u32) {
        let first = start.wrapping_sub(self.base) as usize >> LINE_SHIFT;
        let last = end.wrapping_sub(1).wrapping_sub(self.base) as usize >> LINE_SHIFT;
        self.decoded[first..=last].fill(true);
    }
}
