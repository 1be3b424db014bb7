//! The program as it is typed: help, lists, and every way to be told off.

#[path = "support/project.rs"]
mod project;

use std::path::Path;
use std::process::{Command, Output};

use expect_test::{Expect, expect, expect_file};
use project::project;

fn hil(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hil"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("HIL_RIG")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn help(arguments: &[&str]) -> String {
    let output = hil(&project(), arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn help_of_every_command() {
    expect_file!["golden/help.txt"].assert_eq(&help(&["--help"]));
    expect_file!["golden/help-run.txt"].assert_eq(&help(&["run", "--help"]));
    expect_file!["golden/help-list.txt"].assert_eq(&help(&["list", "--help"]));
    expect_file!["golden/help-plan.txt"].assert_eq(&help(&["plan", "--help"]));
    expect_file!["golden/help-rigs.txt"].assert_eq(&help(&["rigs", "--help"]));
    expect_file!["golden/help-rigs-serve.txt"].assert_eq(&help(&["rigs", "serve", "--help"]));
    expect_file!["golden/help-runner.txt"].assert_eq(&help(&["runner", "--help"]));
    expect_file!["golden/help-replay.txt"].assert_eq(&help(&["replay", "--help"]));
    expect_file!["golden/help-verify.txt"].assert_eq(&help(&["verify", "--help"]));
}

/// Exit code and stderr.
fn check(arguments: &[&str], exit: i32, expected: Expect) {
    let output = hil(&project(), arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    // A first line at the margin keeps the indentation of the others.
    expected.assert_eq(&format!("$ hil {}\n{stderr}", arguments.join(" ")));
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
}

#[test]
fn nothing_selected() {
    check(
        &["run", "NOPE-1"],
        4,
        expect![[r#"
            $ hil run NOPE-1
              × no scenario fits `NOPE-1`
              help: see `hil list` for IDs, names, categories and tags; without a
                    selection, `smoke` runs

        "#]],
    );
    check(
        &["plan", "--tag", "smok"],
        4,
        expect![[r#"
            $ hil plan --tag smok
              × no scenario fits `smok`
              help: see `hil list` for IDs, names, categories and tags; without a
                    selection, `smoke` runs

        "#]],
    );
}

#[test]
fn an_unknown_rig() {
    check(
        &["run", "--rig", "virtul"],
        2,
        expect![[r#"
            $ hil run --rig virtul
              × unknown rig `virtul`
              help: write `virtual`; known rigs: `bench-esp32c3`, `virtual`

        "#]],
    );
}

#[test]
fn an_unknown_mutant() {
    check(
        &["verify", "toggle-always-closes", "point-59-refusd"],
        2,
        expect![[r#"
            $ hil verify toggle-always-closes point-59-refusd
              × unknown mutant `point-59-refusd`
              help: write `point-59-refused`; `hil verify --list` shows all of them

        "#]],
    );
}

#[test]
fn mutants_are_listed_with_who_must_catch_them() {
    let listed = help(&["verify", "--list", "point-59-refused", "never-sent-again"]);
    expect![[r#"
        point-59-refused  CMD-1  control  `point_id` 59 is answered as out of range.
        never-sent-again  CON-4  mqtt     What was sent in one connection and not acknowledged is not sent again in the next.
    "#]]
    .assert_eq(&listed);
    assert!(help(&["verify", "--list"]).lines().count() > 40);
}

#[test]
fn a_broker_that_is_none() {
    check(
        &["run", "--broker", "mqtt://here"],
        2,
        expect![[r#"
            $ hil run --broker mqtt://here
              × `mqtt://here` is no broker: the port is no number from 1 to 65535; write
              │ `host:port`, such as `127.0.0.1:1883`

        "#]],
    );
}

#[test]
fn an_unknown_category() {
    check(
        &["run", "--category", "smoke"],
        2,
        expect![[r#"
            $ hil run --category smoke
            error: invalid value 'smoke' for '--category <CATEGORY>': unknown category `smoke`; known categories: `connectivity`, `commands`, `telemetry`, `load`, `security`, `integration`, `performance`, `stability`

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn a_run_that_is_not_there() {
    let output = hil(&project(), &["replay", "20010101-000000"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("there is no run `20010101-000000`"),
        "{stderr}"
    );
}

#[test]
fn outside_of_a_project() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = hil(directory.path(), &["plan"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("is in no project"), "{stderr}");
}

#[test]
fn the_rigs_of_the_project_have_no_mistakes() {
    let output = hil(&project(), &["rigs", "check", "virtual", "bench-esp32c3"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_rig_file_with_mistakes_shows_all_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let rigs = directory.path().join("rigs");
    std::fs::create_dir(&rigs).expect("a directory");
    let virtual_rig =
        std::fs::read_to_string(project().join("rigs/virtual.toml")).expect("the rig");
    let broken = virtual_rig
        .replace("kind = \"virtual\"", "kind = \"virtul\"")
        .replace("flash-mib", "flash-mb");
    std::fs::write(rigs.join("virtual.toml"), broken).expect("a file");
    let output = hil(directory.path(), &["rigs", "check", "virtual"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for says in ["virtul", "rigs/virtual.toml", "help"] {
        assert!(stderr.contains(says), "{says}: {stderr}");
    }
}

#[test]
fn the_plan_is_the_same_for_one_seed_and_touches_nothing() {
    let plan = |seed: &str| help(&["plan", "--all", "--shuffle", "--seed", seed]);
    assert_eq!(plan("7"), plan("7"));
    assert!(plan("7").contains("CON-1"));
    assert!(
        (8..28).any(|seed: u32| plan(&seed.to_string()) != plan("7")),
        "no seed changes the order"
    );
}

#[test]
fn the_list_is_for_people_and_for_programs() {
    assert!(help(&["list"]).contains("CON-1"));
    let json = help(&["list", "CON-1", "--format", "json"]);
    let entries: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        entries
            .as_array()
            .is_some_and(|entries| entries.iter().all(|entry| entry["id"] == "CON-1")),
        "{json}"
    );
}

#[test]
fn an_image_that_is_none_ends_with_a_report() {
    let directory = tempfile::tempdir().expect("a directory");
    let elf = directory.path().join("image.elf");
    std::fs::write(&elf, "no ELF at all").expect("a file");
    let output_directory = directory.path().join("out");
    let (elf, out) = (
        elf.display().to_string(),
        output_directory.display().to_string(),
    );
    let output = hil(&project(), &["run", "--firmware", &elf, "--output", &out]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("is not an ELF file"), "{stderr}");
    for file in ["run.json", "events.ndjson", "junit.xml"] {
        assert!(
            output_directory.join("latest").join(file).is_file(),
            "no {file}"
        );
    }
    let events = output_directory
        .join("latest/events.ndjson")
        .display()
        .to_string();
    let replayed = hil(&project(), &["replay", &events]);
    assert_eq!(replayed.status.code(), Some(2), "{replayed:?}");
    assert_eq!(replayed.stdout, output.stdout);
}

#[test]
fn an_output_directory_that_can_not_be_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let output = hil(
        &project(),
        &["run", "--output", &file.display().to_string()],
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("`--output`"), "{stderr}");
}
