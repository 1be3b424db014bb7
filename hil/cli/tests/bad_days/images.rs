//! Images that are none, or not for this bench.

use std::fs;

use expect_test::expect;

use crate::firmware::replace;
use crate::project::{Project, end};

#[test]
fn an_image_for_another_processor() {
    let project = Project::new();
    fs::copy(env!("CARGO_BIN_EXE_hil"), project.path("image.elf")).expect("a copy");
    let arguments = ["--firmware", "image.elf"];
    let child = project.hil_run(&arguments).spawn();
    let (output, said) = end(child.expect("the program runs"));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`image.elf` is for "), "{said}");
    assert!(
        said.contains("the chip `esp32c3` is RISC-V with 32 bits"),
        "{said}"
    );
    project.check_tidy();
}

#[test]
fn an_image_for_another_chip() {
    // An Xtensa processor, as in the ESP32: number 94 at offset 18 of the header.
    let project = Project::with_firmware(|elf| elf[18..20].copy_from_slice(&[94, 0]));
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` is for Xtensa (ESP32, ESP32-S2 or ESP32-S3), the chip
              │ `esp32c3` is RISC-V with 32 bits
              help: build it with `--target riscv32imc-unknown-none-elf`

        "#]],
    );
}

#[test]
fn an_image_that_is_cut_off() {
    let project = Project::with_firmware(|elf| elf.truncate(elf.len() / 2));
    let said = project.run_to_the_end(&["--firmware", "image.elf"], 2);
    assert!(said.contains("`image.elf` is cut off: it has "), "{said}");
    assert!(said.contains("help: build it again"), "{said}");
}

#[test]
fn an_image_that_is_no_elf() {
    let project = Project::new();
    fs::write(project.path("image.elf"), "no ELF at all").expect("a file");
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` is not an ELF file: it begins with `no ELF a`
              help: give the ELF file that cargo links, not a `.bin` made from it

        "#]],
    );
}

#[test]
fn an_image_that_is_not_there() {
    Project::new().check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × can't read firmware image `image.elf`: No such file or directory (os error
              │ 2)
              help: build the firmware first, or check the path

        "#]],
    );
}

#[test]
fn an_image_without_a_control_block() {
    let project =
        Project::with_firmware(|elf| replace(elf, b"\0_SEGGER_RTT\0", b"\0_SEGGER_RTX\0"));
    project.check(
        &["--firmware", "image.elf"],
        expect![[r#"
            exit 2
              × `image.elf` has no RTT control block: the bench could not hear it
              help: set up RTT in the firmware, with `rtt-target`: the symbol
                    `_SEGGER_RTT`

        "#]],
    );
}

#[test]
fn a_control_block_that_never_appears() {
    let project = Project::with_firmware(|elf| move_control_block(elf));
    let arguments = ["CON-1", "--firmware", "image.elf"];
    let said = project.run_to_the_end(&arguments, 1);
    let summary = project.summary();
    let units = summary["units"].as_array().expect("units");
    assert_eq!(units[0]["id"], "PREPARE", "{said}");
    assert_eq!(units[0]["verdict"], "fail", "{said}");
    let reason = units[0]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("the device did not boot within 10.0 s; no control block at 0x"),
        "{reason}"
    );
    assert_eq!(summary["counts"]["passed"], 0, "{said}");
    assert!(summary["counts"]["blocked"].as_u64() > Some(0), "{said}");
}

/// Has the symbol `_SEGGER_RTT` point to where nothing is. Source: System V ABI, "Symbol Table".
fn move_control_block(elf: &mut [u8]) {
    let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().expect("four")) as usize;
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().expect("two")) as usize;
    let (sections, size, count) = (word(32), half(46), half(48));
    let header = |index: usize| sections + index * size;
    const SYMBOL_TABLE: usize = 2;
    let table = (0..count)
        .map(header)
        .find(|at| word(at + 4) == SYMBOL_TABLE)
        .expect("a symbol table");
    let names = word(header(word(table + 24)) + 16);
    let (start, length) = (word(table + 16), word(table + 20));
    let symbol = (start..start + length)
        .step_by(16)
        .find(|&at| elf[names + word(at)..].starts_with(b"_SEGGER_RTT\0"))
        .expect("the symbol");
    // RTC memory, which nothing else uses there.
    elf[symbol + 4..symbol + 8].copy_from_slice(&0x5000_1f00_u32.to_le_bytes());
}
