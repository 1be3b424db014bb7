//! First aid for a probe that has stopped answering.

use std::time::Instant;

use probe_rs::Session;

use super::{FIRST_AID_WITHIN, Worker, chain};
use crate::{
    BenchError,
    event::{BenchEvent, FirstAid},
};

impl Worker {
    /// Attaches again, then with a reset; each rung is recorded. Bounded in wall time.
    pub(super) fn first_aid(&mut self, why: &str) -> Result<(), BenchError> {
        let deadline = Instant::now() + FIRST_AID_WITHIN;
        let mut last = why.to_owned();
        for rung in [FirstAid::Reattach, FirstAid::ChipReset] {
            // The old session must be gone before the probe can be opened again.
            self.session = None;
            let outcome = self.reattach(rung, deadline);
            let helped = outcome.is_ok();
            let detail = match &outcome {
                Ok(()) => why.to_owned(),
                Err(error) => chain(error),
            };
            self.shared.report((
                None,
                BenchEvent::FirstAid {
                    rung,
                    helped,
                    detail: detail.clone(),
                },
            ));
            if helped {
                return Ok(());
            }
            last = detail;
        }
        self.session = None;
        self.dead = Some(last.clone());
        Err(BenchError::Probe {
            doing: "first aid".into(),
            source: last.into(),
        })
    }

    /// Opens the probe and attaches; with a reset, if that is the rung.
    pub(super) fn reattach(&mut self, rung: FirstAid, deadline: Instant) -> Result<(), BenchError> {
        // A board that was reset over USB needs a moment to come back.
        let patience = deadline.saturating_duration_since(Instant::now());
        let (mut session, _) = self.opener.open_within(patience)?;
        let reset = rung == FirstAid::ChipReset;
        let work = |session: &mut Session| -> Result<(), probe_rs::Error> {
            let mut core = session.core(0)?;
            if reset {
                core.reset()?;
            }
            core.status().map(drop)
        };
        work(&mut session).map_err(|error| BenchError::probe(rung.to_string(), error))?;
        self.session = Some(session);
        if let (true, Some(monitor)) = (reset, &mut self.monitor) {
            monitor.expect_reset();
            monitor.restart();
            self.shared.device_restarts();
        }
        Ok(())
    }
}
