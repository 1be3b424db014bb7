//! A small schema language for JSON objects: required members, types, ranges, enumerations.
//!
//! The contract's messages are flat and few; each violation names the member by its path.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What a member must be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A moment in RFC 3339.
    Timestamp,
    /// A whole number within the range, both ends included.
    Integer(i64, i64),
    /// A number within the range, both ends included.
    Number(f64, f64),
    /// As [`Kind::Number`], or null.
    NumberOrNull(f64, f64),
    /// `true` or `false`.
    Truth,
    /// An object with these members.
    Object(&'static [Member]),
    /// A list of objects with these members.
    List(&'static [Member]),
    /// Any object.
    AnyObject,
}

/// One required member of an object. Members that are not named are allowed: contracts grow.
#[derive(Clone, Copy, Debug)]
pub struct Member(pub &'static str, pub Kind);

/// Every violation of `members` in `value`, each with the path of the member: `data.temp`.
#[must_use]
pub fn violations(value: &Value, members: &[Member], path: &str) -> Vec<String> {
    let Some(object) = value.as_object() else {
        return vec![format!("`{path}` is {}, not an object", type_name(value))];
    };
    members
        .iter()
        .flat_map(|Member(name, kind)| {
            let path = if path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{path}.{name}")
            };
            match object.get(*name) {
                Some(member) => member_violations(member, *kind, &path),
                None => vec![format!("`{path}` is missing")],
            }
        })
        .collect()
}

fn member_violations(value: &Value, kind: Kind, path: &str) -> Vec<String> {
    let wrong = |wanted: &str| vec![format!("`{path}` is {}, not {wanted}", shown(value))];
    match kind {
        Kind::Text if value.is_string() => Vec::new(),
        Kind::Text => wrong("text"),
        Kind::OneOf(texts) => match value.as_str() {
            Some(text) if texts.contains(&text) => Vec::new(),
            _ => wrong(&format!("one of `{}`", texts.join("`, `"))),
        },
        Kind::Timestamp => match value.as_str().map(|t| OffsetDateTime::parse(t, &Rfc3339)) {
            Some(Ok(_)) => Vec::new(),
            _ => wrong("a moment in RFC 3339"),
        },
        Kind::Integer(low, high) => match value.as_i64() {
            Some(number) if (low..=high).contains(&number) => Vec::new(),
            _ => wrong(&format!("a whole number from {low} to {high}")),
        },
        Kind::NumberOrNull(..) if value.is_null() => Vec::new(),
        Kind::Number(low, high) | Kind::NumberOrNull(low, high) => match value.as_f64() {
            Some(number) if (low..=high).contains(&number) => Vec::new(),
            _ => wrong(&format!("a number from {low} to {high}")),
        },
        Kind::Truth if value.is_boolean() => Vec::new(),
        Kind::Truth => wrong("true or false"),
        Kind::AnyObject if value.is_object() => Vec::new(),
        Kind::AnyObject => wrong("an object"),
        Kind::Object(members) => violations(value, members, path),
        Kind::List(members) => match value.as_array() {
            Some(items) => items
                .iter()
                .enumerate()
                .flat_map(|(index, item)| violations(item, members, &format!("{path}[{index}]")))
                .collect(),
            None => wrong("a list"),
        },
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as a message shows it: small ones whole, large ones by type.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => type_name(value).to_owned(),
        small => format!("`{small}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MEMBERS: &[Member] = &[
        Member("name", Kind::Text),
        Member("status", Kind::OneOf(&["OK", "ERROR"])),
        Member("at", Kind::Timestamp),
        Member("id", Kind::Integer(0, 59)),
        Member("temp", Kind::NumberOrNull(-50.0, 200.0)),
        Member("inner", Kind::Object(&[Member("yes", Kind::Truth)])),
        Member("list", Kind::List(&[Member("n", Kind::Number(0.0, 1.0))])),
        Member("any", Kind::AnyObject),
    ];

    fn good() -> Value {
        json!({
            "name": "a", "status": "OK", "at": "2026-11-23T18:00:00.5Z", "id": 59, "temp": null,
            "inner": {"yes": true}, "list": [{"n": 0.5}], "any": {}, "more": 1,
        })
    }

    fn check(member: &str, value: Value, expected: &str) {
        let mut message = good();
        message[member] = value;
        assert_eq!(violations(&message, MEMBERS, ""), [expected]);
    }

    #[test]
    fn a_message_that_keeps_the_schema_has_no_violations() {
        assert_eq!(violations(&good(), MEMBERS, ""), Vec::<String>::new());
    }

    #[test]
    fn each_violation_names_its_member() {
        check("name", json!(7), "`name` is `7`, not text");
        check(
            "status",
            json!("ok"),
            "`status` is `\"ok\"`, not one of `OK`, `ERROR`",
        );
        check(
            "at",
            json!("yesterday"),
            "`at` is `\"yesterday\"`, not a moment in RFC 3339",
        );
        check(
            "id",
            json!(60),
            "`id` is `60`, not a whole number from 0 to 59",
        );
        check(
            "id",
            json!(1.5),
            "`id` is `1.5`, not a whole number from 0 to 59",
        );
        check(
            "temp",
            json!(200.5),
            "`temp` is `200.5`, not a number from -50 to 200",
        );
        check("inner", json!({}), "`inner.yes` is missing");
        check("inner", json!([]), "`inner` is a list, not an object");
        check("list", json!([{"n": 0}, {}]), "`list[1].n` is missing");
        check("any", json!([1]), "`any` is a list, not an object");
    }

    #[test]
    fn all_violations_are_found_at_once() {
        assert_eq!(violations(&json!({}), MEMBERS, "data").len(), MEMBERS.len());
        assert_eq!(
            violations(&json!(3), MEMBERS, "data"),
            ["`data` is a number, not an object"]
        );
    }
}
