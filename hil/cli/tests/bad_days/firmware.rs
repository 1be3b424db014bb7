//! The firmware under test, and how it is spoilt.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use crate::project::workspace;

/// The firmware with `test-hooks`, built by the program: once for all tests.
pub(crate) fn firmware() -> &'static [u8] {
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
pub(crate) fn replace(elf: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..elf.len() - from.len())
        .filter(|&at| elf[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        elf[at..at + to.len()].copy_from_slice(to);
    }
}
