//! `hil run`: settings, rig, firmware, bench, flash, scenarios, report, in this order.
//!
//! What is wrong with what was typed or with a file ends the program before anything is opened.
//! From then on there is a directory for the run, and whatever happens is in its report.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hil_bench::event::FlashProgress;
use hil_bench::{Bench, BenchEvent, FirmwareImage, OpenOptions};
use hil_report::{Junit, Recorder, Style, Terminal, write_summary};
use hil_rig::{BrokerEndpoint, ResolvedRig, Rig};
use hil_runner::{Abort, Cancel, ExitCode, Journal, Plan, Product, RunSettings, Sink, What};
use hil_suite::TemperatureController;
use indicatif::ProgressDrawTarget;
use time::OffsetDateTime;
use tokio::sync::broadcast;

use crate::arguments::RunArguments;
use crate::firmware::{self, BuildError, Firmware, Progress};
use crate::output::Output;
use crate::stop::{Stop, say};
use crate::{interrupt, project, settings};

/// Everything that was meant.
pub(super) struct Settings {
    pub(super) root: PathBuf,
    pub(super) rig: ResolvedRig,
    pub(super) plan: Plan,
    pub(super) seed: u64,
    pub(super) image: ImageSource,
    pub(super) run: RunSettings,
    /// What the rig is used for, for whoever finds it in use.
    pub(super) purpose: &'static str,
    /// Where a virtual rig's network is recorded.
    pub(super) capture: Option<PathBuf>,
}

pub(super) enum ImageSource {
    Given(PathBuf),
    Built(Firmware),
}

/// Runs, and says how the program ends.
pub(crate) async fn run(arguments: RunArguments) -> Result<ExitCode, Stop> {
    let mut settings = settings_of(&arguments)?;
    let cancel = interrupt::listen();
    let base = arguments
        .output
        .unwrap_or_else(|| settings.root.join("target/hil"));
    let output = output_in(&base, &settings.root)?;
    if arguments.capture {
        settings.capture = Some(capture_file(&output)?);
    }
    let product = TemperatureController::new(settings.rig.clone());
    let mut journal = Journal::new(sinks(&output)?);
    journal.record(What::RunStarted {
        run_id: output.run_id.clone(),
        seed: settings.seed,
        rig: settings.rig.rig.name.clone(),
        product: product.name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        directory: Some(output.shown.clone()),
    });
    let summary = match open(&settings, &cancel, &mut journal).await {
        Ok(bench) => {
            let run = settings.run.clone();
            hil_runner::run(
                settings.plan,
                Arc::new(bench),
                Arc::new(product),
                run,
                cancel,
                journal,
            )
            .await
        }
        Err(early) => {
            early.into_journal(&cancel, &mut journal);
            journal.finish(std::time::Duration::ZERO)
        }
    };
    let mut exit = summary.exit_code();
    if let Err(error) = write_summary(&output.file("run.json"), &summary) {
        say(&error);
        if exit == ExitCode::Passed {
            exit = ExitCode::Infra;
        }
    }
    Ok(exit)
}

/// A new directory for a run, below `base`.
pub(super) fn output_in(base: &Path, root: &Path) -> Result<Output, Stop> {
    Output::create(base, root, OffsetDateTime::now_utc()).map_err(|error| {
        Stop::with_help(
            ExitCode::Infra,
            format!(
                "can't make a directory for the report in `{}`: {error}",
                base.display()
            ),
            "free some space, or name another directory with `--output`",
        )
    })
}

fn settings_of(arguments: &RunArguments) -> Result<Settings, Stop> {
    let root = project::root()?;
    let selection = settings::selection(&arguments.selection, arguments.all);
    let (seed, order) = settings::order(&arguments.order);
    let mut rig = Rig::find(&arguments.on.rig, &root)?;
    if let Some(broker) = &arguments.broker {
        let (host, port) = settings::broker(broker).map_err(Stop::usage)?;
        rig.broker.endpoint = BrokerEndpoint::External {
            host,
            port,
            login_env: None,
        };
        rig.broker.is_overridden = true;
    }
    let catalogue = settings::runnable(super::scenarios(), &selection);
    let plan = settings::plan(&catalogue, &selection, order)
        .map_err(|reason| super::nothing_selected(&reason))?;
    let image = match &arguments.firmware {
        Some(elf) => ImageSource::Given(elf.clone()),
        None => ImageSource::Built(firmware_of(&rig, &root, &arguments.features)?),
    };
    if arguments.capture && !rig.is_virtual() {
        return Err(Stop::with_help(
            ExitCode::Usage,
            format!(
                "there is nothing to capture on rig `{}`: its network is a real one, which does not pass through here",
                rig.name
            ),
            "leave out `--capture`, and capture on the network itself",
        ));
    }
    let rig = rig.resolve(|name| std::env::var(name).ok())?;
    let run = RunSettings {
        seed,
        retries: arguments.retries,
        fail_fast: arguments.fail_fast && !arguments.keep_going,
        deadline: arguments.deadline.map(std::time::Duration::from_secs),
        again: ("hil run".to_owned(), again(arguments, seed)),
        ..RunSettings::default()
    };
    Ok(Settings {
        root,
        rig,
        plan,
        seed,
        image,
        run,
        purpose: "hil run",
        capture: None,
    })
}

