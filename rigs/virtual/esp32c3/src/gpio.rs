//! GPIO: output, input and interrupts of the pins, and the matrix that routes signals to them.
//!
//! ESP32-C3 Technical Reference Manual, chapter "IO MUX and GPIO Matrix". A pin's level follows from what the chip
//! drives, what the outside drives, and the pulls:
//!
//! ```text
//! both drive         -> low wins (open drain, or a short that the other side wins)
//! one drives         -> its level
//! nobody drives      -> what a resistor outside says, else pull-up high, else low
//! ```
//!
//! The outside drives with [`Gpio::drive`] and sees changes of level of the pins it watches, with their times, from
//! [`Gpio::take_changes`]. A pin that a UART listens to, or on which a [`Wire`](crate::Wire) hangs, has its level from
//! `wires`, which is told here how the pad is connected.
//!
//! Not modelled: interrupts by such a pin and changes of its level for watchers, signals of other peripherals than UARTs
//! on pins (they rest high), sleep, hold, sigma-delta, synchronisation delays, wake-up.

use std::collections::VecDeque;

use crate::io_mux::{PADS, Pads};
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;
use crate::time::Ticks;
use crate::wires::{Ear, Pad, Source, UARTS, Wires};

const OUT: u32 = 0x04;
const OUT_W1TS: u32 = 0x08;
const OUT_W1TC: u32 = 0x0C;
const ENABLE: u32 = 0x20;
const ENABLE_W1TS: u32 = 0x24;
const ENABLE_W1TC: u32 = 0x28;
const STRAP: u32 = 0x38;
const IN: u32 = 0x3C;
const STATUS: u32 = 0x44;
const STATUS_W1TS: u32 = 0x48;
const STATUS_W1TC: u32 = 0x4C;
const PCPU_INT: u32 = 0x5C;
const PCPU_NMI_INT: u32 = 0x60;
const PIN: u32 = 0x74;
const PIN_END: u32 = PIN + 4 * PADS as u32;
const STATUS_NEXT: u32 = 0x14C;
const FUNC_IN_SEL_CFG: u32 = 0x154;
const FUNC_OUT_SEL_CFG: u32 = 0x554;
const FUNC_OUT_SEL_CFG_END: u32 = FUNC_OUT_SEL_CFG + 4 * PADS as u32;

/// Bits of the pins that exist.
const PINS: u32 = (1 << PADS) - 1;

const PIN_PAD_DRIVER: u32 = 1 << 2;
const PIN_INT_ENA_CPU: u32 = 1 << 13;
const PIN_INT_ENA_NMI: u32 = 1 << 14;

/// `FUNC_OUT_SEL`: the level is that of `OUT`.
const OUT_SEL_GPIO: u32 = 128;
const OUT_INV: u32 = 1 << 8;
/// `FUNC_OUT_SEL`: the driver is switched by `ENABLE`, not by the peripheral.
const OUT_OEN_SEL: u32 = 1 << 9;
const OUT_OEN_INV: u32 = 1 << 10;
/// `FUNC_IN_SEL`: the signal comes through the matrix.
const IN_SEL_MATRIX: u32 = 1 << 6;
const IN_INV: u32 = 1 << 5;
/// `FUNC_IN_SEL`: a constant instead of a pin.
const IN_SEL_LOW: u32 = 0x1F;
/// Signals of the UARTs in the matrix, TXD and RXD alike.
const UART_SIGNALS: [u32; UARTS] = [6, 9];

const SOURCE: u32 = 16;
const SOURCE_NMI: u32 = 17;
/// Boot from flash: GPIO2 and GPIO8 high, GPIO9 high.
const STRAP_FLASH_BOOT: u32 = 0x0D;
/// Changes kept for whoever watches the pins.
const CHANGES_MAX: usize = 65_536;

/// A pin's level changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinChange {
    /// When.
    pub at: Ticks,
    /// Number of the pin, 0..22.
    pub pin: u8,
    /// True for high.
    pub level: bool,
}

/// The block.
pub(crate) struct Gpio {
    registers: Registers,
    out: u32,
    enable: u32,
    status: u32,
    pads: Pads,
    /// What the outside drives, and to which level: bits of pins.
    driven: u32,
    driven_high: u32,
    /// Where the outside has a resistor to the supply or to ground.
    pulled_up: u32,
    pulled_down: u32,
    /// Levels as they are.
    levels: u32,
    changes: VecDeque<PinChange>,
    /// Pins whose changes are kept.
    watched: u32,
}

const OUT_SEL_RESETS: [(u32, u32); PADS + 2] = {
    let mut resets = [(0, 0x80); PADS + 2];
    let mut pin = 0;
    while pin < PADS {
        resets[pin].0 = FUNC_OUT_SEL_CFG + 4 * pin as u32;
        pin += 1;
    }
    resets[PADS] = (0x62C, 1);
    resets[PADS + 1] = (0x6FC, 0x0200_6130);
    resets
};

