//! ASSIST_DEBUG: the bus and stack monitor, as storage; and the bit that says whether a debugger is attached.
//!
//! ESP32-C3 Technical Reference Manual, chapter "Debug Assistance". `CORE_0_DEBUG_MODE` always says that the hart is
//! not under a debugger: firmware that believed so would spin where it should wait for interrupts.
//!
//! Not modelled: the monitors, and logging of bus accesses.

use std::ops::Range;

use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;

// Offsets.
const CORE_0_DEBUG_MODE: u32 = 0x98;

const STORED: &[Range<u32>] = &[0x00..0x9C, 0x1FC..0x200];
const RESETS: &[(u32, u32)] = &[(0x70, 0x80), (0x1FC, 0x0200_8010)];

/// The monitor's registers.
pub(crate) struct AssistDebug {
    registers: Registers,
}

impl AssistDebug {
    pub(crate) fn new() -> AssistDebug {
        AssistDebug {
            registers: Registers::new("assist_debug", 0x200, STORED, RESETS),
        }
    }
}

impl Peripheral for AssistDebug {
    fn name(&self) -> &'static str {
        "assist_debug"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            CORE_0_DEBUG_MODE => 0,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        self.registers.write(offset, value, context);
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn no_debugger_is_ever_seen() {
        let mut bench = Bench::new(AssistDebug::new());
        bench.write(CORE_0_DEBUG_MODE, 3);
        bench.write(0x04, 5);
        assert_eq!((bench.read(CORE_0_DEBUG_MODE), bench.read(0x04)), (0, 5));
        assert!(bench.unmodelled.is_empty());
    }
}
