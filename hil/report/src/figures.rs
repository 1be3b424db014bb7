//! Numbers as people read them.

/// Time in brackets: always six wide, `_0.42s`, `_12.4s`, `__360s`.
pub(crate) fn seconds(micros: u64) -> String {
    let seconds = micros as f64 / 1e6;
    if seconds < 9.995 {
        format!("{seconds:5.2}s")
    } else if seconds < 999.95 {
        format!("{seconds:5.1}s")
    } else {
        format!("{seconds:5.0}s")
    }
}

/// KiB without the unit: `58.1`, `202`.
pub(crate) fn kib(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    match kib < 99.95 {
        true => format!("{kib:.1}"),
        false => format!("{kib:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (micros, expected) in [
            (0, " 0.00s"),
            (420_000, " 0.42s"),
            (9_990_000, " 9.99s"),
            (9_996_000, " 10.0s"),
            (12_400_000, " 12.4s"),
            (999_900_000, "999.9s"),
            (999_960_000, " 1000s"),
            (86_400_000_000, "86400s"),
        ] {
            assert_eq!(seconds(micros), expected);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0.0"),
            (59_494, "58.1"),
            (102_350, "100"),
            (206_848, "202"),
        ] {
            assert_eq!(kib(bytes), expected);
        }
    }
}
