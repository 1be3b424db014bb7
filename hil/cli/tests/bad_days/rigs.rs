//! Rig files with mistakes, probes that are missing or too many, rigs in use.

use std::fs;
use std::io::BufReader;
#[cfg(target_os = "linux")]
use std::process::{Command, Output};

#[cfg(target_os = "linux")]
use expect_test::expect;

use crate::firmware::firmware;
#[cfg(target_os = "linux")]
use crate::project::without_figures;
use crate::project::{Project, end, signal, wait_for_line, workspace};

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

/// A project whose rig `attic` is a board behind the probe `selector`, with `image.elf`.
fn board(selector: &str) -> Project {
    let text = fs::read_to_string(workspace().join("rigs/bench-esp32c3.toml")).expect("the rig");
    let text = text
        .replace("name = \"bench-esp32c3\"", "name = \"attic\"")
        .replace("\"303a:1001\"", &format!("\"{selector}\""));
    let project = Project::with_rig(&text);
    fs::write(project.path("image.elf"), firmware()).expect("a file");
    project
}

#[test]
fn a_probe_that_is_not_plugged_in() {
    let project = board("303a:1001:nobody-has-this");
    let said = project.run_to_the_end(&["--firmware", "image.elf"], 3);
    assert!(
        said.contains("no probe `303a:1001:nobody-has-this` is plugged in"),
        "{said}"
    );
    assert!(said.contains("help: "), "{said}");
}

/// USB devices for [`board`]s: what Linux shows of them, in a file tree. Source: the kernel's
/// `Documentation/ABI/stable/sysfs-bus-usb`.
#[cfg(target_os = "linux")]
fn plug_in(project: &Project, serial_numbers: &[&str]) {
    for (index, serial) in serial_numbers.iter().enumerate() {
        let device = project.path("usb/devices").join(format!("1-{}", index + 1));
        fs::create_dir_all(&device).expect("a directory");
        let number = (index + 1).to_string();
        for (attribute, value) in [
            ("busnum", "1"),
            ("devnum", number.as_str()),
            ("devpath", number.as_str()),
            ("idVendor", "303a"),
            ("idProduct", "1001"),
            ("bcdDevice", "0101"),
            ("version", " 2.00"),
            ("bDeviceClass", "ef"),
            ("bDeviceSubClass", "02"),
            ("bDeviceProtocol", "01"),
            ("speed", "12"),
            ("product", "USB JTAG/serial debug unit"),
            ("serial", serial),
        ] {
            fs::write(device.join(attribute), format!("{value}\n")).expect("a file");
        }
    }
}

/// `hil run` where `/sys/bus/usb` is the project's `usb`: in a mount namespace of its own. None
/// where the system lets nobody have one, as some containers do.
#[cfg(target_os = "linux")]
fn run_among_usb_devices(project: &Project) -> Option<(Output, String)> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script]);
        command
    };
    let mount = "mount -t tmpfs none /sys/bus";
    let tried = unshare(mount).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        eprintln!("not tried, for want of a mount namespace: {tried:?}");
        return None;
    }
    let mut command = unshare(&format!("{mount}; cp -r \"$0\" /sys/bus/usb; exec \"$@\""));
    command
        .arg(project.path("usb"))
        .arg(env!("CARGO_BIN_EXE_hil"));
    let arguments = ["--firmware", "image.elf"];
    let child = project.command(command, &arguments).spawn();
    Some(end(child.expect("it runs")))
}

#[cfg(target_os = "linux")]
#[test]
fn two_probes_that_match() {
    let project = board("303a:1001");
    plug_in(&project, &["60:55:F9:00:00:01", "60:55:F9:00:00:02"]);
    let Some((output, _)) = run_among_usb_devices(&project) else {
        return;
    };
    // The rig's author must say which.
    let exit = output.status.code().expect("an exit code");
    let stderr = without_figures(&String::from_utf8_lossy(&output.stderr));
    expect![[r#"
        exit 2
          × 2 probes fit `303a:1001`: `303a:1001:60:55:F9:00:00:01`,
          │ `303a:1001:60:55:F9:00:00:02`
          help: write the serial number in the rig file: `selector =
                "303a:1001:60:55:F9:00:00:01"`

    "#]]
    .assert_eq(&format!("exit {exit}\n{stderr}"));
    project.check_tidy();
    let summary = project.summary();
    assert_eq!(summary["aborted"]["exit"], "usage", "{summary}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_probe_that_nobody_gave_access_to() {
    let project = board("303a:1001");
    // Its node below `/dev/bus/usb` is missing, which is no access either.
    plug_in(&project, &["60:55:F9:00:00:01"]);
    let Some((output, said)) = run_among_usb_devices(&project) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("`303a:1001:60:55:F9:00:00:01"), "{said}");
    assert!(said.contains("udev"), "{said}");
    project.check_tidy();
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
