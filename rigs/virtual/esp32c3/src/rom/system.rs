//! Reset causes, delays, clocks and the like.

use crate::reset::ResetCause;

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_0018, "rtc_get_reset_reason", reset_reason),
    function(0x4000_0024, "rtc_get_wakeup_cause", zero),
    function(0x4000_0050, "ets_delay_us", delay),
    function(0x4000_0090, "software_reset", software_reset),
    function(0x4000_0094, "software_reset_cpu", software_reset_cpu),
    function(0x4000_0580, "ets_get_apb_freq", apb_frequency),
    function(0x4000_0584, "ets_get_cpu_frequency", cpu_frequency),
    function(0x4000_0588, "ets_update_cpu_frequency", update_frequency),
    function(0x4000_0598, "ets_get_xtal_freq", crystal_frequency),
    function(0x4000_06F8, "ets_efuse_secure_boot_enabled", zero),
    function(0x4000_0700, "ets_efuse_cache_encryption_enabled", zero),
    function(0x4000_071C, "ets_efuse_get_spiconfig", zero),
    function(0x4000_072C, "ets_efuse_get_wp_pad", no_wp_pad),
];

const CALL_CYCLES: u64 = 12;
const APB_HERTZ: u32 = 80_000_000;
const CRYSTAL_HERTZ: u32 = 40_000_000;
/// CPU MHz until somebody says otherwise: what the bootloader told the ROM.
const TICKS_PER_MICRO: u32 = 160;
/// "No pad is used for write protection."
const WP_PAD_NONE: u32 = 0x3F;

fn zero(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(0);
    Ok(CALL_CYCLES)
}

fn no_wp_pad(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(WP_PAD_NONE);
    Ok(CALL_CYCLES)
}

fn reset_reason(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let cause = call.host.reset_cause();
    call.answer(u32::from(cause.code()));
    Ok(CALL_CYCLES)
}

/// Counts CPU cycles by what `ets_update_cpu_frequency` was told, right or wrong, as the real one does.
fn delay(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let per_micro = call.state.ticks_per_micro.unwrap_or(TICKS_PER_MICRO);
    Ok(CALL_CYCLES + u64::from(call.argument(0)) * u64::from(per_micro))
}

fn software_reset(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.host.request_reset(ResetCause::CoreSoftware);
    Ok(CALL_CYCLES)
}

fn software_reset_cpu(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.host.request_reset(ResetCause::CpuSoftware);
    Ok(CALL_CYCLES)
}

fn apb_frequency(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(APB_HERTZ);
    Ok(CALL_CYCLES)
}

fn crystal_frequency(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(CRYSTAL_HERTZ);
    Ok(CALL_CYCLES)
}

fn cpu_frequency(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.answer(call.state.ticks_per_micro.unwrap_or(TICKS_PER_MICRO));
    Ok(CALL_CYCLES)
}

fn update_frequency(call: &mut Call<'_>) -> Result<u64, RomFault> {
    call.state.ticks_per_micro = Some(call.argument(0));
    Ok(CALL_CYCLES)
}

#[cfg(test)]
mod tests {
    use super::super::RomState;
    use super::super::host::TestHost;
    use super::*;

    #[test]
    fn delay_takes_its_cycles_at_the_frequency_told() {
        let mut host = TestHost::new();
        let mut state = RomState::default();
        assert_eq!(host.call(&mut state, "ets_delay_us", &[10]).1, 1612);
        host.call(&mut state, "ets_update_cpu_frequency", &[80]);
        assert_eq!(host.call(&mut state, "ets_delay_us", &[10]).1, 812);
        assert_eq!(host.call(&mut state, "ets_get_cpu_frequency", &[]).0, 80);
        state.reset();
        assert_eq!(host.call(&mut state, "ets_get_cpu_frequency", &[]).0, 160);
    }

    #[test]
    fn resets_are_asked_for_and_reported() {
        let mut host = TestHost::new();
        let mut state = RomState::default();
        assert_eq!(
            host.call(&mut state, "rtc_get_reset_reason", &[0]).0,
            u32::from(ResetCause::CpuSoftware.code())
        );
        host.call(&mut state, "software_reset", &[]);
        assert_eq!(host.reset, Some(ResetCause::CoreSoftware));
        host.call(&mut state, "software_reset_cpu", &[0]);
        assert_eq!(host.reset, Some(ResetCause::CpuSoftware));
    }
}
