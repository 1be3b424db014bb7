//! From the text of a rig file to a checked [`Rig`], or to every mistake in it.
//!
//! One function a table. A function that finds a mistake reports it and returns `None`; the others
//! still run. Only when nothing was reported is there a rig.

mod network;
mod probe;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

pub(crate) use probe::selector;
use toml::de::{DeTable, DeValue};

use crate::{
    Budget, Device, Limits, Rig, TopicLevel,
    fixture::fixture,
    problem::{Problem, Problems},
    section::{Placed, Section},
};

/// The version of rig files that this crate reads.
const SCHEMA: i64 = 1;

/// The chips that the bench knows.
const CHIPS: &[(&str, &str)] = &[("esp32c3", "esp32c3")];

/// Reads `text`; all mistakes in the order of the file, at least one, if it is not right.
pub(crate) fn rig(path: &Path, text: &str) -> Result<Rig, Vec<Problem>> {
    let mut problems = Problems::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(
            Problem::new(first_line(error.message()), span, "this is no TOML")
                .help("see https://toml.io for how tables, keys and strings are written"),
        );
    }
    if !errors.is_empty() {
        // What is left after a syntax error is a guess: don't blame the author for it.
        return Err(problems.into_sorted());
    }
    let mut root = Section::root(document.get_ref(), text.len());
    if !schema_fits(&mut root, &mut problems) {
        // Another version may mean other things by the same keys.
        return Err(problems.into_sorted());
    }
    let rig = read(path, &mut root, &mut problems);
    root.finish(&mut problems, &[]);
    let problems = problems.into_sorted();
    match rig {
        Some(rig) if problems.is_empty() => Ok(rig),
        _ => Err(problems),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("not TOML").to_owned()
}

/// Whether the file is of the version that is read here.
fn schema_fits(root: &mut Section<'_, '_>, problems: &mut Problems) -> bool {
    if !root.has("schema") {
        problems.push(
            Problem::new("the rig file has no `schema`", 0..0, "it begins here")
                .help(format!("begin it with `schema = {SCHEMA}`")),
        );
        return true;
    }
    match root.integer::<i64>(problems, "schema", i64::MIN..=i64::MAX) {
        Some(Placed { value, span }) if value != SCHEMA => {
            let problem = Problem::new(
                format!("rig files of schema `{value}` can't be read"),
                span,
                format!("known: `{SCHEMA}`"),
            );
            problems.push(problem.help(if value > SCHEMA {
                "use the `hil` that this file was written for, it is newer".into()
            } else {
                format!("write `schema = {SCHEMA}`")
            }));
            false
        }
        _ => true,
    }
}

fn read(path: &Path, root: &mut Section<'_, '_>, problems: &mut Problems) -> Option<Rig> {
    let name = name(path, root, problems);
    let description = root.text(problems, "description");
    let device = root
        .needed_table(problems, "device", "the device under test")
        .and_then(|section| device(section, problems));
    let probe = root
        .needed_table(problems, "probe", "how the device is reached for debugging")
        .and_then(|section| probe::probe(section, problems));
    let network = root
        .needed_table(problems, "network", "how the device reaches the network")
        .and_then(|section| network::network(section, probe.as_ref(), problems));
    let broker = root
        .needed_table(problems, "broker", "the MQTT broker of the rig")
        .and_then(|section| network::broker(section, probe.as_ref(), problems));
    let fixture = root
        .table(problems, "fixture")
        .map(|section| fixture(section, probe.as_ref(), problems));
    let limits = match root.table(problems, "limits") {
        Some(section) => limits(section, problems),
        None => Limits::default(),
    };
    let budget = match root.table(problems, "budget") {
        Some(section) => budget(section, problems),
        None => Budget::default(),
    };
    Some(Rig {
        name: name?,
        description: description.map(|text| text.value).unwrap_or_default(),
        path: path.to_owned(),
        device: device?,
        probe: probe?,
        network: network?,
        broker: broker?,
        fixture: match fixture {
            Some(fixture) => Some(fixture?),
            None => None,
        },
        limits,
        budget,
    })
}

