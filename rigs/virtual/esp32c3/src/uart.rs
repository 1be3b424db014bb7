//! UART 0 and 1: FIFOs, baud timing, interrupts, and a line side that works in characters.
//!
//! ESP32-C3 Technical Reference Manual, chapter "UART Controller". A character takes its bits at the configured rate in
//! both directions; the receiver samples what comes at its own rate, so a wrong rate garbles and a long low is a break.
//! Outside, [`Uart::take_sent`] tells each character at the moment it begins, so that whatever hangs on the line (a
//! 1-Wire bus, a console) can answer while it is still being sent, and [`Uart::push_received`] puts characters on the
//! receive line.
//!
//! Not modelled: hardware and software flow control, RS-485, IrDA, autobaud, AT-command detection, wake-up, the idle gap
//! between characters; configuration takes effect at once, not with `REG_UPDATE`.

use std::collections::VecDeque;

use crate::event::ChipEvent;
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;
use crate::time::Ticks;

const FIFO: u32 = 0x00;
const INT_RAW: u32 = 0x04;
const INT_ST: u32 = 0x08;
const INT_ENA: u32 = 0x0C;
const INT_CLR: u32 = 0x10;
const CLKDIV: u32 = 0x14;
const STATUS: u32 = 0x1C;
const CONF0: u32 = 0x20;
const CONF1: u32 = 0x24;
const TXBRK_CONF: u32 = 0x44;
const MEM_CONF: u32 = 0x60;
const FSM_STATUS: u32 = 0x6C;
const CLK_CONF: u32 = 0x78;
const ID: u32 = 0x80;

const INT_RXFIFO_FULL: u32 = 1 << 0;
const INT_TXFIFO_EMPTY: u32 = 1 << 1;
const INT_PARITY_ERR: u32 = 1 << 2;
const INT_FRM_ERR: u32 = 1 << 3;
const INT_RXFIFO_OVF: u32 = 1 << 4;
const INT_BRK_DET: u32 = 1 << 7;
const INT_RXFIFO_TOUT: u32 = 1 << 8;
const INT_TX_BRK_DONE: u32 = 1 << 12;
const INT_TX_DONE: u32 = 1 << 14;
const INT_ALL: u32 = 0x000F_FFFF;

const CONF0_PARITY_ODD: u32 = 1 << 0;
const CONF0_PARITY_EN: u32 = 1 << 1;
const CONF0_TXD_BRK: u32 = 1 << 8;
const CONF0_LOOPBACK: u32 = 1 << 14;
const CONF0_RXFIFO_RST: u32 = 1 << 17;
const CONF0_TXFIFO_RST: u32 = 1 << 18;
const CONF1_RX_TOUT_EN: u32 = 1 << 21;
const ID_REG_UPDATE: u32 = 1 << 31;
/// Lines at rest: TXD, RTS and DTR high; RXD and CTS high.
const STATUS_IDLE: u32 = 0xE000_C000;

const FIFO_BYTES: usize = 128;
/// Interrupt source of UART 0; UART 1 is the next.
const FIRST_SOURCE: u32 = 21;
/// Characters kept for whoever listens on the line.
const SENT_MAX: usize = 4096;
/// Console output is told in pieces of at most this many bytes.
const CONSOLE_BYTES: usize = 256;

/// A character on the transmit line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When its start bit begins.
    pub start: Ticks,
    /// When its last stop bit is over.
    pub end: Ticks,
    /// Sixteenths of a tick a bit lasts.
    pub bit_sixteenths: u64,
    /// What it is.
    pub symbol: Symbol,
}

/// What a character says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// Data bits, from the lowest.
    Byte(u8),
    /// The line low for all the time.
    Break,
}

/// A character on the receive line.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    start: Ticks,
    end: Ticks,
    bit_sixteenths: u64,
    byte: u8,
}

/// One UART.
pub(crate) struct Uart {
    index: u32,
    registers: Registers,
    int_raw: u32,
    int_ena: u32,
    tx: VecDeque<u8>,
    rx: VecDeque<u8>,
    sending: Option<Sent>,
    /// In order of their end.
    incoming: VecDeque<Incoming>,
    /// When the receive timeout fires.
    timeout: Option<Ticks>,
    /// Somebody listens on the line.
    attached: bool,
    sent: VecDeque<Sent>,
    /// Console bytes not told yet, and when the first was complete.
    console: Option<(Ticks, Vec<u8>)>,
}

