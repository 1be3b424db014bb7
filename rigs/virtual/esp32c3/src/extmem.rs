//! EXTMEM: the cache controller and the MMU table that decides which flash page shows where.
//!
//! ESP32-C3 Technical Reference Manual, chapter "System and Memory", section "External Memory"; the registers are
//! described only in the vendor's headers. The block has the cache registers at +0x0000 (0x600C_4000) and the MMU table
//! at +0x1000 (0x600C_5000): 128 entries for pages of 64 KiB, shared by the data window (0x3C00_0000) and the instruction
//! window (0x4200_0000).
//!
//! There is no cache here, so every cache operation is done when it is begun. What it must still do is tell the hart
//! that decoded code from a remapped page is stale.
//!
//! Not modelled: cache contents (a stale line is never seen), permission tables and access counters (plain storage),
//! faults raised as interrupts: an access to an unmapped page is an access fault at the hart.

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

const ICACHE_CTRL: u32 = 0x000;
const ICACHE_CTRL1: u32 = 0x004;
const ICACHE_LOCK_CTRL: u32 = 0x01C;
const ICACHE_SYNC_CTRL: u32 = 0x028;
const ICACHE_PRELOAD_CTRL: u32 = 0x034;
const ICACHE_AUTOLOAD_CTRL: u32 = 0x040;
const CACHE_ACS_CNT_CLR: u32 = 0x064;
const CACHE_ILG_INT_CLR: u32 = 0x07C;
const CORE0_ACS_CACHE_INT_CLR: u32 = 0x088;
const CACHE_STATE: u32 = 0x0B0;
const CACHE_PRELOAD_INT_CTRL: u32 = 0x0BC;
const CACHE_SYNC_INT_CTRL: u32 = 0x0C0;
const ICACHE_FREEZE: u32 = 0x0CC;
const MMU_TABLE: u32 = 0x1000;

const LOCK_ENA: u32 = 1 << 0;
const UNLOCK_ENA: u32 = 1 << 1;
const LOCK_DONE: u32 = 1 << 2;
const INVALIDATE_ENA: u32 = 1 << 0;
const SYNC_DONE: u32 = 1 << 1;
const PRELOAD_ENA: u32 = 1 << 0;
const PRELOAD_DONE: u32 = 1 << 1;
const AUTOLOAD_ENA: u32 = 1 << 2;
const AUTOLOAD_DONE: u32 = 1 << 3;
const FREEZE_ENA: u32 = 1 << 0;
const FREEZE_DONE: u32 = 1 << 2;
/// `CACHE_STATE`: the cache does nothing.
const STATE_IDLE: u32 = 1;

/// Entries of the MMU table.
pub(crate) const ENTRIES: usize = 128;
/// Bytes an entry maps.
pub(crate) const PAGE_BYTES: u32 = 0x1_0000;
/// An entry that maps nothing.
const INVALID: u32 = 1 << 8;
const ENTRY_MASK: u32 = INVALID | 0xFF;

/// Start of the data window; 8 MiB.
pub(crate) const DROM_START: u32 = 0x3C00_0000;
/// Start of the instruction window; 8 MiB.
pub(crate) const IROM_START: u32 = 0x4200_0000;
/// Bytes of each window.
pub(crate) const WINDOW_BYTES: u32 = ENTRIES as u32 * PAGE_BYTES;

/// Cache controller and MMU table.
pub(crate) struct Extmem {
    registers: Registers,
    table: [u32; ENTRIES],
    /// First and last entry (inclusive) changed since `take_changed`.
    changed: Option<(usize, usize)>,
}

