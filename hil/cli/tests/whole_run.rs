//! Whole runs on a virtual rig: the firmware built, flashed, tested, reported; and Ctrl-C.
//!
//! Each test has a rig of its own, so that none waits for another's lease. The first to come builds
//! the firmware, the others wait for it.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project")
}

struct Place {
    directory: tempfile::TempDir,
    rig: String,
}

impl Place {
    /// A virtual rig called `name`.
    fn new(name: &str) -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        let text = std::fs::read_to_string(project().join("rigs/virtual.toml")).expect("the rig");
        let text = text.replace("name = \"virtual\"", &format!("name = \"{name}\""));
        let rig = directory.path().join(format!("{name}.toml"));
        std::fs::write(&rig, text).expect("a file");
        Place {
            rig: rig.display().to_string(),
            directory,
        }
    }

    fn output(&self) -> String {
        self.directory.path().join("out").display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hil"));
        command
            .arg("run")
            .args(arguments)
            .args(["--rig", &self.rig, "--output", &self.output()])
            .current_dir(project())
            .env("NO_COLOR", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    fn report(&self, file: &str) -> String {
        let path = Path::new(&self.output()).join("latest").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
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
    let place = Place::new("test-twice");
    let arguments = ["CMD-1", "CON-1", "--shuffle", "--seed", "7"];
    let first = place.run(&arguments);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let second = place.run(&arguments);
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    let order = verdicts(&text(&first.stdout));
    assert!(
        order.len() > 3 && order.iter().all(|line| line.starts_with("PASS ")),
        "{order:?}"
    );
    assert_eq!(order, verdicts(&text(&second.stdout)));
    let stderr = text(&second.stderr);
    assert!(stderr.contains("KiB unchanged, compared in"), "{stderr}");

    let events = Path::new(&place.output())
        .join("latest/events.ndjson")
        .display()
        .to_string();
    let replay = Command::new(env!("CARGO_BIN_EXE_hil"))
        .args(["replay", &events])
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
    let place = Place::new("test-no-hooks");
    let text = std::fs::read_to_string(&place.rig).expect("the rig");
    let (before, rest) = text.split_once("[fixture]").expect("a fixture");
    let (_, after) = rest.split_once("[network]").expect("a network");
    let own = "[fixture]\nkind = \"firmware\"\n\n[network]";
    std::fs::write(&place.rig, format!("{before}{own}{after}")).expect("a file");
    let output = place.run(&["CON-1"]);
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
    let place = Place::new("test-ctrl-c");
    let mut child = place
        .command(&["TEL-1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains(" boot ") {
        line.clear();
        assert_ne!(
            stderr.read_line(&mut line).expect("a line"),
            0,
            "the run ended before the device booted"
        );
    }
    let signalled = Instant::now();
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("`kill` runs");
    assert!(status.success());
    let output = child.wait_with_output().expect("its end");
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
    assert!(
        place
            .report("events.ndjson")
            .contains("\"kind\":\"run-finished\"")
    );
    assert!(place.report("junit.xml").ends_with("</testsuites>\n"));
    let again = place.run(&["CON-1"]);
    assert_eq!(
        again.status.code(),
        Some(0),
        "the rig is not free: {again:?}"
    );
}
