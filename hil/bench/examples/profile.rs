//! Where a device spends its time: its backtrace, looked at again and again.
//!
//! `cargo run -p hil-bench --example profile -- ELF SECONDS [down]`, on the virtual rig of the project, with
//! its sensors and without a broker. `down`: with the network's link down.
//!
//! A sample is taken whenever the host gets to it, while the chip runs as fast as it can: so a place has the
//! share of samples that it has of the simulation's work. What a chip sleeps through costs nothing and is not seen.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hil_bench::{Bench, FirmwareImage, OpenOptions, provision};
use hil_rig::Rig;

/// A port that nobody listens on, so that the device tries again and again.
const NO_BROKER: u16 = 9;
/// Lines of each table.
const LINES: usize = 40;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (elf, seconds, down) = match arguments.as_slice() {
        [elf, seconds] => (elf, seconds, false),
        [elf, seconds, down] if down == "down" => (elf, seconds, true),
        _ => {
            eprintln!("usage: profile ELF SECONDS [down]");
            return ExitCode::from(2);
        }
    };
    match profile(Path::new(elf), seconds, down).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn profile(elf: &Path, seconds: &str, down: bool) -> Result<(), Box<dyn Error>> {
    let duration = Duration::from_secs(seconds.parse()?);
    let root = env::current_dir()?;
    let rig = Rig::find("virtual", &root)?.resolve(|name| env::var(name).ok())?;
    let image = FirmwareImage::load(elf, &rig.rig.device.chip.to_string())?;
    let bench = Bench::open(&rig, OpenOptions::new(&root, "profile")).await?;
    bench.flash(&image).await?;
    if let (Some(sensors), Some(fixture)) = (bench.sensors(), &rig.rig.fixture) {
        sensors.place(fixture.sensors).await?;
    }
    bench.reset().await?;
    bench.device().wait_boot(Duration::from_secs(10)).await?;
    bench
        .device()
        .provision(&provision(&rig, NO_BROKER)?)
        .await?;
    bench.clock().sleep(Duration::from_secs(10)).await;
    if down && let Some(rig) = bench.virtual_rig() {
        rig.set_link(false);
    }
    let (mut inner, mut any) = (HashMap::new(), HashMap::new());
    let mut samples = 0_usize;
    let clock = bench.clock().clone();
    let over = clock.sleep(duration);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => break,
            frames = bench.backtrace() => {
                samples += 1;
                let mut seen = vec![];
                for (depth, frame) in frames?.iter().enumerate() {
                    for (nested, place) in frame.places.iter().enumerate() {
                        if depth + nested == 0 {
                            *inner.entry(place.to_string()).or_insert(0) += 1;
                        }
                        if !seen.contains(&place.function) {
                            *any.entry(place.function.clone()).or_insert(0) += 1;
                            seen.push(place.function.clone());
                        }
                    }
                }
            }
        }
    }
    bench.close().await;
    println!("{samples} samples in {} s of chip time", duration.as_secs());
    table("innermost", inner, samples);
    table("anywhere in the backtrace", any, samples);
    Ok(())
}

fn table(title: &str, counts: HashMap<String, usize>, samples: usize) {
    println!("\n{title}");
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (place, count) in counts.into_iter().take(LINES) {
        let share = 100.0 * count as f64 / samples.max(1) as f64;
        println!("{share:>6.1} %  {place}");
    }
}
