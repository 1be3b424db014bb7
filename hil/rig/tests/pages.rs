//! The pages that authors of rig files read, as they read them.

use std::path::Path;

use expect_test::{Expect, expect};
use hil_rig::{Rig, RigError};
use miette::{GraphicalReportHandler, GraphicalTheme};

/// A rig file without a mistake, for tests to break.
const GOOD: &str = r#"schema = 1
name = "attic"

[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "tempcontroller01"

[probe]
kind = "virtual"

[network]
driver = "ethernet"

[broker]
kind = "embedded"
"#;

fn page(error: &RigError) -> String {
    let mut page = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut page, error)
        .expect("a page can be written");
    // A first line at the margin keeps the indentation of the others in the expectations.
    let lines = page.lines().map(|line| format!("{}\n", line.trim_end()));
    std::iter::once("error\n".to_owned()).chain(lines).collect()
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    let error = Rig::parse(Path::new("rigs/attic.toml"), text).expect_err("a mistake");
    expected.assert_eq(&page(&error));
}

/// As [`check`], with `GOOD` changed in one place.
#[track_caller]
fn check_changed(from: &str, to: &str, expected: Expect) {
    assert!(GOOD.contains(from), "`{from}` is not in the good file");
    check(&GOOD.replacen(from, to, 1), expected);
}

#[test]
fn the_good_file_is_good() {
    Rig::parse(Path::new("rigs/attic.toml"), GOOD).expect("no mistake");
}

#[test]
fn several_mistakes_are_shown_at_once() {
    check(
        r#"schema = 1
name = "Attic"
color = "blue"

[device]
chip = "esp32c33"
firmware = "../elsewhere"
device-id = "temp controller"
topic-levels = ["plant", true]

[probe]
kind = "virtual"
mac = "03:00:00:00:c3:01"
speed-khz = 4000
pace = "fast"

[network]
driver = "wifi"
ssid-env = "my network"

[broker]
kind = "external"
port = 70000

[limits]
publish-p95-ms = 900
fragmentation-percent = 200
"#,
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has 15 mistakes

            Error:
              × `Attic` can't be the name of a rig
               ╭─[rigs/attic.toml:2:8]
             1 │ schema = 1
             2 │ name = "Attic"
               ·        ───┬───
               ·           ╰── lower case letters, digits and `-` only
             3 │ color = "blue"
               ╰────
              help: write `attic`, as the file is called

            Error:
              × unknown key `color` in the rig file
               ╭─[rigs/attic.toml:3:1]
             2 │ name = "Attic"
             3 │ color = "blue"
               · ──┬──
               ·   ╰── known: `schema`, `name`, `description`, `device`, `probe`, `network`, `broker`, `fixture`, `limits`, `budget`
             4 │
               ╰────
              help: remove it, or write one of the known ones

            Error:
              × unknown chip `esp32c33` in `[device]`
               ╭─[rigs/attic.toml:6:8]
             5 │ [device]
             6 │ chip = "esp32c33"
               ·        ─────┬────
               ·             ╰── known: `esp32c3`
             7 │ firmware = "../elsewhere"
               ╰────
              help: write `esp32c3`

            Error:
              × `../elsewhere` is not a directory of the project
               ╭─[rigs/attic.toml:7:12]
             6 │ chip = "esp32c33"
             7 │ firmware = "../elsewhere"
               ·            ───────┬──────
               ·                   ╰── relative to the project's root, without `..`
             8 │ device-id = "temp controller"
               ╰────
              help: write the firmware package's directory, such as `firmware/app`

            Error:
              × `temp controller` can't be a device-id
               ╭─[rigs/attic.toml:8:13]
             7 │ firmware = "../elsewhere"
             8 │ device-id = "temp controller"
               ·             ────────┬────────
               ·                     ╰── it holds white space or a control character
             9 │ topic-levels = ["plant", true]
               ╰────
              help: write 1 to 32 letters, digits, `-` or `_`

            Error:
              × `topic-levels` has 2 levels
                ╭─[rigs/attic.toml:9:16]
              8 │ device-id = "temp controller"
              9 │ topic-levels = ["plant", true]
                ·                ───────┬───────
                ·                       ╰── three are needed
             10 │
                ╰────
              help: write three levels; a level that is left out is `false`

            Error:
              × `03:00:00:00:c3:01` is not the MAC address of a device
                ╭─[rigs/attic.toml:13:7]
             12 │ kind = "virtual"
             13 │ mac = "03:00:00:00:c3:01"
                ·       ─────────┬─────────
                ·                ╰── six octets in hexadecimal, the first one even
             14 │ speed-khz = 4000
                ╰────
              help: write it as `02:00:00:00:c3:01`

            Error:
              × unknown key `speed-khz` in `[probe]`
                ╭─[rigs/attic.toml:14:1]
             13 │ mac = "03:00:00:00:c3:01"
             14 │ speed-khz = 4000
                · ────┬────
                ·     ╰── known: `kind`, `mac`, `revision`, `flash-mib`, `keep-flash`, `pace`, `settle-ms`
             15 │ pace = "fast"
                ╰────
              help: remove it: it belongs to `kind = "usb"`

            Error:
              × `pace` is a string
                ╭─[rigs/attic.toml:15:8]
             14 │ speed-khz = 4000
             15 │ pace = "fast"
                ·        ───┬──
                ·           ╰── a number is needed
             16 │
                ╰────

            Error:
              × `[network]` has no `passphrase-env`
                ╭─[rigs/attic.toml:17:1]
             16 │
             17 │ [network]
                · ────┬────
                ·     ╰── needed here
             18 │ driver = "wifi"
                ╰────
              help: write `passphrase-env = "HIL_WIFI_PASSPHRASE"`

            Error:
              × `ssid-env` is not the name of an environment variable
                ╭─[rigs/attic.toml:19:12]
             18 │ driver = "wifi"
             19 │ ssid-env = ************
                ·            ──────┬─────
                ·                  ╰── upper case letters, digits and `_` only
             20 │
                ╰────
              help: write a name such as `HIL_WIFI_SSID`, and keep the secret itself out of the file

            Error:
              × `[broker]` has no `host`
                ╭─[rigs/attic.toml:21:1]
             20 │
             21 │ [broker]
                · ────┬───
                ·     ╰── needed here
             22 │ kind = "external"
                ╰────
              help: write `host = "broker.example"`

            Error:
              × `port` is out of range: `70000`
                ╭─[rigs/attic.toml:23:8]
             22 │ kind = "external"
             23 │ port = 70000
                ·        ──┬──
                ·          ╰── 1 to 65535
             24 │
                ╰────

            Error:
              × `publish-p95-ms` is over `publish-p99-ms`: 900 over 500
                ╭─[rigs/attic.toml:26:18]
             25 │ [limits]
             26 │ publish-p95-ms = 900
                ·                  ─┬─
                ·                   ╰── 95 of 100 can't take longer than 99 of 100
             27 │ fragmentation-percent = 200
                ╰────
              help: write both keys, `publish-p95-ms` being the lower one

            Error:
              × `fragmentation-percent` is out of range: `200`
                ╭─[rigs/attic.toml:27:25]
             26 │ publish-p95-ms = 900
             27 │ fragmentation-percent = 200
                ·                         ─┬─
                ·                          ╰── 0 to 100
                ╰────
        "#]],
    );
}

