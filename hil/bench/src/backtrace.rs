//! Addresses to places in the source, with inlined functions; and the chain of frames on a stack.

use std::{borrow::Cow, fmt, sync::Arc};

use addr2line::{
    Context,
    gimli::{self, EndianArcSlice, LittleEndian},
};
use object::{Object, ObjectSection, ObjectSymbol, read::elf::ElfFile32};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// One frame of a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacktraceFrame {
    /// The address: of the instruction for the innermost frame, of the return for the others.
    pub address: u32,
    /// What is there: inlined functions first, the function that was really called last. Empty
    /// when the image doesn't say.
    pub places: Vec<Place>,
}

impl fmt::Display for BacktraceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.address)?;
        for (index, place) in self.places.iter().enumerate() {
            let inlined = if index > 0 { " inlined into" } else { "" };
            write!(f, "{inlined} {place}")?;
        }
        Ok(())
    }
}

impl BacktraceFrame {
    /// The frame in one line, by the innermost place that is not in Rust's own library: that one
    /// says what was done, not with which means.
    pub(crate) fn outside_of_library(&self) -> String {
        let in_library = |place: &&Place| {
            let file = place.file.as_deref().unwrap_or_default();
            file.starts_with("library/") || file.contains("/rustlib/")
        };
        let place = self.places.iter().find(|place| !in_library(place));
        match place.or(self.places.first()) {
            Some(place) => format!("{:#010x} in {place}", self.address),
            None => format!("{:#010x}", self.address),
        }
    }
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The function, with its path.
    pub function: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            _ => Ok(()),
        }
    }
}

type Reader = EndianArcSlice<LittleEndian>;

/// Finds places by address in an image's debug information.
pub struct Symbolizer {
    // A context keeps what it parsed in cells, so that threads must take turns.
    context: Mutex<Option<Context<Reader>>>,
    /// Functions by address, for code without debug information.
    functions: Vec<(u32, u32, String)>,
}

// `EndianArcSlice` is shareable between threads, the lazily parsed units inside are guarded.
impl Symbolizer {
    /// A symbolizer for `file`, unless it has neither symbols nor debug information.
    pub(crate) fn new(file: &ElfFile32<'_, object::Endianness>) -> Option<Self> {
        let mut functions: Vec<(u32, u32, String)> = file
            .symbols()
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text)
            .filter_map(|symbol| {
                let start = u32::try_from(symbol.address()).ok()?;
                let size = u32::try_from(symbol.size()).ok()?;
                Some((start, size, symbol.name().ok()?.to_owned()))
            })
            .collect();
        functions.sort();
        let context = context(file);
        if context.is_none() && functions.is_empty() {
            return None;
        }
        Some(Self {
            context: Mutex::new(context),
            functions,
        })
    }

    /// The places of one address. `is_return`: the address is where a call returns to, so the place
    /// is that of the call before it.
    #[must_use]
    pub fn places(&self, address: u32, is_return: bool) -> Vec<Place> {
        let probe = if is_return {
            address.saturating_sub(1)
        } else {
            address
        };
        let places = self.inlined_places(probe);
        if !places.is_empty() {
            return places;
        }
        self.function(probe)
            .map(|function| Place {
                function,
                file: None,
                line: None,
            })
            .into_iter()
            .collect()
    }

    /// A backtrace from addresses, the innermost first. `returns`: all of them are return
    /// addresses; if not, the first is that of an instruction.
    #[must_use]
    pub fn backtrace(&self, addresses: &[u32], returns: bool) -> Vec<BacktraceFrame> {
        addresses
            .iter()
            .enumerate()
            .map(|(index, address)| BacktraceFrame {
                address: *address,
                places: self.places(*address, returns || index > 0),
            })
            .collect()
    }

    fn inlined_places(&self, address: u32) -> Vec<Place> {
        let guard = self.context.lock();
        let Some(context) = guard.as_ref() else {
            return vec![];
        };
        let Ok(mut frames) = context.find_frames(address.into()).skip_all_loads() else {
            return vec![];
        };
        let mut places = vec![];
        while let Ok(Some(frame)) = frames.next() {
            let function = frame
                .function
                .as_ref()
                .and_then(|name| name.demangle().ok().map(Cow::into_owned));
            let Some(function) = function else { continue };
            let location = frame.location.as_ref();
            places.push(Place {
                function,
                file: location.and_then(|location| location.file).map(short_path),
                line: location.and_then(|location| location.line),
            });
        }
        places
    }

    fn function(&self, address: u32) -> Option<String> {
        let after = self
            .functions
            .partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.functions[..after].last()?;
        // Assembly has no sizes.
        let inside = *size == 0 || address - start < *size;
        inside.then(|| format!("{:#}", rustc_demangle::demangle(name)))
    }
}

impl fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbolizer")
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

fn context(file: &ElfFile32<'_, object::Endianness>) -> Option<Context<Reader>> {
    let section = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
        let data = file
            .section_by_name(id.name())
            .and_then(|section| section.uncompressed_data().ok())
            .unwrap_or_default();
        Ok(EndianArcSlice::new(Arc::from(&*data), LittleEndian))
    };
    file.section_by_name(".debug_info")?;
    let dwarf = gimli::Dwarf::load(section).ok()?;
    Context::from_dwarf(dwarf).ok()
}

