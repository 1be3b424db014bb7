//! Reads JSON (RFC 8259) in place: a whole document is checked once, then looked into by reference.
//!
//! Nothing is copied and nothing is allocated, so that no request can use up the heap; the price
//! is that a member is found by walking to it, which in a kilobyte costs microseconds. Stricter
//! than RFC 8259 where that leaves a choice: a member named twice is an error, as are surrogates
//! without their other half and nesting beyond [`DEPTH_MAX`].

use core::{fmt, iter, str::Chars};

/// How deep lists and objects may be nested, the outermost one counted.
pub const DEPTH_MAX: usize = 16;

/// Why bytes are not the JSON that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The first byte that can't be part of such a document, from 0; the length when it ends early.
    pub position: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a document at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The document ends before it is complete.
    End,
    /// Bytes that are not UTF-8.
    Utf8,
    /// No value begins like this.
    Value,
    /// A member begins with its name in double quotes.
    Name,
    /// A member's name is followed by a colon.
    Colon,
    /// A member is followed by a comma or the object's end.
    ObjectEnd,
    /// A list's value is followed by a comma or the list's end.
    ListEnd,
    /// A control character inside a text.
    Control,
    /// No escape is written like this.
    Escape,
    /// One half of a surrogate pair.
    Surrogate,
    /// A number is not written like this.
    Number,
    /// Nested deeper than [`DEPTH_MAX`].
    Depth,
    /// A member of this name is there already.
    Duplicate,
    /// Something follows the document.
    Trailing,
    /// The document is no object.
    NoObject,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "unexpected end",
            Self::Utf8 => "invalid UTF-8",
            Self::Value => "expected a value",
            Self::Name => "expected a member name in double quotes",
            Self::Colon => "expected `:`",
            Self::ObjectEnd => "expected `,` or `}`",
            Self::ListEnd => "expected `,` or `]`",
            Self::Control => "control character in a string",
            Self::Escape => "invalid escape",
            Self::Surrogate => "lone surrogate",
            Self::Number => "invalid number",
            Self::Depth => "nested too deep",
            Self::Duplicate => "duplicate member",
            Self::Trailing => "expected nothing more",
            Self::NoObject => "expected an object",
        })
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "JSON parse error at byte {}: {}",
            self.position, self.reason
        )
    }
}

/// Reads a document that is one object.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn object(bytes: &[u8]) -> Result<Members<'_>, JsonError> {
    // What is not UTF-8 ends the text; the scanner says so when it comes to there.
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let mut scanner = Scanner {
        bytes,
        at: 0,
        utf8_until: text.len(),
    };
    scanner.document()?;
    let begin = bytes.iter().position(|b| !is_blank(*b)).unwrap_or(0);
    match value_at(text, begin).0 {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError {
            position: begin,
            reason: Reason::NoObject,
        }),
    }
}

/// A value of a checked document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'d> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Truth(bool),
    /// A number.
    Number(Number<'d>),
    /// A string.
    Text(Text<'d>),
    /// A list; what is in it, nobody here asks.
    List,
    /// An object.
    Object(Members<'d>),
}

/// An object of a checked document: its text, from brace to brace; empty for no members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members<'d>(&'d str);

impl<'d> Members<'d> {
    /// The member of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'d>> {
        self.iter()
            .find(|(n, _)| n.is(name))
            .map(|(_, value)| value)
    }

    /// Every member, in order.
    pub fn iter(self) -> impl Iterator<Item = (Text<'d>, Value<'d>)> {
        let mut at = 1;
        iter::from_fn(move || {
            let (name, value, end) = member_at(self.0, at)?;
            at = end;
            Some((name, value))
        })
    }
}

/// A string of a checked document, as it is written there between its quotes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'d>(&'d str);

impl<'d> Text<'d> {
    /// Its characters, escapes resolved.
    pub fn chars(self) -> impl Iterator<Item = char> + 'd {
        Unescaped(self.0.chars())
    }

    /// Whether it says this.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        self.chars().eq(text.chars())
    }

    /// Whether it has no characters.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A copy, if it fits.
    #[must_use]
    pub fn copied<const N: usize>(self) -> Option<heapless::String<N>> {
        let mut copy = heapless::String::new();
        self.chars().try_for_each(|c| copy.push(c)).ok()?;
        Some(copy)
    }
}

impl PartialEq for Text<'_> {
    /// However it is written: `"\u0041"` is `"A"`.
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Text<'_> {}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.chars().try_for_each(|c| f.write_char(c))
    }
}

struct Unescaped<'d>(Chars<'d>);

