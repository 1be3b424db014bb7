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
