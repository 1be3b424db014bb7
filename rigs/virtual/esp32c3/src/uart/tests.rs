//! A UART through its registers, with a wire on its lines.

use super::*;
use crate::testing::Bench;
use crate::wires::{Ear, Low, Pad, Source, Wire};

/// 115,200 baud from the crystal: 40 MHz / 347 + 4/16.
const BIT: u64 = 12 * (347 * 16 + 4);
const CHARACTER: u64 = 10 * BIT / 16;
const PIN: u8 = 10;

/// A UART whose lines are both on one pin, open drain with a pull-up.
fn bench(index: u32) -> Bench<Uart> {
    let mut bench = Bench::new(Uart::new(index));
    bench.write(CLK_CONF, 0x0370_0000);
    bench.write(CLKDIV, 4 << 20 | 347);
    let uart = index as usize;
    let ear = Ear::Pin {
        pin: PIN,
        inverted: false,
    };
    bench.wires.listen(Ticks(0), uart, ear);
    let pad = Pad {
        source: Source::Uart(uart),
        inverted: false,
        enabled: true,
        open_drain: true,
        pull_up: true,
        outside: None,
    };
    bench.wires.set_pad(Ticks(0), PIN, pad);
    bench
}

/// Holds the wire low at times of its own.
struct Pulls {
    lows: VecDeque<Low>,
    heard: Vec<Low>,
}

impl Wire for Pulls {
    fn pulse(&mut self, pulse: Low, lows: &mut Vec<Low>) {
        self.heard.push(pulse);
        self.settle(pulse.from, lows);
        lows.push(pulse);
    }

    fn settle(&mut self, until: Ticks, lows: &mut Vec<Low>) {
        lows.extend(std::iter::from_fn(|| {
            self.lows.pop_front_if(|low| low.from < until)
        }));
    }

    fn next_fall(&self) -> Option<Ticks> {
        self.lows.front().map(|low| Ticks(low.from.0 + 1))
    }

    fn is_grounded(&self) -> bool {
        false
    }
}

/// A character on the wire that somebody else sends from `start` on, each bit lasting `bit` sixteenths of a tick.
fn say(bench: &mut Bench<Uart>, start: Ticks, bytes: &[u8], bit: u64) {
    let mut lows = VecDeque::new();
    for (n, byte) in bytes.iter().enumerate() {
        let at = |bits: u64| start + Ticks((bits + 10 * n as u64) * bit / 16);
        let mut low = Some(0);
        for bit in 1..10 {
            let level = bit == 9 || byte >> (bit - 1) & 1 == 1;
            match (low, level) {
                (Some(from), true) => {
                    lows.push_back(Low {
                        from: at(from),
                        to: at(bit),
                    });
                    low = None;
                }
                (None, false) => low = Some(bit),
                _ => {}
            }
        }
    }
    let heard = Vec::new();
    let wire = Box::new(Pulls { lows, heard });
    bench.wires.attach(bench.now, PIN, true, wire);
    // The UART learns of it at its next look.
    bench.read(STATUS);
}

fn raised(bench: &mut Bench<Uart>, interrupts: u32) -> u32 {
    bench.read(INT_RAW) & interrupts
}

#[test]
fn a_character_takes_its_bits_and_is_heard_in_its_stop_bit() {
    let mut bench = bench(1);
    bench.write(FIFO, 0x55);
    assert_eq!(bench.read(FSM_STATUS), 0x11);
    // Nine and a half bits at 115,200 baud: 82.5 µs.
    let heard = Ticks(CHARACTER * 19 / 20);
    bench.now = Ticks(heard.0 - 1);
    assert_eq!(bench.read(STATUS) & 0x3FF, 0);
    bench.now = Ticks(heard.0 + 1);
    assert_eq!(bench.read(STATUS) & 0x3FF, 1);
    assert_eq!(raised(&mut bench, INT_TX_DONE), 0);
    bench.now = Ticks(CHARACTER + 1);
    assert_eq!(bench.read(FSM_STATUS), 0);
    assert_eq!(raised(&mut bench, INT_TX_DONE), INT_TX_DONE);
    assert_eq!(bench.read(FIFO), 0x55);
    assert_eq!(bench.now.as_nanos() / 100, 868);
}