impl Uart {
    /// UART 0 or 1. The first is the console: what it sends is told as events.
    pub(crate) fn new(index: u32) -> Uart {
        Uart {
            index,
            registers: Registers::new(
                if index == 0 { "uart0" } else { "uart1" },
                0x1000,
                &[0x014..0x07C, 0x07C..0x084],
                &[
                    (CLKDIV, 0x2B6),
                    (0x018, 0x08),
                    (CONF0, 0x1000_001C),
                    (CONF1, 0xC060),
                    (0x028, 0x0FFF),
                    (0x02C, 0x0FFF),
                    (0x038, 0xF0),
                    (0x03C, 0x26E0),
                    (0x040, 0x2200),
                    (TXBRK_CONF, 0x0A),
                    (0x048, 0x0004_0100),
                    (0x050, 0x0901),
                    (0x054, 0x0901),
                    (0x058, 0x0B),
                    (0x05C, 0x032B),
                    (MEM_CONF, 0x000A_0012),
                    (0x068, 0x0008_0100),
                    (0x070, 0x0FFF),
                    (0x074, 0x0FFF),
                    (CLK_CONF, 0x0370_1000),
                    (0x07C, 0x0200_8270),
                    (ID, 0x4000_0500),
                ],
            ),
            // Nothing is in the transmit FIFO.
            int_raw: INT_TXFIFO_EMPTY,
            int_ena: 0,
            tx: VecDeque::new(),
            rx: VecDeque::new(),
            sending: None,
            incoming: VecDeque::new(),
            timeout: None,
            attached: false,
            sent: VecDeque::new(),
            console: None,
        }
    }

    /// From now on [`Uart::take_sent`] tells what goes out.
    pub(crate) fn attach(&mut self) {
        self.attached = true;
    }

