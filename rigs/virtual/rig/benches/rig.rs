//! What the virtual rig costs: RTT through probe-rs, flashing, idle time, sensors on a pin.
//! `cargo bench -p virtual-rig`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use probe_rs::MemoryInterface;
use probe_rs::flashing::DownloadOptions;
use probe_rs::rtt::{Rtt, ScanRegion};

#[path = "../../hart/tests/support/assembler.rs"]
mod assembler;
#[path = "../tests/rig/one_wire.rs"]
#[allow(dead_code, unreachable_pub)] // The tests use all of it.
mod one_wire;
#[path = "../tests/rig/support.rs"]
#[allow(dead_code, unreachable_pub)] // The tests use all of it.
mod support;

use support::{
    CODE, PATIENCE, SLEEP, attach, load, no_watchdog, rig, rig_with, rig_with_settings, settings,
    wait_until,
};
use virtual_rig::{FixtureSettings, VirtualRig, VirtualRigSettings};

const BLOCK: u32 = 0x3FC9_0000;
const RING: u32 = 0x3FC9_1000;
const WRITE_OFFSET: u32 = BLOCK + 36;

/// Keeps a ring of 1 KiB full: the write offset is always one behind the read offset. a1 points to the write offset.
const FILL: [u32; 5] = [
    0x0045_A283, // lw t0, 4(a1)
    0xFFF2_8293, // addi t0, t0, -1
    0x3FF2_F293, // andi t0, t0, 1023
    0x0055_A023, // sw t0, 0(a1)
    0xFF1F_F06F, // j -16
];

fn rtt(criterion: &mut Criterion) {
    let rig = rig();
    let mut session = attach(&rig);
    let mut core = session.core(0).unwrap();
    load(&mut core, &SLEEP);
    let mut block: Vec<u32> = b"SEGGER RTT\0\0\0\0\0\0"
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    block.extend([1, 0, 0, RING, 1024, 0, 0, 2]);
    core.write_32(BLOCK.into(), &block).unwrap();
    core.run().unwrap();
    let mut rtt = Rtt::attach_region(&mut core, &ScanRegion::Exact(BLOCK.into())).unwrap();
    let mut buffer = [0; 4096];

    let mut group = criterion.benchmark_group("rtt");
    group.bench_function("empty poll", |bencher| {
        bencher.iter(|| {
            rtt.up_channel(0)
                .unwrap()
                .read(&mut core, &mut buffer)
                .unwrap()
        });
    });

    load(&mut core, &FILL);
    core.write_core_reg(probe_rs::RegisterId(0x100B), WRITE_OFFSET)
        .unwrap();
    core.run().unwrap();
    group.throughput(Throughput::Bytes(1 << 20));
    group.sample_size(10);
    group.bench_function("1 MiB through a ring of 1 KiB", |bencher| {
        bencher.iter(|| {
            let mut read = 0;
            while read < 1 << 20 {
                read += rtt
                    .up_channel(0)
                    .unwrap()
                    .read(&mut core, &mut buffer)
                    .unwrap();
            }
        });
    });
    group.finish();
    assert_eq!(core.halt(PATIENCE).unwrap().pc & !0xFF, u64::from(CODE));
}

fn flash(criterion: &mut Criterion) {
    let data: Vec<u8> = (0..150_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let rig = rig();
    let _fast = rig.clock().flat_out();
    let mut session = attach(&rig);
    let mut group = criterion.benchmark_group("flash");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.sample_size(10);
    group.bench_function("150 KB with verify", |bencher| {
        bencher.iter(|| {
            let mut loader = session.target().flash_loader();
            loader.add_data(0x2_0000, &data).unwrap();
            let mut options = DownloadOptions::default();
            options.verify = true;
            loader.commit(&mut session, options).unwrap();
        });
    });
    group.finish();
}

fn idle(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    let clock = rig.clock();
    let poller = clock.poller(virtual_rig::PollLimits::default());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if poller.wait(Duration::from_millis(20)) {
                    poller.done();
                }
            }
        });
        let mut group = criterion.benchmark_group("idle");
        group.sample_size(10);
        group.bench_function("an hour with a poller every 100 ms", |bencher| {
            bencher.iter_custom(|rounds| {
                let started = Instant::now();
                for _ in 0..rounds {
                    wait_until(&clock, clock.now() + Duration::from_secs(3600));
                }
                started.elapsed()
            });
        });
        group.finish();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A chip that scans 60 sensors every five seconds, beside one that sleeps: ten minutes of chip time each.
fn sensors(criterion: &mut Criterion) {
    let time = Duration::from_secs(600);
    let directory = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("ten minutes");
    group.sample_size(10);
    let mut measure = |name: &str, rig: &VirtualRig| {
        let clock = rig.clock();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let started = Instant::now();
                for _ in 0..rounds {
                    wait_until(&clock, clock.now() + time);
                }
                started.elapsed()
            });
        });
    };
    let idle = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    measure("idle", &idle);
    drop(idle);
    let settings = VirtualRigSettings {
        fixture: FixtureSettings {
            sensors: 60,
            ..FixtureSettings::default()
        },
        ..settings()
    };
    let roms = one_wire::roms(settings.seed, 60);
    let scan = one_wire::scan(&roms, 5_000_000);
    let rig = rig_with_settings(&scan, &directory, settings);
    measure("60 sensors scanned every 5 s", &rig);
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    rtt(&mut criterion);
    flash(&mut criterion);
    idle(&mut criterion);
    sensors(&mut criterion);
    criterion.final_summary();
}
