//! What can be typed. What is meant by it is in `settings.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hil_runner::Category;

const EXIT_CODES: &str = "Exit codes: 0 passed, 1 failed or crashed, 2 usage or configuration, 3 infrastructure, \
                          4 nothing selected, 130 interrupted.";

/// Tests firmware on a board, or on a simulated one.
#[derive(Debug, Parser)]
#[command(name = "hil", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the firmware, flash it, run scenarios against it, and report
    Run(RunArguments),
    /// List the scenarios there are
    List(ListArguments),
    /// Show what a run would do, in order; touches no hardware
    Plan(PlanArguments),
    /// List, check and serve rigs
    Rigs(RigsArguments),
    /// Run on-target tests out of an ELF: a runner for cargo and nextest
    Runner(RunnerArguments),
    /// Show a recorded run again
    Replay(ReplayArguments),
    /// Put deliberate bugs into the firmware, and see which scenario catches each
    Verify(VerifyArguments),
}

/// Which scenarios.
#[derive(Debug, Args)]
pub(crate) struct SelectionArguments {
    /// IDs such as `CON-1`, or patterns of names such as `*connects*`
    pub(crate) selection: Vec<String>,
    /// Only this category [connectivity, commands, telemetry, load, security, integration, performance, stability]
    #[arg(long, value_name = "CATEGORY")]
    pub(crate) category: Vec<Category>,
    /// Only with this tag, such as `smoke`, `nightly`, `release`, `soak`
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Only names with this in them, or like this pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) name: Vec<String>,
}

/// On which rig.
#[derive(Debug, Args)]
pub(crate) struct RigArguments {
    /// The rig, by name or by the path of its file
    #[arg(
        long,
        value_name = "NAME|PATH",
        env = "HIL_RIG",
        default_value = "virtual"
    )]
    pub(crate) rig: String,
}

/// In which order, with which chance.
#[derive(Debug, Args)]
pub(crate) struct OrderArguments {
    /// The source of all chance; printed by each run, drawn when not given
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Shuffle the order, from the seed; else it is by category and ID
    #[arg(long)]
    pub(crate) shuffle: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Run everything; without a selection, only what is tagged `smoke` runs
    #[arg(long, conflicts_with_all = ["selection", "category", "tag", "name"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) order: OrderArguments,
    #[command(flatten)]
    pub(crate) on: RigArguments,
    /// Use this broker instead of the rig's
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) broker: Option<String>,
    /// Test this image instead of building one
    #[arg(long, value_name = "ELF", conflicts_with = "features")]
    pub(crate) firmware: Option<PathBuf>,
    /// Build the firmware with these features, such as `test-hooks`
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    /// Try a scenario this often again when the bench was at fault
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    pub(crate) retries: u32,
    /// End the run with the first fail or crash
    #[arg(long, overrides_with = "keep_going")]
    pub(crate) fail_fast: bool,
    /// Go on after a fail or crash; the default
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// End the run after this many seconds of wall time
    #[arg(long, value_name = "SECONDS")]
    pub(crate) deadline: Option<u64>,
    /// Record the network of a virtual rig as `mqtt.pcapng` in the report: every frame, passwords in clear
    #[arg(long)]
    pub(crate) capture: bool,
    /// Write the report below this directory instead of `target/hil`
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// How to list
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    /// Plan everything; without a selection, only what is tagged `smoke`
    #[arg(long, conflicts_with_all = ["selection", "category", "tag", "name"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) order: OrderArguments,
    #[command(flatten)]
    pub(crate) on: RigArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RigsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<RigsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RigsCommand {
    /// List the project's rigs; the default
    List,
    /// Check rig files and show every mistake in them
    Check {
        /// Names of rigs, or paths of their files
        #[arg(required = true, value_name = "NAME|PATH")]
        rigs: Vec<String>,
    },
    /// Show what a rig file says
    Show {
        /// Name of the rig, or path of its file
        #[arg(value_name = "NAME|PATH")]
        rig: String,
    },
    /// Serve a virtual rig to stock probe-rs tools, as a Black Magic Probe over TCP
    Serve {
        /// Name of the rig, or path of its file
        #[arg(value_name = "NAME|PATH", default_value = "virtual")]
        rig: String,
        /// TCP port on the loopback, 0 for a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunnerArguments {
    /// The ELF, built with embedded-test or defmt-test
    pub(crate) elf: PathBuf,
    /// Only tests with this in their names
    pub(crate) filters: Vec<String>,
    #[command(flatten)]
    pub(crate) on: RigArguments,
    /// List the tests instead of running them; touches no hardware
    #[arg(long)]
    pub(crate) list: bool,
    /// How to list and report, as libtest has it
    #[arg(long, value_enum, default_value_t = RunnerFormat::Pretty)]
    pub(crate) format: RunnerFormat,
    /// Filters are whole names
    #[arg(long)]
    pub(crate) exact: bool,
    /// Only tests that are ignored by default
    #[arg(long)]
    pub(crate) ignored: bool,
    /// Also tests that are ignored by default
    #[arg(long, conflicts_with = "ignored")]
    pub(crate) include_ignored: bool,
    /// Leave out tests with this in their names
    #[arg(long, value_name = "FILTER")]
    pub(crate) skip: Vec<String>,
    /// Show what the device logs, also of tests that pass
    #[arg(long, alias = "no-capture")]
    pub(crate) nocapture: bool,
    /// Taken for libtest's sake: there is one device, so tests run one by one
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub(crate) test_threads: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunnerFormat {
    /// A line for each test
    Pretty,
    /// As nextest reads it
    Terse,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// An `events.ndjson`, the directory of a run, or a run's ID
    #[arg(value_name = "FILE|RUN-ID", default_value = "latest")]
    pub(crate) run: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every mutant caught, 1 one was not, 2 usage or configuration, \
                        3 infrastructure, 130 interrupted."
)]
pub(crate) struct VerifyArguments {
    /// Names of mutants, such as `point-59-refused`; all of them without any
    #[arg(value_name = "MUTANT")]
    pub(crate) mutants: Vec<String>,
    /// List the mutants instead, each with the scenario that must catch it; touches no hardware
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) on: RigArguments,
    /// The source of all chance; printed, drawn when not given
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Show the scenarios of each mutant too
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Write the report below this directory instead of `target/hil`
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
}
