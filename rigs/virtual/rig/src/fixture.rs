//! The fixture board of the virtual rig: what hangs on the chip's pins, and the switch of its supply.
//!
//! It is the same board as the real one, `fixture-logic`, with the same frames on its serial line; only its pins end at
//! the simulated chip instead of a real one. Its clock is the rig's time. The bus with its sensors is a [`Wire`] of the
//! chip, so that sensors answer within the character that asks them, and the board comes with it: who wants something of
//! the board goes through the chip, and finds both at the same moment.

use std::time::Duration;

use fixture_devices::{Bus, Line};
use fixture_logic::{Action, Fixture, Link, PowerSwitch, RelayPull, Settings};
use fixture_protocol::{BoardKind, FlashOperation, Request, Response};
use virtual_esp32c3::{Chip, Low, PinChange, Ticks, Wire};

use crate::settings::FixtureSettings;

/// What the machine has to do for the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Switch the chip's supply.
    SetPower(bool),
    /// Start the board again.
    Reboot,
}

/// The board as the machine has it.
pub(crate) struct Board {
    settings: FixtureSettings,
    /// What the board is told that it is.
    identity: Settings,
    link: Link,
    /// The rig's time when the board was started.
    started: Duration,
    /// The rig's time when the board has something to do by itself.
    due: Option<Duration>,
}

impl Board {
    /// A board that starts with the rig, wired to `chip`.
    pub(crate) fn new(
        chip: &mut Chip,
        serial: &str,
        seed: u64,
        settings: FixtureSettings,
    ) -> Board {
        let mut serial_number = [0; 8];
        for (to, from) in serial_number.iter_mut().zip(serial.bytes()) {
            *to = from;
        }
        let identity = Settings {
            kind: BoardKind::Virtual,
            firmware_version: env!("CARGO_PKG_VERSION"),
            serial_number,
            relays: settings.relay_pins.len() as u8,
            power: PowerSwitch::Fitted {
                on_at_start: true,
                flash_operation_cut: true,
            },
            sensors_on_device_supply: settings.sensors_on_device_supply,
            seed,
        };
        let board = Board {
            settings,
            identity,
            link: Link::new(0),
            started: Duration::ZERO,
            due: None,
        };
        board.wire(chip, Duration::ZERO);
        board
    }

    /// The board starts again: whatever was set is forgotten, and its clock begins anew.
    pub(crate) fn restart(&mut self, chip: &mut Chip, now: Duration) {
        self.started = now;
        self.link = Link::new(0);
        self.due = None;
        self.wire(chip, now);
    }

    /// When the board has something to do by itself, on the rig's clock.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Chip time stood still, and the rig's time did not: it is `now` on the rig's clock.
    pub(crate) fn set_clock(&self, chip: &mut Chip, now: Duration) {
        let clock = self.clock(chip, now);
        let pin = self.settings.one_wire_pin;
        chip.with_wire(pin, |at, wire: &mut FixtureWire| wire.set_clock(at, clock));
    }

    /// Bytes from the host.
    pub(crate) fn receive(&mut self, chip: &mut Chip, now: Duration, bytes: &[u8]) -> Vec<Errand> {
        let now_ns = self.nanos(now);
        let mut errands = Vec::new();
        for byte in bytes {
            if let Some(frame) = self.link.receive(*byte, now_ns) {
                let response = self.handle(chip, now, &frame.body, &mut errands);
                self.link.respond(frame.sequence, response, now_ns);
                errands.append(&mut self.attend(chip, now));
            }
        }
        errands
    }

    /// A request that did not come over the serial line.
    pub(crate) fn ask(
        &mut self,
        chip: &mut Chip,
        now: Duration,
        request: &Request,
    ) -> (Response, Vec<Errand>) {
        let mut errands = Vec::new();
        let response = self.handle(chip, now, request, &mut errands);
        errands.append(&mut self.attend(chip, now));
        (response, errands)
    }

