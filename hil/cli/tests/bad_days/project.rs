//! A project of a test's own, the program run in it, and what must be true afterwards.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use expect_test::Expect;
use serde_json::Value;

use crate::firmware::firmware;

/// For whatever must happen soon; generous, as the computer may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace")
}

/// A project in a directory of its own, with the rig `attic`.
pub(crate) struct Project {
    pub(crate) directory: tempfile::TempDir,
}

impl Project {
    /// With a virtual rig that keeps nothing between runs.
    pub(crate) fn new() -> Project {
        let text = fs::read_to_string(workspace().join("rigs/virtual.toml")).expect("the rig");
        let text = text
            .replace("name = \"virtual\"", "name = \"attic\"")
            .replace("keep-flash = true", "keep-flash = false");
        Project::with_rig(&text)
    }

    pub(crate) fn with_rig(text: &str) -> Project {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("rigs")).expect("a directory");
        fs::write(directory.path().join("rigs/attic.toml"), text).expect("a file");
        Project { directory }
    }

    /// As [`Project::new`], with `image.elf`: the firmware with `test-hooks`, after `change`.
    pub(crate) fn with_firmware(change: impl FnOnce(&mut Vec<u8>)) -> Project {
        let project = Project::new();
        let mut elf = firmware().to_vec();
        change(&mut elf);
        fs::write(project.path("image.elf"), elf).expect("a file");
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `hil run` in the project, in a process group of its own.
    pub(crate) fn hil_run(&self, arguments: &[&str]) -> Command {
        self.command(Command::new(env!("CARGO_BIN_EXE_hil")), arguments)
    }

    pub(crate) fn command(&self, mut command: Command, arguments: &[&str]) -> Command {
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

    pub(crate) fn report(&self, file: &str) -> String {
        let path = self.path("target/hil/latest").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.report("run.json")).expect("JSON in `run.json`")
    }

    /// Whether the report is whole, and the rig free.
    #[track_caller]
    pub(crate) fn check_tidy(&self) {
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
    pub(crate) fn check_free(&self) {
        let lease = self.path("target/hil/rigs/attic/lease");
        if let Ok(file) = File::open(&lease) {
            assert!(file.try_lock().is_ok(), "the lease is still held");
        }
    }

    /// Runs to the end: exit code and stderr as expected, a whole report, everything free.
    #[track_caller]
    pub(crate) fn check(&self, arguments: &[&str], expected: Expect) {
        let (output, said) = end(self.hil_run(arguments).spawn().expect("the program runs"));
        let exit = output.status.code().expect("an exit code");
        let stderr = without_figures(&String::from_utf8_lossy(&output.stderr));
        expected.assert_eq(&format!("exit {exit}\n{stderr}"));
        self.check_tidy();
        assert!(said.contains("   report     target/hil/latest/"), "{said}");
    }

    /// As [`Project::check`], for what is too long or too uneven to be compared as a whole.
    #[track_caller]
    pub(crate) fn run_to_the_end(&self, arguments: &[&str], exit: i32) -> String {
        let (output, said) = end(self.hil_run(arguments).spawn().expect("the program runs"));
        assert_eq!(output.status.code(), Some(exit), "{said}");
        self.check_tidy();
        said
    }
}

/// Waits for the end of the program, in bounded time; no process of its group may be left.
#[track_caller]
pub(crate) fn end(child: Child) -> (Output, String) {
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
pub(crate) fn signal(name: &str, to: &str) -> bool {
    let status = Command::new("kill")
        .args([name, "--", to])
        .stderr(Stdio::null())
        .status();
    status.expect("`kill` runs").success()
}

/// Reads what the program says on stderr up to a line with `wanted` in it.
#[track_caller]
pub(crate) fn wait_for_line(stderr: &mut BufReader<ChildStderr>, wanted: &str) {
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
pub(crate) fn without_figures(stderr: &str) -> String {
    let steps = ["   seed ", "   firmware ", "   flash ", "   boot "];
    stderr
        .lines()
        .filter(|line| !steps.iter().any(|step| line.starts_with(step)))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}