    /// The oldest character not taken yet; told when it begins.
    pub(crate) fn take_sent(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// A character of eight data bits and one stop bit begins on the receive line at `start`, each bit lasting
    /// `bit_sixteenths` of 1/16 tick.
    pub(crate) fn push_received(&mut self, start: Ticks, byte: u8, bit_sixteenths: u64) {
        // The receiver is done in the middle of what it takes for the stop bit.
        let own = self.bit_sixteenths();
        let samples = 1 + self.data_bits() + u64::from(self.parity_enabled());
        let end = start + Ticks((samples * 2 + 1) * own / 32);
        let at = self
            .incoming
            .iter()
            .rposition(|earlier| earlier.end <= end)
            .map_or(0, |before| before + 1);
        self.incoming.insert(
            at,
            Incoming {
                start,
                end,
                bit_sixteenths,
                byte,
            },
        );
    }

    /// Duration of a bit in 1/16 tick, as configured.
    pub(crate) fn bit_sixteenths(&self) -> u64 {
        let clock = self.registers.get(CLK_CONF);
        // Ticks of the source clock, as a fraction: XTAL 40 MHz, RC_FAST 17.5 MHz, APB 80 MHz.
        let (ticks, of) = match clock >> 20 & 3 {
            3 => (12, 1),
            2 => (192, 7),
            _ => (6, 1),
        };
        let whole = u64::from(clock >> 12 & 0xFF) + 1;
        let (numerator, denominator) = (u64::from(clock & 0x3F), u64::from(clock >> 6 & 0x3F));
        let (scale, part) = if denominator == 0 {
            (1, 0)
        } else {
            (denominator, numerator)
        };
        let divider = self.registers.get(CLKDIV);
        let sixteenths = u64::from(divider & 0xFFF) * 16 + u64::from(divider >> 20 & 0xF);
        (ticks * (whole * scale + part) * sixteenths / (of * scale)).max(1)
    }

    fn data_bits(&self) -> u64 {
        u64::from(self.registers.get(CONF0) >> 2 & 3) + 5
    }

    fn parity_enabled(&self) -> bool {
        self.registers.get(CONF0) & CONF0_PARITY_EN != 0
    }

    /// Bits of a whole character, in halves of a bit.
    fn character_half_bits(&self) -> u64 {
        let stop = match self.registers.get(CONF0) >> 4 & 3 {
            2 => 3,
            3 => 4,
            _ => 2,
        };
        2 * (1 + self.data_bits() + u64::from(self.parity_enabled())) + stop
    }

    fn rx_full_threshold(&self) -> usize {
        (self.registers.get(CONF1) & 0x1FF) as usize
    }

    fn tx_empty_threshold(&self) -> usize {
        (self.registers.get(CONF1) >> 9 & 0x1FF) as usize
    }

    /// Raises the two conditions of the FIFOs' fill. Like all the others they stay raised until they are cleared, and
    /// as long as the fill is so, clearing does not help: software drains or fills first.
    fn raise_by_fill(&mut self) {
        if self.rx.len() >= self.rx_full_threshold().max(1) {
            self.int_raw |= INT_RXFIFO_FULL;
        }
        if self.tx.len() < self.tx_empty_threshold() {
            self.int_raw |= INT_TXFIFO_EMPTY;
        }
    }

    /// Begins the next character, if there is one.
    fn start_sending(&mut self, now: Ticks) {
        if self.sending.is_some() {
            return;
        }
        let bit_sixteenths = self.bit_sixteenths();
        let (symbol, half_bits) = if let Some(byte) = self.tx.pop_front() {
            (Symbol::Byte(byte), self.character_half_bits())
        } else if self.registers.get(CONF0) & CONF0_TXD_BRK != 0 {
            let bits = u64::from(self.registers.get(TXBRK_CONF) & 0xFF);
            (Symbol::Break, 2 * bits.max(1))
        } else {
            return;
        };
        let sent = Sent {
            start: now,
            end: now + Ticks((half_bits * bit_sixteenths).div_ceil(32)),
            bit_sixteenths,
            symbol,
        };
        self.sending = Some(sent);
        if self.attached {
            if self.sent.len() >= SENT_MAX {
                self.sent.pop_front();
            }
            self.sent.push_back(sent);
        }
        if self.registers.get(CONF0) & CONF0_LOOPBACK != 0
            && let Symbol::Byte(byte) = symbol
        {
            self.push_received(now, byte, bit_sixteenths);
        }
    }

    /// The character on the line is over.
    fn finish_sending(&mut self, context: &mut Context<'_>) {
        let Some(sent) = self.sending.take() else {
            return;
        };
        match sent.symbol {
            Symbol::Byte(byte) => self.print(byte, sent.end, context),
            Symbol::Break => {
                let conf0 = self.registers.get(CONF0);
                self.registers.set(CONF0, conf0 & !CONF0_TXD_BRK);
                self.int_raw |= INT_TX_BRK_DONE;
            }
        }
        self.start_sending(sent.end);
        if self.sending.is_none() {
            self.int_raw |= INT_TX_DONE;
            self.flush_console(context);
        }
    }

    fn print(&mut self, byte: u8, at: Ticks, context: &mut Context<'_>) {
        if self.index != 0 {
            return;
        }
        let (_, bytes) = self.console.get_or_insert_with(|| (at, Vec::new()));
        bytes.push(byte);
        if byte == b'\n' || bytes.len() >= CONSOLE_BYTES {
            self.flush_console(context);
        }
    }

    fn flush_console(&mut self, context: &mut Context<'_>) {
        if let Some((at, bytes)) = self.console.take() {
            context.requests.events.push(ChipEvent::Console {
                at,
                port: "uart0",
                bytes,
            });
        }
    }

    /// Samples a character at the receiver's own rate.
    fn finish_receiving(&mut self, incoming: Incoming) {
        let own = self.bit_sixteenths();
        let data_bits = self.data_bits();
        let parity = u64::from(self.parity_enabled());
        // Level of the line in the middle of the receiver's bit `n`.
        let level = |n: u64| {
            let bit = (2 * n + 1) * own / 2 / incoming.bit_sixteenths.max(1);
            match bit {
                0 => 0,
                1..=8 => u32::from(incoming.byte >> (bit - 1) & 1),
                _ => 1,
            }
        };
        if level(0) == 1 {
            // Too short for a start bit: noise.
            return;
        }
        let value = (0..data_bits).fold(0_u32, |value, n| value | level(1 + n) << n);
        let stop = level(1 + data_bits + parity);
        if parity == 1 {
            let odd = self.registers.get(CONF0) & CONF0_PARITY_ODD;
            if (value.count_ones() + level(1 + data_bits)) & 1 != odd {
                self.int_raw |= INT_PARITY_ERR;
            }
        }
        if stop == 0 {
            self.int_raw |= INT_FRM_ERR;
            if value == 0 {
                self.int_raw |= INT_BRK_DET;
            }
        }
        if self.rx.len() >= FIFO_BYTES {
            self.int_raw |= INT_RXFIFO_OVF;
        } else {
            self.rx.push_back(value as u8);
        }
        self.timeout = (self.registers.get(CONF1) & CONF1_RX_TOUT_EN != 0).then(|| {
            let bits = u64::from(self.registers.get(MEM_CONF) >> 16 & 0x3FF).max(1);
            incoming.end + Ticks(bits * own / 16)
        });
    }
}

impl Peripheral for Uart {
    fn name(&self) -> &'static str {
        if self.index == 0 { "uart0" } else { "uart1" }
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        match offset {
            FIFO => {
                let byte = self.rx.pop_front().unwrap_or(0);
                if self.rx.is_empty() {
                    self.timeout = None;
                }
                u32::from(byte)
            }
            INT_RAW => self.int_raw,
            INT_ST => self.int_raw & self.int_ena,
            INT_ENA => self.int_ena,
            INT_CLR => 0,
            STATUS => STATUS_IDLE | (self.tx.len() as u32) << 16 | self.rx.len() as u32,
            FSM_STATUS => {
                let receiving = self
                    .incoming
                    .front()
                    .is_some_and(|first| first.start <= context.now);
                u32::from(self.sending.is_some()) << 4 | u32::from(receiving)
            }
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        match offset {
            FIFO => {
                if self.tx.len() < FIFO_BYTES {
                    self.tx.push_back(value as u8);
                }
                self.start_sending(context.now);
            }
            INT_RAW | INT_ST | STATUS | FSM_STATUS => {}
            INT_ENA => self.int_ena = value & INT_ALL,
            INT_CLR => self.int_raw &= !value,
            CONF0 => {
                self.registers.write(CONF0, value, context);
                if value & CONF0_RXFIFO_RST != 0 {
                    self.rx.clear();
                    self.timeout = None;
                }
                if value & CONF0_TXFIFO_RST != 0 {
                    self.tx.clear();
                }
                self.start_sending(context.now);
            }
            ID => self.registers.write(ID, value & !ID_REG_UPDATE, context),
            _ => self.registers.write(offset, value, context),
        }
        self.raise_by_fill();
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        while self
            .sending
            .is_some_and(|sending| sending.end <= context.now)
        {
            self.finish_sending(context);
        }
        while let Some(incoming) = self.incoming.front().copied()
            && incoming.end <= context.now
        {
            self.incoming.pop_front();
            self.finish_receiving(incoming);
        }
        if self.timeout.is_some_and(|at| at <= context.now) {
            self.timeout = None;
            self.int_raw |= INT_RXFIFO_TOUT;
        }
        self.raise_by_fill();
    }

