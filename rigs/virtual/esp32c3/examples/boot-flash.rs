//! Boots a flash image on the simulated chip, alone, and tells what it does: console, frames, resets.
//!
//! For looking at a new firmware before a whole rig is built around it. The flash file is what a programmer would read
//! back from a board: bootloader at 0x0, partition table at 0x8000, application. It is not written.
//!
//! ```text
//! cargo run --release --example boot-flash -- FLASH.BIN [SECONDS]
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use virtual_esp32c3::{Chip, ChipConfig, ChipEvent, DEFAULT_BYTES, Flash, Pause, Ticks};

/// Chip time to run when nothing is said.
const SECONDS: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, seconds) = match arguments.as_slice() {
        [path] => (path, Ok(SECONDS)),
        [path, seconds] => (path, seconds.parse()),
        _ => {
            eprintln!("usage: boot-flash FLASH.BIN [SECONDS]");
            return ExitCode::from(2);
        }
    };
    let Ok(seconds) = seconds else {
        eprintln!("error: `{}` is no number of seconds", arguments[1]);
        return ExitCode::from(2);
    };
    let flash = match Path::new(path).metadata() {
        Ok(_) => Flash::load(Path::new(path), DEFAULT_BYTES),
        Err(error) => {
            eprintln!("error: can't open `{path}`: {error}");
            return ExitCode::from(2);
        }
    };
    match flash {
        Ok(flash) => run(flash, Ticks::from_seconds(seconds)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs to `end` and says how it went: success when an application was booted and the hart is not stuck.
fn run(flash: Flash, end: Ticks) -> ExitCode {
    let mut chip = Chip::new(ChipConfig {
        seed: 1,
        mac: [0x7C, 0xDF, 0xA1, 0x00, 0x00, 0x01],
        revision: (0, 4),
        flash,
    });
    let begun = Instant::now();
    let (mut booted, mut stuck) = (false, false);
    loop {
        let pause = chip.run(end, u64::MAX);
        while let Some(frame) = chip.transmitted() {
            println!("{}: {}", chip.now(), describe(&frame));
        }
        for event in chip.events() {
            match event {
                ChipEvent::Console { at, port, bytes } => {
                    println!("{at}: {port}: {:?}", String::from_utf8_lossy(&bytes));
                }
                ChipEvent::Booted { at, image, entry } => {
                    println!("{at}: booted the image at {image:#x}, entry {entry:#x}");
                    booted = true;
                }
                ChipEvent::Lockup { at, pc } => {
                    println!("{at}: locked up at {pc:#x}");
                    stuck = true;
                }
                other => println!("{other:?}"),
            }
        }
        match pause {
            Pause::Limit | Pause::Idle | Pause::Halted | Pause::PowerFailed => break,
            Pause::Budget | Pause::FrameSent | Pause::Reset | Pause::PinChanged => {}
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{} instructions in {} of chip time, {wall:.3} s: {:.0} million a second",
        chip.instructions(),
        chip.now(),
        chip.instructions() as f64 / wall / 1e6
    );
    for access in chip.unmodelled().iter() {
        println!("unmodelled: {access}");
    }
    if booted && !stuck {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn describe(frame: &[u8]) -> String {
    let protocol = match frame.get(12..14) {
        Some([0x08, 0x00]) => "IPv4",
        Some([0x08, 0x06]) => "ARP",
        Some([0x86, 0xDD]) => "IPv6",
        _ => "other",
    };
    // UDP from the DHCP client's port to the server's.
    let dhcp = frame.get(34..38) == Some(&[0, 68, 0, 67]);
    let what = if dhcp { "DHCP" } else { protocol };
    format!("frame of {} bytes, {what}", frame.len())
}
