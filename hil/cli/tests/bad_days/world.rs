//! The world around: ports that are taken, full disks, people who have seen enough.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use crate::project::{Project, SOON, end, signal, wait_for_line};

#[test]
fn a_brokers_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let project = Project::with_firmware(|_| {});
    let rig = project.path("rigs/attic.toml");
    let text = fs::read_to_string(&rig).expect("the rig");
    fs::write(&rig, text.replace("port = 0 ", &format!("port = {port} "))).expect("a file");
    let said = project.run_to_the_end(&["CON-1", "--firmware", "image.elf"], 2);
    assert!(
        said.contains(&format!("port {port} of 127.0.0.1 is taken")),
        "{said}"
    );
    let summary = project.summary();
    assert_eq!(summary["aborted"]["exit"], "usage", "{summary}");
    // Once the port is free, nothing is in the way.
    drop(taken);
    project.run_to_the_end(&["CON-1", "--firmware", "image.elf"], 0);
}

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
