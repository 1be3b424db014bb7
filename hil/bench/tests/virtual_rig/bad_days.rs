//! Bad days, each noticed and named.

use std::{fs::File, io::Read, net::TcpStream, process::Command};

use crate::scene::{SECOND, Scene};
use firmware_wire::{ControlBody, Fault};
use hil_bench::{BenchError, BenchEvent, Crash, CrashKind, event::RttProblem, provision};

/// The functions of a backtrace, inlined ones too, innermost first.
fn functions(crash: &Crash) -> Vec<&str> {
    let places = crash.backtrace.iter().flat_map(|frame| &frame.places);
    places.map(|place| place.function.as_str()).collect()
}

#[track_caller]
fn check_passes_through(crash: &Crash, function: &str) {
    let functions = functions(crash);
    assert!(
        functions.iter().any(|name| name.ends_with(function)),
        "{functions:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_told_with_its_message_and_backtrace() {
    let scene = Scene::new("panics").await;
    let crash = scene.crash(Fault::Panic).await;
    assert_eq!(crash.kind, CrashKind::Panic);
    assert!(
        crash.message.contains("42 requested, 7 available"),
        "{crash}"
    );
    // It is longer than a frame, and told to its end.
    assert!(crash.message.ends_with(", 1148, 1149]"), "{crash}");
    assert_eq!(crash.boot, Some(scene.hello.boot_count));
    check_passes_through(&crash, "faults::play");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_told_with_the_instruction() {
    let scene = Scene::new("faults").await;
    let crash = scene.crash(Fault::LoadFault).await;
    assert_eq!(crash.kind, CrashKind::Exception);
    assert!(crash.message.contains("load access fault"), "{crash}");
    check_passes_through(&crash, "load_fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_overflow_is_told_as_such() {
    let scene = Scene::new("overflows").await;
    let crash = scene.crash(Fault::StackOverflow).await;
    assert_eq!(crash.kind, CrashKind::StackOverflow, "{crash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_bites_is_told() {
    let scene = Scene::new("starves").await;
    let crash = scene.crash(Fault::StopFeedingWatchdog).await;
    assert_eq!(crash.kind, CrashKind::Watchdog, "{crash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_nobody_asked_for_is_told() {
    let scene = Scene::new("restarts").await;
    let crash = scene.crash(Fault::Reset).await;
    assert_eq!(crash.kind, CrashKind::UnexpectedReset, "{crash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_is_told_with_the_place() {
    let scene = Scene::new("hangs").await;
    let crash = scene.crash(Fault::Hang).await;
    assert_eq!(crash.kind, CrashKind::Silence, "{crash}");
    check_passes_through(&crash, "faults::play");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_at_boot_is_told_with_the_place() {
    let scene = Scene::new("hangs-at-boot").await;
    scene.inject(Fault::HangAtBoot).await;
    scene.bench.reset().await.expect("resets");
    let error = scene
        .bench
        .device()
        .wait_boot(10 * SECOND)
        .await
        .expect_err("hangs");
    let BenchError::NoBoot {
        place: Some(place), ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(place.contains("strike_before_hello"), "{place}");
    // One more reset brings it back.
    scene.bench.reset().await.expect("resets");
    scene
        .bench
        .device()
        .wait_boot(10 * SECOND)
        .await
        .expect("boots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_panics_at_boot_is_told() {
    let scene = Scene::new("panics-at-boot").await;
    scene.inject(Fault::PanicAtBoot).await;
    let mut crashes = scene.bench.device().crashes();
    scene.bench.reset().await.expect("resets");
    let crash = scene
        .bench
        .clock()
        .timeout(20 * SECOND, crashes.next())
        .await;
    let crash = crash.expect("a crash");
    assert_eq!(crash.kind, CrashKind::Panic);
    assert!(crash.message.contains("at boot"), "{crash}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_control_block_is_named_and_a_reset_mends_it() {
    let mut scene = Scene::new("overwrites").await;
    scene.inject(Fault::OverwriteRttControlBlock).await;
    let lost = scene
        .wait_for(|event| matches!(event, BenchEvent::RttLost { .. }))
        .await;
    let BenchEvent::RttLost { reason } = lost else {
        panic!("{lost:?}");
    };
    assert!(matches!(reason, RttProblem::Overwritten { .. }), "{reason}");
    let error = scene
        .bench
        .device()
        .control(ControlBody::Ping)
        .await
        .expect_err("deaf");
    assert!(matches!(error, BenchError::RttLost(_)), "{error:?}");
    // A bench that can't hear does not blame the device for its silence.
    scene.bench.clock().sleep(60 * SECOND).await;
    let events = scene.so_far().await;
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, BenchEvent::Crash(_))),
        "{events:?}"
    );
    scene.bench.reset().await.expect("resets");
    scene
        .bench
        .device()
        .wait_boot(10 * SECOND)
        .await
        .expect("boots");
    scene
        .bench
        .device()
        .demand(ControlBody::Ping)
        .await
        .expect("answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_cut_and_garbled_telemetry_is_counted() {
    let mut scene = Scene::new("garbles").await;
    let faults = [
        Fault::LoseTelemetry { frames: 3 },
        Fault::GarbleTelemetry { frames: 2 },
        Fault::CutTelemetry { frames: 1 },
    ];
    for fault in faults {
        let before = scene.bench.device().losses();
        // The answer may be among the frames that are mangled.
        let _ = scene
            .bench
            .device()
            .control(ControlBody::Inject(fault))
            .await;
        scene.bench.clock().sleep(10 * SECOND).await;
        let after = scene.bench.device().losses();
        assert!(
            after.telemetry_frames > before.telemetry_frames,
            "{fault:?}: {after:?}"
        );
        let garbled = after.telemetry_bytes > before.telemetry_bytes;
        let lost = matches!(fault, Fault::LoseTelemetry { .. });
        assert_eq!(garbled, !lost, "{fault:?}: {after:?}");
    }
    let events = scene.so_far().await;
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, BenchEvent::Crash(_)))
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_can_not_go_on_is_told_and_ends_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("mqtt.pcapng");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("`mkfifo` runs").success());
    // A reader that goes away after the headers, as room on a disk does.
    let reader = pipe.clone();
    let reader = std::thread::spawn(move || {
        let mut file = File::open(reader).expect("a pipe");
        file.read_exact(&mut [0; 28]).expect("the section's header");
    });
    let mut scene = Scene::with("captures", |options| options.capture = Some(pipe)).await;
    reader.join().expect("a thread");
    // A device on the network at whose ports people knock: that fills any buffer.
    let device = scene.bench.device().clone();
    let configuration = provision(scene.bench.rig(), 9).expect("fits");
    device.provision(&configuration).await.expect("answers");
    let any = "127.0.0.1:0".parse().expect("an address");
    let rig = scene.bench.virtual_rig().expect("a virtual rig");
    let address = rig.forward(any, 7).expect("a port");
    for _ in 0..300 {
        drop(TcpStream::connect(address).expect("the forward listens"));
        scene.bench.clock().sleep(SECOND / 10).await;
        scene.bench.drain().await.expect("open");
    }
    let events = scene.so_far().await;
    let ended = |event: &&BenchEvent| matches!(event, BenchEvent::CaptureEnded { .. });
    assert_eq!(events.iter().filter(ended).count(), 1);
    assert!(device.losses().is_none() && scene.crashes.seen().is_none());
}
