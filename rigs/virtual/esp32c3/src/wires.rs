//! Wires on the chip's pins, as far as a UART hears them: who pulls, which level follows, and when it changes.
//!
//! A 1-Wire bus is one wire that a UART sends on and listens to at the same time, with slaves that answer in the middle
//! of what it sends. So the wire has to be known as it is on the bench: an interval is low when anybody pulls, and the
//! receiver gets edges, not characters. Here meet what the chip drives (`gpio` says how each pad is wired up inside, the
//! UARTs say what they send), and what hangs on the wire outside ([`Wire`]):
//!
//! ```text
//!  uart ── transmit ──▶┐             ┌── pulse ──▶ Wire
//!                      │ net of a pin│              │ low intervals
//!  gpio ── set_pad ───▶┘             └◀─────────────┘
//!                      └── edges ──▶ uart
//! ```
//! Who wins:
//!
//! | chip | outside | level |
//! |---|---|---|
//! | pulls low | anything | low |
//! | lets go (open drain, input) | pulls low | low |
//! | lets go | lets go | high by a pull-up, inside or outside; low without one |
//! | drives high (push-pull) | a slave pulls low | high, and [`ChipEvent::PinConflict`]: a slave is the weaker one |
//! | drives high | a short to ground | low, and a conflict too |
//!
//! Time: the far side is told each low of the chip when it ends. Until then the wire is low whatever anybody does, so
//! that nothing is lost by it, and nothing has to be taken back when the chip is reset in the middle. Somebody who turns
//! to the far side meanwhile finds it told so far; the rest of that low comes as another that begins where this one ends.
//!
//! [`ChipEvent::PinConflict`]: crate::ChipEvent::PinConflict

use std::any::Any;
use std::collections::VecDeque;

use crate::io_mux::PADS;
use crate::time::Ticks;

/// UARTs of the chip.
pub(crate) const UARTS: usize = 2;

/// An interval in which a wire is low: from its falling edge to its rising edge, which is high again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Low {
    /// The falling edge.
    pub from: Ticks,
    /// The rising edge.
    pub to: Ticks,
}

/// What hangs on one of the chip's pins, outside: 1-Wire slaves.
///
/// Calls come in order of time. Intervals go in and out in order of time; one that begins where the one before ends
/// continues it. Those that go out include what the chip pulled.
pub trait Wire: Any + Send {
    /// The chip pulled the wire low in this interval. Adds to `lows` what is known now.
    fn pulse(&mut self, pulse: Low, lows: &mut Vec<Low>);

    /// The chip has not pulled until `until`. Adds to `lows` what is known now.
    fn settle(&mut self, until: Ticks, lows: &mut Vec<Low>);

    /// When the wire may fall next without the chip's doing; `None` when it does not.
    fn next_fall(&self) -> Option<Ticks>;

    /// True while the wire is held low by something that nobody can drive against: a short to ground.
    fn is_grounded(&self) -> bool;
}

/// What a pad's driver is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This level.
    Level(bool),
    /// The transmitter of this UART.
    Uart(usize),
}

/// A pad as `gpio` and `io_mux` have it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pad {
    pub(crate) source: Source,
    pub(crate) inverted: bool,
    pub(crate) enabled: bool,
    pub(crate) open_drain: bool,
    /// The weak pull-up inside is on, and no pull-down against it.
    pub(crate) pull_up: bool,
    /// What the outside drives hard, other than by a [`Wire`].
    pub(crate) outside: Option<bool>,
}

impl Pad {
    /// An input without pulls: that of a chip without power.
    pub(crate) const FLOATING: Pad = Pad {
        source: Source::Level(false),
        inverted: false,
        enabled: false,
        open_drain: false,
        pull_up: false,
        outside: None,
    };
}

/// Where a UART's receiver listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    /// At a level that never changes.
    Level(bool),
    /// At a pin, perhaps by an inverter.
    Pin { pin: u8, inverted: bool },
}

/// A change of level that a receiver hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) at: Ticks,
    pub(crate) level: bool,
}

/// All wires.
pub(crate) struct Wires {
    nets: Vec<Net>,
    /// All is known up to here.
    advanced: Ticks,
    /// Level each UART sends.
    sent: [bool; UARTS],
    ears: [Ear; UARTS],
    heard: [VecDeque<Edge>; UARTS],
    conflicts: Vec<(Ticks, u8)>,
}

impl Default for Wires {
    fn default() -> Self {
        Wires {
            nets: Vec::new(),
            advanced: Ticks::ZERO,
            sent: [true; UARTS],
            ears: [Ear::Level(true); UARTS],
            heard: Default::default(),
            conflicts: Vec::new(),
        }
    }
}

impl Wires {
    /// Hangs `wire` on `pin`, in place of what hung there, with a pull-up resistor outside or without one.
    pub(crate) fn attach(&mut self, now: Ticks, pin: u8, pull_up: bool, wire: Box<dyn Wire>) {
        self.with_net(now, pin, |net, out| {
            net.wire = Some(wire);
            net.pull_up = pull_up;
            net.low_until = now;
            net.set_pad(now, net.pad, out);
        });
    }

