//! The checker: one pass over bytes that nobody has checked.
//!
//! The only code that sees such bytes; whatever else looks into a document may rely on it.

use super::{DEPTH_MAX, JsonError, Reason, Value, is_blank, member_at, value_at};

/// Checks that `bytes` are one JSON value and nothing else; they are UTF-8 up to `utf8_until`, which
/// is their length when all are.
pub(super) fn check(bytes: &[u8], utf8_until: usize) -> Result<(), JsonError> {
    Scanner::new(bytes, utf8_until).document()
}

/// Where the last member of the outermost object ends that is whole before the document does or
/// goes wrong; 0 when there is none.
pub(super) fn whole_members_end(bytes: &[u8], utf8_until: usize) -> usize {
    let mut scanner = Scanner::new(bytes, utf8_until);
    // What is wrong, whoever asks this knows already.
    let _ = scanner.document();
    scanner.whole_until
}

struct Scanner<'d> {
    bytes: &'d [u8],
    at: usize,
    utf8_until: usize,
    /// See [`whole_members_end`].
    whole_until: usize,
}

impl<'d> Scanner<'d> {
    fn new(bytes: &'d [u8], utf8_until: usize) -> Self {
        Self {
            bytes,
            at: 0,
            utf8_until,
            whole_until: 0,
        }
    }

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
            if let [outermost] = open[..]
                && self.bytes[outermost] == b'{'
            {
                self.whole_until = self.at;
            }
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

pub(super) fn is_high_surrogate(unit: u32) -> bool {
    (0xD800..0xDC00).contains(&unit)
}

fn is_low_surrogate(unit: u32) -> bool {
    (0xDC00..0xE000).contains(&unit)
}
