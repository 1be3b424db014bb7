//! What a firmware image takes: of flash, of RAM, and each task of it.
//!
//! `cargo run -p hil-bench --example budget -- ELF CHIP`: the tables of `docs/performance.md`.

use std::{env, path::Path, process::ExitCode};

use hil_bench::FirmwareImage;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [path, chip] = arguments.as_slice() else {
        eprintln!("usage: budget ELF CHIP");
        return ExitCode::from(2);
    };
    match print(Path::new(path), chip) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print(path: &Path, chip: &str) -> Result<(), Box<dyn std::error::Error>> {
    let image = FirmwareImage::load_any(path, chip)?;
    let file = object::File::parse(image.elf())?;
    println!("flash: {} bytes of code and data", image.load_bytes());
    for section in file.sections() {
        let loaded = matches!(
            section.kind(),
            SectionKind::Text
                | SectionKind::Data
                | SectionKind::ReadOnlyData
                | SectionKind::ReadOnlyString
                | SectionKind::UninitializedData
        );
        if loaded && section.size() > 0 {
            println!("{:>9}  {}", section.size(), section.name()?);
        }
    }
    let symbol = |name: &str| file.symbol_by_name(name).map(|symbol| symbol.address());
    if let (Some(top), Some(bottom)) = (symbol("_stack_start_cpu0"), symbol("_stack_end_cpu0")) {
        println!("{:>9}  main stack", top - bottom);
    }
    let tasks = image.tasks();
    println!(
        "tasks: {} bytes",
        tasks.iter().map(|task| task.bytes).sum::<u64>()
    );
    for task in tasks {
        println!("{:>9}  {}", task.bytes, task.name);
    }
    Ok(())
}