    /// Watched pins have changed.
    pub(crate) fn pins_changed(
        &mut self,
        chip: &mut Chip,
        now: Duration,
        changes: &[PinChange],
    ) -> Vec<Errand> {
        let pins = self.settings.relay_pins.clone();
        self.with(chip, |fixture, clock| {
            for change in changes {
                if let Some(relay) = pins.iter().position(|pin| *pin == change.pin) {
                    fixture.relay_input(relay as u8, change.level, clock.nanos(change.at));
                }
            }
        });
        self.attend(chip, now)
    }

    /// The chip's supply has failed, as it was to.
    pub(crate) fn supply_failed(&mut self, chip: &mut Chip, now: Duration) -> Vec<Errand> {
        let now_ns = self.nanos(now);
        self.with(chip, |fixture, _| fixture.supply_failed(now_ns));
        self.attend(chip, now)
    }

    /// Does what is due, and passes on what there is to say and to do.
    pub(crate) fn attend(&mut self, chip: &mut Chip, now: Duration) -> Vec<Errand> {
        let now_ns = self.nanos(now);
        let mut errands = Vec::new();
        loop {
            let mut actions = Vec::new();
            let mut events = Vec::new();
            let due = self.with(chip, |fixture, _| {
                fixture.poll(now_ns);
                actions.extend(std::iter::from_fn(|| fixture.next_action()));
                events.extend(std::iter::from_fn(|| fixture.next_event()));
                fixture.poll_at()
            });
            let is_done = events.is_empty() && actions.is_empty();
            events
                .into_iter()
                .for_each(|event| self.link.event(event, now_ns));
            for action in actions {
                errands.extend(self.act(chip, action));
            }
            if is_done {
                self.due = due.map(|at_ns| self.started + Duration::from_nanos(at_ns));
                return errands;
            }
        }
    }

    /// The host has opened the serial line.
    pub(crate) fn opened(&mut self) {
        self.link.opened();
    }

    /// Takes what waits for the host.
    pub(crate) fn take_outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !self.link.outgoing().is_empty() {
            let part = self.link.outgoing();
            bytes.extend_from_slice(part);
            self.link.sent(part.len());
        }
        bytes
    }

    /// True when something waits for the host.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.link.outgoing().is_empty()
    }

    fn handle(
        &mut self,
        chip: &mut Chip,
        now: Duration,
        request: &Request,
        errands: &mut Vec<Errand>,
    ) -> Response {
        let now_ns = self.nanos(now);
        // What happened before comes before.
        errands.append(&mut self.attend(chip, now));
        self.with(chip, |fixture, _| fixture.handle(request, now_ns))
    }

    fn act(&mut self, chip: &mut Chip, action: Action) -> Option<Errand> {
        match action {
            Action::SetPower { on } => return Some(Errand::SetPower(on)),
            Action::Reboot => return Some(Errand::Reboot),
            Action::FailPowerInFlash {
                kind,
                nth,
                delay_us,
            } => {
                let delay = delay_us.map(|delay_us| Ticks::from_micros(delay_us.into()));
                chip.fail_power_in_flash(operation(kind), nth, delay);
            }
            Action::ForgetPowerFailure => {
                chip.fail_power_in_flash(virtual_esp32c3::FlashOperation::Any, 0, None);
            }
            Action::SetRelayPull { relay, pull } => {
                if let Some(pin) = self.settings.relay_pins.get(usize::from(relay)) {
                    chip.pull_pin(*pin, Some(pull == RelayPull::Up));
                }
            }
            // The line is modelled and knows its faults.
            Action::SetLine { .. } => {}
        }
        None
    }

    /// Connects a board that has just started.
    fn wire(&self, chip: &mut Chip, now: Duration) {
        let settings = &self.settings;
        let bus = Bus::populated(self.identity.seed, settings.sensors.into());
        let wire = FixtureWire {
            fixture: Fixture::new(&self.identity, Line::new(bus)),
            clock: self.clock(chip, now),
            low_until_ns: 0,
        };
        let (pin, pull_up) = (settings.one_wire_pin, settings.one_wire_pull_up);
        chip.attach_wire(pin, pull_up, Box::new(wire));
        let pins = settings.relay_pins.iter();
        chip.watch_pins(pins.clone().fold(0, |pins, pin| pins | 1 << pin));
        for (relay, pin) in (0..).zip(pins) {
            // At rest an input is low, whatever the chip's pull-ups do.
            chip.pull_pin(*pin, Some(false));
            let high = chip.pin_level(*pin).unwrap_or(false);
            self.with(chip, |fixture, _| fixture.relay_input(relay, high, 0));
        }
    }

    fn with<T>(&self, chip: &mut Chip, act: impl FnOnce(&mut Fixture<Line>, BoardClock) -> T) -> T {
        let pin = self.settings.one_wire_pin;
        chip.with_wire(pin, |_, wire: &mut FixtureWire| {
            let clock = wire.clock;
            act(&mut wire.fixture, clock)
        })
        .expect("the board hangs on its pin since the rig was started")
    }

    /// The board's time.
    fn nanos(&self, now: Duration) -> u64 {
        now.saturating_sub(self.started).as_nanos() as u64
    }

    fn clock(&self, chip: &Chip, now: Duration) -> BoardClock {
        BoardClock {
            offset_ns: self.nanos(now) as i64 - chip.now().as_nanos() as i64,
        }
    }
}

