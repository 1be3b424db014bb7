//! Runs a program's tests on an opened bench, and tells of each as it goes.

use std::{fmt, time::Duration};

use probe_rs::semihosting::SemihostingCommand;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, oneshot};

use super::{Program, Test};
use crate::{
    Bench, BenchError, FirmwareImage, Sensors,
    backtrace::BacktraceFrame,
    event::{BenchEvent, LogLine},
    session::{Worker, backtrace_of_halted},
};

/// How tests are run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// For tests that don't say how long they may take, bench time; a plain program and a defmt-test
    /// one may take it as a whole.
    pub timeout: Duration,
    /// Whether ignored tests are run, too.
    pub include_ignored: bool,
}

impl Default for RunOptions {
    /// A minute a test, as probe-rs gives it.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            include_ignored: false,
        }
    }
}

/// What happens while tests run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum TestEvent {
    /// A test begins.
    Started {
        /// Its name.
        name: String,
    },
    /// The program logged a line.
    Log(LogLine),
    /// A test ended.
    Finished(TestResult),
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// What came out.
    pub outcome: Outcome,
    /// How long it took, bench time, with the boot.
    #[serde(rename = "duration_us", with = "crate::event::micros")]
    pub duration: Duration,
}

/// What came out of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not run.
    Ignored,
    /// Not as it should.
    Failed {
        /// What happened instead.
        reason: String,
        /// Where, if the program was stopped somewhere.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<BacktraceFrame>,
    },
}

impl Outcome {
    fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            backtrace: vec![],
        }
    }

    /// Whether a run with this outcome fails.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// How a program stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// By itself, with success.
    Success,
    /// By itself, with an error: what it said.
    Error(String),
    /// The CPU halted: why and where.
    Halted(String, Vec<BacktraceFrame>),
    /// Not at all, within its time: where it was.
    TimedOut(Duration, Vec<BacktraceFrame>),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("it exited with success"),
            Self::Error(how) => f.write_str(how),
            Self::Halted(why, _) => write!(f, "the CPU halted: {why}"),
            Self::TimedOut(limit, _) => {
                write!(f, "it did not end within {:.1} s", limit.as_secs_f64())
            }
        }
    }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        let reason = stop.to_string();
        match stop {
            Stop::Success => Self::Passed,
            Stop::Error(_) => Self::failed(reason),
            Stop::Halted(_, backtrace) | Stop::TimedOut(_, backtrace) => {
                Self::Failed { reason, backtrace }
            }
        }
    }
}

/// Runs the tests of `image`, which is `program`, and for which `wanted` is true. The image must be
/// in the flash: [`Bench::flash`]. `tell` hears of everything as it happens. The rig's sensors, if it
/// has a bus, are put on it first, and measure 25 °C.
///
/// Dropping the future leaves the program running; the next run resets it.
///
/// # Errors
/// The probe's. A failing test is a result, not an error.
pub async fn run(
    bench: &Bench,
    image: &FirmwareImage,
    program: &Program,
    wanted: impl Fn(&str) -> bool,
    options: &RunOptions,
    mut tell: impl FnMut(TestEvent),
) -> Result<Vec<TestResult>, BenchError> {
    place_sensors(bench).await?;
    bench.listen_to(image).await?;
    let mut results = vec![];
    let mut finish = |result: TestResult, tell: &mut dyn FnMut(TestEvent)| {
        tell(TestEvent::Finished(result.clone()));
        results.push(result);
    };
    match program {
        Program::EmbeddedTest(tests) => {
            for test in tests.iter().filter(|test| wanted(&test.name)) {
                let result = if test.ignored && !options.include_ignored {
                    TestResult {
                        name: test.name.clone(),
                        outcome: Outcome::Ignored,
                        duration: Duration::ZERO,
                    }
                } else {
                    run_embedded_test(bench, test, options, &mut tell).await?
                };
                finish(result, &mut tell);
            }
        }
        Program::DefmtTest { .. } => {
            let mut progress = DefmtProgress::default();
            let start = bench.clock().now();
            let clock = bench.clock().clone();
            let stop = run_program(bench, String::new(), options.timeout, |line| {
                let (now, mut events) = (clock.now(), vec![]);
                progress.line(&line, now, &mut events);
                tell(TestEvent::Log(line));
                for event in events {
                    match event {
                        TestEvent::Finished(result) => finish(result, &mut tell),
                        other => tell(other),
                    }
                }
            })
            .await?;
            let name = image_name(image);
            if let Some(result) = progress.end(stop, &name, start, bench.clock().now()) {
                finish(result, &mut tell);
            }
        }
        Program::Plain => {
            let name = image_name(image);
            if wanted(&name) {
                tell(TestEvent::Started { name: name.clone() });
                let start = bench.clock().now();
                let stop = run_program(bench, String::new(), options.timeout, |line| {
                    tell(TestEvent::Log(line));
                })
                .await?;
                let result = TestResult {
                    name,
                    outcome: stop.into(),
                    duration: bench.clock().now().saturating_sub(start),
                };
                finish(result, &mut tell);
            }
        }
    }
    Ok(results)
}

