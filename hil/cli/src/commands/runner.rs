//! `hil runner`: on-target tests out of an ELF, as libtest would run them.
//!
//! Cargo calls it with the ELF and what was typed after `--`. nextest calls it with `--list --format
//! terse`, once more with `--ignored`, and then once for each test with its name, `--exact` and
//! `--nocapture`; several at a time, so whoever finds the rig in use waits.

use std::path::Path;
use std::time::{Duration, Instant};

use hil_bench::event::LogLine;
use hil_bench::ontarget::{self, Outcome, Program, RunOptions, TestEvent, TestResult};
use hil_bench::{Bench, BenchError, FirmwareImage, OpenOptions};
use hil_rig::{ResolvedRig, Rig};
use hil_runner::ExitCode;

use crate::arguments::{RunnerArguments, RunnerFormat};
use crate::stop::Stop;
use crate::{interrupt, project};

/// How long to wait for a rig that another run uses.
const RIG_FREE_WITHIN: Duration = Duration::from_secs(600);
const RIG_LOOKS: Duration = Duration::from_millis(200);

/// Lists or runs.
pub(crate) async fn runner(arguments: RunnerArguments) -> Result<ExitCode, Stop> {
    let root = project::root()?;
    let rig = Rig::find(&arguments.on.rig, &root)?;
    let image = FirmwareImage::load_any(&arguments.elf, &rig.device.chip)
        .map_err(|error| super::bench_stop(&error.into()))?;
    let program = ontarget::inspect(&image).map_err(|error| {
        Stop::with_help(
            ExitCode::Usage,
            format!("`{}`: {error}", arguments.elf.display()),
            error.hint(),
        )
    })?;
    let tests = tests_of(&program, &arguments.elf);
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|test| is_chosen(test, &arguments))
        .collect();
    if arguments.list {
        print!("{}", listing(&chosen, arguments.format));
        return Ok(ExitCode::Passed);
    }
    match &program {
        Program::EmbeddedTest(_) => println!(
            "\nrunning {} {}",
            chosen.len(),
            if chosen.len() == 1 { "test" } else { "tests" }
        ),
        // How many tests are in it shows only while it runs.
        _ => println!("\nrunning a program whole"),
    }
    let since = Instant::now();
    let filtered_out = tests.len() - chosen.len();
    if chosen.is_empty() {
        println!("\n{}", result_line(&[], filtered_out, since.elapsed()));
        return Ok(ExitCode::Passed);
    }
    // Secrets are for networks and brokers; what runs here is only flashed and listened to.
    let rig = rig.resolve(|name| std::env::var(name).ok())?;
    let cancel = interrupt::listen();
    tokio::select! {
        biased;
        _ = cancel.requested() => Ok(ExitCode::Interrupted),
        results = run(&rig, &root, &image, &program, &chosen, &arguments) => {
            let results = results.map_err(|error| super::bench_stop(&error))?;
            print!("{}", failures(&results));
            println!("\n{}", result_line(&results, filtered_out, since.elapsed()));
            Ok(match results.iter().any(|result| result.outcome.is_failure()) {
                true => ExitCode::Failed,
                false => ExitCode::Passed,
            })
        }
    }
}

async fn run(
    rig: &ResolvedRig,
    root: &Path,
    image: &FirmwareImage,
    program: &Program,
    chosen: &[&Test],
    arguments: &RunnerArguments,
) -> Result<Vec<TestResult>, BenchError> {
    let bench = open_when_free(rig, root).await?;
    bench.flash(image).await?;
    let options = RunOptions {
        include_ignored: arguments.ignored || arguments.include_ignored,
        ..RunOptions::default()
    };
    // A program that can't be taken apart runs whole.
    let whole = !matches!(program, Program::EmbeddedTest(_));
    let wanted = |name: &str| whole || chosen.iter().any(|test| test.name == name);
    let mut log: Vec<LogLine> = Vec::new();
    let results = ontarget::run(
        &bench,
        image,
        program,
        wanted,
        &options,
        |event| match event {
            TestEvent::Started { .. } => log.clear(),
            TestEvent::Log(line) if arguments.nocapture || matches!(program, Program::Plain) => {
                eprintln!("{line}")
            }
            TestEvent::Log(line) => log.push(line),
            TestEvent::Finished(result) => {
                println!("test {} ... {}", result.name, word(&result.outcome));
                if result.outcome.is_failure() {
                    log.drain(..).for_each(|line| eprintln!("    {line}"));
                }
            }
        },
    )
    .await;
    bench.close().await;
    results
}

async fn open_when_free(rig: &ResolvedRig, root: &Path) -> Result<Bench, BenchError> {
    let since = Instant::now();
    let mut told = false;
    loop {
        match Bench::open(rig, OpenOptions::new(root, "hil runner")).await {
            Err(BenchError::InUse { rig, holder }) if since.elapsed() < RIG_FREE_WITHIN => {
                if !told {
                    eprintln!("waiting for rig `{rig}`, in use by {holder}");
                    told = true;
                }
                tokio::time::sleep(RIG_LOOKS).await;
            }
            other => return other,
        }
    }
}

/// One test, as it can be chosen.
#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    ignored: bool,
}

