//! What a scenario returns: a value, never a panic.
//!
//! Who must act decides the kind: a failing device is a [`Failure`](crate::Failure) and becomes the
//! verdict fail; a failing bench is trouble and becomes the verdict infra, which is retried.

use std::error::Error;
use std::fmt;
use std::panic::Location;

use crate::event::Failure;

/// What a scenario returns.
pub type Outcome = Result<(), ScenarioError>;

/// Why a scenario ended early.
///
/// By `?`, errors become [`ScenarioError::Infra`] when their crate says that they are the bench's
/// fault (see [`ScenarioError::infra`] and [`ResultExt`] for all others).
#[derive(Debug)]
pub enum ScenarioError {
    /// The firmware's fault: it did not do what it promises.
    Failure(Box<Failure>),
    /// The bench's fault: the scenario could not be tried properly.
    Infra {
        /// What went wrong, with its causes.
        reason: String,
    },
    /// A need turned out to be unmet while running.
    Blocked {
        /// What is missing.
        reason: String,
    },
}

impl ScenarioError {
    /// The device did something else than expected. The place is the caller's.
    #[track_caller]
    pub fn failure(expected: impl fmt::Display, observed: impl fmt::Display) -> Self {
        let at = Location::caller();
        ScenarioError::Failure(Box::new(Failure {
            expected: expected.to_string(),
            observed: observed.to_string(),
            at: Some(format!("{}:{}", at.file(), at.line())),
            notes: Vec::new(),
        }))
    }

    /// The bench is at fault; causes are chained with colons.
    pub fn infra(error: impl Error) -> Self {
        ScenarioError::Infra {
            reason: chain(&error),
        }
    }

    /// Something that the scenario needs is not there.
    pub fn blocked(reason: impl fmt::Display) -> Self {
        ScenarioError::Blocked {
            reason: reason.to_string(),
        }
    }

    /// Adds a line to a failure that helps whoever reads it; other kinds stay as they are.
    #[must_use]
    pub fn note(mut self, note: impl fmt::Display) -> Self {
        if let ScenarioError::Failure(failure) = &mut self {
            failure.notes.push(note.to_string());
        }
        self
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScenarioError::Failure(failure) => {
                write!(
                    f,
                    "expected {}, observed {}",
                    failure.expected, failure.observed
                )
            }
            ScenarioError::Infra { reason } | ScenarioError::Blocked { reason } => {
                f.write_str(reason)
            }
        }
    }
}

// Not `std::error::Error`, so that errors of other crates can be taken in by type without
// colliding with the blanket `From<T> for T`.

/// Says who is at fault for an error of another crate.
pub trait ResultExt<T> {
    /// The bench: the verdict becomes infra. `doing` says what was tried, `open the serial port`.
    fn infra(self, doing: impl fmt::Display) -> Result<T, ScenarioError>;

    /// The firmware: the verdict becomes fail, with the error as what was observed.
    fn failure(self, expected: impl fmt::Display) -> Result<T, ScenarioError>;
}

impl<T, E: Error> ResultExt<T> for Result<T, E> {
    fn infra(self, doing: impl fmt::Display) -> Result<T, ScenarioError> {
        self.map_err(|error| ScenarioError::Infra {
            reason: format!("can't {doing}: {}", chain(&error)),
        })
    }

    #[track_caller]
    fn failure(self, expected: impl fmt::Display) -> Result<T, ScenarioError> {
        let at = Location::caller();
        self.map_err(|error| {
            ScenarioError::Failure(Box::new(Failure {
                expected: expected.to_string(),
                observed: chain(&error),
                at: Some(format!("{}:{}", at.file(), at.line())),
                notes: Vec::new(),
            }))
        })
    }
}

/// An error and its causes, each said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Ends the scenario as failed: `fail!("a CONNACK within {limit:?}"; "none after {waited:?}")`.
///
/// Both texts are formatted like `format!`; the first says what was expected, the second what was
/// observed.
#[macro_export]
macro_rules! fail {
    ($expected:literal $(, $expected_argument:expr)* ; $observed:literal $(, $observed_argument:expr)* $(,)?) => {
        return ::core::result::Result::Err($crate::ScenarioError::failure(
            ::core::format_args!($expected $(, $expected_argument)*),
            ::core::format_args!($observed $(, $observed_argument)*),
        ))
    };
}

/// Goes on if the condition holds, and else fails as [`fail!`] does:
/// `ensure!(count == 3, "3 messages"; "{count}")`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $expected:literal $(, $expected_argument:expr)* ; $observed:literal $(, $observed_argument:expr)* $(,)?) => {
        if !$condition {
            $crate::fail!($expected $(, $expected_argument)* ; $observed $(, $observed_argument)*);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_of(outcome: Outcome) -> Failure {
        match outcome {
            Err(ScenarioError::Failure(failure)) => *failure,
            other => panic!("not a failure: {other:?}"),
        }
    }

    #[test]
    fn fail_and_ensure_say_what_and_where() {
        let body = |count: u32| -> Outcome {
            ensure!(count >= 1, "at least {} message", 1; "{count}");
            ensure!(count < 3, "under 3"; "{} messages", count);
            Ok(())
        };
        assert!(body(2).is_ok());
        let failure = failure_of(body(0));
        assert_eq!(
            (failure.expected.as_str(), failure.observed.as_str()),
            ("at least 1 message", "0")
        );
        assert!(
            failure
                .at
                .unwrap()
                .starts_with("hil/runner/src/outcome.rs:")
        );
        assert_eq!(failure_of(body(7)).observed, "7 messages");
    }

    #[test]
    fn errors_are_chained_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the probe is gone")]
        struct Gone(#[source] std::io::Error);

        let result: Result<(), Gone> = Err(Gone(std::io::Error::other("no such device")));
        let error = result.infra("halt the core").unwrap_err();
        assert_eq!(
            error.to_string(),
            "can't halt the core: the probe is gone: no such device"
        );

        let result: Result<(), _> = Err(std::io::Error::other("end of file"));
        assert_eq!(
            failure_of(result.failure("an answer")).observed,
            "end of file"
        );
    }

    #[test]
    fn notes_go_to_failures_only() {
        let failure = failure_of(Err(ScenarioError::failure("a", "b").note("c")));
        assert_eq!(failure.notes, ["c"]);
        assert!(matches!(
            ScenarioError::blocked("x").note("y"),
            ScenarioError::Blocked { .. }
        ));
    }
}
