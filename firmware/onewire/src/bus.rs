//! The bus as a UART drives it: a reset pulse is a character, and so is every slot.
//!
//! ```text
//!            start  d0  d1  d2  d3  d4  d5  d6  d7  stop
//! reset      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔   F0 at 9,600: 104 µs a bit
//!  presence  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▔▁▁▁▁▁▁▔▔▔▔▔▔▔▔▔▔▔▔▔   comes back as E0, 90, ...
//! write 1    ▁▁▁▁▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔   FF at 115,200: 8.7 µs a bit
//! write 0    ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▔▔▔▔   00
//! read 0     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔   FF, held low by a device
//! ```
//!
//! Bytes travel least significant bit first, eight slots each.

use core::fmt;

use embedded_hal_async::delay::DelayNs;

use crate::line::{Line, LineError, RESET_BAUD, SLOT_BAUD};

/// The most slots that are exchanged at once: eight bytes, half the FIFO of the ESP32-C3's UART. Many,
/// because each exchange costs interrupts and a switch of tasks; not more, because the characters wait
/// in the future of whoever exchanges them.
pub const SLOTS_MAX: usize = 64;

const RESET_PULSE: u8 = 0xF0;
const WRITE_0: u8 = 0x00;
const WRITE_1: u8 = 0xFF;
/// Releases the bus at once, as a written 1 does, and leaves the rest of the slot to the devices.
const READ: u8 = 0xFF;

/// How long the bus rests before the next reset pulse when something failed, µs: two characters at 9,600
/// baud. A bus that comes free in the middle of a character leaves the receiver half a character ahead of
/// the transmitter, and without a pause it stays there.
const REST_US: u32 = 2_084;

/// A bus with its line and its clock. Whatever is done on it begins with [`Bus::reset`].
#[derive(Debug)]
pub struct Bus<L, D> {
    line: L,
    delay: D,
    /// Something failed since the last reset pulse.
    astray: bool,
}

impl<L: Line, D: DelayNs> Bus<L, D> {
    /// The bus at the end of `line`; `delay` is what it waits by.
    pub const fn new(line: L, delay: D) -> Self {
        Self {
            line,
            delay,
            astray: false,
        }
    }

    /// Line and delay, taken back.
    pub fn into_parts(self) -> (L, D) {
        (self.line, self.delay)
    }

    /// Leaves the bus alone for so many µs.
    pub(crate) async fn wait_us(&mut self, us: u32) {
        self.delay.delay_us(us).await;
    }

    /// Sends a reset pulse and listens for a presence pulse (data sheet, "Initialization").
    ///
    /// # Errors
    /// Every outcome but presence: [`BusError::Absent`] when no device answers, and what else keeps a
    /// bus from being one.
    pub async fn reset(&mut self) -> Result<(), BusError> {
        if self.astray {
            self.delay.delay_us(REST_US).await;
        }
        // Until all is well: also when this is dropped halfway.
        self.astray = true;
        self.line.set_baud(RESET_BAUD).await?;
        let mut pulse = [RESET_PULSE];
        let exchanged = self.line.exchange(&mut pulse).await;
        self.line.set_baud(SLOT_BAUD).await?;
        exchanged?;
        // High while it was held low: this is not the echo of a reset pulse.
        if pulse[0] & 0x0F != 0 {
            return Err(BusError::Garbled);
        }
        self.astray = false;
        if pulse[0] == RESET_PULSE {
            return Err(BusError::Absent);
        }
        // Also 00: a presence pulse should end 300 µs after the reset pulse, and the last data bit is 364 µs
        // after it; but one sensor that holds longer is no reason to do without all others. The stop bit is
        // high again, or this were a framing error.
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// As [`Bus::transfer`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        self.transfer(bytes, &mut []).await
    }

    /// Reads bytes; nobody answering reads as ones.
    ///
    /// # Errors
    /// As [`Bus::transfer`].
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<(), BusError> {
        self.transfer(&[], bytes).await
    }