#[test]
fn the_lines_show_in_the_status() {
    let mut bench = bench(1);
    let lines = STATUS_TXD | STATUS_RXD;
    assert_eq!(bench.read(STATUS), STATUS_IDLE | lines);
    bench.write(FIFO, 0xFE);
    assert_eq!(bench.read(STATUS) & lines, 0);
    bench.now = Ticks(CHARACTER / 4);
    assert_eq!(bench.read(STATUS) & lines, lines);
}

#[test]
fn frame_formats() {
    let check = |conf0: u32, half_bits: u64| {
        let mut bench = bench(1);
        bench.write(CONF0, conf0);
        bench.write(INT_ENA, INT_TX_DONE);
        bench.write(FIFO, 0);
        let end = bench.peripheral.next_event().expect("its end");
        assert_eq!(end.0, (half_bits * BIT).div_ceil(32), "{conf0:#x}");
        bench.run(Ticks::from_millis(1));
        assert_eq!(
            (
                bench.read(FIFO),
                raised(&mut bench, INT_FRM_ERR | INT_PARITY_ERR)
            ),
            (0, 0)
        );
    };
    check(3 << 2 | 1 << 4, 20);
    check(3 << 2 | 3 << 4, 22);
    check(2 << 2 | 2 << 4, 19);
    check(3 << 2 | 1 << 4 | CONF0_PARITY_EN, 22);
}

#[test]
fn baud_from_each_source_with_its_fractions() {
    let check = |clock: u32, divider: u32, expected: u64| {
        let mut bench = bench(1);
        bench.write(CLK_CONF, clock);
        bench.write(CLKDIV, divider);
        assert_eq!(bench.peripheral.bit_sixteenths(), expected);
    };
    check(1 << 20, 694, 6 * 694 * 16);
    check(3 << 20 | 1 << 12, 100, 12 * 2 * 1600);
    check(2 << 20, 7, 192 * 16);
    // Divider 1 + 1/2.
    check(3 << 20 | 2 << 6 | 1, 8 << 20 | 10, 12 * 3 * 168 / 2);
}

#[test]
fn the_rate_may_change_between_characters() {
    let mut bench = bench(1);
    bench.write(FIFO, 0xF0);
    bench.run(Ticks(CHARACTER));
    // 9,600 baud from the 80 MHz clock.
    bench.write(CLK_CONF, 0x0350_2000);
    bench.write(CLKDIV, 5 << 20 | 2777);
    bench.write(FIFO, 0xF0);
    bench.run(Ticks::from_micros(985));
    assert_eq!(bench.read(STATUS) & 0x3FF, 1);
    bench.run(Ticks::from_micros(10));
    assert_eq!(bench.read(STATUS) & 0x3FF, 2);
    assert_eq!((bench.read(FIFO), bench.read(FIFO)), (0xF0, 0xF0));
    assert_eq!(raised(&mut bench, INT_FRM_ERR | INT_GLITCH_DET), 0);
}

#[test]
fn fifo_holds_128_bytes_and_tells_its_fill() {
    let mut bench = bench(1);
    bench.write(CONF1, 96 << 9);
    assert_eq!(bench.read(INT_RAW), INT_TXFIFO_EMPTY);
    (0..140).for_each(|n| bench.write(FIFO, n));
    // One is on the line.
    assert_eq!(bench.read(STATUS) >> 16 & 0x3FF, 128);
    assert_eq!(bench.read(INT_RAW), INT_TXFIFO_EMPTY, "until it is cleared");
    bench.write(INT_CLR, INT_TXFIFO_EMPTY);
    assert_eq!(bench.read(INT_RAW), 0);
    assert_eq!(bench.peripheral.next_event(), None, "nobody waits");
    bench.write(INT_ENA, INT_TXFIFO_EMPTY);
    let next = bench.peripheral.next_event().expect("the threshold");
    bench.run_until(Ticks(next.0 - 1));
    assert_eq!(bench.peripheral.interrupts(), 0);
    bench.run_until(next);
    assert_eq!(bench.peripheral.interrupts(), 1 << 22);
    assert_eq!(bench.read(STATUS) >> 16 & 0x3FF, 95);
    bench.write(CONF0, 0x1000_001C | CONF0_TXFIFO_RST);
    assert_eq!(bench.read(STATUS) >> 16 & 0x3FF, 0);
}

