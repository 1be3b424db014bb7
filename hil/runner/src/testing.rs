//! Stand-ins for tests: a bench without hardware, a product without a device.

use crate::scenario::{Category, Scenario};
use std::time::Duration;

/// A scenario that passes.
pub(crate) fn scenario(
    id: &'static str,
    name: &'static str,
    category: Category,
    tags: &'static [&'static str],
) -> &'static Scenario {
    Box::leak(Box::new(Scenario {
        id,
        name,
        category,
        tags,
        needs: &[],
        timeout: Duration::from_secs(30),
        telemetry: false,
        description: "",
        file: file!(),
        line: line!(),
        body: |_| Box::pin(async { Ok(()) }),
    }))
}

/// Their names.
pub(crate) fn named(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    scenarios.iter().map(|scenario| scenario.name).collect()
}
