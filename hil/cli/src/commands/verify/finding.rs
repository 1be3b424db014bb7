//! What is said of a mutant, out of what its runs came to.

use hil_report::Style;
use hil_runner::{ExitCode, RunSummary, Scenario, UnitSummary, Verdict};
use hil_suite::Mutant;
use serde::Serialize;

/// What a device that did not get ready is said to be caught by.
const BOOT: &str = "boot";

/// What came of one mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub(super) enum Finding {
    /// A scenario failed or crashed with it, and passes without it.
    Caught {
        /// The scenario's ID, or `boot`.
        by: String,
        /// The scenario's name; none when the device did not even get ready.
        #[serde(skip_serializing_if = "Option::is_none")]
        scenario: Option<&'static str>,
        /// Expected and observed, in one line.
        reason: String,
    },
    /// All its scenarios pass.
    Survived {
        /// How many they are.
        scenarios: usize,
    },
    /// There is no scenario to catch it, or none that this rig can try.
    NotCovered {
        /// Why.
        reason: String,
    },
    /// The bench was at fault.
    Infra {
        /// How.
        reason: String,
    },
}

/// One mutant, done.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tried {
    pub(super) mutant: &'static str,
    part: &'static str,
    number: u16,
    must_be_caught_by: &'static str,
    #[serde(flatten)]
    pub(super) finding: Finding,
    /// Wall time, ms.
    took_ms: u64,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) mutants: usize,
    caught: usize,
    survived: usize,
    not_covered: usize,
    infra: usize,
    /// Selected, but the end came first.
    not_run: usize,
}

impl Finding {
    /// Out of the run with the mutant armed; `None` if the run was interrupted.
    pub(super) fn of(summary: &RunSummary, catalogue: &[&'static Scenario]) -> Option<Finding> {
        if summary.interrupted.is_some() {
            return None;
        }
        let reason_of = |unit: &UnitSummary| one_line(unit.reason.as_deref().unwrap_or("not said"));
        let first = |verdicts: &[Verdict]| {
            let counts = |unit: &&UnitSummary| !unit.retried && verdicts.contains(&unit.verdict);
            summary.units.iter().find(counts)
        };
        if let Some(unit) = first(&[Verdict::Fail, Verdict::Crash]) {
            let scenario = scenario_of(unit, catalogue);
            return Some(Finding::Caught {
                by: scenario.map_or(BOOT, |scenario| scenario.id).to_owned(),
                scenario: scenario.map(|scenario| scenario.name),
                reason: reason_of(unit),
            });
        }
        if let Some(abort) = &summary.aborted {
            let reason = one_line(&abort.reason);
            return Some(Finding::Infra { reason });
        }
        if let Some(unit) = first(&[Verdict::Infra]) {
            let reason = format!("{}: {}", unit.name, reason_of(unit));
            return Some(Finding::Infra { reason });
        }
        if let Some(unit) = first(&[Verdict::Blocked]) {
            let reason = format!("{} is blocked: {}", unit.name, reason_of(unit));
            return Some(Finding::NotCovered { reason });
        }
        Some(Finding::Survived {
            scenarios: summary.counts.passed as usize,
        })
    }

    /// After the same scenario ran without the mutant: it must pass then, or it caught nothing.
    /// `None` if that run was interrupted.
    pub(super) fn confirmed(self, without: &RunSummary) -> Option<Finding> {
        if without.interrupted.is_some() {
            return None;
        }
        if without.exit_code() == ExitCode::Passed {
            return Some(self);
        }
        let reason = without
            .units
            .iter()
            .rev()
            .find_map(|unit| unit.reason.as_deref())
            .or(without.aborted.as_ref().map(|abort| abort.reason.as_str()))
            .unwrap_or("not said");
        Some(Finding::Infra {
            reason: format!(
                "what failed with it does not pass without it: {}",
                one_line(reason)
            ),
        })
    }

    fn word(&self) -> (&'static str, Verdict) {
        match self {
            Finding::Caught { .. } => ("CAUGHT", Verdict::Pass),
            Finding::Survived { .. } => ("SURVIVED", Verdict::Fail),
            Finding::NotCovered { .. } => ("UNTRIED", Verdict::Blocked),
            Finding::Infra { .. } => ("INFRA", Verdict::Infra),
        }
    }

    fn detail(&self, must_be_caught_by: &str) -> String {
        match self {
            Finding::Caught {
                by,
                scenario,
                reason,
            } => match scenario {
                Some(scenario) => format!("{by} {scenario}: {reason}"),
                None => format!("{by}: {reason}"),
            },
            Finding::Survived { scenarios } => {
                let s = if *scenarios == 1 { " passes" } else { "s pass" };
                format!("{must_be_caught_by}: {scenarios} scenario{s} in spite of it")
            }
            Finding::NotCovered { reason } => format!("not covered: {reason}"),
            Finding::Infra { reason } => reason.clone(),
        }
    }
}

impl Tried {
    pub(super) fn new(mutant: &Mutant, finding: Finding, took: std::time::Duration) -> Tried {
        Tried {
            mutant: mutant.name,
            part: mutant.part,
            number: mutant.number,
            must_be_caught_by: mutant.scenario,
            finding,
            took_ms: took.as_millis() as u64,
        }
    }

