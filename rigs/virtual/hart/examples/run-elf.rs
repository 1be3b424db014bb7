//! Runs a 32-bit RISC-V ELF file on the hart, in the manner of the public riscv-tests programs.
//!
//! It exists so that anybody can hold the hart against the conformance programs, which are not part of this repository:
//! `cargo run -p virtual-hart --example run-elf -- [--esp32c3] FILE...`
//!
//! RAM lies where the segments say (at least 2 MiB from the lowest one). A program ends by a word other than 0 written
//! to the symbol `tohost`, or by `ecall` with a7 = 93 when it has installed no trap handler: 1 (or a0 = 0) is a pass,
//! anything else names the test case that failed. Exit codes: 0 all passed, 1 one failed, 2 a file can't be run.

use std::process::ExitCode;

use object::{Object, ObjectSegment, ObjectSymbol};
use virtual_hart::{FlatRam, Hart, HartProfile, Stop, csr_number};

const RAM_BYTES_MIN: u64 = 2 << 20;
const RAM_BYTES_MAX: u64 = 256 << 20;
/// More than any conformance program takes.
const CYCLES_MAX: u64 = 200_000_000;
const SLICE_CYCLES: u64 = 10_000;
const SYS_EXIT: u32 = 93;
const WFI: u32 = 0x1050_0073;

fn main() -> ExitCode {
    let mut profile = HartProfile::Generic;
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--esp32c3" => profile = HartProfile::Esp32C3,
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!("usage: run-elf [--esp32c3] FILE...");
        return ExitCode::from(2);
    }
    let mut code = 0;
    for file in files {
        match run(&file, profile) {
            Ok(Outcome::Passed { instructions }) => {
                println!("pass {file} ({instructions} instructions)");
            }
            Ok(Outcome::Failed(why)) => {
                println!("FAIL {file}: {why}");
                code = code.max(1);
            }
            Err(error) => {
                eprintln!("{file}: {error}");
                code = 2;
            }
        }
    }
    ExitCode::from(code)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed { instructions: u64 },
    Failed(String),
}

fn run(path: &str, profile: HartProfile) -> Result<Outcome, String> {
    let data = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    execute(&data, profile)
}

fn execute(data: &[u8], profile: HartProfile) -> Result<Outcome, String> {
    let elf = object::File::parse(data).map_err(|error| format!("not an ELF file: {error}"))?;
    if elf.architecture() != object::Architecture::Riscv32 {
        return Err(format!(
            "is for {:?}, not for 32-bit RISC-V",
            elf.architecture()
        ));
    }
    let (mut ram, handler) = load(&elf)?;
    let tohost = elf
        .symbols()
        .find(|symbol| symbol.name() == Ok("tohost"))
        .map(|symbol| symbol.address() as u32);
    let mut hart = Hart::with_profile(profile);
    hart.set_pc(elf.entry() as u32);
    hart.set_csr(csr_number::MTVEC, handler);
    loop {
        let stop = hart.run(&mut ram, hart.cycles() + SLICE_CYCLES);
        if let Some(address) = tohost {
            let bytes = ram.read(address, 4).try_into();
            let word = u32::from_le_bytes(bytes.expect("four bytes were asked for"));
            if word != 0 {
                // riscv-tests write 1, or the number of the failed case shifted left with bit 0 set.
                return Ok(verdict(word >> 1, &hart));
            }
        }
        match stop {
            Stop::WaitForInterrupt if hart.pc() == handler + 4 => {
                let exits = hart.csr(csr_number::MCAUSE) == Some(11) && hart.x(17) == SYS_EXIT;
                if exits {
                    return Ok(verdict(hart.x(10), &hart));
                }
                return Ok(Outcome::Failed(unhandled(&hart)));
            }
            Stop::Deadline | Stop::WaitForInterrupt if hart.cycles() < CYCLES_MAX => {}
            stop => {
                return Ok(Outcome::Failed(format!(
                    "{stop:x?} at {:#010x} after {} cycles",
                    hart.pc(),
                    hart.cycles()
                )));
            }
        }
    }
}

fn verdict(failed_case: u32, hart: &Hart) -> Outcome {
    if failed_case == 0 {
        Outcome::Passed {
            instructions: hart.instructions(),
        }
    } else {
        Outcome::Failed(format!("test case {failed_case}"))
    }
}

fn unhandled(hart: &Hart) -> String {
    let csr = |number| hart.csr(number).unwrap_or_default();
    format!(
        "no trap handler: mcause {:#x}, mepc {:#010x}, mtval {:#010x}",
        csr(csr_number::MCAUSE),
        csr(csr_number::MEPC),
        csr(csr_number::MTVAL)
    )
}

