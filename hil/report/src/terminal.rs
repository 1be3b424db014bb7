//! A run on a terminal: results on stdout, everything else on stderr, and a progress display.

use std::io::Write;
use std::time::Duration;

use hil_runner::{Event, RecordError, Sink, What};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::style::Style;
use crate::text::{Stream, TerminalText};

/// Prints a run while it happens.
///
/// The progress display is silent when stderr is no terminal. A reader that went away
/// (`hil run | head`) ends the printing, not the run.
pub struct Terminal<R, O> {
    text: TerminalText,
    results: R,
    other: O,
    progress: ProgressBar,
    readers_gone: bool,
}

impl<R: Write + Send, O: Write + Send> Terminal<R, O> {
    /// Prints to `results` (stdout) and `other` (stderr). `progress` tells where the progress
    /// display is drawn: [`ProgressDrawTarget::stderr`], or hidden.
    pub fn new(style: Style, results: R, other: O, progress: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, progress);
        Terminal {
            text: TerminalText::new(style),
            results,
            other,
            progress: bar,
            readers_gone: false,
        }
    }

    fn show_progress(&mut self, what: &What) {
        match what {
            What::StepStarted { step, doing } => self.begin(format!("{step:<10} {doing}")),
            What::StepProgress { done, total, .. } => {
                if let Some(total) = total {
                    self.progress.set_length(*total);
                    self.progress.set_style(bar_style());
                }
                self.progress.set_position(*done);
            }
            _ => self.progress.reset(),
        }
    }

    fn begin(&self, message: String) {
        self.progress.reset();
        self.progress.set_style(spinner_style());
        self.progress.set_message(message);
        self.progress.enable_steady_tick(Duration::from_millis(120));
    }
}

/// Something is going on, and how long it has been: for who shows progress beside a run.
pub fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("   {msg} {spinner} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("   {msg} {bar:30} {percent:>3} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl<R: Write + Send, O: Write + Send> Sink for Terminal<R, O> {
    fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        let lines = self.text.event(event);
        if !lines.is_empty() && !self.readers_gone {
            let (results, other) = (&mut self.results, &mut self.other);
            let written = self.progress.suspend(|| {
                lines.iter().try_for_each(|line| match line.stream {
                    Stream::Result => {
                        writeln!(results, "{}", line.text).and_then(|()| results.flush())
                    }
                    Stream::Other => writeln!(other, "{}", line.text).and_then(|()| other.flush()),
                })
            });
            self.readers_gone = written.is_err();
        }
        match &event.what {
            what @ (What::StepStarted { .. } | What::StepProgress { .. }) => {
                self.show_progress(what)
            }
            What::UnitStarted => {
                if let Some(unit) = &event.unit {
                    self.begin(format!("{:<10} {}", unit.id, unit.name));
                }
            }
            What::StepFinished { .. } | What::UnitFinished { .. } | What::UnitCancelled { .. } => {
                self.progress.finish_and_clear();
            }
            What::RunFinished { .. } => self.progress.finish_and_clear(),
            _ => {}
        }
        Ok(())
    }
}

impl<R, O> Drop for Terminal<R, O> {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}
