//! A firmware image: an ELF file, checked before anything is done with it.
//!
//! A wrong file must be refused with its own reason, before the flash is touched: no ELF, a cut one,
//! one for another chip, one that the bench can't listen to. The checks read the file only.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, elf, read::elf::ElfFile32};
use sha2::{Digest, Sha256};

use crate::backtrace::Symbolizer;

/// What is wrong with a file that should be a firmware image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It can't be read.
    #[error("can't read firmware image `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no ELF file.
    #[error("`{}` is not an ELF file: it begins with `{begins}`", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// Its first bytes, unprintable ones escaped; empty for an empty file.
        begins: String,
    },
    /// It ends too early.
    #[error(
        "`{}` is cut off: it has {length} bytes, its headers speak of {needed}", path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes there are.
        length: u64,
        /// Bytes there must be at least.
        needed: u64,
    },
    /// It is damaged in another way.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: object::Error,
    },
    /// It is for another processor.
    #[error("`{}` is for {found}, the chip `{chip}` is RISC-V with 32 bits", path.display())]
    OtherArchitecture {
        /// The file.
        path: PathBuf,
        /// What it is for.
        found: String,
        /// The rig's chip.
        chip: String,
    },
    /// It is for another chip of the same processor.
    #[error("`{}` is for {found}, the rig has `{chip}`", path.display())]
    OtherChip {
        /// The file.
        path: PathBuf,
        /// What it is for, as far as it can be told.
        found: String,
        /// The rig's chip.
        chip: String,
    },
    /// It holds no program.
    #[error("`{}` has no code to load: it is not a linked program", path.display())]
    NoCode {
        /// The file.
        path: PathBuf,
    },
    /// It has no RTT control block.
    #[error("`{}` has no RTT control block: the bench could not hear it", path.display())]
    NoRtt {
        /// The file.
        path: PathBuf,
    },
    /// It has no defmt information.
    #[error("`{}` has no defmt section: its log could not be decoded", path.display())]
    NoDefmt {
        /// The file.
        path: PathBuf,
    },
    /// Its defmt information can't be used.
    #[error("the defmt section of `{}` can't be read: {reason}", path.display())]
    Defmt {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl ImageError {
    /// What to do, in the imperative.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "build the firmware first, or check the path".into(),
            Self::NotElf { .. } => {
                "give the ELF file that cargo links, not a `.bin` made from it".into()
            }
            Self::Truncated { .. } | Self::Damaged { .. } => "build it again".into(),
            Self::OtherArchitecture { .. } => {
                "build it with `--target riscv32imc-unknown-none-elf`".into()
            }
            Self::OtherChip { chip, .. } => {
                format!("build it with esp-hal's feature `{chip}`, or choose another rig")
            }
            Self::NoCode { .. } => "give the linked program, not an object file or library".into(),
            Self::NoRtt { .. } => {
                "set up RTT in the firmware, with `rtt-target`: the symbol `_SEGGER_RTT`".into()
            }
            Self::NoDefmt { .. } => {
                "log with `defmt`, and link with `-Tdefmt.x`; don't strip the file".into()
            }
            Self::Defmt { .. } => {
                "use a defmt of the version that this bench reads, and don't strip the file".into()
            }
        })
    }
}

/// A chip as its images can be told from those of others.
struct Chip {
    /// As the debugger calls it.
    name: &'static str,
    /// Where an image may put its segments: internal SRAM by both buses, flash windows, RTC memory.
    memory: &'static [Range<u64>],
}