/// The RAM with the segments in it, and the address of a trap handler behind them that only waits.
fn load(elf: &object::File<'_>) -> Result<(FlatRam, u32), String> {
    let start = elf.segments().map(|segment| segment.address()).min();
    let end = elf
        .segments()
        .map(|segment| segment.address() + segment.size())
        .max();
    let (Some(start), Some(end)) = (start, end) else {
        return Err("has no segments to load".to_string());
    };
    let base = start & !0xfff;
    let handler = (base + (end - base).max(RAM_BYTES_MIN)).next_multiple_of(256);
    let length = handler + 256 - base;
    if length > RAM_BYTES_MAX {
        return Err(format!(
            "its segments span {length} bytes; at most {RAM_BYTES_MAX} are simulated"
        ));
    }
    let mut ram = FlatRam::new(base as u32, length as u32);
    for segment in elf.segments() {
        let bytes = segment
            .data()
            .map_err(|error| format!("a segment is damaged: {error}"))?;
        ram.write(segment.address() as u32, bytes);
    }
    ram.write(handler as u32, &WFI.to_le_bytes());
    Ok((ram, handler as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = 0x8000_0000;
    const TO_HOST: u32 = START + 0x100;
    const EM_RISCV: u16 = 243;
    const EM_386: u16 = 3;

    const ECALL: u32 = 0x0000_0073;
    const FOR_EVER: u32 = 0x0000_006f;

    /// `addi register, zero, value`
    const fn li(register: u32, value: u32) -> u32 {
        value << 20 | register << 7 | 0x13
    }

    /// An executable with one segment at `START` and, when `names_tohost`, that symbol at `TO_HOST`.
    fn elf(machine: u16, code: &[u32], names_tohost: bool) -> Vec<u8> {
        let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let names = b"\0tohost\0\0\0\0\0";
        let (header_bytes, program_bytes, symbol_bytes, section_bytes) = (52, 32, 16, 40);
        let code_at = header_bytes + program_bytes;
        let symbols_at = code_at + code.len() as u32;
        let names_at = symbols_at + 2 * symbol_bytes;
        let sections_at = names_at + names.len() as u32;
        let sections: u16 = if names_tohost { 3 } else { 0 };

        let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
        let words = |elf: &mut Vec<u8>, values: &[u32]| {
            elf.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        };
        half(&mut elf, 2);
        half(&mut elf, machine);
        let table = if names_tohost { sections_at } else { 0 };
        words(&mut elf, &[1, START, header_bytes, table, 0]);
        for value in [header_bytes as u16, program_bytes as u16, 1] {
            half(&mut elf, value);
        }
        // The symbols' names are the sections' too: all sections have the empty one.
        for value in [section_bytes, sections, sections.saturating_sub(1)] {
            half(&mut elf, value);
        }
        let length = code.len() as u32;
        words(&mut elf, &[1, code_at, START, START, length, length, 7, 4]);
        elf.extend(&code);
        words(&mut elf, &[0; 4]);
        words(&mut elf, &[1, TO_HOST, 4, 0xfff1_0010]); // global, absolute
        elf.extend(names);
        words(&mut elf, &[0; 10]);
        let symbols = [
            0,
            2,
            0,
            0,
            symbols_at,
            2 * symbol_bytes,
            2,
            1,
            4,
            symbol_bytes,
        ];
        words(&mut elf, &symbols);
        words(
            &mut elf,
            &[0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
        );
        elf
    }

    #[track_caller]
    fn check(code: &[u32], names_tohost: bool, expected: Result<(), &str>) {
        let outcome = execute(&elf(EM_RISCV, code, names_tohost), HartProfile::Generic);
        let observed = match outcome.expect("it can be run") {
            Outcome::Passed { .. } => Ok(()),
            Outcome::Failed(why) => Err(why),
        };
        assert_eq!(observed, expected.map_err(str::to_owned));
    }

    #[test]
    fn programs_end_by_a_call() {
        let exit = |code| [li(17, SYS_EXIT), li(10, code), ECALL, FOR_EVER];
        check(&exit(0), false, Ok(()));
        check(&exit(3), false, Err("test case 3"));
    }

    #[test]
    fn programs_end_by_a_word_for_the_host() {
        // lui t0, START; li t1, word; sw t1, 0x100(t0)
        let tell = |word| [START | 0x2b7, li(6, word), 0x1062_a023, FOR_EVER];
        check(&tell(1), true, Ok(()));
        check(&tell(3 << 1 | 1), true, Err("test case 3"));
    }

    #[test]
    fn what_a_program_did_not_expect_is_told() {
        let why = "no trap handler: mcause 0x2, mepc 0x80000004, mtval 0x00000000";
        check(&[li(10, 0), 0], false, Err(why));
    }

    #[test]
    fn what_can_not_be_run_is_refused_in_words() {
        let refusal = |data: &[u8]| execute(data, HartProfile::Generic).expect_err("refused");
        assert_eq!(
            refusal(&elf(EM_386, &[FOR_EVER], false)),
            "is for I386, not for 32-bit RISC-V"
        );
        assert!(refusal(b"no ELF at all").starts_with("not an ELF file: "));
    }
}
