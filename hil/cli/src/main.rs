//! The binary `hil`: everything that people and CI type.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments.rs` | what can be typed |
//! | `settings.rs` | what was meant by it |
//! | `stop.rs` | how a program ends early: with an exit code and a page for people |
//! | `project.rs` | where the project is |
//! | `firmware.rs` | the firmware, built |
//! | `output.rs` | where a run's output goes |
//! | `interrupt.rs` | Ctrl-C, once and twice |
//! | `commands/` | one file a command |

mod arguments;
mod commands;
mod firmware;
mod interrupt;
mod output;
mod project;
mod settings;
mod stop;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Results go to stdout, the program's own log to stderr and only when asked for.
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("HIL_LOG").unwrap_or_else(|_| EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: can't start: {error}");
            return ExitCode::from(hil_runner::ExitCode::Infra.code());
        }
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Run(arguments) => commands::run::run(arguments).await,
            Command::List(arguments) => commands::list::list(&arguments),
            Command::Plan(arguments) => commands::plan::plan(&arguments),
            Command::Rigs(arguments) => commands::rigs::rigs(arguments).await,
            Command::Runner(arguments) => commands::runner::runner(arguments).await,
            Command::Replay(arguments) => commands::replay::replay(&arguments),
            Command::Verify(arguments) => commands::verify::verify(arguments).await,
        }
    });
    // A worker that still blocks on hardware must not keep the program alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let exit = result.unwrap_or_else(|stop| stop.report());
    ExitCode::from(exit.code())
}