#[test]
fn receive_threshold_overflow_and_timeout() {
    let mut bench = bench(0);
    bench.write(CONF1, 3 | CONF1_RX_TOUT_EN);
    bench.write(MEM_CONF, 20 << 16);
    bench.write(INT_CLR, INT_TXFIFO_EMPTY);
    bench.write(INT_ENA, INT_RX);
    say(&mut bench, Ticks(0), b"ab", BIT);
    bench.run_until(Ticks(2 * CHARACTER));
    assert_eq!(bench.read(INT_RAW), 0);
    bench.run_until(Ticks(4 * CHARACTER));
    assert_eq!(bench.read(INT_RAW), INT_RXFIFO_TOUT);
    bench.write(INT_CLR, INT_RXFIFO_TOUT);
    let now = bench.now;
    say(&mut bench, now, b"c", BIT);
    bench.run(Ticks(CHARACTER));
    assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL);
    assert_eq!(bench.read(STATUS) & 0x3FF, 3);
    bench.write(INT_CLR, INT_RXFIFO_FULL);
    assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL, "it is still full");
    let bytes: Vec<u32> = (0..4).map(|_| bench.read(FIFO)).collect();
    assert_eq!(bytes, [0x61, 0x62, 0x63, 0]);
    assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL, "until it is cleared");
    bench.write(INT_CLR, INT_RXFIFO_FULL);
    assert_eq!(bench.read(INT_RAW), 0);
    let now = bench.now;
    say(&mut bench, now, &[0; 129], BIT);
    bench.run(Ticks(131 * CHARACTER));
    assert_eq!(raised(&mut bench, INT_RXFIFO_OVF), INT_RXFIFO_OVF);
    assert_eq!(bench.read(STATUS) & 0x3FF, 128);
}

#[test]
fn the_wire_is_heard_though_nobody_sends() {
    let mut bench = bench(1);
    bench.write(CONF1, 1);
    bench.write(INT_ENA, INT_RXFIFO_FULL);
    say(&mut bench, Ticks::from_micros(50), b"x", BIT);
    let complete = Ticks::from_micros(50).0 + CHARACTER * 19 / 20;
    bench.run_until(Ticks(complete - 1));
    assert_eq!(bench.peripheral.interrupts(), 0);
    bench.run_until(Ticks(complete + 1));
    assert_eq!(bench.peripheral.interrupts(), 1 << 22);
}

#[test]
fn errors_are_raised_and_their_bytes_kept_or_not() {
    let check = |conf0: u32, bit: u64, errors: u32, kept: u32| {
        let mut bench = bench(1);
        bench.write(CONF0, 0x1000_001C | conf0);
        say(&mut bench, Ticks(0), &[0xFF], bit);
        bench.run(Ticks::from_millis(10));
        let all = INT_FRM_ERR | INT_BRK_DET | INT_GLITCH_DET | INT_PARITY_ERR;
        assert_eq!(raised(&mut bench, all), errors, "{conf0:#x} {bit}");
        assert_eq!(bench.read(STATUS) & 0x3FF, kept, "{conf0:#x} {bit}");
    };
    check(0, BIT, 0, 1);
    check(0, 12 * BIT, INT_FRM_ERR | INT_BRK_DET, 1);
    check(CONF0_ERR_WR_MASK, 12 * BIT, INT_FRM_ERR | INT_BRK_DET, 0);
    check(0, BIT / 12, INT_GLITCH_DET, 0);
    // Eight ones and a one instead of the even parity bit.
    check(CONF0_PARITY_EN, BIT, INT_PARITY_ERR, 1);
    check(CONF0_PARITY_EN | CONF0_ERR_WR_MASK, BIT, INT_PARITY_ERR, 0);
}

