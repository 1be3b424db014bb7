//! Bad days: whatever goes wrong ends in a clear message, the right verdict and exit code, a whole
//! report, and neither a process nor a lock left behind.
//!
//! The real program runs, each time in a project of its own, so that tests don't wait for each
//! other's rigs and nothing of the user's is touched. Only the firmware is built where the user's
//! is, once for all tests, by the program itself.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use serde_json::Value;

/// For whatever must happen soon; generous, as the computer may be busy.
const SOON: Duration = Duration::from_secs(60);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace")
}

/// A project in a directory of its own, with the rig `attic`.
struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    /// With a virtual rig that keeps nothing between runs.
    fn new() -> Project {
        let text = fs::read_to_string(workspace().join("rigs/virtual.toml")).expect("the rig");
        let text = text
            .replace("name = \"virtual\"", "name = \"attic\"")
            .replace("keep-flash = true", "keep-flash = false");
        Project::with_rig(&text)
    }

    fn with_rig(text: &str) -> Project {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("rigs")).expect("a directory");
        fs::write(directory.path().join("rigs/attic.toml"), text).expect("a file");
        Project { directory }
    }

    /// As [`Project::new`], with `image.elf`: the firmware with `test-hooks`, after `change`.
    fn with_firmware(change: impl FnOnce(&mut Vec<u8>)) -> Project {
        let project = Project::new();
        let mut elf = firmware().to_vec();
        change(&mut elf);
        fs::write(project.path("image.elf"), elf).expect("a file");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `hil run` in the project, in a process group of its own.
    fn hil_run(&self, arguments: &[&str]) -> Command {
        self.command(Command::new(env!("CARGO_BIN_EXE_hil")), arguments)
    }

    fn command(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(["run", "--rig", "attic"])
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1")
            .env("HIL_WIFI_SSID", "attic")
            .env("HIL_WIFI_PASSPHRASE", "up the stairs")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    fn report(&self, file: &str) -> String {
        let path = self.path("target/hil/latest").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.report("run.json")).expect("JSON in `run.json`")
    }

    /// Whether the report is whole, and the rig free.
    #[track_caller]
    fn check_tidy(&self) {
        let events = self.report("events.ndjson");
        let last: Value =
            serde_json::from_str(events.lines().last().unwrap_or_default()).expect("JSON");
        assert_eq!(last["kind"], "run-finished", "{last}");
        assert!(self.report("junit.xml").ends_with("</testsuites>\n"));
        assert!(self.summary()["run_id"].is_string());
        self.check_free();
    }

    /// Whether nobody holds the rig's lease.
    #[track_caller]
    fn check_free(&self) {
        let lease = self.path("target/hil/rigs/attic/lease");
        if let Ok(file) = File::open(&lease) {
            assert!(file.try_lock().is_ok(), "the lease is still held");
        }
    }

    /// Runs to the end: exit code and stderr as expected, a whole report, everything free.
    #[track_caller]
    fn check(&self, arguments: &[&str], expected: Expect) {
        let (output, said) = end(self.hil_run(arguments).spawn().expect("the program runs"));
        let exit = output.status.code().expect("an exit code");
        let stderr = without_figures(&String::from_utf8_lossy(&output.stderr));
        expected.assert_eq(&format!("exit {exit}\n{stderr}"));
        self.check_tidy();
        assert!(said.contains("   report     target/hil/latest/"), "{said}");
    }
}

/// Waits for the end of the program, in bounded time; no process of its group may be left.
#[track_caller]
fn end(child: Child) -> (Output, String) {
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let on_time = ended.recv_timeout(SOON * 3).is_ok();
        if !on_time {
            signal("-KILL", &format!("-{pid}"));
        }
        on_time
    });
    let output = child.wait_with_output().expect("its end");
    let _ = done.send(());
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(guard.join().expect("a thread"), "it did not end:\n{said}");
    assert!(
        !signal("-0", &format!("-{pid}")),
        "a process was left behind:\n{said}"
    );
    (output, said)
}

/// Sends a signal to a process, or to a group when `to` begins with `-`. False if there is none.
fn signal(name: &str, to: &str) -> bool {
    let status = Command::new("kill")
        .args([name, "--", to])
        .stderr(Stdio::null())
        .status();
    status.expect("`kill` runs").success()
}

