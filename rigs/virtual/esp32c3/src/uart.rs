//! UART 0 and 1: FIFOs, baud timing, interrupts, and a line side that works in edges.
//!
//! ESP32-C3 Technical Reference Manual, chapter "UART Controller". The transmitter puts the levels of each bit on its
//! line at the configured rate, the receiver samples what its line is at the same rate; where both go, and what hangs
//! there, is known to `wires`. So whatever hangs on a pin (a 1-Wire bus) answers while a character is being sent, and a
//! wrong rate or a line held low looks as it does on the bench.
//!
//! Time costs nothing while nothing can come of it: edges, characters and FIFO fills are worked out when a register is
//! touched, or when one of them may raise an interrupt that is enabled; that is once a character at most.
//!
//! Not modelled: hardware and software flow control, RS-485, IrDA, autobaud, AT-command detection, wake-up, the glitch
//! filter, the idle gap between characters; configuration takes effect at once, not with `REG_UPDATE`, for
//! the transmitter with its next character; a character on its way is sent to its end whatever becomes of the FIFO.

use std::collections::VecDeque;

use crate::event::ChipEvent;
use crate::peripheral::{Context, Peripheral, ResetKind};
use crate::registers::Registers;
use crate::time::Ticks;
use crate::wires::Edge;

mod receiver;
mod transmitter;

use receiver::{Heard, Receiver};
use transmitter::{Format, Parity, Sending, Symbol};

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
const INT_GLITCH_DET: u32 = 1 << 11;
const INT_TX_BRK_DONE: u32 = 1 << 12;
const INT_TX_DONE: u32 = 1 << 14;
const INT_ALL: u32 = 0x000F_FFFF;
/// Raised by what the receiver hears.
const INT_RX: u32 = INT_RXFIFO_FULL
    | INT_PARITY_ERR
    | INT_FRM_ERR
    | INT_RXFIFO_OVF
    | INT_BRK_DET
    | INT_RXFIFO_TOUT
    | INT_GLITCH_DET;

const CONF0_PARITY_ODD: u32 = 1 << 0;
const CONF0_PARITY_EN: u32 = 1 << 1;
const CONF0_TXD_BRK: u32 = 1 << 8;
const CONF0_LOOPBACK: u32 = 1 << 14;
const CONF0_RXFIFO_RST: u32 = 1 << 17;
const CONF0_TXFIFO_RST: u32 = 1 << 18;
const CONF0_RXD_INV: u32 = 1 << 19;
const CONF0_TXD_INV: u32 = 1 << 22;
const CONF0_ERR_WR_MASK: u32 = 1 << 26;
const CONF1_RX_TOUT_EN: u32 = 1 << 21;
const ID_REG_UPDATE: u32 = 1 << 31;
/// RTS, DTR and CTS at rest: high.
const STATUS_IDLE: u32 = 0x6000_4000;
const STATUS_RXD: u32 = 1 << 15;
const STATUS_TXD: u32 = 1 << 31;

const FIFO_BYTES: usize = 128;
/// Interrupt source of UART 0; UART 1 is the next.
const FIRST_SOURCE: u32 = 21;
/// Console output is told in pieces of at most this many bytes.
const CONSOLE_BYTES: usize = 256;

/// One UART.
pub(crate) struct Uart {
    index: u32,
    registers: Registers,
    int_raw: u32,
    int_ena: u32,
    tx: VecDeque<u8>,
    rx: VecDeque<u8>,
    /// How characters look, as configured.
    format: Format,
    sending: Option<Sending>,
    receiver: Receiver,
    /// Level on the transmit line, before it is inverted.
    level: bool,
    /// When the receive timeout fires.
    timeout: Option<Ticks>,
    /// When the wire that is listened to may fall by itself.
    next_fall: Option<Ticks>,
    /// Console bytes not told yet, and when the first was complete.
    console: Option<(Ticks, Vec<u8>)>,
}