/// The board's time against the chip's.
#[derive(Clone, Copy, Debug)]
struct BoardClock {
    offset_ns: i64,
}

impl BoardClock {
    fn nanos(self, at: Ticks) -> u64 {
        at.as_nanos().saturating_add_signed(self.offset_ns)
    }

    fn ticks(self, at_ns: u64) -> Ticks {
        Ticks::from_nanos(at_ns.saturating_add_signed(-self.offset_ns))
    }
}

/// The bus of the sensors, and the board that it belongs to, on the chip's pin.
struct FixtureWire {
    fixture: Fixture<Line>,
    clock: BoardClock,
    /// The end of the latest low of the chip.
    low_until_ns: u64,
}

impl FixtureWire {
    /// It is `at` for the chip. When its pin is low it has stayed so, however long the chip stood still.
    fn set_clock(&mut self, at: Ticks, clock: BoardClock) {
        let (before_ns, now_ns) = (self.clock.nanos(at), clock.nanos(at));
        self.clock = clock;
        if before_ns == self.low_until_ns && now_ns > before_ns {
            let low = fixture_devices::Low {
                from_ns: before_ns,
                to_ns: now_ns,
            };
            // The chip's side of the wire is low, and knows it.
            self.fixture.line_mut().pulse(low, now_ns);
            self.low_until_ns = now_ns;
        }
    }

    /// Passes on what the line knows.
    fn pass_on(&mut self, known: &[fixture_devices::Low], lows: &mut Vec<Low>) {
        let clock = self.clock;
        lows.extend(known.iter().map(|low| Low {
            from: clock.ticks(low.from_ns),
            to: clock.ticks(low.to_ns),
        }));
    }
}

impl Wire for FixtureWire {
    fn pulse(&mut self, pulse: Low, lows: &mut Vec<Low>) {
        let pulse = fixture_devices::Low {
            from_ns: self.clock.nanos(pulse.from),
            to_ns: self.clock.nanos(pulse.to),
        };
        self.low_until_ns = pulse.to_ns;
        let known = self.fixture.line_mut().pulse(pulse, pulse.to_ns);
        self.pass_on(&known, lows);
    }

    fn settle(&mut self, until: Ticks, lows: &mut Vec<Low>) {
        let until_ns = self.clock.nanos(until);
        let line = self.fixture.line_mut();
        line.settle(until_ns);
        let known = line.take_lows();
        self.pass_on(&known, lows);
    }

    fn next_fall(&self) -> Option<Ticks> {
        let at_ns = self.fixture.line().poll_at()?;
        Some(self.clock.ticks(at_ns))
    }

    fn is_grounded(&self) -> bool {
        self.fixture.line().bus().is_grounded()
    }
}

fn operation(kind: FlashOperation) -> virtual_esp32c3::FlashOperation {
    match kind {
        FlashOperation::Any => virtual_esp32c3::FlashOperation::Any,
        FlashOperation::Erase => virtual_esp32c3::FlashOperation::Erase,
        FlashOperation::Program => virtual_esp32c3::FlashOperation::Program,
    }
}
