//! What survives a loss of power: configuration, schedules and thresholds, as bytes for flash.
//!
//! The firmware stores them under a key of its own for each [`Kept`], and gives them back at boot.
//! Each begins with the number of its format, so that a later firmware can tell; what can't be read,
//! or would not be taken from a request either, is not taken from flash.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::points::{POINTS, Points};
use crate::schedules::{SCHEDULES_MAX, Schedule, Schedules};
use crate::thresholds::Thresholds;

/// The longest of them, bytes.
pub const KEPT_BYTES_MAX: usize = 768;

/// The format of all three; it changes with any change of their shapes.
const FORMAT: u8 = 1;

/// One thing that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// [`Configuration`].
    Configuration,
    /// The schedules, without their times: after boot each is due one interval from then.
    Schedules,
    /// The thresholds of all points that have others than the default ones.
    Thresholds,
}

impl Kept {
    /// All of them, in the order in which they are to be stored.
    pub const ALL: [Self; 3] = [Self::Configuration, Self::Schedules, Self::Thresholds];
}

/// Bytes that are not what they should be: of another format, cut, or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKept;

/// The buffer is shorter than [`KEPT_BYTES_MAX`], and too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

/// Who keeps things over a loss of power: flash.
pub trait Keeper {
    /// Keeps `bytes` under this name before it returns.
    ///
    /// # Errors
    /// [`NotKept`]; whether what was kept before is still there, nobody knows.
    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), NotKept>;
}

/// It could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept;

pub(crate) type KeptSchedules = Vec<Schedule, SCHEDULES_MAX>;
pub(crate) type KeptThresholds = Vec<(u8, Thresholds), POINTS>;

pub(crate) fn write_configuration<'b>(
    configuration: &Configuration,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], TooShort> {
    write(configuration, buffer)
}

pub(crate) fn read_configuration(bytes: &[u8]) -> Result<Configuration, BadKept> {
    let configuration: Configuration = read(bytes)?;
    configuration.check().map_err(|_| BadKept)?;
    Ok(configuration)
}

pub(crate) fn write_schedules<'b>(
    schedules: &Schedules,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], TooShort> {
    // References serialise as what they refer to.
    let list: Vec<&Schedule, SCHEDULES_MAX> = schedules.iter().map(|(s, _)| s).collect();
    write(&list, buffer)
}

pub(crate) fn read_schedules(bytes: &[u8]) -> Result<KeptSchedules, BadKept> {
    let schedules: KeptSchedules = read(bytes)?;
    if schedules.iter().all(Schedule::is_sound) {
        Ok(schedules)
    } else {
        Err(BadKept)
    }
}

pub(crate) fn write_thresholds<'b>(
    points: &Points,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], TooShort> {
    let changed = points
        .iter()
        .zip(0_u8..)
        .filter(|(point, _)| point.thresholds != Thresholds::default());
    let list: KeptThresholds = changed.map(|(point, id)| (id, point.thresholds)).collect();
    write(&list, buffer)
}

pub(crate) fn read_thresholds(bytes: &[u8]) -> Result<KeptThresholds, BadKept> {
    let list: KeptThresholds = read(bytes)?;
    let sound =
        |(id, thresholds): &(u8, Thresholds)| usize::from(*id) < POINTS && thresholds.are_sound();
    if list.iter().all(sound) {
        Ok(list)
    } else {
        Err(BadKept)
    }
}

fn write<'b>(value: &impl Serialize, buffer: &'b mut [u8]) -> Result<&'b [u8], TooShort> {
    let (format, rest) = buffer.split_first_mut().ok_or(TooShort)?;
    *format = FORMAT;
    let length = postcard::to_slice(value, rest).map_err(|_| TooShort)?.len();
    Ok(&buffer[..=length])
}

