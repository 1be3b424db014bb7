//! Floating point helpers of libgcc in the ROM: the C3 has no floating point unit, so these are its arithmetic.
//!
//! Semantics: GNU Compiler Collection Internals, "Soft float library routines". IEEE 754 leaves only the payload of a
//! NaN open, so the host's own arithmetic gives the ROM's results.
//!
//! Not modelled: the complex multiplications and divisions (`__muldc3` and its kin).

use super::{Call, Function, RomFault, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(0x4000_076C, "__adddf3", |call| double2(call, |a, b| a + b)),
    function(0x4000_0770, "__addsf3", |call| single2(call, |a, b| a + b)),
    function(0x4000_07B0, "__divdf3", |call| {
        double2(call, |a, b| a / b)?;
        Ok(DIVIDE_CYCLES)
    }),
    function(0x4000_07BC, "__divsf3", |call| {
        single2(call, |a, b| a / b)?;
        Ok(DIVIDE_CYCLES)
    }),
    function(0x4000_07C4, "__eqdf2", |call| compare_double(call, 1)),
    function(0x4000_07C8, "__eqsf2", |call| compare_single(call, 1)),
    function(0x4000_07CC, "__extendsfdf2", |call| {
        let value = f64::from(single(call, 0));
        answer_double(call, value)
    }),
    function(0x4000_07D8, "__fixdfdi", |call| {
        let value = double(call, 0) as i64;
        answer64(call, value as u64)
    }),
    function(0x4000_07DC, "__fixdfsi", |call| {
        let value = double(call, 0) as i32;
        answer(call, value as u32)
    }),
    function(0x4000_07E0, "__fixsfdi", |call| {
        let value = single(call, 0) as i64;
        answer64(call, value as u64)
    }),
    function(0x4000_07E4, "__fixsfsi", |call| {
        let value = single(call, 0) as i32;
        answer(call, value as u32)
    }),
    function(0x4000_07E8, "__fixunsdfsi", |call| {
        let value = double(call, 0) as u32;
        answer(call, value)
    }),
    function(0x4000_07EC, "__fixunssfdi", |call| {
        let value = single(call, 0) as u64;
        answer64(call, value)
    }),
    function(0x4000_07F0, "__fixunssfsi", |call| {
        let value = single(call, 0) as u32;
        answer(call, value)
    }),
    function(0x4000_07F4, "__floatdidf", |call| {
        let value = call.argument64(0) as i64 as f64;
        answer_double(call, value)
    }),
    function(0x4000_07F8, "__floatdisf", |call| {
        let value = call.argument64(0) as i64 as f32;
        answer_single(call, value)
    }),
    function(0x4000_07FC, "__floatsidf", |call| {
        let value = f64::from(call.argument(0) as i32);
        answer_double(call, value)
    }),
    function(0x4000_0800, "__floatsisf", |call| {
        let value = call.argument(0) as i32 as f32;
        answer_single(call, value)
    }),
    function(0x4000_0804, "__floatundidf", |call| {
        let value = call.argument64(0) as f64;
        answer_double(call, value)
    }),
    function(0x4000_0808, "__floatundisf", |call| {
        let value = call.argument64(0) as f32;
        answer_single(call, value)
    }),
    function(0x4000_080C, "__floatunsidf", |call| {
        let value = f64::from(call.argument(0));
        answer_double(call, value)
    }),
    function(0x4000_0810, "__floatunsisf", |call| {
        let value = call.argument(0) as f32;
        answer_single(call, value)
    }),
    function(0x4000_0818, "__gedf2", |call| compare_double(call, -1)),
    function(0x4000_081C, "__gesf2", |call| compare_single(call, -1)),
    function(0x4000_0820, "__gtdf2", |call| compare_double(call, -1)),
    function(0x4000_0824, "__gtsf2", |call| compare_single(call, -1)),
    function(0x4000_0828, "__ledf2", |call| compare_double(call, 1)),
    function(0x4000_082C, "__lesf2", |call| compare_single(call, 1)),
    function(0x4000_0834, "__ltdf2", |call| compare_double(call, 1)),
    function(0x4000_0838, "__ltsf2", |call| compare_single(call, 1)),
    function(0x4000_0848, "__muldf3", |call| double2(call, |a, b| a * b)),
    function(0x4000_0854, "__mulsf3", |call| single2(call, |a, b| a * b)),
    function(0x4000_0864, "__nedf2", |call| compare_double(call, 1)),
    function(0x4000_0868, "__negdf2", |call| {
        let value = -double(call, 0);
        answer_double(call, value)
    }),
    function(0x4000_0870, "__negsf2", |call| {
        let value = -single(call, 0);
        answer_single(call, value)
    }),
    function(0x4000_087C, "__nesf2", |call| compare_single(call, 1)),
    function(0x4000_088C, "__powidf2", |call| {
        let value = power(double(call, 0), call.argument(2) as i32);
        answer_double(call, value)
    }),
    function(0x4000_0890, "__powisf2", |call| {
        let value = power(f64::from(single(call, 0)), call.argument(1) as i32) as f32;
        answer_single(call, value)
    }),
    function(0x4000_0894, "__subdf3", |call| double2(call, |a, b| a - b)),
    function(0x4000_0898, "__subsf3", |call| single2(call, |a, b| a - b)),
    function(0x4000_08A4, "__truncdfsf2", |call| {
        let value = double(call, 0) as f32;
        answer_single(call, value)
    }),
    function(0x4000_08C4, "__unorddf2", |call| {
        let unordered = double(call, 0).is_nan() || double(call, 2).is_nan();
        answer(call, u32::from(unordered))
    }),
    function(0x4000_08C8, "__unordsf2", |call| {
        let unordered = single(call, 0).is_nan() || single(call, 1).is_nan();
        answer(call, u32::from(unordered))
    }),
];

