//! Every report of one run in which everything happens, as people and machines read it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use expect_test::{Expect, expect, expect_file};
use hil_report::{Junit, ReadError, Recorder, Recording, Style, Terminal, TerminalText};
use hil_runner::{
    Abort, Category, CrashKind, CrashReport, Event, ExitCode, Failure, FrameLine, LogLevel,
    MemoryReport, PlannedUnit, RunSummary, Sink, StackReport, Stamp, UnitKey, Verdict, What,
};

/// Builds events with rising numbers and times.
#[derive(Default)]
struct Script {
    events: Vec<Event>,
    summary: RunSummary,
    unit: Option<UnitKey>,
}

impl Script {
    fn add(&mut self, what: What) -> &mut Self {
        let sequence = self.events.len() as u64;
        let stamp = Stamp {
            bench_us: sequence * 100_000,
            device_us: matches!(what, What::Log { .. }).then_some(sequence * 100_000 + 17),
            wall_us: 1_767_225_600_000_000 + sequence * 100_000,
        };
        let event = Event {
            sequence,
            stamp,
            unit: self.unit.clone(),
            what,
        };
        self.summary.observe(&event);
        self.events.push(event);
        self
    }

    fn step(&mut self, step: &str, result: &str) -> &mut Self {
        self.add(What::StepFinished {
            step: step.into(),
            result: result.into(),
            took_us: 1_000,
        })
    }

    fn unit(&mut self, id: &str, name: &str, attempt: u32) -> &mut Self {
        self.unit = Some(UnitKey {
            id: id.into(),
            name: name.into(),
            attempt,
        });
        self.add(What::UnitStarted)
    }

    fn log(&mut self, level: LogLevel, text: &str) -> &mut Self {
        self.add(What::Log {
            level,
            module: Some("app::mqtt".into()),
            at: Some("src/mqtt.rs:7".into()),
            text: text.into(),
        })
    }

    fn end(
        &mut self,
        verdict: Verdict,
        took_us: u64,
        finish: impl FnOnce(&mut Ending),
    ) -> &mut Self {
        let mut ending = Ending::default();
        finish(&mut ending);
        let id = self
            .unit
            .as_ref()
            .map(|unit| unit.id.clone())
            .unwrap_or_default();
        self.add(What::UnitFinished {
            verdict,
            took_us,
            reason: ending.reason,
            failure: ending.failure.map(Box::new),
            crash: ending.crash.map(Box::new),
            again: format!("hil run {id} --rig attic --seed 24301"),
            retried: ending.retried,
        });
        self.unit = None;
        self
    }

    fn finish(&mut self) -> Vec<Event> {
        let summary = Box::new(self.summary.clone());
        self.add(What::RunFinished { summary });
        std::mem::take(&mut self.events)
    }
}

#[derive(Default)]
struct Ending {
    reason: Option<String>,
    failure: Option<Failure>,
    crash: Option<CrashReport>,
    retried: bool,
}

fn started() -> Script {
    let mut script = Script::default();
    script.add(What::RunStarted {
        run_id: "20260101-000000-7f3a".into(),
        seed: 24301,
        rig: "attic".into(),
        product: "temperature controller".into(),
        version: "0.1.0".into(),
        directory: Some("target/hil/latest/".into()),
    });
    script
}

fn planned(script: &mut Script, units: &[(&str, &str, Category)]) {
    let units = units.iter().map(|(id, name, category)| PlannedUnit {
        id: (*id).into(),
        name: (*name).into(),
        category: *category,
        tags: vec!["smoke".into()],
    });
    script.add(What::Planned {
        units: units.collect(),
    });
}

fn failure() -> Failure {
    Failure {
        expected: "relay 1 open 5.0 s after ON, within 0.2 s".into(),
        observed: "still closed after 7.0 s".into(),
        at: Some("hil/suite/src/relays.rs:41".into()),
        notes: vec!["the answer said `ok`".into()],
    }
}

fn memory() -> MemoryReport {
    MemoryReport {
        heap_size: 204_800,
        heap_free: 59_494,
        heap_free_min: 57_242,
        heap_largest_free_block: 57_709,
        heap_failed: 0,
        stacks: vec![StackReport {
            name: "main".into(),
            size: 206_848,
            used_max: 2_970,
        }],
    }
}

