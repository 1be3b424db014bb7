//! A guest that is a 1-Wire master: UART1 with both lines on one pin, as the controller's firmware drives its bus.
//!
//! Resets at 9,600 baud, slots at 115,200, up to 64 characters at once, and the hart sleeps while they are on the line.

use fixture_devices::{Bus, Rom};

use crate::assembler::*;
use crate::support::{CODE, DATA, no_watchdog};

const GPIO: u32 = 0x6000_4000;
const IO_MUX: u32 = 0x6000_9000;
const UART1: u32 = 0x6001_0000;
const MATRIX: u32 = 0x600C_2000;
const PIN: u32 = 10;

const FIFO: i32 = 0x00;
const INT_RAW: i32 = 0x04;
const INT_ENA: i32 = 0x0C;
const INT_CLR: i32 = 0x10;
const CLKDIV: i32 = 0x14;
const CONF1: i32 = 0x24;

/// Interrupts: the receiver has as many characters as it was told, the transmitter has none left.
const RX_FULL: u32 = 1;
const TX_DONE: u32 = 1 << 14;
/// Eight data bits, one stop bit; and what empties the receiver.
const CONF0: u32 = 0x1000_001C;
const RX_RESET: u32 = 1 << 17;

/// 40 MHz / 4166 + 10/16 and 40 MHz / 347 + 3/16, the first with a divider of 2 before it.
const SLOW: (u32, u32) = (0x0370_1000, 5 << 20 | 2083);
const FAST: (u32, u32) = (0x0370_0000, 3 << 20 | 347);

/// How the pin and the lines are set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) open_drain: bool,
    pub(crate) pull_up: bool,
    /// The receiver listens to the pin.
    pub(crate) listens: bool,
    /// For slots.
    pub(crate) baud: (u32, u32),
}

impl Setup {
    pub(crate) const RIGHT: Setup = Setup {
        open_drain: true,
        pull_up: true,
        listens: true,
        baud: FAST,
    };
    /// The rate of resets.
    pub(crate) const SLOW: (u32, u32) = SLOW;
}

/// A program in the making: subroutines first, then what is asked for.
///
/// s0 is UART1, s1 the buffer of an exchange, which has to be left alone otherwise.
pub(crate) struct Master {
    pub(crate) a: Assembler,
    reset: Label,
    exchange: Label,
}

impl Master {
    pub(crate) fn new(setup: &Setup) -> Master {
        let mut a = Assembler::new(CODE);
        let main = a.label();
        a.jal(ZERO, main);
        let wait = wait(&mut a);
        let reset = reset(&mut a, wait, setup.baud);
        let exchange = exchange(&mut a, wait);
        a.bind(main);
        no_watchdog().into_iter().for_each(|word| a.word(word));
        set_up(&mut a, setup);
        Master { a, reset, exchange }
    }

    /// A reset pulse; what was heard goes to t2.
    pub(crate) fn reset(&mut self) {
        self.a.jal(RA, self.reset);
    }

    /// Sends these bytes, and leaves what is heard at `to`.
    pub(crate) fn exchange(&mut self, bytes: &[u8], to: u32) {
        self.a.li(S1, to);
        for (n, byte) in bytes.iter().enumerate() {
            self.a.li(T0, (*byte).into());
            self.a.sb(T0, S1, n as i32);
        }
        self.a.li(S2, bytes.len() as u32);
        self.a.jal(RA, self.exchange);
    }

    /// Stores what the last reset heard.
    pub(crate) fn store_heard(&mut self, to: u32) {
        self.a.li(T0, to);
        self.a.sw(T2, T0, 0);
    }

    /// The program, which sleeps when it is done.
    pub(crate) fn finish(mut self) -> Vec<u32> {
        let stay = self.a.here();
        self.a.word(WFI);
        self.a.jal(ZERO, stay);
        self.a.finish()
    }
}

/// Reads every sensor's scratchpad to [`DATA`] + 0x100 + 32 n (the nine bytes from offset 19 on), again and again, with
/// `pause_us` between two scans, and counts scans at [`DATA`].
pub(crate) fn scan(roms: &[Rom], pause_us: u32) -> Vec<u32> {
    let mut master = Master::new(&Setup::RIGHT);
    master.a.li(S3, 0);
    master.a.li(T0, DATA);
    master.a.sw(ZERO, T0, 0);
    let again = master.a.here();
    master.reset();
    master.exchange(&[0xCC, 0x44], DATA + 0x40);
    for (place, rom) in roms.iter().enumerate() {
        master.reset();
        let mut bytes = vec![0x55];
        bytes.extend(rom.bytes());
        bytes.push(0xBE);
        bytes.extend([0xFF; 9]);
        master.exchange(&bytes, DATA + 0x100 + 32 * place as u32);
    }
    master.a.addi(S3, S3, 1);
    master.a.li(T0, DATA);
    master.a.sw(S3, T0, 0);
    master.a.li(A0, pause_us);
    master.a.li(T0, 0x4000_0050); // ets_delay_us
    master.a.jalr(RA, T0, 0);
    master.a.jal(ZERO, again);
    master.finish()
}

/// The codes of the sensors that a rig with this seed has from the start.
pub(crate) fn roms(seed: u64, count: usize) -> Vec<Rom> {
    let bus: Bus = Bus::populated(seed, count);
    bus.sensors().map(|(_, chip)| chip.rom()).collect()
}

fn write(a: &mut Assembler, address: u32, value: u32) {
    a.li(T0, address);
    a.li(T1, value);
    a.sw(T1, T0, 0);
}

