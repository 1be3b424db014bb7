//! `hil verify`: deliberate bugs in the firmware, one at a time, and which scenario catches each.
//!
//! A suite is believed once it was seen to fail. So that a mutant is caught by its own doing, the
//! scenarios pass without any before the first is armed, and the one that caught it passes again after.

mod finding;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hil_bench::Bench;
use hil_report::{Recorder, Style, spinner_style, write_summary};
use hil_rig::{Rig, suggestion};
use hil_runner::{
    Abort, Cancel, ExitCode, Journal, Plan, Product as _, RunSettings, RunSummary, Scenario, Sink,
    Verdict, What,
};
use hil_suite::{Mutant, TemperatureController};
use indicatif::ProgressBar;
use serde::Serialize;

use self::finding::{Counts, Finding, Tried, scenario_of};
use super::run::{self, Early, ImageSource};
use crate::arguments::{OrderArguments, VerifyArguments};
use crate::output::Output;
use crate::stop::{Stop, say};
use crate::{interrupt, project, settings};

/// Wall time to tell the device that it has no bug any more, when the end comes early.
const DISARM_WALL: Duration = Duration::from_secs(30);

/// What is written as `verify.json`.
#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    run_id: &'a str,
    seed: u64,
    rig: &'a str,
    /// The scenarios without any mutant; none when it did not come to that.
    baseline: Option<RunSummary>,
    mutants: Vec<Tried>,
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted: Option<String>,
    /// Why it could not begin or go on, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    aborted: Option<String>,
    exit: ExitCode,
}

/// Verifies, or lists what there is.
pub(crate) async fn verify(arguments: VerifyArguments) -> Result<ExitCode, Stop> {
    let mutants = chosen(&arguments.mutants)?;
    if arguments.list {
        print!("{}", table(&mutants));
        return Ok(ExitCode::Passed);
    }
    let settings = settings_of(&arguments)?;
    let cancel = interrupt::listen();
    let base = arguments
        .output
        .clone()
        .unwrap_or_else(|| settings.root.join("target/hil"));
    let output = run::output_in(&base, &settings.root)?;
    let mut journal = Journal::new(vec![Box::new(run::terminal())]);
    let rig = settings.rig.rig.name.clone();
    journal.record(started(&output, &settings, rig.clone()));
    let bench = run::open(&settings, &cancel, &mut journal).await;
    drop(journal);

    let mut report = Report {
        format: 1,
        run_id: &output.run_id,
        seed: settings.seed,
        rig: &rig,
        baseline: None,
        mutants: Vec::new(),
        counts: Counts::of(&[], mutants.len()),
        interrupted: None,
        aborted: None,
        exit: ExitCode::Infra,
    };
    match bench {
        Ok(bench) => {
            let verification = Verification {
                bench: Arc::new(bench),
                settings: &settings,
                output: &output,
                cancel: &cancel,
                catalogue: super::scenarios(),
                verbose: arguments.verbose,
                style: run::style(io::stdout().is_terminal()),
                progress: match arguments.verbose {
                    true => ProgressBar::hidden(),
                    false => ProgressBar::new_spinner(),
                },
            };
            verification.run(&mutants, &mut report).await;
            verification.close().await;
        }
        Err(Early::Cancelled) => {
            report.interrupted = cancel.reason();
            report.exit = ExitCode::Interrupted;
        }
        Err(Early::Stopped(stop)) => {
            report.aborted = Some(stop.message());
            report.exit = stop.report();
        }
    }
    if let Err(error) = write_summary(&output.file("verify.json"), &report) {
        say(&error);
        if report.exit == ExitCode::Passed {
            report.exit = ExitCode::Infra;
        }
    }
    println!("   {}", report.counts.in_words());
    println!("   report     {}", output.shown);
    Ok(report.exit)
}

/// Those mutants, each once, by number; all without any name.
fn chosen(names: &[String]) -> Result<Vec<Mutant>, Stop> {
    let all = hil_suite::mutants();
    let known: Vec<&str> = all.iter().map(|mutant| mutant.name).collect();
    for name in names {
        if known.contains(&name.as_str()) {
            continue;
        }
        let help = match suggestion(name, &known) {
            Some(meant) => format!("write `{meant}`; `hil verify --list` shows all of them"),
            None => "see `hil verify --list`".to_owned(),
        };
        let message = format!("unknown mutant `{name}`");
        return Err(Stop::with_help(ExitCode::Usage, message, help));
    }
    let wanted = |mutant: &Mutant| names.is_empty() || names.iter().any(|n| n == mutant.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn table(mutants: &[Mutant]) -> String {
    let width = |of: fn(&Mutant) -> usize| mutants.iter().map(of).max().unwrap_or(0);
    let (names, scenarios, parts) = (
        width(|mutant| mutant.name.len()),
        width(|mutant| mutant.scenario.len()),
        width(|mutant| mutant.part.len()),
    );
    let mut text = String::new();
    for mutant in mutants {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:<names$}  {:<scenarios$}  {:<parts$}  {}",
            mutant.name, mutant.scenario, mutant.part, mutant.description
        );
    }
    text
}

