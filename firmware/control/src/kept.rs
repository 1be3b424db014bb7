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
