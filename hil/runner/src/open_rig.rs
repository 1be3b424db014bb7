//! The bench of `hil-bench` as the runner needs it: its clock, its events, its errors.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use firmware_wire::{DeviceBody, DeviceFrame, MemorySample};
use hil_bench::event::{Channel, Crash, FixtureEvent, LogLine};
use hil_bench::{Bench, BenchError, BenchEvent, Responsible, StampedEvent};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::bench::{BoxFuture, Clock, Occurrence, Occurrences, Recovered, Seen, TestBench};
use crate::context::Context;
use crate::event::{CrashKind, CrashReport, FrameLine, LogLevel, MemoryReport, StackReport};
use crate::need::Offers;
use crate::outcome::{ScenarioError, chain};
use crate::product::PrepareError;

/// Bench time after a scenario's last word in which a crash still counts against it: long enough
/// for a panic message to be written, polled and decoded.
const SETTLE: Duration = Duration::from_millis(150);
/// For how long the device's power is taken away as first aid, bench time: capacitors run empty.
const POWER_CYCLE: Duration = Duration::from_secs(1);
/// How often a guard looks at simulated time, wall time.
const GUARD_LOOKS: Duration = Duration::from_millis(10);

impl TestBench for Bench {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Bench::clock(self).clone())
    }

    fn occurrences(&self) -> Box<dyn Occurrences> {
        Box::new(BenchEvents(self.subscribe()))
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.reset().await.map_err(|error| in_words(&error)) })
    }

    fn unmet(&self, need: &str) -> Option<String> {
        let sensors = self.sensors();
        let of_rig = self.rig().rig.fixture.as_ref();
        let offers = Offers {
            // A board has places for more than its rig is to have.
            sensors: sensors.as_ref().map_or(0, |sensors| {
                of_rig.map_or(0, |fixture| fixture.sensors.min(sensors.places()))
            }),
            sensor_bus: sensors.is_some_and(|sensors| sensors.are_on_a_bus()),
            relays: self.relays().map_or(0, |relays| relays.count()),
            power: self.power().is_some(),
            is_virtual: self.virtual_rig().is_some(),
        };
        offers.unmet(need)
    }

    fn recover(&self) -> BoxFuture<'_, Vec<Recovered>> {
        Box::pin(async {
            let mut tried = vec![];
            if let Some(power) = self.power()
                && power.state().await.is_ok_and(|state| !state.on)
            {
                let outcome = power.on().await;
                tried.push(measure("power on", "the device has power again", &outcome));
                if outcome.is_ok() {
                    return tried;
                }
            }
            let outcome = self.reset().await;
            tried.push(measure("chip reset", "the chip boots again", &outcome));
            if let (Err(_), Some(power)) = (outcome, self.power()) {
                let outcome = power.cycle(POWER_CYCLE).await;
                tried.push(measure("power cycle", "the chip boots again", &outcome));
            }
            // A device that works is of no use while nobody reaches its pins.
            if let Err(error) = self.look_at_fixture().await {
                tried.push(measure("fixture board", "it answers", &Err(error)));
            }
            tried
        })
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            Bench::clock(self).sleep(SETTLE).await;
            // An outage that nobody has noticed yet is evidence too; it is told as an event.
            let _ = self.look_at_fixture().await;
            // A bench that is closed has nothing more to say.
            let _ = self.drain().await;
        })
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {
            // Closing joins threads, which blocks.
            let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        })
    }
}

fn measure(name: &str, helped: &str, outcome: &Result<(), BenchError>) -> Recovered {
    Recovered {
        measure: name.to_owned(),
        helped: outcome.is_ok(),
        detail: match outcome {
            Ok(()) => helped.to_owned(),
            Err(error) => in_words(error),
        },
    }
}

impl Clock for hil_bench::Clock {
    fn now(&self) -> Duration {
        hil_bench::Clock::now(self)
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move { hil_bench::Clock::sleep_until(&clock, at).await })
    }

    fn guard_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        if !self.is_virtual() {
            return Clock::sleep_until(self, at);
        }
        // An alarm would let simulated time run up to it whenever a scenario is busy on the host.
        let clock = self.clone();
        Box::pin(async move {
            while hil_bench::Clock::now(&clock) < at {
                tokio::time::sleep(GUARD_LOOKS).await;
            }
        })
    }
}

impl Context {
    /// The bench.
    ///
    /// # Panics
    /// When the scenario runs on a stand-in, which has no such bench.
    pub fn bench(&self) -> &Bench {
        self.bench_as()
    }
}

struct BenchEvents(broadcast::Receiver<Arc<StampedEvent>>);

