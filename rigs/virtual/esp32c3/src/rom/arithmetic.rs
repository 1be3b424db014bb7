//! Integer helpers of libgcc in the ROM: 64-bit multiplication, division, shifts, bit counting.
//!
//! Semantics: GNU Compiler Collection Internals, "Integer library routines". Division by zero gives what the RISC-V
//! instructions give (all ones, or the dividend as remainder), which is what the ROM's software division ends up with
//! closely enough for a program that is wrong anyway.

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_0764, "__absvdi2", |call| {
        one64(call, |a| (a as i64).wrapping_abs() as u64)
    }),
    function(0x4000_0768, "__absvsi2", |call| {
        one32(call, |a| (a as i32).wrapping_abs() as u32)
    }),
    function(0x4000_0774, "__addvdi3", |call| {
        two64(call, u64::wrapping_add)
    }),
    function(0x4000_0778, "__addvsi3", |call| {
        two32(call, u32::wrapping_add)
    }),
    function(0x4000_077C, "__ashldi3", |call| {
        shift64(call, |a, by| a.wrapping_shl(by))
    }),
    function(0x4000_0780, "__ashrdi3", |call| {
        shift64(call, |a, by| (a as i64).wrapping_shr(by) as u64)
    }),
    function(0x4000_0784, "__bswapdi2", |call| {
        one64(call, u64::swap_bytes)
    }),
    function(0x4000_0788, "__bswapsi2", |call| {
        one32(call, u32::swap_bytes)
    }),
    function(0x4000_078C, "__clear_cache", |_| Ok(20)),
    function(0x4000_0790, "__clrsbdi2", |call| {
        count64(call, |a| sign_bits(a as i64))
    }),
    function(0x4000_0794, "__clrsbsi2", |call| {
        one32(call, |a| sign_bits(i64::from(a as i32)) - 32)
    }),
    function(0x4000_0798, "__clzdi2", |call| {
        count64(call, u64::leading_zeros)
    }),
    function(0x4000_079C, "__clzsi2", |call| {
        one32(call, u32::leading_zeros)
    }),
    function(0x4000_07A0, "__cmpdi2", |call| {
        compare(call, |a, b| (a as i64).cmp(&(b as i64)))
    }),
    function(0x4000_07A4, "__ctzdi2", |call| {
        count64(call, u64::trailing_zeros)
    }),
    function(0x4000_07A8, "__ctzsi2", |call| {
        one32(call, u32::trailing_zeros)
    }),
    function(0x4000_07B4, "__divdi3", |call| {
        divide64(call, |a, b| match b as i64 {
            0 => u64::MAX,
            b => (a as i64).wrapping_div(b) as u64,
        })
    }),
    function(0x4000_07C0, "__divsi3", |call| {
        divide32(call, |a, b| match b as i32 {
            0 => u32::MAX,
            b => (a as i32).wrapping_div(b) as u32,
        })
    }),
    function(0x4000_07D0, "__ffsdi2", |call| {
        count64(call, |a| if a == 0 { 0 } else { a.trailing_zeros() + 1 })
    }),
    function(0x4000_07D4, "__ffssi2", |call| {
        one32(call, |a| if a == 0 { 0 } else { a.trailing_zeros() + 1 })
    }),
    function(0x4000_0830, "__lshrdi3", |call| {
        shift64(call, |a, by| a.wrapping_shr(by))
    }),
    function(0x4000_083C, "__moddi3", |call| {
        divide64(call, |a, b| match b as i64 {
            0 => a,
            b => (a as i64).wrapping_rem(b) as u64,
        })
    }),
    function(0x4000_0840, "__modsi3", |call| {
        divide32(call, |a, b| match b as i32 {
            0 => a,
            b => (a as i32).wrapping_rem(b) as u32,
        })
    }),
    function(0x4000_084C, "__muldi3", |call| {
        two64(call, u64::wrapping_mul)
    }),
    function(0x4000_0858, "__mulsi3", |call| {
        two32(call, u32::wrapping_mul)
    }),
    function(0x4000_085C, "__mulvdi3", |call| {
        two64(call, u64::wrapping_mul)
    }),
    function(0x4000_0860, "__mulvsi3", |call| {
        two32(call, u32::wrapping_mul)
    }),
    function(0x4000_086C, "__negdi2", |call| {
        one64(call, u64::wrapping_neg)
    }),
    function(0x4000_0874, "__negvdi2", |call| {
        one64(call, u64::wrapping_neg)
    }),
    function(0x4000_0878, "__negvsi2", |call| {
        one32(call, u32::wrapping_neg)
    }),
    function(0x4000_0880, "__paritysi2", |call| {
        one32(call, |a| a.count_ones() & 1)
    }),
    function(0x4000_0884, "__popcountdi2", |call| {
        count64(call, u64::count_ones)
    }),
    function(0x4000_0888, "__popcountsi2", |call| {
        one32(call, u32::count_ones)
    }),
    function(0x4000_089C, "__subvdi3", |call| {
        two64(call, u64::wrapping_sub)
    }),
    function(0x4000_08A0, "__subvsi3", |call| {
        two32(call, u32::wrapping_sub)
    }),
    function(0x4000_08A8, "__ucmpdi2", |call| {
        compare(call, |a, b| a.cmp(&b))
    }),
    function(0x4000_08AC, "__udivdi3", |call| {
        divide64(call, |a, b| a.checked_div(b).unwrap_or(u64::MAX))
    }),
    function(0x4000_08B0, "__udivmoddi4", udivmod),
    function(0x4000_08B4, "__udivsi3", |call| {
        divide32(call, |a, b| a.checked_div(b).unwrap_or(u32::MAX))
    }),
    function(0x4000_08BC, "__umoddi3", |call| {
        divide64(call, |a, b| a.checked_rem(b).unwrap_or(a))
    }),
    function(0x4000_08C0, "__umodsi3", |call| {
        divide32(call, |a, b| a.checked_rem(b).unwrap_or(a))
    }),
];

