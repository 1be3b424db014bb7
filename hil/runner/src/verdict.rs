//! The five verdicts, and the rules that give them.
//!
//! The rules are one pure function, [`judge`], so that they can be read and tested in one place:
//!
//! 1. Evidence of a crash overrides whatever the scenario thought, pass and fail alike.
//! 2. A panic of the scenario itself is our bug: infra, never retried.
//! 3. A scenario that reads telemetry and lost some of it, or uses the device's pins and was out of
//!    touch with them, did not see what it judged: infra.
//! 4. Then the scenario's own outcome counts.
//!
//! Infra is the only verdict that is retried: the bench may have had a bad moment, a firmware that
//! fails once has failed.

use serde::{Deserialize, Serialize};

use crate::event::{CrashKind, CrashReport, Failure};
use crate::outcome::{Outcome, ScenarioError};

/// What is said of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The firmware did what it promises.
    Pass,
    /// The firmware did something else.
    Fail,
    /// The firmware crashed: panic, exception, watchdog, unexpected reset.
    Crash,
    /// The bench was at fault.
    Infra,
    /// A need was not met, so nothing was tried.
    Blocked,
}

impl Verdict {
    /// As reports print it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Crash => "CRASH",
            Verdict::Infra => "INFRA",
            Verdict::Blocked => "BLOCKED",
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ending {
    /// The scenario returned.
    Returned(Outcome),
    /// The scenario panicked.
    Panicked(String),
    /// Its time in bench time was up.
    TimedOut {
        /// The limit, in words.
        limit: String,
    },
    /// Bench time stood still for so long that the wall clock ended it.
    Stuck {
        /// The limit, in words.
        limit: String,
    },
    /// The bench failed under it.
    BenchFailed(String),
}

/// What the bench saw during an attempt.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Crashes, in the order they were seen.
    pub crashes: Vec<CrashReport>,
    /// What was lost, in words.
    pub losses: Vec<String>,
    /// When the bench was out of touch with the device's pins, in words; only for what uses them.
    pub outages: Vec<String>,
}

/// A verdict with its reasons.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line, unless it passed.
    pub reason: Option<String>,
    /// What was expected and observed.
    pub failure: Option<Box<Failure>>,
    /// The crash.
    pub crash: Option<Box<CrashReport>>,
    /// Whether trying again may help.
    pub retry: bool,
}

impl Judgement {
    fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Judgement {
            verdict,
            reason: Some(reason.into()),
            failure: None,
            crash: None,
            retry: verdict == Verdict::Infra,
        }
    }

    pub(crate) fn blocked(reason: impl Into<String>) -> Self {
        Judgement::new(Verdict::Blocked, reason)
    }
}

/// The verdict over one attempt. `reads_telemetry` is what the scenario declared.
pub fn judge(ending: Ending, evidence: Evidence, reads_telemetry: bool) -> Judgement {
    if let Some(crash) = worst(evidence.crashes) {
        let mut judgement = Judgement::new(
            Verdict::Crash,
            format!("{}: {}", crash.crash.name(), crash.message),
        );
        judgement.crash = Some(Box::new(crash));
        if let Ending::Returned(Err(ScenarioError::Failure(failure))) = ending {
            judgement.failure = Some(failure);
        }
        return judgement;
    }
    let passed = match ending {
        Ending::Panicked(message) => {
            let mut judgement = Judgement::new(
                Verdict::Infra,
                format!(
                    "the scenario panicked, which is a bug in the scenario, not in the firmware: {message}"
                ),
            );
            judgement.retry = false;
            return judgement;
        }
        Ending::BenchFailed(reason) => return Judgement::new(Verdict::Infra, reason),
        Ending::Stuck { limit } => {
            return Judgement::new(
                Verdict::Infra,
                format!("bench time stands still; given up after {limit} of wall time"),
            );
        }
        Ending::Returned(Err(ScenarioError::Infra { reason })) => {
            return Judgement::new(Verdict::Infra, reason);
        }
        Ending::Returned(Err(ScenarioError::Blocked { reason })) => {
            return Judgement::blocked(reason);
        }
        Ending::Returned(Err(ScenarioError::Failure(failure))) => Err(failure),
        Ending::TimedOut { limit } => Err(Box::new(Failure {
            expected: format!("the scenario to end within {limit}"),
            observed: "still waiting then".to_owned(),
            at: None,
            notes: Vec::new(),
        })),
        Ending::Returned(Ok(())) => Ok(()),
    };
    let unseen = if reads_telemetry && !evidence.losses.is_empty() {
        Some(("telemetry was lost", evidence.losses))
    } else if !evidence.outages.is_empty() {
        Some(("the device's pins were out of reach", evidence.outages))
    } else {
        None
    };
    if let Some((what, details)) = unseen {
        let reason = format!("{what}, so nothing can be said: {}", details.join("; "));
        let mut judgement = Judgement::new(Verdict::Infra, reason);
        judgement.failure = passed.err();
        return judgement;
    }
    match passed {
        Ok(()) => Judgement {
            verdict: Verdict::Pass,
            reason: None,
            failure: None,
            crash: None,
            retry: false,
        },
        Err(failure) => {
            let reason = format!(
                "expected {}, observed {}",
                failure.expected, failure.observed
            );
            Judgement {
                failure: Some(failure),
                ..Judgement::new(Verdict::Fail, reason)
            }
        }
    }
}

