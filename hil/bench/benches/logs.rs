//! From RTT to log lines: the whole path, and what others do with the same bytes.
//! `cargo bench -p hil-bench`.
//!
//! The bytes are real: a program on the simulated chip logs through the firmware's own logger
//! (`firmware/app/examples/chatter.rs`). The whole path is chip, ring, probe-rs, the bench's decoder, events.
//! `defmt-print` gets the bytes from a file and has nothing to do but decode and print them; it is
//! measured when it is there: `cargo install defmt-print --locked`.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use defmt_decoder::{DecodeError, Table};
use hil_bench::{Bench, BenchEvent, FirmwareImage, OpenOptions, StampedEvent};
use object::{Object, ObjectSymbol};
use probe_rs::probe::list::Lister;
use probe_rs::rtt::{Rtt, ScanRegion};
use probe_rs::{Permissions, Session};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use virtual_rig::{VirtualRig, VirtualRigSettings};

#[path = "../tests/virtual_rig/scene.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod scene;

use scene::{SECOND, example, rig};

/// What the program logs: four lines a round, and one at the end.
const LINES: usize = 4 * 8_192 + 1;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let elf = example("chatter");
    let image = FirmwareImage::load(&elf, "esp32c3").expect("an image");
    let options = OpenOptions::new(directory.path(), "bench");
    let (sender, mut events) = mpsc::unbounded_channel();
    let options = OpenOptions {
        events: Some(sender),
        ..options
    };
    let bench = runtime
        .block_on(Bench::open(&rig("chatter"), options))
        .expect("opens");
    runtime.block_on(bench.flash(&image)).expect("flashes");
    let flash = bench.state_directory().join("flash.bin");

    let mut group = criterion.benchmark_group("logs");
    group.sample_size(10);
    // How many bytes they are is known at the end.
    let mut took: Vec<Duration> = vec![];
    group.bench_function("chip to lines", |bencher| {
        bencher.iter_custom(|rounds| {
            let each = (0..rounds).map(|_| runtime.block_on(hear(&bench, &mut events)));
            let each: Vec<Duration> = each.collect();
            took.extend(&each);
            each.iter().sum()
        });
    });
    runtime.block_on(bench.close());

    let bytes = record(&flash, &elf);
    let file = directory.path().join("defmt.bin");
    fs::write(&file, &bytes).expect("a file");
    let empty = directory.path().join("empty.bin");
    fs::write(&empty, []).expect("a file");
    took.sort();
    if let Some(median) = took.get(took.len() / 2) {
        let rate = bytes.len() as f64 / median.as_secs_f64() / 1e6;
        println!(
            "logs/chip to lines: {} bytes, {LINES} lines, {rate:.2} MB/s",
            bytes.len()
        );
    }

    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("defmt-decoder, same bytes", |bencher| {
        let table = fs::read(&elf).expect("an ELF");
        let table = Table::parse(&table).expect("a table").expect("defmt");
        bencher.iter(|| assert_eq!(decode(&table, &bytes), LINES));
    });
    let found = Command::new("defmt-print").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("defmt-print is not there: `cargo install defmt-print --locked`");
        return;
    }
    for (input, file) in [("same bytes", &file), ("nothing", &empty)] {
        group.bench_function(BenchmarkId::new("defmt-print", input), |bencher| {
            bencher.iter(|| defmt_print(&elf, file));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// From the reset of the chip to the last line.
async fn hear(bench: &Bench, events: &mut mpsc::UnboundedReceiver<StampedEvent>) -> Duration {
    while events.try_recv().is_ok() {}
    let start = Instant::now();
    bench.reset().await.expect("resets");
    let mut lines = 0;
    let hearing = async {
        while let Some(event) = events.recv().await {
            match event.event {
                BenchEvent::Log(line) => {
                    lines += 1;
                    if line.message.starts_with("done") {
                        assert_eq!(line.message, "done, 0 lines lost");
                        return;
                    }
                }
                BenchEvent::Garbled { .. } | BenchEvent::RttLost { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
    };
    let heard = bench.clock().timeout(600 * SECOND, hearing).await;
    heard.expect("the last line comes");
    let took = start.elapsed();
    assert_eq!(lines, LINES);
    took
}

/// The bytes of channel 0 over one run of what is in `flash`, as they come.
fn record(flash: &Path, elf: &Path) -> Vec<u8> {
    let rig = VirtualRig::start(VirtualRigSettings {
        flash_file: Some(flash.to_owned()),
        ..VirtualRigSettings::new("recorder")
    });
    let rig = rig.expect("a rig");
    let _fast = rig.clock().flat_out();
    let mut session = attach(&rig);
    let mut core = session.core(0).expect("a core");
    core.reset_and_halt(Duration::from_secs(5))
        .expect("a reset");
    core.run().expect("it runs");
    let region = ScanRegion::Exact(control_block(elf));
    let start = Instant::now();
    let mut rtt = loop {
        match Rtt::attach_region(&mut core, &region) {
            Ok(rtt) => break rtt,
            Err(error) => assert!(start.elapsed() < 60 * SECOND, "no RTT: {error}"),
        }
    };
    let (mut bytes, mut buffer) = (vec![], [0; 4096]);
    // Each line ends with the stream's only kind of zero.
    while bytes.iter().filter(|&&byte| byte == 0).count() < LINES {
        let read = rtt
            .up_channel(0)
            .expect("defmt")
            .read(&mut core, &mut buffer);
        bytes.extend_from_slice(&buffer[..read.expect("it can be read")]);
        assert!(start.elapsed() < 120 * SECOND, "{} bytes", bytes.len());
    }
    bytes
}

fn attach(rig: &VirtualRig) -> Session {
    let selector: probe_rs::probe::DebugProbeSelector = rig.selector().parse().expect("a selector");
    let probe = Lister::new().open(selector).expect("opens");
    probe
        .attach("esp32c3", Permissions::default())
        .expect("attaches")
}

fn control_block(elf: &Path) -> u64 {
    let elf = fs::read(elf).expect("an ELF");
    let elf = object::File::parse(&*elf).expect("an ELF");
    let symbol = elf
        .symbols()
        .find(|symbol| symbol.name() == Ok("_SEGGER_RTT"));
    symbol.expect("RTT").address()
}

/// The library that decodes for `defmt-print` and for the bench, alone: lines with their text.
fn decode(table: &Table, bytes: &[u8]) -> usize {
    let mut decoder = table.new_stream_decoder();
    let mut lines = 0;
    for piece in bytes.chunks(1024) {
        decoder.received(piece);
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    black_box(frame.display_message().to_string());
                    lines += 1;
                }
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => panic!("real bytes are well-formed"),
            }
        }
    }
    lines
}

fn defmt_print(elf: &Path, input: &Path) {
    let status = Command::new("defmt-print")
        .arg("-e")
        .arg(elf)
        .stdin(File::open(input).expect("a file"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("it runs").success());
}