/// Sources: the Technical Reference Manuals, chapter "System and Memory", address mapping.
const CHIPS: &[Chip] = &[
    Chip {
        name: "esp32c3",
        memory: &[
            0x3fc8_0000..0x3fce_0000,
            0x4037_c000..0x403e_0000,
            0x3c00_0000..0x3c80_0000,
            0x4200_0000..0x4280_0000,
            0x5000_0000..0x5000_2000,
        ],
    },
    Chip {
        name: "esp32c2",
        memory: &[
            0x3fca_0000..0x3fce_0000,
            0x4037_c000..0x403c_0000,
            0x3c00_0000..0x3c40_0000,
            0x4200_0000..0x4240_0000,
        ],
    },
    Chip {
        name: "esp32c6",
        memory: &[
            0x4080_0000..0x4088_0000,
            0x4200_0000..0x4300_0000,
            0x5000_0000..0x5000_4000,
        ],
    },
    Chip {
        name: "esp32h2",
        memory: &[
            0x4080_0000..0x4085_0000,
            0x4200_0000..0x4300_0000,
            0x5000_0000..0x5000_1000,
        ],
    },
];

/// A firmware image that can be flashed and listened to.
#[derive(Clone)]
pub struct FirmwareImage {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    elf: Vec<u8>,
    digest: [u8; 32],
    load_bytes: u64,
    rtt: Option<u32>,
    code: Vec<Range<u32>>,
    defmt: Option<Defmt>,
    /// Made when it is first asked for: most runs see no backtrace. See `prepare_backtraces`.
    symbolizer: OnceLock<Option<Symbolizer>>,
}

/// What decoding a log needs.
pub(crate) struct Defmt {
    pub(crate) table: defmt_decoder::Table,
    pub(crate) locations: defmt_decoder::Locations,
}

impl FirmwareImage {
    /// Reads and checks the ELF at `path` for the chip `chip`, RTT and defmt included.
    ///
    /// # Errors
    /// [`ImageError`], each with what to do.
    pub fn load(path: &Path, chip: &str) -> Result<Self, ImageError> {
        let image = Self::load_any(path, chip)?;
        let path = path.to_owned();
        if image.inner.rtt.is_none() {
            return Err(ImageError::NoRtt { path });
        }
        if image.inner.defmt.is_none() {
            return Err(ImageError::NoDefmt { path });
        }
        Ok(image)
    }

    /// As [`FirmwareImage::load`] for an image that need not have RTT or defmt: an on-target test
    /// speaks through semihosting.
    ///
    /// # Errors
    /// [`ImageError`], each with what to do.
    pub fn load_any(path: &Path, chip: &str) -> Result<Self, ImageError> {
        let elf = fs::read(path).map_err(|source| ImageError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, elf, chip)
    }

    /// Checks the bytes of an ELF; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`FirmwareImage::load_any`].
    pub fn parse(path: &Path, elf: Vec<u8>, chip: &str) -> Result<Self, ImageError> {
        check_header(path, &elf, chip)?;
        let file = ElfFile32::<object::Endianness>::parse(&*elf)
            .map_err(|source| damaged(path, source))?;
        let load = loadable(path, &file)?;
        check_chip(path, &file, &load, chip)?;
        let defmt = defmt(path, &elf)?;
        let rtt = file
            .symbol_by_name("_SEGGER_RTT")
            .and_then(|symbol| u32::try_from(symbol.address()).ok());
        let inner = Inner {
            path: path.to_owned(),
            digest: Sha256::digest(&elf).into(),
            load_bytes: load.iter().map(|segment| segment.end - segment.start).sum(),
            rtt,
            code: code(&file),
            defmt,
            symbolizer: OnceLock::new(),
            elf,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The file's bytes.
    #[must_use]
    pub fn elf(&self) -> &[u8] {
        &self.inner.elf
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.inner.digest
    }

    /// Bytes of code and data that the image loads.
    #[must_use]
    pub fn load_bytes(&self) -> u64 {
        self.inner.load_bytes
    }

    /// Address of the RTT control block.
    #[must_use]
    pub fn rtt_address(&self) -> Option<u32> {
        self.inner.rtt
    }

    /// Whether `address` is in the image's code.
    #[must_use]
    pub fn is_code(&self, address: u32) -> bool {
        self.inner.code.iter().any(|range| range.contains(&address))
    }

    pub(crate) fn defmt(&self) -> Option<&Defmt> {
        self.inner.defmt.as_ref()
    }

    /// Makes what a backtrace needs, on a thread of its own: a crash is no moment to read debug
    /// information.
    pub(crate) fn prepare_backtraces(&self) {
        let image = self.clone();
        // Without a thread the first backtrace waits for it.
        let _ = std::thread::Builder::new()
            .name("hil-symbols".into())
            .spawn(move || {
                image.symbolizer();
            });
    }

    pub(crate) fn symbolizer(&self) -> Option<&Symbolizer> {
        let make = || {
            // It was parsed before: `FirmwareImage::parse`.
            let file = ElfFile32::<object::Endianness>::parse(&*self.inner.elf).ok()?;
            Symbolizer::new(&file)
        };
        self.inner.symbolizer.get_or_init(make).as_ref()
    }
}

impl std::fmt::Debug for FirmwareImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirmwareImage")
            .field("path", &self.inner.path)
            .field("rtt", &self.inner.rtt)
            .finish_non_exhaustive()
    }
}