/// The options that make another run like this one.
fn again(arguments: &RunArguments, seed: u64) -> String {
    let mut options = format!("--rig {} --seed {seed}", arguments.on.rig);
    if let Some(broker) = &arguments.broker {
        options.push_str(&format!(" --broker {broker}"));
    }
    if let Some(elf) = &arguments.firmware {
        options.push_str(&format!(" --firmware {}", elf.display()));
    }
    if !arguments.features.is_empty() {
        options.push_str(&format!(" --features {}", arguments.features.join(",")));
    }
    options
}

pub(super) fn firmware_of(rig: &Rig, root: &Path, features: &[String]) -> Result<Firmware, Stop> {
    let chip = &rig.device.chip;
    let target = firmware::target_of(chip).ok_or_else(|| {
        Stop::with_help(
            ExitCode::Usage,
            format!("no target is known for the chip `{chip}`"),
            "build the firmware yourself, and name it with `--firmware`",
        )
    })?;
    Ok(Firmware {
        package: root.join(&rig.device.firmware),
        target_directory: root.join("target/firmware"),
        target,
        chip: chip.clone(),
        features: features.to_vec(),
        coloured: style(io::stderr().is_terminal()) == Style::Coloured,
    })
}

fn sinks(output: &Output) -> Result<Vec<Box<dyn Sink>>, Stop> {
    let recorder = Recorder::create(&output.file("events.ndjson")).map_err(Stop::infra)?;
    // The terminal first: it shows what the others then fail to write.
    Ok(vec![
        Box::new(terminal()),
        Box::new(recorder),
        Box::new(Junit::new(&output.file("junit.xml"))),
    ])
}

/// The network's traffic will be here. It holds the broker's password, so that it is nobody else's to read.
fn capture_file(output: &Output) -> Result<PathBuf, Stop> {
    output.private_file("mqtt.pcapng").map_err(|error| {
        Stop::with_help(
            ExitCode::Infra,
            format!("can't make `mqtt.pcapng` for the report: {error}"),
            "free some space, or name another directory with `--output`",
        )
    })
}

/// A run as a person watches it.
pub(super) fn terminal() -> Terminal<io::Stdout, io::Stderr> {
    Terminal::new(
        style(io::stdout().is_terminal()),
        io::stdout(),
        io::stderr(),
        ProgressDrawTarget::stderr(),
    )
}

pub(super) fn style(is_terminal: bool) -> Style {
    Style::of(is_terminal, std::env::var_os("NO_COLOR").as_deref())
}

/// Why a run ends before its first scenario.
pub(super) enum Early {
    Cancelled,
    Stopped(Stop),
}

impl From<Stop> for Early {
    fn from(stop: Stop) -> Self {
        Early::Stopped(stop)
    }
}

impl Early {
    fn into_journal(self, cancel: &Cancel, journal: &mut Journal) {
        match self {
            Early::Cancelled => {
                let reason = cancel.reason().unwrap_or_default();
                journal.record(What::Interrupted { reason });
            }
            Early::Stopped(stop) => {
                journal.abort(Abort {
                    exit: stop.exit(),
                    reason: stop.message(),
                });
                stop.report();
            }
        }
    }
}

/// From the firmware's source to a flashed device on an open bench.
pub(super) async fn open(
    settings: &Settings,
    cancel: &Cancel,
    journal: &mut Journal,
) -> Result<Bench, Early> {
    let opening = async {
        let image = image(settings, journal).await?;
        let bench = open_bench(settings, journal).await?;
        flash(&bench, &image, journal).await?;
        Ok(bench)
    };
    tokio::select! {
        biased;
        _ = cancel.requested() => Err(Early::Cancelled),
        bench = opening => bench.map_err(Early::Stopped),
    }
}

