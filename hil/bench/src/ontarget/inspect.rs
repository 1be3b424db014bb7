//! What kind of program an ELF is, and which tests it holds: read from the file, no chip needed.
//!
//! embedded-test, protocol 1: section `.embedded_test` holds the word `EMBEDDED_TEST_VERSION` and,
//! for each test, twelve bytes: address of the function, address and length of its module's path.
//! The symbol of these bytes is a JSON object with the rest.

use std::time::Duration;

use object::{Object, ObjectSection, ObjectSymbol, read::elf::ElfFile32};
use serde::{Deserialize, Serialize};

use crate::FirmwareImage;

/// The version of embedded-test's protocol that is spoken here.
const PROTOCOL: u32 = 1;

/// What kind of program an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Made with embedded-test: its tests are known before it runs.
    EmbeddedTest(Vec<Test>),
    /// Made with defmt-test: it says its tests' names as they run.
    DefmtTest {
        /// How many there are.
        count: u32,
    },
    /// Anything else.
    Plain,
}

/// One test of an embedded-test program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// Its name with its module's path, without the crate's name.
    pub name: String,
    /// Address of its function.
    pub(crate) address: u32,
    /// It passes when it panics.
    pub should_panic: bool,
    /// It is not run unless asked for.
    pub ignored: bool,
    /// How long it may take, if it says so.
    pub timeout: Option<Duration>,
}

/// Why a test program can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnTargetError {
    /// The program speaks another protocol.
    #[error("the program speaks version {found} of embedded-test's protocol, known: {PROTOCOL}")]
    Protocol {
        /// The program's version.
        found: u32,
    },
    /// The list of tests can't be read.
    #[error("the list of tests in the program is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
}

impl OnTargetError {
    /// What to do, in the imperative.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "use `embedded-test` 0.7",
            Self::Damaged { .. } => {
                "link with embedded-test's linker script, and don't strip the program"
            }
        }
    }
}

/// Finds out what kind of program `image` is.
///
/// # Errors
/// [`OnTargetError`] when it holds embedded-test's section and can't be read.
pub fn inspect(image: &FirmwareImage) -> Result<Program, OnTargetError> {
    let file = ElfFile32::<object::Endianness>::parse(image.elf())
        .map_err(|error| damaged(error.to_string()))?;
    if let Some(tests) = embedded_tests(&file)? {
        return Ok(Program::EmbeddedTest(tests));
    }
    let count = file
        .symbol_by_name("DEFMT_TEST_COUNT")
        .and_then(|symbol| word(&file, symbol.address()));
    Ok(match count {
        Some(count) => Program::DefmtTest { count },
        None => Program::Plain,
    })
}

type File<'e> = ElfFile32<'e, object::Endianness>;

/// The rest of what is known of a test, in its symbol's name.
#[derive(Deserialize)]
struct Described {
    name: String,
    #[serde(default)]
    should_panic: bool,
    #[serde(default)]
    ignored: bool,
    /// Seconds.
    timeout: Option<u64>,
}

fn embedded_tests(file: &File<'_>) -> Result<Option<Vec<Test>>, OnTargetError> {
    let Some(section) = file.section_by_name(".embedded_test") else {
        return Ok(None);
    };
    let Some(version) = file.symbol_by_name("EMBEDDED_TEST_VERSION") else {
        return Ok(None);
    };
    // The section is not loaded: its addresses begin at 0, as those of others do.
    let in_section = |address: u64| {
        let bytes = section.data_range(address, 4).ok().flatten()?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let version = in_section(version.address())
        .ok_or_else(|| damaged("its version is outside of the file".into()))?;
    if version != PROTOCOL {
        return Err(OnTargetError::Protocol { found: version });
    }
    let mut tests = vec![];
    let of_tests = |symbol: &object::read::elf::ElfSymbol32<'_, '_, object::Endianness>| {
        symbol.section_index() == Some(section.index()) && symbol.size() == 12
    };
    for symbol in file.symbols().filter(of_tests) {
        let name = symbol.name().unwrap_or_default();
        let described: Described =
            serde_json::from_str(name).map_err(|error| damaged(format!("`{name}`: {error}")))?;
        let at = symbol.address();
        let words = [at, at + 4, at + 8].map(in_section);
        let [Some(address), Some(path), Some(length)] = words else {
            return Err(damaged(format!(
                "`{}` is outside of the file",
                described.name
            )));
        };
        let module = text(file, path.into(), length.into())
            .ok_or_else(|| damaged(format!("`{}` has no module", described.name)))?;
        // The crate's name is the program's: it says nothing.
        let module = module
            .split_once("::")
            .map_or(module.as_str(), |(_, rest)| rest);
        tests.push(Test {
            name: format!("{module}::{}", described.name),
            address,
            should_panic: described.should_panic,
            ignored: described.ignored,
            timeout: described.timeout.map(Duration::from_secs),
        });
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(tests))
}

/// Bytes of the program at an address of the chip.
fn bytes<'e>(file: &File<'e>, address: u64, length: u64) -> Option<&'e [u8]> {
    file.sections()
        .filter(|section| {
            let loaded = match section.flags() {
                object::SectionFlags::Elf { sh_flags, .. } => {
                    sh_flags.0 & object::elf::SHF_ALLOC.0 != 0
                }
                _ => false,
            };
            let end = section.address() + section.size();
            loaded && section.address() <= address && address + length <= end
        })
        .find_map(|section| section.data_range(address, length).ok().flatten())
}

