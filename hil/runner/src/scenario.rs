//! What can be run: the scenarios that were linked into this program.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::BoxFuture;
use crate::context::Context;
use crate::outcome::Outcome;

/// A scenario, as [`macro@crate::scenario`] enters it in the catalogue.
pub struct Scenario {
    /// The requirement it belongs to, `CON-1`; several scenarios may share one.
    pub id: &'static str,
    /// The function's name: a sentence.
    pub name: &'static str,
    /// What it is about.
    pub category: Category,
    /// For selection.
    pub tags: &'static [&'static str],
    /// What the rig must offer.
    pub needs: &'static [&'static str],
    /// Limit in bench time.
    pub timeout: Duration,
    /// Whether it reads RTT telemetry, so that losing some of it is not a pass.
    pub telemetry: bool,
    /// The doc comment; one line a paragraph.
    pub description: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Line in the source file.
    pub line: u32,
    /// The function.
    pub body: for<'a> fn(&'a mut Context) -> BoxFuture<'a, Outcome>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

inventory::collect!(Scenario);

/// Every scenario of the program, by category, then ID, then name.
pub fn catalogue() -> Vec<&'static Scenario> {
    let mut all: Vec<&'static Scenario> = inventory::iter::<Scenario>.into_iter().collect();
    all.sort_by_key(|scenario| (scenario.category, id_order(scenario.id), scenario.name));
    all
}

/// `CMD-10` comes after `CMD-9`.
pub(crate) fn id_order(id: &str) -> (&str, u64) {
    match id.split_once('-') {
        Some((letters, number)) => (letters, number.parse().unwrap_or(u64::MAX)),
        None => (id, 0),
    }
}

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Getting and keeping a connection.
    Connectivity,
    /// Requests and their answers.
    Commands,
    /// What the device reports by itself.
    Telemetry,
    /// Many messages, many devices.
    Load,
    /// Attackers and their like.
    Security,
    /// The device with everything around it.
    Integration,
    /// How fast.
    Performance,
    /// How long.
    Stability,
}

impl Category {
    /// All of them, in the catalogue's order.
    pub const ALL: [Category; 8] = [
        Category::Connectivity,
        Category::Commands,
        Category::Telemetry,
        Category::Load,
        Category::Security,
        Category::Integration,
        Category::Performance,
        Category::Stability,
    ];

    /// As it is written in the attribute and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Category::Connectivity => "connectivity",
            Category::Commands => "commands",
            Category::Telemetry => "telemetry",
            Category::Load => "load",
            Category::Security => "security",
            Category::Integration => "integration",
            Category::Performance => "performance",
            Category::Stability => "stability",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no category.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown category `{0}`; known categories: `connectivity`, `commands`, `telemetry`, `load`, `security`, \
     `integration`, `performance`, `stability`"
)]
pub struct UnknownCategory(pub String);

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Category::ALL
            .into_iter()
            .find(|category| category.name() == text)
            .ok_or_else(|| UnknownCategory(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_number() {
        let mut ids = ["CMD-10", "CON-1", "CMD-9", "CMD-2"];
        ids.sort_by_key(|id| id_order(id));
        assert_eq!(ids, ["CMD-2", "CMD-9", "CMD-10", "CON-1"]);
    }

    #[test]
    fn categories_round_trip() {
        for category in Category::ALL {
            assert_eq!(category.name().parse(), Ok(category));
            assert_eq!(
                serde_json::to_string(&category).unwrap(),
                format!("\"{category}\"")
            );
        }
        assert_eq!(
            "smoke".parse::<Category>(),
            Err(UnknownCategory("smoke".into()))
        );
    }
}