impl Uart {
    /// UART 0 or 1. The first is the console: what it sends is told as events.
    pub(crate) fn new(index: u32) -> Uart {
        let mut uart = Uart {
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
            receiver: Receiver::default(),
            level: true,
            timeout: None,
            next_fall: None,
            console: None,
            format: Format::default(),
        };
        uart.find_format();
        uart
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

    /// Works out how characters look, after a register may have changed it.
    fn find_format(&mut self) {
        let conf0 = self.registers.get(CONF0);
        let parity = if conf0 & CONF0_PARITY_ODD != 0 {
            Parity::Odd
        } else {
            Parity::Even
        };
        self.format = Format {
            data_bits: u64::from(conf0 >> 2 & 3) + 5,
            parity: (conf0 & CONF0_PARITY_EN != 0).then_some(parity),
            stop_half_bits: match conf0 >> 4 & 3 {
                2 => 3,
                3 => 4,
                _ => 2,
            },
            bit_sixteenths: self.bit_sixteenths(),
        };
    }

    fn is_set(&self, conf0: u32) -> bool {
        self.registers.get(CONF0) & conf0 != 0
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
    fn start_sending(&mut self, at: Ticks) {
        if self.sending.is_some() {
            return;
        }
        if let Some(byte) = self.tx.pop_front() {
            self.sending = Some(Sending::byte(at, byte, &self.format));
        } else if self.is_set(CONF0_TXD_BRK) {
            let bits = u64::from(self.registers.get(TXBRK_CONF) & 0xFF);
            self.sending = Some(Sending::pause(at, bits.max(1), &self.format));
        }
    }

    /// Brings both lines and FIFOs up to `context.now`.
    fn advance(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        while let Some(sending) = &mut self.sending {
            while let Some(at) = sending.next_edge().filter(|at| *at <= now) {
                let level = sending.take_edge();
                self.level = level;
                let inverted = self.registers.get(CONF0) & CONF0_TXD_INV != 0;
                let level = level != inverted;
                context.wires.transmit(at, self.index as usize, level);
                if self.registers.get(CONF0) & CONF0_LOOPBACK != 0 {
                    self.receiver.edge(Edge { at, level });
                }
            }
            if sending.end > now {
                break;
            }
            let sending = *sending;
            self.finish_sending(sending, context);
        }
        self.listen(context);
        if self.timeout.is_some_and(|at| at <= now) {
            self.timeout = None;
            self.int_raw |= INT_RXFIFO_TOUT;
        }
        self.raise_by_fill();
        self.next_fall = context.wires.next_fall(self.index as usize);
    }

    /// The character on the line is over.
    fn finish_sending(&mut self, sent: Sending, context: &mut Context<'_>) {
        self.sending = None;
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

    /// Hears what there is to hear.
    fn listen(&mut self, context: &mut Context<'_>) {
        context.wires.advance(context.now);
        let inverted = self.is_set(CONF0_RXD_INV);
        while let Some(edge) = context.wires.hear(self.index as usize) {
            if !self.is_set(CONF0_LOOPBACK) {
                self.receiver.edge(Edge {
                    level: edge.level != inverted,
                    ..edge
                });
            }
        }
        while let Some(heard) = self.receiver.hear(context.now, &self.format) {
            self.receive(heard);
        }
    }

    fn receive(&mut self, heard: Heard) {
        let Heard::Character {
            value,
            parity_error,
            frame_error,
            end,
        } = heard
        else {
            self.int_raw |= INT_GLITCH_DET;
            return;
        };
        if parity_error {
            self.int_raw |= INT_PARITY_ERR;
        }
        if frame_error {
            self.int_raw |= INT_FRM_ERR;
            if value == 0 {
                self.int_raw |= INT_BRK_DET;
            }
        }
        let refused = (parity_error || frame_error) && self.is_set(CONF0_ERR_WR_MASK);
        if self.rx.len() >= FIFO_BYTES {
            self.int_raw |= INT_RXFIFO_OVF;
        } else if !refused && !self.is_set(CONF0_RXFIFO_RST) {
            self.rx.push_back(value);
        }
        let is_on = self.registers.get(CONF1) & CONF1_RX_TOUT_EN != 0;
        self.timeout = (is_on && !self.rx.is_empty()).then(|| {
            let bits = u64::from(self.registers.get(MEM_CONF) >> 16 & 0x3FF).max(1);
            end + Ticks(bits * self.format.bit_sixteenths / 16)
        });
    }

    /// When the transmitter may raise an interrupt that is enabled, or has console output to tell.
    fn next_sent(&self) -> Option<Ticks> {
        let sending = self.sending?;
        let character = self.format.character();
        // After so many characters more than the one on the line.
        let after = |count: usize| Ticks(sending.end.0 + count as u64 * character.0);
        let enabled = |interrupt| self.int_ena & interrupt != 0;
        let left = self.tx.len();
        let told = self.index == 0 || enabled(INT_TX_BRK_DONE);
        let drained = (left + 1).saturating_sub(self.tx_empty_threshold());
        let waits_for_drain =
            enabled(INT_TXFIFO_EMPTY) && self.int_raw & INT_TXFIFO_EMPTY == 0 && drained > 0;
        [
            told.then_some(sending.end),
            waits_for_drain.then(|| after(drained - 1)),
            enabled(INT_TX_DONE).then(|| after(left)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the receiver may raise an interrupt that is enabled. Between characters that is not before the next falling
    /// edge has become one, whoever makes it.
    fn next_heard(&self) -> Option<Ticks> {
        if self.int_ena & INT_RX == 0 {
            return None;
        }
        if let Some(complete) = self.receiver.complete_at(&self.format) {
            return Some(complete);
        }
        let own = self.sending.and_then(|sending| {
            let more = !self.tx.is_empty() || self.is_set(CONF0_TXD_BRK);
            let edge = sending.next_edge().or(more.then_some(sending.end))?;
            let format = &self.format;
            Some(edge + Ticks(format.bit_sixteenths * (2 * format.payload_bits() + 3) / 32))
        });
        own.into_iter().chain(self.next_fall).min()
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
}

impl Uart {
    /// `CONF0` is written.
    fn configure(&mut self, value: u32, context: &mut Context<'_>) {
        let changed = self.registers.get(CONF0) ^ value;
        self.registers.write(CONF0, value, context);
        if value & CONF0_RXFIFO_RST != 0 {
            self.rx.clear();
            self.timeout = None;
        }
        if value & CONF0_TXFIFO_RST != 0 {
            self.tx.clear();
        }
        let at = context.now;
        if changed & CONF0_TXD_INV != 0 {
            let level = self.level != (value & CONF0_TXD_INV != 0);
            context.wires.transmit(at, self.index as usize, level);
        }
        if changed & CONF0_RXD_INV != 0 {
            let level = !self.receiver.level();
            self.receiver.edge(Edge { at, level });
        }
        self.start_sending(at);
    }
}

impl Peripheral for Uart {
    fn name(&self) -> &'static str {
        if self.index == 0 { "uart0" } else { "uart1" }
    }

    fn read(&mut self, offset: u32, context: &mut Context<'_>) -> u32 {
        self.advance(context);
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
            STATUS => {
                let txd = self.level != self.is_set(CONF0_TXD_INV);
                let levels = if txd { STATUS_TXD } else { 0 }
                    | if self.receiver.level() { STATUS_RXD } else { 0 };
                STATUS_IDLE | levels | (self.tx.len() as u32) << 16 | self.rx.len() as u32
            }
            FSM_STATUS => {
                u32::from(self.sending.is_some()) << 4 | u32::from(self.receiver.is_hearing())
            }
            _ => self.registers.read(offset, context),
        }
    }

    fn write(&mut self, offset: u32, value: u32, context: &mut Context<'_>) {
        self.advance(context);
        match offset {
            FIFO => {
                if self.tx.len() < FIFO_BYTES && !self.is_set(CONF0_TXFIFO_RST) {
                    self.tx.push_back(value as u8);
                }
                self.start_sending(context.now);
            }
            INT_RAW | INT_ST | STATUS | FSM_STATUS => {}
            INT_ENA => self.int_ena = value & INT_ALL,
            INT_CLR => self.int_raw &= !value,
            CONF0 => self.configure(value, context),
            ID => self.registers.write(ID, value & !ID_REG_UPDATE, context),
            _ => self.registers.write(offset, value, context),
        }
        if matches!(offset, CONF0 | CLKDIV | CLK_CONF) {
            self.find_format();
        }
        self.advance(context);
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        self.advance(context);
    }

    fn next_event(&self) -> Option<Ticks> {
        let timeout = self.timeout.filter(|_| self.int_ena & INT_RXFIFO_TOUT != 0);
        [self.next_sent(), self.next_heard(), timeout]
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
            *self = Uart::new(self.index);
        }
    }
}

#[cfg(test)]
mod tests;
