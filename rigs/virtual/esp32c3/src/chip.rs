//! The chip: hart and bus, run against the clock.
//!
//! ```text
//!          ┌────────────────────── run ──────────────────────┐
//!          │ carry out what peripherals asked for (resets …) │
//!          │ poll what is due, tell the hart its interrupt   │
//!          │ hart runs to the next event, or time jumps there│
//!          └─────────────────────────────────────────────────┘
//!  Off ── power_on ──▶ Runs ── wfi ──▶ Waits ── interrupt ──▶ Runs
//!                       │ └─ long ROM function ─▶ Busy ─ over ─▶ Runs
//!                       └─ lock-up, nothing to boot ─▶ Stuck ── reset ──▶ Runs
//! ```
//!
//! While the hart waits, no instruction is executed and time jumps from event to event, so an idle hour costs
//! what its events cost. While a debugger has the hart halted, chip time stands still, and with it the watchdogs.

use std::collections::VecDeque;

use virtual_hart::{HaltCause, Hart, Stop};

use crate::event::ChipEvent;
use crate::flash::Flash;
use crate::map::{Block, Identity};
use crate::peripheral::{Peripheral, ResetCause, ResetKind};
use crate::rom::{self, RomState};
use crate::soc::Soc;
use crate::time::Ticks;
use crate::unmodelled::UnmodelledLog;
use crate::wires::UARTS;

/// SYSTEM `PERIP_RST_EN0`: the system timer.
const SYSTIMER_RST: u64 = 1 << 29;
/// The UARTs.
const UART_RST: [u64; UARTS] = [1 << 2, 1 << 5];

/// What a chip is made with.
#[derive(Clone, Debug)]
pub struct ChipConfig {
    /// All chance inside the chip comes from it: random numbers, what memory holds at power-on, and what a power
    /// cut leaves in flash.
    pub seed: u64,
    /// Factory MAC address.
    pub mac: [u8; 6],
    /// Wafer revision: major, minor.
    pub revision: (u8, u8),
    /// The flash chip beside it.
    pub flash: Flash,
}

/// Why [`Chip::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Chip time has reached the limit.
    Limit,
    /// The instructions are used up.
    Budget,
    /// An Ethernet frame left: see [`Chip::transmitted`].
    FrameSent,
    /// The hart is halted for the debugger; chip time stands still.
    Halted,
    /// Nothing is armed: without input from outside nothing will ever happen. Chip time is at the limit, unless
    /// that was [`Ticks::MAX`].
    Idle,
    /// The chip was reset; it goes on at the next call.
    Reset,
    /// The supply failed, as it was to; see [`Chip::fail_power_in_flash`].
    PowerFailed,
    /// A pin that is watched changed its level: see [`Chip::pin_changes`].
    PinChanged,
}

/// What the hart is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Executes instructions.
    Runs,
    /// In `wfi`.
    Waits,
    /// Inside an emulated ROM function that takes until then.
    Busy { until: Ticks },
    /// Can't go on until it is reset.
    Stuck,
    /// Without power.
    Off,
}

/// A simulated ESP32-C3 with its flash.
pub struct Chip {
    pub(crate) hart: Hart,
    pub(crate) soc: Soc,
    pub(crate) rom: RomState,
    pub(crate) state: State,
    pub(crate) events: Vec<ChipEvent>,
    pub(crate) revision: (u8, u8),
    /// Set by every reset until the debugger acknowledges it.
    pub(crate) has_reset: bool,
    outgoing: VecDeque<Vec<u8>>,
    pub(crate) seed: u64,
}

impl Chip {
    /// A chip that has just been powered on. It boots from its flash when it is first run.
    pub fn new(config: ChipConfig) -> Chip {
        let identity = Identity {
            seed: config.seed,
            mac: config.mac,
            revision: config.revision,
        };
        let mut chip = Chip {
            hart: Hart::new(),
            soc: Soc::new(&identity, config.flash),
            rom: RomState::default(),
            state: State::Off,
            events: Vec::new(),
            revision: config.revision,
            has_reset: false,
            outgoing: VecDeque::new(),
            seed: config.seed,
        };
        chip.power_on();
        chip
    }