impl Default for Extmem {
    fn default() -> Self {
        Extmem {
            registers: Registers::new(
                "extmem",
                0x400,
                &[0x000..0x0B4, 0x0B8..0x104, 0x3FC..0x400],
                &[
                    (ICACHE_CTRL1, 0x3),
                    (0x008, 0x5),
                    (ICACHE_LOCK_CTRL, LOCK_DONE),
                    (ICACHE_SYNC_CTRL, SYNC_DONE),
                    (ICACHE_PRELOAD_CTRL, PRELOAD_DONE),
                    (ICACHE_AUTOLOAD_CTRL, AUTOLOAD_DONE),
                    (0x054, 0x4200_0000),
                    (0x058, 0x427F_FFFF),
                    (0x05C, 0x3C00_0000),
                    (0x060, 0x3C7F_FFFF),
                    (0x094, u32::MAX),
                    (0x09C, u32::MAX),
                    (0x0AC, 0x5),
                    (CACHE_STATE, STATE_IDLE),
                    (0x0B8, 0x7),
                    (0x0C8, 0x7),
                    (0x0D0, 0x1),
                    (0x0E0, 0x800),
                    (0x0E4, 0x800),
                    (0x0E8, 0xFF),
                    (0x0F4, 0x800),
                    (0x0F8, 0x800),
                    (0x0FC, 0x0F),
                    (0x100, 0x1),
                    (0x3FC, 0x0200_7160),
                ],
            ),
            table: [INVALID; ENTRIES],
            changed: None,
        }
    }
}

impl Extmem {
    /// Flash page of 64 KiB that entry `entry` shows; `None` when it maps nothing.
    pub(crate) fn page(&self, entry: usize) -> Option<u32> {
        let raw = *self.table.get(entry)?;
        (raw & INVALID == 0).then_some(raw & 0xFF)
    }

    /// Flash offset seen at `address` through either window; `None` outside them or where nothing is mapped.
    pub(crate) fn translate(&self, address: u32) -> Option<u32> {
        let offset = window_offset(address)?;
        let page = self.page((offset / PAGE_BYTES) as usize)?;
        Some(page * PAGE_BYTES + offset % PAGE_BYTES)
    }

    /// Sets entry `entry` to show flash page `page`, or nothing.
    pub(crate) fn map(&mut self, entry: usize, page: Option<u32>) {
        self.set(entry, page.map_or(INVALID, |page| page & 0xFF));
    }

    /// All entries map nothing.
    pub(crate) fn unmap_all(&mut self) {
        (0..ENTRIES).for_each(|entry| self.map(entry, None));
    }

    /// Says that the flash changed below what is mapped: code decoded from those pages is stale.
    pub(crate) fn invalidate(&mut self, flash_start: u32, flash_end: u32) {
        for entry in 0..ENTRIES {
            if let Some(page) = self.page(entry) {
                let start = page * PAGE_BYTES;
                if start < flash_end && flash_start < start + PAGE_BYTES {
                    self.mark(entry);
                }
            }
        }
    }

    /// Offsets `[start, end)` in both windows that show something else since the last call.
    pub(crate) fn take_changed(&mut self) -> Option<(u32, u32)> {
        let (first, last) = self.changed.take()?;
        Some((first as u32 * PAGE_BYTES, (last as u32 + 1) * PAGE_BYTES))
    }

    fn set(&mut self, entry: usize, value: u32) {
        if let Some(slot) = self.table.get_mut(entry)
            && *slot != value
        {
            *slot = value;
            self.mark(entry);
        }
    }

    fn mark(&mut self, entry: usize) {
        self.changed = Some(match self.changed {
            Some((first, last)) => (first.min(entry), last.max(entry)),
            None => (entry, entry),
        });
    }
}

/// Offset of `address` in the window it lies in.
pub(crate) fn window_offset(address: u32) -> Option<u32> {
    [DROM_START, IROM_START]
        .into_iter()
        .map(|start| address.wrapping_sub(start))
        .find(|offset| *offset < WINDOW_BYTES)
}

