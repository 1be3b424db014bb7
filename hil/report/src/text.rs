//! A run as lines of text: a fold over its events, without a terminal.

use std::collections::VecDeque;

use hil_runner::{CrashReport, Event, Failure, LogLevel, RunSummary, UnitKey, Verdict, What};

use crate::figures::{kib, seconds};
use crate::style::Style;

/// Device log lines that are shown with a failure.
const LOG_LINES_SHOWN: usize = 8;
/// Functions of a backtrace that are shown.
const FRAMES_SHOWN: usize = 12;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Results: stdout.
    Result,
    /// Everything else: stderr.
    Other,
}

/// One line of text, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it goes.
    pub stream: Stream,
    /// What it says.
    pub text: String,
}

/// Makes lines of events.
#[derive(Debug)]
pub struct TerminalText {
    style: Style,
    rig: String,
    directory: Option<String>,
    id_width: usize,
    logs: VecDeque<String>,
}

impl TerminalText {
    /// Nothing said yet.
    pub fn new(style: Style) -> Self {
        TerminalText {
            style,
            rig: String::new(),
            directory: None,
            id_width: 0,
            logs: VecDeque::new(),
        }
    }

    /// The lines that `event` adds.
    pub fn event(&mut self, event: &Event) -> Vec<Line> {
        match &event.what {
            What::RunStarted {
                seed,
                rig,
                directory,
                ..
            } => {
                self.rig.clone_from(rig);
                self.directory.clone_from(directory);
                vec![self.step("seed", &seed.to_string())]
            }
            What::StepFinished { step, result, .. } => vec![self.step(step, result)],
            What::Planned { units } => {
                self.id_width = units.iter().map(|unit| unit.id.len()).max().unwrap_or(0);
                Vec::new()
            }
            What::UnitStarted => {
                self.logs.clear();
                Vec::new()
            }
            What::Log {
                level,
                module,
                text,
                ..
            } => {
                self.keep_log(event.stamp.device_us, *level, module.as_deref(), text);
                Vec::new()
            }
            What::UnitFinished {
                verdict,
                took_us,
                reason,
                failure,
                crash,
                again,
                retried,
            } => {
                let Some(unit) = &event.unit else {
                    return Vec::new();
                };
                let mut lines = vec![self.verdict_line(*verdict, *took_us, unit, *retried)];
                if *verdict != Verdict::Pass {
                    let mut block = Vec::new();
                    self.reasons(
                        *verdict,
                        reason.as_deref(),
                        failure.as_deref(),
                        crash.as_deref(),
                        &mut block,
                    );
                    if !retried {
                        block.push(("again", again.clone()));
                    }
                    lines.extend(self.block(block));
                }
                lines
            }
            What::UnitCancelled { reason } => {
                let Some(unit) = &event.unit else {
                    return Vec::new();
                };
                let text = format!("        {} {} cancelled: {reason}", unit.id, unit.name);
                vec![other(clean(&text))]
            }
            What::Recovery {
                measure,
                helped,
                detail,
            } => {
                let outcome = if *helped { "helped" } else { "did not help" };
                vec![self.step("recovery", &format!("{measure} {outcome}: {detail}"))]
            }
            What::Trouble { reason } => vec![self.step("trouble", reason)],
            What::Interrupted { reason } => {
                vec![self.step(
                    "stopping",
                    &format!("{reason}; press Ctrl-C again to stop at once"),
                )]
            }
            What::RunFinished { summary } => self.summary(summary),
            _ => Vec::new(),
        }
    }

    fn step(&self, step: &str, result: &str) -> Line {
        let (step, result) = (clean(step), clean(result));
        other(format!(
            "   {} {result}",
            self.style.heading(&format!("{step:<10}"))
        ))
    }

    fn verdict_line(&self, verdict: Verdict, took_us: u64, unit: &UnitKey, retried: bool) -> Line {
        let attempt = match (retried, unit.attempt) {
            (true, attempt) => format!(", attempt {attempt}, tried again"),
            (false, 1) => String::new(),
            (false, attempt) => format!(", attempt {attempt}"),
        };
        // The rig matters to who reads a failure in a report of many rigs.
        let place = match (verdict, attempt.is_empty()) {
            (Verdict::Pass, true) => String::new(),
            (Verdict::Pass, false) => format!(" ({})", attempt.trim_start_matches(", ")),
            _ => format!(" ({}{attempt})", clean(&self.rig)),
        };
        result(format!(
            "{} [{}] {:<width$}  {}{}",
            self.style
                .verdict(verdict, &format!("{:>7}", verdict.name())),
            seconds(took_us),
            clean(&unit.id),
            clean(&unit.name),
            self.style.faint(&place),
            width = self.id_width,
        ))
    }

