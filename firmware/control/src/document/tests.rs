//! Tests of reading JSON: what is refused and where, what is read, and serde_json as the judge.

use alloc::{format, string::String, string::ToString, vec::Vec};

use proptest::prelude::*;

use super::*;

fn check(text: &str, position: usize, reason: Reason) {
    check_bytes(text.as_bytes(), position, reason);
}

fn check_bytes(bytes: &[u8], position: usize, reason: Reason) {
    assert_eq!(
        object(bytes),
        Err(JsonError { position, reason }),
        "{}",
        String::from_utf8_lossy(bytes)
    );
}

/// The value of member `v` in an object that has nothing else.
fn with_value<T>(text: &str, read: impl Fn(Value<'_>) -> T) -> T {
    let document = format!("{{\"v\":{text}}}");
    let members = object(document.as_bytes()).expect("a document");
    read(members.get("v").expect("there"))
}

#[test]
fn members_are_found_by_name_whatever_is_between() {
    let text = r#" { "a" : 1 , "b":[{"a":"}"},2], "c":{"a":"\"","d":null} ,"\u0065":true } "#;
    let members = object(text.as_bytes()).expect("good");
    assert!(matches!(members.get("a"), Some(Value::Number(n)) if n.whole() == Whole::Number(1)));
    assert_eq!(members.get("b"), Some(Value::List));
    let Some(Value::Object(inner)) = members.get("c") else {
        panic!("an object");
    };
    assert!(matches!(inner.get("a"), Some(Value::Text(t)) if t.is("\"")));
    assert_eq!(inner.get("d"), Some(Value::Null));
    assert_eq!(members.get("e"), Some(Value::Truth(true)));
    assert_eq!(members.get("d"), None);
    assert_eq!(members.iter().count(), 4);
    assert_eq!(Members::default().get("a"), None);
}

#[test]
fn an_empty_object_has_no_members() {
    assert_eq!(object(b" {\n} ").expect("good").iter().count(), 0);
}

#[test]
fn what_is_no_document_is_refused_where_it_breaks() {
    check("", 0, Reason::End);
    check("  ", 2, Reason::End);
    check("{", 1, Reason::End);
    check("{\"a\"", 4, Reason::End);
    check("{\"a\":", 5, Reason::End);
    check("{\"a\":1", 6, Reason::End);
    check("{\"a\":1,", 7, Reason::End);
    check("{\"a\":1,}", 7, Reason::Name);
    check("{,}", 1, Reason::Name);
    check("{a:1}", 1, Reason::Name);
    check("{\"a\" 1}", 5, Reason::Colon);
    check("{\"a\":1 \"b\"", 7, Reason::ObjectEnd);
    check("{\"a\":1]", 6, Reason::ObjectEnd);
    check("{\"a\":[1}", 7, Reason::ListEnd);
    check("{\"a\":[1,]}", 8, Reason::Value);
    check("{\"a\":tru}", 8, Reason::Value);
    check("{\"a\":undefined}", 5, Reason::Value);
    check("{'a':1}", 1, Reason::Name);
    check("{}{}", 2, Reason::Trailing);
    check("{} x", 3, Reason::Trailing);
    check(" [1]", 1, Reason::NoObject);
    check("\"a\"", 0, Reason::NoObject);
    check_bytes(b"\xef\xbb\xbf{}", 0, Reason::Value);
}

#[test]
fn strings_are_checked_to_the_last_escape() {
    check("{\"a\":\"\u{1}\"}", 6, Reason::Control);
    check("{\"a\":\"\n\"}", 6, Reason::Control);
    check(r#"{"a":"\x"}"#, 7, Reason::Escape);
    check(r#"{"a":"\u00g0"}"#, 10, Reason::Escape);
    check(r#"{"a":"\u00"#, 10, Reason::End);
    check(r#"{"a":"\"}"#, 9, Reason::End);
    check(r#"{"a":"\ud800"}"#, 6, Reason::Surrogate);
    check(r#"{"a":"\ud800\u0041"}"#, 6, Reason::Surrogate);
    check(r#"{"a":"\ud800\n"}"#, 6, Reason::Surrogate);
    check(r#"{"a":"\udc00"}"#, 6, Reason::Surrogate);
    check_bytes(b"{\"a\":\"b\xff\"}", 7, Reason::Utf8);
    check_bytes(b"{\"\xc3\":1}", 2, Reason::Utf8);
    check_bytes(b"{\"a\":\xff}", 5, Reason::Value);
}

#[test]
fn escapes_are_resolved() {
    for (text, expected) in [
        (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e4\u20AC""#, "ä€"),
        (r#""\ud83c\udf21!""#, "\u{1f321}!"),
        ("\"\"", ""),
        ("\"ä€\"", "ä€"),
    ] {
        with_value(text, |value| {
            let Value::Text(text) = value else {
                panic!("a text");
            };
            assert_eq!(text.to_string(), expected);
            assert!(text.is(expected));
            assert_eq!(text.copied::<16>().as_deref(), Some(expected));
        });
    }
    let too_long = with_value("\"abcd\"", |value| match value {
        Value::Text(text) => text.copied::<3>(),
        _ => panic!("a text"),
    });
    assert_eq!(too_long, None);
}

#[test]
fn numbers_are_written_as_rfc_8259_wants_them() {
    check(r#"{"a":01}"#, 6, Reason::Number);
    check(r#"{"a":-}"#, 6, Reason::Number);
    check(r#"{"a":1.}"#, 7, Reason::Number);
    check(r#"{"a":1e}"#, 7, Reason::Number);
    check(r#"{"a":1e+}"#, 8, Reason::Number);
    check(r#"{"a":.5}"#, 5, Reason::Value);
    check(r#"{"a":+5}"#, 5, Reason::Value);
    check(r#"{"a":0x5}"#, 6, Reason::ObjectEnd);
    check(r#"{"a":NaN}"#, 5, Reason::Value);
    check(r#"{"a":1.2.3}"#, 8, Reason::Number);
}

#[test]
fn numbers_are_exact_as_whole_ones_and_rounded_as_tenths() {
    let number = |text: &str| {
        with_value(text, |value| match value {
            Value::Number(number) => (number.whole(), number.tenths()),
            _ => panic!("a number"),
        })
    };
    for (text, whole, tenths) in [
        ("0", Whole::Number(0), Some(0)),
        ("-0", Whole::Number(0), Some(0)),
        ("42", Whole::Number(42), Some(420)),
        ("-42.0", Whole::Number(-42), Some(-420)),
        ("4.2e1", Whole::Number(42), Some(420)),
        ("420e-1", Whole::Number(42), Some(420)),
        ("0e999999999999999999999", Whole::Number(0), Some(0)),
        ("0.05", Whole::Fraction, Some(1)),
        ("-0.25", Whole::Fraction, Some(-3)),
        ("0.049999", Whole::Fraction, Some(0)),
        ("1e-30", Whole::Fraction, Some(0)),
        ("9e-999999999999999999999", Whole::Fraction, Some(0)),
        ("1e300", Whole::Beyond, None),
        ("1e999999999999999999999", Whole::Beyond, None),
        ("9223372036854775807", Whole::Number(i64::MAX), None),
        ("9223372036854775808", Whole::Beyond, None),
    ] {
        assert_eq!(number(text), (whole, tenths), "{text}");
    }
}

#[test]
fn nesting_is_followed_to_its_limit_and_no_deeper() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!("{{\"a\":{open}{close}}}")
    };
    assert!(object(nested(DEPTH_MAX).as_bytes()).is_ok());
    let deeper = nested(DEPTH_MAX + 1);
    check(&deeper, 5 + DEPTH_MAX - 1, Reason::Depth);
    check(&"{\"a\":".repeat(200), 5 * DEPTH_MAX, Reason::Depth);
}

#[test]
fn a_member_named_twice_is_refused_however_it_is_written() {
    check(r#"{"a":1,"b":2,"a":3}"#, 13, Reason::Duplicate);
    check(r#"{"a":1,"\u0061":3}"#, 7, Reason::Duplicate);
    check(r#"{"x":{"a":[],"a":{}}}"#, 13, Reason::Duplicate);
    check(r#"{"x":[{"a":1},{"a":1,"a":1}]}"#, 21, Reason::Duplicate);
    assert!(object(br#"{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}"#).is_ok());
}

/// JSON as a tree, for texts that hold every kind of value.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9).prop_map(|f: f64| serde_json::json!(f)),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(".{0,3}", inner, 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn agrees(value: Value<'_>, other: &serde_json::Value) -> bool {
    match (value, other) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Truth(ours), serde_json::Value::Bool(theirs)) => ours == *theirs,
        (Value::Number(ours), serde_json::Value::Number(theirs)) => {
            match (ours.whole(), theirs.as_i64()) {
                (Whole::Number(ours), Some(theirs)) => ours == theirs,
                (ours, None) => {
                    let number = theirs.as_f64().expect("a number");
                    let fraction = number % 1.0 != 0.0;
                    (ours == Whole::Fraction) == fraction
                }
                (_, Some(_)) => false,
            }
        }
        (Value::Text(ours), serde_json::Value::String(theirs)) => ours.is(theirs),
        (Value::List, serde_json::Value::Array(_)) => true,
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            ours.iter().count() == theirs.len()
                && theirs
                    .iter()
                    .all(|(name, value)| ours.get(name).is_some_and(|ours| agrees(ours, value)))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_document_is_read_as_serde_json_reads_it(members in proptest::collection::btree_map(".{0,5}", json(), 0..6), pretty: bool) {
        let tree = serde_json::Value::from_iter(members);
        let text = if pretty {
            serde_json::to_string_pretty(&tree).expect("JSON")
        } else {
            format!("{tree}")
        };
        let ours = object(text.as_bytes()).expect("a document");
        prop_assert!(agrees(Value::Object(ours), &tree), "{}", text);
    }

    #[test]
    fn what_is_accepted_serde_json_accepts_too(text in r#"[{}\[\]:,"a1e.\\u0d8\-+ tfn]{0,24}"#) {
        if object(text.as_bytes()).is_ok() {
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        }
    }

    #[test]
    fn a_document_with_one_byte_changed_never_panics(members in proptest::collection::btree_map(".{0,5}", json(), 1..6), at: prop::sample::Index, byte: u8) {
        let mut bytes: Vec<u8> = format!("{}", serde_json::Value::from_iter(members)).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(members) = object(&bytes) {
            for (name, value) in members.iter() {
                let _ = (name.copied::<8>(), format!("{value:?}"));
            }
        }
    }
}
