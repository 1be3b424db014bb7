//! Ctrl-C in the middle of a run: the run ends in order, with a report, and nothing stays behind.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A project whose firmware is being built until `building` is removed.
fn project(directory: &Path) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let write = |path: &str, text: &str| {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    for path in ["rigs/virtual.toml", "rust-toolchain.toml"] {
        write(
            path,
            &std::fs::read_to_string(ours.join(path)).expect("a file of the project"),
        );
    }
    write(
        "firmware/app/Cargo.toml",
        "[package]\nname = \"slow\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    write(
        "firmware/app/.cargo/config.toml",
        "[build]\ntarget = \"riscv32imc-unknown-none-elf\"\n",
    );
    write("firmware/app/src/main.rs", "#![no_std]\n#![no_main]\n");
    let building = directory.join("building");
    write(
        "firmware/app/build.rs",
        &format!(
            "fn main() {{\n    std::fs::write({building:?}, \"\").unwrap();\n    \
             while std::path::Path::new({building:?}).exists() {{\n        \
             std::thread::sleep(std::time::Duration::from_millis(20));\n    }}\n}}\n"
        ),
    );
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::yield_now();
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("`kill` runs");
    assert!(status.success());
}

fn check(name: &str, reason: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    project(directory.path());
    let building = directory.path().join("building");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hil"))
        .args(["run", "--rig", "virtual"])
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    wait_until("the build", || {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "the program ended by itself"
        );
        building.exists()
    });
    signal(&child, name);
    wait_until("the end", || child.try_wait().expect("a child").is_some());
    std::fs::remove_file(&building).expect("the build script ends");
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
    let report = directory.path().join("target/hil/latest");
    let summary = std::fs::read_to_string(report.join("run.json")).expect("a summary");
    assert!(
        summary.contains(&format!("\"interrupted\": \"{reason}\"")),
        "{summary}"
    );
    let events = std::fs::read_to_string(report.join("events.ndjson")).expect("a recording");
    assert!(
        events
            .lines()
            .last()
            .is_some_and(|line| line.contains("run-finished")),
        "{events}"
    );
    assert!(report.join("junit.xml").is_file());
}

#[test]
fn ctrl_c_ends_in_order() {
    check("-INT", "Ctrl-C");
}

#[test]
fn a_request_to_terminate_ends_in_order() {
    check("-TERM", "SIGTERM");
}
