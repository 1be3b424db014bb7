//! Cache functions of the ROM. There is no cache here, so most have nothing to do; the MMU ones set the table.

use super::{Call, Function, RomFault, function};
use crate::extmem::{ENTRIES, PAGE_BYTES, window_offset};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_04B0, "Cache_Get_ICache_Line_Size", line_size),
    function(0x4000_04CC, "Cache_Invalidate_ICache_Items", nothing),
    function(0x4000_04D4, "Cache_Invalidate_Addr", nothing),
    function(0x4000_04D8, "Cache_Invalidate_ICache_All", nothing),
    function(0x4000_04E4, "Cache_Suspend_ICache_Autoload", nothing),
    function(0x4000_04E8, "Cache_Resume_ICache_Autoload", nothing),
    function(0x4000_051C, "Cache_Disable_ICache", nothing),
    function(0x4000_0520, "Cache_Enable_ICache", nothing),
    function(0x4000_0524, "Cache_Suspend_ICache", nothing),
    function(0x4000_0528, "Cache_Resume_ICache", nothing),
    function(0x4000_052C, "Cache_Freeze_ICache_Enable", nothing),
    function(0x4000_0530, "Cache_Freeze_ICache_Disable", nothing),
    function(0x4000_0548, "Cache_Set_IDROM_MMU_Size", nothing),
    function(0x4000_055C, "Cache_MMU_Init", mmu_init),
    function(0x4000_0560, "Cache_Ibus_MMU_Set", mmu_set),
    function(0x4000_0564, "Cache_Dbus_MMU_Set", mmu_set),
];

const CYCLES: u64 = 60;
const LINE_BYTES: u32 = 32;
const PAGE_KIBIBYTES: u32 = PAGE_BYTES / 1024;

/// Results of `Cache_*bus_MMU_Set`.
const MMU_OK: u32 = 0;
const MMU_ALIGNMENT: u32 = 1;
const MMU_PAGE_SIZE: u32 = 2;
const MMU_ADDRESS: u32 = 3;
const MMU_RANGE: u32 = 4;

/// Answers 0: no autoload was on, nothing was wrong.
fn nothing(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(0);
    Ok(CYCLES)
}

fn line_size(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(LINE_BYTES);
    Ok(CYCLES)
}

fn mmu_init(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.host.extmem().unmap_all();
    Ok(CYCLES + ENTRIES as u64)
}

/// Arguments: external RAM (unused), virtual address, flash address, page size in KiB, number of pages, whether all show
/// the same page.
fn mmu_set(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (virtual_address, flash) = (call.argument(1), call.argument(2));
    let (kibibytes, pages, fixed) = (call.argument(3), call.argument(4), call.argument(5) != 0);
    let answer = if kibibytes != PAGE_KIBIBYTES {
        MMU_PAGE_SIZE
    } else if virtual_address % PAGE_BYTES != 0 || flash % PAGE_BYTES != 0 {
        MMU_ALIGNMENT
    } else if let Some(offset) = window_offset(virtual_address) {
        let first = offset / PAGE_BYTES;
        if u64::from(first) + u64::from(pages) > ENTRIES as u64 {
            MMU_RANGE
        } else {
            for page in 0..pages {
                let shown = flash / PAGE_BYTES + if fixed { 0 } else { page };
                call.host.extmem().map((first + page) as usize, Some(shown));
            }
            MMU_OK
        }
    } else {
        MMU_ADDRESS
    };
    call.answer(answer);
    Ok(CYCLES + u64::from(pages.min(ENTRIES as u32)) * 4)
}

#[cfg(test)]
mod tests {
    use super::super::RomState;
    use super::super::host::TestHost;

    #[test]
    fn mmu_is_set_or_the_reason_given() {
        let check = |arguments: [u32; 6], answer: u32, pages: [Option<u32>; 3]| {
            let mut host = TestHost::new();
            let mut state = RomState::default();
            let (result, _) = host.call(&mut state, "Cache_Dbus_MMU_Set", &arguments);
            assert_eq!(result, answer);
            assert_eq!([1, 2, 3].map(|entry| host.extmem.page(entry)), pages);
        };
        let none = [None; 3];
        check(
            [0, 0x3C01_0000, 0x5_0000, 64, 2, 0],
            0,
            [Some(5), Some(6), None],
        );
        check(
            [0, 0x4201_0000, 0x5_0000, 64, 2, 1],
            0,
            [Some(5), Some(5), None],
        );
        check([0, 0x3C01_0004, 0x5_0000, 64, 1, 0], 1, none);
        check([0, 0x3C01_0000, 0x5_0000, 32, 1, 0], 2, none);
        check([0, 0x3D01_0000, 0x5_0000, 64, 1, 0], 3, none);
        check([0, 0x3C7F_0000, 0x5_0000, 64, 2, 0], 4, none);
    }
}