/// Reads what the program says on stderr up to a line with `wanted` in it.
#[track_caller]
fn wait_for_line(stderr: &mut BufReader<ChildStderr>, wanted: &str) {
    let mut said = String::new();
    loop {
        let before = said.len();
        stderr.read_line(&mut said).expect("a line");
        assert_ne!(said.len(), before, "it ended without `{wanted}`:\n{said}");
        if said[before..].contains(wanted) {
            return;
        }
    }
}

/// Lines with the seed, sizes and times are left out: they differ from run to run.
fn without_figures(stderr: &str) -> String {
    let steps = ["   seed ", "   firmware ", "   flash ", "   boot "];
    stderr
        .lines()
        .filter(|line| !steps.iter().any(|step| line.starts_with(step)))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The firmware with `test-hooks`, built by the program: once for all tests.
fn firmware() -> &'static [u8] {
    static FIRMWARE: OnceLock<Vec<u8>> = OnceLock::new();
    FIRMWARE.get_or_init(|| {
        // Tests of other files build it without, perhaps just after this did.
        (0..3)
            .map(|_| build_firmware())
            .find(|elf| holds(elf, b"injected panic"))
            .expect("the firmware with `test-hooks`")
    })
}

fn build_firmware() -> Vec<u8> {
    // In the workspace, where its build is kept; with a rig of its own, which is removed again.
    let workspace = workspace();
    let text = fs::read_to_string(workspace.join("rigs/virtual.toml")).expect("the rig");
    let name = format!("bad-days-{}", std::process::id());
    let directory = tempfile::tempdir().expect("a directory");
    let rig = directory.path().join(format!("{name}.toml"));
    let text = text.replace("name = \"virtual\"", &format!("name = \"{name}\""));
    fs::write(&rig, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_hil"))
        .args(["run", "device_connects_and_says_so"])
        .args(["--features", "test-hooks"])
        .arg("--rig")
        .arg(&rig)
        .arg("--output")
        .arg(directory.path().join("out"))
        .current_dir(&workspace)
        .output()
        .expect("the program runs");
    let _ = fs::remove_dir_all(workspace.join("target/hil/rigs").join(name));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let built = "target/firmware/riscv32imc-unknown-none-elf/release/firmware-app";
    fs::read(workspace.join(built)).expect("the firmware")
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Replaces each `from` by `to`, which is as long.
fn replace(elf: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..elf.len() - from.len())
        .filter(|&at| elf[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        elf[at..at + to.len()].copy_from_slice(to);
    }
}

// --- Drills: faults in the firmware, each with its verdict.

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
        "firmware_app::watchdog::feed",
        "in firmware_app::faults::strike_before_hello (",
    ] {
        assert!(said.contains(place), "no {place}: {said}");
    }
    let junit = project.report("junit.xml");
    for (id, ..) in DRILLS {
        assert!(junit.contains(id), "{id}: {junit}");
    }
    // Each fault was announced by the device before it struck.
    let events = project.report("events.ndjson");
    let announced = events
        .lines()
        .filter(|line| line.contains("\"kind\":\"fault\""))
        .count();
    assert!(announced >= DRILLS.len(), "{announced}");
}

// --- Images.

#[test]
fn an_image_for_another_processor() {
    let project = Project::new();
    fs::copy(env!("CARGO_BIN_EXE_hil"), project.path("image.elf")).expect("a copy");
    let arguments = ["--firmware", "image.elf"];
    let child = project.hil_run(&arguments).spawn();
    let (output, said) = end(child.expect("the program runs"));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`image.elf` is for "), "{said}");
    assert!(
        said.contains("the chip `esp32c3` is RISC-V with 32 bits"),
        "{said}"
    );
    project.check_tidy();
}

#[test]
fn an_image_for_another_chip() {
    // An Xtensa processor, as in the ESP32: number 94 at offset 18 of the header.
    let project = Project::with_firmware(|elf| elf[18..20].copy_from_slice(&[94, 0]));
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` is for Xtensa (ESP32, ESP32-S2 or ESP32-S3), the chip
              │ `esp32c3` is RISC-V with 32 bits
              help: build it with `--target riscv32imc-unknown-none-elf`

        "#]],
    );
}

#[test]
fn an_image_that_is_cut_off() {
    let project = Project::with_firmware(|elf| elf.truncate(elf.len() / 2));
    let said = project.run_to_the_end(&["--firmware", "image.elf"], 2);
    assert!(said.contains("`image.elf` is cut off: it has "), "{said}");
    assert!(said.contains("help: build it again"), "{said}");
}

#[test]
fn an_image_that_is_no_elf() {
    let project = Project::new();
    fs::write(project.path("image.elf"), "no ELF at all").expect("a file");
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` is not an ELF file: it begins with `no ELF a`
              help: give the ELF file that cargo links, not a `.bin` made from it

        "#]],
    );
}

