//! The system on the chip around the hart: memory, flash windows, ROM and registers on one bus.
//!
//! Two paths. The fast one serves SRAM, RTC memory and the flash windows and inlines into the hart's loop. The slow
//! one serves registers: it finds the peripheral in the address map, brings it up to the moment of the access, and
//! afterwards looks whether its interrupts or its next event changed. Only then does the hart leave its loop, so
//! that accesses which merely read or set values cost little.

use virtual_hart::{Bus, BusFault, Fetched, StaleCode, Stored, Width};

use crate::clock::Clock;
use crate::extmem;
use crate::flash::Flash;
use crate::map::{self, Block, Identity, Peripherals};
use crate::memory::{IRAM_END, IRAM_START, RTC_END, RTC_START, Sram};
use crate::peripheral::{Context, Peripheral, Requests, ResetKind};
use crate::rom;
use crate::time::Ticks;
use crate::unmodelled::UnmodelledLog;
use crate::wires::Wires;

/// Mask ROM as seen over the data bus.
const ROM_DATA: std::ops::Range<u32> = 0x3FF0_0000..0x3FF2_0000;
const ROM_CODE: std::ops::Range<u32> = rom::ROM_START..rom::ROM_END;
/// A page of the flash windows that shows nothing.
const UNMAPPED: u32 = u32::MAX;
/// No event armed.
const NEVER: u64 = u64::MAX;
const BLOCKS: usize = Block::ALL.len();

/// Everything on the bus.
pub(crate) struct Soc {
    pub(crate) sram: Sram,
    pub(crate) flash: Flash,
    pub(crate) wires: Wires,
    pub(crate) peripherals: Peripherals,
    pub(crate) clock: Clock,
    pub(crate) requests: Requests,
    pub(crate) unmodelled: UnmodelledLog,
    /// Flash offset each page of the windows shows: the MMU table, worked out.
    pages: [u32; extmem::ENTRIES],
    /// Interrupt sources each block holds high, and when each wants to be polled.
    sources: [u64; BLOCKS],
    events: [u64; BLOCKS],
    /// The least of `events`.
    earliest: u64,
    /// Line last told to the hart.
    delivered: Option<u8>,
    attention: bool,
    stale: StaleCode,
}

impl Soc {
    pub(crate) fn new(identity: &Identity, flash: Flash) -> Soc {
        let peripherals = Peripherals::new(identity);
        let mut soc = Soc {
            sram: Sram::new(),
            flash,
            wires: Wires::default(),
            clock: Clock::new(peripherals.system.ticks_per_cycle()),
            peripherals,
            requests: Requests::default(),
            unmodelled: UnmodelledLog::default(),
            pages: [UNMAPPED; extmem::ENTRIES],
            sources: [0; BLOCKS],
            events: [NEVER; BLOCKS],
            earliest: NEVER,
            delivered: None,
            attention: false,
            stale: StaleCode::None,
        };
        soc.refresh_all();
        soc
    }

    /// When something is due next.
    pub(crate) fn earliest(&self) -> Option<Ticks> {
        (self.earliest != NEVER).then_some(Ticks(self.earliest))
    }

    /// Lets every peripheral act on what is due at `now`.
    pub(crate) fn poll(&mut self, now: Ticks) {
        if self.earliest > now.0 {
            return;
        }
        for block in Block::ALL {
            if self.events[*block as usize] <= now.0 {
                self.poll_block(*block, now);
            }
        }
    }

    /// The line to be told to the hart.
    pub(crate) fn take_line(&mut self) -> Option<u8> {
        self.delivered = self.peripherals.interrupt_core0.line();
        self.delivered
    }

