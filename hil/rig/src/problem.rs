//! One mistake in a rig file, with its place and what to write instead.

use std::ops::Range;

use miette::{Diagnostic, SourceSpan};

/// One mistake in a rig file.
#[derive(Clone, Debug, thiserror::Error, Diagnostic, PartialEq, Eq)]
#[error("{message}")]
pub struct Problem {
    message: String,
    #[label("{label}")]
    span: SourceSpan,
    label: String,
    #[help]
    help: Option<String>,
    /// What stands there may be a secret.
    secret: bool,
}

impl Problem {
    pub(crate) fn new(
        message: impl Into<String>,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            span: span.into(),
            label: label.into(),
            help: None,
            secret: false,
        }
    }

    /// Its place is shown, what stands there is not: it may be a secret.
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is, as a byte offset into the file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.span.offset()
    }
}

/// The mistakes of one file, as they are found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// All of them in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(Problem::offset);
        self.0
    }
}

/// `text` as a page with these problems may show it: as long as it is, without what may be secret.
pub(crate) fn without_secrets(text: &str, problems: &[Problem]) -> String {
    let mut shown = text.to_owned();
    for Problem { span, .. } in problems.iter().filter(|problem| problem.secret) {
        let place = span.offset()..span.offset() + span.len();
        shown.replace_range(place, &"*".repeat(span.len()));
    }
    shown
}

/// The one of `known` that `word` was probably meant to be.
#[must_use]
pub fn suggestion<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = |known: &&'k str| {
        (
            strsim::damerau_levenshtein(&word.to_lowercase().replace('_', "-"), known),
            *known,
        )
    };
    let (distance, best) = known.iter().map(near).min()?;
    (distance <= 1 + word.len() / 4).then_some(best)
}

/// `a`, `b` and `c` in backticks, for a sentence.
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let known = ["settle-ms", "mac", "speed-khz", "selector"];
        assert_eq!(suggestion(word, &known), expected, "for {word}");
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        check("settle-sm", Some("settle-ms"));
        check("settle_ms", Some("settle-ms"));
        check("Mac", Some("mac"));
        check("mca", Some("mac"));
        check("sped-khz", Some("speed-khz"));
        check("colour", None);
        check("", None);
    }
}
