//! What was meant by what was typed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr};

use hil_runner::{Order, Plan, Scenario, Selection};

use crate::arguments::{OrderArguments, SelectionArguments};

/// The tag of what runs when nothing is selected.
pub(crate) const DEFAULT_TAG: &str = "smoke";

/// The tag of scenarios that break the device on purpose: run only when asked for by tag, ID or name.
const DRILL_TAG: &str = "drill";

/// What was selected; `smoke` if nothing was and not everything is wanted.
pub(crate) fn selection(arguments: &SelectionArguments, everything: bool) -> Selection {
    let mut selection = Selection {
        patterns: arguments.selection.clone(),
        categories: arguments.category.clone(),
        tags: arguments.tag.clone(),
        names: arguments.name.clone(),
    };
    if !everything && selection.is_everything() {
        selection.tags.push(DEFAULT_TAG.to_owned());
    }
    selection
}

/// The seed, drawn if not given, and the order.
pub(crate) fn order(arguments: &OrderArguments) -> (u64, Order) {
    let seed = arguments.seed.unwrap_or_else(draw_seed);
    match arguments.shuffle {
        true => (seed, Order::Shuffled { seed }),
        false => (seed, Order::Catalogue),
    }
}

/// Short enough to be typed: below a million.
fn draw_seed() -> u64 {
    // The standard library's hasher is keyed by the operating system's randomness.
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// The plan, or why there is none, in words.
pub(crate) fn plan(
    catalogue: &[&'static Scenario],
    selection: &Selection,
    order: Order,
) -> Result<Plan, String> {
    let plan = Plan::new(catalogue, selection, order);
    if !plan.scenarios.is_empty() {
        return Ok(plan);
    }
    let unmatched = selection.unmatched(catalogue);
    Err(match unmatched.is_empty() {
        true => format!("no scenario is {selection}"),
        false => format!("no scenario fits `{}`", unmatched.join("`, `")),
    })
}

/// What `selection` may run out of `catalogue`: no drills, unless they are asked for.
pub(crate) fn runnable(
    mut catalogue: Vec<&'static Scenario>,
    selection: &Selection,
) -> Vec<&'static Scenario> {
    let by_tag = selection.tags.iter().any(|tag| tag == DRILL_TAG);
    if !by_tag && selection.patterns.is_empty() && selection.names.is_empty() {
        catalogue.retain(|scenario| !scenario.tags.contains(&DRILL_TAG));
    }
    catalogue
}

/// `HOST:PORT`, `HOST` or `:PORT`, as (host, port). The port is 1883 by default.
pub(crate) fn broker(text: &str) -> Result<(String, u16), String> {
    let wrong = |what: &str| {
        format!("`{text}` is no broker: {what}; write `host:port`, such as `127.0.0.1:1883`")
    };
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address {
            SocketAddr::V4(address) => Ok((address.ip().to_string(), address.port())),
            SocketAddr::V6(_) => Err(wrong("the device speaks IPv4 only")),
        };
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "1883"));
    let host = match host {
        "" => Ipv4Addr::LOCALHOST.to_string(),
        host => host.to_owned(),
    };
    let good = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !good {
        return Err(wrong("the host is no name or IPv4 address"));
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(wrong("the port is no number from 1 to 65535")),
        Ok(port) => Ok((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers() {
        for (text, expected) in [
            ("127.0.0.1:1883", Ok(("127.0.0.1", 1883))),
            ("broker.local", Ok(("broker.local", 1883))),
            ("broker:8883", Ok(("broker", 8883))),
            (":1884", Ok(("127.0.0.1", 1884))),
            ("broker:0", Err("the port is no number")),
            ("broker:99999", Err("the port is no number")),
            ("broker:x", Err("the port is no number")),
            ("[::1]:1883", Err("IPv4 only")),
            ("mqtt://broker", Err("the port is no number")),
            ("bro ker", Err("no name or IPv4 address")),
        ] {
            match (broker(text), expected) {
                (Ok(actual), Ok((host, port))) => {
                    assert_eq!(actual, (host.to_owned(), port), "{text}")
                }
                (Err(actual), Err(says)) => assert!(actual.contains(says), "{text}: {actual}"),
                (actual, _) => panic!("{text}: {actual:?}"),
            }
        }
    }

    #[test]
    fn nothing_selected_means_smoke() {
        let arguments = |tags: &[&str]| SelectionArguments {
            selection: Vec::new(),
            category: Vec::new(),
            tag: tags.iter().map(|&tag| tag.to_owned()).collect(),
            name: Vec::new(),
        };
        assert_eq!(selection(&arguments(&[]), false).tags, ["smoke"]);
        assert_eq!(selection(&arguments(&["nightly"]), false).tags, ["nightly"]);
        assert!(selection(&arguments(&[]), true).is_everything());
    }

    #[test]
    fn drills_run_only_when_asked_for() {
        let has_drills = |selection: Selection| {
            let catalogue = runnable(crate::commands::scenarios(), &selection);
            let plan = plan(&catalogue, &selection, Order::Catalogue).expect("a plan");
            plan.scenarios
                .iter()
                .any(|scenario| scenario.id.starts_with("DRILL-"))
        };
        let list = |one: &str| vec![one.to_owned()];
        for (selection, expected) in [
            (Selection::default(), false),
            (
                Selection {
                    categories: vec![hil_runner::Category::Stability],
                    ..Selection::default()
                },
                false,
            ),
            (
                Selection {
                    tags: list("drill"),
                    ..Selection::default()
                },
                true,
            ),
            (
                Selection {
                    patterns: list("drill-1"),
                    ..Selection::default()
                },
                true,
            ),
            (
                Selection {
                    names: list("panic"),
                    ..Selection::default()
                },
                true,
            ),
        ] {
            assert_eq!(has_drills(selection.clone()), expected, "{selection}");
        }
    }

    #[test]
    fn seeds_are_drawn_anew_and_kept_when_given() {
        let given = OrderArguments {
            seed: Some(7),
            shuffle: true,
        };
        assert_eq!(order(&given), (7, Order::Shuffled { seed: 7 }));
        let drawn = OrderArguments {
            seed: None,
            shuffle: false,
        };
        assert!((0..8).any(|_| order(&drawn).0 != order(&drawn).0));
    }
}
