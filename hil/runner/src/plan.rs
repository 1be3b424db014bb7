//! Which scenarios run, in which order. Touches no hardware.

use std::fmt;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::event::PlannedUnit;
use crate::scenario::{Category, Scenario};

/// Which scenarios are wanted. An empty list leaves that question open; between the lists it is
/// "and", within one it is "or".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// IDs (`CON-1`, also in small letters) or patterns of names.
    pub patterns: Vec<String>,
    /// Categories.
    pub categories: Vec<Category>,
    /// Tags.
    pub tags: Vec<String>,
    /// Patterns of names: a part of it, or the whole with `*` for anything.
    pub names: Vec<String>,
}

impl Selection {
    /// Whether nothing was asked for.
    pub fn is_everything(&self) -> bool {
        *self == Selection::default()
    }

    /// Whether `scenario` is wanted.
    pub fn wants(&self, scenario: &Scenario) -> bool {
        let any = |list: &[String], test: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|one| test(one))
        };
        any(&self.patterns, &|pattern| {
            is_id(pattern, scenario) || matches(pattern, scenario.name)
        }) && any(&self.names, &|pattern| matches(pattern, scenario.name))
            && any(&self.tags, &|tag| scenario.tags.contains(&tag))
            && (self.categories.is_empty() || self.categories.contains(&scenario.category))
    }

    /// Those patterns and tags that fit nothing in the catalogue: most likely misspelt.
    pub fn unmatched(&self, catalogue: &[&'static Scenario]) -> Vec<String> {
        let fits =
            |test: &dyn Fn(&Scenario) -> bool| catalogue.iter().any(|scenario| test(scenario));
        let patterns = self.patterns.iter().filter(|pattern| {
            !fits(&|scenario| is_id(pattern, scenario) || matches(pattern, scenario.name))
        });
        let names = self
            .names
            .iter()
            .filter(|pattern| !fits(&|scenario| matches(pattern, scenario.name)));
        let tags = self
            .tags
            .iter()
            .filter(|tag| !fits(&|scenario| scenario.tags.contains(&tag.as_str())));
        patterns.chain(names).chain(tags).cloned().collect()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let categories: Vec<String> = self.categories.iter().map(Category::to_string).collect();
        let parts: Vec<String> = [
            ("", &self.patterns),
            ("category ", &categories),
            ("tag ", &self.tags),
            ("name ", &self.names),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("{what}{}", list.join(" or ")))
        .collect();
        match parts.is_empty() {
            true => f.write_str("everything"),
            false => f.write_str(&parts.join(" and ")),
        }
    }
}

fn is_id(pattern: &str, scenario: &Scenario) -> bool {
    pattern.eq_ignore_ascii_case(scenario.id)
}

/// A part of the name, or the whole of it when the pattern has a `*`.
fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name.contains(pattern);
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// In which order scenarios run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By category, then ID, then name: the same in every run. Connecting comes first, what takes
    /// long last.
    #[default]
    Catalogue,
    /// Shuffled, but the same in every run with one seed.
    Shuffled {
        /// The run's seed.
        seed: u64,
    },
}

/// The scenarios of a run, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// First to last.
    pub scenarios: Vec<&'static Scenario>,
}

impl Plan {
    /// Out of `catalogue` (sorted, see [`crate::catalogue`]), what is wanted.
    pub fn new(catalogue: &[&'static Scenario], selection: &Selection, order: Order) -> Self {
        let mut scenarios: Vec<&'static Scenario> = catalogue
            .iter()
            .copied()
            .filter(|scenario| selection.wants(scenario))
            .collect();
        if let Order::Shuffled { seed } = order {
            scenarios.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        Plan { scenarios }
    }

    /// As events show it.
    pub fn units(&self) -> Vec<PlannedUnit> {
        self.scenarios
            .iter()
            .map(|scenario| PlannedUnit::from(*scenario))
            .collect()
    }
}

impl From<&Scenario> for PlannedUnit {
    fn from(scenario: &Scenario) -> Self {
        PlannedUnit {
            id: scenario.id.to_owned(),
            name: scenario.name.to_owned(),
            category: scenario.category,
            tags: scenario.tags.iter().map(|&tag| tag.to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{named, scenario};

    fn catalogue() -> Vec<&'static Scenario> {
        vec![
            scenario(
                "CMD-1",
                "get_status_answers",
                Category::Commands,
                &["smoke", "nightly"],
            ),
            scenario("CMD-1", "help_answers", Category::Commands, &["nightly"]),
            scenario(
                "CON-1",
                "device_connects",
                Category::Connectivity,
                &["smoke"],
            ),
            scenario("STAB-1", "memory_is_stable", Category::Stability, &["soak"]),
        ]
    }

    fn check(selection: Selection, expected: &[&str]) {
        let plan = Plan::new(&catalogue(), &selection, Order::Catalogue);
        assert_eq!(named(&plan.scenarios), expected, "{selection}");
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn selection() {
        check(
            Selection::default(),
            &[
                "get_status_answers",
                "help_answers",
                "device_connects",
                "memory_is_stable",
            ],
        );
        check(
            Selection {
                patterns: texts(&["cmd-1"]),
                ..Selection::default()
            },
            &["get_status_answers", "help_answers"],
        );
        check(
            Selection {
                patterns: texts(&["CON-1", "stable"]),
                ..Selection::default()
            },
            &["device_connects", "memory_is_stable"],
        );
        check(
            Selection {
                tags: texts(&["smoke"]),
                ..Selection::default()
            },
            &["get_status_answers", "device_connects"],
        );
        check(
            Selection {
                tags: texts(&["nightly"]),
                categories: vec![Category::Commands],
                names: texts(&["help"]),
                ..Selection::default()
            },
            &["help_answers"],
        );
        check(
            Selection {
                patterns: texts(&["CON"]),
                ..Selection::default()
            },
            &[],
        );
    }

    #[test]
    fn patterns_of_names() {
        for (pattern, name, expected) in [
            ("connects", "device_connects_now", true),
            ("device*", "device_connects_now", true),
            ("*now", "device_connects_now", true),
            ("device*now", "device_connects_now", true),
            ("dev*con*now", "device_connects_now", true),
            ("connects*", "device_connects_now", false),
            ("*connects", "device_connects_now", false),
            ("now*now", "now", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn misspelt_patterns_are_found() {
        let selection = Selection {
            patterns: texts(&["CON-1", "CON-9"]),
            tags: texts(&["smoke", "smok"]),
            names: texts(&["helpp"]),
            ..Selection::default()
        };
        assert_eq!(
            selection.unmatched(&catalogue()),
            ["CON-9", "helpp", "smok"]
        );
        assert_eq!(
            selection.to_string(),
            "CON-1 or CON-9 and tag smoke or smok and name helpp"
        );
    }

    #[test]
    fn the_seed_fixes_the_shuffled_order() {
        let catalogue = catalogue();
        let order = |seed| {
            let plan = Plan::new(&catalogue, &Selection::default(), Order::Shuffled { seed });
            named(&plan.scenarios)
        };
        assert_eq!(order(7), order(7));
        assert!(
            (0..20).any(|seed| order(seed) != order(7)),
            "no seed changes the order"
        );
    }
}
