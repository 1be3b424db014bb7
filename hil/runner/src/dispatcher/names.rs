//! What things are called: units, seeds, durations and panics in words.

use std::time::Duration;

use tokio::task::JoinError;

use crate::event::UnitKey;
use crate::plan::Plan;
use crate::scenario::Scenario;

pub(super) fn key_of(scenario: &Scenario, attempt: u32) -> UnitKey {
    UnitKey {
        id: scenario.id.to_owned(),
        name: scenario.name.to_owned(),
        attempt,
    }
}

/// Chance of its own for each scenario, whatever else is selected.
pub(super) fn unit_seed(seed: u64, scenario: &Scenario) -> u64 {
    // FNV-1a: fixed for ever, unlike the standard library's hasher.
    let hash = [scenario.id, "/", scenario.name]
        .iter()
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash ^ seed
}

pub(super) fn doubled_ids(plan: &Plan) -> Vec<&'static str> {
    let ids: Vec<&'static str> = crate::catalogue()
        .iter()
        .chain(&plan.scenarios)
        .map(|scenario| scenario.id)
        .collect();
    let names = |id: &str| {
        let mut names: Vec<&str> = crate::catalogue()
            .iter()
            .chain(&plan.scenarios)
            .filter(|scenario| scenario.id == id)
            .map(|scenario| scenario.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    ids.into_iter().filter(|id| names(id) > 1).collect()
}

pub(super) fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "no message".to_owned()),
        Err(_) => "cancelled".to_owned(),
    }
}

/// `30 s`, `1 min 30 s`, `500 ms`.
pub(super) fn in_words(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 if milliseconds.is_multiple_of(1_000) => {
            format!("{} s", milliseconds / 1_000)
        }
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ if milliseconds % 60_000 < 1_000 => format!("{} min", milliseconds / 60_000),
        _ => format!(
            "{} min {} s",
            milliseconds / 60_000,
            milliseconds % 60_000 / 1_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;
    use std::time::Duration;

    #[test]
    fn durations_in_words() {
        for (milliseconds, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_500, "1.5 s"),
            (60_000, "1 min"),
            (90_000, "1 min 30 s"),
            (86_400_000, "1440 min"),
        ] {
            assert_eq!(in_words(Duration::from_millis(milliseconds)), expected);
        }
    }
}
