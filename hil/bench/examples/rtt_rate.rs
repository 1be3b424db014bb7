//! How many bytes a second the firmware sends over each RTT channel: idle, with telemetry, with the
//! allocation trace.
//!
//! `cargo run -p hil-bench --example rtt_rate -- ELF`: the table of `docs/performance.md`. The device is
//! on the virtual rig, provisioned, connected to a broker, with sixty sensors; nobody asks it for
//! anything.

use std::{env, path::Path, process::ExitCode, time::Duration};

use firmware_wire::{ControlBody, Fault};
use hil_bench::{Bench, FirmwareImage, OpenOptions, Received, provision};
use hil_mqtt::{Broker, EmbeddedSettings};
use hil_rig::Rig;

const SECOND: Duration = Duration::from_secs(1);
/// How long each state is watched, bench time: twelve scans.
const WATCHED: Duration = Duration::from_secs(60);
/// How long the device has to settle in a new state: the memory sample that is due, a scan.
const SETTLED: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: rtt_rate ELF");
        return ExitCode::from(2);
    };
    match measure(Path::new(path)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(elf: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rig = Rig::find("virtual", &root)?.resolve(|_| None)?;
    let image = FirmwareImage::load(elf, &rig.rig.device.chip)?;
    let broker = Broker::embedded(EmbeddedSettings::default()).await?;
    let state = tempfile::tempdir()?;
    let bench = Bench::open(&rig, OpenOptions::new(state.path(), "rtt_rate")).await?;
    if let Some(sensors) = bench.sensors() {
        sensors.place(sensors.places()).await?;
    }
    bench.flash(&image).await?;
    bench.listen_to(&image).await?;
    bench.reset().await?;
    let device = bench.device();
    let hello = device.wait_boot(10 * SECOND).await?;
    device.provision(&provision(&rig, broker.port())?).await?;
    let connected = device.wait_connected();
    bench.clock().timeout(60 * SECOND, connected).await??;
    println!("bytes until connected: {}", shown(device.received(), 1.0));
    // The firmware allocates nothing of its own accord: an image with test hooks is made to.
    let allocates = Fault::LeakEvery {
        bytes: 8,
        interval_ms: 100,
        site: 0,
    };
    for (what, interval_ms, enabled, fault) in [
        ("idle", 60_000, false, None),
        ("telemetry each second", 1_000, false, None),
        ("and the allocation trace", 1_000, true, None),
        ("and ten allocations", 1_000, true, Some(allocates)),
    ] {
        if let Some(fault) = fault {
            if !hello.test_hooks {
                continue;
            }
            device.demand(ControlBody::Inject(fault)).await?;
        }
        let body = ControlBody::SetTelemetryInterval { interval_ms };
        device.demand(body).await?;
        device.demand(ControlBody::SetTrace { enabled }).await?;
        bench.clock().sleep(SETTLED).await;
        let (before, start) = (device.received(), bench.clock().now());
        bench.clock().sleep(WATCHED).await;
        let after = device.received();
        let seconds = (bench.clock().now() - start).as_secs_f64();
        let during = Received {
            defmt: after.defmt - before.defmt,
            telemetry: after.telemetry - before.telemetry,
            trace: after.trace - before.trace,
        };
        println!("bytes a second, {what}: {}", shown(during, seconds));
    }
    bench.close().await;
    broker.stop().await?;
    Ok(())
}

/// The three channels, each divided by `seconds`.
fn shown(received: Received, seconds: f64) -> String {
    let Received {
        defmt,
        telemetry,
        trace,
    } = received;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let [defmt, telemetry, trace] = [defmt, telemetry, trace].map(|bytes| bytes as f64 / seconds);
    format!("log {defmt:.1}, telemetry {telemetry:.1}, trace {trace:.1}")
}