#[test]
fn an_image_that_is_not_there() {
    Project::new().check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × can't read firmware image `image.elf`: No such file or directory (os error
              │ 2)
              help: build the firmware first, or check the path

        "#]],
    );
}

#[test]
fn an_image_without_a_control_block() {
    let project =
        Project::with_firmware(|elf| replace(elf, b"\0_SEGGER_RTT\0", b"\0_SEGGER_RTX\0"));
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` has no RTT control block: the bench could not hear it
              help: set up RTT in the firmware, with `rtt-target`: the symbol
                    `_SEGGER_RTT`

        "#]],
    );
}

#[test]
fn a_control_block_that_never_appears() {
    let project = Project::with_firmware(|elf| move_control_block(elf));
    let arguments = ["CON-1", "--firmware", "image.elf"];
    let said = project.run_to_the_end(&arguments, 1);
    let summary = project.summary();
    let units = summary["units"].as_array().expect("units");
    assert_eq!(units[0]["id"], "PREPARE", "{said}");
    assert_eq!(units[0]["verdict"], "fail", "{said}");
    let reason = units[0]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("the device did not boot within 10.0 s; no control block at 0x"),
        "{reason}"
    );
    assert_eq!(summary["counts"]["passed"], 0, "{said}");
    assert!(summary["counts"]["blocked"].as_u64() > Some(0), "{said}");
}

/// Has the symbol `_SEGGER_RTT` point to where nothing is. Source: System V ABI, "Symbol Table".
fn move_control_block(elf: &mut [u8]) {
    let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().expect("four")) as usize;
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().expect("two")) as usize;
    let (sections, size, count) = (word(32), half(46), half(48));
    let header = |index: usize| sections + index * size;
    const SYMBOL_TABLE: usize = 2;
    let table = (0..count)
        .map(header)
        .find(|at| word(at + 4) == SYMBOL_TABLE)
        .expect("a symbol table");
    let names = word(header(word(table + 24)) + 16);
    let (start, length) = (word(table + 16), word(table + 20));
    let symbol = (start..start + length)
        .step_by(16)
        .find(|&at| elf[names + word(at)..].starts_with(b"_SEGGER_RTT\0"))
        .expect("the symbol");
    // RTC memory, which nothing else uses there.
    elf[symbol + 4..symbol + 8].copy_from_slice(&0x5000_1f00_u32.to_le_bytes());
}

impl Project {
    /// As [`Project::check`], for what is too long or too uneven to be compared as a whole.
    #[track_caller]
    fn run_to_the_end(&self, arguments: &[&str], exit: i32) -> String {
        let (output, said) = end(self.hil_run(arguments).spawn().expect("the program runs"));
        assert_eq!(output.status.code(), Some(exit), "{said}");
        self.check_tidy();
        said
    }
}

// --- Rigs.

#[test]
fn a_rig_file_with_several_mistakes() {
    let text = fs::read_to_string(workspace().join("rigs/virtual.toml")).expect("the rig");
    let text = text
        .replace("name = \"virtual\"", "name = \"attic\"\ncolour = \"green\"")
        .replace("kind = \"virtual\"", "kind = \"virtul\"")
        .replace("port = 0 ", "port = 70000 ");
    let project = Project::with_rig(&text);
    let (output, said) = end(project.hil_run(&[]).spawn().expect("the program runs"));
    assert_eq!(output.status.code(), Some(2), "{said}");
    for says in ["colour", "virtul", "70000", "rigs/attic.toml", "help"] {
        assert!(said.contains(says), "{says}: {said}");
    }
    // Nothing was begun.
    assert!(!project.path("target").exists());
}

#[test]
fn a_probe_that_is_not_plugged_in() {
    let text = fs::read_to_string(workspace().join("rigs/bench-esp32c3.toml")).expect("the rig");
    let text = text
        .replace("name = \"bench-esp32c3\"", "name = \"attic\"")
        .replace("\"303a:1001\"", "\"303a:1001:nobody-has-this\"");
    let project = Project::with_rig(&text);
    fs::write(project.path("image.elf"), firmware()).expect("a file");
    let said = project.run_to_the_end(&["--firmware", "image.elf"], 3);
    assert!(
        said.contains("no probe `303a:1001:nobody-has-this` is plugged in"),
        "{said}"
    );
    assert!(said.contains("help: "), "{said}");
}

#[test]
fn a_rig_that_is_in_use() {
    let project = Project::with_firmware(|_| {});
    let arguments = ["CON-1", "--firmware", "image.elf"];
    let mut first = project.hil_run(&arguments).spawn().expect("it runs");
    let mut stderr = BufReader::new(first.stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, "   rig ");
    // It stands still with the rig in its hands, however fast it is.
    let pid = first.id().to_string();
    assert!(signal("-STOP", &pid));
    let second = project.hil_run(&arguments).spawn().expect("it runs");
    let (second, said) = end(second);
    assert!(signal("-CONT", &pid));
    assert!(signal("-INT", &pid));
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let (first, _) = end(first);
    assert!(matches!(first.status.code(), Some(0 | 130)), "{first:?}");

    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&format!(
            "rig `attic` is in use by process {pid} (hil run, since "
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!("help: wait for process {pid} to end, or choose")),
        "{said}"
    );
    project.check_free();
    project.run_to_the_end(&arguments, 0);
}

// --- The world around.

#[test]
fn a_disk_that_is_full_while_recording() {
    let project = Project::with_firmware(|_| {});
    // No file may grow beyond 64 KiB; with the signal ignored, writing more is an error.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_hil")]);
    let arguments = ["TEL-1", "--firmware", "image.elf"];
    let child = project.command(shell, &arguments).spawn();
    let (output, said) = end(child.expect("the program runs"));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("can't write the record `"), "{said}");
    assert!(
        said.contains("free some space or name another directory with `--output`"),
        "{said}"
    );
    // What fits is whole.
    let summary = project.summary();
    assert_eq!(summary["aborted"]["exit"], "infra", "{summary}");
    assert!(project.report("junit.xml").ends_with("</testsuites>\n"));
    project.check_free();
    // And what was recorded until then can be read.
    let replay = Command::new(env!("CARGO_BIN_EXE_hil"))
        .arg("replay")
        .current_dir(project.directory.path())
        .output()
        .expect("the program runs");
    assert_eq!(replay.status.code(), Some(3), "{replay:?}");
    let stderr = String::from_utf8_lossy(&replay.stderr);
    assert!(
        stderr.contains("the recording has no end: the run was stopped at once, or its disk"),
        "{stderr}"
    );
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    let project = Project::new();
    // With a log on the same disk the message is lost, too, but not the exit code.
    for (log, says) in [("", "can't write the record `"), ("2>log", "")] {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\" {log}");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_hil")]);
        let arguments = ["CON-1", "--firmware", "image.elf"];
        let child = project.command(shell, &arguments).spawn();
        let (output, said) = end(child.expect("the program runs"));
        assert_eq!(output.status.code(), Some(3), "{log}: {said}");
        assert!(said.contains(says), "{log}: {said}");
        project.check_free();
    }
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    let project = Project::with_firmware(|_| {});
    // A reader that never reads holds the program up in the middle of its orderly end.
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let stdout = writer.try_clone().expect("a pipe");
    let filler = std::thread::spawn(move || while writer.write_all(&[b'.'; 512]).is_ok() {});
    let mut child = project
        .hil_run(&["TEL-1", "--firmware", "image.elf"])
        .stdout(stdout)
        .spawn()
        .expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, "   boot ");
    let pid = child.id().to_string();
    assert!(signal("-INT", &pid));
    // Two that come together count as one: again and again, until it has ended.
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(since.elapsed() < SOON, "it did not end");
        signal("-INT", &pid);
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(130));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("its last words");
    assert!(
        said.contains("stopped at once; the report is not complete"),
        "{said}"
    );
    drop(reader);
    filler.join().expect("a thread");
    project.check_free();
    let arguments = ["CON-1", "--firmware", "image.elf"];
    project.run_to_the_end(&arguments, 0);
}

#[test]
fn nothing_selected() {
    let project = Project::new();
    let (output, said) = end(project.hil_run(&["NOPE-1"]).spawn().expect("it runs"));
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("no scenario fits `NOPE-1`"), "{said}");
    assert!(!project.path("target").exists());
}
