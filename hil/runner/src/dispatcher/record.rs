//! What goes into the record: what the bench sees, what scenarios say, what was judged. What counts
//! against a unit goes into its evidence as well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Dispatcher;
use super::activity::Activity;
use super::start::PREPARE_ID;
use crate::bench::{Occurrence, Recovered, Seen};
use crate::context::{Emission, Emitter};
use crate::event::{CrashKind, CrashReport, UnitKey, What};
use crate::need;
use crate::product::Product;
use crate::verdict::Judgement;

impl<P: Product> Dispatcher<P> {
    /// Something the bench saw: into the stream, and into the evidence if it is any.
    pub(super) fn occurred(&mut self, seen: Seen) {
        let Seen {
            bench_time,
            device_us,
            occurrence,
        } = seen;
        let key = self.current_key();
        let now = self.clock.now();
        let reads_telemetry =
            matches!(&self.activity, Activity::Running { scenario, .. } if scenario.telemetry);
        let uses_pins = match &self.activity {
            Activity::Running { scenario, .. } => need::uses_pins(scenario),
            // It gets the sensors ready.
            Activity::Preparing { .. } => true,
            Activity::Idle | Activity::RecoveringBench { .. } => false,
        };
        let mut watched = self.activity.watched_mut();
        let allowed = watched
            .as_ref()
            .is_some_and(|watch| watch.resets_allowed.load(Ordering::SeqCst) > 0);
        let what = match occurrence {
            Occurrence::Log {
                level,
                module,
                at,
                text,
            } => What::Log {
                level,
                module,
                at,
                text,
            },
            Occurrence::Memory(memory) => What::Memory(memory),
            Occurrence::Device { report, data } => What::Device { report, data },
            Occurrence::Booted { boot, reason } => What::Booted { boot, reason },
            Occurrence::Reset { cause, expected } => {
                let expected = expected || allowed;
                if let (false, Some(watch)) = (expected, &mut watched) {
                    let message = cause.clone();
                    let crash = CrashReport {
                        crash: CrashKind::UnexpectedReset,
                        message,
                        backtrace: Vec::new(),
                    };
                    watch.crashed(crash, now, self.clock.as_ref());
                }
                What::Reset { cause, expected }
            }
            Occurrence::Crashed(crash) => {
                if let (false, Some(watch)) = (allowed, &mut watched) {
                    watch.crashed(crash.clone(), now, self.clock.as_ref());
                }
                What::Crashed(crash)
            }
            Occurrence::Lost {
                channel,
                count,
                detail,
            } => {
                if let (true, Some(watch)) = (reads_telemetry, &mut watched) {
                    watch
                        .evidence
                        .losses
                        .push(format!("{count} on `{channel}` ({detail})"));
                }
                What::Lost {
                    channel,
                    count,
                    detail,
                }
            }
            Occurrence::Outage { reason, recovered } => {
                if let (true, Some(watch)) = (uses_pins, &mut watched) {
                    watch.evidence.outages.push(reason.clone());
                }
                match recovered {
                    Some(recovered) => recovery(recovered),
                    None => What::Note { text: reason },
                }
            }
            Occurrence::Fault { fault } => What::Fault { fault },
            Occurrence::Recovered(recovered) => recovery(recovered),
            Occurrence::Unmodelled { what } => What::Unmodelled { what },
            Occurrence::Note { text } => What::Note { text },
            Occurrence::Shortcoming { reason } => What::Trouble { reason },
            Occurrence::Trouble { reason } => {
                self.bench_is_troubled = true;
                What::Trouble { reason }
            }
        };
        self.journal
            .record_at(bench_time.unwrap_or(now), device_us, key, what);
    }

    /// Takes in everything that was said before the end of a task.
    pub(super) fn drain(&mut self) {
        while let Ok(emission) = self.emissions.try_recv() {
            self.record_emission(emission);
        }
        while let Some(seen) = self.occurrences.try_next() {
            self.occurred(seen);
        }
    }

    pub(super) fn record(&mut self, unit: Option<UnitKey>, what: What) {
        self.journal.record_at(self.clock.now(), None, unit, what);
    }

    pub(super) fn record_emission(&mut self, emission: Emission) {
        self.journal
            .record_at(emission.bench_time, None, emission.unit, emission.what);
    }

    pub(super) fn record_judgement(
        &mut self,
        key: UnitKey,
        took: Duration,
        judgement: Judgement,
        retried: bool,
    ) {
        let again = self.again(&key);
        self.record(
            Some(key),
            What::UnitFinished {
                verdict: judgement.verdict,
                took_us: took.as_micros() as u64,
                reason: judgement.reason,
                failure: judgement.failure,
                crash: judgement.crash,
                again,
                retried,
            },
        );
    }

    /// What to type to try this again: by ID, or by name where several scenarios share the ID.
    fn again(&self, key: &UnitKey) -> String {
        let (command, rest) = &self.settings.again;
        let what = match key.id.as_str() {
            PREPARE_ID => "",
            id if self.doubled_ids.contains(&id) => &key.name,
            id => id,
        };
        [command.as_str(), what, rest.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn current_key(&self) -> Option<UnitKey> {
        match &self.activity {
            Activity::Running { watch, .. } | Activity::Preparing { watch, .. } => {
                Some(watch.key.clone())
            }
            Activity::Idle | Activity::RecoveringBench { .. } => None,
        }
    }

    pub(super) fn emitter(&self, unit: Option<UnitKey>) -> Emitter {
        Emitter::new(Arc::clone(&self.clock), unit, self.emissions_in.clone())
    }
}

fn recovery(recovered: Recovered) -> What {
    let Recovered {
        measure,
        helped,
        detail,
    } = recovered;
    What::Recovery {
        measure,
        helped,
        detail,
    }
}
