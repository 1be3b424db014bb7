//! Durations as people write them: a whole number and a unit, `"30 s"`.

/// Milliseconds of `text`, or what is wrong with it, in words.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let known = "write a whole number and a unit: `500 ms`, `30 s`, `5 min`, `24 h`";
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a duration; {known}"))?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("`{text}` has no unit; {known}")),
        other => return Err(format!("unknown unit `{other}` in `{text}`; {known}")),
    };
    match number.checked_mul(factor) {
        Some(0) => Err(format!("`{text}` is no time at all; {known}")),
        Some(milliseconds) => Ok(milliseconds),
        None => Err(format!("`{text}` is too long; {known}")),
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn durations_with_units() {
        for (text, expected) in [
            ("500 ms", 500),
            ("30 s", 30_000),
            ("30s", 30_000),
            (" 5 min ", 300_000),
            ("24 h", 86_400_000),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("", "is not a duration"),
            ("soon", "is not a duration"),
            ("-3 s", "is not a duration"),
            ("30", "has no unit"),
            ("30 sec", "unknown unit `sec`"),
            ("0 s", "no time at all"),
            ("99999999999999999999 s", "is not a duration"),
            ("9999999999999999999 h", "too long"),
        ] {
            let error = milliseconds(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