impl Gpio {
    /// With pads as `pads` says.
    pub(crate) fn new(pads: Pads) -> Gpio {
        let mut gpio = Gpio {
            registers: Registers::new(
                "gpio",
                0x1000,
                &[
                    0x00..0x04,
                    0x1C..0x20,
                    PIN..PIN_END,
                    FUNC_IN_SEL_CFG..0x354,
                    FUNC_OUT_SEL_CFG..FUNC_OUT_SEL_CFG_END,
                    0x62C..0x630,
                    0x6FC..0x700,
                    // Written by chip initialisation, described nowhere.
                    0xF20..0xF24,
                ],
                &OUT_SEL_RESETS,
            ),
            out: 0,
            enable: 0,
            status: 0,
            pads,
            driven: 0,
            driven_high: 0,
            pulled_up: 0,
            pulled_down: 0,
            levels: 0,
            changes: VecDeque::new(),
            watched: 0,
        };
        gpio.levels = gpio.settled();
        gpio
    }

    /// The outside drives `pin` high or low, or lets go of it. Returns false when there is no such pin.
    pub(crate) fn drive(
        &mut self,
        now: Ticks,
        pin: u8,
        level: Option<bool>,
        wires: &mut Wires,
    ) -> bool {
        if usize::from(pin) >= PADS {
            return false;
        }
        let bit = 1 << pin;
        self.driven &= !bit;
        self.driven_high &= !bit;
        if let Some(high) = level {
            self.driven |= bit;
            self.driven_high |= u32::from(high) << pin;
        }
        self.settle(now, wires);
        true
    }

    /// The outside has a resistor from `pin` to the supply (`true`) or to ground, or none. Returns false when there is no
    /// such pin.
    pub(crate) fn pull(
        &mut self,
        now: Ticks,
        pin: u8,
        up: Option<bool>,
        wires: &mut Wires,
    ) -> bool {
        if usize::from(pin) >= PADS {
            return false;
        }
        let bit = 1 << pin;
        self.pulled_up &= !bit;
        self.pulled_down &= !bit;
        self.pulled_up |= u32::from(up == Some(true)) << pin;
        self.pulled_down |= u32::from(up == Some(false)) << pin;
        self.settle(now, wires);
        true
    }

    /// The IO MUX changed.
    pub(crate) fn set_pads(&mut self, now: Ticks, pads: Pads, wires: &mut Wires) {
        self.pads = pads;
        self.settle(now, wires);
    }

    /// Level of `pin` at `now`: true for high; `None` when there is no such pin.
    pub(crate) fn level(&self, now: Ticks, pin: u8, wires: &mut Wires) -> Option<bool> {
        (usize::from(pin) < PADS).then(|| self.levels_at(now, wires) >> pin & 1 != 0)
    }

    /// From now on [`Gpio::take_changes`] tells changes of these pins: bits.
    pub(crate) fn watch(&mut self, pins: u32) {
        self.watched = pins;
    }

