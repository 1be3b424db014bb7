//! The serial line under the bus: all that this crate wants of a UART, so that any can serve.

use core::fmt;

/// Baud rate at which the character F0 is a reset pulse: 521 µs low, then 521 µs in which presence is
/// heard (application note 214; the data sheet asks for 480 µs of each).
pub const RESET_BAUD: u32 = 9_600;

/// Baud rate at which a character is a slot: FF pulls the bus low for 8.7 µs, 00 for 78 µs.
pub const SLOT_BAUD: u32 = 115_200;

/// A UART of eight data bits, no parity, one stop bit, whose transmit and receive pins are one
/// open-drain pin on the bus: every character that is sent is also received, as the bus made it.
#[expect(
    async_fn_in_trait,
    reason = "one task owns the bus: nobody asks whether its future is Send"
)]
pub trait Line {
    /// Sets the baud rate for what is exchanged from now on. Called only between exchanges; a driver
    /// must let the last stop bit pass before it changes anything.
    ///
    /// # Errors
    /// [`LineError::Driver`] when the UART can't do it.
    async fn set_baud(&mut self, baud: u32) -> Result<(), LineError>;

    /// Drops whatever was received before; then sends `characters` back to back, receives as many, and
    /// leaves in each place what came back for it.
    ///
    /// At most 64 at once ([`SLOTS_MAX`](crate::SLOTS_MAX)), which fit the FIFO of the UART whole. Must
    /// end whatever the bus does: when nothing has come back for some characters' time,
    /// [`LineError::Silent`] it is. May be dropped halfway; the next reset pulse starts afresh.
    ///
    /// # Errors
    /// What kept the characters from coming back; what `characters` holds then is of no meaning.
    async fn exchange(&mut self, characters: &mut [u8]) -> Result<(), LineError>;
}

/// Why characters did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// A character had no stop bit, or the line reports a break: the bus was low when it should have
    /// been high again.
    Framing,
    /// Too few characters came back in their time: a bus that is low all the time has no edge that
    /// starts a character.
    Silent,
    /// Characters were lost because nobody fetched them in time.
    Overrun,
    /// The driver could not do what it was told.
    Driver,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Framing => "character without a stop bit",
            Self::Silent => "no echo",
            Self::Overrun => "received characters were lost",
            Self::Driver => "serial driver refused",
        })
    }
}

impl core::error::Error for LineError {}