/// The name is the file's, because rigs are found, listed and locked by it.
fn name(path: &Path, root: &mut Section<'_, '_>, problems: &mut Problems) -> Option<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = root.needed_text(problems, "name", &stem)?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.value.is_empty() || !name.value.chars().all(fine) {
        problems.push(
            Problem::new(
                format!("`{}` can't be the name of a rig", name.value),
                name.span,
                "lower case letters, digits and `-` only",
            )
            .help(format!("write `{stem}`, as the file is called")),
        );
        return None;
    }
    if name.value != stem {
        problems.push(
            Problem::new(
                format!("the rig is called `{}`, its file `{stem}.toml`", name.value),
                name.span,
                "rigs are found by the name of their file",
            )
            .help(format!("write `{stem}`, or rename the file")),
        );
        return None;
    }
    Some(name.value)
}

fn device(mut section: Section<'_, '_>, problems: &mut Problems) -> Option<Device> {
    let chip = section.word(problems, "chip", CHIPS);
    let firmware = section
        .needed_text(problems, "firmware", "firmware/app")
        .and_then(|text| firmware(text, problems));
    let device_id = section
        .needed_text(problems, "device-id", "tempcontroller01")
        .and_then(|text| level("device-id", text.value, text.span, problems));
    let topic_levels = topic_levels(&mut section, problems);
    let interval = section.integer(problems, "telemetry-interval-s", 1..=3_600);
    let retain = section.flag(problems, "retain-telemetry");
    section.finish(problems, &[]);
    Some(Device {
        chip: chip?.to_owned(),
        firmware: firmware?,
        device_id: device_id?,
        topic_levels: topic_levels?,
        telemetry_interval_s: interval.map_or(60, |interval| interval.value),
        retain_telemetry: retain.unwrap_or(false),
    })
}

/// A directory of the project: a rig file means the same on every machine.
fn firmware(text: Placed<String>, problems: &mut Problems) -> Option<PathBuf> {
    let path = PathBuf::from(&text.value);
    let inside = !text.value.is_empty()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        problems.push(
            Problem::new(
                format!("`{}` is not a directory of the project", text.value),
                text.span,
                "relative to the project's root, without `..`",
            )
            .help("write the firmware package's directory, such as `firmware/app`"),
        );
        return None;
    }
    Some(path)
}

fn topic_levels(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<[TopicLevel; 3]> {
    if !section.has("topic-levels") {
        // The contract's default base: `plant/area1/line2`.
        section.array(problems, "topic-levels");
        return Some(["plant", "area1", "line2"].map(|level| TopicLevel::Custom(level.into())));
    }
    let array = section.array(problems, "topic-levels")?;
    let help = "write three levels; a level that is left out is `false`";
    if array.value.len() != 3 {
        problems.push(
            Problem::new(
                format!("`topic-levels` has {} levels", array.value.len()),
                array.span,
                "three are needed",
            )
            .help(help),
        );
        return None;
    }
    let mut levels = vec![];
    for element in array.value {
        levels.extend(match element.value {
            DeValue::Boolean(false) => Some(TopicLevel::Skip),
            DeValue::String(text) => level("topic level", text.to_string(), element.span, problems)
                .map(TopicLevel::Custom),
            _ => {
                let what = "a topic level is neither a string nor `false`";
                problems.push(Problem::new(what, element.span, "this one").help(help));
                None
            }
        });
    }
    levels.try_into().ok()
}

/// One level of a topic (contract, "Topics"; MQTT 3.1.1, 4.7.1).
fn level(
    what: &str,
    value: String,
    span: std::ops::Range<usize>,
    problems: &mut Problems,
) -> Option<String> {
    let why = if value.is_empty() {
        "it is empty"
    } else if value.len() > 32 {
        "it is longer than 32 bytes"
    } else if value.contains(['/', '+', '#']) {
        "`/`, `+` and `#` have a meaning in topics"
    } else if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "it holds white space or a control character"
    } else {
        return Some(value);
    };
    problems.push(
        Problem::new(format!("`{value}` can't be a {what}"), span, why)
            .help("write 1 to 32 letters, digits, `-` or `_`"),
    );
    None
}

