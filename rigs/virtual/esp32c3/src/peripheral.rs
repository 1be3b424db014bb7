//! What every peripheral is to the chip: registers below a base address, interrupt lines, and a next event.
//!
//! Peripherals do not call each other and hold no references: they answer register accesses, act when time has
//! come, and leave what concerns the rest of the chip in [`Requests`]. So each is tested alone, through its
//! registers.

use crate::event::ChipEvent;
use crate::flash::Flash;
use crate::memory::Sram;
use crate::time::Ticks;
use crate::wires::Wires;

pub(crate) use crate::reset::{ResetCause, ResetKind};
pub(crate) use crate::unmodelled::UnmodelledLog;

/// What a peripheral may see and touch while it handles an access or an event.
pub(crate) struct Context<'a> {
    /// Chip time of this very access.
    pub now: Ticks,
    /// Program counter of the access; 0 when it comes from the debugger or from `poll`.
    pub pc: u32,
    /// Internal memory, for peripherals that move data by themselves.
    pub sram: &'a mut Sram,
    /// The flash chip, for its controllers.
    pub flash: &'a mut Flash,
    /// What hangs on the pins.
    pub wires: &'a mut Wires,
    /// What is asked of the chip.
    pub requests: &'a mut Requests,
    /// Where accesses to what is not modelled are noted.
    pub unmodelled: &'a mut UnmodelledLog,
}

/// A block of registers in the address map.
pub(crate) trait Peripheral {
    /// As the manual names it, lower case: "uart1".
    fn name(&self) -> &'static str;

    /// The register at `offset` (bytes, word-aligned, below the block's base).
    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32;

    /// Writes the register at `offset` (bytes, word-aligned, below the block's base).
    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>);

    /// Acts on everything due at `context.now`.
    fn poll(&mut self, _context: &mut Context<'_>) {}

    /// When `poll` wants to be called next; `None` when nothing is armed.
    fn next_event(&self) -> Option<Ticks> {
        None
    }

    /// Interrupt sources held high now: bit n is source n of the interrupt matrix (0..62).
    fn interrupts(&self) -> u64 {
        0
    }

    /// Back to reset values, as far as a reset of this kind reaches: each peripheral knows what survives.
    fn reset(&mut self, kind: ResetKind);
}

/// What a peripheral asks of the chip, which carries it out right after the instruction.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Reset the chip.
    pub reset: Option<ResetCause>,
    /// The CPU clock was chosen anew (SYSTEM `SYSCLK_CONF`, `CPU_PER_CONF`).
    pub cpu_clock_changed: bool,
    /// The flash windows show something else now: an MMU entry or flash contents changed.
    pub mmu_changed: bool,
    /// Pulls or input enables of the pads changed (IO_MUX): levels follow.
    pub pads_changed: bool,
    /// A pin that is watched from outside changed its level.
    pub pins_changed: bool,
    /// Blocks of the SYSTEM reset registers that were pulsed: bits of `PERIP_RST_EN0` (low word) and
    /// `PERIP_RST_EN1` (high word).
    pub peripheral_resets: u64,
    /// Things to tell the outside, in order.
    pub events: Vec<ChipEvent>,
}

impl Requests {
    /// True when the chip has something to carry out before the next instruction.
    pub(crate) fn is_pending(&self) -> bool {
        self.reset.is_some()
            || self.cpu_clock_changed
            || self.mmu_changed
            || self.pads_changed
            || self.pins_changed
            || self.peripheral_resets != 0
    }
}