    fn next_event(&self) -> Option<Ticks> {
        let sending = self.sending.map(|sending| sending.end);
        let incoming = self.incoming.front().map(|incoming| incoming.end);
        [sending, incoming, self.timeout]
            .into_iter()
            .flatten()
            .min()
    }

    fn interrupts(&self) -> u64 {
        u64::from(self.int_raw & self.int_ena != 0) << (FIRST_SOURCE + self.index)
    }

    fn reset(&mut self, kind: ResetKind) {
        self.registers.reset(kind);
        if kind >= ResetKind::Core {
            *self = Uart {
                attached: self.attached,
                sent: std::mem::take(&mut self.sent),
                ..Uart::new(self.index)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    /// 115,200 baud from the crystal: 40 MHz / 347 + 4/16.
    fn bench(index: u32) -> Bench<Uart> {
        let mut bench = Bench::new(Uart::new(index));
        bench.write(CLK_CONF, 0x0370_0000);
        bench.write(CLKDIV, 4 << 20 | 347);
        bench.peripheral.attach();
        bench
    }

    const BIT: u64 = 12 * (347 * 16 + 4);

    #[test]
    fn a_character_takes_its_bits() {
        let mut bench = bench(1);
        bench.write(FIFO, 0x55);
        let sent = bench.peripheral.take_sent().unwrap();
        assert_eq!((sent.start, sent.symbol), (Ticks(0), Symbol::Byte(0x55)));
        assert_eq!(sent.bit_sixteenths, BIT);
        // Ten bits at 115,200 baud: 86.8 µs.
        assert_eq!(sent.end.as_nanos() / 100, 868);
        assert_eq!(bench.read(FSM_STATUS), 0x10);
        assert_eq!(bench.read(INT_RAW) & INT_TX_DONE, 0);
        bench.run_until(sent.end);
        assert_eq!(bench.read(FSM_STATUS), 0);
        assert_eq!(bench.read(INT_RAW) & INT_TX_DONE, INT_TX_DONE);
    }

    #[test]
    fn frame_formats() {
        let check = |conf0: u32, half_bits: u64| {
            let mut bench = bench(1);
            bench.write(CONF0, conf0);
            bench.write(FIFO, 0);
            let sent = bench.peripheral.take_sent().unwrap();
            assert_eq!(sent.end.0, (half_bits * BIT).div_ceil(32), "{conf0:#x}");
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
        bench.write(INT_ENA, INT_TXFIFO_EMPTY);
        while bench.peripheral.interrupts() == 0 {
            let next = bench.peripheral.next_event().unwrap();
            bench.run_until(next);
        }
        assert_eq!(bench.read(STATUS) >> 16 & 0x3FF, 95);
        assert_eq!(bench.peripheral.interrupts(), 1 << 22);
        bench.write(CONF0, 0x1000_001C | CONF0_TXFIFO_RST);
        assert_eq!(bench.read(STATUS) >> 16 & 0x3FF, 0);
    }

    #[test]
    fn receive_threshold_overflow_and_timeout() {
        let mut bench = bench(0);
        bench.write(CONF1, 3 | CONF1_RX_TOUT_EN);
        bench.write(MEM_CONF, 20 << 16);
        bench.write(INT_CLR, INT_TXFIFO_EMPTY);
        let character = 10 * BIT / 16;
        for n in 0..2 {
            bench
                .peripheral
                .push_received(Ticks(n * character), b'a' + n as u8, BIT);
        }
        bench.run_until(Ticks(2 * character));
        assert_eq!(bench.read(INT_RAW), 0);
        bench.run_until(Ticks(4 * character));
        assert_eq!(bench.read(INT_RAW), INT_RXFIFO_TOUT);
        bench.write(INT_CLR, INT_RXFIFO_TOUT);
        bench.peripheral.push_received(bench.now, b'c', BIT);
        bench.run(Ticks(character));
        assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL);
        assert_eq!(bench.read(STATUS) & 0x3FF, 3);
        bench.write(INT_CLR, INT_RXFIFO_FULL);
        assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL, "it is still full");
        let bytes: Vec<u32> = (0..4).map(|_| bench.read(FIFO)).collect();
        assert_eq!(bytes, [0x61, 0x62, 0x63, 0]);
        assert_eq!(bench.read(INT_RAW), INT_RXFIFO_FULL, "until it is cleared");
        bench.write(INT_CLR, INT_RXFIFO_FULL);
        assert_eq!(bench.read(INT_RAW), 0);
        for n in 0..129 {
            let start = bench.now + Ticks(n * character);
            bench.peripheral.push_received(start, 0, BIT);
        }
        bench.run(Ticks(131 * character));
        assert_ne!(bench.read(INT_RAW) & INT_RXFIFO_OVF, 0);
        assert_eq!(bench.read(STATUS) & 0x3FF, 128);
    }

    #[test]
    fn receiver_samples_at_its_own_rate() {
        let check = |byte: u8, bit: u64, value: u32, errors: u32| {
            let mut bench = bench(1);
            bench.peripheral.push_received(Ticks(0), byte, bit);
            bench.run(Ticks::from_millis(10));
            let raw = bench.read(INT_RAW) & (INT_FRM_ERR | INT_BRK_DET);
            assert_eq!((bench.read(FIFO), raw), (value, errors), "{byte:#x} {bit}");
        };
        check(0xA5, BIT, 0xA5, 0);
        check(0xA5, BIT * 101 / 100, 0xA5, 0);
        // Twelve times slower: the start bit alone is a break.
        check(0xFF, BIT * 12, 0, INT_FRM_ERR | INT_BRK_DET);
        // Twice slower: every bit twice.
        check(0b0000_0101, BIT * 2, 0b0110_0110, INT_FRM_ERR);
        // Far too fast: no start bit is seen.
        check(0xFF, BIT / 12, 0, 0);
    }

    #[test]
    fn loopback_and_break() {
        let mut bench = bench(1);
        bench.write(CONF0, 0x1000_001C | CONF0_LOOPBACK);
        bench.write(FIFO, 0x42);
        bench.run(Ticks::from_millis(1));
        assert_eq!(bench.read(FIFO), 0x42);
        bench.peripheral.take_sent();
        bench.write(CONF0, 0x1000_001C | CONF0_TXD_BRK);
        let sent = bench.peripheral.take_sent().unwrap();
        assert_eq!(sent.symbol, Symbol::Break);
        assert_eq!((sent.end.0 - sent.start.0) * 16 / BIT, 10);
        bench.run(Ticks::from_millis(1));
        assert_eq!(bench.read(INT_RAW) & INT_TX_BRK_DONE, INT_TX_BRK_DONE);
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
}
