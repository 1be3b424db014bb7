//! The `[fixture]` and `[budget]` tables: what they mean, and every mistake in them.

use std::path::Path;

use expect_test::{Expect, expect};
use hil_rig::{
    BoardPort, Budget, Fixture, FixtureBoard, FixtureKind, Rig, RigError, VirtualFixture,
};

const VIRTUAL: &str = r#"schema = 1
name = "attic"
[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "t2"
[probe]
kind = "virtual"
[network]
driver = "ethernet"
[broker]
kind = "embedded"
"#;

const USB: &str = r#"schema = 1
name = "attic"
[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "t2"
[probe]
kind = "usb"
selector = "303a:1001"
[network]
driver = "wifi"
ssid-env = "SSID"
passphrase-env = "PASSPHRASE"
[broker]
kind = "embedded"
device-host = "192.168.1.20"
"#;

fn parse(base: &str, more: &str) -> Result<Rig, RigError> {
    Rig::parse(Path::new("rigs/attic.toml"), &format!("{base}{more}"))
}

#[track_caller]
fn fixture(base: &str, more: &str) -> Option<Fixture> {
    parse(base, more)
        .unwrap_or_else(|error| panic!("{error:?}"))
        .fixture
}

/// What is wrong and what to write instead, one line each.
#[track_caller]
fn check(base: &str, more: &str, expected: Expect) {
    let error = parse(base, more).expect_err("a mistake");
    let mut lines = String::new();
    for problem in miette::Diagnostic::related(&error).expect("problems") {
        let help = problem.help().map(|help| help.to_string());
        lines += &format!("{problem} | {}\n", help.unwrap_or_default());
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_rig_without_the_table_has_no_fixture() {
    assert_eq!(fixture(VIRTUAL, ""), None);
}

#[test]
fn a_virtual_fixture_has_the_wiring_of_the_real_bench_by_default() {
    let expected = Fixture {
        kind: FixtureKind::Virtual(VirtualFixture {
            one_wire_pin: 10,
            relay_pins: vec![0, 1, 3, 4, 5, 6, 7, 20],
            sensors_on_device_supply: false,
        }),
        sensors: 60,
    };
    assert_eq!(
        fixture(VIRTUAL, "[fixture]\nkind = \"virtual\"\n"),
        Some(expected)
    );
}

#[test]
fn every_key_of_a_virtual_fixture_is_read() {
    let more = "[fixture]\nkind = \"virtual\"\nsensors = 3\none-wire-pin = 4\nrelay-pins = [1, 0x2]\nsensors-on-device-supply = true\n";
    let expected = Fixture {
        kind: FixtureKind::Virtual(VirtualFixture {
            one_wire_pin: 4,
            relay_pins: vec![1, 2],
            sensors_on_device_supply: true,
        }),
        sensors: 3,
    };
    assert_eq!(fixture(VIRTUAL, more), Some(expected));
}

#[test]
fn a_board_is_found_by_its_port_or_its_usb_numbers() {
    let by_path = "[fixture]\nkind = \"board\"\nport = \"/dev/ttyACM0\"\nswitches-power = true\n";
    let expected = FixtureBoard {
        port: BoardPort::Path("/dev/ttyACM0".into()),
        switches_power: true,
        sensors_on_device_supply: true,
    };
    let Some(Fixture {
        kind: FixtureKind::Board(board),
        sensors: 60,
    }) = fixture(USB, by_path)
    else {
        panic!("a board");
    };
    assert_eq!(board, expected);
    let by_usb = "[fixture]\nkind = \"board\"\nusb = \"2e8a:000a:E661\"\n";
    let Some(Fixture {
        kind: FixtureKind::Board(board),
        ..
    }) = fixture(USB, by_usb)
    else {
        panic!("a board");
    };
    let BoardPort::Usb(selector) = board.port else {
        panic!("{:?}", board.port);
    };
    assert_eq!(selector.to_string(), "2e8a:000a:E661");
    assert!(!board.switches_power && !board.sensors_on_device_supply);
}

#[test]
fn the_firmware_s_own_sensors_need_no_wiring() {
    let fixture = fixture(USB, "[fixture]\nkind = \"firmware\"\nsensors = 12\n");
    let expected = Fixture {
        kind: FixtureKind::Firmware,
        sensors: 12,
    };
    assert_eq!(fixture, Some(expected));
}

#[test]
fn every_mistake_in_a_fixture_is_told() {
    check(
        VIRTUAL,
        "[fixture]\nkind = \"virtual\"\nsensors = 61\none-wire-pin = 3\nrelay-pins = [3, 3, 22, \"a\"]\nport = \"x\"\n",
        expect![[r#"
            `sensors` is out of range: `61` | 
            pin 3 is the 1-Wire bus and a relay | give the bus or the relay another pin
            pin 3 is two relays | give one of them another pin
            this is no pin of the chip | write a GPIO number, 0 to 21
            this is no pin of the chip | write a GPIO number, 0 to 21
            unknown key `port` in `[fixture]` | remove it: it belongs to `kind = "board"`
        "#]],
    );
    check(
        VIRTUAL,
        "[fixture]\nkind = \"virtual\"\nrelay-pins = [0,1,2,3,4,5,6,7,8]\n",
        expect![[r#"
            `relay-pins` has 9 pins | leave the last ones out
        "#]],
    );
    check(
        USB,
        "[fixture]\nkind = \"virtual\"\n",
        expect![[r#"
        a real chip has no simulated fixture | write `kind = "board"`, or `kind = "firmware"` without one
    "#]],
    );
    check(
        VIRTUAL,
        "[fixture]\nkind = \"board\"\n",
        expect![[r#"
        no board reaches the pins of a simulated chip | write `kind = "virtual"`
        `[fixture]` has no `port` | write `port = "/dev/ttyACM0"`
    "#]],
    );
    check(
        USB,
        "[fixture]\nkind = \"board\"\nport = \"a\"\nusb = \"2e8a:000a\"\n",
        expect![[r#"
            the board has both a `port` and a `usb` | keep the one that names the board for sure
        "#]],
    );
    check(
        USB,
        "[fixture]\nkind = \"board\"\nport = \"a\"\nsensors-on-device-supply = true\n",
        expect![[r#"
            the board does not know when the device has no power | write `switches-power = true`, if the board's switch is in the device's supply
        "#]],
    );
    check(
        USB,
        "[fixture]\nkind = \"bord\"\n",
        expect![[r#"
        unknown kind `bord` in `[fixture]` | write `board`
    "#]],
    );
}

#[test]
fn a_budget_is_the_default_where_the_file_is_silent() {
    let rig = parse(VIRTUAL, "[budget]\nnetwork-bytes = 1000\n").expect("right");
    let expected = Budget {
        network_bytes: 1_000,
        ..Budget::default()
    };
    assert_eq!(rig.budget, expected);
    check(
        VIRTUAL,
        "[budget]\nnetwork-bytes = 0\nstak-bytes = 5\n",
        expect![[r#"
            `network-bytes` is out of range: `0` | 
            unknown key `stak-bytes` in `[budget]` | write `stack-bytes`
        "#]],
    );
}