impl Occurrences for BenchEvents {
    fn next(&mut self) -> BoxFuture<'_, Option<Seen>> {
        Box::pin(async {
            match self.0.recv().await {
                Ok(event) => Some(seen(&event)),
                Err(RecvError::Lagged(missed)) => Some(missed_events(missed)),
                Err(RecvError::Closed) => None,
            }
        })
    }

    fn try_next(&mut self) -> Option<Seen> {
        match self.0.try_recv() {
            Ok(event) => Some(seen(&event)),
            Err(TryRecvError::Lagged(missed)) => Some(missed_events(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

fn missed_events(count: u64) -> Seen {
    let detail = "the runner was too slow for the bench".to_owned();
    Occurrence::Lost {
        channel: "events".to_owned(),
        count,
        detail,
    }
    .into()
}

fn seen(event: &StampedEvent) -> Seen {
    Seen {
        bench_time: Some(event.bench_time()),
        device_us: event.device_us,
        occurrence: occurrence(&event.event),
    }
}

fn occurrence(event: &BenchEvent) -> Occurrence {
    match event {
        BenchEvent::Log(line) => log(line),
        BenchEvent::Telemetry(frame) => telemetry(frame),
        BenchEvent::Trace(frame) => device("trace", frame),
        BenchEvent::Boot(hello) => Occurrence::Booted {
            boot: hello.boot_count,
            reason: format!("{:?}", hello.reset_reason),
        },
        BenchEvent::Reset { expected, noticed } => Occurrence::Reset {
            cause: noticed.clone(),
            expected: *expected,
        },
        BenchEvent::Crash(crash) => Occurrence::Crashed(crash_report(crash)),
        BenchEvent::BootFailed { reason } => Occurrence::Crashed(CrashReport {
            crash: CrashKind::BootFailed,
            message: reason.clone(),
            backtrace: Vec::new(),
        }),
        BenchEvent::Lost { channel, frames } => lost(
            *channel,
            u64::from(*frames),
            "frames whose numbers were used up never came",
        ),
        BenchEvent::Garbled { channel, bytes } => {
            lost(*channel, *bytes as u64, "bytes could not be decoded")
        }
        BenchEvent::RttLost { reason } => Occurrence::Lost {
            channel: "rtt".to_owned(),
            count: 1,
            detail: reason.to_string(),
        },
        BenchEvent::CaptureEnded { .. } => Occurrence::Shortcoming {
            reason: event.to_string(),
        },
        BenchEvent::Unmodelled { what } => Occurrence::Unmodelled { what: what.clone() },
        BenchEvent::Fixture(event) => fixture(event),
        BenchEvent::FirstAid {
            rung,
            helped,
            detail,
        } => Occurrence::Recovered(Recovered {
            measure: rung.to_string(),
            helped: *helped,
            detail: detail.clone(),
        }),
        BenchEvent::Console { port, text } => Occurrence::Log {
            level: LogLevel::Info,
            module: Some(port.clone()),
            at: None,
            text: text.trim_end().to_owned(),
        },
        other => Occurrence::Note {
            text: other.to_string(),
        },
    }
}

fn fixture(event: &FixtureEvent) -> Occurrence {
    match event {
        FixtureEvent::Trouble { what } => Occurrence::Trouble {
            reason: what.clone(),
        },
        FixtureEvent::Lost { .. } | FixtureEvent::Outage { .. } => Occurrence::Outage {
            reason: event.to_string(),
            recovered: None,
        },
        FixtureEvent::Reopened { why, helped } => Occurrence::Outage {
            reason: event.to_string(),
            recovered: Some(Recovered {
                measure: "fixture port opened again".to_owned(),
                helped: *helped,
                detail: why.clone(),
            }),
        },
        other => device("fixture", other),
    }
}

fn log(line: &LogLine) -> Occurrence {
    use hil_bench::event::LogLevel as Level;
    let level = match line.level {
        Some(Level::Trace) => LogLevel::Trace,
        Some(Level::Debug) => LogLevel::Debug,
        Some(Level::Info) | None => LogLevel::Info,
        Some(Level::Warn) => LogLevel::Warn,
        Some(Level::Error) => LogLevel::Error,
    };
    let at = match (&line.file, line.line) {
        (Some(file), Some(number)) => Some(format!("{file}:{number}")),
        (file, _) => file.clone(),
    };
    Occurrence::Log {
        level,
        module: line.module.clone(),
        at,
        text: line.message.clone(),
    }
}

fn telemetry(frame: &DeviceFrame) -> Occurrence {
    match &frame.body {
        DeviceBody::Memory(sample) => Occurrence::Memory(memory(sample)),
        DeviceBody::Fault(fault) => Occurrence::Fault {
            fault: format!("{fault:?}"),
        },
        DeviceBody::Hello(body) => device("hello", body),
        DeviceBody::Network(body) => device("network", body),
        DeviceBody::Scan(body) => device("scan", body),
        DeviceBody::Connection(body) => device("connection", body),
        DeviceBody::Answer { .. } => device("answer", &frame.body),
        DeviceBody::Panic { .. } => device("panic", &frame.body),
    }
}

fn device(report: &str, body: &impl serde::Serialize) -> Occurrence {
    // Wire frames hold nothing that JSON can't.
    let data = serde_json::to_value(body).unwrap_or_default();
    Occurrence::Device {
        report: report.to_owned(),
        data,
    }
}

fn memory(sample: &MemorySample) -> MemoryReport {
    let heap = &sample.heap;
    MemoryReport {
        heap_size: heap.size.into(),
        heap_free: heap.free.into(),
        heap_free_min: heap.free_min.into(),
        heap_largest_free_block: heap.largest_free_block.into(),
        heap_failed: heap.failed.into(),
        stacks: sample
            .stacks
            .iter()
            .map(|stack| StackReport {
                name: stack.name.as_str().to_owned(),
                size: stack.size.into(),
                used_max: stack.used_max.into(),
            })
            .collect(),
    }
}

fn lost(channel: Channel, count: u64, detail: &str) -> Occurrence {
    Occurrence::Lost {
        channel: channel.to_string(),
        count,
        detail: detail.to_owned(),
    }
}

fn crash_report(crash: &Crash) -> CrashReport {
    use hil_bench::CrashKind as Kind;
    let kind = match crash.kind {
        Kind::Panic => CrashKind::Panic,
        Kind::Exception => CrashKind::Exception,
        Kind::StackOverflow => CrashKind::StackOverflow,
        Kind::Watchdog => CrashKind::Watchdog,
        Kind::BrownOut => CrashKind::BrownOut,
        Kind::UnexpectedReset => CrashKind::UnexpectedReset,
        Kind::Halt => CrashKind::Halt,
        Kind::Lockup => CrashKind::Lockup,
        Kind::Silence => CrashKind::Silence,
    };
    let frames = crash.backtrace.iter().flat_map(|frame| {
        let pc = u64::from(frame.address);
        let unknown = frame.places.is_empty().then_some(FrameLine {
            pc,
            function: None,
            at: None,
        });
        let known = frame.places.iter().map(move |place| FrameLine {
            pc,
            function: Some(place.function.clone()),
            at: match (&place.file, place.line) {
                (Some(file), Some(line)) => Some(format!("{file}:{line}")),
                (file, _) => file.clone(),
            },
        });
        unknown.into_iter().chain(known)
    });
    CrashReport {
        crash: kind,
        message: crash.message.clone(),
        backtrace: frames.collect(),
    }
}

/// The error with its causes, and what to do.
fn in_words(error: &BenchError) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", chain(error)),
        None => chain(error),
    }
}

/// A device that does not do its part fails; what the author of a rig file or a command must mend blocks;
/// everything else is the bench's trouble.
impl From<BenchError> for ScenarioError {
    #[track_caller]
    fn from(error: BenchError) -> Self {
        match error.responsible() {
            Responsible::FirmwareDeveloper => {
                ScenarioError::failure("a device that boots and answers", chain(&error))
            }
            // Trying again is of no use.
            Responsible::Author => ScenarioError::blocked(in_words(&error)),
            _ => ScenarioError::Infra {
                reason: in_words(&error),
            },
        }
    }
}

/// As for scenarios, but what the author of a rig file must mend ends the run.
impl From<BenchError> for PrepareError {
    #[track_caller]
    fn from(error: BenchError) -> Self {
        match error.responsible() {
            Responsible::Author => PrepareError::Configuration {
                reason: in_words(&error),
            },
            _ => ScenarioError::from(error).into(),
        }
    }
}

// The bench is found again behind the trait object by its type.
const _: fn(&Bench) -> &dyn Any = |bench| bench;

#[cfg(test)]
mod tests {
    use super::*;
    use firmware_wire::{HeapSample, StackSample};
    use hil_bench::BacktraceFrame;

    #[test]
    fn memory_keeps_its_numbers() {
        let heap = HeapSample {
            size: 100,
            free: 50,
            free_min: 40,
            largest_free_block: 25,
            allocations: 9,
            frees: 8,
            failed: 1,
            refused: 0,
        };
        let stack = StackSample {
            name: "main".try_into().unwrap(),
            size: 10,
            used_max: 5,
        };
        let report = memory(&MemorySample {
            heap,
            stacks: [stack].into_iter().collect(),
            buffers: firmware_wire::BufferSample::default(),
        });
        assert_eq!(
            (report.heap_size, report.heap_free, report.heap_free_min),
            (100, 50, 40)
        );
        assert_eq!(
            (report.heap_failed, report.fragmentation_percent()),
            (1, 50.0)
        );
        assert_eq!(
            (report.stacks[0].name.as_str(), report.stacks[0].used_max),
            ("main", 5)
        );
    }

    #[test]
    fn backtraces_show_inlined_functions_and_what_is_unknown() {
        let place = |function: &str| hil_bench::Place {
            function: function.into(),
            file: Some("src/json.rs".into()),
            line: Some(8),
        };
        let report = crash_report(&Crash {
            kind: hil_bench::CrashKind::Panic,
            message: "no".into(),
            backtrace: vec![
                BacktraceFrame {
                    address: 0x4200_0010,
                    places: vec![place("inner"), place("outer")],
                },
                BacktraceFrame {
                    address: 0x4200_0020,
                    places: vec![],
                },
            ],
            boot: None,
        });
        let frames: Vec<_> = report
            .backtrace
            .iter()
            .map(|frame| (frame.pc, frame.function.as_deref()))
            .collect();
        assert_eq!(
            frames,
            [
                (0x4200_0010, Some("inner")),
                (0x4200_0010, Some("outer")),
                (0x4200_0020, None)
            ]
        );
        assert_eq!(report.backtrace[0].at.as_deref(), Some("src/json.rs:8"));
    }

    #[test]
    fn errors_of_the_bench_go_to_who_must_act() {
        let silent = || BenchError::NoBoot {
            within: Duration::from_secs(10),
            rtt: None,
            place: None,
        };
        assert!(matches!(
            ScenarioError::from(silent()),
            ScenarioError::Failure(_)
        ));
        assert!(matches!(
            PrepareError::from(silent()),
            PrepareError::Device(_)
        ));
        let missing = || BenchError::NoProbe {
            selector: "303a:1001".into(),
            found: vec![],
        };
        let ScenarioError::Infra { reason } = ScenarioError::from(missing()) else {
            panic!()
        };
        assert!(
            reason.contains("303a:1001") && reason.contains("plug the board in"),
            "{reason}"
        );
        assert!(matches!(
            PrepareError::from(missing()),
            PrepareError::Infra { .. }
        ));
        let several = BenchError::SeveralProbes {
            selector: "x".into(),
            found: vec!["a".into(), "b".into()],
        };
        assert!(matches!(
            PrepareError::from(several),
            PrepareError::Configuration { .. }
        ));
        let no_hooks = || BenchError::Refused {
            what: "simulate sensors",
            reason: firmware_wire::Refusal::NoTestHooks,
        };
        let PrepareError::Configuration { reason } = PrepareError::from(no_hooks()) else {
            panic!()
        };
        assert!(reason.contains("`--features test-hooks`"), "{reason}");
        assert!(matches!(
            ScenarioError::from(no_hooks()),
            ScenarioError::Blocked { .. }
        ));
    }

    #[test]
    fn an_outage_of_the_fixture_is_evidence_from_its_beginning_to_its_end() {
        let outage = |event| match occurrence(&BenchEvent::Fixture(event)) {
            Occurrence::Outage { recovered, .. } => recovered.map(|recovered| recovered.helped),
            other => panic!("{other:?}"),
        };
        let why = || "the cable is pulled".to_owned();
        assert_eq!(outage(FixtureEvent::Outage { why: why() }), None);
        assert_eq!(outage(FixtureEvent::Lost { frames: 1 }), None);
        for helped in [true, false] {
            let reopened = FixtureEvent::Reopened { why: why(), helped };
            assert_eq!(outage(reopened), Some(helped));
        }
    }

    #[test]
    fn what_the_device_says_becomes_what_reports_show() {
        let fault = DeviceFrame {
            boot: 1,
            sequence: 2,
            uptime_us: 3,
            body: DeviceBody::Fault(firmware_wire::Fault::Hang),
        };
        let Occurrence::Fault { fault } = occurrence(&BenchEvent::Telemetry(fault)) else {
            panic!()
        };
        assert_eq!(fault, "Hang");
        let lost = occurrence(&BenchEvent::Lost {
            channel: Channel::Telemetry,
            frames: 3,
        });
        let Occurrence::Lost {
            channel, count: 3, ..
        } = lost
        else {
            panic!()
        };
        assert_eq!(channel, "telemetry");
    }
}
