//! Tests of `image.rs`.

use expect_test::{Expect, expect};

use super::*;
use crate::testing::TestElf;

/// What is said of the bytes of a file for the ESP32-C3, with the hint.
#[track_caller]
fn check(bytes: Vec<u8>, expected: Expect) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.elf");
    fs::write(&path, bytes).expect("a file");
    let said = match FirmwareImage::load(&path, "esp32c3") {
        Ok(image) => format!("{} bytes to load", image.load_bytes()),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            let hint = error.hint().unwrap_or_default();
            format!("{error}{cause}\n{hint}")
        }
    };
    let directory = format!("{}/", directory.path().display());
    expected.assert_eq(&said.replace(&directory, ""));
}

#[test]
fn a_good_image_is_taken() {
    check(TestElf::good().bytes(), expect!["4160 bytes to load"]);
    let image = FirmwareImage::parse(Path::new("t"), TestElf::good().bytes(), "esp32c3");
    let image = image.expect("good");
    assert_eq!(image.rtt_address(), Some(TestElf::RTT));
    assert!(image.is_code(TestElf::CODE) && !image.is_code(TestElf::CODE + 4096));
    let places = image
        .symbolizer()
        .map(|symbols| symbols.places(TestElf::CODE + 2, false));
    assert_eq!(places.expect("symbols")[0].function, "main");
}

#[test]
fn what_is_no_elf_is_told() {
    check(
        b"#!/bin/sh\n".to_vec(),
        expect![[r#"
            `app.elf` is not an ELF file: it begins with `#!/bin/s`
            give the ELF file that cargo links, not a `.bin` made from it"#]],
    );
    check(
        vec![0xe9, 0x05, 0x02, 0x20],
        expect![[r#"
            `app.elf` is not an ELF file: it begins with `\xe9\x05\x02 `
            give the ELF file that cargo links, not a `.bin` made from it"#]],
    );
    check(
        vec![],
        expect![[r#"
            `app.elf` is not an ELF file: it begins with ``
            give the ELF file that cargo links, not a `.bin` made from it"#]],
    );
}

#[test]
fn a_cut_file_is_told_wherever_it_is_cut() {
    let whole = TestElf::good().bytes();
    check(
        whole[..whole.len() / 2].to_vec(),
        expect![[r#"
            `app.elf` is cut off: it has 2460 bytes, its headers speak of 4920
            build it again"#]],
    );
    for length in 4..whole.len() {
        let cut = FirmwareImage::parse(Path::new("t"), whole[..length].to_vec(), "esp32c3");
        match cut {
            Err(ImageError::Truncated { .. }) => {}
            other => panic!("{other:?} with {length} of {} bytes", whole.len()),
        }
    }
}

#[test]
fn any_flipped_byte_is_survived() {
    let whole = TestElf::good().bytes();
    for at in 0..whole.len() {
        // The long stretch of code is no header.
        if (200..4_000).contains(&at) {
            continue;
        }
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            drop(FirmwareImage::parse(Path::new("t"), bytes, "esp32c3"));
        }
    }
}

#[test]
fn another_processor_is_told() {
    let mut elf = TestElf::good();
    elf.machine = elf::EM_XTENSA.0;
    check(
        elf.bytes(),
        expect![[r#"
            `app.elf` is for Xtensa (ESP32, ESP32-S2 or ESP32-S3), the chip `esp32c3` is RISC-V with 32 bits
            build it with `--target riscv32imc-unknown-none-elf`"#]],
    );
    let mut x86 = TestElf::good();
    x86.machine = elf::EM_X86_64.0;
    let mut bytes = x86.bytes();
    bytes[4] = 2;
    check(
        bytes,
        expect![[r#"
            `app.elf` is for x86-64 (a program of this computer?), the chip `esp32c3` is RISC-V with 32 bits
            build it with `--target riscv32imc-unknown-none-elf`"#]],
    );
}

#[test]
fn another_chip_is_told_by_its_addresses_or_by_its_word() {
    let mut elf = TestElf::good();
    elf.sections[1].1 = 0x4080_0000;
    check(
        elf.bytes(),
        expect![[r#"
            `app.elf` is for the chip `esp32c6` or `esp32h2`, the rig has `esp32c3`
            build it with esp-hal's feature `esp32c3`, or choose another rig"#]],
    );
    let mut elf = TestElf::good();
    elf.sections[1].1 = 0x2000_0000;
    check(
        elf.bytes(),
        expect![[r#"
                `app.elf` is for a chip with memory at 0x20000000, the rig has `esp32c3`
                build it with esp-hal's feature `esp32c3`, or choose another rig"#]],
    );
    let mut elf = TestElf::good();
    let section = elf.sections.len();
    elf.sections
        .push((".espressif.metadata", 0, 0, b"esp32c6".to_vec()));
    elf.symbols
        .push(("build_info.CHIP_NAME".into(), Some(section), 0, 7));
    check(
        elf.bytes(),
        expect![[r#"
            `app.elf` is for the chip `esp32c6`, the rig has `esp32c3`
            build it with esp-hal's feature `esp32c3`, or choose another rig"#]],
    );
}

#[test]
fn what_the_bench_could_not_hear_is_told() {
    check(
        TestElf::good().without_symbol("_SEGGER_RTT").bytes(),
        expect![[r#"
                `app.elf` has no RTT control block: the bench could not hear it
                set up RTT in the firmware, with `rtt-target`: the symbol `_SEGGER_RTT`"#]],
    );
    check(
        TestElf::good().without_defmt().bytes(),
        expect![[r#"
            `app.elf` has no defmt section: its log could not be decoded
            log with `defmt`, and link with `-Tdefmt.x`; don't strip the file"#]],
    );
    check(
        TestElf::good()
            .without_symbol("_defmt_version_ = 4")
            .bytes(),
        expect![[r#"
                the defmt section of `app.elf` can't be read: found `.defmt` metadata sections, but no defmt version symbol
                use a defmt of the version that this bench reads, and don't strip the file"#]],
    );
    let mut elf = TestElf::good();
    elf.sections.retain(|(_, _, flags, _)| flags & 2 == 0);
    elf.symbols.clear();
    check(
        elf.bytes(),
        expect![[r#"
            `app.elf` has no code to load: it is not a linked program
            give the linked program, not an object file or library"#]],
    );
}