/// The program's tests; a program whose tests can't be known before it runs is one test.
fn tests_of(program: &Program, elf: &Path) -> Vec<Test> {
    match program {
        Program::EmbeddedTest(tests) => tests
            .iter()
            .map(|test| Test {
                name: test.name.clone(),
                ignored: test.ignored,
            })
            .collect(),
        Program::DefmtTest { .. } | Program::Plain => {
            let name = elf
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            vec![Test {
                name,
                ignored: false,
            }]
        }
    }
}

/// As libtest chooses: `--ignored` means these only.
fn is_chosen(test: &Test, arguments: &RunnerArguments) -> bool {
    let fits = |filter: &String| match arguments.exact {
        true => test.name == *filter,
        false => test.name.contains(filter.as_str()),
    };
    (arguments.filters.is_empty() || arguments.filters.iter().any(fits))
        && !arguments.skip.iter().any(fits)
        && (test.ignored || !arguments.ignored)
}

fn listing(tests: &[&Test], format: RunnerFormat) -> String {
    let mut text: String = tests
        .iter()
        .map(|test| format!("{}: test\n", test.name))
        .collect();
    if format == RunnerFormat::Pretty {
        text.push_str(&format!("\n{} tests, 0 benchmarks\n", tests.len()));
    }
    text
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Ignored => "ignored",
        Outcome::Failed { .. } => "FAILED",
    }
}

fn failures(results: &[TestResult]) -> String {
    let mut text = String::new();
    for result in results {
        let Outcome::Failed { reason, backtrace } = &result.outcome else {
            continue;
        };
        if text.is_empty() {
            text.push_str("\nfailures:\n");
        }
        text.push_str(&format!("\n---- {} ----\n{reason}\n", result.name));
        for (number, frame) in backtrace.iter().enumerate() {
            text.push_str(&format!("{number:>4}: {frame}\n"));
        }
    }
    text
}

/// As libtest ends: CI counts these lines.
fn result_line(results: &[TestResult], filtered_out: usize, took: Duration) -> String {
    let count = |test: fn(&Outcome) -> bool| {
        results
            .iter()
            .filter(|result| test(&result.outcome))
            .count()
    };
    let failed = count(Outcome::is_failure);
    format!(
        "test result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {filtered_out} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        count(|outcome| matches!(outcome, Outcome::Passed)),
        count(|outcome| matches!(outcome, Outcome::Ignored)),
        took.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// What is listed for `arguments`, as typed after `hil runner ELF`.
    fn check(arguments: &[&str], expected: &str) {
        let typed = ["hil", "runner", "some.elf"].iter().chain(arguments);
        let crate::arguments::Command::Runner(arguments) =
            crate::arguments::Arguments::parse_from(typed).command
        else {
            panic!("another command");
        };
        let test = |name: &str, ignored| Test {
            name: name.into(),
            ignored,
        };
        let tests = [
            test("heap::grows", false),
            test("heap::grows_twice", false),
            test("slow::soak", true),
        ];
        let chosen: Vec<&Test> = tests
            .iter()
            .filter(|test| is_chosen(test, &arguments))
            .collect();
        assert_eq!(
            listing(&chosen, arguments.format),
            expected,
            "{arguments:?}"
        );
    }

    #[test]
    fn tests_are_chosen_as_libtest_does() {
        check(
            &["--list", "--format", "terse"],
            "heap::grows: test\nheap::grows_twice: test\nslow::soak: test\n",
        );
        check(
            &["--list", "--format", "terse", "--ignored"],
            "slow::soak: test\n",
        );
        check(
            &["heap::grows", "--exact", "--nocapture", "--format", "terse"],
            "heap::grows: test\n",
        );
        check(
            &["heap::grows", "--format", "terse"],
            "heap::grows: test\nheap::grows_twice: test\n",
        );
        check(
            &["--skip", "heap", "--format", "terse"],
            "slow::soak: test\n",
        );
        check(&["nothing"], "\n0 tests, 0 benchmarks\n");
        check(
            &["slow", "--list"],
            "slow::soak: test\n\n1 tests, 0 benchmarks\n",
        );
    }

    #[test]
    fn a_program_of_another_kind_is_one_test() {
        let tests = tests_of(
            &Program::DefmtTest { count: 3 },
            Path::new("target/deps/wire-1f.elf"),
        );
        assert_eq!(
            tests,
            [Test {
                name: "wire-1f".into(),
                ignored: false
            }]
        );
    }

    #[test]
    fn results_are_counted_and_explained() {
        let result = |name: &str, outcome| TestResult {
            name: name.into(),
            outcome,
            duration: Duration::ZERO,
        };
        let results = [
            result("a", Outcome::Passed),
            result("b", Outcome::Ignored),
            result(
                "c",
                Outcome::Failed {
                    reason: "it panicked".into(),
                    backtrace: vec![],
                },
            ),
        ];
        assert_eq!(
            result_line(&results, 2, Duration::from_millis(1_250)),
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 1.25s\n"
        );
        assert_eq!(
            failures(&results),
            "\nfailures:\n\n---- c ----\nit panicked\n"
        );
        assert_eq!(failures(&results[..2]), "");
    }
}
