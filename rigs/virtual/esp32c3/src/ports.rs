//! The chip's pins as the outside sees them: where simulated sensors and relays are connected.
//!
//! Levels for what switches and is switched: watched pins tell each change with its time, and make [`Chip::run`] come
//! back. A [`Wire`] for what answers within microseconds, like 1-Wire slaves: it is asked while the chip runs.

use std::any::Any;

use crate::chip::Chip;
use crate::gpio::PinChange;
use crate::io_mux::{PADS, Pads};
use crate::map::Block;
use crate::time::Ticks;
use crate::wires::Wire;

impl Chip {
    /// The outside drives `pin` high (`true`) or low, or lets go of it. False when there is no such pin.
    pub fn drive_pin(&mut self, pin: u8, level: Option<bool>) -> bool {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |peripherals, context| {
            peripherals
                .gpio
                .drive(context.now, pin, level, context.wires)
        })
    }

    /// The outside has a resistor from `pin` to the supply (`true`) or to ground, or none: it decides where nobody drives,
    /// also against the pulls inside the chip. False when there is no such pin.
    pub fn pull_pin(&mut self, pin: u8, up: Option<bool>) -> bool {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |peripherals, context| {
            peripherals.gpio.pull(context.now, pin, up, context.wires)
        })
    }

    /// Level of `pin`, true for high; `None` when there is no such pin.
    pub fn pin_level(&mut self, pin: u8) -> Option<bool> {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |peripherals, context| {
            peripherals.gpio.level(context.now, pin, context.wires)
        })
    }

    /// From now on changes of these pins (bit n: GPIO n) are told by [`Chip::pin_changes`], and [`Chip::run`] returns
    /// [`Pause::PinChanged`](crate::Pause::PinChanged) for them. Not for pins with a [`Wire`].
    pub fn watch_pins(&mut self, pins: u32) {
        self.soc.peripherals.gpio.watch(pins);
    }

    /// Changes of watched pins since the last call, oldest first.
    pub fn pin_changes(&mut self) -> Vec<PinChange> {
        self.soc.peripherals.gpio.take_changes().collect()
    }

    /// Hangs `wire` on `pin`, in place of what hung there, with a pull-up resistor or without one. False when there is
    /// no such pin.
    pub fn attach_wire(&mut self, pin: u8, pull_up: bool, wire: Box<dyn Wire>) -> bool {
        if usize::from(pin) >= PADS {
            return false;
        }
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |_, context| {
            context.wires.attach(context.now, pin, pull_up, wire);
        });
        // The net learns how the pad is connected.
        self.soc.requests.pads_changed = self.is_powered();
        true
    }

    /// Does something to what hangs on `pin`, brought up to this moment, which it is told; `None` when nothing of that
    /// kind hangs there.
    pub fn with_wire<W: Wire, T>(
        &mut self,
        pin: u8,
        act: impl FnOnce(Ticks, &mut W) -> T,
    ) -> Option<T> {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |_, context| {
            let wire: &mut dyn Any = context.wires.wire(context.now, pin)?;
            Some(act(context.now, wire.downcast_mut()?))
        })
    }

    /// Pulls and input enables are like this from now on.
    pub(crate) fn set_pads(&mut self, pads: Pads) {
        let now = self.now();
        self.soc.touch(Block::Gpio, now, |peripherals, context| {
            peripherals.gpio.set_pads(context.now, pads, context.wires);
        });
    }
}

#[cfg(test)]
mod tests {
    use virtual_hart::Width;

    use super::*;
    use crate::Pause;
    use crate::chip::tests::assembler::*;
    use crate::chip::tests::{boot, program, run_to, write};
    use crate::event::ChipEvent;
    use crate::wires::Low;

    const GPIO: u32 = 0x6000_4000;
    const IO_MUX: u32 = 0x6000_9000;
    const UART1: u32 = 0x6001_0000;
    const PIN: u32 = 10;

    /// Holds the wire low for 30 µs from each falling edge that the chip makes.
    #[derive(Default)]
    struct Slave {
        pulses: Vec<Low>,
    }

    impl Wire for Slave {
        fn pulse(&mut self, pulse: Low, lows: &mut Vec<Low>) {
            self.pulses.push(pulse);
            lows.push(Low {
                from: pulse.from,
                to: pulse.to.max(pulse.from + Ticks::from_micros(30)),
            });
        }

        fn settle(&mut self, _: Ticks, _: &mut Vec<Low>) {}

        fn next_fall(&self) -> Option<Ticks> {
            None
        }

        fn is_grounded(&self) -> bool {
            false
        }
    }

    /// Both lines of UART1 on the pin, at 115,200 baud.
    fn uart_on_pin(a: &mut Assembler, open_drain: bool) {
        write(a, UART1 + 0x78, 0x0370_0000);
        write(a, UART1 + 0x14, 4 << 20 | 347);
        write(a, IO_MUX + 4 + 4 * PIN, 1 << 12 | 1 << 9 | 1 << 8);
        write(a, GPIO + 0x74 + 4 * PIN, u32::from(open_drain) << 2);
        write(a, GPIO + 0x554 + 4 * PIN, 1 << 9 | 9);
        write(a, GPIO + 0x24, 1 << PIN);
        write(a, GPIO + 0x154 + 4 * 9, 1 << 6 | PIN);
    }

    fn with_slave(code: &[u8]) -> Chip {
        let mut chip = boot(code);
        assert!(chip.attach_wire(PIN as u8, true, Box::new(Slave::default())));
        chip
    }

    fn received(chip: &mut Chip) -> u32 {
        chip.bus_read(UART1, Width::Word).expect("a register")
    }