impl Unescaped<'_> {
    fn unit(&mut self) -> u32 {
        (0..4).fold(0, |unit, _| {
            let digit = self.0.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
            unit << 4 | digit
        })
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let c = self.0.next()?;
        if c != '\\' {
            return Some(c);
        }
        Some(match self.0.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit();
                let code = if is_high_surrogate(unit) {
                    self.0.nth(1);
                    0x1_0000 + ((unit & 0x3FF) << 10 | self.unit() & 0x3FF)
                } else {
                    unit
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            same => same,
        })
    }
}

/// A number of a checked document, as it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'d>(&'d str);

/// What a number is when it is asked for as a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A whole number; `5.0` and `5e0` are 5.
    Number(i64),
    /// It has a fraction.
    Fraction,
    /// It has no fraction, and is beyond 64 bits.
    Beyond,
}

impl Number<'_> {
    /// As a whole number.
    #[must_use]
    pub fn whole(self) -> Whole {
        match self.scaled(0) {
            Some((number, true)) => Whole::Number(number),
            Some((_, false)) => Whole::Fraction,
            None => Whole::Beyond,
        }
    }

    /// In tenths, rounded to the nearest and halves away from zero; none beyond 64 bits.
    #[must_use]
    pub fn tenths(self) -> Option<i64> {
        self.scaled(1).map(|(number, _)| number)
    }

    /// The number times 10 to the power of `places`, rounded, and whether that is exact.
    fn scaled(self, places: i64) -> Option<(i64, bool)> {
        let (negative, unsigned) = match self.0.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.0),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // An exponent beyond 64 bits is as good as one of a million: the digits are under a thousand.
        let exponent = match exponent.parse::<i64>() {
            Ok(exponent) => exponent.clamp(-1_000_000, 1_000_000),
            Err(_) if exponent.starts_with('-') => -1_000_000,
            Err(_) => 1_000_000,
        };
        let kept = i64::try_from(whole.len()).ok()? + exponent + places;
        let mut number = 0_i64;
        let (mut exact, mut up, mut index) = (true, false, 0_i64);
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = i64::from(digit - b'0');
            if index < kept {
                number = number.checked_mul(10)?.checked_add(digit)?;
            } else {
                up |= index == kept && digit >= 5;
                exact &= digit == 0;
            }
            index += 1;
        }
        while index < kept && number != 0 {
            number = number.checked_mul(10)?;
            index += 1;
        }
        number = number.checked_add(i64::from(up))?;
        Some((if negative { -number } else { number }, exact))
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_high_surrogate(unit: u32) -> bool {
    (0xD800..0xDC00).contains(&unit)
}

fn is_low_surrogate(unit: u32) -> bool {
    (0xDC00..0xE000).contains(&unit)
}

/// The checker: the only code that reads bytes nobody has checked.
struct Scanner<'d> {
    bytes: &'d [u8],
    at: usize,
    /// Where the bytes stop to be UTF-8; their length when they don't.
    utf8_until: usize,
}