    /// Chip time.
    pub fn now(&self) -> Ticks {
        self.soc.clock.at(self.hart.cycles())
    }

    /// Instructions executed since the chip was made.
    pub fn instructions(&self) -> u64 {
        self.hart.instructions()
    }

    /// True while the hart waits for an interrupt and none is there.
    pub fn is_idle(&self) -> bool {
        self.state == State::Waits && self.soc.peripherals.interrupt_core0.line().is_none()
    }

    /// When something happens next: now, while the hart runs; `None` when nothing is armed.
    pub fn next_event(&self) -> Option<Ticks> {
        let next = match self.state {
            State::Off => return None,
            State::Runs => Some(self.now()),
            State::Waits if !self.is_idle() => Some(self.now()),
            State::Busy { until } => Some(self.soc.earliest().map_or(until, |at| at.min(until))),
            State::Waits | State::Stuck => self.soc.earliest(),
        };
        next.into_iter().chain(self.soc.flash.fails_at()).min()
    }

    /// Runs until chip time `limit`, or until `instructions` more were executed, or until something outside must
    /// act. Either may be overshot by a few dozen cycles: the hart looks at block ends.
    pub fn run(&mut self, limit: Ticks, instructions: u64) -> Pause {
        let last_instruction = self.hart.instructions().saturating_add(instructions);
        loop {
            if self.carry_out() {
                return Pause::Reset;
            }
            if self.collect_frames() {
                return Pause::FrameSent;
            }
            if self.soc.peripherals.gpio.has_changes() {
                return Pause::PinChanged;
            }
            if self.hart.is_halted() {
                return Pause::Halted;
            }
            let now = self.now();
            let power_fails = self.soc.flash.fails_at().unwrap_or(Ticks::MAX);
            if now >= power_fails {
                self.power_off();
                return Pause::PowerFailed;
            }
            if now >= limit {
                return Pause::Limit;
            }
            let until = limit.min(power_fails);
            if self.state != State::Off {
                self.soc.poll(now);
                if self.soc.requests.is_pending() {
                    continue;
                }
            }
            let line = self.soc.take_line();
            self.hart.set_interrupt(line);
            if !self.may_execute(now, line) {
                match self.jump(until) {
                    Some(pause) if until == limit => return pause,
                    _ => continue,
                }
            }
            let left = last_instruction.saturating_sub(self.hart.instructions());
            if left == 0 {
                return Pause::Budget;
            }
            self.run_hart(until, left);
        }
    }