    #[test]
    fn a_slave_answers_in_the_character_that_asks() {
        let code = program(
            |a| {
                uart_on_pin(a, true);
                write(a, UART1, 0xFF);
            },
            |_| {},
        );
        let mut chip = with_slave(&code);
        run_to(&mut chip, Ticks::from_millis(100));
        // 30 µs at 115,200 baud: the start bit and two and a half bits more.
        assert_eq!(received(&mut chip), 0xFC);
        let count = chip.with_wire(PIN as u8, |_, slave: &mut Slave| slave.pulses.len());
        assert_eq!(count, Some(1));
    }

    #[test]
    fn a_push_pull_pin_hears_itself_and_is_told_of() {
        let code = program(
            |a| {
                uart_on_pin(a, false);
                write(a, UART1, 0xFF);
            },
            |_| {},
        );
        let mut chip = with_slave(&code);
        run_to(&mut chip, Ticks::from_millis(100));
        assert_eq!(received(&mut chip), 0xFF);
        let told = chip
            .events()
            .into_iter()
            .any(|event| matches!(event, ChipEvent::PinConflict { pin: 10, .. }));
        assert!(told);
    }

    #[test]
    fn the_level_of_a_wire_is_read_at_the_pin() {
        let code = program(
            |a| {
                uart_on_pin(a, true);
                write(a, UART1, 0xFF);
                // 20 µs later the chip has let go, the slave has not; 20 µs later it has too.
                for _ in 0..2 {
                    a.li(A0, 20);
                    a.li(T0, 0x4000_0050);
                    a.jalr(RA, T0, 0);
                    a.li(T0, GPIO);
                    a.lw(T1, T0, 0x3C);
                    a.slli(S2, S2, 1);
                    a.srli(T1, T1, PIN as i32);
                    a.andi(T1, T1, 1);
                    a.or(S2, S2, T1);
                }
            },
            |_| {},
        );
        let mut chip = with_slave(&code);
        run_to(&mut chip, Ticks::from_millis(100));
        chip.halt();
        assert_eq!(chip.read_register(0x1000 + S2 as u16), Some(0b01));
    }

    #[test]
    fn a_wire_without_the_chips_pull_up_rests_on_its_own() {
        fn check(pull_up: bool, expected: bool) {
            let mut chip = boot(&program(|_| {}, |_| {}));
            chip.attach_wire(PIN as u8, pull_up, Box::new(Slave::default()));
            run_to(&mut chip, Ticks::from_millis(50));
            chip.power_off();
            assert_eq!(chip.pin_level(PIN as u8), Some(expected));
        }
        check(true, true);
        check(false, false);
    }

    #[test]
    fn watched_pins_stop_the_chip_and_tell_when() {
        let code = program(
            |a| {
                write(a, GPIO + 8, 1 << 3 | 1 << 4);
                write(a, IO_MUX + 4 + 4 * 3, 0);
                write(a, IO_MUX + 4 + 4 * 4, 0);
                write(a, GPIO + 0x24, 1 << 3 | 1 << 4);
                write(a, GPIO + 0xC, 1 << 3 | 1 << 4);
            },
            |_| {},
        );
        let mut chip = boot(&code);
        chip.watch_pins(1 << 3);
        let mut seen = Vec::new();
        loop {
            match chip.run(Ticks::from_millis(100), u64::MAX) {
                Pause::PinChanged => {
                    for change in chip.pin_changes() {
                        let late = chip.now().since(change.at);
                        assert!(late < Ticks::from_micros(1), "{late:?}");
                        seen.push((change.pin, change.level));
                    }
                }
                Pause::Reset => {}
                _ => break,
            }
        }
        // Its pull-up goes, it is driven high, then low.
        assert_eq!(seen, [(3, false), (3, true), (3, false)]);
    }

    #[test]
    fn pins_fall_when_power_goes_and_when_the_chip_is_reset() {
        let high = |a: &mut Assembler| {
            write(a, GPIO + 8, 1 << 3);
            write(a, GPIO + 0x24, 1 << 3);
        };
        let mut chip = boot(&program(high, |_| {}));
        chip.pull_pin(3, Some(false));
        run_to(&mut chip, Ticks::from_millis(50));
        chip.watch_pins(1 << 3);
        assert_eq!(chip.pin_level(3), Some(true));
        chip.power_off();
        assert_eq!(chip.pin_level(3), Some(false));
        let later = chip.now() + Ticks::from_millis(1);
        assert_eq!(chip.run(later, u64::MAX), Pause::PinChanged);
        assert_eq!(chip.pin_changes().len(), 1);
        assert_eq!(chip.run(later, u64::MAX), Pause::Idle);
        chip.power_on();
        let mut pauses = Vec::new();
        while chip.now() < later + Ticks::from_millis(100) {
            match chip.run(later + Ticks::from_millis(100), u64::MAX) {
                Pause::PinChanged => pauses.extend(chip.pin_changes()),
                Pause::Idle | Pause::Limit => break,
                _ => {}
            }
        }
        // Low until the program drives it again, though a reset leaves the pull-up on.
        assert_eq!(pauses.len(), 1);
        assert!(pauses[0].level);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut chip = boot(&program(|_| {}, |_| {}));
        assert!(!chip.drive_pin(30, None));
        assert!(!chip.pull_pin(22, None));
        assert!(!chip.attach_wire(22, true, Box::new(Slave::default())));
        assert_eq!(chip.pin_level(22), None);
        let count = chip.with_wire(3, |_, slave: &mut Slave| slave.pulses.len());
        assert_eq!(count, None);
    }
}