fn settings_of(arguments: &VerifyArguments) -> Result<run::Settings, Stop> {
    let root = project::root()?;
    let (seed, _) = settings::order(&OrderArguments {
        seed: arguments.seed,
        shuffle: false,
    });
    let rig = Rig::find(&arguments.on.rig, &root)?;
    let features = ["mutants".to_owned()];
    let image = ImageSource::Built(run::firmware_of(&rig, &root, &features)?);
    let again = format!(
        "--rig {} --seed {seed} --features mutants",
        arguments.on.rig
    );
    Ok(run::Settings {
        rig: rig.resolve(|name| std::env::var(name).ok())?,
        root,
        plan: Plan::default(),
        seed,
        image,
        run: RunSettings {
            seed,
            again: ("hil run".to_owned(), again),
            ..RunSettings::default()
        },
        purpose: "hil verify",
        capture: None,
    })
}

fn started(output: &Output, settings: &run::Settings, rig: String) -> What {
    What::RunStarted {
        run_id: output.run_id.clone(),
        seed: settings.seed,
        rig,
        product: TemperatureController::new(settings.rig.clone()).name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        directory: None,
    }
}

/// The scenarios that fail without any mutant: ID, and which and why.
type Broken = BTreeMap<String, String>;

/// Mutants on one open bench.
struct Verification<'a> {
    bench: Arc<Bench>,
    settings: &'a run::Settings,
    output: &'a Output,
    cancel: &'a Cancel,
    catalogue: Vec<&'static Scenario>,
    verbose: bool,
    style: Style,
    progress: ProgressBar,
}

