//! Topic names and filters, checked before they go anywhere (MQTT 3.1.1 section 4.7).
//!
//! The specification allows more than is wise: spaces, empty levels, a slash at either end. Two parties that
//! disagree about one of these simply never hear each other, which is among the commonest reasons for a
//! silent device. So they are refused here, and the topic that was probably meant is suggested.

use std::fmt;

/// Longest topic in bytes: its length is a 16-bit number on the wire.
const BYTES_MAX: usize = 65_535;

/// A topic name messages are published to. No wildcards.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(String);

/// A topic filter subscriptions are made with. May hold the wildcards `+` and `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter(String);

/// What is wrong with a topic or filter, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a usable topic{}: {}{}", if *.is_filter { " filter" } else { "" }, list(.problems), hint(.suggestion))]
pub struct TopicError {
    /// What was given.
    pub given: String,
    /// Whether it was to be a filter.
    pub is_filter: bool,
    /// Everything that is wrong, in the order of the text.
    pub problems: Vec<Problem>,
    /// The corrected topic, when there is one.
    pub suggestion: Option<String>,
}

/// One thing that is wrong with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Nothing at all.
    Empty,
    /// It begins with `/`, which makes an empty first level.
    LeadingSlash,
    /// It ends with `/`, which makes an empty last level.
    TrailingSlash,
    /// Two slashes in a row, which make an empty level.
    EmptyLevel,
    /// A space, tab or line break.
    Whitespace,
    /// A control character or U+0000, which brokers may close the connection for.
    ControlCharacter,
    /// `+` or `#` in a name to publish to.
    WildcardInName,
    /// `+` or `#` beside other characters of its level.
    WildcardNotAlone,
    /// `#` before the last level.
    HashNotLast,
    /// It begins with `$`, which is the broker's own (section 4.7.2).
    BrokersOwn,
    /// Over 65,535 bytes.
    TooLong,
}

