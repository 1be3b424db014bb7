//! Sensors that the firmware simulates itself, on a bench with nothing on the device's pins.

use crate::project::Project;

/// A rig whose device has its own sensors, with `image.elf`: the firmware with `test-hooks`.
fn project() -> Project {
    let project = Project::with_firmware(|_| {});
    let rig = project.path("rigs/attic.toml");
    let text = std::fs::read_to_string(&rig).expect("the rig");
    let (before, rest) = text.split_once("[fixture]").expect("a fixture");
    let (_, after) = rest.split_once("[network]").expect("a network");
    let own = "[fixture]\nkind = \"firmware\"\nsensors = 60\n\n[network]";
    std::fs::write(rig, format!("{before}{own}{after}")).expect("a file");
    project
}

#[test]
fn a_scenario_knows_them_by_the_codes_that_a_fixture_board_s_have() {
    let name = "temperatures_appear_in_telemetry";
    let said = project().run_to_the_end(&[name, "--firmware", "image.elf"], 0);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn what_they_can_t_do_blocks_what_needs_it() {
    let name = "every_relay_switches_its_contact";
    let project = project();
    let said = project.run_to_the_end(&[name, "--firmware", "image.elf"], 3);
    assert!(said.contains("the rig has no `relays`"), "{said}");
}
