//! One file a command.

pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod replay;
pub(crate) mod rigs;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod serve;
pub(crate) mod verify;

use hil_runner::{ExitCode, Scenario};

use crate::settings::DEFAULT_TAG;
use crate::stop::Stop;

/// The scenarios of the product that this program tests.
pub(crate) fn scenarios() -> Vec<&'static Scenario> {
    // Scenarios enter the catalogue by being linked; without this name nothing would link them.
    use hil_suite as _;
    hil_runner::catalogue()
}

fn nothing_selected(reason: &str) -> Stop {
    Stop::with_help(
        ExitCode::NothingSelected,
        reason,
        format!(
            "see `hil list` for IDs, names, categories and tags; without a selection, `{DEFAULT_TAG}` runs"
        ),
    )
}

/// The end of the program for an error of the bench, by who must act.
fn bench_stop(error: &hil_bench::BenchError) -> Stop {
    let exit = match error.responsible() {
        hil_bench::Responsible::Author => ExitCode::Usage,
        _ => ExitCode::Infra,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    match error.hint() {
        Some(hint) => Stop::with_help(exit, message, hint),
        None => Stop::new(exit, message),
    }
}