fn set_up(a: &mut Assembler, setup: &Setup) {
    let pulls = if setup.pull_up { 1 << 8 } else { 0 };
    write(a, IO_MUX + 4 + 4 * PIN, 1 << 12 | 1 << 9 | pulls);
    write(a, GPIO + 0x74 + 4 * PIN, u32::from(setup.open_drain) << 2);
    write(a, GPIO + 0x08, 1 << PIN);
    write(a, GPIO + 0x554 + 4 * PIN, 1 << 9 | 9);
    write(a, GPIO + 0x24, 1 << PIN);
    let source = if setup.listens { PIN } else { 0x1E };
    write(a, GPIO + 0x154 + 4 * 9, 1 << 6 | source);
    // UART1 is source 22; line 17 is enough to wake the hart, which keeps interrupts off.
    write(a, MATRIX + 22 * 4, 17);
    write(a, MATRIX + 0x114 + 17 * 4, 1);
    write(a, MATRIX + 0x104, 1 << 17);
    a.word(0x3004_7073); // csrci mstatus, 8
    a.li(S0, UART1);
    // What the pin did while it was set up is forgotten.
    write(a, UART1 + 0x20, CONF0 | RX_RESET);
    write(a, UART1 + 0x20, CONF0);
}

/// Sleeps until t0 characters have come, or all are sent and their echo is overdue: then what came is thrown away.
/// Returns by t6; uses t1.
fn wait(a: &mut Assembler) -> Label {
    let start = a.here();
    a.sw(T0, S0, CONF1);
    a.li(T1, u32::MAX);
    a.sw(T1, S0, INT_CLR);
    a.li(T1, TX_DONE | RX_FULL);
    a.sw(T1, S0, INT_ENA);
    let sleep = a.here();
    let (done, sent) = (a.label(), a.label());
    a.lw(T1, S0, INT_RAW);
    a.andi(T1, T1, RX_FULL as i32);
    a.bne(T1, ZERO, done);
    a.lw(T1, S0, INT_RAW);
    a.srli(T1, T1, TX_DONE.trailing_zeros() as i32);
    a.andi(T1, T1, 1);
    a.bne(T1, ZERO, sent);
    a.word(WFI);
    a.jal(ZERO, sleep);
    // The echo of the last character may take another bit or two; of 104 µs at most.
    a.bind(sent);
    a.li(A6, 30_000);
    let patience = a.here();
    a.lw(T1, S0, INT_RAW);
    a.andi(T1, T1, RX_FULL as i32);
    a.bne(T1, ZERO, done);
    a.addi(A6, A6, -1);
    a.bne(A6, ZERO, patience);
    a.li(T1, CONF0 | RX_RESET);
    a.sw(T1, S0, 0x20);
    a.li(T1, CONF0);
    a.sw(T1, S0, 0x20);
    a.bind(done);
    a.sw(ZERO, S0, INT_ENA);
    a.jalr(ZERO, T6, 0);
    start
}

fn baud(a: &mut Assembler, (clock, divider): (u32, u32)) {
    a.li(T0, clock);
    a.sw(T0, S0, 0x78);
    a.li(T0, divider);
    a.sw(T0, S0, CLKDIV);
}

fn reset(a: &mut Assembler, wait: Label, fast: (u32, u32)) -> Label {
    let start = a.here();
    baud(a, SLOW);
    a.li(T0, 0xF0);
    a.sw(T0, S0, FIFO);
    a.li(T0, 1);
    a.jal(T6, wait);
    a.lw(T2, S0, FIFO);
    // The rest of the stop bit, and the pause that a reset needs.
    a.addi(A7, RA, 0);
    a.li(A0, 100);
    a.li(T0, 0x4000_0050);
    a.jalr(RA, T0, 0);
    a.addi(RA, A7, 0);
    baud(a, fast);
    a.ret();
    start
}

/// Sends s2 bytes from s1 on as slots, at most 64 at once, and puts what is heard in their place.
fn exchange(a: &mut Assembler, wait: Label) -> Label {
    let start = a.here();
    let (batch, fit) = (a.here(), a.label());
    a.li(T3, 8);
    a.bgeu(S2, T3, fit);
    a.addi(T3, S2, 0);
    a.bind(fit);
    // t3 bytes at once.
    a.addi(T4, ZERO, 0);
    let byte = a.here();
    a.add(T0, S1, T4);
    a.lbu(T5, T0, 0);
    a.li(T1, 8);
    let bit = a.here();
    // FFh for a one, 00h for a zero.
    a.andi(T0, T5, 1);
    a.sub(T0, ZERO, T0);
    a.andi(T0, T0, 0xFF);
    a.sw(T0, S0, FIFO);
    a.srli(T5, T5, 1);
    a.addi(T1, T1, -1);
    a.bne(T1, ZERO, bit);
    a.addi(T4, T4, 1);
    a.bne(T4, T3, byte);
    a.slli(T0, T3, 3);
    a.jal(T6, wait);
    a.addi(T4, ZERO, 0);
    let byte = a.here();
    a.li(T5, 0);
    a.li(T1, 8);
    let bit = a.here();
    // Only FFh is a one.
    a.lw(T0, S0, FIFO);
    a.addi(T0, T0, 1);
    a.srli(T0, T0, 8);
    a.slli(T0, T0, 7);
    a.srli(T5, T5, 1);
    a.or(T5, T5, T0);
    a.addi(T1, T1, -1);
    a.bne(T1, ZERO, bit);
    a.add(T0, S1, T4);
    a.sb(T5, T0, 0);
    a.addi(T4, T4, 1);
    a.bne(T4, T3, byte);
    a.add(S1, S1, T3);
    a.sub(S2, S2, T3);
    a.bne(S2, ZERO, batch);
    a.ret();
    start
}
