//! Reads JSON (RFC 8259) in place: a whole document is checked once, then looked into by reference.
//!
//! Nothing is copied and nothing is allocated, so that no request can use up the heap; the price
//! is that a member is found by walking to it, which in a kilobyte costs microseconds. Stricter
//! than RFC 8259 where that leaves a choice: a member named twice is an error, as are surrogates
//! without their other half and nesting beyond [`DEPTH_MAX`].

mod number;
mod scanner;

use core::{fmt, iter, str::Chars};

pub use self::number::{Number, Whole};
use self::scanner::is_high_surrogate;

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
    let text = utf8_beginning(bytes);
    scanner::check(bytes, text.len())?;
    let begin = begin_of(bytes);
    match value_at(text, begin).0 {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError {
            position: begin,
            reason: Reason::NoObject,
        }),
    }
}

/// What can be read of a document that is cut or goes wrong: the members of its outermost object that
/// are whole before that.
#[must_use]
pub fn whole_members(bytes: &[u8]) -> Members<'_> {
    let text = utf8_beginning(bytes);
    let end = scanner::whole_members_end(bytes, text.len());
    Members(text.get(begin_of(bytes)..end).unwrap_or_default())
}

/// What is not UTF-8 ends the text; the scanner says so when it comes to there.
fn utf8_beginning(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Where the document's value begins.
fn begin_of(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !is_blank(*b)).unwrap_or(0)
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

/// An object of a checked document: its text, from brace to brace, or from the brace to the end of a
/// whole member; empty for no members.
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
                    0x1_0000 + ((unit & 0x3FF) << 10 | (self.unit() & 0x3FF))
                } else {
                    unit
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            same => same,
        })
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
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
        Some(b'-' | b'0'..=b'9') => Value::Number(Number::new(slice)),
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
mod tests;