    /// As a person reads it; names take `width`.
    pub(super) fn line(&self, width: usize, style: Style) -> String {
        let (word, colour) = self.finding.word();
        format!(
            "{} [{:>5.1}s] {:<width$}  {}",
            style.verdict(colour, &format!("{word:>9}")),
            self.took_ms as f64 / 1e3,
            self.mutant,
            self.finding.detail(self.must_be_caught_by),
        )
    }
}

impl Counts {
    pub(super) fn of(tried: &[Tried], selected: usize) -> Counts {
        let count =
            |test: fn(&Finding) -> bool| tried.iter().filter(|one| test(&one.finding)).count();
        Counts {
            mutants: selected,
            caught: count(|finding| matches!(finding, Finding::Caught { .. })),
            survived: count(|finding| matches!(finding, Finding::Survived { .. })),
            not_covered: count(|finding| matches!(finding, Finding::NotCovered { .. })),
            infra: count(|finding| matches!(finding, Finding::Infra { .. })),
            not_run: selected - tried.len(),
        }
    }

    /// How the program ends, if nobody interrupted it.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.survived + self.not_covered > 0 {
            ExitCode::Failed
        } else if self.infra + self.not_run > 0 {
            ExitCode::Infra
        } else {
            ExitCode::Passed
        }
    }

    /// `50 mutants, 50 caught, 0 survived`.
    pub(super) fn in_words(&self) -> String {
        let s = if self.mutants == 1 { "" } else { "s" };
        let mut text = format!(
            "{} mutant{s}, {} caught, {} survived",
            self.mutants, self.caught, self.survived
        );
        for (count, what) in [
            (self.not_covered, "not covered"),
            (self.infra, "infra"),
            (self.not_run, "not run"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

/// The scenario that a unit tried; none for getting the device ready.
pub(super) fn scenario_of(
    unit: &UnitSummary,
    catalogue: &[&'static Scenario],
) -> Option<&'static Scenario> {
    catalogue
        .iter()
        .copied()
        .find(|scenario| scenario.id == unit.id && scenario.name == unit.name)
}

/// What a device says must neither break a line nor steer the terminal.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hil_runner::Abort;

    fn unit(id: &str, name: &str, verdict: Verdict, reason: Option<&str>) -> UnitSummary {
        UnitSummary {
            id: id.into(),
            name: name.into(),
            attempt: 1,
            verdict,
            took_us: 0,
            reason: reason.map(str::to_owned),
            retried: false,
        }
    }

    fn summary(units: Vec<UnitSummary>) -> RunSummary {
        let mut summary = RunSummary::default();
        for unit in &units {
            let counts = &mut summary.counts;
            match unit.verdict {
                Verdict::Pass => counts.passed += 1,
                Verdict::Fail => counts.failed += 1,
                Verdict::Crash => counts.crashed += 1,
                Verdict::Infra => counts.infra += u32::from(!unit.retried),
                Verdict::Blocked => counts.blocked += 1,
            }
        }
        summary.units = units;
        summary
    }

    fn line(summary: &RunSummary) -> String {
        let finding = Finding::of(summary, &crate::commands::scenarios()).expect("a finding");
        let (word, _) = finding.word();
        format!("{word} {}", finding.detail("CMD-1"))
    }

    const HELP: &str = "help_lists_every_command";

    #[test]
    fn the_first_failure_counts_and_infra_only_in_its_last_attempt() {
        let pass = || unit("CMD-1", HELP, Verdict::Pass, None);
        let fail = || {
            unit(
                "CMD-1",
                HELP,
                Verdict::Fail,
                Some("expected a,\nobserved b"),
            )
        };
        let infra = || unit("CMD-1", HELP, Verdict::Infra, Some("probe gone"));
        let retried = || UnitSummary {
            retried: true,
            ..infra()
        };
        for (units, expected) in [
            (
                vec![pass(), pass()],
                "SURVIVED CMD-1: 2 scenarios pass in spite of it",
            ),
            (
                vec![retried(), pass()],
                "SURVIVED CMD-1: 1 scenario passes in spite of it",
            ),
            (
                vec![pass(), infra(), fail()],
                "CAUGHT CMD-1 help_lists_every_command: expected a, observed b",
            ),
            (
                vec![unit(
                    "CMD-1",
                    HELP,
                    Verdict::Crash,
                    Some("panic: at\u{1b}[1m"),
                )],
                "CAUGHT CMD-1 help_lists_every_command: panic: at [1m",
            ),
            (
                vec![pass(), infra()],
                "INFRA help_lists_every_command: probe gone",
            ),
            (
                vec![unit(
                    "PREPARE",
                    "device_gets_ready",
                    Verdict::Fail,
                    Some("no hello"),
                )],
                "CAUGHT boot: no hello",
            ),
            (
                vec![unit(
                    "CMD-1",
                    HELP,
                    Verdict::Blocked,
                    Some("the rig has no `sensors`"),
                )],
                "UNTRIED not covered: help_lists_every_command is blocked: the rig has no `sensors`",
            ),
        ] {
            assert_eq!(line(&summary(units)), expected);
        }
        let mut stopped = summary(vec![fail()]);
        stopped.interrupted = Some("Ctrl-C".into());
        assert_eq!(Finding::of(&stopped, &[]), None);
        let mut aborted = summary(vec![pass()]);
        aborted.aborted = Some(Abort {
            exit: ExitCode::Infra,
            reason: "the disk is full".into(),
        });
        assert_eq!(line(&aborted), "INFRA the disk is full");
    }

    #[test]
    fn a_scenario_that_also_fails_without_the_mutant_caught_nothing() {
        let caught = Finding::Caught {
            by: "CMD-1".into(),
            scenario: Some(HELP),
            reason: "expected a, observed b".into(),
        };
        let fails = summary(vec![unit("CMD-1", HELP, Verdict::Fail, Some("the same"))]);
        assert_eq!(
            caught.confirmed(&fails),
            Some(Finding::Infra {
                reason: "what failed with it does not pass without it: the same".into()
            })
        );
    }

    #[test]
    fn the_end_of_the_program() {
        let mutant = hil_suite::mutants()[0];
        let tried = |finding: &Finding| Tried::new(&mutant, finding.clone(), Default::default());
        let caught = Finding::Caught {
            by: "CMD-1".into(),
            scenario: Some(HELP),
            reason: "so".into(),
        };
        let survived = Finding::Survived { scenarios: 1 };
        let reason = String::new();
        let infra = Finding::Infra {
            reason: reason.clone(),
        };
        let untried = Finding::NotCovered { reason };
        for (findings, selected, exit, words) in [
            (vec![&caught], 1, 0, "1 mutant, 1 caught, 0 survived"),
            (
                vec![&caught, &survived, &infra],
                3,
                1,
                "3 mutants, 1 caught, 1 survived, 1 infra",
            ),
            (
                vec![&caught, &infra],
                2,
                3,
                "2 mutants, 1 caught, 0 survived, 1 infra",
            ),
            (
                vec![&caught, &untried],
                2,
                1,
                "2 mutants, 1 caught, 0 survived, 1 not covered",
            ),
            (
                vec![&caught],
                3,
                3,
                "3 mutants, 1 caught, 0 survived, 2 not run",
            ),
        ] {
            let tried: Vec<Tried> = findings.into_iter().map(tried).collect();
            let counts = Counts::of(&tried, selected);
            assert_eq!(
                (counts.exit_code().code(), counts.in_words().as_str()),
                (exit, words)
            );
        }
    }
}
