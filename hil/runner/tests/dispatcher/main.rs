//! Whole runs on a bench without hardware: every verdict, retries, and every way to end early.
//!
//! Bench time is tokio's paused clock, so that nothing here waits.

mod endings;
mod scenarios;
mod stand_in;
mod verdicts;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use expect_test::Expect;
use hil_runner::{Cancel, Journal, Order, Plan, RunSettings, Selection, catalogue};
use stand_in::{Lines, StandInBench, StandInProduct};

/// A run in the making.
struct Case {
    bench: Arc<StandInBench>,
    product: Arc<StandInProduct>,
    settings: RunSettings,
    cancel: Cancel,
    lines: Lines,
}

impl Case {
    fn new() -> Self {
        Case::with(StandInProduct::new(|times, _| Ok(times)))
    }

    fn with(product: StandInProduct) -> Self {
        Case {
            bench: StandInBench::new(),
            product: Arc::new(product),
            settings: RunSettings {
                again: ("hil run".into(), "--seed 7".into()),
                seed: 7,
                ..RunSettings::default()
            },
            cancel: Cancel::new(),
            lines: Lines::default(),
        }
    }

    /// Runs the scenarios of these names, in this order. The bench must be let go of every time.
    async fn check(self, names: &[&str], exit: u8, expected: Expect) {
        let catalogue = catalogue();
        let scenarios = names
            .iter()
            .map(|name| {
                let selection = Selection {
                    names: vec![format!("{name}*")],
                    ..Selection::default()
                };
                let plan = Plan::new(&catalogue, &selection, Order::Catalogue);
                plan.scenarios
                    .into_iter()
                    .find(|scenario| scenario.name == *name)
                    .expect(name)
            })
            .collect();
        let journal = Journal::new(vec![Box::new(self.lines.clone())]);
        let bench = self.bench.clone();
        let summary = hil_runner::run(
            Plan { scenarios },
            self.bench,
            self.product,
            self.settings,
            self.cancel,
            journal,
        )
        .await;
        let lines = self.lines.lines.lock().unwrap().join("\n") + "\n";
        expected.assert_eq(&lines);
        assert_eq!(summary.exit_code().code(), exit, "{summary:?}");
        assert!(
            bench.closed.load(Ordering::SeqCst),
            "the rig was not released"
        );
    }
}