#[test]
fn an_unknown_key_comes_with_a_suggestion() {
    check_changed(
        "device-id",
        "device_id",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × unknown key `device_id` in `[device]`
               ╭─[rigs/attic.toml:7:1]
             6 │ firmware = "firmware/app"
             7 │ device_id = "tempcontroller01"
               · ────┬────
               ·     ╰── known: `chip`, `firmware`, `device-id`, `topic-levels`, `telemetry-interval-s`, `retain-telemetry`
             8 │
               ╰────
              help: write `device-id`
        "#]],
    );
}

#[test]
fn an_unknown_table_comes_with_the_known_ones() {
    check_changed(
        "[broker]",
        "[brokers]",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × unknown table `brokers` in the rig file
                ╭─[rigs/attic.toml:15:2]
             14 │
             15 │ [brokers]
                ·  ───┬───
                ·     ╰── known: `schema`, `name`, `description`, `device`, `probe`, `network`, `broker`, `fixture`, `limits`, `budget`
             16 │ kind = "embedded"
                ╰────
              help: write `broker`
        "#]],
    );
}

#[test]
fn a_wrong_type_is_named() {
    check_changed(
        "\"ethernet\"",
        "1",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × `driver` is an integer
                ╭─[rigs/attic.toml:13:10]
             12 │ [network]
             13 │ driver = 1
                ·          ┬
                ·          ╰── a string is needed
             14 │
                ╰────
        "#]],
    );
}

#[test]
fn a_misspelt_kind_does_not_hide_the_rest() {
    check_changed(
        "kind = \"virtual\"",
        "kid = \"virtual\"\nmac = 1",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × unknown key `kid` in `[probe]`
                ╭─[rigs/attic.toml:10:1]
              9 │ [probe]
             10 │ kid = "virtual"
                · ─┬─
                ·  ╰── `kind` is needed
             11 │ mac = 1
                ╰────
              help: write `kind`
        "#]],
    );
    check_changed(
        "kind = \"virtual\"",
        "kind = \"virtaul\"",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × unknown kind `virtaul` in `[probe]`
                ╭─[rigs/attic.toml:10:8]
              9 │ [probe]
             10 │ kind = "virtaul"
                ·        ────┬────
                ·            ╰── known: `virtual`, `usb`
             11 │
                ╰────
              help: write `virtual`
        "#]],
    );
    check_changed(
        "kind = \"virtual\"",
        "",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × `[probe]` has no `kind`
                ╭─[rigs/attic.toml:9:1]
              8 │
              9 │ [probe]
                · ───┬───
                ·    ╰── needed here
             10 │
                ╰────
              help: write `kind = "virtual"`
        "#]],
    );
}