const CYCLES: u64 = 60;
const DIVIDE_CYCLES: u64 = 220;

fn single(call: &Call<'_>, n: u8) -> f32 {
    f32::from_bits(call.argument(n))
}

fn double(call: &Call<'_>, n: u8) -> f64 {
    f64::from_bits(call.argument64(n))
}

fn answer(call: &mut Call<'_>, value: u32) -> Result<u64, RomFault> {
    call.answer(value);
    Ok(CYCLES)
}

fn answer64(call: &mut Call<'_>, value: u64) -> Result<u64, RomFault> {
    call.answer64(value);
    Ok(CYCLES)
}

/// NaN comes out as the canonical one, so that runs are the same on every host.
fn answer_single(call: &mut Call<'_>, value: f32) -> Result<u64, RomFault> {
    let bits = if value.is_nan() {
        0x7FC0_0000
    } else {
        value.to_bits()
    };
    answer(call, bits)
}

/// As [`answer_single`].
fn answer_double(call: &mut Call<'_>, value: f64) -> Result<u64, RomFault> {
    let bits = if value.is_nan() {
        0x7FF8_0000_0000_0000
    } else {
        value.to_bits()
    };
    answer64(call, bits)
}

fn single2(call: &mut Call<'_>, f: fn(f32, f32) -> f32) -> Result<u64, RomFault> {
    let value = f(single(call, 0), single(call, 1));
    answer_single(call, value)
}

fn double2(call: &mut Call<'_>, f: fn(f64, f64) -> f64) -> Result<u64, RomFault> {
    let value = f(double(call, 0), double(call, 2));
    answer_double(call, value)
}

/// -1, 0 or 1; `unordered` when there is a NaN, which makes the caller's test false.
fn compare_single(call: &mut Call<'_>, unordered: i32) -> Result<u64, RomFault> {
    let ordering = single(call, 0).partial_cmp(&single(call, 1));
    answer(
        call,
        ordering.map_or(unordered, |ordering| ordering as i32) as u32,
    )
}

fn compare_double(call: &mut Call<'_>, unordered: i32) -> Result<u64, RomFault> {
    let ordering = double(call, 0).partial_cmp(&double(call, 2));
    answer(
        call,
        ordering.map_or(unordered, |ordering| ordering as i32) as u32,
    )
}

/// Repeated squaring, in the order libgcc multiplies.
fn power(base: f64, exponent: i32) -> f64 {
    let mut n = exponent.unsigned_abs();
    let mut factor = base;
    let mut product = if n % 2 == 1 { base } else { 1.0 };
    while n > 1 {
        n /= 2;
        factor *= factor;
        if n % 2 == 1 {
            product *= factor;
        }
    }
    if exponent < 0 { 1.0 / product } else { product }
}

#[cfg(test)]
mod tests {
    use super::super::RomState;
    use super::super::host::TestHost;

    fn call(name: &str, arguments: &[u32]) -> TestHost {
        let mut host = TestHost::new();
        host.call(&mut RomState::default(), name, arguments);
        host
    }