impl Peripheral for Extmem {
    fn name(&self) -> &'static str {
        "extmem"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            MMU_TABLE.. => match self.table.get((offset - MMU_TABLE) as usize / 4) {
                Some(entry) => *entry,
                None => {
                    context.unmodelled.read("extmem", offset, context.pc);
                    0
                }
            },
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        // Each operation is over at once: its start bit reads 0, its done bit 1.
        let stored = match offset {
            MMU_TABLE.. => {
                let entry = (offset - MMU_TABLE) as usize / 4;
                if entry < ENTRIES {
                    self.set(entry, value & ENTRY_MASK);
                    context.requests.mmu_changed |= self.changed.is_some();
                } else {
                    context.unmodelled.write("extmem", offset, context.pc);
                }
                return;
            }
            ICACHE_LOCK_CTRL => (value & !(LOCK_ENA | UNLOCK_ENA)) | LOCK_DONE,
            ICACHE_SYNC_CTRL => (value & !INVALIDATE_ENA) | SYNC_DONE,
            ICACHE_PRELOAD_CTRL => (value & !PRELOAD_ENA) | PRELOAD_DONE,
            ICACHE_AUTOLOAD_CTRL if value & AUTOLOAD_ENA != 0 => value | AUTOLOAD_DONE,
            ICACHE_FREEZE if value & FREEZE_ENA != 0 => value | FREEZE_DONE,
            ICACHE_FREEZE => value & !FREEZE_DONE,
            // Write-only, or nothing to clear.
            CACHE_ACS_CNT_CLR | CACHE_ILG_INT_CLR | CORE0_ACS_CACHE_INT_CLR => 0,
            CACHE_PRELOAD_INT_CTRL | CACHE_SYNC_INT_CTRL => value & 0b010,
            CACHE_STATE => return,
            ICACHE_CTRL | ICACHE_CTRL1 => value,
            _ => value,
        };
        self.registers.write(offset, stored, context);
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::Core {
            self.unmap_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn bench() -> Bench<Extmem> {
        Bench::new(Extmem::default())
    }

    #[test]
    fn operations_are_done_at_once() {
        let check = |offset, start: u32, expected: u32| {
            let mut bench = bench();
            bench.write(offset, start);
            assert_eq!(bench.read(offset), expected, "+{offset:#x}");
        };
        check(ICACHE_SYNC_CTRL, 1, 2);
        check(ICACHE_PRELOAD_CTRL, 1, 2);
        check(ICACHE_LOCK_CTRL, 1, 4);
        check(ICACHE_FREEZE, 1, 5);
        check(ICACHE_FREEZE, 0, 0);
        check(ICACHE_CTRL, 1, 1);
        check(CACHE_STATE, 0, 1);
    }

    #[test]
    fn entries_map_pages_into_both_windows() {
        let mut bench = bench();
        assert_eq!(bench.read(MMU_TABLE), INVALID);
        bench.write(MMU_TABLE + 4 * 2, 0x12);
        let mmu = &mut bench.peripheral;
        assert_eq!(mmu.translate(0x3C02_0010), Some(0x12_0010));
        assert_eq!(mmu.translate(0x4202_FFFF), Some(0x12_FFFF));
        assert_eq!(mmu.translate(0x4201_0000), None);
        assert_eq!(mmu.translate(0x4280_0000), None);
        assert_eq!(mmu.translate(0x4037_C000), None);
        assert_eq!(mmu.take_changed(), Some((0x2_0000, 0x3_0000)));
        assert_eq!(mmu.take_changed(), None);
        assert!(bench.requests.mmu_changed);
    }

    #[test]
    fn writing_the_same_entry_changes_nothing() {
        let mut bench = bench();
        bench.write(MMU_TABLE, INVALID);
        assert!(!bench.requests.mmu_changed);
        assert_eq!(bench.peripheral.take_changed(), None);
    }

    #[test]
    fn changed_flash_makes_its_mapped_pages_stale() {
        let mut mmu = Extmem::default();
        mmu.map(3, Some(1));
        mmu.take_changed();
        mmu.invalidate(0x0_F000, 0x1_0000);
        assert_eq!(mmu.take_changed(), None);
        mmu.invalidate(0x2_0000, 0x2_1000);
        assert_eq!(mmu.take_changed(), None);
        // Over its beginning, inside, over its end.
        for (start, end) in [
            (0x0_F000, 0x1_0001),
            (0x1_4000, 0x1_5000),
            (0x1_FFFF, 0x2_1000),
        ] {
            mmu.invalidate(start, end);
            assert_eq!(
                mmu.take_changed(),
                Some((0x3_0000, 0x4_0000)),
                "{start:#x}..{end:#x}"
            );
        }
    }

    #[test]
    fn a_core_reset_unmaps() {
        let mut mmu = Extmem::default();
        mmu.map(0, Some(0));
        mmu.reset(ResetKind::Cpu);
        assert_eq!(mmu.page(0), Some(0));
        mmu.reset(ResetKind::Core);
        assert_eq!(mmu.page(0), None);
    }
}