fn read<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, BadKept> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|_| BadKept),
        _ => Err(BadKept),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::configuration::TopicLevel;
    use crate::testing::{actions, at, controller, done};
    use crate::{Controller, RelayId};

    fn keep(c: &Controller, kept: Kept) -> Vec<u8> {
        let mut buffer = [0; KEPT_BYTES_MAX];
        c.keep(kept, &mut buffer).expect("room").to_vec()
    }

    /// A controller with everything as long as it can be.
    fn full() -> Controller {
        let level = TopicLevel::custom(&"l".repeat(32));
        let configuration = Configuration {
            mqtt_enabled: true,
            broker: "b".repeat(64).as_str().try_into().expect("fits"),
            port: u16::MAX,
            username: "u".repeat(32).as_str().try_into().expect("fits"),
            password: "p".repeat(64).as_str().try_into().expect("fits"),
            device_name: "d".repeat(32).as_str().try_into().expect("fits"),
            telemetry_interval_s: 3_600,
            use_tls: true,
            retain_telemetry: true,
            topic_levels: [level.clone(), level.clone(), level],
            alarm_relay: RelayId::new(8),
        };
        let mut c = controller();
        c.configure(at(0), configuration);
        for id in 0..POINTS {
            for (side, value) in [("high", 199.9), ("low", 150.1)] {
                let parameters = format!(
                    r#"{{"point_id":{id},"threshold_type":"{side}","value":{value},"hysteresis":49.9}}"#
                );
                done(&mut c, at(0), "set_threshold", &parameters);
            }
        }
        for id in 0..SCHEDULES_MAX {
            let parameters = format!(
                r#"{{"schedule_id":"{:032}","schedule_type":"interval","interval_seconds":604800,
                    "command":"set_threshold","parameters":{{"point_id":59,"threshold_type":"low",
                    "value":199.8,"hysteresis":50}}}}"#,
                id
            );
            done(&mut c, at(0), "add_schedule", &parameters);
        }
        c
    }

    #[test]
    fn everything_at_its_longest_fits_and_comes_back() {
        let old = full();
        let mut new = controller();
        for kept in Kept::ALL {
            new.restore(at(5_000), kept, &keep(&old, kept))
                .expect("sound");
        }
        assert_eq!(new.configuration(), old.configuration());
        assert_eq!(new.points(), old.points());
        let schedules = |c: &Controller| -> Vec<Schedule> {
            c.schedules()
                .iter()
                .map(|(schedule, _)| schedule.clone())
                .collect()
        };
        assert_eq!(schedules(&new), schedules(&old));
        assert_eq!(new.schedules().due_ms(true), Some(604_805_000));
        assert_eq!(actions(&mut new, at(5_000)), [], "nothing is to be kept");
    }

    #[test]
    fn a_new_device_keeps_a_few_bytes() {
        let c = controller();
        assert_eq!(keep(&c, Kept::Schedules).len(), 2);
        assert_eq!(keep(&c, Kept::Thresholds).len(), 2);
        assert_eq!(c.keep(Kept::Configuration, &mut [0; 20]), Err(TooShort));
        assert_eq!(c.keep(Kept::Configuration, &mut []), Err(TooShort));
    }

    #[test]
    fn what_can_not_be_worked_with_is_not_taken() {
        let mut c = controller();
        for kept in Kept::ALL {
            for bytes in [&[][..], &[FORMAT], &[FORMAT + 1, 0]] {
                assert_eq!(c.restore(at(0), kept, bytes), Err(BadKept), "{kept:?}");
            }
        }
        let mut bytes = keep(&full(), Kept::Schedules);
        // The first schedule's interval, behind format, count, length and id.
        bytes[1 + 1 + 1 + 32] = 0xFF;
        assert_eq!(c.restore(at(0), Kept::Schedules, &bytes), Err(BadKept));
        let mut bytes = keep(&full(), Kept::Thresholds);
        // The first point's number.
        bytes[2] = 60;
        assert_eq!(c.restore(at(0), Kept::Thresholds, &bytes), Err(BadKept));
    }

    proptest! {
        // Each case fills a controller to the brim.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_bytes_are_sound_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
            let full = full();
            for kept in Kept::ALL {
                let mut c = controller();
                let mut random = bytes.clone();
                if let Some(first) = random.first_mut() {
                    *first = FORMAT;
                }
                let mut changed = keep(&full, kept);
                for (at, byte) in &changes {
                    let at = at.index(changed.len());
                    changed[at] = *byte;
                }
                for bytes in [random, changed] {
                    if c.restore(at(0), kept, &bytes).is_ok() {
                        prop_assert_eq!(c.configuration().check(), Ok(()));
                        prop_assert!(c.points().iter().all(|p| p.thresholds.are_sound()));
                        prop_assert!(c.schedules().iter().all(|(s, _)| s.is_sound()));
                    }
                }
            }
        }
    }
}
