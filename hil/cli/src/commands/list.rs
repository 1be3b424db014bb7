//! `hil list`: the scenarios there are. Touches no hardware.

use std::fmt::Write as _;

use hil_runner::{ExitCode, Order, Scenario};
use serde::Serialize;

use crate::arguments::{ListArguments, ListFormat};
use crate::settings;
use crate::stop::Stop;

/// Prints what is selected; everything if nothing is.
pub(crate) fn list(arguments: &ListArguments) -> Result<ExitCode, Stop> {
    let selection = settings::selection(&arguments.selection, true);
    let plan = settings::plan(&super::scenarios(), &selection, Order::Catalogue)
        .map_err(|reason| super::nothing_selected(&reason))?;
    match arguments.format {
        ListFormat::Table => print!("{}", table(&plan.scenarios)),
        ListFormat::Json => println!("{}", json(&plan.scenarios).map_err(Stop::infra)?),
    }
    Ok(ExitCode::Passed)
}

fn table(scenarios: &[&'static Scenario]) -> String {
    let width = |of: &dyn Fn(&Scenario) -> usize| {
        scenarios
            .iter()
            .map(|scenario| of(scenario))
            .max()
            .unwrap_or(0)
    };
    let (ids, names, categories) = (
        width(&|scenario| scenario.id.len()),
        width(&|scenario| scenario.name.len()),
        width(&|scenario| scenario.category.name().len()),
    );
    let mut text = String::new();
    for scenario in scenarios {
        let Scenario {
            id,
            name,
            category,
            tags,
            description,
            ..
        } = scenario;
        let line = format!(
            "{id:<ids$}  {name:<names$}  {category:<categories$}  {}",
            tags.join(" ")
        );
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}", line.trim_end());
        for paragraph in description.lines() {
            let _ = writeln!(text, "{:ids$}  {paragraph}", "");
        }
    }
    text
}

#[derive(Serialize)]
struct Entry {
    id: &'static str,
    name: &'static str,
    category: &'static str,
    tags: &'static [&'static str],
    needs: &'static [&'static str],
    timeout_ms: u64,
    description: &'static str,
    file: &'static str,
    line: u32,
}

fn json(scenarios: &[&'static Scenario]) -> serde_json::Result<String> {
    let entries: Vec<Entry> = scenarios
        .iter()
        .map(|scenario| Entry {
            id: scenario.id,
            name: scenario.name,
            category: scenario.category.name(),
            tags: scenario.tags,
            needs: scenario.needs,
            timeout_ms: scenario.timeout.as_millis() as u64,
            description: scenario.description,
            file: scenario.file,
            line: scenario.line,
        })
        .collect();
    serde_json::to_string_pretty(&entries)
}