#[test]
fn an_inverted_line_is_a_break_as_drivers_make_it() {
    let mut bench = bench(1);
    bench.write(CONF0, 0x1000_001C | CONF0_TXD_INV);
    assert_eq!(bench.read(STATUS) & (STATUS_TXD | STATUS_RXD), 0);
    bench.run(Ticks(2 * CHARACTER));
    bench.write(CONF0, 0x1000_001C);
    bench.run(Ticks(CHARACTER));
    let errors = INT_FRM_ERR | INT_BRK_DET;
    assert_eq!(raised(&mut bench, errors), errors);
    bench.read(FIFO);
    // Both inverted: heard as sent.
    bench.write(INT_CLR, INT_ALL);
    bench.write(CONF0, 0x1000_001C | CONF0_TXD_INV | CONF0_RXD_INV);
    bench.write(FIFO, 0x42);
    bench.run(Ticks(CHARACTER));
    assert_eq!((bench.read(FIFO), raised(&mut bench, errors)), (0x42, 0));
}

#[test]
fn loopback_and_break() {
    let mut bench = bench(1);
    bench.wires.listen(Ticks(0), 1, Ear::Level(false));
    bench.write(CONF0, 0x1000_001C | CONF0_LOOPBACK);
    bench.write(FIFO, 0x42);
    bench.run(Ticks::from_millis(1));
    assert_eq!(bench.read(FIFO), 0x42);
    bench.write(TXBRK_CONF, 30);
    bench.write(INT_ENA, INT_TX_BRK_DONE);
    bench.write(CONF0, 0x1000_001C | CONF0_LOOPBACK | CONF0_TXD_BRK);
    let end = bench.peripheral.next_event().expect("its end");
    assert_eq!((end - bench.now).0, (30 * BIT).div_ceil(16));
    bench.run_until(end);
    let expected = INT_TX_BRK_DONE | INT_BRK_DET;
    assert_eq!(raised(&mut bench, expected), expected);
    assert_eq!(bench.read(CONF0) & CONF0_TXD_BRK, 0);
}

#[test]
fn uart0_is_the_console() {
    let mut bench = bench(0);
    for byte in *b"boot\nok" {
        bench.write(FIFO, u32::from(byte));
    }
    bench.run(Ticks::from_millis(1));
    let told: Vec<(u64, Vec<u8>)> = std::mem::take(&mut bench.requests.events)
        .into_iter()
        .map(|event| match event {
            ChipEvent::Console { at, bytes, .. } => (at.as_micros(), bytes),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(86, b"boot\n".to_vec()), (520, b"ok".to_vec())]);
}

#[test]
fn update_bit_clears_itself_and_reset_restores() {
    let mut bench = bench(1);
    bench.write(ID, ID_REG_UPDATE | 0x500);
    assert_eq!(bench.read(ID), 0x500);
    bench.write(FIFO, 1);
    bench.peripheral.reset(ResetKind::Cpu);
    assert_eq!(bench.read(CLKDIV), 4 << 20 | 347);
    bench.peripheral.reset(ResetKind::Core);
    assert_eq!(bench.read(CLKDIV), 0x2B6);
    assert_eq!(bench.peripheral.next_event(), None);
}

#[test]
fn the_wire_is_told_what_is_sent() {
    let mut bench = bench(1);
    say(&mut bench, Ticks(0), &[], BIT);
    bench.write(FIFO, 0b0101_1111);
    bench.run(Ticks(CHARACTER));
    bench.read(STATUS);
    let wire: &mut dyn std::any::Any = bench.wires.wire(bench.now, PIN).expect("a wire");
    let pulls: &mut Pulls = wire.downcast_mut().expect("that wire");
    let bits: Vec<(u64, u64)> = pulls
        .heard
        .iter()
        .map(|low| (low.from.0 * 16 / BIT, low.to.0 * 16 / BIT))
        .collect();
    assert_eq!(bits, [(0, 1), (6, 7), (8, 9)]);
}