fn everything() -> Vec<Event> {
    let mut script = started();
    script.add(What::StepStarted {
        step: "firmware".into(),
        doing: "building".into(),
    });
    script.add(What::StepProgress {
        step: "firmware".into(),
        done: 3,
        total: Some(212),
    });
    script.step("firmware", "esp32c3, 231 KiB, built in 48 s");
    script.step(
        "rig",
        "attic: ESP32-C3 (simulated), probe f055:00c3, broker embedded on 127.0.0.1:41883",
    );
    script.step("flash", "212 KiB written and verified in 0.14 s");
    planned(
        &mut script,
        &[
            (
                "CON-1",
                "device_connects_and_says_so",
                Category::Connectivity,
            ),
            (
                "CMD-3",
                "malformed_requests_are_refused",
                Category::Commands,
            ),
            (
                "INT-3",
                "relay_switches_back_after_its_duration",
                Category::Integration,
            ),
            ("TEL-1", "telemetry_is_valid", Category::Telemetry),
            (
                "STAB-1",
                "memory_is_stable_over_cycles",
                Category::Stability,
            ),
            ("SEC-1", "certificates_are_checked", Category::Security),
        ],
    );
    script.step(
        "boot",
        "device tempcontroller01, firmware 0.1.0, boot 1 (power-on), MQTT connected after 0.41 s",
    );
    script.unit("CON-1", "device_connects_and_says_so", 1);
    script.add(What::Measured {
        figure: "connect".into(),
        value: 0.41,
        unit_of_measure: "s".into(),
    });
    script.end(Verdict::Pass, 420_000, |_| {});
    script.unit("CMD-3", "malformed_requests_are_refused", 1);
    script.log(LogLevel::Debug, "not shown");
    script.log(LogLevel::Info, "a request of 31 bytes");
    script.log(LogLevel::Error, "bad \u{1b}[31mescape <&>");
    script.end(Verdict::Crash, 61_000, |ending| {
        ending.reason = Some("panic: index 31 out of range, src/json.rs:88".into());
        ending.crash = Some(CrashReport {
            crash: CrashKind::Panic,
            message: "index 31 out of range, src/json.rs:88".into(),
            backtrace: vec![
                FrameLine {
                    pc: 0x4200_1a2c,
                    function: Some("app::json::parse".into()),
                    at: Some("src/json.rs:88".into()),
                },
                FrameLine {
                    pc: 0x4200_2000,
                    function: None,
                    at: None,
                },
            ],
        });
    });
    script.add(What::Recovery {
        measure: "chip reset".into(),
        helped: true,
        detail: "booted in 0.3 s".into(),
    });
    script.unit("INT-3", "relay_switches_back_after_its_duration", 1);
    script.log(LogLevel::Warn, "relay 1 sticks");
    script.end(Verdict::Fail, 12_400_000, |ending| {
        ending.reason = Some("expected a, observed b".into());
        ending.failure = Some(failure());
    });
    script.unit("TEL-1", "telemetry_is_valid", 1);
    script.add(What::Lost {
        channel: "telemetry".into(),
        count: 3,
        detail: "sequence 4 to 8".into(),
    });
    script.end(Verdict::Infra, 3_000_000, |ending| {
        ending.reason = Some("telemetry was lost, so nothing can be said: 3 on `telemetry`".into());
        ending.retried = true;
    });
    script.unit("TEL-1", "telemetry_is_valid", 2);
    script.end(Verdict::Pass, 3_100_000, |_| {});
    script.unit("STAB-1", "memory_is_stable_over_cycles", 1);
    script.add(What::Memory(memory()));
    script.end(Verdict::Pass, 86_400_000_000, |_| {});
    script.unit("SEC-1", "certificates_are_checked", 1);
    script.end(Verdict::Blocked, 0, |ending| {
        ending.reason = Some("the broker speaks no TLS".into())
    });
    script.finish()
}

fn interrupted() -> Vec<Event> {
    let mut script = started();
    planned(
        &mut script,
        &[
            ("CON-1", "device_connects", Category::Connectivity),
            ("CON-3", "link_holds", Category::Connectivity),
        ],
    );
    script.unit("CON-1", "device_connects", 1);
    script.add(What::Interrupted {
        reason: "Ctrl-C".into(),
    });
    script.add(What::UnitCancelled {
        reason: "Ctrl-C".into(),
    });
    script.unit = None;
    script.finish()
}

fn aborted() -> Vec<Event> {
    let mut script = started();
    planned(
        &mut script,
        &[("CON-1", "device_connects", Category::Connectivity)],
    );
    let reason = "port 1883 on 127.0.0.1 is taken; free it, or name another with `--broker`";
    script.add(What::Trouble {
        reason: reason.into(),
    });
    script.summary.aborted = Some(Abort {
        exit: ExitCode::Usage,
        reason: reason.into(),
    });
    script.finish()
}