    fn reasons(
        &self,
        verdict: Verdict,
        reason: Option<&str>,
        failure: Option<&Failure>,
        crash: Option<&CrashReport>,
        block: &mut Vec<(&'static str, String)>,
    ) {
        if let Some(crash) = crash {
            block.push((
                "crash",
                format!("{}: {}", crash.crash.name(), crash.message),
            ));
            for (index, frame) in crash.backtrace.iter().take(FRAMES_SHOWN).enumerate() {
                let function = frame
                    .function
                    .clone()
                    .unwrap_or_else(|| format!("{:#010x}", frame.pc));
                let at = frame
                    .at
                    .as_ref()
                    .map(|at| format!(" ({at})"))
                    .unwrap_or_default();
                block.push((
                    if index == 0 { "trace" } else { "" },
                    format!("{function}{at}"),
                ));
            }
            if let Some(more) = crash
                .backtrace
                .len()
                .checked_sub(FRAMES_SHOWN)
                .filter(|&more| more > 0)
            {
                block.push(("", format!("… and {more} more")));
            }
        } else if failure.is_none() || verdict != Verdict::Fail {
            block.push(("reason", reason.unwrap_or("not said").to_owned()));
        }
        if let Some(failure) = failure {
            block.push(("expected", failure.expected.clone()));
            block.push(("observed", failure.observed.clone()));
            block.extend(failure.notes.iter().map(|note| ("note", note.clone())));
            block.extend(failure.at.iter().map(|at| ("at", at.clone())));
        }
        if matches!(verdict, Verdict::Fail | Verdict::Crash) {
            let lines = self.logs.iter().enumerate();
            block.extend(
                lines.map(|(index, line)| (if index == 0 { "device" } else { "" }, line.clone())),
            );
        }
    }

    fn block(&self, entries: Vec<(&'static str, String)>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (key, value) in entries {
            let key = if key.is_empty() {
                String::new()
            } else {
                format!("{key}:")
            };
            for (index, part) in value.lines().map(clean).enumerate() {
                let key = if index == 0 { key.as_str() } else { "" };
                lines.push(result(format!(
                    "     {} {part}",
                    self.style.faint(&format!("{key:<9}"))
                )));
            }
        }
        lines
    }

    fn keep_log(
        &mut self,
        device_us: Option<u64>,
        level: LogLevel,
        module: Option<&str>,
        text: &str,
    ) {
        if level < LogLevel::Info {
            return;
        }
        if self.logs.len() == LOG_LINES_SHOWN {
            self.logs.pop_front();
        }
        let level = match level {
            LogLevel::Trace => "TRACE",
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warn => "WARN",
            LogLevel::Error => "ERROR",
        };
        let time = device_us
            .map(|micros| format!("{:.6} ", micros as f64 / 1e6))
            .unwrap_or_default();
        let module = module
            .map(|module| format!("{module}: "))
            .unwrap_or_default();
        self.logs.push_back(format!("{time}{level} {module}{text}"));
    }

    fn summary(&self, summary: &RunSummary) -> Vec<Line> {
        let counts = &summary.counts;
        let mut text = format!(
            "{} passed, {} failed, {} crashed, {} infra, {} blocked",
            counts.passed, counts.failed, counts.crashed, counts.infra, counts.blocked
        );
        if counts.not_run > 0 {
            text.push_str(&format!(", {} not run", counts.not_run));
        }
        let mut text = self.style.strong(&text);
        if let Some(memory) = &summary.memory {
            text.push_str(&format!(
                " · heap free {} KiB (min {}), fragmentation {:.0} %",
                kib(memory.heap_free),
                kib(memory.heap_free_min),
                memory.fragmentation_percent()
            ));
            if let Some(stack) = memory.stacks.first() {
                text.push_str(&format!(
                    ", stack {} of {} KiB",
                    kib(stack.used_max),
                    kib(stack.size)
                ));
            }
        }
        if summary.lost > 0 {
            text.push_str(&format!(" · {} lost on RTT", summary.lost));
        }
        let mut lines = Vec::new();
        if let Some(abort) = &summary.aborted {
            lines.push(result(format!(
                "   {} {}",
                self.style.heading("stopped   "),
                clean(&abort.reason)
            )));
        }
        if !summary.unmodelled.is_empty() {
            lines.push(result(format!(
                "   {} {}",
                self.style.heading("unmodelled"),
                clean(&unmodelled(&summary.unmodelled))
            )));
        }
        lines.push(result(format!("   {text}")));
        if let Some(directory) = &self.directory {
            lines.push(result(format!(
                "   {} {}",
                self.style.heading("report    "),
                clean(directory)
            )));
        }
        lines
    }
}

/// The first few kinds of access, and how many more there are.
fn unmodelled(accesses: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = accesses[..accesses.len().min(SHOWN)].join("; ");
    if accesses.len() > SHOWN {
        text.push_str(&format!("; {} more in run.json", accesses.len() - SHOWN));
    }
    text
}

/// What a device says, or a recording that somebody sent, must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn result(text: String) -> Line {
    Line {
        stream: Stream::Result,
        text,
    }
}

fn other(text: String) -> Line {
    Line {
        stream: Stream::Other,
        text,
    }
}
