//! Whole runs on a virtual rig: the firmware built, flashed, tested, reported; and Ctrl-C.
//!
//! Each test has a rig of its own, so that none waits for another's lease. The first to come builds
//! the firmware, the others wait for it.
#![cfg(unix)]

#[path = "support/own_rig.rs"]
mod own_rig;
#[path = "support/project.rs"]
mod project;
#[path = "support/running.rs"]
mod running;

use std::fs;
use std::io::BufReader;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use own_rig::OwnRig;
use project::project;
use running::{Running, wait_for_line};

fn run(rig: &OwnRig, arguments: &[&str]) -> Output {
    let arguments = [&["run"], arguments].concat();
    rig.hil(&arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The scenarios and their verdicts, in order, without times.
fn verdicts(stdout: &str) -> Vec<String> {
    let verdict = |line: &&str| line.contains(" [");
    stdout
        .lines()
        .filter(verdict)
        .map(|line| {
            let (verdict, rest) = line.split_once('[').unwrap_or_default();
            let name = rest.split_once(']').unwrap_or_default().1;
            format!("{} {}", verdict.trim(), name.trim())
        })
        .collect()
}

#[test]
fn one_seed_gives_one_order_of_verdicts_and_flashes_once() {
    let rig = OwnRig::new("test-twice", &[]);
    let arguments = ["CMD-1", "CON-1", "--shuffle", "--seed", "7"];
    let first = run(&rig, &arguments);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let second = run(&rig, &arguments);
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    let order = verdicts(&text(&first.stdout));
    assert!(
        order.len() > 3 && order.iter().all(|line| line.starts_with("PASS ")),
        "{order:?}"
    );
    assert_eq!(order, verdicts(&text(&second.stdout)));
    let stderr = text(&second.stderr);
    assert!(stderr.contains("KiB unchanged, compared in"), "{stderr}");

    let replay = Command::new(env!("CARGO_BIN_EXE_hil"))
        .arg("replay")
        .arg(rig.report("events.ndjson"))
        .current_dir(project())
        .output()
        .expect("the program runs");
    assert_eq!(
        (replay.status.code(), text(&replay.stdout)),
        (Some(0), text(&second.stdout)),
        "{replay:?}"
    );
}

#[test]
fn sensors_of_the_firmware_want_test_hooks_and_that_is_said() {
    let rig = OwnRig::new("test-no-hooks", &[]);
    let text = fs::read_to_string(&rig.file).expect("the rig");
    let (before, rest) = text.split_once("[fixture]").expect("a fixture");
    let (_, after) = rest.split_once("[network]").expect("a network");
    let own = "[fixture]\nkind = \"firmware\"\n\n[network]";
    fs::write(&rig.file, format!("{before}{own}{after}")).expect("a file");
    let output = run(&rig, &["CON-1"]);
    // Whoever typed the command must mend it: no firmware has failed.
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = text_of_one_line(&output.stderr);
    assert!(stderr.contains("built without `test-hooks`"), "{stderr}");
    assert!(stderr.contains("`--features test-hooks`"), "{stderr}");
}

/// Without the breaks of a message that is wrapped.
fn text_of_one_line(bytes: &[u8]) -> String {
    let text = text(bytes).replace('│', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn ctrl_c_in_a_scenario_cancels_it_and_frees_the_rig() {
    // An interval in which Ctrl-C comes for sure.
    let rig = OwnRig::new(
        "test-ctrl-c",
        &[("telemetry-interval-s = 5", "telemetry-interval-s = 60")],
    );
    let mut running = Running::start(
        rig.hil(&["run", "TEL-1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut stderr = BufReader::new(running.child().stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, " boot ");
    let signalled = Instant::now();
    running.interrupt();
    let output = running.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(
        signalled.elapsed() < Duration::from_secs(20),
        "{:?}",
        signalled.elapsed()
    );
    assert!(
        text(&output.stdout)
            .contains("0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 1 not run")
    );
    let report = |file| fs::read_to_string(rig.report(file)).expect("a report");
    assert!(report("events.ndjson").contains("\"kind\":\"run-finished\""));
    assert!(report("junit.xml").ends_with("</testsuites>\n"));
    let again = run(&rig, &["CON-1"]);
    assert_eq!(
        again.status.code(),
        Some(0),
        "the rig is not free: {again:?}"
    );
}