fn text_of(style: Style, events: &[Event]) -> String {
    let mut text = TerminalText::new(style);
    events
        .iter()
        .flat_map(|event| text.event(event))
        .map(|line| format!("{}\n", line.text))
        .collect()
}

#[test]
fn a_run_as_text() {
    expect_file!["golden/run.txt"].assert_eq(&text_of(Style::Plain, &everything()));
}

#[test]
fn a_run_as_coloured_text() {
    let text = text_of(Style::Coloured, &everything()).replace('\x1b', "ESC");
    expect_file!["golden/run-coloured.txt"].assert_eq(&text);
}

/// With a first line at the margin, so that the indentation of the others is kept.
fn shown(text: String) -> String {
    format!("$ hil run\n{text}")
}

fn check(events: &[Event], expected: Expect) {
    expected.assert_eq(&shown(text_of(Style::Plain, events)));
}

#[test]
fn an_interrupted_run_as_text() {
    check(
        &interrupted(),
        expect![[r#"
            $ hil run
               seed       24301
               stopping   Ctrl-C; press Ctrl-C again to stop at once
                    CON-1 device_connects cancelled: Ctrl-C
               0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 2 not run
               report     target/hil/latest/
        "#]],
    );
}

#[test]
fn a_run_that_could_not_begin_as_text() {
    check(
        &aborted(),
        expect![[r#"
            $ hil run
               seed       24301
               trouble    port 1883 on 127.0.0.1 is taken; free it, or name another with `--broker`
               stopped    port 1883 on 127.0.0.1 is taken; free it, or name another with `--broker`
               0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 1 not run
               report     target/hil/latest/
        "#]],
    );
}

#[test]
fn what_the_simulated_chip_does_not_model_is_told() {
    let mut script = started();
    for offset in [0x38, 0x3C, 0x38, 0x40, 0x44] {
        script.add(What::Unmodelled {
            what: format!("uart1: read of unmodelled register +{offset:#x} (pc 0x4200_1a2c)"),
        });
    }
    let summary = Box::new(script.summary.clone());
    script.add(What::RunFinished { summary });
    check(
        &script.events,
        expect![[r#"
        $ hil run
           seed       24301
           unmodelled uart1: read of unmodelled register +0x38 (pc 0x4200_1a2c); uart1: read of unmodelled register +0x3c (pc 0x4200_1a2c); uart1: read of unmodelled register +0x40 (pc 0x4200_1a2c); 1 more in run.json
           0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked
           report     target/hil/latest/
    "#]],
    );
}

#[test]
fn a_run_as_junit() {
    let mut junit = Junit::new("junit.xml".as_ref());
    everything().iter().for_each(|event| junit.observe(event));
    let mut xml = Vec::new();
    junit.write(&mut xml).unwrap();
    expect_file!["golden/junit.xml"].assert_eq(std::str::from_utf8(&xml).unwrap());
}

#[test]
fn junit_is_written_when_the_run_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("junit.xml");
    let mut junit = Junit::new(&path);
    let events = everything();
    let (last, others) = events.split_last().unwrap();
    others.iter().for_each(|event| junit.event(event).unwrap());
    assert!(!path.exists());
    junit.event(last).unwrap();
    let expected = std::fs::read_to_string("tests/golden/junit.xml").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorded(events: &[Event]) -> Vec<u8> {
    let shared = Shared::default();
    let mut recorder = Recorder::new("events.ndjson".as_ref(), shared.clone()).unwrap();
    events
        .iter()
        .for_each(|event| recorder.event(event).unwrap());
    drop(recorder);
    let bytes = shared.0.lock().unwrap();
    bytes.clone()
}

#[test]
fn the_format_of_a_recording() {
    let text = String::from_utf8(recorded(&everything())).unwrap();
    expect_file!["golden/events.ndjson"].assert_eq(&text);
}

#[test]
fn a_replay_says_the_same() {
    for events in [everything(), interrupted(), aborted()] {
        let bytes = recorded(&events);
        let read: Vec<Event> = Recording::open(bytes.as_slice())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(text_of(Style::Plain, &read), text_of(Style::Plain, &events));
    }
}

#[test]
fn whatever_happens_is_recorded_but_progress() {
    let text = || "what was said".to_owned();
    let mut script = started();
    for what in [
        What::Note { text: text() },
        What::Trouble { reason: text() },
        What::Booted {
            boot: 2,
            reason: text(),
        },
        What::Reset {
            cause: text(),
            expected: true,
        },
        What::Fault { fault: text() },
        What::Unmodelled { what: text() },
    ] {
        script.add(what);
    }
    let happened = script.finish();
    let mut progress = started();
    progress.add(What::StepProgress {
        step: "flash".into(),
        done: 1,
        total: None,
    });
    let read = |events: &[Event]| -> Vec<Event> {
        let bytes = recorded(events);
        let recording = Recording::open(bytes.as_slice()).unwrap();
        recording.map(Result::unwrap).collect()
    };
    assert_eq!(read(&happened), happened);
    assert_eq!(read(&progress.events), started().events);
}

#[test]
fn a_recording_that_was_cut_is_read_up_to_there() {
    let bytes = recorded(&everything());
    let whole = Recording::open(bytes.as_slice()).unwrap().count();
    let last_line = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .unwrap()
        + 1;
    for cut in [last_line + 1, bytes.len() - 2] {
        let mut recording = Recording::open(&bytes[..cut]).unwrap();
        assert_eq!(
            recording.by_ref().filter(|event| event.is_ok()).count(),
            whole - 1,
            "cut at {cut}"
        );
        assert!(recording.was_cut());
    }
    let mut recording = Recording::open(bytes.as_slice()).unwrap();
    recording.by_ref().for_each(|event| drop(event.unwrap()));
    assert!(!recording.was_cut());
}

fn refused(text: &str) -> String {
    let error = Recording::open(text.as_bytes())
        .map(|recording| recording.filter_map(Result::err).next().expect("an error"));
    error.unwrap_or_else(|error: ReadError| error).to_string()
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    let no_header = "this is no recording of a run: its first line is not a `hil-events` header; name an `events.ndjson`";
    assert_eq!(refused(""), no_header);
    assert_eq!(refused("hello\n"), no_header);
    assert_eq!(refused("{\"format\":\"other\",\"version\":1}\n"), no_header);
    assert_eq!(
        refused("{\"format\":\"hil-events\",\"version\":999}\n"),
        "the recording has format version 999, this program reads version 1; replay it with the `hil` that recorded it"
    );
    let damaged = refused("{\"format\":\"hil-events\",\"version\":1}\n{\"sequence\":1\n");
    assert!(
        damaged.starts_with("line 2 of the recording is damaged: "),
        "{damaged}"
    );
}

struct Full {
    left: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = bytes.len().min(self.left);
        self.left -= written;
        match written {
            0 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            written => Ok(written),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_with_the_file_and_what_to_do() {
    let mut recorder =
        Recorder::new("target/hil/r/events.ndjson".as_ref(), Full { left: 500 }).unwrap();
    let error = everything()
        .iter()
        .find_map(|event| recorder.event(event).err())
        .expect("no room");
    assert_eq!(
        error.to_string(),
        "can't write the record `target/hil/r/events.ndjson`: no storage space; free some space or name another \
         directory with `--output`"
    );
    assert!(Recorder::new("x".as_ref(), Full { left: 0 }).is_err());
}

#[test]
fn a_summary_is_whole_or_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.json");
    let summary = started().summary;
    hil_report::write_summary(&path, &summary).unwrap();
    let read: RunSummary = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(read, summary);
    assert!(hil_report::write_summary(&directory.path().join("none/run.json"), &summary).is_err());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_really_full_device() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        // Only Linux has it; the stand-in above covers the rest.
        return;
    };
    let error = Recorder::new("/dev/full".as_ref(), full)
        .err()
        .expect("no room");
    assert!(error.to_string().contains("/dev/full"), "{error}");
}

#[test]
fn results_and_everything_else_are_kept_apart() {
    let (results, other) = (Shared::default(), Shared::default());
    let mut terminal = Terminal::new(
        Style::Plain,
        results.clone(),
        other.clone(),
        indicatif::ProgressDrawTarget::hidden(),
    );
    interrupted()
        .iter()
        .for_each(|event| terminal.event(event).unwrap());
    let text = |shared: &Shared| String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    expect![[r#"
        $ hil run
           0 passed, 0 failed, 0 crashed, 0 infra, 0 blocked, 2 not run
           report     target/hil/latest/
    "#]]
    .assert_eq(&shown(text(&results)));
    expect![[r#"
        $ hil run
           seed       24301
           stopping   Ctrl-C; press Ctrl-C again to stop at once
                CON-1 device_connects cancelled: Ctrl-C
    "#]]
    .assert_eq(&shown(text(&other)));
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    let mut terminal = Terminal::new(
        Style::Plain,
        Full { left: 0 },
        Full { left: 0 },
        indicatif::ProgressDrawTarget::hidden(),
    );
    everything()
        .iter()
        .for_each(|event| terminal.event(event).unwrap());
}
