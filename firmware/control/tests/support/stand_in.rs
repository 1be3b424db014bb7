//! Temperatures for tests and fuzz targets, in place of sensors: shared by file.
//!
//! Each point follows a triangle wave of its own height and pace, computed from the time alone, so
//! that values move, differ between points, and are the same in every run. No real DS18B20 has these
//! sensor ids.

use firmware_control::{Controller, Measurement, Now, POINTS, Reading, Tenths};

/// Half the height of the wave, tenths of a degree.
const SWING: i64 = 100;

/// Measures all points as they are `now`.
pub(crate) fn measure(controller: &mut Controller, now: Now) {
    for id in 0..POINTS {
        let measurement = Measurement {
            sensor_id: 0x28FF_0000_0000_0000 | id as u64,
            reading: reading(id as u64, now.uptime_ms),
        };
        controller.measured(now, id, Some(measurement));
    }
}

fn reading(id: u64, uptime_ms: u64) -> Reading {
    // 10 minutes and a bit more for each point: a step of 0.1 degrees every 3 s or so.
    let period_ms = 600_000 + id * 7_000;
    let phase_ms = (uptime_ms + id * 11_000) % period_ms;
    // 0 to 2 swings over the first half of the period, and back over the second.
    let way = (phase_ms * 4 * SWING as u64 / period_ms) as i64;
    let height = if way <= 2 * SWING {
        way
    } else {
        4 * SWING - way
    };
    let middle = 200 + 5 * id as i64;
    let tenths = i16::try_from(middle + height - SWING).ok();
    match tenths.and_then(Tenths::new) {
        Some(tenths) => Reading::Temperature(tenths),
        None => Reading::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_moves_within_half_a_minute_and_stays_plausible() {
        let (low, high) = (Tenths::new(100), Tenths::new(600));
        for id in 0..POINTS as u64 {
            for t in (0..3_600_000).step_by(30_000) {
                let now = reading(id, t).temperature();
                assert!(now >= low && now <= high, "point {id} at {t}: {now:?}");
                // Three looks: at its turn the wave is where it was a while ago.
                let later = [10_000, 20_000].map(|ms| reading(id, t + ms).temperature());
                assert!(later != [now; 2], "point {id} stands still at {t}");
            }
        }
    }
}