    /// Ethernet frames that left, in order, without frame check sequence.
    pub fn transmitted(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// An Ethernet frame (without frame check sequence) begins to arrive now. It waits for a descriptor; what the MAC
    /// can't take is counted in [`Chip::frames_dropped`].
    pub fn receive(&mut self, frame: Vec<u8>) {
        let now = self.now();
        if self.state != State::Off {
            self.soc.touch(Block::OpenEth, now, |peripherals, context| {
                peripherals.open_eth.receive(context.now, frame);
            });
        }
    }

    /// Frames lost on their way in: no link, or no descriptor for too long.
    pub fn frames_dropped(&self) -> u64 {
        self.soc.peripherals.open_eth.dropped()
    }

    /// Plugs (`true`) or unplugs the Ethernet cable. A chip starts with it plugged.
    pub fn set_link(&mut self, up: bool) {
        let now = self.now();
        self.soc.touch(Block::OpenEth, now, |peripherals, _| {
            peripherals.open_eth.set_link(up);
        });
    }

    /// What happened since the last call, in order.
    pub fn events(&mut self) -> Vec<ChipEvent> {
        self.events.append(&mut self.soc.requests.events);
        let conflicts = self.soc.wires.take_conflicts().into_iter();
        self.events
            .extend(conflicts.map(|(at, pin)| ChipEvent::PinConflict { at, pin }));
        std::mem::take(&mut self.events)
    }

    /// What firmware touched that is not modelled.
    pub fn unmodelled(&self) -> &UnmodelledLog {
        &self.soc.unmodelled
    }

    /// The flash chip.
    pub fn flash(&self) -> &Flash {
        &self.soc.flash
    }

    /// The flash chip, to be saved or prepared. What changes shows in the flash windows at once.
    pub fn flash_mut(&mut self) -> &mut Flash {
        self.soc.requests.mmu_changed = true;
        &mut self.soc.flash
    }

    /// The chip is reset for `cause`, now.
    ///
    /// A hart that a debugger has halted stays halted, at the reset vector, as on the real chip. Only loss of power
    /// ends that too.
    pub(crate) fn reset(&mut self, cause: ResetCause) {
        let stays_halted = self.hart.is_halted() && cause.kind() != ResetKind::PowerOn;
        let now = self.now();
        self.events.append(&mut self.soc.requests.events);
        self.events.push(ChipEvent::Reset { cause, at: now });
        self.soc.requests = Default::default();
        self.soc.requests.pads_changed = true;
        if cause.kind() == ResetKind::PowerOn {
            // Another noise each time, and another than the one behind the chip's random numbers.
            let seed = self.seed.rotate_left(32) ^ now.0;
            self.soc.sram.power_on(seed);
            self.outgoing.clear();
        }
        self.reset_peripherals(cause.kind());
        self.soc.peripherals.rtc_cntl.set_cause(cause, now);
        if cause.kind() >= ResetKind::Core {
            self.soc.peripherals.systimer.restart(now);
        }
        self.apply_clock();
        self.reset_hart_alone();
        if stays_halted {
            self.hart.halt(HaltCause::ResetRequest);
        }
    }

    /// Peripherals go back to where a reset of this kind leaves them, and their lines to rest.
    pub(crate) fn reset_peripherals(&mut self, kind: ResetKind) {
        let now = self.now();
        self.soc.wires.advance(now);
        self.soc.reset(kind);
        if kind >= ResetKind::Core {
            (0..UARTS).for_each(|uart| self.soc.wires.transmit(now, uart, true));
        }
    }

    /// The hart goes back to the reset vector; nothing else changes.
    pub(crate) fn reset_hart_alone(&mut self) {
        self.rom.reset();
        self.hart.reset(rom::ROM_START);
        self.state = State::Runs;
        self.has_reset = true;
    }

    /// Does what peripherals asked for; true when the chip was reset.
    pub(crate) fn carry_out(&mut self) -> bool {
        if !self.soc.requests.is_pending() {
            return false;
        }
        let requests = &mut self.soc.requests;
        let mmu_changed = std::mem::take(&mut requests.mmu_changed);
        let pads_changed = std::mem::take(&mut requests.pads_changed);
        let clock_changed = std::mem::take(&mut requests.cpu_clock_changed);
        requests.pins_changed = false; // `run` looks for itself
        let blocks = std::mem::take(&mut requests.peripheral_resets);
        let reset = requests.reset.take();
        if mmu_changed {
            self.soc.show_flash();
        }
        if pads_changed {
            let pads = self.soc.peripherals.io_mux.pads();
            self.set_pads(pads);
        }
        if blocks != 0 {
            self.reset_blocks(blocks);
        }
        if clock_changed {
            self.apply_clock();
        }
        if let Some(cause) = reset {
            self.reset(cause);
        }
        reset.is_some()
    }

    /// Resets single blocks: bits of SYSTEM `PERIP_RST_EN0` and `PERIP_RST_EN1`.
    fn reset_blocks(&mut self, bits: u64) {
        let now = self.now();
        let peripherals = &mut self.soc.peripherals;
        let resettable: [(u32, &mut dyn Peripheral); 6] = [
            (2, &mut peripherals.uart0),
            (5, &mut peripherals.uart1),
            (13, &mut peripherals.timg0),
            (15, &mut peripherals.timg1),
            (23, &mut peripherals.usb_device),
            (SYSTIMER_RST.trailing_zeros(), &mut peripherals.systimer),
        ];
        for (bit, peripheral) in resettable {
            if bits & 1 << bit != 0 {
                peripheral.reset(ResetKind::Core);
            }
        }
        for (uart, bit) in UART_RST.into_iter().enumerate() {
            if bits & bit != 0 {
                self.soc.wires.transmit(now, uart, true);
            }
        }
        if bits & SYSTIMER_RST != 0 {
            peripherals.systimer.restart(now);
        }
        self.soc.refresh_all();
    }

    /// The clock as SYSTEM has it now holds from this cycle on.
    pub(crate) fn apply_clock(&mut self) {
        let now = self.now();
        let peripherals = &mut self.soc.peripherals;
        let ticks = peripherals.system.ticks_per_cycle();
        let apb = peripherals.system.ticks_per_apb_cycle();
        peripherals.timg0.set_apb(apb, now);
        peripherals.timg1.set_apb(apb, now);
        self.soc.clock.change(self.hart.cycles(), ticks);
        self.soc.refresh_all();
    }

    /// Takes frames from the MAC; true when there were any.
    fn collect_frames(&mut self) -> bool {
        let mac = &mut self.soc.peripherals.open_eth;
        let mut any = false;
        while let Some(frame) = mac.transmitted() {
            self.outgoing.push_back(frame);
            any = true;
        }
        any
    }

    /// Whether instructions are to be executed now.
    fn may_execute(&mut self, now: Ticks, line: Option<u8>) -> bool {
        let goes_on = match self.state {
            State::Runs => true,
            State::Waits => line.is_some(),
            State::Busy { until } => now >= until,
            State::Stuck | State::Off => false,
        };
        if goes_on {
            self.state = State::Runs;
        }
        goes_on
    }

    /// Time goes on to the next event without an instruction.
    fn jump(&mut self, limit: Ticks) -> Option<Pause> {
        let next = match self.state {
            State::Off => None,
            State::Busy { until } => Some(self.soc.earliest().map_or(until, |at| at.min(until))),
            _ => self.soc.earliest(),
        };
        let target = next.unwrap_or(Ticks::MAX).min(limit);
        if target < Ticks::MAX {
            let cycles = self.soc.clock.cycle_at(target);
            self.hart.advance(cycles.saturating_sub(self.hart.cycles()));
        }
        next.is_none().then_some(Pause::Idle)
    }

    /// The hart runs to the next event or the limit, but for `instructions` at most.
    fn run_hart(&mut self, limit: Ticks, instructions: u64) {
        let target = self.soc.earliest().map_or(limit, |at| at.min(limit));
        let cycles = self.hart.cycles();
        // At least one, so that an event which stays due can't stop the hart for good.
        let until = self.soc.clock.cycle_at(target).max(cycles + 1);
        match self.hart.run(
            &mut self.soc,
            until.min(cycles.saturating_add(instructions)),
        ) {
            Stop::Deadline | Stop::Attention | Stop::Halted(_) => {}
            Stop::WaitForInterrupt => self.state = State::Waits,
            Stop::Emulated { pc } => self.emulate(pc, until),
            Stop::Lockup { pc, .. } => self.lock_up(pc),
        }
    }

    /// The hart can't go on; watchdogs may still help it.
    pub(crate) fn lock_up(&mut self, pc: u32) {
        let at = self.now();
        self.events.push(ChipEvent::Lockup { at, pc });
        self.state = State::Stuck;
    }
}

#[cfg(test)]
pub(crate) mod tests;