#[test]
fn a_table_must_be_a_table() {
    check(
        "schema = 1\nname = \"attic\"\nprobe = \"virtual\"\n",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has 4 mistakes

            Error:
              × `probe` is a string
               ╭─[rigs/attic.toml:3:9]
             2 │ name = "attic"
             3 │ probe = "virtual"
               ·         ────┬────
               ·             ╰── a table is needed
               ╰────
              help: begin a table with `[probe]`

            Error:
              × the rig file has no table `[device]`
               ╭─[rigs/attic.toml:4:1]
             3 │ probe = "virtual"
               ╰────
              help: add `[device]`: the device under test

            Error:
              × the rig file has no table `[network]`
               ╭─[rigs/attic.toml:4:1]
             3 │ probe = "virtual"
               ╰────
              help: add `[network]`: how the device reaches the network

            Error:
              × the rig file has no table `[broker]`
               ╭─[rigs/attic.toml:4:1]
             3 │ probe = "virtual"
               ╰────
              help: add `[broker]`: the MQTT broker of the rig
        "#]],
    );
}

#[test]
fn a_number_out_of_range_is_told_its_range() {
    check_changed(
        "kind = \"embedded\"",
        "kind = \"embedded\"\nport = 65536",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × `port` is out of range: `65536`
                ╭─[rigs/attic.toml:17:8]
             16 │ kind = "embedded"
             17 │ port = 65536
                ·        ──┬──
                ·          ╰── 0 to 65535
                ╰────
        "#]],
    );
}

#[test]
fn a_missing_table_is_told() {
    check_changed(
        "[network]\ndriver = \"ethernet\"\n",
        "",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × the rig file has no table `[network]`
                ╭─[rigs/attic.toml:15:1]
             14 │ kind = "embedded"
                ╰────
              help: add `[network]`: how the device reaches the network
        "#]],
    );
}

#[test]
fn a_missing_key_is_told() {
    check_changed(
        "chip = \"esp32c3\"\n",
        "",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × `[device]` has no `chip`
               ╭─[rigs/attic.toml:4:1]
             3 │
             4 │ [device]
               · ────┬───
               ·     ╰── needed here
             5 │ firmware = "firmware/app"
               ╰────
              help: write `chip = "esp32c3"`
        "#]],
    );
}

#[test]
fn another_schema_is_not_read_on() {
    check_changed(
        "schema = 1\nname = \"attic\"",
        "schema = 2\nnom = 3",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × rig files of schema `2` can't be read
               ╭─[rigs/attic.toml:1:10]
             1 │ schema = 2
               ·          ┬
               ·          ╰── known: `1`
             2 │ nom = 3
               ╰────
              help: use the `hil` that this file was written for, it is newer
        "#]],
    );
}

#[test]
fn a_missing_schema_is_told() {
    check_changed(
        "schema = 1\n",
        "",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × the rig file has no `schema`
               ╭─[rigs/attic.toml:1:1]
             1 │ name = "attic"
               · ▲
               · ╰── it begins here
             2 │
               ╰────
              help: begin it with `schema = 1`
        "#]],
    );
}

