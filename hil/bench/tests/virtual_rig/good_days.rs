//! Good days: flash, boot, answer, wait.

use std::{fs, time::Instant};

use crate::scene::{SECOND, Scene, image, rig};
use firmware_wire::{ControlBody, Outcome};
use hil_bench::{Bench, BenchError, BenchEvent, FileLeases, OpenOptions, provision};

#[tokio::test(flavor = "multi_thread")]
async fn the_device_boots_speaks_and_answers() {
    let mut scene = Scene::new("boots").await;
    assert!(scene.hello.test_hooks && !scene.hello.provisioned);
    let device = scene.bench.device().clone();
    assert_eq!(
        device.control(ControlBody::Ping).await.expect("answers"),
        Outcome::Done
    );
    let clock = scene.bench.clock().clone();
    let sample = clock.timeout(10 * SECOND, device.next_memory()).await;
    let sample = sample.expect("in time").expect("open");
    assert!(sample.heap.free > 0 && sample.heap.free <= sample.heap.size);
    assert_eq!(device.memory(), Some(sample));
    assert!(device.losses().is_none(), "{:?}", device.losses());
    let log = scene
        .so_far()
        .await
        .into_iter()
        .find_map(|event| match event {
            BenchEvent::Log(line) => Some(line),
            _ => None,
        });
    let line = log.expect("a log line");
    assert!(line.file.is_some_and(|file| file.ends_with(".rs")));
    assert!(line.module.is_some() && line.line.is_some());
}

#[test]
fn the_image_tells_what_its_tasks_take() {
    let tasks = image().tasks();
    let bytes = |name: &str| {
        let task = tasks.iter().find(|task| task.name == name);
        task.unwrap_or_else(|| panic!("no {name} in {tasks:?}"))
            .bytes
    };
    // The session's buffers, and next to nothing.
    assert!(bytes("firmware_app::mqtt::task") > 6_000);
    assert!(bytes("firmware_app::telemetry::task") < 1_000);
    assert!(tasks.is_sorted_by(|a, b| a.bytes >= b.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_was_asked_for_is_no_crash() {
    let mut scene = Scene::new("resets").await;
    let device = scene.bench.device().clone();
    device.demand(ControlBody::Reset).await.expect("answers");
    let boot = scene.hello.boot_count;
    scene
        .wait_for(|event| matches!(event, BenchEvent::Boot(hello) if hello.boot_count == boot + 1))
        .await;
    scene.bench.reset().await.expect("resets");
    let hello = device.wait_boot(10 * SECOND).await.expect("boots");
    assert_eq!(hello.boot_count, boot + 2);
    assert_eq!(scene.crashes.seen(), None);
    let crashed = |event: &BenchEvent| matches!(event, BenchEvent::Crash(_));
    assert!(!scene.so_far().await.iter().any(crashed));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_takes_less_than_it_says() {
    let mut scene = Scene::new("waits").await;
    let (clock, start) = (scene.bench.clock(), Instant::now());
    let before = clock.now();
    clock.sleep(600 * SECOND).await;
    assert!(clock.now() - before >= 600 * SECOND);
    assert!(start.elapsed() < 300 * SECOND, "{:?}", start.elapsed());
    // Everything that the device said meanwhile was heard.
    let device = scene.bench.device();
    assert!(device.losses().is_none(), "{:?}", device.losses());
    assert_eq!(scene.crashes.seen(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_flashed_once_unless_somebody_changed_it() {
    let (image, project) = (image(), tempfile::tempdir().expect("a directory"));
    let rig = rig("flashes");
    let state = rig.rig.state_directory(project.path());
    let mut skipped = vec![];
    for round in 0..3 {
        let bench = Bench::open(&rig, OpenOptions::new(project.path(), "test")).await;
        let bench = bench.expect("opens");
        let report = bench.flash(&image).await.expect("flashes");
        assert!(report.bytes > 100_000, "{report:?}");
        skipped.push(report.skipped);
        bench.reset().await.expect("resets");
        bench.device().wait_boot(10 * SECOND).await.expect("boots");
        bench.close().await;
        if round == 1 {
            // What another tool might do: one byte in the middle of the application.
            let mut flash = fs::read(state.join("flash.bin")).expect("kept");
            flash[0x2_0000] ^= 1;
            fs::write(state.join("flash.bin"), flash).expect("writable");
        }
    }
    assert_eq!(skipped, [false, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rig_is_opened_once_and_given_back() {
    let project = tempfile::tempdir().expect("a directory");
    let rig = rig("leases");
    let open = || Bench::open(&rig, OpenOptions::new(project.path(), "first"));
    let bench = open().await.expect("opens");
    let error = open().await.expect_err("in use");
    assert!(matches!(error, BenchError::InUse { .. }), "{error:?}");
    let leases = FileLeases::new(project.path().join("target/hil/rigs"));
    assert!(leases.holder("leases").expect("readable").is_some());
    // Dropped, as by a panic, it gives everything back, too.
    drop(bench);
    assert_eq!(leases.holder("leases").expect("readable"), None);
    open().await.expect("opens again").close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_image_nothing_can_be_sent() {
    let project = tempfile::tempdir().expect("a directory");
    let bench = Bench::open(&rig("empty"), OpenOptions::new(project.path(), "test")).await;
    let bench = bench.expect("opens");
    let error = bench
        .device()
        .control(ControlBody::Ping)
        .await
        .expect_err("no image");
    assert!(matches!(error, BenchError::NoImage), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_network_sleeps() {
    let scene = Scene::new("no-network").await;
    let (device, clock) = (scene.bench.device().clone(), scene.bench.clock().clone());
    // Nobody listens there; what it does about that is done once the cable is out.
    let provision = provision(&rig("no-network"), 9).expect("a provision");
    device.provision(&provision).await.expect("answers");
    let virtual_rig = scene.bench.virtual_rig().expect("a virtual rig");
    clock.sleep(3 * SECOND).await;
    virtual_rig.set_link(false);
    clock.sleep(3 * SECOND).await;
    let statistics = || virtual_rig.statistics().expect("it runs");
    let before = statistics();
    clock.sleep(20 * SECOND).await;
    let after = statistics();
    // An instruction takes one cycle at 160 MHz.
    let awake = (after.instructions - before.instructions) as f64 / 160e6;
    let all = (after.chip_time - before.chip_time).as_secs_f64();
    assert!(awake / all < 0.1, "awake for {awake:.2} s of {all:.2} s");
}
