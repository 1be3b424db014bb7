//! Colour, or none.

use hil_runner::Verdict;

/// Whether text may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Letters only.
    Plain,
    /// With ANSI colours.
    Coloured,
}

impl Style {
    /// Coloured for a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>).
    pub fn of(is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> Style {
        match is_terminal && no_color.is_none_or(|value| value.is_empty()) {
            true => Style::Coloured,
            false => Style::Plain,
        }
    }

    /// `text` in the colour of `verdict`.
    pub fn verdict(self, verdict: Verdict, text: &str) -> String {
        self.paint(
            match verdict {
                Verdict::Pass => "1;32",
                Verdict::Fail | Verdict::Crash => "1;31",
                Verdict::Infra => "1;35",
                Verdict::Blocked => "1;33",
            },
            text,
        )
    }

    /// The word that a line begins with.
    pub fn heading(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    /// What must not be overlooked.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            _ if text.is_empty() => String::new(),
            Style::Plain => text.to_owned(),
            Style::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Style;

    #[test]
    fn no_color_is_honoured() {
        for (terminal, no_color, expected) in [
            (true, None, Style::Coloured),
            (true, Some(""), Style::Coloured),
            (true, Some("1"), Style::Plain),
            (false, None, Style::Plain),
            (false, Some("1"), Style::Plain),
        ] {
            assert_eq!(
                Style::of(terminal, no_color.map(str::as_ref)),
                expected,
                "{terminal} {no_color:?}"
            );
        }
    }
}
