//! What differs between two JSON values, by path: for comparing states of many members.

use serde_json::Value;

/// Every member that is not the same in both, with its path and both values: `points[3].name: "a", now "b"`.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(before, after, String::new(), &mut found);
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old
                .keys()
                .chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                compare(&before[name], &after[name], path, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(old, new, format!("{path}[{index}]"), found);
            }
        }
        _ if before == after => {}
        _ => found.push(format!("{path}: {before}, now {after}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: Value, after: Value, expected: &[&str]) {
        assert_eq!(differences(&before, &after), expected);
    }

    #[test]
    fn only_what_differs_is_named() {
        let state = json!({"a": [{"b": 1, "c": "x"}, 2], "d": null});
        check(state.clone(), state, &[]);
        check(
            json!({"a": [{"b": 1}, 2]}),
            json!({"a": [{"b": 3}, 2]}),
            &["a[0].b: 1, now 3"],
        );
        check(
            json!({"a": [1], "b": 1}),
            json!({"a": [1, 2], "c": 1}),
            &["a: [1], now [1,2]", "b: 1, now null", "c: null, now 1"],
        );
        check(json!(1), json!(2), &[": 1, now 2"]);
    }
}