    fn words(value: f64) -> [u32; 2] {
        [value.to_bits() as u32, (value.to_bits() >> 32) as u32]
    }

    #[test]
    fn double_arithmetic() {
        let check = |name: &str, a: f64, b: f64, expected: f64| {
            let result = call(name, &[words(a), words(b)].concat()).result64();
            assert_eq!(result, expected.to_bits(), "{name} {a} {b}");
        };
        check("__adddf3", 1.5, 2.25, 3.75);
        check("__subdf3", 1.5, 2.25, -0.75);
        check("__muldf3", 1.5, 2.0, 3.0);
        check("__divdf3", 1.0, 3.0, 1.0 / 3.0);
        check("__divdf3", 1.0, 0.0, f64::INFINITY);
        check("__negdf2", 0.0, 0.0, -0.0);
        let nan = call("__divdf3", &[words(0.0), words(0.0)].concat());
        assert_eq!(nan.result64(), 0x7FF8_0000_0000_0000);
        let power = call("__powidf2", &[words(2.0)[0], words(2.0)[1], -3_i32 as u32]);
        assert_eq!(power.result64(), 0.125_f64.to_bits());
    }

    #[test]
    fn single_arithmetic() {
        let check = |name: &str, a: f32, b: f32, expected: f32| {
            let result = call(name, &[a.to_bits(), b.to_bits()]).registers[10];
            assert_eq!(result, expected.to_bits(), "{name} {a} {b}");
        };
        check("__addsf3", 1.5, 2.25, 3.75);
        check("__subsf3", 1.0, 2.0, -1.0);
        check("__mulsf3", 1.5, 2.0, 3.0);
        check("__divsf3", 1.0, 3.0, 1.0 / 3.0);
        check("__negsf2", 2.0, 0.0, -2.0);
    }

    #[test]
    fn comparisons() {
        let check = |name: &str, a: f64, b: f64, expected: i32| {
            let result = call(name, &[words(a), words(b)].concat()).registers[10];
            assert_eq!(result as i32, expected, "{name} {a} {b}");
        };
        check("__ltdf2", 1.0, 2.0, -1);
        check("__gtdf2", 2.0, 1.0, 1);
        check("__eqdf2", 0.0, -0.0, 0);
        check("__ledf2", f64::NAN, 1.0, 1);
        check("__gedf2", f64::NAN, 1.0, -1);
        check("__unorddf2", f64::NAN, 1.0, 1);
        check("__unorddf2", 2.0, 1.0, 0);
        let check = |name: &str, a: f32, b: f32, expected: i32| {
            let result = call(name, &[a.to_bits(), b.to_bits()]).registers[10];
            assert_eq!(result as i32, expected, "{name} {a} {b}");
        };
        check("__ltsf2", 1.0, 2.0, -1);
        check("__gtsf2", 2.0, 1.0, 1);
        check("__eqsf2", 0.0, -0.0, 0);
        check("__lesf2", f32::NAN, 1.0, 1);
        check("__gesf2", f32::NAN, 1.0, -1);
    }

    #[test]
    fn conversions() {
        let low = |name: &str, arguments: &[u32]| call(name, arguments).registers[10];
        let whole = |name: &str, arguments: &[u32]| call(name, arguments).result64();
        assert_eq!(low("__fixdfsi", &words(-2.9)) as i32, -2);
        assert_eq!(low("__fixunsdfsi", &words(4e9)), 4_000_000_000);
        assert_eq!(whole("__fixdfdi", &words(-5e12)) as i64, -5_000_000_000_000);
        assert_eq!(low("__fixsfsi", &[2.5_f32.to_bits()]), 2);
        assert_eq!(low("__floatunsisf", &[3]), 3.0_f32.to_bits());
        assert_eq!(low("__floatsisf", &[-3_i32 as u32]), (-3.0_f32).to_bits());
        assert_eq!(whole("__floatsidf", &[-3_i32 as u32]), (-3.0_f64).to_bits());
        assert_eq!(
            whole("__floatundidf", &[0, 1]),
            4_294_967_296.0_f64.to_bits()
        );
        assert_eq!(
            whole("__extendsfdf2", &[1.5_f32.to_bits()]),
            1.5_f64.to_bits()
        );
        assert_eq!(low("__truncdfsf2", &words(1.5)), 1.5_f32.to_bits());
    }
}
