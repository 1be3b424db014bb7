//! Tests of `monitor.rs`.

use firmware_wire::{HeapSample, MemorySample, encode};

use super::*;
use crate::testing::{TestElf, defmt_image, rzcobs};

const SILENCE: Duration = Duration::from_secs(10);

/// A monitor with a device that speaks to it.
struct Scene {
    monitor: Monitor,
    now: Duration,
    boot: u32,
    sequence: u32,
    told: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        Self {
            monitor: Monitor::new(defmt_image(), SILENCE),
            now: Duration::ZERO,
            boot: 0,
            sequence: 0,
            told: vec![],
        }
    }

    /// What was told since the last time, without telemetry and log lines.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.told), expected);
    }

    fn take(&mut self, events: Vec<Timed>) {
        let interesting = events
            .into_iter()
            .map(|(_, event)| event)
            .filter(|event| !matches!(event, BenchEvent::Telemetry(_) | BenchEvent::Log(_)));
        self.told.extend(interesting.map(|event| event.to_string()));
    }

    fn say(&mut self, body: DeviceBody) {
        let frame = DeviceFrame {
            boot: self.boot,
            sequence: self.sequence,
            uptime_us: 1_000,
            body,
        };
        self.sequence += 1;
        let mut buffer = [0; 512];
        let bytes = encode(&frame, &mut buffer).expect("fits");
        let mut events = vec![];
        self.monitor
            .received(self.now, Channel::Telemetry, bytes, &mut events);
        self.take(events);
    }

    fn poll(&mut self) -> bool {
        let mut events = vec![];
        let silent = self.monitor.poll(self.now, &mut events);
        self.take(events);
        silent
    }

    fn boots(&mut self, reset_reason: ResetReason) {
        self.boot += 1;
        self.sequence = 0;
        self.say(DeviceBody::Hello(Hello {
            wire_version: firmware_wire::VERSION,
            firmware_version: "0.1.0".try_into().expect("fits"),
            device_id: "t1".try_into().expect("fits"),
            boot_count: self.boot,
            reset_reason,
            provisioned: true,
            test_hooks: false,
        }));
    }

    fn panics(&mut self, message: &str) {
        self.say(DeviceBody::Panic {
            message: message.try_into().expect("fits"),
        });
    }

    fn memory(&mut self) {
        self.say(DeviceBody::Memory(MemorySample {
            heap: HeapSample {
                size: 1,
                free: 1,
                free_min: 1,
                largest_free_block: 1,
                allocations: 0,
                frees: 0,
                failed: 0,
                refused: 0,
            },
            stacks: heapless::Vec::new(),
            buffers: firmware_wire::BufferSample::default(),
        }));
    }

    /// An error line with one address.
    fn logs_address(&mut self, address: u32) {
        let index = TestElf::ADDRESS_LOG_INDEX.to_le_bytes();
        let mut bytes = vec![index[0], index[1]];
        bytes.extend(address.to_le_bytes());
        let mut events = vec![];
        self.monitor
            .received(self.now, Channel::Defmt, &rzcobs(&bytes), &mut events);
        self.take(events);
    }
}

#[test]
fn a_reset_that_was_asked_for_is_no_crash() {
    let mut scene = Scene::new();
    scene.monitor.expect_reset();
    scene.boots(ResetReason::PowerOn);
    scene.check(&["reset: boot 1, power-on", "boot 1 of t1 (PowerOn)"]);
    scene.monitor.sent(&ControlBody::Reset);
    scene.boots(ResetReason::Software);
    scene.check(&[
        "reset: boot 2 after boot 1, software reset",
        "boot 2 of t1 (Software)",
    ]);
}

#[test]
fn a_reset_that_nobody_asked_for_is_a_crash() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.check(&["boot 1 of t1 (PowerOn)"]);
    scene.boots(ResetReason::Watchdog);
    scene.check(&[
        "unexpected reset: boot 2 after boot 1, watchdog reset",
        "watchdog: a watchdog bit: boot 2 after boot 1, watchdog reset",
        "boot 2 of t1 (Watchdog)",
    ]);
    scene.boots(ResetReason::Software);
    scene.check(&[
        "unexpected reset: boot 3 after boot 2, software reset",
        "unexpected reset: nobody asked for this reset: boot 3 after boot 2, software reset",
        "boot 3 of t1 (Software)",
    ]);
}

#[test]
fn a_long_panic_comes_in_parts_and_is_told_whole() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.panics("panicked at src/main.rs:7: of [1, 2");
    scene.poll();
    scene.panics(", 3, 4]");
    scene.poll();
    scene.check(&["boot 1 of t1 (PowerOn)"]);
    scene.poll();
    scene.check(&["panic: panicked at src/main.rs:7: of [1, 2, 3, 4]"]);
}

