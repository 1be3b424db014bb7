//! The DS18B20's commands (data sheet, "ROM Commands" and "Function Commands"), each a whole exchange
//! that begins with a reset pulse.
//!
//! Not here: Copy Scratchpad, because the EEPROM wears (some makers' after eight writes), and
//! [`Scanner`](crate::Scanner) writes the resolution again when a sensor forgot it; Recall, which a
//! power-on does anyway; Alarm Search, because alarms are the controller's.

use embedded_hal_async::delay::DelayNs;

use crate::{Bus, BusError, Line, Registers, Rom};

/// Search ROM: all devices send their ROM codes bit by bit; see [`search`](mod@crate::search).
pub const SEARCH_ROM: u8 = 0xF0;

const MATCH_ROM: u8 = 0x55;
const SKIP_ROM: u8 = 0xCC;
const CONVERT_T: u8 = 0x44;
const WRITE_SCRATCHPAD: u8 = 0x4E;
const READ_SCRATCHPAD: u8 = 0xBE;

/// Starts a conversion in all sensors at once (Skip ROM).
///
/// # Errors
/// The bus failed; perhaps some of the sensors are converting.
pub async fn convert_all<L: Line, D: DelayNs>(bus: &mut Bus<L, D>) -> Result<(), BusError> {
    bus.reset().await?;
    bus.write(&[SKIP_ROM, CONVERT_T]).await
}

/// Starts a conversion in one sensor, and says whether it began: a sensor with a supply of its own
/// answers zeros while it converts.
///
/// # Errors
/// The bus failed; perhaps the sensor is converting.
pub async fn convert<L: Line, D: DelayNs>(bus: &mut Bus<L, D>, rom: Rom) -> Result<bool, BusError> {
    bus.reset().await?;
    // Only the first slot is sure to fall into the conversion: some makers' sensors take 11 ms for it.
    let mut busy = [0xFF];
    bus.transfer(&addressed(rom, [CONVERT_T]), &mut busy)
        .await?;
    Ok(busy[0] & 1 == 0)
}

/// Reads one sensor's scratchpad, unchecked: for [`Scratchpad::parse`](crate::Scratchpad::parse).
///
/// # Errors
/// The bus failed. A sensor that is not there is no error here: it reads as ones.
pub async fn read_scratchpad<L: Line, D: DelayNs>(
    bus: &mut Bus<L, D>,
    rom: Rom,
) -> Result<[u8; 9], BusError> {
    bus.reset().await?;
    let mut bytes = [0; 9];
    bus.transfer(&addressed(rom, [READ_SCRATCHPAD]), &mut bytes)
        .await?;
    Ok(bytes)
}

/// Writes one sensor's alarm registers and resolution; its EEPROM stays as it is.
///
/// # Errors
/// The bus failed; perhaps the registers are written, in part.
pub async fn write_scratchpad<L: Line, D: DelayNs>(
    bus: &mut Bus<L, D>,
    rom: Rom,
    registers: Registers,
) -> Result<(), BusError> {
    bus.reset().await?;
    let [high, low, configuration] = registers.bytes();
    bus.write(&addressed(
        rom,
        [WRITE_SCRATCHPAD, high, low, configuration],
    ))
    .await
}

/// `command` behind Match ROM: 9 bytes and the command's. `BYTES` is their sum, so that no heap is
/// needed.
fn addressed<const COMMAND: usize>(rom: Rom, command: [u8; COMMAND]) -> heapless::Vec<u8, 13> {
    let mut bytes = heapless::Vec::new();
    bytes.extend([MATCH_ROM]);
    bytes.extend(rom.bytes());
    bytes.extend(command);
    bytes
}
