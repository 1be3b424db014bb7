//! Tests of `wires.rs`.

use super::*;

const PIN: u8 = 10;
const EAR: Ear = Ear::Pin {
    pin: PIN,
    inverted: false,
};
const OPEN_DRAIN: Pad = Pad {
    source: Source::Uart(1),
    inverted: false,
    enabled: true,
    open_drain: true,
    pull_up: false,
    outside: None,
};

/// Answers each pulse of the chip by holding the wire for `hold` ticks from the pulse's beginning.
struct Slave {
    hold: u64,
    grounded: bool,
    pulses: Vec<(u64, u64)>,
}

impl Wire for Slave {
    fn pulse(&mut self, pulse: Low, lows: &mut Vec<Low>) {
        self.pulses.push((pulse.from.0, pulse.to.0));
        lows.push(Low {
            from: pulse.from,
            to: pulse.to.max(pulse.from + Ticks(self.hold)),
        });
    }

    fn settle(&mut self, until: Ticks, lows: &mut Vec<Low>) {
        if self.grounded {
            let from = Ticks::ZERO;
            lows.push(Low { from, to: until });
        }
    }

    fn next_fall(&self) -> Option<Ticks> {
        Some(Ticks(3))
    }

    fn is_grounded(&self) -> bool {
        self.grounded
    }
}

fn wires(pad: Pad, hold: u64, grounded: bool) -> Wires {
    let mut wires = Wires::default();
    let pulses = Vec::new();
    let slave = Slave {
        hold,
        grounded,
        pulses,
    };
    wires.attach(Ticks(0), PIN, true, Box::new(slave));
    wires.set_pad(Ticks(0), PIN, pad);
    wires.listen(Ticks(0), 1, EAR);
    heard(&mut wires);
    wires
}

fn heard(wires: &mut Wires) -> Vec<(u64, bool)> {
    std::iter::from_fn(|| wires.hear(1))
        .map(|edge| (edge.at.0, edge.level))
        .collect()
}

/// The chip sends a low from 100 to 200; what is heard by 1000.
fn pulse(wires: &mut Wires) -> Vec<(u64, bool)> {
    wires.transmit(Ticks(100), 1, false);
    wires.transmit(Ticks(200), 1, true);
    wires.advance(Ticks(1000));
    heard(wires)
}

#[test]
fn an_open_drain_wire_is_low_when_anybody_pulls() {
    let mut alone = wires(OPEN_DRAIN, 0, false);
    assert_eq!(pulse(&mut alone), [(100, false), (200, true)]);
    let mut both = wires(OPEN_DRAIN, 250, false);
    assert_eq!(pulse(&mut both), [(100, false), (350, true)]);
    assert_eq!(both.take_conflicts(), []);
}

#[test]
fn edges_are_heard_when_they_have_happened() {
    let mut wires = wires(OPEN_DRAIN, 250, false);
    wires.transmit(Ticks(100), 1, false);
    wires.transmit(Ticks(200), 1, true);
    wires.advance(Ticks(349));
    assert_eq!(heard(&mut wires), [(100, false)]);
    assert_eq!(wires.levels(Ticks(349)), 0);
    assert_eq!(wires.levels(Ticks(350)), 1 << PIN);
    assert_eq!(heard(&mut wires), [(350, true)]);
}

#[test]
fn a_pulse_while_a_slave_holds_the_wire_is_no_edge() {
    let mut wires = wires(OPEN_DRAIN, 250, false);
    for (at, level) in [(100, false), (200, true), (300, false), (400, true)] {
        wires.transmit(Ticks(at), 1, level);
    }
    wires.advance(Ticks(1000));
    assert_eq!(heard(&mut wires), [(100, false), (550, true)]);
}

#[test]
fn a_push_pull_driver_wins_against_slaves_and_is_told_of() {
    let push_pull = Pad {
        open_drain: false,
        ..OPEN_DRAIN
    };
    let mut against_slave = wires(push_pull, 250, false);
    assert_eq!(pulse(&mut against_slave), [(100, false), (200, true)]);
    assert_eq!(against_slave.take_conflicts(), [(Ticks(200), PIN)]);
    pulse_later(&mut against_slave);
    assert_eq!(against_slave.take_conflicts(), [], "told once");

    let mut against_short = wires(push_pull, 0, true);
    against_short.advance(Ticks(1000));
    assert_eq!(against_short.levels(Ticks(1000)), 0);
    assert_eq!(against_short.take_conflicts().len(), 1);
}

