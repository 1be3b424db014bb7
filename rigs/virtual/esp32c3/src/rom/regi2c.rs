//! The analog registers behind the chip's internal I2C bus, as far as firmware reads back what it wrote.
//!
//! PLL and regulator trims live there; nothing in the simulation depends on them, so they are storage.

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_1954, "rom_i2c_readReg", read),
    function(0x4000_1958, "rom_i2c_readReg_Mask", read_mask),
    function(0x4000_195C, "rom_i2c_writeReg", write),
    function(0x4000_1960, "rom_i2c_writeReg_Mask", write_mask),
];

/// About a transfer on the internal bus.
const CYCLES: u64 = 300;

type Key = (u8, u8, u8);

/// Arguments 0 to 2: block, host, register.
fn key(call: &Call<'_>) -> Key {
    let byte = |n| call.argument(n) as u8;
    (byte(0), byte(1), byte(2))
}

fn get(call: &Call<'_>, key: Key) -> u8 {
    call.state.regi2c.get(&key).copied().unwrap_or(0)
}

/// Bits `high..=low` from arguments `n` and `n + 1`.
fn field(call: &Call<'_>, n: u8) -> (u32, u8) {
    let (high, low) = (call.argument(n) & 7, call.argument(n + 1) & 7);
    let width = high.saturating_sub(low) + 1;
    (low, (((1_u32 << width) - 1) << low) as u8)
}

fn read(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let value = get(call, key(call));
    call.answer(u32::from(value));
    Ok(CYCLES)
}

fn read_mask(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (low, mask) = field(call, 3);
    let value = get(call, key(call)) & mask;
    call.answer(u32::from(value) >> low);
    Ok(CYCLES)
}

fn write(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (key, value) = (key(call), call.argument(3) as u8);
    call.state.regi2c.insert(key, value);
    Ok(CYCLES)
}

fn write_mask(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (key, (low, mask)) = (key(call), field(call, 3));
    let new = (call.argument(5) << low) as u8 & mask;
    let value = get(call, key) & !mask | new;
    call.state.regi2c.insert(key, value);
    Ok(2 * CYCLES)
}

#[cfg(test)]
mod tests {
    use super::super::RomState;
    use super::super::host::TestHost;

    #[test]
    fn registers_keep_whole_and_partial_writes() {
        let mut host = TestHost::new();
        let mut state = RomState::default();
        let at = [0x66, 0, 2];
        let mut call =
            |name: &str, rest: &[u32]| host.call(&mut state, name, &[&at[..], rest].concat()).0;
        assert_eq!(call("rom_i2c_readReg", &[]), 0);
        call("rom_i2c_writeReg", &[0xA5]);
        call("rom_i2c_writeReg_Mask", &[6, 4, 0xF3]);
        assert_eq!(call("rom_i2c_readReg", &[]), 0xB5);
        assert_eq!(call("rom_i2c_readReg_Mask", &[7, 4]), 0xB);
    }
}