fn word(file: &File<'_>, address: u64) -> Option<u32> {
    let bytes = bytes(file, address, 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn text(file: &File<'_>, address: u64, length: u64) -> Option<String> {
    let bytes = bytes(file, address, length)?;
    String::from_utf8(bytes.to_vec()).ok()
}

fn damaged(what: String) -> OnTargetError {
    OnTargetError::Damaged { what }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::TestElf;

    const PATH: u32 = 0x3c00_0020;

    /// A program with these entries, each with its JSON; the module's path is `app::tests`.
    fn program(version: u32, entries: &[(&str, u32)]) -> FirmwareImage {
        let mut data = version.to_le_bytes().to_vec();
        for (_, address) in entries {
            for word in [*address, PATH, 10] {
                data.extend(word.to_le_bytes());
            }
        }
        let mut elf = TestElf::good();
        elf.sections
            .push((".rodata", PATH, 2, b"app::tests".to_vec()));
        let section = elf.sections.len();
        // Not loaded, at address 0, as other sections are that come before it.
        elf.sections.push((".embedded_test", 0, 0, data));
        elf.symbols
            .push(("EMBEDDED_TEST_VERSION".into(), Some(section), 0, 4));
        for (index, (json, _)) in entries.iter().enumerate() {
            let at = 4 + 12 * index as u32;
            elf.symbols.push(((*json).into(), Some(section), at, 12));
        }
        image(&elf)
    }

    fn image(elf: &TestElf) -> FirmwareImage {
        FirmwareImage::parse(Path::new("t.elf"), elf.bytes(), "esp32c3")
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn tests_are_listed_by_name() {
        let image = program(
            1,
            &[
                (
                    r#"{"name":"b","should_panic":true,"ignored":false,"timeout":5}"#,
                    0x4200_0040,
                ),
                (r#"{"name":"a","ignored":true}"#, 0x4200_0020),
            ],
        );
        let test = |name: &str, address| Test {
            name: name.into(),
            address,
            should_panic: false,
            ignored: false,
            timeout: None,
        };
        let a = Test {
            ignored: true,
            ..test("tests::a", 0x4200_0020)
        };
        let b = Test {
            should_panic: true,
            timeout: Some(Duration::from_secs(5)),
            ..test("tests::b", 0x4200_0040)
        };
        assert_eq!(inspect(&image), Ok(Program::EmbeddedTest(vec![a, b])));
    }

    #[test]
    fn another_protocol_is_refused() {
        let error = inspect(&program(2, &[])).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "the program speaks version 2 of embedded-test's protocol, known: 1"
        );
    }

    #[test]
    fn a_damaged_list_is_refused() {
        let error = inspect(&program(1, &[("{}", 0)])).expect_err("damaged");
        assert!(
            error.to_string().contains("missing field `name`"),
            "{error}"
        );
    }

    #[test]
    fn defmt_test_and_plain_programs_are_told_apart() {
        let mut elf = TestElf::good();
        assert_eq!(inspect(&image(&elf)), Ok(Program::Plain));
        elf.sections[1].3[..4].copy_from_slice(&3_u32.to_le_bytes());
        elf.symbols
            .push(("DEFMT_TEST_COUNT".into(), Some(1), 0x3fc8_0000, 4));
        assert_eq!(inspect(&image(&elf)), Ok(Program::DefmtTest { count: 3 }));
    }
}