fn budget(mut section: Section<'_, '_>, problems: &mut Problems) -> Budget {
    let default = Budget::default();
    let mut bytes = |key, default: u32| {
        let value = section.integer::<u32>(problems, key, 1..=16 << 20);
        value.map_or(default, |value| value.value)
    };
    let budget = Budget {
        network_bytes: bytes("network-bytes", default.network_bytes),
        application_bytes: bytes("application-bytes", default.application_bytes),
        stack_bytes: bytes("stack-bytes", default.stack_bytes),
        mqtt_bytes: bytes("mqtt-bytes", default.mqtt_bytes),
        json_bytes: bytes("json-bytes", default.json_bytes),
        outbox_bytes: bytes("outbox-bytes", default.outbox_bytes),
        http_bytes: bytes("http-bytes", default.http_bytes),
    };
    section.finish(problems, &[]);
    budget
}

fn limits(mut section: Section<'_, '_>, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut bytes = |key, default: u32| {
        let value = section.integer::<u32>(problems, key, 0..=16 << 20);
        value.map_or(default, |value| value.value)
    };
    let heap_drop_bytes = bytes("heap-drop-bytes", default.heap_drop_bytes);
    let heap_free_min_bytes = bytes("heap-free-min-bytes", default.heap_free_min_bytes);
    let mut percent = |key, default: u8| {
        let value = section.integer::<u8>(problems, key, 0..=100);
        value.map_or(default, |value| value.value)
    };
    let fragmentation_percent = percent("fragmentation-percent", default.fragmentation_percent);
    let telemetry_tolerance_percent = percent(
        "telemetry-tolerance-percent",
        default.telemetry_tolerance_percent,
    );
    let mut spans: BTreeMap<&str, std::ops::Range<usize>> = BTreeMap::new();
    let mut milliseconds = |key: &'static str, default: u32| {
        let value = section.integer::<u32>(problems, key, 1..=600_000);
        spans.extend(value.as_ref().map(|value| (key, value.span.clone())));
        value.map_or(default, |value| value.value)
    };
    let limits = Limits {
        heap_drop_bytes,
        fragmentation_percent,
        heap_free_min_bytes,
        publish_p95_ms: milliseconds("publish-p95-ms", default.publish_p95_ms),
        publish_p99_ms: milliseconds("publish-p99-ms", default.publish_p99_ms),
        command_p95_ms: milliseconds("command-p95-ms", default.command_p95_ms),
        command_p99_ms: milliseconds("command-p99-ms", default.command_p99_ms),
        telemetry_tolerance_percent,
    };
    let pairs = [
        ("publish", limits.publish_p95_ms, limits.publish_p99_ms),
        ("command", limits.command_p95_ms, limits.command_p99_ms),
    ];
    for (what, p95, p99) in pairs {
        let keys = [format!("{what}-p99-ms"), format!("{what}-p95-ms")];
        let span = keys.iter().find_map(|key| spans.get(key.as_str()));
        if let (true, Some(span)) = (p95 > p99, span) {
            problems.push(
                Problem::new(
                    format!("`{what}-p95-ms` is over `{what}-p99-ms`: {p95} over {p99}"),
                    span.clone(),
                    "95 of 100 can't take longer than 99 of 100",
                )
                .help(format!(
                    "write both keys, `{what}-p95-ms` being the lower one"
                )),
            );
        }
    }
    section.finish(problems, &[]);
    limits
}
