//! Drills: faults that the firmware plays on itself, each with its verdict.

use serde_json::Value;

use crate::project::{Project, end};

/// ID, verdict, and what its reason says.
const DRILLS: [(&str, &str, &str); 13] = [
    (
        "DRILL-1",
        "crash",
        "injected panic: 42 requested, 7 available",
    ),
    ("DRILL-2", "crash", "exception: load access fault"),
    ("DRILL-3", "crash", "stack overflow: "),
    ("DRILL-4", "crash", "unexpected reset: boot "),
    ("DRILL-5", "crash", "watchdog: a watchdog bit"),
    ("DRILL-6", "crash", "silence: no telemetry for over 30 s"),
    ("DRILL-7", "crash", "injected panic at boot"),
    (
        "DRILL-8",
        "fail",
        "the device did not boot within 10.0 s; it was at ",
    ),
    (
        "DRILL-9",
        "fail",
        "expected an MQTT session within 40 s, observed on the network as 10.0.2.15, but not on the broker",
    ),
    ("DRILL-10", "infra", "(bytes could not be decoded)"),
    ("DRILL-11", "infra", "(bytes could not be decoded)"),
    (
        "DRILL-12",
        "infra",
        "4 on `telemetry` (frames whose numbers were used up never came)",
    ),
    (
        "DRILL-13",
        "infra",
        "was overwritten: it begins with `\\xa5\\xa5",
    ),
];

#[test]
fn every_drill_gets_its_verdict() {
    let project = Project::with_firmware(|_| {});
    let arguments = ["--tag", "drill", "--firmware", "image.elf", "--seed", "3"];
    let child = project.hil_run(&arguments).spawn();
    let (output, said) = end(child.expect("the program runs"));
    assert_eq!(output.status.code(), Some(1), "{said}");
    project.check_tidy();

    let summary = project.summary();
    let units = summary["units"].as_array().expect("units");
    for (id, verdict, reason) in DRILLS {
        let attempts: Vec<&Value> = units.iter().filter(|unit| unit["id"] == id).collect();
        // The bench's fault, and nothing else, is tried again.
        let expected = if verdict == "infra" { 2 } else { 1 };
        assert_eq!(attempts.len(), expected, "{id}: {said}");
        for attempt in attempts {
            assert_eq!(attempt["verdict"], verdict, "{id}: {said}");
            let given = attempt["reason"].as_str().unwrap_or_default();
            assert!(given.contains(reason), "{id}: {given}");
        }
    }
    let preparations = units.iter().filter(|unit| unit["id"] == "PREPARE");
    assert_eq!(preparations.count(), 0, "a device was not had back: {said}");
    let counts = &summary["counts"];
    assert_eq!(
        (&counts["failed"], &counts["crashed"], &counts["infra"]),
        (&2.into(), &7.into(), &4.into()),
        "{said}"
    );
    // Panics are told with the way to them, hangs with the place.
    for place in [
        "firmware_app::faults::play (",
        "firmware_app::faults::load_fault (",
        "firmware_app::faults::overflow_stack (",
        "in firmware_app::faults::strike_before_hello (",
    ] {
        assert!(said.contains(place), "no {place}: {said}");
    }
    let junit = project.report("junit.xml");
    for (id, ..) in DRILLS {
        assert!(junit.contains(id), "{id}: {junit}");
    }
    let events = project.report("events.ndjson");
    // Where in its loop a device hangs is chance; the whole way there goes through the loop's functions.
    let hung = events.lines().any(|line| {
        line.contains("\"crash\":\"silence\"")
            && ["firmware_app::watchdog::feed", "firmware_app::faults::play"]
                .iter()
                .any(|function| line.contains(function))
    });
    assert!(hung, "no way to the hang: {said}");
    // Each fault was announced by the device before it struck.
    let announced = events
        .lines()
        .filter(|line| line.contains("\"kind\":\"fault\""))
        .count();
    assert!(announced >= DRILLS.len(), "{announced}");
}