/// Paths in registries and toolchains without what differs between machines.
fn short_path(path: &str) -> String {
    let marks = ["/registry/src/", "/rustc/", "/rustlib/src/rust/"];
    for mark in marks {
        if let Some((_, rest)) = path.split_once(mark) {
            // The next level is the registry's or the compiler's hash.
            return match (mark, rest.split_once('/')) {
                ("/rustlib/src/rust/", _) | (_, None) => rest.to_owned(),
                (_, Some((_, rest))) => rest.to_owned(),
            };
        }
    }
    path.to_owned()
}

/// Addresses written in `text` as `0x…` with eight digits that `is_code` takes for code, in order.
pub(crate) fn addresses_in(text: &str, is_code: impl Fn(u32) -> bool) -> Vec<u32> {
    text.match_indices("0x")
        .filter_map(|(at, _)| {
            let digits = text.get(at + 2..at + 10)?;
            let ends = text[at + 10..].chars().next();
            let complete = ends.is_none_or(|c| !c.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16).ok().filter(|_| complete)
        })
        .filter(|address| is_code(*address))
        .collect()
}

/// Follows the chain of frame pointers from `frame_pointer` (register s0) outwards and collects the
/// return addresses. `read` gives the word at an address of the stack.
///
/// Layout: RISC-V calling convention with `-C force-frame-pointers`: the return address is at
/// s0 - 4, the caller's s0 at s0 - 8.
pub(crate) fn unwind(
    frame_pointer: u32,
    is_code: impl Fn(u32) -> bool,
    mut read: impl FnMut(u32) -> Option<u32>,
) -> Vec<u32> {
    const FRAMES_MAX: usize = 64;
    let mut addresses = vec![];
    let mut frame = frame_pointer;
    while addresses.len() < FRAMES_MAX && frame >= 8 && frame.is_multiple_of(4) {
        let (Some(return_address), Some(next)) = (read(frame - 4), read(frame - 8)) else {
            break;
        };
        if !is_code(return_address) {
            break;
        }
        addresses.push(return_address);
        // The stack grows down: the caller's frame lies above.
        if next <= frame {
            break;
        }
        frame = next;
    }
    addresses
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn is_code(address: u32) -> bool {
        (0x4200_0000..0x4210_0000).contains(&address)
    }

    #[track_caller]
    fn check_addresses(text: &str, expected: &[u32]) {
        assert_eq!(addresses_in(text, is_code), expected, "in {text:?}");
    }

    #[test]
    fn a_frame_in_one_line_is_named_by_what_was_done() {
        let place = |function: &str, file: &str| Place {
            function: function.into(),
            file: Some(file.into()),
            line: Some(7),
        };
        let check = |places: &[Place], expected: &str| {
            let frame = BacktraceFrame {
                address: 0x4200_0010,
                places: places.to_vec(),
            };
            assert_eq!(frame.outside_of_library(), expected);
        };
        let library = place("core::hint::spin_loop", "library/core/src/hint.rs");
        let ours = place("faults::wait", "src/faults.rs");
        let caller = place("main", "src/main.rs");
        check(
            &[library.clone(), ours, caller],
            "0x42000010 in faults::wait (src/faults.rs:7)",
        );
        check(
            &[library],
            "0x42000010 in core::hint::spin_loop (library/core/src/hint.rs:7)",
        );
        check(&[], "0x42000010");
    }

    #[test]
    fn addresses_of_code_are_found_in_a_message() {
        check_addresses(
            "exception: mepc 0x42001234, mtval 0x00000010",
            &[0x4200_1234],
        );
        check_addresses("0x42000002,0x42000004", &[0x4200_0002, 0x4200_0004]);
        check_addresses("0x420012345 0x4200 0x", &[]);
        check_addresses("no address", &[]);
        check_addresses("§0x42000002§", &[0x4200_0002]);
    }

    #[track_caller]
    fn check_unwind(stack: &[(u32, u32)], from: u32, expected: &[u32]) {
        let stack: BTreeMap<u32, u32> = stack.iter().copied().collect();
        assert_eq!(
            unwind(from, is_code, |at| stack.get(&at).copied()),
            expected
        );
    }

    #[test]
    fn frames_are_followed_to_their_end() {
        let two = [
            (0x1ffc, 0x4200_0010),
            (0x1ff8, 0x2020),
            (0x201c, 0x4200_0020),
            (0x2018, 0),
        ];
        check_unwind(&two, 0x2000, &[0x4200_0010, 0x4200_0020]);
    }

    #[test]
    fn a_damaged_chain_ends_the_backtrace() {
        // A return address that is no code; a frame pointer that goes down, to itself, nowhere.
        check_unwind(&[(0x1ffc, 0x10), (0x1ff8, 0x2020)], 0x2000, &[]);
        check_unwind(
            &[(0x1ffc, 0x4200_0010), (0x1ff8, 0x1000)],
            0x2000,
            &[0x4200_0010],
        );
        check_unwind(
            &[(0x1ffc, 0x4200_0010), (0x1ff8, 0x2000)],
            0x2000,
            &[0x4200_0010],
        );
        check_unwind(&[], 0x2000, &[]);
        check_unwind(&[], 0x2001, &[]);
        check_unwind(&[], 0, &[]);
    }

    #[test]
    fn paths_lose_what_differs_between_machines() {
        let short = [
            (
                "/home/a/.cargo/registry/src/index-1f/esp-hal-1.2.2/src/lib.rs",
                "esp-hal-1.2.2/src/lib.rs",
            ),
            (
                "/rustc/abcdef/library/core/src/option.rs",
                "library/core/src/option.rs",
            ),
            ("src/main.rs", "src/main.rs"),
        ];
        for (path, expected) in short {
            assert_eq!(short_path(path), expected);
        }
    }
}
