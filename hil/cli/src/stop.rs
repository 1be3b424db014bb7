//! How a program ends early: with an exit code, and a page for whoever must act.

use hil_runner::ExitCode;
use miette::{MietteDiagnostic, Report, Severity};

/// The end of the program, before its work was done.
pub(crate) struct Stop {
    exit: ExitCode,
    page: Report,
}

impl Stop {
    /// What was typed, or a file, is wrong.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Stop::new(ExitCode::Usage, message)
    }

    /// The bench is at fault.
    pub(crate) fn infra(message: impl std::fmt::Display) -> Self {
        Stop::new(ExitCode::Infra, message)
    }

    /// Another end.
    pub(crate) fn new(exit: ExitCode, message: impl std::fmt::Display) -> Self {
        Stop {
            exit,
            page: Report::msg(message.to_string()),
        }
    }

    /// The same, with a hint in the imperative.
    pub(crate) fn with_help(
        exit: ExitCode,
        message: impl std::fmt::Display,
        help: impl std::fmt::Display,
    ) -> Self {
        let page = MietteDiagnostic::new(message.to_string())
            .with_severity(Severity::Error)
            .with_help(help.to_string());
        Stop {
            exit,
            page: page.into(),
        }
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> ExitCode {
        self.exit
    }

    /// What to say, in one line, with its causes.
    pub(crate) fn message(&self) -> String {
        self.page
            .chain()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    }

    /// Shows the page on stderr. How the program ends is returned.
    pub(crate) fn report(self) -> ExitCode {
        say(format_args!("{:?}", self.page));
        self.exit
    }
}

/// Says something on stderr. If that can't be written, as into a log on a full disk, nobody can be
/// told; the exit code still says how it ended, which a panic would not.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl From<hil_rig::RigError> for Stop {
    fn from(error: hil_rig::RigError) -> Self {
        Stop {
            exit: ExitCode::Usage,
            page: error.into(),
        }
    }
}
