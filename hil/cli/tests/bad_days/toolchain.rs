//! A computer whose compiler has no libraries for the device: they are added, and that is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::project::Project;

const TARGET: &str = "riscv32imc-unknown-none-elf";

/// A program in the project's `bin` that does what `script` says.
fn program(project: &Project, name: &str, script: &str) {
    let path = project.path("bin").join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn a_missing_target_is_added_and_said() {
    let project = Project::new();
    let package = project.path("firmware/app");
    fs::create_dir_all(&package).expect("a directory");
    fs::write(package.join("Cargo.toml"), "").expect("a file");
    let bin = project.path("bin").display().to_string();
    // The libraries are where the compiler says, once rustup was there.
    program(&project, "rustc", &format!("echo {bin}/lib"));
    program(
        &project,
        "rustup",
        &format!("echo \"$@\" >> {bin}/asked; mkdir {bin}/lib"),
    );
    program(&project, "cargo", "echo built; exit 1");
    let path = format!("{bin}:/usr/bin:/bin");
    for times in 1..=2 {
        let output = project
            .hil_run(&["CON-1"])
            .env("PATH", &path)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let line = format!("target {TARGET} is missing: adding it with rustup");
        assert_eq!(said.contains(&line), times == 1, "{said}");
        // It goes on to the build, which here comes to nothing.
        assert!(said.contains("the firmware does not compile"), "{said}");
    }
    let asked = fs::read_to_string(project.path("bin/asked")).expect("rustup was asked");
    assert_eq!(asked, format!("target add {TARGET}\n"));
}