    /// Something else than the hart touched `block` at `now`.
    pub(crate) fn touch<T>(
        &mut self,
        block: Block,
        now: Ticks,
        act: impl FnOnce(&mut Peripherals, &mut Context<'_>) -> T,
    ) -> T {
        self.settle_lines(block, now);
        let result = self.with(now, 0, act);
        self.refresh(block);
        self.settle_lines(block, now);
        result
    }

    /// Resets every peripheral.
    pub(crate) fn reset(&mut self, kind: ResetKind) {
        for block in Block::ALL {
            self.peripherals.get(*block).reset(kind);
        }
        self.show_flash();
        self.sram.forget_code();
        self.stale = StaleCode::All;
    }

    /// Brings everything worked out from peripherals up to date.
    pub(crate) fn refresh_all(&mut self) {
        for block in Block::ALL {
            self.refresh(*block);
        }
    }

    /// Brings the flash windows up to date after a change of the MMU table or the flash.
    pub(crate) fn show_flash(&mut self) {
        let mmu = &mut self.peripherals.extmem;
        if let Some((start, end)) = self.flash.take_changed() {
            mmu.invalidate(start, end);
        }
        let Some((start, end)) = mmu.take_changed() else {
            return;
        };
        for (entry, page) in self.pages.iter_mut().enumerate() {
            *page = mmu
                .page(entry)
                .map_or(UNMAPPED, |page| page * extmem::PAGE_BYTES);
        }
        self.mark_stale(extmem::IROM_START + start, extmem::IROM_START + end);
    }

    fn mark_stale(&mut self, start: u32, end: u32) {
        self.stale = match self.stale {
            StaleCode::None => StaleCode::Range(start, end),
            StaleCode::Range(first, last) => StaleCode::Range(first.min(start), last.max(end)),
            StaleCode::All => StaleCode::All,
        };
    }

    fn with<T>(
        &mut self,
        now: Ticks,
        pc: u32,
        act: impl FnOnce(&mut Peripherals, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            now,
            pc,
            sram: &mut self.sram,
            flash: &mut self.flash,
            wires: &mut self.wires,
            requests: &mut self.requests,
            unmodelled: &mut self.unmodelled,
        };
        act(&mut self.peripherals, &mut context)
    }

    /// What happens to the pins concerns whoever listens there: before and after, both lines are brought up to date.
    fn settle_lines(&mut self, block: Block, now: Ticks) {
        if block == Block::Gpio && self.wires.pins() != 0 {
            self.poll_block(Block::Uart0, now);
            self.poll_block(Block::Uart1, now);
        }
    }

    fn poll_block(&mut self, block: Block, now: Ticks) {
        self.with(now, 0, |peripherals, context| {
            peripherals.get(block).poll(context);
        });
        self.refresh(block);
    }

    /// Looks whether `block` changed its interrupts or its next event.
    fn refresh(&mut self, block: Block) {
        let index = block as usize;
        let peripheral = self.peripherals.get(block);
        let sources = peripheral.interrupts();
        let event = peripheral.next_event().map_or(NEVER, |at| at.0);
        if sources != self.sources[index] {
            self.sources[index] = sources;
            let all = self.sources.iter().fold(0, |all, sources| all | sources);
            self.peripherals.interrupt_core0.set_sources(all);
        }
        if event != self.events[index] {
            self.events[index] = event;
            let earliest = self.events.iter().copied().fold(NEVER, u64::min);
            // A later deadline needs no attention: the hart stops at the old one and looks again.
            self.attention |= earliest < self.earliest;
            self.earliest = earliest;
        }
        self.attention |=
            self.peripherals.interrupt_core0.line() != self.delivered || self.requests.is_pending();
    }

    /// A register access: the peripheral, brought up to `now`, does `act`.
    #[inline(never)]
    fn access<T>(
        &mut self,
        now: u64,
        pc: u32,
        block: Block,
        act: impl FnOnce(&mut dyn Peripheral, &mut Context<'_>) -> T,
    ) -> T {
        let now = self.clock.at(now);
        if self.events[block as usize] <= now.0 {
            self.poll_block(block, now);
        }
        self.settle_lines(block, now);
        let result = self.with(now, pc, |peripherals, context| {
            act(peripherals.get(block), context)
        });
        self.refresh(block);
        self.settle_lines(block, now);
        result
    }

    #[inline(always)]
    fn load_memory(&self, address: u32, width: Width) -> Option<u32> {
        match width {
            Width::Word => self.sram.read_u32(address),
            Width::Half => self.sram.read_u16(address).map(u32::from),
            Width::Byte => self.sram.read_u8(address).map(u32::from),
        }
    }

    /// From the flash windows; `None` outside them and where nothing is mapped.
    #[inline(always)]
    fn load_flash(&self, address: u32, width: Width) -> Option<u32> {
        let offset = extmem::window_offset(address)?;
        let page = self.pages[(offset / extmem::PAGE_BYTES) as usize];
        let inside = offset % extmem::PAGE_BYTES;
        if page == UNMAPPED || inside + width.bytes() > extmem::PAGE_BYTES {
            return None;
        }
        let start = (page + inside) as usize;
        let bytes = self.flash.bytes();
        match width {
            Width::Word => {
                let word = bytes.get(start..start + 4)?;
                Some(u32::from_le_bytes(word.try_into().ok()?))
            }
            Width::Half => {
                let half = bytes.get(start..start + 2)?;
                Some(u16::from_le_bytes(half.try_into().ok()?).into())
            }
            Width::Byte => bytes.get(start).copied().map(u32::from),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slowly(
        &mut self,
        now: u64,
        pc: u32,
        address: u32,
        width: Width,
    ) -> Result<u32, BusFault> {
        let shift = (address % 4) * 8;
        let mask = u32::MAX >> (32 - width.bytes() * 8);
        if ROM_CODE.contains(&address) || ROM_DATA.contains(&address) {
            let next = if shift == 0 {
                0
            } else {
                rom::word((address & !3) + 4)
            };
            let words = u64::from(next) << 32 | u64::from(rom::word(address & !3));
            return Ok((words >> shift) as u32 & mask);
        }
        if (map::REGISTERS_START..map::REGISTERS_END).contains(&address) {
            if !address.is_multiple_of(width.bytes()) {
                return Err(BusFault::Misaligned);
            }
            let word = match map::find(address) {
                Some((block, offset)) => self.access(now, pc, block, |peripheral, context| {
                    peripheral.read(offset, context)
                }),
                None => {
                    self.unmodelled.read("reserved", address & !3, pc);
                    0
                }
            };
            return Ok(word >> shift & mask);
        }
        // A misaligned access may lie over two pages of a flash window.
        if width != Width::Byte && extmem::window_offset(address).is_some() {
            let mut value = 0;
            for byte in 0..width.bytes() {
                let part = self
                    .load_flash(address + byte, Width::Byte)
                    .ok_or(BusFault::Unmapped)?;
                value |= part << (byte * 8);
            }
            return Ok(value);
        }
        Err(BusFault::Unmapped)
    }

    #[cold]
    #[inline(never)]
    fn store_slowly(
        &mut self,
        now: u64,
        pc: u32,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<Stored, BusFault> {
        if !(map::REGISTERS_START..map::REGISTERS_END).contains(&address) {
            let read_only = ROM_CODE.contains(&address)
                || ROM_DATA.contains(&address)
                || extmem::window_offset(address).is_some();
            return Err(if read_only {
                BusFault::Denied
            } else {
                BusFault::Unmapped
            });
        }
        if !address.is_multiple_of(width.bytes()) {
            return Err(BusFault::Misaligned);
        }
        let Some((block, offset)) = map::find(address) else {
            self.unmodelled.write("reserved", address & !3, pc);
            return Ok(Stored::Done);
        };
        let shift = (address % 4) * 8;
        let mask = u32::MAX >> (32 - width.bytes() * 8) << shift;
        self.access(now, pc, block, |peripheral, context| {
            // The bus carries words only: a narrow store changes its part of the word.
            let rest = if mask == u32::MAX {
                0
            } else {
                peripheral.read(offset, context) & !mask
            };
            peripheral.write(offset, rest | (value << shift & mask), context);
        });
        Ok(if self.attention {
            Stored::Attention
        } else {
            Stored::Done
        })
    }
}

impl Bus for Soc {
    #[inline]
    fn fetch(&mut self, address: u32) -> Fetched {
        let parcel = match address {
            IRAM_START..IRAM_END | RTC_START..RTC_END => self.load_memory(address, Width::Half),
            extmem::IROM_START.. if address - extmem::IROM_START < extmem::WINDOW_BYTES => {
                self.load_flash(address, Width::Half)
            }
            _ if ROM_CODE.contains(&address) => return Fetched::Emulated,
            _ => None,
        };
        match parcel {
            Some(parcel) => Fetched::Parcel(parcel as u16),
            None => Fetched::Fault(BusFault::Unmapped),
        }
    }

    #[inline(always)]
    fn load(&mut self, now: u64, pc: u32, address: u32, width: Width) -> Result<u32, BusFault> {
        if let Some(value) = self.load_memory(address, width) {
            return Ok(value);
        }
        if let Some(value) = self.load_flash(address, width) {
            return Ok(value);
        }
        self.load_slowly(now, pc, address, width)
    }

    #[inline(always)]
    fn store(
        &mut self,
        now: u64,
        pc: u32,
        address: u32,
        value: u32,
        width: Width,
    ) -> Result<Stored, BusFault> {
        let changed = match width {
            Width::Word => self.sram.write_u32(address, value),
            Width::Half => self.sram.write_u16(address, value as u16),
            Width::Byte => self.sram.write_u8(address, value as u8),
        };
        match changed {
            Some(false) => Ok(Stored::Done),
            Some(true) => Ok(Stored::CodeChanged),
            None => self.store_slowly(now, pc, address, value, width),
        }
    }

    #[inline(always)]
    fn take_attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }

    fn take_stale_code(&mut self) -> StaleCode {
        if let Some(range) = self.sram.take_stale() {
            self.mark_stale(range.start, range.end);
        }
        std::mem::replace(&mut self.stale, StaleCode::None)
    }

    fn watch_code(&mut self, start: u32, end: u32) {
        self.sram.watch(start, end);
    }
}
