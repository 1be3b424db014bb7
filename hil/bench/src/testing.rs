//! ELF files for tests, made by hand: small, and wrong in whatever way a test wants.

use std::path::Path;

use crate::FirmwareImage;

/// An ELF to be written.
#[derive(Clone, Debug)]
pub(crate) struct TestElf {
    pub(crate) machine: u16,
    /// Section name, address, flags, contents.
    pub(crate) sections: Vec<(&'static str, u32, u32, Vec<u8>)>,
    /// Symbol name, section (from 0, none for an absolute one), value, size.
    pub(crate) symbols: Vec<(String, Option<usize>, u32, u32)>,
}

const ALLOC: u32 = 2;
const EXEC: u32 = 4;

impl TestElf {
    /// Where the code lies: 4 KiB of it.
    pub(crate) const CODE: u32 = 0x4200_0020;
    /// Where the control block lies.
    pub(crate) const RTT: u32 = 0x3fc8_1000;
    /// `defmt::info!("answer {=u8}")`.
    pub(crate) const FIRST_LOG_INDEX: u16 = 1;
    /// `defmt::error!("at {=u32:#010x}")`.
    pub(crate) const ADDRESS_LOG_INDEX: u16 = 2;

    /// A program for the ESP32-C3 with RTT and defmt.
    pub(crate) fn good() -> Self {
        let mut elf = Self {
            machine: object::elf::EM_RISCV.0,
            sections: vec![
                (".text", Self::CODE, ALLOC | EXEC, vec![0x13; 4096]),
                (".data", 0x3fc8_0000, ALLOC, vec![0; 64]),
                (".defmt", 0, 0, vec![0; 16]),
            ],
            symbols: vec![
                ("_SEGGER_RTT".into(), Some(1), Self::RTT, 48),
                ("main".into(), Some(0), Self::CODE, 64),
                ("_defmt_version_ = 4".into(), None, 0, 0),
                ("_defmt_encoding_ = rzcobs".into(), None, 0, 0),
            ],
        };
        elf.log(Self::FIRST_LOG_INDEX, "info", "answer {=u8}");
        elf.log(Self::ADDRESS_LOG_INDEX, "error", "at {=u32:#010x}");
        elf
    }

    fn log(&mut self, index: u16, level: &str, format: &str) {
        let name = format!(
            r#"{{"package":"t","tag":"defmt_{level}","data":"{format}","disambiguator":"{index}","crate_name":"t"}}"#
        );
        self.symbols.push((name, Some(2), index.into(), 1));
    }

    pub(crate) fn without_symbol(mut self, name: &str) -> Self {
        self.symbols.retain(|(symbol, ..)| symbol != name);
        self
    }

    pub(crate) fn without_defmt(mut self) -> Self {
        self.sections.retain(|(name, ..)| *name != ".defmt");
        self.symbols
            .retain(|(name, section, ..)| *section != Some(2) && !name.contains("defmt"));
        self
    }

    /// The file: header, a program header for each section that is loaded, contents, names,
    /// symbols, section headers. Source: System V ABI, "Object Files".
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let loaded: Vec<usize> = (0..self.sections.len())
            .filter(|index| self.sections[*index].2 & ALLOC != 0)
            .collect();
        let mut contents_at = 52 + 32 * loaded.len() as u32;
        let mut contents = vec![];
        let mut offsets = vec![];
        for (_, _, _, data) in &self.sections {
            offsets.push(contents_at + contents.len() as u32);
            contents.extend_from_slice(data);
        }
        let (mut names, mut symbols) = (vec![0], vec![0; 16]);
        for (name, section, value, size) in &self.symbols {
            let at = names.len() as u32;
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            let is_code = section.is_some_and(|section| self.sections[section].2 & EXEC != 0);
            words(&mut symbols, &[at, *value, *size]);
            // Global, a function or an object.
            symbols.push(0x10 | if is_code { 2 } else { 1 });
            symbols.push(0);
            let index = section.map_or(0xfff1, |section| section as u16 + 1);
            symbols.extend(index.to_le_bytes());
        }
        let mut headers = vec![0; 40];
        let names_index = self.sections.len() as u32 + 1;
        for ((name, address, flags, data), offset) in self.sections.iter().zip(&offsets) {
            let at = names.len() as u32;
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            words(
                &mut headers,
                &[
                    at,
                    1,
                    *flags,
                    *address,
                    *offset,
                    data.len() as u32,
                    0,
                    0,
                    4,
                    0,
                ],
            );
        }
        // The tables after these must be aligned.
        contents.resize(contents.len().next_multiple_of(4), 0);
        contents_at += contents.len() as u32;
        words(
            &mut headers,
            &[0, 3, 0, 0, contents_at, names.len() as u32, 0, 0, 1, 0],
        );
        names.resize(names.len().next_multiple_of(4), 0);
        let symbols_at = contents_at + names.len() as u32;
        words(
            &mut headers,
            &[
                0,
                2,
                0,
                0,
                symbols_at,
                symbols.len() as u32,
                names_index,
                1,
                4,
                16,
            ],
        );
        let headers_at = symbols_at + symbols.len() as u32;
        let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1];
        file.resize(16, 0);
        halves(&mut file, &[2, self.machine]);
        words(&mut file, &[1, Self::CODE, 52, headers_at, 0]);
        let section_count = self.sections.len() as u16 + 3;
        halves(
            &mut file,
            &[
                52,
                32,
                loaded.len() as u16,
                40,
                section_count,
                names_index as u16,
            ],
        );
        for index in loaded {
            let (_, address, flags, data) = &self.sections[index];
            let length = data.len() as u32;
            let access = if flags & EXEC != 0 { 5 } else { 6 };
            words(
                &mut file,
                &[
                    1,
                    offsets[index],
                    *address,
                    *address,
                    length,
                    length,
                    access,
                    4,
                ],
            );
        }
        for part in [contents, names, symbols, headers] {
            file.extend(part);
        }
        file
    }
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn halves(out: &mut Vec<u8>, halves: &[u16]) {
    out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
}

/// An image with two log lines, whose indexes [`TestElf`] has.
pub(crate) fn defmt_image() -> FirmwareImage {
    FirmwareImage::parse(Path::new("test.elf"), TestElf::good().bytes(), "esp32c3")
        .unwrap_or_else(|error| panic!("{error}"))
}

/// defmt's framing: reverse zero-compressing COBS, ended by a zero. Source: the defmt book,
/// "Encoding"; each marker follows the bytes that it describes.
pub(crate) fn rzcobs(data: &[u8]) -> Vec<u8> {
    let (mut out, mut run, mut zeros) = (vec![], 0_u8, 0_u8);
    for byte in data {
        if run < 7 {
            if *byte == 0 {
                zeros |= 1 << run;
            } else {
                out.push(*byte);
            }
            run += 1;
            if run == 7 && zeros != 0 {
                out.push(zeros);
                (run, zeros) = (0, 0);
            }
        } else if *byte == 0 {
            out.push((run - 7) | 0x80);
            (run, zeros) = (0, 0);
        } else {
            out.push(*byte);
            run += 1;
            if run == 134 {
                out.push(0xff);
                (run, zeros) = (0, 0);
            }
        }
    }
    match run {
        0 => {}
        1..=6 => out.push((zeros | (0xff << run)) & 0x7f),
        _ => out.push((run - 7) | 0x80),
    }
    out.push(0);
    out
}