    /// The wire on `pin`, brought up to `now`.
    pub(crate) fn wire(&mut self, now: Ticks, pin: u8) -> Option<&mut dyn Wire> {
        self.advance(now);
        let index = self.nets.iter().position(|net| net.pin == pin)?;
        self.with_net(now, pin, |net, out| net.tell(now, out));
        self.nets[index].wire.as_deref_mut()
    }

    /// Pins whose levels come from here: bits.
    pub(crate) fn pins(&self) -> u32 {
        self.nets.iter().fold(0, |pins, net| pins | 1 << net.pin)
    }

    /// Levels of those pins at `now`: bits.
    pub(crate) fn levels(&mut self, now: Ticks) -> u32 {
        self.advance(now);
        let high = self.nets.iter().filter(|net| net.level);
        high.fold(0, |levels, net| levels | 1 << net.pin)
    }

    /// Where UART `uart` listens from `now` on.
    pub(crate) fn listen(&mut self, now: Ticks, uart: usize, ear: Ear) {
        if self.ears[uart] == ear {
            return;
        }
        self.advance(now);
        self.ears[uart] = ear;
        let level = match ear {
            Ear::Level(level) => level,
            Ear::Pin { pin, inverted } => self.with_net(now, pin, |net, _| net.level) != inverted,
        };
        self.heard[uart].push_back(Edge { at: now, level });
        // Nets that nobody listens to and on which nothing hangs are not kept.
        let ears = self.ears;
        self.nets.retain(|net| {
            let heard = |ear: &Ear| matches!(ear, Ear::Pin { pin, .. } if *pin == net.pin);
            net.wire.is_some() || ears.iter().any(heard)
        });
    }

    /// The pad of `pin` is connected like this from `now` on. Only for pins that [`Wires::pins`] names.
    pub(crate) fn set_pad(&mut self, now: Ticks, pin: u8, pad: Pad) {
        if self.nets.iter().any(|net| net.pin == pin && net.pad != pad) {
            self.with_net(now, pin, |net, out| net.set_pad(now, pad, out));
        }
    }

    /// UART `uart` sends this level from `at` on.
    pub(crate) fn transmit(&mut self, at: Ticks, uart: usize, level: bool) {
        self.sent[uart] = level;
        let Wires {
            nets,
            sent,
            ears,
            heard,
            conflicts,
            ..
        } = self;
        for net in nets {
            if net.pad.source == Source::Uart(uart) {
                let mut out = Out {
                    sent,
                    ears,
                    heard,
                    conflicts,
                };
                net.drive(at, &mut out);
            }
        }
    }

    /// Brings every wire up to `now`.
    pub(crate) fn advance(&mut self, now: Ticks) {
        let Wires {
            nets,
            advanced,
            sent,
            ears,
            heard,
            conflicts,
        } = self;
        *advanced = now;
        for net in nets {
            let mut out = Out {
                sent,
                ears,
                heard,
                conflicts,
            };
            net.settle(now, &mut out);
        }
    }

    /// The oldest edge that UART `uart` has not heard yet.
    pub(crate) fn hear(&mut self, uart: usize) -> Option<Edge> {
        self.heard[uart].pop_front()
    }

    /// When the wire that UART `uart` listens to may fall next without the chip's doing.
    pub(crate) fn next_fall(&self, uart: usize) -> Option<Ticks> {
        let Ear::Pin { pin, .. } = self.ears[uart] else {
            return None;
        };
        let net = self.nets.iter().find(|net| net.pin == pin)?;
        if let Hold::Low(_) = net.hold {
            return None;
        }
        // Never now: whoever waits for it would wait for ever.
        let at = net.wire.as_ref()?.next_fall()?;
        Some(at.max(Ticks(self.advanced.0 + 1)))
    }

    /// Pins on which the chip and the outside drove against each other since the last call, and when that began.
    pub(crate) fn take_conflicts(&mut self) -> Vec<(Ticks, u8)> {
        std::mem::take(&mut self.conflicts)
    }

    /// Does something to the net of `pin`, which is made if there is none.
    fn with_net<T>(
        &mut self,
        now: Ticks,
        pin: u8,
        act: impl FnOnce(&mut Net, &mut Out<'_>) -> T,
    ) -> T {
        let mut out = Out {
            sent: &self.sent,
            ears: &self.ears,
            heard: &mut self.heard,
            conflicts: &mut self.conflicts,
        };
        let known = self.nets.iter().position(|net| net.pin == pin);
        let index = known.unwrap_or_else(|| {
            let mut net = Net::new(pin);
            net.drive(now, &mut out);
            self.nets.push(net);
            self.nets.len() - 1
        });
        act(&mut self.nets[index], &mut out)
    }
}

/// What a net needs of the rest.
struct Out<'a> {
    sent: &'a [bool; UARTS],
    ears: &'a [Ear; UARTS],
    heard: &'a mut [VecDeque<Edge>; UARTS],
    conflicts: &'a mut Vec<(Ticks, u8)>,
}

