//! `hil plan`: what a run would do, in order. Touches no hardware.

use hil_rig::Rig;
use hil_runner::{ExitCode, Order};

use crate::arguments::PlanArguments;
use crate::stop::Stop;
use crate::{project, settings};

/// Prints the plan, and the command that runs it just so.
pub(crate) fn plan(arguments: &PlanArguments) -> Result<ExitCode, Stop> {
    let selection = settings::selection(&arguments.selection, arguments.all);
    let (seed, order) = settings::order(&arguments.order);
    let rig = Rig::find(&arguments.on.rig, &project::root()?)?;
    let catalogue = settings::runnable(super::scenarios(), &selection);
    let plan = settings::plan(&catalogue, &selection, order)
        .map_err(|reason| super::nothing_selected(&reason))?;
    let width = plan
        .scenarios
        .iter()
        .map(|scenario| scenario.id.len())
        .max()
        .unwrap_or(0);
    for (number, scenario) in plan.scenarios.iter().enumerate() {
        let needs = match scenario.needs {
            [] => String::new(),
            needs => format!("  (needs {})", needs.join(", ")),
        };
        println!(
            "{:>4}  {:<width$}  {}{needs}",
            number + 1,
            scenario.id,
            scenario.name
        );
    }
    let shuffled = match order {
        Order::Catalogue => "by category and ID".to_owned(),
        Order::Shuffled { seed } => format!("shuffled with seed {seed}"),
    };
    eprintln!(
        "{} scenarios ({selection}) on rig {}, {shuffled}; seed {seed}",
        plan.scenarios.len(),
        rig.name
    );
    Ok(ExitCode::Passed)
}
