//! What a hart is wired to: instruction fetches, loads, stores, and news about changed code.
//!
//! The trait is generic and monomorphised rather than a trait object, because the path to plain RAM must inline into
//! the interpreter: one range check and one access. Everything slower (registers, faults) may hide behind a call.

/// Memory and registers as one hart sees them.
///
/// Addresses are physical (this hart has no address translation), values little-endian and zero-extended to 32 bits.
/// A bus decides itself whether it carries misaligned accesses or answers [`BusFault::Misaligned`].
pub trait Bus {
    /// The 16-bit parcel at `address` (always even), for decoding, or why there is none.
    fn fetch(&mut self, address: u32) -> Fetched;

    /// Reads `width` bytes at `address`. `now` is the hart's cycle count at this very instruction, `pc` its address.
    ///
    /// # Errors
    /// The fault becomes a load exception with `address` in `mtval`.
    fn load(&mut self, now: u64, pc: u32, address: u32, width: Width) -> Result<u32, BusFault>;

    /// Writes the low `width` bytes of `value` at `address`; says what the hart must do next.
    ///
    /// # Errors
    /// The fault becomes a store exception with `address` in `mtval`.
    fn store(
        &mut self,
        now: u64,
        pc: u32,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<Stored, BusFault>;

    /// Whether an access since the last call had an effect beyond memory (interrupts, timers, a reset request).
    ///
    /// Asked at every block end, so that loads with side effects are heard too; the hart then leaves with
    /// [`Stop::Attention`](crate::Stop::Attention). Calling it clears the flag.
    fn take_attention(&mut self) -> bool;

    /// Addresses whose decoded code became stale since the last call (self-modifying code, a remapped window).
    ///
    /// Asked after a store that returned [`Stored::CodeChanged`], on `fence.i` and on entry to
    /// [`Hart::run`](crate::Hart::run).
    fn take_stale_code(&mut self) -> StaleCode;

    /// The bytes in `start..end` were decoded and are now cached: stores to them must return
    /// [`Stored::CodeChanged`] and show up in [`take_stale_code`](Bus::take_stale_code).
    fn watch_code(&mut self, start: u32, end: u32);
}

/// Answer to an instruction fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// Sixteen bits of code.
    Parcel(u16),
    /// A function that is emulated outside the hart: running into it stops with
    /// [`Stop::Emulated`](crate::Stop::Emulated).
    Emulated,
    /// Nothing can be fetched here: an instruction access fault.
    Fault(BusFault),
}

/// What a successful store asks of the hart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Nothing: only memory changed.
    Done,
    /// Stop after this instruction: something beyond memory changed.
    Attention,
    /// Bytes that were decoded changed; drop what is stale and go on.
    CodeChanged,
}

/// Why an access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// Nothing answers at this address.
    Unmapped,
    /// The bus does not carry this access at this alignment.
    Misaligned,
    /// Something is there, but refuses this kind of access.
    Denied,
}

/// Width of a memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
}

impl Width {
    /// Number of bytes: 1, 2 or 4.
    #[inline(always)]
    pub const fn bytes(self) -> u32 {
        match self {
            Width::Byte => 1,
            Width::Half => 2,
            Width::Word => 4,
        }
    }
}

/// Instruction addresses whose decoded form may no longer be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleCode {
    /// Nothing changed.
    None,
    /// The bytes from the first address up to, not including, the second.
    Range(u32, u32),
    /// Everything.
    All,
}