/// How the chip, the pulls and whatever drives hard hold a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Low, since then.
    Low(Ticks),
    /// High by a pull-up, so that anybody can pull it low.
    Pulled,
    /// High by a driver.
    Driven,
}

/// The wire of one pin.
struct Net {
    pin: u8,
    pad: Pad,
    wire: Option<Box<dyn Wire>>,
    /// There is a pull-up resistor outside.
    pull_up: bool,
    hold: Hold,
    /// Without the chip's doing the wire is low until then.
    low_until: Ticks,
    /// As of the last edge.
    level: bool,
    /// A conflict is told once, until the pad is connected otherwise.
    conflict_told: bool,
    /// Kept to save allocations.
    lows: Vec<Low>,
}

impl Net {
    fn new(pin: u8) -> Net {
        Net {
            pin,
            pad: Pad::FLOATING,
            wire: None,
            pull_up: false,
            hold: Hold::Pulled,
            low_until: Ticks::ZERO,
            level: true,
            conflict_told: false,
            lows: Vec::new(),
        }
    }

    fn set_pad(&mut self, now: Ticks, pad: Pad, out: &mut Out<'_>) {
        self.settle(now, out);
        self.pad = pad;
        self.conflict_told = false;
        self.drive(now, out);
    }

    /// Looks at what the chip drives from `at` on.
    fn drive(&mut self, at: Ticks, out: &mut Out<'_>) {
        let pad = &self.pad;
        let level = match pad.source {
            Source::Level(level) => level,
            Source::Uart(uart) => out.sent[uart],
        } != pad.inverted;
        let chip_low = pad.enabled && !level;
        let driven = pad.outside == Some(true) || (pad.enabled && level && !pad.open_drain);
        let pulled = self.pull_up || pad.pull_up;
        let low = chip_low || pad.outside == Some(false) || !(driven || pulled);
        match (self.hold, low) {
            (Hold::Low(_), true) => {}
            (_, true) => {
                self.settle(at, out);
                self.hold = Hold::Low(at);
                self.edge(at, false, out);
            }
            (was, false) => {
                self.hold = if driven { Hold::Driven } else { Hold::Pulled };
                if let Hold::Low(from) = was {
                    self.let_go(Low { from, to: at }, out);
                }
            }
        }
    }

    /// The far side is going to be asked for something: a low of the chip that has not ended is told so far.
    fn tell(&mut self, now: Ticks, out: &mut Out<'_>) {
        if let Hold::Low(from) = self.hold {
            self.let_go(Low { from, to: now }, out);
            self.hold = Hold::Low(now);
        }
    }

    /// The chip has pulled low in this interval.
    fn let_go(&mut self, pulse: Low, out: &mut Out<'_>) {
        self.low_until = self.low_until.max(pulse.to);
        if let Some(wire) = &mut self.wire
            && pulse.from < pulse.to
        {
            let mut lows = std::mem::take(&mut self.lows);
            wire.pulse(pulse, &mut lows);
            self.absorb(lows, out);
        }
    }

    /// Brings the wire up to `now`.
    fn settle(&mut self, now: Ticks, out: &mut Out<'_>) {
        if let Hold::Low(_) = self.hold {
            return;
        }
        if let Some(wire) = &mut self.wire {
            let mut lows = std::mem::take(&mut self.lows);
            // What begins at this very moment is known too.
            wire.settle(Ticks(now.0 + 1), &mut lows);
            self.absorb(lows, out);
        }
        if !self.level && self.low_until <= now {
            self.edge(self.low_until, true, out);
        }
    }

    /// The wire was low in these intervals, as the outside sees it.
    fn absorb(&mut self, mut lows: Vec<Low>, out: &mut Out<'_>) {
        for low in lows.drain(..) {
            if self.hold == Hold::Driven && low.to > self.low_until {
                let grounded = self.wire.as_ref().is_some_and(|wire| wire.is_grounded());
                self.fight(low.from.max(self.low_until), out);
                if !grounded {
                    continue;
                }
            }
            if self.level || low.from > self.low_until {
                if !self.level {
                    self.edge(self.low_until, true, out);
                }
                self.edge(low.from, false, out);
            }
            self.low_until = self.low_until.max(low.to);
        }
        self.lows = lows;
    }

    fn fight(&mut self, at: Ticks, out: &mut Out<'_>) {
        if !self.conflict_told {
            self.conflict_told = true;
            out.conflicts.push((at, self.pin));
        }
    }

    fn edge(&mut self, at: Ticks, level: bool, out: &mut Out<'_>) {
        if self.level == level {
            return;
        }
        self.level = level;
        for (ear, heard) in out.ears.iter().zip(out.heard.iter_mut()) {
            if let Ear::Pin { pin, inverted } = ear
                && *pin == self.pin
            {
                let level = level != *inverted;
                heard.push_back(Edge { at, level });
            }
        }
    }
}

// A set of pins is a word.
const _: () = assert!(PADS <= 32);

#[cfg(test)]
mod tests;