    /// Writes bytes, then reads bytes, in as few exchanges as possible.
    ///
    /// # Errors
    /// [`BusError::Garbled`] when what was written did not come back as written; the line's errors.
    pub async fn transfer(&mut self, written: &[u8], read: &mut [u8]) -> Result<(), BusError> {
        const BYTES_MAX: usize = SLOTS_MAX / 8;
        let total = written.len() + read.len();
        for first in (0..total).step_by(BYTES_MAX) {
            let bytes = first..total.min(first + BYTES_MAX);
            let mut slots = [READ; SLOTS_MAX];
            for (index, slots) in bytes.clone().zip(slots.chunks_exact_mut(8)) {
                if let Some(&byte) = written.get(index) {
                    slots.copy_from_slice(&write_slots(byte));
                }
            }
            self.exchange(&mut slots[..bytes.len() * 8]).await?;
            for (index, slots) in bytes.zip(slots.chunks_exact(8)) {
                match written.get(index) {
                    Some(&byte) if slots != write_slots(byte) => return Err(self.garbled()),
                    Some(_) => {}
                    None => read[index - written.len()] = read_byte(slots),
                }
            }
        }
        Ok(())
    }

    /// One step of a search: takes the branch of the bit before, if there is one, and reads the next
    /// bit and its complement.
    ///
    /// # Errors
    /// As [`Bus::transfer`].
    pub(crate) async fn fork(&mut self, branch: Option<bool>) -> Result<(bool, bool), BusError> {
        let mut slots = [branch.map_or(READ, write_slot), READ, READ];
        let used = if branch.is_some() { 0 } else { 1 };
        self.exchange(&mut slots[used..]).await?;
        if let Some(branch) = branch
            && slots[0] != write_slot(branch)
        {
            return Err(self.garbled());
        }
        Ok((read_slot(slots[1]), read_slot(slots[2])))
    }

    /// The end of a search: takes the branch of the last bit.
    ///
    /// # Errors
    /// As [`Bus::transfer`].
    pub(crate) async fn branch(&mut self, branch: bool) -> Result<(), BusError> {
        let mut slot = [write_slot(branch)];
        self.exchange(&mut slot).await?;
        if slot[0] == write_slot(branch) {
            Ok(())
        } else {
            Err(self.garbled())
        }
    }

    async fn exchange(&mut self, slots: &mut [u8]) -> Result<(), BusError> {
        self.astray = true;
        self.line.exchange(slots).await?;
        self.astray = false;
        Ok(())
    }

    fn garbled(&mut self) -> BusError {
        self.astray = true;
        BusError::Garbled
    }
}

/// Why nothing could be done on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusError {
    /// No device answered the reset pulse.
    Absent,
    /// The bus does not move: it was low before, and stays low.
    StuckLow,
    /// The bus was high, went low, and was still low where a character ends: shorted in the middle of a
    /// pulse, or a device that holds it.
    Shorted,
    /// What was written did not come back as written: noise, or two who write.
    Garbled,
    /// The line failed, whatever the bus does.
    Transport(LineError),
}

impl From<LineError> for BusError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Silent => Self::StuckLow,
            LineError::Framing => Self::Shorted,
            LineError::Overrun | LineError::Driver => Self::Transport(error),
        }
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no device answers"),
            Self::StuckLow => f.write_str("bus held low"),
            Self::Shorted => f.write_str("bus shorted during a pulse"),
            Self::Garbled => f.write_str("what was written came back garbled"),
            Self::Transport(error) => write!(f, "serial line failed: {error}"),
        }
    }
}

impl core::error::Error for BusError {}

fn write_slot(bit: bool) -> u8 {
    if bit { WRITE_1 } else { WRITE_0 }
}

fn write_slots(byte: u8) -> [u8; 8] {
    core::array::from_fn(|bit| write_slot(byte >> bit & 1 != 0))
}

/// The first data bit is sampled 13 µs into the slot, within the 15 µs for which a device's bit is
/// valid (data sheet, figures 16 and 17); what comes later depends on when the device lets go.
fn read_slot(slot: u8) -> bool {
    slot & 1 != 0
}

fn read_byte(slots: &[u8]) -> u8 {
    slots
        .iter()
        .rev()
        .fold(0, |byte, &slot| byte << 1 | u8::from(read_slot(slot)))
}