async fn image(settings: &Settings, journal: &mut Journal) -> Result<FirmwareImage, Stop> {
    let chip = &settings.rig.rig.device.chip;
    let step = Step::begin(journal, "firmware", "building");
    let _turn =
        match &settings.image {
            ImageSource::Given(_) => None,
            ImageSource::Built(firmware) => Some(firmware.turn().await.map_err(|error| {
                Stop::usage(format!("can't write to `target/firmware`: {error}"))
            })?),
        };
    let (elf, how) = match &settings.image {
        ImageSource::Given(elf) => (elf.clone(), format!("given as `{}`", elf.display())),
        ImageSource::Built(firmware) => {
            let built = firmware.build(|progress| match progress {
                Progress::AddingTarget(target) => {
                    step.done(
                        journal,
                        format_args!("target {target} is missing: adding it with rustup"),
                    );
                }
                Progress::Compiled(packages) => step.progress(journal, packages, None),
            });
            let built = built.await.map_err(build_stop)?;
            let how = match built.fresh {
                true => "unchanged".to_owned(),
                false => format!("built in {}", seconds(built.took)),
            };
            (built.elf, how)
        }
    };
    let image =
        FirmwareImage::load(&elf, chip).map_err(|error| super::bench_stop(&error.into()))?;
    step.done(
        journal,
        format_args!("{chip}, {} KiB, {how}", image.load_bytes().div_ceil(1024)),
    );
    Ok(image)
}

fn build_stop(error: BuildError) -> Stop {
    Stop::usage(error)
}

async fn open_bench(settings: &Settings, journal: &mut Journal) -> Result<Bench, Stop> {
    let step = Step::begin(journal, "rig", "opening");
    let options = OpenOptions {
        seed: settings.seed,
        capture: settings.capture.clone(),
        // A port that nobody else knows; scenarios have their clients and servers in this process.
        peers_are_here: matches!(
            settings.rig.rig.broker.endpoint,
            BrokerEndpoint::Embedded { port: 0, .. }
        ),
        ..OpenOptions::new(&settings.root, settings.purpose)
    };
    let bench = Bench::open(&settings.rig, options)
        .await
        .map_err(|error| super::bench_stop(&error))?;
    let rig = &settings.rig.rig;
    let about = match rig.description.is_empty() {
        true => rig.device.chip.clone(),
        false => rig.description.clone(),
    };
    let probe = match (&rig.probe, bench.virtual_rig()) {
        (_, Some(virtual_rig)) => virtual_rig.selector(),
        (hil_rig::Probe::Usb(probe), None) => probe.selector.to_string(),
        (hil_rig::Probe::Virtual(_), None) => "virtual".to_owned(),
    };
    step.done(
        journal,
        format_args!("{}: {about}, probe {probe}", rig.name),
    );
    if settings.capture.is_some() {
        let step = Step::begin(journal, "capture", "beginning");
        step.done(
            journal,
            "the network, into `mqtt.pcapng`, passwords in clear",
        );
    }
    Ok(bench)
}

async fn flash(bench: &Bench, image: &FirmwareImage, journal: &mut Journal) -> Result<(), Stop> {
    let step = Step::begin(journal, "flash", "writing");
    let mut events = bench.subscribe();
    let flashing = bench.flash(image);
    tokio::pin!(flashing);
    let mut bytes_to_write = None;
    let report = loop {
        tokio::select! {
            report = &mut flashing => break report.map_err(|error| super::bench_stop(&error))?,
            event = events.recv() => match event {
                Ok(event) => match &event.event {
                    BenchEvent::Flash(FlashProgress::Began { bytes }) => bytes_to_write = Some(*bytes),
                    BenchEvent::Flash(FlashProgress::Written { bytes, of }) => {
                        step.progress(journal, *bytes, of.or(bytes_to_write));
                    }
                    _ => {}
                },
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break flashing.await.map_err(|error| super::bench_stop(&error))?,
            },
        }
    };
    let kib = report.bytes.div_ceil(1024);
    let took = seconds(report.duration);
    match report.skipped {
        true => step.done(
            journal,
            format_args!("{kib} KiB unchanged, compared in {took}"),
        ),
        false => step.done(
            journal,
            format_args!("{kib} KiB written and verified in {took}"),
        ),
    }
    Ok(())
}

/// A step that people see, before the dispatcher takes the journal over.
struct Step {
    name: &'static str,
    since: Instant,
}

impl Step {
    fn begin(journal: &mut Journal, name: &'static str, doing: &str) -> Step {
        journal.record(What::StepStarted {
            step: name.to_owned(),
            doing: doing.to_owned(),
        });
        Step {
            name,
            since: Instant::now(),
        }
    }

    fn progress(&self, journal: &mut Journal, done: u64, total: Option<u64>) {
        journal.record(What::StepProgress {
            step: self.name.to_owned(),
            done,
            total,
        });
    }

    fn done(&self, journal: &mut Journal, result: impl Display) {
        let took_us = self.since.elapsed().as_micros() as u64;
        journal.record(What::StepFinished {
            step: self.name.to_owned(),
            result: result.to_string(),
            took_us,
        });
    }
}

fn seconds(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        seconds => format!("{seconds} s"),
    }
}