impl Topic {
    /// Checks a topic name.
    ///
    /// # Errors
    /// Everything that is wrong with it at once, with a corrected topic where there is one.
    pub fn new(topic: impl Into<String>) -> Result<Self, TopicError> {
        check(topic.into(), false).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Filter {
    /// Checks a topic filter.
    ///
    /// # Errors
    /// Everything that is wrong with it at once, with a corrected filter where there is one.
    pub fn new(filter: impl Into<String>) -> Result<Self, TopicError> {
        check(filter.into(), true).map(Self)
    }

    /// The filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether messages to `topic` match (section 4.7.1). A topic that begins with `$` is not matched by a
    /// wildcard in the first level (section 4.7.2).
    pub fn matches(&self, topic: &str) -> bool {
        let mut wanted = self.0.split('/');
        let mut levels = topic.split('/');
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        loop {
            match (wanted.next(), levels.next()) {
                (Some("#"), _) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl Filter {
    /// Whether there is a topic that both filters match.
    pub fn overlaps(&self, other: &Filter) -> bool {
        let starts_wild = |filter: &Filter| filter.0.starts_with(['+', '#']);
        let starts_own = |filter: &Filter| filter.0.starts_with('$');
        if starts_wild(self) && starts_own(other) || starts_own(self) && starts_wild(other) {
            return false;
        }
        let mut ours = self.0.split('/');
        let mut theirs = other.0.split('/');
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(our), Some(their)) if our == their => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl Problem {
    /// The problem in words.
    pub fn words(self) -> &'static str {
        match self {
            Problem::Empty => "it is empty",
            Problem::LeadingSlash => "it begins with `/`",
            Problem::TrailingSlash => "it ends with `/`",
            Problem::EmptyLevel => "it has an empty level (`//`)",
            Problem::Whitespace => "it holds a space",
            Problem::ControlCharacter => "it holds a control character",
            Problem::WildcardInName => "it holds a wildcard (`+` or `#`), which only filters may",
            Problem::WildcardNotAlone => "a wildcard is not alone in its level",
            Problem::HashNotLast => "`#` is not the last level",
            Problem::BrokersOwn => "it begins with `$`, which is the broker's own",
            Problem::TooLong => "it is over 65,535 bytes long",
        }
    }
}

fn list(problems: &[Problem]) -> String {
    let words: Vec<&str> = problems.iter().map(|problem| problem.words()).collect();
    words.join(", ")
}

fn hint(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(topic) => format!("; write `{topic}`"),
        None => String::new(),
    }
}

fn check(given: String, is_filter: bool) -> Result<String, TopicError> {
    let problems = problems(&given, is_filter);
    if problems.is_empty() {
        return Ok(given);
    }
    let suggestion = Some(mend(&given, is_filter)).filter(|mended| {
        !mended.is_empty() && *mended != given && self::problems(mended, is_filter).is_empty()
    });
    Err(TopicError {
        given,
        is_filter,
        problems,
        suggestion,
    })
}

fn problems(topic: &str, is_filter: bool) -> Vec<Problem> {
    if topic.is_empty() {
        return vec![Problem::Empty];
    }
    let inner = topic.strip_prefix('/').unwrap_or(topic);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let is_wildcard = |c: char| c == '+' || c == '#';
    let is_control = |c: char| c.is_control() && !c.is_whitespace();
    let levels: Vec<&str> = topic.split('/').collect();
    let crowded = |level: &&str| level.chars().count() > 1 && level.contains(is_wildcard);
    let before_last = &levels[..levels.len() - 1];
    let found = [
        (topic.starts_with('/'), Problem::LeadingSlash),
        (
            topic.len() > 1 && topic.ends_with('/'),
            Problem::TrailingSlash,
        ),
        (
            inner.is_empty() && topic.len() > 1
                || inner.split('/').any(str::is_empty) && !inner.is_empty(),
            Problem::EmptyLevel,
        ),
        (topic.contains(char::is_whitespace), Problem::Whitespace),
        (topic.contains(is_control), Problem::ControlCharacter),
        (
            !is_filter && topic.contains(is_wildcard),
            Problem::WildcardInName,
        ),
        (
            is_filter && levels.iter().any(crowded),
            Problem::WildcardNotAlone,
        ),
        (
            is_filter && before_last.contains(&"#"),
            Problem::HashNotLast,
        ),
        (!is_filter && topic.starts_with('$'), Problem::BrokersOwn),
        (topic.len() > BYTES_MAX, Problem::TooLong),
    ];
    let found = found.into_iter().filter(|(is_so, _)| *is_so);
    found.map(|(_, problem)| problem).collect()
}

/// What was probably meant: spaces inside a level become `_`, all else that is wrong goes.
fn mend(topic: &str, is_filter: bool) -> String {
    let mut levels = Vec::new();
    for level in topic.split('/') {
        let level = level.trim();
        let is_wildcard = level == "+" || level == "#";
        if is_filter && is_wildcard {
            levels.push(level.to_owned());
            if level == "#" {
                break;
            }
            continue;
        }
        let words: Vec<&str> = level.split_whitespace().collect();
        let mut level = words.join("_");
        level.retain(|c| !c.is_control() && c != '+' && c != '#');
        if !level.is_empty() {
            levels.push(level);
        }
    }
    let mended = levels.join("/");
    if is_filter {
        mended
    } else {
        mended.trim_start_matches('$').to_owned()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_name(topic: &str, expected: &str) {
        let said = Topic::new(topic).map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        assert_eq!(said, expected);
    }

    fn check_filter(filter: &str, expected: &str) {
        let said =
            Filter::new(filter).map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        assert_eq!(said, expected);
    }

    #[test]
    fn names() {
        check_name("plant/area1/line2/device01/telemetry", "fine");
        check_name("a", "fine");
        check_name("", "`` is not a usable topic: it is empty");
        check_name("/", "`/` is not a usable topic: it begins with `/`");
        check_name(
            "/plant/x",
            "`/plant/x` is not a usable topic: it begins with `/`; write `plant/x`",
        );
        check_name(
            "plant/x/",
            "`plant/x/` is not a usable topic: it ends with `/`; write `plant/x`",
        );
        check_name(
            "plant//x",
            "`plant//x` is not a usable topic: it has an empty level (`//`); write `plant/x`",
        );
        check_name(
            "plant/line 2/ x",
            "`plant/line 2/ x` is not a usable topic: it holds a space; write `plant/line_2/x`",
        );
        check_name(
            "/plant/ /x/",
            "`/plant/ /x/` is not a usable topic: it begins with `/`, it ends with `/`, it holds a space; \
             write `plant/x`",
        );
        check_name(
            "plant/+/x",
            "`plant/+/x` is not a usable topic: it holds a wildcard (`+` or `#`), which only filters may; \
             write `plant/x`",
        );
        check_name(
            "$SYS/x",
            "`$SYS/x` is not a usable topic: it begins with `$`, which is the broker's own; write `SYS/x`",
        );
        check_name(
            "a\u{0}b",
            "`a\u{0}b` is not a usable topic: it holds a control character; write `ab`",
        );
        assert_eq!(
            Topic::new("x".repeat(65_536)).unwrap_err().problems,
            [Problem::TooLong]
        );
    }

    #[test]
    fn filters() {
        for fine in ["#", "+", "a/#", "a/+/b", "+/+/#", "$SYS/#", "a/b"] {
            check_filter(fine, "fine");
        }
        check_filter(
            "a/b#",
            "`a/b#` is not a usable topic filter: a wildcard is not alone in its level; write `a/b`",
        );
        check_filter(
            "a/#/b",
            "`a/#/b` is not a usable topic filter: `#` is not the last level; write `a/#`",
        );
        check_filter(
            "/a/+",
            "`/a/+` is not a usable topic filter: it begins with `/`; write `a/+`",
        );
    }

    #[test]
    fn filters_match_as_the_specification_says() {
        let check = |filter: &str, topic: &str, expected: bool| {
            let matches = Filter::new(filter).unwrap().matches(topic);
            assert_eq!(matches, expected, "{filter} on {topic}");
        };
        // The examples of section 4.7.1.
        check("sport/tennis/player1/#", "sport/tennis/player1", true);
        check(
            "sport/tennis/player1/#",
            "sport/tennis/player1/ranking",
            true,
        );
        check("sport/#", "sport", true);
        check("sport/tennis/+", "sport/tennis/player1", true);
        check("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check("sport/+", "sport", false);
        check("sport/+", "sport/", true);
        check("+/+", "/finance", true);
        check("+", "/finance", false);
        // And of section 4.7.2.
        check("#", "$SYS/monitor/clients", false);
        check("+/monitor/clients", "$SYS/monitor/clients", false);
        check("$SYS/#", "$SYS/monitor/clients", true);
        check("a/b", "a/b", true);
        check("a/b", "a/bc", false);
    }

    #[test]
    fn filters_overlap_when_a_topic_matches_both() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other) = (Filter::new(one).unwrap(), Filter::new(other).unwrap());
            assert_eq!(one.overlaps(&other), expected, "{one} and {other}");
            assert_eq!(other.overlaps(&one), expected, "{other} and {one}");
        };
        check("a/b", "a/b", true);
        check("a/b", "a/c", false);
        check("a/b", "a/b/c", false);
        check("a/+", "a/b", true);
        check("a/+", "+/b", true);
        check("a/+", "b/+", false);
        check("a/#", "a", true);
        check("a/#", "a/b/c", true);
        check("a/#", "b", false);
        check("#", "a/b", true);
        check("#", "$SYS/x", false);
        check("$SYS/#", "$SYS/x", true);
        check("+/x", "#", true);
    }

    proptest! {
        #[test]
        fn overlap_agrees_with_matching(
            one in "[ab+](/[ab+]){0,2}(/#)?",
            other in "[ab+](/[ab+]){0,2}(/#)?",
        ) {
            let (one, other) = (Filter::new(one).unwrap(), Filter::new(other).unwrap());
            let level = ["a", "b"];
            let mut topics: Vec<String> = level.map(str::to_owned).to_vec();
            let mut all = topics.clone();
            for _ in 0..4 {
                topics = (topics.iter())
                    .flat_map(|topic| level.map(|last| format!("{topic}/{last}")))
                    .collect();
                all.extend_from_slice(&topics);
            }
            let both = all.iter().any(|topic| one.matches(topic) && other.matches(topic));
            prop_assert_eq!(one.overlaps(&other), both);
        }

        #[test]
        fn a_suggestion_is_always_usable(given in "[ab/+#$ \t\u{0}]{0,12}") {
            for is_filter in [false, true] {
                if let Err(error) = check(given.clone(), is_filter)
                    && let Some(suggestion) = error.suggestion
                {
                    prop_assert!(check(suggestion, is_filter).is_ok());
                }
            }
        }

        #[test]
        fn a_topic_is_a_filter_that_matches_itself(topic in "[a-z]{1,4}(/[a-z]{1,4}){0,4}") {
            let topic = Topic::new(topic).unwrap();
            prop_assert!(Filter::new(topic.as_str()).unwrap().matches(topic.as_str()));
        }
    }
}
