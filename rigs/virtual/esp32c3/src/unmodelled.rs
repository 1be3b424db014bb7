//! What firmware touched and this simulator does not model: counted, and named.
//!
//! A register that answers zero without a word costs somebody a day. Here every such access leaves a line,
//! `uart1: read of unmodelled register +0x38 (pc 0x4200_1a2c)`, so that a strange run can be explained.

use std::collections::BTreeMap;
use std::fmt;

/// What was done to something that is not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// A register was read.
    Read,
    /// A register was written.
    Write,
    /// Something other than a register was used: a feature, a ROM function.
    Use,
}

/// One kind of access, and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmodelled {
    /// The block, as the address map names it; or the feature.
    pub name: String,
    /// Register offset in bytes below the block's base; 0 for [`Access::Use`].
    pub offset: u32,
    /// What was done.
    pub access: Access,
    /// How often.
    pub count: u64,
    /// Program counter of the first time.
    pub first_pc: u32,
}

impl fmt::Display for Unmodelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.access {
            Access::Read => write!(
                f,
                "{}: read of unmodelled register +{:#04x}",
                self.name, self.offset
            )?,
            Access::Write => write!(
                f,
                "{}: write of unmodelled register +{:#04x}",
                self.name, self.offset
            )?,
            Access::Use => write!(f, "{}: not modelled", self.name)?,
        }
        write!(f, " (pc {})", address(self.first_pc))?;
        if self.count > 1 {
            write!(f, ", {} times", self.count)?;
        }
        Ok(())
    }
}

/// An address as people read them: `0x4200_1a2c`.
pub(crate) fn address(value: u32) -> String {
    format!("{:#06x}_{:04x}", value >> 16, value & 0xFFFF)
}

/// All unmodelled accesses since the chip was made, over resets.
#[derive(Clone, Debug, Default)]
pub struct UnmodelledLog {
    entries: BTreeMap<(String, u32, Access), (u64, u32)>,
}

impl UnmodelledLog {
    /// Kinds of access kept apart. A program gone wild over the address space must not fill the host's memory;
    /// beyond this, new kinds are counted under one name.
    const KINDS_MAX: usize = 4096;

    /// Notes a read of a register at `offset` in the block `name`.
    pub(crate) fn read(&mut self, name: &str, offset: u32, pc: u32) {
        self.note(name, offset, Access::Read, pc);
    }

    /// Notes a write to a register at `offset` in the block `name`.
    pub(crate) fn write(&mut self, name: &str, offset: u32, pc: u32) {
        self.note(name, offset, Access::Write, pc);
    }

    /// Notes the use of a feature: "rtc_cntl: deep sleep".
    pub(crate) fn used(&mut self, name: &str, pc: u32) {
        self.note(name, 0, Access::Use, pc);
    }

    fn note(&mut self, name: &str, offset: u32, access: Access, pc: u32) {
        let mut key = (name.to_owned(), offset, access);
        if self.entries.len() >= Self::KINDS_MAX && !self.entries.contains_key(&key) {
            key = ("others".to_owned(), 0, Access::Use);
        }
        self.entries.entry(key).or_insert((0, pc)).0 += 1;
    }

    /// How many kinds of access there were.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when everything touched so far is modelled.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each kind of access, by name and offset.
    pub fn iter(&self) -> impl Iterator<Item = Unmodelled> + '_ {
        self.entries
            .iter()
            .map(|((name, offset, access), (count, first_pc))| Unmodelled {
                name: name.clone(),
                offset: *offset,
                access: *access,
                count: *count,
                first_pc: *first_pc,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_named_and_counted() {
        fn check(note: impl Fn(&mut UnmodelledLog), expected: &str) {
            let mut log = UnmodelledLog::default();
            note(&mut log);
            let lines: Vec<String> = log.iter().map(|entry| entry.to_string()).collect();
            assert_eq!(lines.join("\n"), expected);
        }
        check(
            |log| log.read("uart1", 0x38, 0x4200_1A2C),
            "uart1: read of unmodelled register +0x38 (pc 0x4200_1a2c)",
        );
        check(
            |log| (0..3).for_each(|n| log.write("timg0", 0xF8, 0x4038_0000 + n)),
            "timg0: write of unmodelled register +0xf8 (pc 0x4038_0000), 3 times",
        );
        check(
            |log| log.used("rtc_cntl: deep sleep", 4),
            "rtc_cntl: deep sleep: not modelled (pc 0x0000_0004)",
        );
    }

    #[test]
    fn a_wild_program_does_not_fill_memory() {
        let mut log = UnmodelledLog::default();
        for offset in 0..10_000 {
            log.read("nowhere", offset * 4, 0);
        }
        assert_eq!(log.len(), UnmodelledLog::KINDS_MAX + 1);
        assert_eq!(log.iter().map(|entry| entry.count).sum::<u64>(), 10_000);
    }
}
