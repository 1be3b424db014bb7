//! Deliberate bugs on a virtual rig: caught by the scenario that they name, and gone afterwards.
#![cfg(unix)]

#[path = "support/own_rig.rs"]
mod own_rig;
#[path = "support/project.rs"]
mod project;
#[path = "support/running.rs"]
mod running;

use std::fs;
use std::io::{BufReader, Read};
use std::process::{Command, Stdio};

use own_rig::OwnRig;
use running::{Running, wait_for_line};

/// A rig called `name`. A mutant of it takes long enough for Ctrl-C to come in between.
fn rig(name: &str) -> OwnRig {
    OwnRig::new(
        name,
        &[("telemetry-interval-s = 5", "telemetry-interval-s = 60")],
    )
}

fn verify(rig: &OwnRig, mutants: &[&str]) -> Command {
    rig.hil(&[&["verify", "--seed", "7"], mutants].concat())
}

fn report(rig: &OwnRig) -> serde_json::Value {
    let text = fs::read_to_string(rig.report("verify.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// The first words of each line about a mutant, without times and reasons.
fn findings(stdout: &str) -> Vec<String> {
    stdout
        .lines()
        .filter_map(|line| {
            let (word, rest) = line.split_once(" [")?;
            let mut words = rest.split_once(']')?.1.split_whitespace();
            let (mutant, by, scenario) = (words.next()?, words.next()?, words.next()?);
            Some(format!("{} {mutant} {by} {scenario}", word.trim()))
        })
        .collect()
}

#[test]
fn mutants_are_caught_by_their_scenario_and_leave_the_device_as_it_was() {
    let rig = rig("test-verify");
    let mutants = ["help-forgets-a-command", "point-59-refused"];
    // Twice on one flash: what the first verification left would fail the second's baseline.
    for _ in 0..2 {
        let output = verify(&rig, &mutants).output().expect("the program runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            findings(&stdout),
            [
                "CAUGHT point-59-refused CMD-1 get_point_answers_for_every_point:",
                "CAUGHT help-forgets-a-command CMD-1 help_lists_every_command:",
            ]
        );
        assert!(
            stdout.contains("2 mutants, 2 caught, 0 survived\n"),
            "{stdout}"
        );
        let report = report(&rig);
        assert_eq!(report["counts"]["caught"], 2, "{report}");
        assert_eq!(report["mutants"][0]["mutant"], "point-59-refused");
        assert_eq!(report["mutants"][0]["by"], "CMD-1");
        assert_eq!(report["baseline"]["counts"]["failed"], 0);
    }
}

#[test]
fn ctrl_c_disarms_the_device() {
    let rig = rig("test-verify-ctrl-c");
    let mut running = Running::start(
        verify(&rig, &["interval-too-long", "--verbose"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped()),
    );
    let mut stderr = BufReader::new(running.child().stderr.take().expect("a pipe"));
    // The device has booted with its bug, and is busy for minutes of its time.
    wait_for_line(&mut stderr, "mutant     interval-too-long");
    wait_for_line(&mut stderr, " boot ");
    running.interrupt();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert_eq!(running.end().status.code(), Some(130), "{rest}");
    assert!(rest.contains("disarming the device"), "{rest}");
    let report = report(&rig);
    assert_eq!(
        (&report["interrupted"], &report["exit"]),
        (&"Ctrl-C".into(), &"interrupted".into()),
        "{report}"
    );
    assert_eq!(report["counts"]["not_run"], 1, "{report}");
    let after = rig
        .hil(&["run", "TEL-3", "--features", "mutants", "--seed", "7"])
        .output()
        .expect("the program runs");
    assert_eq!(
        after.status.code(),
        Some(0),
        "the device still has its bug: {after:?}"
    );
}
