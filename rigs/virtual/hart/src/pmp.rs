//! Physical memory protection: sixteen entries.
//!
//! Source: RISC-V Privileged Architecture 1.10, section 3.6; ESP32-C3 TRM, chapter 1 (granularity 4 bytes). Machine
//! mode is bound by locked entries only, user mode by all of them.

/// What an access wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Load,
    Store,
    Execute,
}

const ENTRIES: usize = 16;
const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const EXECUTE: u8 = 1 << 2;
const MODE: u8 = 3 << 3;
const TOR: u8 = 1 << 3;
const NA4: u8 = 2 << 3;
const NAPOT: u8 = 3 << 3;
const LOCKED: u8 = 1 << 7;

/// The sixteen `pmpcfg` bytes and `pmpaddr` registers.
#[derive(Debug, Clone)]
pub(crate) struct Pmp {
    configuration: [u8; ENTRIES],
    address: [u32; ENTRIES],
}

impl Pmp {
    pub(crate) fn new() -> Pmp {
        Pmp {
            configuration: [0; ENTRIES],
            address: [0; ENTRIES],
        }
    }

    /// `pmpcfg0` to `pmpcfg3`: four entries each.
    pub(crate) fn configuration(&self, register: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|i| {
            self.configuration[register * 4 + i]
        }))
    }

    pub(crate) fn set_configuration(&mut self, register: usize, value: u32) {
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let entry = &mut self.configuration[register * 4 + i];
            if *entry & LOCKED == 0 {
                // Bits 5 and 6 don't exist; write without read is reserved and becomes neither.
                let byte = byte & !0x60;
                *entry = if byte & (READ | WRITE) == WRITE {
                    byte & !WRITE
                } else {
                    byte
                };
            }
        }
    }

    pub(crate) fn address(&self, entry: usize) -> u32 {
        self.address[entry]
    }

    pub(crate) fn set_address(&mut self, entry: usize, value: u32) {
        let locked = self.configuration[entry] & LOCKED != 0;
        // A locked top-of-range entry also locks the address below it.
        let base_locked = self
            .configuration
            .get(entry + 1)
            .is_some_and(|next| next & (LOCKED | MODE) == LOCKED | TOR);
        if !locked && !base_locked {
            self.address[entry] = value;
        }
    }

    /// The bytes an entry covers, as start and exclusive end in 64 bits. `None` when it is off.
    fn range(&self, entry: usize) -> Option<(u64, u64)> {
        let address = u64::from(self.address[entry]);
        match self.configuration[entry] & MODE {
            TOR => {
                let below = if entry == 0 {
                    0
                } else {
                    self.address[entry - 1]
                };
                Some((u64::from(below) << 2, address << 2))
            }
            NA4 => Some((address << 2, (address << 2) + 4)),
            NAPOT => {
                let size = 8u64 << address.trailing_ones();
                let start = (address << 2) & !(size - 1);
                Some((start, start + size))
            }
            _ => None,
        }
    }

    /// Ranges (start, exclusive end) outside which machine mode is never refused this access: what locked entries
    /// forbid, and the borders of every entry, because an access only partly inside one fails in any mode.
    pub(crate) fn doubtful_to_machine(&self, access: Access) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        for entry in 0..ENTRIES {
            let Some((start, end)) = self.range(entry).filter(|(start, end)| start < end) else {
                continue;
            };
            let byte = self.configuration[entry];
            if byte & LOCKED != 0 && byte & permission(access) == 0 {
                ranges.push((start, end));
            }
            ranges.push((start.saturating_sub(3), start + 3));
            ranges.push((end - 3, end + 3));
        }
        ranges
    }

    /// Whether an access of `length` bytes goes through. The lowest entry that matches any byte decides, and must
    /// match all of them.
    pub(crate) fn allows(&self, access: Access, address: u32, length: u32, machine: bool) -> bool {
        let (first, end) = (u64::from(address), u64::from(address) + u64::from(length));
        for i in 0..ENTRIES {
            // An empty range matches nothing.
            let Some((low, high)) = self.range(i).filter(|(low, high)| low < high) else {
                continue;
            };
            if first >= high || end <= low {
                continue;
            }
            if first < low || end > high {
                return false;
            }
            let byte = self.configuration[i];
            return (machine && byte & LOCKED == 0) || byte & permission(access) != 0;
        }
        machine
    }
}

fn permission(access: Access) -> u8 {
    match access {
        Access::Load => READ,
        Access::Store => WRITE,
        Access::Execute => EXECUTE,
    }
}