impl Scanner<'_> {
    /// One value, and nothing after it. Not recursive: whatever comes, the stack stays as it is.
    fn document(&mut self) -> Result<(), JsonError> {
        // Where each open list or object begins.
        let mut open = heapless::Vec::<usize, DEPTH_MAX>::new();
        loop {
            self.blanks();
            let begin = self.at;
            match self.peek() {
                None => return self.error(Reason::End),
                Some(opening @ (b'{' | b'[')) => {
                    if open.push(begin).is_err() {
                        return self.error(Reason::Depth);
                    }
                    self.at += 1;
                    self.blanks();
                    if opening == b'{' && self.peek() != Some(b'}') {
                        self.name(begin)?;
                        continue;
                    }
                    if opening == b'[' && self.peek() != Some(b']') {
                        continue;
                    }
                }
                Some(b'"') => self.text()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                Some(_) => return self.error(Reason::Value),
            }
            if self.after_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Closes what ends here; whether that was the document.
    fn after_value(
        &mut self,
        open: &mut heapless::Vec<usize, DEPTH_MAX>,
    ) -> Result<bool, JsonError> {
        loop {
            self.blanks();
            let Some(&begin) = open.last() else {
                return match self.peek() {
                    None => Ok(true),
                    Some(_) => self.error(Reason::Trailing),
                };
            };
            let in_object = self.bytes[begin] == b'{';
            match self.peek() {
                None => return self.error(Reason::End),
                Some(b',') => {
                    self.at += 1;
                    if in_object {
                        self.blanks();
                        self.name(begin)?;
                    }
                    return Ok(false);
                }
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                Some(_) if in_object => return self.error(Reason::ObjectEnd),
                Some(_) => return self.error(Reason::ListEnd),
            }
            self.at += 1;
            open.pop();
        }
    }

    /// A member's name and its colon, in the object that begins at `object`.
    fn name(&mut self, object: usize) -> Result<(), JsonError> {
        let begin = self.at;
        match self.peek() {
            Some(b'"') => self.text()?,
            Some(_) => return self.error(Reason::Name),
            None => return self.error(Reason::End),
        }
        if self.is_taken(object, begin) {
            return Err(JsonError {
                position: begin,
                reason: Reason::Duplicate,
            });
        }
        self.blanks();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return self.error(Reason::Colon),
            None => return self.error(Reason::End),
        }
        Ok(())
    }

    /// Whether the object that begins at `object` has the name at `begin` before that.
    fn is_taken(&self, object: usize, begin: usize) -> bool {
        // All checked so far, and UTF-8.
        let text = core::str::from_utf8(&self.bytes[..self.at]).unwrap_or_default();
        let Value::Text(name) = value_at(text, begin).0 else {
            return false;
        };
        let mut at = object + 1;
        while let Some((earlier, _, end)) = member_at(text, at) {
            if end > begin {
                return false;
            }
            if earlier == name {
                return true;
            }
            at = end;
        }
        false
    }

    fn text(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.error(Reason::End),
                Some(_) if self.at == self.utf8_until => return self.error(Reason::Utf8),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(byte) if byte < b' ' => return self.error(Reason::Control),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let begin = self.at;
        self.at += 1;
        match self.peek() {
            None => self.error(Reason::End),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let first = self.unit()?;
                let lone = Err(JsonError {
                    position: begin,
                    reason: Reason::Surrogate,
                });
                if is_low_surrogate(first) {
                    return lone;
                }
                if is_high_surrogate(first) {
                    if !self.bytes[self.at..].starts_with(b"\\u") {
                        return lone;
                    }
                    self.at += 1;
                    if !is_low_surrogate(self.unit()?) {
                        return lone;
                    }
                }
                Ok(())
            }
            Some(_) => self.error(Reason::Escape),
        }
    }

    /// The four digits after `u`.
    fn unit(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            match self.peek().map(|b| char::from(b).to_digit(16)) {
                None => return self.error(Reason::End),
                Some(None) => return self.error(Reason::Escape),
                Some(Some(digit)) => unit = unit << 4 | digit,
            }
            self.at += 1;
        }
        Ok(unit)
    }

    /// RFC 8259, section 6.
    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            Some(b'0'..=b'9' | b'.') => self.error(Reason::Number),
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'0'..=b'9') => {}
            Some(_) => return self.error(Reason::Number),
            None => return self.error(Reason::End),
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        for expected in word {
            match self.peek() {
                Some(byte) if byte == *expected => self.at += 1,
                Some(_) => return self.error(Reason::Value),
                None => return self.error(Reason::End),
            }
        }
        Ok(())
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error<T>(&self, reason: Reason) -> Result<T, JsonError> {
        Err(JsonError {
            position: self.at,
            reason,
        })
    }
}

/// The member that begins at or after `at`, and where what follows it begins; none at the end.
fn member_at(text: &str, at: usize) -> Option<(Text<'_>, Value<'_>, usize)> {
    let begin = skip(text, at, |b| is_blank(b) || b == b',');
    let (Value::Text(name), end) = value_at(text, begin) else {
        return None;
    };
    let begin = skip(text, end, |b| is_blank(b) || b == b':');
    let (value, end) = value_at(text, begin);
    Some((name, value, end))
}

/// The value that begins at `at` in a checked document, and its end.
fn value_at(text: &str, at: usize) -> (Value<'_>, usize) {
    let bytes = text.as_bytes();
    let end = end_of_value(bytes, at);
    let slice = text.get(at..end).unwrap_or_default();
    let value = match bytes.get(at) {
        Some(b'{') => Value::Object(Members(slice)),
        Some(b'[') => Value::List,
        Some(b'"') => Value::Text(Text(text.get(at + 1..end - 1).unwrap_or_default())),
        Some(b't') => Value::Truth(true),
        Some(b'f') => Value::Truth(false),
        Some(b'-' | b'0'..=b'9') => Value::Number(Number(slice)),
        _ => Value::Null,
    };
    (value, end)
}

fn end_of_value(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin;
    let mut depth = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|b| *b != b'"') {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
            }
            b',' | b':' if depth == 0 => return at,
            byte if depth == 0 && is_blank(*byte) => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 1;
        if depth == 0 {
            return at.min(bytes.len());
        }
    }
    at.min(bytes.len())
}

fn skip(text: &str, mut at: usize, skipped: impl Fn(u8) -> bool) -> usize {
    while text.as_bytes().get(at).copied().is_some_and(&skipped) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
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
        assert!(
            matches!(members.get("a"), Some(Value::Number(n)) if n.whole() == Whole::Number(1))
        );
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
}