const SHORT_CYCLES: u64 = 10;
const DIVIDE32_CYCLES: u64 = 40;

/// Redundant sign bits.
fn sign_bits(a: i64) -> u32 {
    (a ^ a >> 63).leading_zeros() - 1
}

fn one32(call: &mut Call<'_>, f: fn(u32) -> u32) -> Result<u64, RomFault> {
    call.answer(f(call.argument(0)));
    Ok(SHORT_CYCLES)
}

fn two32(call: &mut Call<'_>, f: fn(u32, u32) -> u32) -> Result<u64, RomFault> {
    call.answer(f(call.argument(0), call.argument(1)));
    Ok(SHORT_CYCLES)
}

fn divide32(call: &mut Call<'_>, f: fn(u32, u32) -> u32) -> Result<u64, RomFault> {
    two32(call, f)?;
    Ok(DIVIDE32_CYCLES)
}

fn one64(call: &mut Call<'_>, f: fn(u64) -> u64) -> Result<u64, RomFault> {
    call.answer64(f(call.argument64(0)));
    Ok(SHORT_CYCLES)
}

fn count64(call: &mut Call<'_>, f: fn(u64) -> u32) -> Result<u64, RomFault> {
    call.answer(f(call.argument64(0)));
    Ok(SHORT_CYCLES)
}

fn two64(call: &mut Call<'_>, f: fn(u64, u64) -> u64) -> Result<u64, RomFault> {
    call.answer64(f(call.argument64(0), call.argument64(2)));
    Ok(SHORT_CYCLES)
}

fn shift64(call: &mut Call<'_>, f: fn(u64, u32) -> u64) -> Result<u64, RomFault> {
    call.answer64(f(call.argument64(0), call.argument(2)));
    Ok(SHORT_CYCLES)
}

/// 0 less, 1 equal, 2 greater.
fn compare(call: &mut Call<'_>, f: fn(u64, u64) -> std::cmp::Ordering) -> Result<u64, RomFault> {
    let ordering = f(call.argument64(0), call.argument64(2));
    call.answer((ordering as i32 + 1) as u32);
    Ok(SHORT_CYCLES)
}

/// A schoolbook division: longer the more quotient bits there are.
fn divide64_cycles(a: u64, b: u64) -> u64 {
    if (a | b) >> 32 == 0 {
        DIVIDE32_CYCLES
    } else {
        60 + 2 * u64::from(b.leading_zeros().saturating_sub(a.leading_zeros()))
    }
}