impl Verification<'_> {
    /// The baseline, then one mutant after the other; what came of it is in the report.
    async fn run(&self, mutants: &[Mutant], report: &mut Report<'_>) {
        let baseline = self.baseline(mutants, report).await;
        let width = mutants.iter().map(|m| m.name.len()).max().unwrap_or(0);
        if let Some(broken) = baseline {
            for (index, mutant) in mutants.iter().enumerate() {
                self.show_progress(format!(
                    "{} of {}: {}",
                    index + 1,
                    mutants.len(),
                    mutant.name
                ));
                let since = Instant::now();
                let Some(finding) = self.try_out(mutant, &broken).await else {
                    break;
                };
                let tried = Tried::new(mutant, finding, since.elapsed());
                self.print(&tried.line(width, self.style));
                report.mutants.push(tried);
            }
            report.counts = Counts::of(&report.mutants, mutants.len());
            report.exit = report.counts.exit_code();
        }
        self.progress.finish_and_clear();
        if let Some(reason) = self.cancel.reason() {
            say(format_args!("   stopping   {reason}; disarming the device"));
            report.interrupted = Some(reason);
            report.exit = ExitCode::Interrupted;
        }
        if let Err(reason) = self.disarm().await {
            say(format_args!(
                "   trouble    the device may still have a mutant: {reason}"
            ));
            if report.exit == ExitCode::Passed {
                report.exit = ExitCode::Infra;
            }
            report.aborted.get_or_insert(reason);
        }
    }

    /// Runs every scenario that is to catch something, without anything to catch. Those that fail all
    /// the same, by their ID, and why: they can't be said to catch anything. None if it makes no sense to
    /// go on.
    async fn baseline(&self, mutants: &[Mutant], report: &mut Report<'_>) -> Option<Broken> {
        let ids: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.scenario).collect();
        let scenarios = self.scenarios(|scenario| ids.contains(scenario.id));
        if scenarios.is_empty() {
            return Some(Broken::new());
        }
        self.show_progress(format!("{} scenarios without a mutant", scenarios.len()));
        let since = Instant::now();
        let summary = self.run_scenarios("baseline", 0, scenarios, false).await;
        let took = since.elapsed().as_secs_f64();
        let heading = self.style.heading("baseline  ");
        let counts = summary.counts;
        let mut line = format!(
            "   {heading} {} scenarios pass without a mutant, in {took:.1} s",
            counts.passed
        );
        if counts.blocked > 0 {
            let _ = write!(line, "; {} blocked on this rig", counts.blocked);
        }
        self.print(&line);
        let mut broken = Broken::new();
        for unit in &summary.units {
            // What is blocked on this rig shows at the mutants that it should catch.
            if unit.retried || matches!(unit.verdict, Verdict::Pass | Verdict::Blocked) {
                continue;
            }
            let reason = unit.reason.as_deref().unwrap_or("not said");
            self.print(&format!(
                "   {heading} {} {} {}: {reason}",
                self.style.verdict(unit.verdict, unit.verdict.name()),
                unit.id,
                unit.name,
            ));
            broken.insert(unit.id.clone(), format!("{}: {reason}", unit.name));
        }
        let end = summary
            .aborted
            .as_ref()
            .map(|abort| (abort.exit, abort.reason.clone()));
        let interrupted = summary.interrupted.is_some();
        report.baseline = Some(summary);
        if let Some((exit, reason)) = end {
            say(format_args!("   stopped    {reason}"));
            report.aborted = Some(reason);
            report.exit = exit;
            return None;
        }
        (!interrupted).then_some(broken)
    }

    /// What comes of one mutant; `None` if somebody asked for the end.
    async fn try_out(&self, mutant: &Mutant, broken: &Broken) -> Option<Finding> {
        if let Some(reason) = broken.get(mutant.scenario) {
            let reason = format!("fails without any mutant, so it can catch none: {reason}");
            return Some(Finding::Infra { reason });
        }
        let scenarios = self.scenarios(|scenario| scenario.id == mutant.scenario);
        let Some(&first) = scenarios.first() else {
            let reason = format!("scenario {} does not exist", mutant.scenario);
            return Some(Finding::NotCovered { reason });
        };
        let with = self
            .run_scenarios(mutant.name, mutant.number, scenarios, true)
            .await;
        let finding = Finding::of(&with, &self.catalogue)?;
        if !matches!(finding, Finding::Caught { .. }) {
            return Some(finding);
        }
        let caught_by = with
            .units
            .iter()
            .rev()
            .find_map(|unit| scenario_of(unit, &self.catalogue));
        let name = format!("{}-disarmed", mutant.name);
        let without = self
            .run_scenarios(&name, 0, vec![caught_by.unwrap_or(first)], true)
            .await;
        finding.confirmed(&without)
    }

    fn scenarios(&self, wanted: impl Fn(&Scenario) -> bool) -> Vec<&'static Scenario> {
        let all = self.catalogue.iter().copied();
        all.filter(|scenario| wanted(scenario)).collect()
    }

    /// One run of its own on the open bench, recorded as `NAME.ndjson`.
    async fn run_scenarios(
        &self,
        name: &str,
        number: u16,
        scenarios: Vec<&'static Scenario>,
        fail_fast: bool,
    ) -> RunSummary {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if self.verbose {
            say(format_args!("   mutant     {name}"));
            sinks.push(Box::new(run::terminal()));
        }
        let path = self.output.file(&format!("{name}.ndjson"));
        match Recorder::create(&path) {
            Ok(recorder) => sinks.push(Box::new(recorder)),
            Err(error) => {
                let mut journal = Journal::new(sinks);
                journal.abort(Abort {
                    exit: ExitCode::Infra,
                    reason: error.to_string(),
                });
                return journal.finish(Duration::ZERO);
            }
        }
        let rig = self.settings.rig.rig.name.clone();
        let mut journal = Journal::new(sinks);
        journal.record(started(self.output, self.settings, rig));
        let product = TemperatureController::new(self.settings.rig.clone()).with_mutant(number);
        let settings = RunSettings {
            fail_fast,
            ..self.settings.run.clone()
        };
        // The bench stays open: the run lets go of its own hold only.
        let bench = Arc::clone(&self.bench);
        let plan = Plan { scenarios };
        let cancel = self.cancel.clone();
        hil_runner::run(plan, bench, Arc::new(product), settings, cancel, journal).await
    }

    /// Leaves a device without a bug behind, however the verification ended.
    async fn disarm(&self) -> Result<(), String> {
        let disarming = hil_suite::arm(&self.bench, 0);
        match tokio::time::timeout(DISARM_WALL, disarming).await {
            Ok(Ok(())) => self.bench.reset().await.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no end within {} s", DISARM_WALL.as_secs())),
        }
    }

    async fn close(self) {
        if let Some(bench) = Arc::into_inner(self.bench) {
            bench.close().await;
        }
    }

    fn show_progress(&self, doing: String) {
        self.progress.set_message(doing);
        self.progress.set_style(spinner_style());
        self.progress.enable_steady_tick(Duration::from_millis(120));
    }

    fn print(&self, line: &str) {
        self.progress.suspend(|| {
            use io::Write;
            // A reader that went away ends the printing, not the verification.
            let _ = writeln!(io::stdout(), "{line}");
        });
    }
}