async fn place_sensors(bench: &Bench) -> Result<(), BenchError> {
    let Some(sensors) = bench.sensors().filter(Sensors::are_on_a_bus) else {
        return Ok(());
    };
    let of_rig = bench.rig().rig.fixture.as_ref();
    let count = of_rig.map_or(0, |fixture| fixture.sensors);
    sensors.place(count).await?;
    for sensor in 0..count {
        sensors.set_temperature(sensor, 25.0).await?;
    }
    Ok(())
}

fn image_name(image: &FirmwareImage) -> String {
    let name = image.path().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

async fn run_embedded_test(
    bench: &Bench,
    test: &Test,
    options: &RunOptions,
    tell: &mut impl FnMut(TestEvent),
) -> Result<TestResult, BenchError> {
    tell(TestEvent::Started {
        name: test.name.clone(),
    });
    let start = bench.clock().now();
    let limit = test.timeout.unwrap_or(options.timeout);
    let command_line = format!("run_addr {}", test.address);
    let stop = run_program(bench, command_line, limit, |line| {
        tell(TestEvent::Log(line))
    })
    .await?;
    Ok(TestResult {
        name: test.name.clone(),
        outcome: judge(test, stop),
        duration: bench.clock().now().saturating_sub(start),
    })
}

/// embedded-test exits with an error when the test panics or returns an error.
fn judge(test: &Test, stop: Stop) -> Outcome {
    match (stop, test.should_panic) {
        (Stop::Success, true) => Outcome::failed("it should have panicked and did not"),
        (Stop::Error(_), true) => Outcome::Passed,
        (stop, _) => stop.into(),
    }
}

/// Resets the chip, runs the program to its end, and hands on what it logs.
async fn run_program(
    bench: &Bench,
    command_line: String,
    limit: Duration,
    mut log: impl FnMut(LogLine),
) -> Result<Stop, BenchError> {
    let mut events = bench.subscribe();
    let session = bench.session();
    let mut stopped = session
        .call(move |worker| worker.start_program(command_line))
        .await??;
    let run = async {
        loop {
            tokio::select! {
                stop = &mut stopped => return stop.map_err(|_| BenchError::Closed),
                event = events.recv() => if let Ok(event) = event
                    && let BenchEvent::Log(line) = &event.event
                {
                    log(line.clone());
                },
            }
        }
    };
    let stop = match bench.clock().timeout(limit, run).await {
        Ok(stop) => stop?,
        Err(_) => {
            let backtrace = session.call(Worker::stop_program).await??;
            Stop::TimedOut(limit, backtrace)
        }
    };
    bench.drain().await?;
    loop {
        match events.try_recv() {
            Ok(event) => {
                if let BenchEvent::Log(line) = &event.event {
                    log(line.clone());
                }
            }
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return Ok(stop),
        }
    }
}

/// Which of a defmt-test program's tests runs, told from its log.
#[derive(Default)]
struct DefmtProgress {
    current: Option<(String, Duration)>,
    /// It said that all tests passed.
    complete: bool,
    seen: bool,
}

impl DefmtProgress {
    /// defmt-test announces each test with its number, as in ``(1/3) running `adds`...``.
    fn line(&mut self, line: &LogLine, now: Duration, events: &mut Vec<TestEvent>) {
        if line.level.is_some() {
            return;
        }
        if line.message == "all tests passed!" {
            self.complete = true;
            self.pass(now, events);
            return;
        }
        let Some((verb, name)) = announced(&line.message) else {
            return;
        };
        self.seen = true;
        self.pass(now, events);
        if verb == "ignoring" {
            events.push(TestEvent::Finished(TestResult {
                name: name.into(),
                outcome: Outcome::Ignored,
                duration: Duration::ZERO,
            }));
        } else {
            events.push(TestEvent::Started { name: name.into() });
            self.current = Some((name.into(), now));
        }
    }

    fn pass(&mut self, now: Duration, events: &mut Vec<TestEvent>) {
        if let Some((name, start)) = self.current.take() {
            events.push(TestEvent::Finished(TestResult {
                name,
                outcome: Outcome::Passed,
                duration: now.saturating_sub(start),
            }));
        }
    }

    /// The program stopped: a failure of the test that ran, or of the whole if none did.
    fn end(self, stop: Stop, program: &str, start: Duration, now: Duration) -> Option<TestResult> {
        if self.complete && stop == Stop::Success {
            return None;
        }
        let (name, start) = self.current.unwrap_or((program.into(), start));
        let outcome = match stop {
            Stop::Success if self.seen => {
                Outcome::failed("the program ended before all its tests had run")
            }
            Stop::Success => Outcome::failed("the program ended without a test"),
            stop => stop.into(),
        };
        Some(TestResult {
            name,
            outcome,
            duration: now.saturating_sub(start),
        })
    }
}

fn announced(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix('(')?;
    let (numbers, rest) = rest.split_once(") ")?;
    let (number, count) = numbers.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (verb, rest) = rest.split_once(" `")?;
    let name = rest.strip_suffix("`...")?;
    let known = matches!(verb, "running" | "ignoring");
    (known && is_number(number) && is_number(count)).then_some((verb, name))
}

/// A program that runs under the worker's eyes.
pub(crate) struct OnTarget {
    command_line: String,
    stopped: Option<oneshot::Sender<Stop>>,
}

impl Worker {
    /// Resets the chip and runs the program that is in its flash, which may ask for
    /// `command_line`; tells when it stops.
    fn start_program(
        &mut self,
        command_line: String,
    ) -> Result<oneshot::Receiver<Stop>, BenchError> {
        self.reset_and_halt()?;
        let (stopped, receiver) = oneshot::channel();
        self.on_target = Some(OnTarget {
            command_line,
            stopped: Some(stopped),
        });
        self.with_core("starting the program", |core| core.run())?;
        Ok(receiver)
    }

    /// Halts the program, and says where it was.
    fn stop_program(&mut self) -> Result<Vec<BacktraceFrame>, BenchError> {
        self.on_target = None;
        let image = self.image.clone();
        let backtrace = self.with_core("stopping the program", |core| {
            core.halt(crate::session::PROBE_WITHIN)?;
            backtrace_of_halted(core, image.as_ref())
        });
        self.halt_is_told();
        backtrace
    }

    /// The program halted. True when it goes on.
    pub(crate) fn serve(
        &mut self,
        command: Option<SemihostingCommand>,
        why: &str,
    ) -> Result<bool, BenchError> {
        let Some(mut program) = self.on_target.take() else {
            return Ok(false);
        };
        let stop = match command {
            Some(SemihostingCommand::ExitSuccess) => Stop::Success,
            Some(SemihostingCommand::ExitError(details)) => {
                let how = match (details.exit_status, details.subcode) {
                    // semihosting's abort, which panic handlers end in.
                    (Some(134), _) => "it panicked or aborted".to_owned(),
                    (Some(status), _) => format!("it exited with status {status}"),
                    (None, _) => format!("it stopped for reason {:#x}", details.reason),
                };
                Stop::Error(how)
            }
            Some(command) => {
                self.answer(&command, &program.command_line)?;
                self.on_target = Some(program);
                return Ok(true);
            }
            None => {
                let image = self.image.clone();
                let backtrace = self.with_core("looking where the program is", |core| {
                    backtrace_of_halted(core, image.as_ref())
                })?;
                Stop::Halted(why.to_owned(), backtrace)
            }
        };
        if let Some(stopped) = program.stopped.take() {
            let _ = stopped.send(stop);
        }
        Ok(false)
    }

    /// Does what a program asks for, and lets it go on.
    fn answer(
        &mut self,
        command: &SemihostingCommand,
        command_line: &str,
    ) -> Result<(), BenchError> {
        let text = self.with_core("answering the program", |core| {
            let mut text = None;
            match command {
                SemihostingCommand::GetCommandLine(request) => {
                    request
                        .write_command_line_to_target(core.inner_mut().as_mut(), command_line)?;
                }
                SemihostingCommand::WriteConsole(request) => text = Some(request.read(core)?),
                SemihostingCommand::Time(request) => {
                    request.write_current_time(core.inner_mut().as_mut())?;
                }
                SemihostingCommand::Errno(request) => {
                    request.write_errno(core.inner_mut().as_mut(), 0)?;
                }
                // Files of the host are nothing for a device under test: the call fails.
                _ => core.write_core_reg(RETURN_VALUE, u32::MAX)?,
            }
            core.run()?;
            Ok(text)
        })?;
        if let Some(text) = text {
            let port = "semihosting".into();
            self.shared
                .report((None, BenchEvent::Console { port, text }));
        }
        Ok(())
    }
}

/// Register a0, RISC-V x10.
const RETURN_VALUE: probe_rs::RegisterId = probe_rs::RegisterId(0x100a);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn test(should_panic: bool) -> Test {
        Test {
            name: "t".into(),
            address: 0,
            should_panic,
            ignored: false,
            timeout: None,
        }
    }

    #[track_caller]
    fn check_judged(stop: Stop, should_panic: bool, expected: &str) {
        let said = match judge(&test(should_panic), stop) {
            Outcome::Failed { reason, .. } => reason,
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_test_is_judged_by_how_it_stops() {
        let panicked = || Stop::Error("it panicked or aborted".into());
        check_judged(Stop::Success, false, "passed");
        check_judged(panicked(), false, "it panicked or aborted");
        check_judged(panicked(), true, "passed");
        check_judged(Stop::Success, true, "it should have panicked and did not");
        let timed_out = || Stop::TimedOut(SECOND * 5, vec![]);
        check_judged(timed_out(), false, "it did not end within 5.0 s");
        check_judged(timed_out(), true, "it did not end within 5.0 s");
        let halted = || Stop::Halted("a breakpoint".into(), vec![]);
        check_judged(halted(), true, "the CPU halted: a breakpoint");
    }

    /// What a defmt-test program's lines come to, ended by `stop` after one second a line.
    #[track_caller]
    fn check_defmt(lines: &[&str], stop: Stop, expected: &[&str]) {
        let mut progress = DefmtProgress::default();
        let (mut events, mut now) = (vec![], Duration::ZERO);
        for message in lines {
            now += SECOND;
            let line = LogLine {
                level: None,
                message: (*message).into(),
                module: None,
                file: None,
                line: None,
            };
            progress.line(&line, now, &mut events);
        }
        let last = progress.end(stop, "t.elf", Duration::ZERO, now + SECOND);
        events.extend(last.map(TestEvent::Finished));
        let shown: Vec<String> = events
            .iter()
            .map(|event| match event {
                TestEvent::Started { name } => format!("started {name}"),
                TestEvent::Log(_) => "log".into(),
                TestEvent::Finished(result) => {
                    let seconds = result.duration.as_secs();
                    match &result.outcome {
                        Outcome::Failed { reason, .. } => {
                            format!("{} failed after {seconds}: {reason}", result.name)
                        }
                        other => format!("{} {other:?} after {seconds}", result.name),
                    }
                }
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_defmt_test_program_is_followed_by_its_log() {
        check_defmt(
            &[
                "(1/3) running `a`...",
                "(2/3) ignoring `b`...",
                "(3/3) running `c`...",
                "all tests passed!",
            ],
            Stop::Success,
            &[
                "started a",
                "a Passed after 1",
                "b Ignored after 0",
                "started c",
                "c Passed after 1",
            ],
        );
        check_defmt(
            &[
                "(1/2) running `a`...",
                "something else",
                "(2/2) running `b`...",
            ],
            Stop::Error("it panicked or aborted".into()),
            &[
                "started a",
                "a Passed after 2",
                "started b",
                "b failed after 1: it panicked or aborted",
            ],
        );
        check_defmt(
            &["(1/2) running `a`..."],
            Stop::Success,
            &[
                "started a",
                "a failed after 1: the program ended before all its tests had run",
            ],
        );
        check_defmt(
            &[],
            Stop::Success,
            &["t.elf failed after 1: the program ended without a test"],
        );
        check_defmt(
            &[],
            Stop::TimedOut(SECOND, vec![]),
            &["t.elf failed after 1: it did not end within 1.0 s"],
        );
    }

    #[test]
    fn only_announcements_are_taken_for_such() {
        assert_eq!(announced("(1/3) running `a`..."), Some(("running", "a")));
        for message in [
            "(1/3) running a",
            "(x/3) running `a`...",
            "(1/3) jumping `a`...",
            "hello",
        ] {
            assert_eq!(announced(message), None, "{message}");
        }
    }
}