fn divide64(call: &mut Call<'_>, f: fn(u64, u64) -> u64) -> Result<u64, RomFault> {
    let (a, b) = (call.argument64(0), call.argument64(2));
    call.answer64(f(a, b));
    Ok(divide64_cycles(a, b))
}

/// Quotient as the result, remainder to the address in `a4` unless that is 0.
fn udivmod(call: &mut Call<'_>) -> Result<u64, RomFault> {
    let (a, b, to) = (call.argument64(0), call.argument64(2), call.argument(4));
    if to != 0 {
        let remainder = a.checked_rem(b).unwrap_or(a);
        call.host.write_bytes(to, &remainder.to_le_bytes())?;
    }
    call.answer64(a.checked_div(b).unwrap_or(u64::MAX));
    Ok(divide64_cycles(a, b))
}

#[cfg(test)]
mod tests {
    use super::super::RomState;
    use super::super::host::TestHost;

    fn call(name: &str, arguments: &[u32]) -> TestHost {
        let mut host = TestHost::new();
        let (_, cycles) = host.call(&mut RomState::default(), name, arguments);
        assert!(cycles > 0);
        host
    }

    #[test]
    fn two_operands_of_64_bits() {
        let check = |name: &str, a: i64, b: i64, expected: i64| {
            let arguments = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
            let result = call(name, &arguments).result64() as i64;
            assert_eq!(result, expected, "{name} {a} {b}");
        };
        check("__divdi3", -7_000_000_000, 2_000_000_000, -3);
        check("__divdi3", i64::MIN, -1, i64::MIN);
        check("__divdi3", 5, 0, -1);
        check("__moddi3", -7_000_000_000, 2_000_000_000, -1_000_000_000);
        check("__udivdi3", -1, 10, (u64::MAX / 10) as i64);
        check("__umoddi3", -1, 10, 5);
        check("__umoddi3", 77, 0, 77);
        check("__muldi3", 3_000_000_001, 3, 9_000_000_003);
        check("__ashldi3", 1, 33, 1 << 33);
        check("__lshrdi3", -1, 60, 15);
        check("__ashrdi3", -16, 2, -4);
        check("__subvdi3", 1, 2, -1);
        check("__negdi2", 5, 0, -5);
        check("__absvdi2", -5, 0, 5);
        check("__bswapdi2", 1, 0, 1 << 56);
    }

    #[test]
    fn results_of_32_bits() {
        let check = |name: &str, arguments: &[u32], expected: u32| {
            assert_eq!(call(name, arguments).registers[10], expected, "{name}");
        };
        check("__divsi3", &[-7_i32 as u32, 2], -3_i32 as u32);
        check("__modsi3", &[-7_i32 as u32, 2], -1_i32 as u32);
        check("__udivsi3", &[7, 0], u32::MAX);
        check("__umodsi3", &[7, 0], 7);
        check("__mulsi3", &[7, 6], 42);
        check("__clzsi2", &[1], 31);
        check("__clzdi2", &[0, 1], 31);
        check("__ctzdi2", &[0, 2], 33);
        check("__clrsbsi2", &[-1_i32 as u32], 31);
        check("__clrsbdi2", &[0, 0], 63);
        check("__ffssi2", &[0], 0);
        check("__ffsdi2", &[0, 1], 33);
        check("__popcountdi2", &[3, 1], 3);
        check("__paritysi2", &[7], 1);
        check("__bswapsi2", &[0x0102_0304], 0x0403_0201);
        check("__cmpdi2", &[0, u32::MAX, 0, 0], 0);
        check("__ucmpdi2", &[0, u32::MAX, 0, 0], 2);
        check("__cmpdi2", &[4, 5, 4, 5], 1);
    }

    #[test]
    fn quotient_and_remainder_at_once() {
        let host = call("__udivmoddi4", &[100, 0, 7, 0, TestHost::MEMORY + 8]);
        assert_eq!(host.result64(), 14);
        assert_eq!(host.memory[8..16], 2_u64.to_le_bytes());
    }
}
