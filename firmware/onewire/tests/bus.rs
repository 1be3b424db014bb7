//! The bus against a line that says what the test wants: reset pulse, echo, batches, failures.

mod common;

use common::{Waited, now};
use firmware_onewire::{Bus, BusError, Line, LineError, RESET_BAUD, SLOT_BAUD};

/// A line that answers a reset pulse with `presence`, and everything else with `echo` of it.
struct Fixed<F> {
    presence: Result<u8, LineError>,
    echo: F,
    log: Vec<(u32, Vec<u8>)>,
    baud: u32,
}

impl<F: FnMut(u8) -> Result<u8, LineError>> Fixed<F> {
    fn new(presence: Result<u8, LineError>, echo: F) -> Bus<Self, Waited> {
        let line = Self {
            presence,
            echo,
            log: Vec::new(),
            baud: 0,
        };
        Bus::new(line, Waited::default())
    }
}

impl<F: FnMut(u8) -> Result<u8, LineError>> Line for Fixed<F> {
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError> {
        self.baud = baud;
        Ok(())
    }

    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError> {
        self.log.push((self.baud, characters.to_vec()));
        for character in characters {
            *character = if self.baud == RESET_BAUD {
                self.presence?
            } else {
                (self.echo)(*character)?
            };
        }
        Ok(())
    }
}

fn reset(presence: Result<u8, LineError>) -> Result<(), BusError> {
    now(Fixed::new(presence, Ok).reset())
}

#[test]
fn a_presence_pulse_anywhere_behind_the_reset_pulse_is_heard() {
    // Bits 4 to 7 are sampled 52, 156, 260 and 364 µs after the reset pulse.
    for heard in [0xE0, 0xD0, 0xC0, 0x90, 0x80, 0x10, 0x00] {
        assert_eq!(reset(Ok(heard)), Ok(()), "{heard:02X}");
    }
}

#[test]
fn what_is_not_presence_has_a_name_each() {
    for (heard, expected) in [
        (Ok(0xF0), BusError::Absent),
        (Err(LineError::Framing), BusError::Shorted),
        (Err(LineError::Silent), BusError::StuckLow),
        (Ok(0xFF), BusError::Garbled),
        (Ok(0xE1), BusError::Garbled),
        (
            Err(LineError::Overrun),
            BusError::Transport(LineError::Overrun),
        ),
        (
            Err(LineError::Driver),
            BusError::Transport(LineError::Driver),
        ),
    ] {
        assert_eq!(reset(heard), Err(expected), "{heard:02X?}");
    }
}

#[test]
fn slots_have_their_own_baud_rate_even_after_a_reset_pulse_that_failed() {
    let mut bus = Fixed::new(Err(LineError::Silent), Ok);
    let _ = now(bus.reset());
    assert_eq!(now(bus.write(&[0xCC])), Ok(()));
    assert_eq!(
        bus.into_parts().0.log,
        [
            (RESET_BAUD, vec![0xF0]),
            (SLOT_BAUD, vec![0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]),
        ]
    );
}

#[test]
fn slots_travel_in_batches_of_at_most_64() {
    let mut bus = Fixed::new(Ok(0xE0), Ok);
    let mut read = [0; 9];
    now(bus.transfer(&[0x55; 10], &mut read)).expect("an echo");
    assert_eq!(read, [0xFF; 9]);
    let batches: Vec<_> = bus
        .into_parts()
        .0
        .log
        .iter()
        .map(|(_, slots)| slots.len())
        .collect();
    assert_eq!(batches, [64, 64, 24]);
}

#[test]
fn a_slot_reads_as_its_first_bit_whenever_the_device_lets_go() {
    for (heard, byte) in [
        (0xFF, 0xFF),
        (0xFE, 0),
        (0xF8, 0),
        (0x80, 0),
        (0x00, 0),
        (0x7F, 0xFF),
    ] {
        let mut bus = Fixed::new(Ok(0xE0), |_| Ok(heard));
        let mut read = [0x5A];
        now(bus.read(&mut read)).expect("an echo");
        assert_eq!(read, [byte], "{heard:02X}");
    }
}

#[test]
fn bytes_are_read_least_significant_bit_first() {
    let mut bits = [1, 0, 0, 1, 1, 0, 1, 0].into_iter();
    let mut bus = Fixed::new(Ok(0xE0), |_| {
        Ok(if bits.next() == Some(1) { 0xFF } else { 0xFC })
    });
    let mut read = [0];
    now(bus.read(&mut read)).expect("an echo");
    assert_eq!(read, [0b0101_1001]);
}

#[test]
fn a_written_slot_that_comes_back_otherwise_is_garbled() {
    for (sent, heard) in [(0x00, 0xFF), (0x00, 0x80), (0xFF, 0xFE), (0xFF, 0x00)] {
        let mut bus = Fixed::new(Ok(0xE0), |slot| Ok(if slot == sent { heard } else { slot }));
        assert_eq!(now(bus.write(&[0x0F])), Err(BusError::Garbled));
    }
}

#[test]
fn a_bus_that_fails_between_slots_is_told_as_at_the_reset() {
    for (error, expected) in [
        (LineError::Silent, BusError::StuckLow),
        (LineError::Framing, BusError::Shorted),
        (LineError::Overrun, BusError::Transport(LineError::Overrun)),
    ] {
        let mut bus = Fixed::new(Ok(0xE0), |_| Err(error));
        assert_eq!(now(bus.read(&mut [0; 9])), Err(expected));
    }
}

#[test]
fn a_bus_that_failed_rests_before_the_next_reset_pulse() {
    const REST_NS: u64 = 2_084_000;
    let waited = |presence, echo: u8| {
        let mut bus = Fixed::new(presence, |sent| Ok(sent & echo));
        let _ = now(bus.reset());
        let _ = now(bus.write(&[0xF0]));
        let _ = now(bus.reset());
        bus.into_parts().1.0
    };
    assert_eq!(waited(Ok(0xE0), 0xFF), 0);
    assert_eq!(waited(Ok(0xE0), 0xFE), REST_NS, "garbled");

    let twice = |presence| {
        let mut bus = Fixed::new(presence, Ok);
        let _ = now(bus.reset());
        let _ = now(bus.reset());
        bus.into_parts().1.0
    };
    assert_eq!(twice(Ok(0xE0)), 0);
    assert_eq!(twice(Ok(0xF0)), 0, "nobody there is no failure");
    assert_eq!(twice(Err(LineError::Silent)), REST_NS);
    assert_eq!(twice(Err(LineError::Framing)), REST_NS);
    assert_eq!(twice(Ok(0x0F)), REST_NS);

    let mut fails = true;
    let mut bus = Fixed::new(Ok(0xE0), |sent| {
        let failed = core::mem::take(&mut fails);
        if failed {
            Err(LineError::Overrun)
        } else {
            Ok(sent)
        }
    });
    let _ = now(bus.reset());
    let _ = now(bus.write(&[0xF0]));
    let _ = now(bus.reset());
    let _ = now(bus.write(&[0xF0]));
    let _ = now(bus.reset());
    assert_eq!(bus.into_parts().1.0, REST_NS, "once, not for ever");
}