/// The crash that explains the others: a panic or an exception is the cause, the reset after it a
/// consequence; among equals, one with a backtrace, then the first.
fn worst(crashes: Vec<CrashReport>) -> Option<CrashReport> {
    crashes.into_iter().min_by_key(|crash| {
        let cause = match crash.crash {
            CrashKind::Panic
            | CrashKind::Exception
            | CrashKind::StackOverflow
            | CrashKind::BootFailed => 0,
            CrashKind::Watchdog | CrashKind::Lockup | CrashKind::BrownOut | CrashKind::Halt => 1,
            CrashKind::UnexpectedReset => 2,
            CrashKind::Silence => 3,
        };
        (cause, crash.backtrace.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FrameLine;

    fn crash(kind: CrashKind, message: &str) -> CrashReport {
        CrashReport {
            crash: kind,
            message: message.into(),
            backtrace: Vec::new(),
        }
    }

    fn check(
        ending: Ending,
        crashes: Vec<CrashReport>,
        losses: &[&str],
        telemetry: bool,
        expected: &str,
    ) {
        let evidence = Evidence {
            crashes,
            losses: losses.iter().map(|&loss| loss.to_owned()).collect(),
            outages: Vec::new(),
        };
        let judgement = judge(ending, evidence, telemetry);
        let text = format!(
            "{} {} retry={}",
            judgement.verdict.name(),
            judgement.reason.as_deref().unwrap_or("-"),
            judgement.retry
        );
        assert_eq!(text, expected);
    }

    fn failed() -> Ending {
        Ending::Returned(Err(ScenarioError::failure("an answer", "none")))
    }

    #[test]
    fn the_scenarios_own_outcome() {
        check(
            Ending::Returned(Ok(())),
            vec![],
            &[],
            true,
            "PASS - retry=false",
        );
        check(
            failed(),
            vec![],
            &[],
            false,
            "FAIL expected an answer, observed none retry=false",
        );
        check(
            Ending::Returned(Err(ScenarioError::Infra {
                reason: "probe gone".into(),
            })),
            vec![],
            &[],
            false,
            "INFRA probe gone retry=true",
        );
        check(
            Ending::Returned(Err(ScenarioError::blocked("no relay"))),
            vec![],
            &[],
            false,
            "BLOCKED no relay retry=false",
        );
        check(
            Ending::TimedOut {
                limit: "30 s".into(),
            },
            vec![],
            &[],
            false,
            "FAIL expected the scenario to end within 30 s, observed still waiting then retry=false",
        );
    }

    #[test]
    fn who_was_out_of_touch_with_the_pins_has_seen_nothing() {
        for ending in [failed(), Ending::Returned(Ok(()))] {
            let evidence = Evidence {
                outages: vec!["the cable is pulled".into()],
                ..Evidence::default()
            };
            let judgement = judge(ending, evidence, false);
            assert_eq!(judgement.verdict, Verdict::Infra);
            let reason = judgement.reason.unwrap_or_default();
            let expected = "the device's pins were out of reach, so nothing can be said: the cable is \
                            pulled";
            assert_eq!(reason, expected);
        }
    }

    #[test]
    fn the_bench_is_at_fault() {
        check(
            Ending::Panicked("index out of bounds".into()),
            vec![],
            &[],
            false,
            "INFRA the scenario panicked, which is a bug in the scenario, not in the firmware: index out of bounds \
             retry=false",
        );
        check(
            Ending::Stuck {
                limit: "120 s".into(),
            },
            vec![],
            &[],
            false,
            "INFRA bench time stands still; given up after 120 s of wall time retry=true",
        );
        check(
            Ending::BenchFailed("probe unplugged".into()),
            vec![],
            &[],
            false,
            "INFRA probe unplugged retry=true",
        );
    }

    #[test]
    fn a_crash_overrides_everything() {
        let panic = || vec![crash(CrashKind::Panic, "oh")];
        check(
            Ending::Returned(Ok(())),
            panic(),
            &[],
            true,
            "CRASH panic: oh retry=false",
        );
        check(
            failed(),
            panic(),
            &["3 frames"],
            true,
            "CRASH panic: oh retry=false",
        );
        check(
            Ending::TimedOut {
                limit: "1 s".into(),
            },
            panic(),
            &[],
            true,
            "CRASH panic: oh retry=false",
        );
        check(
            Ending::Panicked("x".into()),
            panic(),
            &[],
            true,
            "CRASH panic: oh retry=false",
        );
        check(
            Ending::BenchFailed("x".into()),
            panic(),
            &[],
            true,
            "CRASH panic: oh retry=false",
        );
    }

    #[test]
    fn the_cause_counts_not_its_consequence() {
        let crashes = vec![
            crash(CrashKind::Silence, "no telemetry"),
            crash(CrashKind::UnexpectedReset, "software reset"),
            crash(CrashKind::Watchdog, "timer group 0"),
            crash(CrashKind::Exception, "load access fault"),
        ];
        check(
            failed(),
            crashes,
            &[],
            false,
            "CRASH exception: load access fault retry=false",
        );
        let mut with_backtrace = crash(CrashKind::Panic, "second");
        with_backtrace.backtrace.push(FrameLine {
            pc: 0x4200_0000,
            function: None,
            at: None,
        });
        let crashes = vec![crash(CrashKind::Panic, "first"), with_backtrace];
        check(
            failed(),
            crashes,
            &[],
            false,
            "CRASH panic: second retry=false",
        );
    }

    #[test]
    fn lost_telemetry_counts_where_it_matters() {
        let lost = &["3 frames on `telemetry`"][..];
        check(
            Ending::Returned(Ok(())),
            vec![],
            lost,
            false,
            "PASS - retry=false",
        );
        let infra =
            "INFRA telemetry was lost, so nothing can be said: 3 frames on `telemetry` retry=true";
        check(Ending::Returned(Ok(())), vec![], lost, true, infra);
        check(failed(), vec![], lost, true, infra);
    }
}