#[test]
fn who_asks_in_the_middle_of_a_low_finds_it_told_so_far() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    wires.transmit(Ticks(100), 1, false);
    let told = |wires: &mut Wires, now| {
        let wire: &mut dyn Any = wires.wire(Ticks(now), PIN).expect("a wire");
        let slave: &mut Slave = wire.downcast_mut().expect("that one");
        slave.pulses.clone()
    };
    assert_eq!(told(&mut wires, 150), [(100, 150)]);
    wires.transmit(Ticks(200), 1, true);
    assert_eq!(told(&mut wires, 300), [(100, 150), (150, 200)]);
    assert_eq!(heard(&mut wires), [(100, false), (200, true)]);
}

fn pulse_later(wires: &mut Wires) {
    wires.transmit(Ticks(2000), 1, false);
    wires.transmit(Ticks(2100), 1, true);
    wires.advance(Ticks(3000));
}

#[test]
fn a_wire_that_nothing_pulls_up_is_low() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    let slave = Slave {
        hold: 0,
        grounded: false,
        pulses: Vec::new(),
    };
    wires.attach(Ticks(10), PIN, false, Box::new(slave));
    assert_eq!(wires.levels(Ticks(20)), 0);
    let pulled_up = Pad {
        pull_up: true,
        ..OPEN_DRAIN
    };
    wires.set_pad(Ticks(500), PIN, pulled_up);
    assert_eq!(wires.levels(Ticks(600)), 1 << PIN);
    assert_eq!(heard(&mut wires), [(10, false), (500, true)]);
    // The slaves saw it low too.
    let wire: &mut dyn Any = wires.wire(Ticks(600), PIN).expect("a wire");
    let slave: &mut Slave = wire.downcast_mut().expect("that one");
    assert_eq!(slave.pulses, [(10, 500)]);
}

#[test]
fn who_listens_elsewhere_hears_nothing() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    wires.listen(Ticks(0), 1, Ear::Level(true));
    assert_eq!(pulse(&mut wires), [(0, true)]);
    assert_eq!(wires.next_fall(1), None);
}

#[test]
fn an_inverted_ear_hears_the_opposite() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    let ear = Ear::Pin {
        pin: PIN,
        inverted: true,
    };
    wires.listen(Ticks(0), 1, ear);
    assert_eq!(pulse(&mut wires), [(0, false), (100, true), (200, false)]);
}

#[test]
fn a_uart_hears_itself_on_its_pin_though_nothing_hangs_there() {
    let mut wires = Wires::default();
    wires.listen(Ticks(0), 1, EAR);
    let pad = Pad {
        pull_up: true,
        ..OPEN_DRAIN
    };
    wires.set_pad(Ticks(0), PIN, pad);
    wires.advance(Ticks(1));
    heard(&mut wires);
    assert_eq!(pulse(&mut wires), [(100, false), (200, true)]);
}

#[test]
fn what_the_wire_will_do_is_never_now() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    assert_eq!(wires.next_fall(1), Some(Ticks(3)));
    wires.advance(Ticks(1000));
    assert_eq!(wires.next_fall(1), Some(Ticks(1001)));
    wires.transmit(Ticks(2000), 1, false);
    assert_eq!(wires.next_fall(1), None, "it is low already");
}

#[test]
fn only_pins_with_a_wire_or_an_ear_are_kept() {
    let mut wires = wires(OPEN_DRAIN, 0, false);
    let other = Ear::Pin {
        pin: 4,
        inverted: false,
    };
    wires.listen(Ticks(0), 0, other);
    assert_eq!(wires.pins(), 1 << PIN | 1 << 4);
    wires.listen(Ticks(0), 0, Ear::Level(true));
    wires.listen(Ticks(0), 1, Ear::Level(true));
    assert_eq!(wires.pins(), 1 << PIN);
}
