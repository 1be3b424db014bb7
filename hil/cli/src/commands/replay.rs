//! `hil replay`: a recorded run, shown again with the same text.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal};

use hil_report::{Recording, Style, Terminal};
use hil_runner::{ExitCode, Sink, What};
use indicatif::ProgressDrawTarget;

use crate::arguments::ReplayArguments;
use crate::stop::Stop;
use crate::{output, project};

/// Shows the recording, and ends as the run did.
pub(crate) fn replay(arguments: &ReplayArguments) -> Result<ExitCode, Stop> {
    let base = project::root()
        .map(|root| root.join("target/hil"))
        .unwrap_or_else(|_| "target/hil".into());
    let path = output::find_recording(&arguments.run, &base).ok_or_else(|| {
        Stop::with_help(
            ExitCode::Usage,
            format!(
                "there is no run `{}`: no such file, and none in `{}`",
                arguments.run,
                base.display()
            ),
            "name a run by its ID, or an `events.ndjson` by its path",
        )
    })?;
    let file = File::open(&path)
        .map_err(|error| Stop::usage(format!("can't read `{}`: {error}", path.display())))?;
    let shown =
        |error: hil_report::ReadError| Stop::usage(format!("`{}`: {error}", path.display()));
    let mut recording = Recording::open(BufReader::new(file)).map_err(shown)?;
    let style = Style::of(
        io::stdout().is_terminal(),
        std::env::var_os("NO_COLOR").as_deref(),
    );
    let mut terminal = Terminal::new(
        style,
        io::stdout(),
        io::stderr(),
        ProgressDrawTarget::hidden(),
    );
    let mut exit = None;
    for event in recording.by_ref() {
        let event = event.map_err(shown)?;
        if let What::RunFinished { summary } = &event.what {
            exit = Some(summary.exit_code());
        }
        terminal.event(&event).map_err(Stop::infra)?;
    }
    if recording.was_cut() {
        eprintln!("the last line of the recording is cut; this is all there is");
    }
    exit.ok_or_else(|| {
        Stop::infra("the recording has no end: the run was stopped at once, or its disk was full")
    })
}
