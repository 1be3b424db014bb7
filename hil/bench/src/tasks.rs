//! What each task of the firmware takes of RAM, whether it runs or not.
//!
//! embassy keeps the state of an async task in a static of its own, `<task>::POOL`, as large as all
//! that is alive across its longest wait, times the size of its pool. So the symbol table tells, to
//! the byte, before anything runs.

use object::{Object, ObjectSymbol, read::elf::ElfFile32};

use crate::image::FirmwareImage;

/// A task, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSize {
    /// Its path, such as `firmware_app::mqtt::task`.
    pub name: String,
    /// Bytes of RAM.
    pub bytes: u64,
}

impl FirmwareImage {
    /// The tasks of the image, the largest first; none in an image without symbols.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskSize> {
        // It was parsed before: `FirmwareImage::parse`.
        let Ok(file) = ElfFile32::<object::Endianness>::parse(self.elf()) else {
            return vec![];
        };
        let mut tasks: Vec<TaskSize> = file
            .symbols()
            .filter(|symbol| symbol.size() > 0)
            .filter_map(|symbol| {
                Some(TaskSize {
                    name: task_name(symbol.name().ok()?)?,
                    bytes: symbol.size(),
                })
            })
            .collect();
        tasks.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        tasks
    }
}

/// The task whose pool this symbol is.
fn task_name(symbol: &str) -> Option<String> {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let task = name.strip_suffix("::POOL")?;
    // What `#[esp_hal::main]` makes of `main`.
    let task = task.strip_suffix("::__embassy_main").unwrap_or(task);
    Some(task.trim_end_matches("::__main").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_told_from_other_symbols() {
        let check = |symbol: &str, expected: Option<&str>| {
            assert_eq!(task_name(symbol).as_deref(), expected, "{symbol}");
        };
        check(
            "_ZN12firmware_app4mqtt4task4POOL17h9f39320bf938cb15E",
            Some("firmware_app::mqtt::task"),
        );
        check(
            "_ZN12firmware_app6__main14__embassy_main4POOL17h8e10fb720b9798f6E",
            Some("firmware_app"),
        );
        check("_RNvNvNtCs1_3app3net3run4POOL", Some("app::net::run"));
        check("_ZN12firmware_app4heap4POOLS17h9f39320bf938cb15E", None);
        check("POOL", None);
        check("main", None);
    }
}