#[test]
fn what_is_not_toml_is_told_where() {
    check_changed(
        "[device]",
        "[device\nhello world",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has 2 mistakes

            Error:
              × unclosed table, expected `]`
               ╭─[rigs/attic.toml:4:8]
             3 │
             4 │ [device
               ·        ▲
               ·        ╰── this is no TOML
             5 │ hello world
               ╰────
              help: see https://toml.io for how tables, keys and strings are written

            Error:
              × key with no value, expected `=`
               ╭─[rigs/attic.toml:5:7]
             4 │ [device
             5 │ hello world
               ·       ▲
               ·       ╰── this is no TOML
             6 │ chip = "esp32c3"
               ╰────
              help: see https://toml.io for how tables, keys and strings are written
        "#]],
    );
}

#[test]
fn the_name_is_the_files() {
    check_changed(
        "\"attic\"",
        "\"cellar\"",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × the rig is called `cellar`, its file `attic.toml`
               ╭─[rigs/attic.toml:2:8]
             1 │ schema = 1
             2 │ name = "cellar"
               ·        ────┬───
               ·            ╰── rigs are found by the name of their file
             3 │
               ╰────
              help: write `attic`, or rename the file
        "#]],
    );
}

#[test]
fn a_board_on_usb_needs_wifi_and_an_address_for_the_broker() {
    check_changed(
        "kind = \"virtual\"",
        "kind = \"usb\"\nselector = \"devkit\"",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has a mistake

            Error:
              × `devkit` selects no probe
                ╭─[rigs/attic.toml:11:12]
             10 │ kind = "usb"
             11 │ selector = "devkit"
                ·            ────┬───
                ·                ╰── `VID:PID` or `VID:PID:SERIAL`, the numbers in hexadecimal
             12 │
                ╰────
              help: write `303a:1001` for the chip's own USB-Serial-JTAG
        "#]],
    );
    check_changed(
        "kind = \"virtual\"",
        "kind = \"usb\"\nselector = \"303a:1001\"",
        expect![[r#"
            error
              × rig file `rigs/attic.toml` has 2 mistakes

            Error:
              × a real chip has no Ethernet MAC
                ╭─[rigs/attic.toml:13:1]
             12 │
             13 │ [network]
                · ────┬────
                ·     ╰── this network needs it
             14 │ driver = "ethernet"
                ╰────
              help: write `driver = "wifi"`

            Error:
              × `[broker]` has no `device-host`
                ╭─[rigs/attic.toml:16:1]
             15 │
             16 │ [broker]
                · ────┬───
                ·     ╰── needed here
             17 │ kind = "embedded"
                ╰────
              help: write `device-host = "192.168.1.20"`
        "#]],
    );
}

#[test]
fn a_secret_in_place_of_a_name_is_not_repeated() {
    let text = GOOD.replace(
        "driver = \"ethernet\"",
        "driver = \"wifi\"\nssid-env = \"SSID\"\npassphrase-env = \"hunter22\"",
    );
    let error = Rig::parse(Path::new("rigs/attic.toml"), &text).expect_err("a mistake");
    let shown = page(&error);
    assert!(!shown.contains("hunter22"), "{shown}");
    assert!(!format!("{error:?}").contains("hunter22"), "{error:?}");
    assert!(shown.contains("passphrase-env = **********"), "{shown}");
    assert!(
        shown.contains("keep the secret itself out of the file"),
        "{shown}"
    );
}

#[test]
fn an_unreadable_file_is_told() {
    let error = Rig::load(Path::new("rigs/nowhere.toml")).expect_err("no such file");
    expect![[r#"
        error
          × can't read rig file `rigs/nowhere.toml`
          ╰─▶ No such file or directory (os error 2)
          help: check that it is there and may be read
    "#]]
    .assert_eq(&page(&error));
}

#[test]
fn an_unknown_rig_is_told_the_known_ones() {
    let project = tempfile::tempdir().expect("a directory");
    let rigs = project.path().join("rigs");
    std::fs::create_dir(&rigs).expect("a directory");
    for name in ["attic", "cellar"] {
        std::fs::write(rigs.join(format!("{name}.toml")), GOOD).expect("a file");
    }
    let error = |name| page(&Rig::find(name, project.path()).expect_err("unknown"));
    expect![[r#"
        error
          × unknown rig `atic`
          help: write `attic`; known rigs: `attic`, `cellar`
    "#]]
    .assert_eq(&error("atic"));
    expect![[r#"
        error
          × unknown rig `garage`
          help: known rigs: `attic`, `cellar`
    "#]]
    .assert_eq(&error("garage"));
}

#[test]
fn missing_variables_are_told_together() {
    let text = GOOD
        .replace("\"virtual\"", "\"usb\"\nselector = \"303a:1001\"")
        .replace(
            "\"ethernet\"",
            "\"wifi\"\nssid-env = \"SSID\"\npassphrase-env = \"PASSPHRASE\"",
        )
        .replace(
            "\"embedded\"",
            "\"external\"\nhost = \"broker\"\ndevice-host = \"broker\"\nusername-env = \"USER_\"\npassword-env = \"PASSWORD\"",
        );
    let rig = Rig::parse(Path::new("rigs/attic.toml"), &text).expect("no mistake");
    let error = rig
        .resolve(|name| (name == "PASSPHRASE").then(|| "x".repeat(65)))
        .expect_err("missing");
    expect![[r#"
        error
          × rig `attic` needs `SSID` (name of the Wi-Fi network; not set), `PASSPHRASE` (Wi-Fi passphrase;
          │ longer than 64 bytes), `USER_` (user name at the broker; not set), `PASSWORD` (password at the
          │ broker; not set)
          help: set them in the environment; they don't belong in the rig file
    "#]].assert_eq(&page(&error));
}