fn damaged(path: &Path, source: object::Error) -> ImageError {
    ImageError::Damaged {
        path: path.to_owned(),
        source,
    }
}

/// Checks by hand what must be right before the file is worth parsing: magic number, processor,
/// and that everything the headers speak of is there. Source: System V ABI, "ELF Header".
fn check_header(path: &Path, elf: &[u8], chip: &str) -> Result<(), ImageError> {
    if !elf.starts_with(&elf::ELFMAG) {
        let begins = &elf[..elf.len().min(8)];
        return Err(ImageError::NotElf {
            path: path.to_owned(),
            begins: begins.escape_ascii().to_string(),
        });
    }
    let truncated = |needed| ImageError::Truncated {
        path: path.to_owned(),
        length: elf.len() as u64,
        needed,
    };
    // The class decides how long the header is; it comes before the processor.
    let class = elf::FileClass(*elf.get(4).ok_or_else(|| truncated(52))?);
    let half = |offset: usize| {
        let bytes = elf.get(offset..offset + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    };
    let word = |offset: usize| {
        let bytes = elf.get(offset..offset + 4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let machine = elf::Machine(half(18).ok_or_else(|| truncated(52))?);
    if class != elf::ELFCLASS32 || machine != elf::EM_RISCV {
        return Err(ImageError::OtherArchitecture {
            path: path.to_owned(),
            found: machine_name(machine, class),
            chip: chip.to_owned(),
        });
    }
    if elf.len() < 52 {
        return Err(truncated(52));
    }
    let table = |offset: usize, size: usize, count: usize| {
        Some(word(offset)? + u64::from(half(size)?) * u64::from(half(count)?))
    };
    let tables = [table(28, 42, 44), table(32, 46, 48)];
    let mut needed = tables.into_iter().flatten().max().unwrap_or(52);
    // Program headers: offset and size of each segment in the file.
    let (first, size, count) = (word(28), half(42), half(44));
    if let (Some(first), Some(size), Some(count)) = (first, size, count) {
        for index in 0..u64::from(count) {
            let header =
                usize::try_from(first + index * u64::from(size)).unwrap_or(usize::MAX - 64);
            if let (Some(offset), Some(length)) = (word(header + 4), word(header + 16)) {
                needed = needed.max(offset + length);
            }
        }
    }
    if needed > elf.len() as u64 {
        return Err(truncated(needed));
    }
    Ok(())
}

fn machine_name(machine: elf::Machine, class: elf::FileClass) -> String {
    let name = match machine {
        elf::EM_RISCV if class == elf::ELFCLASS64 => "RISC-V with 64 bits",
        elf::EM_XTENSA => "Xtensa (ESP32, ESP32-S2 or ESP32-S3)",
        elf::EM_ARM => "Arm",
        elf::EM_AARCH64 => "Arm with 64 bits",
        elf::EM_X86_64 => "x86-64 (a program of this computer?)",
        elf::EM_386 => "x86",
        other => return format!("processor number {}", other.0),
    };
    name.into()
}

/// The segments that an image loads, by address.
fn loadable(
    path: &Path,
    file: &ElfFile32<'_, object::Endianness>,
) -> Result<Vec<Range<u64>>, ImageError> {
    let mut ranges = vec![];
    for segment in file.segments() {
        let (_, length) = segment.file_range();
        if length > 0 {
            ranges.push(segment.address()..segment.address() + length);
        }
    }
    if ranges.is_empty() {
        return Err(ImageError::NoCode {
            path: path.to_owned(),
        });
    }
    Ok(ranges)
}

/// An image says which chip it is for, if esp-hal put that in; if not, its addresses tell.
fn check_chip(
    path: &Path,
    file: &ElfFile32<'_, object::Endianness>,
    load: &[Range<u64>],
    chip: &str,
) -> Result<(), ImageError> {
    let other = |found: String| {
        Err(ImageError::OtherChip {
            path: path.to_owned(),
            found,
            chip: chip.to_owned(),
        })
    };
    if let Some(found) = stated_chip(file) {
        if found != chip {
            return other(format!("the chip `{found}`"));
        }
        return Ok(());
    }
    let fits = |chip: &Chip| {
        let inside = |range: &Range<u64>| {
            let part = |memory: &Range<u64>| range.start >= memory.start && range.end <= memory.end;
            chip.memory.iter().any(part)
        };
        load.iter().all(inside)
    };
    let wanted = CHIPS.iter().find(|known| known.name == chip);
    if wanted.is_none_or(fits) {
        return Ok(());
    }
    let candidates: Vec<String> = CHIPS
        .iter()
        .filter(|chip| fits(chip))
        .map(|chip| format!("`{}`", chip.name))
        .collect();
    if candidates.is_empty() {
        let first = load.iter().map(|range| range.start).min().unwrap_or(0);
        return other(format!("a chip with memory at {first:#010x}"));
    }
    other(format!("the chip {}", candidates.join(" or ")))
}

/// The chip's name in the metadata that Espressif's crates link in (section `.espressif.metadata`).
fn stated_chip<'e>(file: &ElfFile32<'e, object::Endianness>) -> Option<&'e str> {
    let section = file.section_by_name(".espressif.metadata")?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok("build_info.CHIP_NAME"))?;
    let data = section.data_range(symbol.address(), symbol.size()).ok()??;
    std::str::from_utf8(data).ok()
}

/// Executable sections, by address.
fn code(file: &ElfFile32<'_, object::Endianness>) -> Vec<Range<u32>> {
    let executable = |section: &object::read::elf::ElfSection32<'_, '_, object::Endianness>| {
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            return false;
        };
        sh_flags.0 & elf::SHF_EXECINSTR.0 != 0
    };
    file.sections()
        .filter(executable)
        .filter_map(|section| {
            let start = u32::try_from(section.address()).ok()?;
            Some(start..start.checked_add(u32::try_from(section.size()).ok()?)?)
        })
        .collect()
}

fn defmt(path: &Path, elf: &[u8]) -> Result<Option<Defmt>, ImageError> {
    let error = |reason: String| ImageError::Defmt {
        path: path.to_owned(),
        reason,
    };
    // The library's errors are chains of its own making: only their words are of use.
    let table = defmt_decoder::Table::parse(elf).map_err(|e| error(e.to_string()))?;
    let Some(table) = table else {
        return Ok(None);
    };
    let locations = table.get_locations(elf).map_err(|e| error(e.to_string()))?;
    Ok(Some(Defmt { table, locations }))
}

#[cfg(test)]
mod tests;