    /// True when there are changes to be taken.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Changes since the last call, oldest first.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = PinChange> + '_ {
        self.changes.drain(..)
    }

    fn out_sel(&self, pin: u8) -> u32 {
        self.registers.get(FUNC_OUT_SEL_CFG + 4 * u32::from(pin))
    }

    fn pin(&self, pin: u8) -> u32 {
        self.registers.get(PIN + 4 * u32::from(pin))
    }

    /// How the pad of `pin` is connected.
    fn pad(&self, pin: u8) -> Pad {
        let select = self.out_sel(pin);
        let is_set = |word: u32| word >> pin & 1 != 0;
        let gpio = select & 0xFF == OUT_SEL_GPIO;
        let uart = UART_SIGNALS
            .iter()
            .position(|signal| *signal == select & 0xFF);
        Pad {
            source: match uart {
                Some(uart) => Source::Uart(uart),
                // Other signals are taken to rest high.
                None => Source::Level(!gpio || is_set(self.out)),
            },
            inverted: select & OUT_INV != 0,
            // A peripheral's driver is taken to be on.
            enabled: (!gpio && select & OUT_OEN_SEL == 0)
                || is_set(self.enable) != (select & OUT_OEN_INV != 0),
            open_drain: self.pin(pin) & PIN_PAD_DRIVER != 0,
            // A resistor outside is stronger than the pulls inside, some 45 kOhm.
            pull_up: is_set(
                self.pulled_up | self.pads.pull_up & !self.pads.pull_down & !self.pulled_down,
            ),
            outside: is_set(self.driven).then(|| is_set(self.driven_high)),
        }
    }

    /// What UART `uart` listens to.
    fn ear(&self, uart: usize) -> Ear {
        let select = self.registers.get(FUNC_IN_SEL_CFG + 4 * UART_SIGNALS[uart]);
        let inverted = select & IN_INV != 0;
        let pin = (select & 0x1F) as u8;
        if select & IN_SEL_MATRIX == 0 {
            Ear::Level(true)
        } else if usize::from(pin) >= PADS {
            Ear::Level((select & 0x1F != IN_SEL_LOW) != inverted)
        } else if self.pads.input >> pin & 1 == 0 {
            Ear::Level(inverted)
        } else {
            Ear::Pin { pin, inverted }
        }
    }

    /// Levels as they follow from all that drives, wires aside.
    fn settled(&self) -> u32 {
        let level = |pin: u8| {
            let pad = self.pad(pin);
            let high = match pad.source {
                Source::Level(level) => level,
                Source::Uart(_) => true,
            } != pad.inverted;
            let low = pad.enabled && !high || pad.outside == Some(false);
            let driven = pad.enabled && high && !pad.open_drain || pad.outside == Some(true);
            !low && (driven || pad.pull_up)
        };
        (0..PADS as u8).fold(0, |levels, pin| levels | u32::from(level(pin)) << pin)
    }

    /// Levels of all pins at `now`.
    fn levels_at(&self, now: Ticks, wires: &mut Wires) -> u32 {
        match wires.pins() {
            0 => self.levels,
            pins => self.levels & !pins | wires.levels(now),
        }
    }

    /// What `IN` shows, wires aside.
    fn input(&self) -> u32 {
        self.levels & self.pads.input
    }

    /// Brings levels up to date, and what follows from a change: interrupts, and news for the outside.
    fn settle(&mut self, now: Ticks, wires: &mut Wires) {
        let levels = self.settled();
        let seen = self.input();
        let changed = levels ^ self.levels;
        self.levels = levels;
        for pin in (0..PADS as u8).filter(|pin| (changed & self.watched) >> pin & 1 != 0) {
            if self.changes.len() >= CHANGES_MAX {
                self.changes.pop_front();
            }
            self.changes.push_back(PinChange {
                at: now,
                pin,
                level: levels >> pin & 1 != 0,
            });
        }
        let now_seen = self.input();
        let (rose, fell) = (now_seen & !seen, seen & !now_seen);
        for pin in 0..PADS as u8 {
            let edges = match self.pin(pin) >> 7 & 7 {
                1 => rose,
                2 => fell,
                3 => rose | fell,
                _ => 0,
            };
            self.status |= edges & 1 << pin;
        }
        self.hold_levels();
        self.connect(now, wires);
    }

    /// Tells the wires how they are connected.
    fn connect(&self, now: Ticks, wires: &mut Wires) {
        for uart in 0..UARTS {
            wires.listen(now, uart, self.ear(uart));
        }
        let pins = wires.pins();
        for pin in (0..PADS as u8).filter(|pin| pins >> pin & 1 != 0) {
            wires.set_pad(now, pin, self.pad(pin));
        }
    }

    /// Level interrupts are raised as long as the level is there, whatever is cleared.
    fn hold_levels(&mut self) {
        let seen = self.input();
        for pin in 0..PADS as u8 {
            let held = match self.pin(pin) >> 7 & 7 {
                4 => !seen,
                5 => seen,
                _ => 0,
            };
            self.status |= held & 1 << pin;
        }
    }

    /// Pins whose interrupt goes to the CPU by the enable bit `enable` of their register.
    fn raised(&self, enable: u32) -> u32 {
        (0..PADS as u8)
            .filter(|pin| self.pin(*pin) & enable != 0)
            .fold(0, |raised, pin| raised | self.status & 1 << pin)
    }
}

impl Peripheral for Gpio {
    fn name(&self) -> &'static str {
        "gpio"
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            OUT => self.out,
            ENABLE => self.enable,
            IN => self.levels_at(context.now, context.wires) & self.pads.input,
            STATUS | STATUS_NEXT => self.status,
            PCPU_INT => self.raised(PIN_INT_ENA_CPU),
            PCPU_NMI_INT => self.raised(PIN_INT_ENA_NMI),
            STRAP => STRAP_FLASH_BOOT,
            OUT_W1TS | OUT_W1TC | ENABLE_W1TS | ENABLE_W1TC | STATUS_W1TS | STATUS_W1TC => 0,
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        let pins = value & PINS;
        match offset {
            OUT => self.out = pins,
            OUT_W1TS => self.out |= pins,
            OUT_W1TC => self.out &= !pins,
            ENABLE => self.enable = pins,
            ENABLE_W1TS => self.enable |= pins,
            ENABLE_W1TC => self.enable &= !pins,
            STATUS => self.status = pins,
            STATUS_W1TS => self.status |= pins,
            STATUS_W1TC => self.status &= !pins,
            IN | STRAP | PCPU_INT | PCPU_NMI_INT | STATUS_NEXT => {}
            _ => self.registers.write(offset, value, context),
        }
        self.settle(context.now, context.wires);
        context.requests.pins_changed |= self.has_changes();
    }

    fn interrupts(&self) -> u64 {
        if self.status == 0 {
            return 0;
        }
        u64::from(self.raised(PIN_INT_ENA_CPU) != 0) << SOURCE
            | u64::from(self.raised(PIN_INT_ENA_NMI) != 0) << SOURCE_NMI
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::Core {
            self.out = 0;
            self.enable = 0;
            self.status = 0;
        }
    }
}

#[cfg(test)]
mod tests;
