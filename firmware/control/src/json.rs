//! Writes JSON into anything that takes text, without allocating.
//!
//! A telemetry message is built in one buffer of [`crate::MESSAGE_BYTES_MAX`]; a value tree on the
//! heap would cost three times that.

use core::fmt::{self, Display, Write};

/// An object that is being written. [`Object::end`] closes it.
pub struct Object<'w> {
    out: &'w mut dyn Write,
    empty: bool,
}

impl<'w> Object<'w> {
    /// Opens an object.
    ///
    /// # Errors
    /// What `out` says: it is full.
    pub fn begin(out: &'w mut dyn Write) -> Result<Self, fmt::Error> {
        out.write_char('{')?;
        Ok(Self { out, empty: true })
    }

    /// Closes the object.
    ///
    /// # Errors
    /// What the writer says.
    pub fn end(self) -> fmt::Result {
        self.out.write_char('}')
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        if !core::mem::take(&mut self.empty) {
            self.out.write_char(',')?;
        }
        write_text(self.out, &name)?;
        self.out.write_char(':')
    }

    /// A string; any text, escaped as RFC 8259 section 7 wants it.
    ///
    /// # Errors
    /// What the writer says.
    pub fn text(&mut self, name: &str, value: impl Display) -> fmt::Result {
        self.name(name)?;
        write_text(self.out, &value)
    }

    /// A number, as it displays.
    ///
    /// # Errors
    /// What the writer says.
    pub fn number(&mut self, name: &str, value: impl Display) -> fmt::Result {
        self.name(name)?;
        write!(self.out, "{value}")
    }

    /// A number, or `null`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn number_or_null(&mut self, name: &str, value: Option<impl Display>) -> fmt::Result {
        match value {
            Some(value) => self.number(name, value),
            None => self.number(name, "null"),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn truth(&mut self, name: &str, value: bool) -> fmt::Result {
        self.number(name, value)
    }

    /// An object, written by `fill`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn object(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut Object<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.name(name)?;
        let mut inner = Object::begin(self.out)?;
        fill(&mut inner)?;
        inner.end()
    }

    /// An array of objects, one for each of `items`, written by `fill`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T) -> fmt::Result,
    ) -> fmt::Result {
        self.name(name)?;
        self.out.write_char('[')?;
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.write_char(',')?;
            }
            let mut inner = Object::begin(self.out)?;
            fill(&mut inner, item)?;
            inner.end()?;
        }
        self.out.write_char(']')
    }
}

fn write_text(out: &mut dyn Write, text: &dyn Display) -> fmt::Result {
    out.write_char('"')?;
    write!(Escaping(out), "{text}")?;
    out.write_char('"')
}

/// Escapes what passes through it for the inside of a JSON string.
struct Escaping<'w>(&'w mut dyn Write);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What needs no escape goes on in one piece.
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_escaped) {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                // Short like these, so that no text grows by being read and written again.
                0x08 => self.0.write_str("\\b")?,
                0x0c => self.0.write_str("\\f")?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
    }
}

/// Whether JSON wants an escape for it (RFC 8259, section 7). All these are ASCII: no byte of another
/// character is taken for one.
fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn write(fill: impl FnOnce(&mut Object<'_>) -> fmt::Result) -> String {
        let mut out = String::new();
        let mut object = Object::begin(&mut out).expect("a String takes everything");
        fill(&mut object).expect("a String takes everything");
        object.end().expect("a String takes everything");
        out
    }

    #[test]
    fn values_are_written_in_order() {
        let text = write(|o| {
            o.text("name", "Point_0")?;
            o.number("n", 3)?;
            o.number_or_null("none", None::<u8>)?;
            o.truth("yes", true)?;
            o.object("inner", |_| Ok(()))?;
            o.objects("list", [1, 2], |o, n| o.number("n", n))
        });
        assert_eq!(
            text,
            r#"{"name":"Point_0","n":3,"none":null,"yes":true,"inner":{},"list":[{"n":1},{"n":2}]}"#
        );
    }

    /// Any characters, those that JSON escapes among them: a `String` of proptest has no control characters.
    fn any_text() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            any::<char>(),
            prop::char::range('\0', '\x1f'),
            prop::sample::select(&['"', '\\', '/', '\x7f', 'é'][..]),
        ];
        prop::collection::vec(character, 0..20).prop_map(|text| text.into_iter().collect())
    }

    #[test]
    fn escapes_are_as_short_as_they_can_be() {
        let text = write(|o| o.text("t", "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é"));
        assert_eq!(
            text,
            "{\"t\":\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}é\"}"
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_back(name in any_text(), value in any_text()) {
            let text = write(|o| o.text(&name, &value));
            let parsed: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            prop_assert_eq!(parsed[&name].as_str(), Some(value.as_str()));
        }
    }
}
