//! What a run came to: a fold over its events, written to `run.json`.

use serde::{Deserialize, Serialize};

use crate::event::{Event, MemoryReport, What};
use crate::verdict::Verdict;

/// How the program ends. The numbers are promised to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitCode {
    /// Everything that ran passed.
    Passed,
    /// Something failed or crashed.
    Failed,
    /// What was typed, or a file, is wrong.
    Usage,
    /// The bench was at fault.
    Infra,
    /// Nothing was selected.
    NothingSelected,
    /// A release gate was not met.
    GateNotMet,
    /// Somebody stopped it.
    Interrupted,
}

impl ExitCode {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            ExitCode::Passed => 0,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::Infra => 3,
            ExitCode::NothingSelected => 4,
            ExitCode::GateNotMet => 5,
            ExitCode::Interrupted => 130,
        }
    }
}

/// Verdicts that count: the last attempt of each scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Crashed.
    pub crashed: u32,
    /// The bench's fault.
    pub infra: u32,
    /// A need not met.
    pub blocked: u32,
    /// Planned, but the run ended first.
    pub not_run: u32,
}

/// One attempt, as `run.json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// `CON-1`.
    pub id: String,
    /// Function name.
    pub name: String,
    /// From 1.
    pub attempt: u32,
    /// What was said of it.
    pub verdict: Verdict,
    /// Bench time, µs.
    pub took_us: u64,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether another attempt followed.
    pub retried: bool,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Version of the event format.
    pub format: u32,
    /// The run.
    pub run_id: String,
    /// The source of all chance.
    pub seed: u64,
    /// The rig.
    pub rig: String,
    /// Whose scenarios.
    pub product: String,
    /// Wall time of the first and the last event, µs since 1970-01-01T00:00:00Z.
    pub wall_us: (u64, u64),
    /// Verdicts.
    pub counts: Counts,
    /// Every attempt, in order.
    pub units: Vec<UnitSummary>,
    /// The last memory sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryReport>,
    /// Output of the device that was lost: frames or bytes, all channels together.
    pub lost: u64,
    /// What the firmware used of a simulated chip that is not modelled, each kind of access once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmodelled: Vec<String>,
    /// Why the run was stopped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<String>,
    /// Why the run could not begin or go on, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Abort>,
    planned: u32,
}

/// Why a run could not begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// How the program ends for it.
    pub exit: ExitCode,
    /// Why.
    pub reason: String,
}

impl RunSummary {
    /// Takes one more event in.
    pub fn observe(&mut self, event: &Event) {
        self.format = crate::EVENT_FORMAT_VERSION;
        if event.sequence == 0 {
            self.wall_us.0 = event.stamp.wall_us;
        }
        self.wall_us.1 = event.stamp.wall_us;
        match &event.what {
            What::RunStarted {
                run_id,
                seed,
                rig,
                product,
                ..
            } => {
                self.run_id.clone_from(run_id);
                self.seed = *seed;
                self.rig.clone_from(rig);
                self.product.clone_from(product);
            }
            What::Planned { units } => {
                self.planned = units.len() as u32;
                self.counts.not_run = self.planned;
            }
            What::UnitFinished {
                verdict,
                took_us,
                reason,
                retried,
                ..
            } => {
                let Some(unit) = &event.unit else { return };
                self.units.push(UnitSummary {
                    id: unit.id.clone(),
                    name: unit.name.clone(),
                    attempt: unit.attempt,
                    verdict: *verdict,
                    took_us: *took_us,
                    reason: reason.clone(),
                    retried: *retried,
                });
                if !retried {
                    self.count(*verdict, unit.id == crate::dispatcher::PREPARE_ID);
                }
            }
            What::Memory(memory) => self.memory = Some(memory.clone()),
            What::Lost { count, .. } => self.lost += count,
            What::Unmodelled { what } if !self.unmodelled.contains(what) => {
                self.unmodelled.push(what.clone());
            }
            What::Interrupted { reason } => {
                self.interrupted.get_or_insert_with(|| reason.clone());
            }
            _ => {}
        }
    }

    fn count(&mut self, verdict: Verdict, prepare: bool) {
        let counts = &mut self.counts;
        *match verdict {
            Verdict::Pass => &mut counts.passed,
            Verdict::Fail => &mut counts.failed,
            Verdict::Crash => &mut counts.crashed,
            Verdict::Infra => &mut counts.infra,
            Verdict::Blocked => &mut counts.blocked,
        } += 1;
        // Getting the device ready is no scenario of the plan.
        if !prepare {
            counts.not_run = counts.not_run.saturating_sub(1);
        }
    }

    /// How the program ends after this run.
    pub fn exit_code(&self) -> ExitCode {
        let counts = &self.counts;
        if self.interrupted.is_some() {
            ExitCode::Interrupted
        } else if let Some(abort) = &self.aborted {
            abort.exit
        } else if counts.failed + counts.crashed > 0 {
            ExitCode::Failed
        } else if counts.infra > 0 || (counts.passed == 0 && counts.blocked > 0) {
            // A rig on which nothing at all can be tried is not a success.
            ExitCode::Infra
        } else if self.planned == 0 {
            ExitCode::NothingSelected
        } else {
            ExitCode::Passed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counts: Counts, expected: u8) {
        let summary = RunSummary {
            counts,
            planned: 1,
            ..RunSummary::default()
        };
        assert_eq!(summary.exit_code().code(), expected, "{counts:?}");
    }

    #[test]
    fn exit_codes() {
        let none = Counts::default();
        check(Counts { passed: 3, ..none }, 0);
        check(
            Counts {
                passed: 3,
                blocked: 1,
                ..none
            },
            0,
        );
        check(
            Counts {
                passed: 3,
                failed: 1,
                infra: 1,
                ..none
            },
            1,
        );
        check(Counts { crashed: 1, ..none }, 1);
        check(
            Counts {
                passed: 3,
                infra: 1,
                ..none
            },
            3,
        );
        check(Counts { blocked: 2, ..none }, 3);
        assert_eq!(RunSummary::default().exit_code().code(), 4);
        let stopped = RunSummary {
            interrupted: Some("Ctrl-C".into()),
            ..RunSummary::default()
        };
        assert_eq!(stopped.exit_code().code(), 130);
        let abort = Abort {
            exit: ExitCode::Usage,
            reason: "port taken".into(),
        };
        let aborted = RunSummary {
            aborted: Some(abort),
            ..RunSummary::default()
        };
        assert_eq!(aborted.exit_code().code(), 2);
    }
}