#[test]
fn a_reset_is_noticed_without_its_hello() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.check(&["boot 1 of t1 (PowerOn)"]);
    (scene.boot, scene.sequence) = (2, 4);
    scene.memory();
    scene.check(&[
            "telemetry: 4 frames lost",
            "unexpected reset: boot 2 after boot 1, its first frame was lost",
            "unexpected reset: nobody asked for this reset: boot 2 after boot 1, its first frame was lost",
        ]);
}

#[test]
fn a_panic_is_told_once_though_a_reset_follows() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.panics("panicked at src/main.rs:7: no 42");
    scene.check(&["boot 1 of t1 (PowerOn)"]);
    scene.poll();
    scene.check(&[]);
    scene.poll();
    scene.check(&["panic: panicked at src/main.rs:7: no 42"]);
    scene.boots(ResetReason::Panic);
    scene.check(&[
        "unexpected reset: boot 2 after boot 1, reset by the panic handler",
        "boot 2 of t1 (Panic)",
    ]);
}

#[test]
fn a_panic_whose_message_was_lost_is_told_all_the_same() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.told.clear();
    scene.boots(ResetReason::Panic);
    assert!(
        scene
            .told
            .iter()
            .any(|told| told.starts_with("panic: the firmware panicked, its message was lost")),
        "{:?}",
        scene.told
    );
}

#[test]
fn exceptions_are_told_apart_by_their_message() {
    assert_eq!(
        kind_of("exception: load access fault"),
        CrashKind::Exception
    );
    assert_eq!(
        kind_of("stack overflow: mepc 0x42000000"),
        CrashKind::StackOverflow
    );
    assert_eq!(
        kind_of("panicked at src/exception.rs:1:2:\nexception: load access fault"),
        CrashKind::Exception
    );
    assert_eq!(
        kind_of("an exception struck within an exception"),
        CrashKind::Panic
    );
}

#[test]
fn the_backtrace_is_taken_from_message_and_log() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.logs_address(TestElf::CODE + 0x10);
    scene.logs_address(TestElf::CODE + 0x20);
    let message = format!("exception: mepc {:#010x}", TestElf::CODE);
    let mut events = vec![];
    scene.panics(&message);
    scene.monitor.poll(scene.now, &mut events);
    let crash = events.into_iter().find_map(|(_, event)| match event {
        BenchEvent::Crash(crash) => Some(crash),
        _ => None,
    });
    let addresses: Vec<u32> = crash
        .expect("a crash")
        .backtrace
        .iter()
        .map(|frame| frame.address)
        .collect();
    let code = TestElf::CODE;
    assert_eq!(addresses, [code, code + 0x10, code + 0x20]);
}

#[test]
fn silence_is_noticed_once_a_boot() {
    let mut scene = Scene::new();
    scene.now = Duration::from_secs(100);
    assert!(!scene.poll(), "a device that never spoke is not silent");
    scene.boots(ResetReason::PowerOn);
    scene.now += SILENCE;
    assert!(!scene.poll());
    scene.now += Duration::from_millis(1);
    assert!(scene.poll());
    assert!(!scene.poll());
    // The watchdog that ends it is the same crash.
    scene.told.clear();
    scene.boots(ResetReason::Watchdog);
    scene.check(&[
        "unexpected reset: boot 2 after boot 1, watchdog reset",
        "boot 2 of t1 (Watchdog)",
    ]);
    scene.now += SILENCE * 2;
    assert!(scene.poll());
}

#[test]
fn a_deaf_bench_blames_no_device() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.now += SILENCE * 3;
    scene.monitor.excuse_silence(scene.now);
    assert!(!scene.poll());
    scene.now += SILENCE;
    assert!(!scene.poll());
    scene.now += Duration::from_millis(1);
    assert!(scene.poll());
}

#[test]
fn a_slow_telemetry_is_no_silence() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.monitor.sent(&ControlBody::SetTelemetryInterval {
        interval_ms: 60_000,
    });
    scene.now += Duration::from_secs(179);
    assert!(!scene.poll());
    scene.now += Duration::from_secs(2);
    assert!(scene.poll());
}

#[test]
fn another_image_counts_its_boots_anew() {
    let mut scene = Scene::new();
    scene.boots(ResetReason::PowerOn);
    scene.boots(ResetReason::Software);
    scene.monitor.forget_boots();
    scene.monitor.expect_reset();
    scene.boot = 0;
    scene.told.clear();
    scene.boots(ResetReason::Software);
    scene.check(&["reset: boot 1, software reset", "boot 1 of t1 (Software)"]);
}
