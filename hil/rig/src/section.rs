//! A table of a TOML document, read key by key, that remembers what was asked of it.
//!
//! Every reader takes what it wants by name and type, a mistake goes to [`Problems`] and reading
//! goes on, so that one pass finds all mistakes. What nobody asked for in the end is an unknown
//! key, and the keys that were asked for are the known ones to suggest.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::problem::{Problem, Problems, listed, suggestion};

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// One table of the file.
pub(crate) struct Section<'t, 'i> {
    /// As in the file: `[probe]`, or "the rig file" for the root.
    title: String,
    table: &'t DeTable<'i>,
    /// Where the table begins, for keys that are missing.
    span: Range<usize>,
    asked: Vec<&'static str>,
    /// Keys that are needed and not there. Reported at the end, because an unknown key may turn
    /// out to be one of them, misspelt: then that one report is enough.
    missing: Vec<(&'static str, Problem)>,
}

impl<'t, 'i> Section<'t, 'i> {
    pub(crate) fn root(table: &'t DeTable<'i>, length: usize) -> Self {
        Self {
            title: "the rig file".into(),
            table,
            span: length..length,
            asked: vec![],
            missing: vec![],
        }
    }

    /// Where a missing key is reported.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn entry(&mut self, key: &'static str) -> Option<(&'t Spanned<DeValue<'i>>, Range<usize>)> {
        self.asked.push(key);
        let (_, value) = self
            .table
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some((value, value.span()))
    }

    fn missing(&mut self, key: &'static str, example: &str) {
        let problem = Problem::new(
            format!("{} has no `{key}`", self.title),
            self.span.clone(),
            "needed here",
        )
        .help(format!("write `{key} = {example}`"));
        self.missing.push((key, problem));
    }

    /// The table `key` below this one.
    pub(crate) fn table(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
    ) -> Option<Section<'t, 'i>> {
        let (value, span) = self.entry(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                title: format!("`[{key}]`"),
                table,
                span,
                asked: vec![],
                missing: vec![],
            }),
            other => {
                wrong_type(key, "a table", other, span)
                    .help(format!("begin a table with `[{key}]`"))
                    .report(problems);
                None
            }
        }
    }

    /// As [`Self::table`], for one that must be there.
    pub(crate) fn needed_table(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
        purpose: &str,
    ) -> Option<Section<'t, 'i>> {
        if !self.table.iter().any(|(k, _)| k.get_ref().as_ref() == key) {
            self.asked.push(key);
            let problem = Problem::new(
                format!("{} has no table `[{key}]`", self.title),
                self.span.clone(),
                "the file ends without it",
            )
            .help(format!("add `[{key}]`: {purpose}"));
            self.missing.push((key, problem));
            return None;
        }
        self.table(problems, key)
    }

    pub(crate) fn text(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
    ) -> Option<Placed<String>> {
        let (value, span) = self.entry(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Placed {
                value: text.to_string(),
                span,
            }),
            other => {
                wrong_type(key, "a string", other, span).report(problems);
                None
            }
        }
    }

    pub(crate) fn needed_text(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
        example: &str,
    ) -> Option<Placed<String>> {
        if self.has(key) {
            return self.text(problems, key);
        }
        self.asked.push(key);
        self.missing(key, &format!("\"{example}\""));
        None
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(k, _)| k.get_ref().as_ref() == key)
    }

    pub(crate) fn flag(&mut self, problems: &mut Problems, key: &'static str) -> Option<bool> {
        self.placed_flag(problems, key).map(|flag| flag.value)
    }

    pub(crate) fn placed_flag(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
    ) -> Option<Placed<bool>> {
        let (value, span) = self.entry(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(Placed { value: *flag, span }),
            other => {
                wrong_type(key, "`true` or `false`", other, span).report(problems);
                None
            }
        }
    }

    /// An integer within `range`.
    pub(crate) fn integer<T: TryFrom<i64>>(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Placed<T>> {
        let (value, span) = self.entry(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            wrong_type(key, "an integer", value.get_ref(), span).report(problems);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(Placed {
                value: T::try_from(number).ok()?,
                span,
            }),
            None => {
                out_of_range(problems, key, integer, range.start(), range.end(), span);
                None
            }
        }
    }

    /// An integer or a float within `range`.
    pub(crate) fn number(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let (value, span) = self.entry(key)?;
        let shown = match value.get_ref() {
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            other => {
                wrong_type(key, "a number", other, span).report(problems);
                return None;
            }
        };
        let number = shown.parse::<f64>().ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            out_of_range(problems, key, &shown, range.start(), range.end(), span);
        }
        number
    }

    /// The elements of an array.
    pub(crate) fn array(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
    ) -> Option<Placed<Vec<Placed<&'t DeValue<'i>>>>> {
        let (value, span) = self.entry(key)?;
        match value.get_ref() {
            DeValue::Array(array) => {
                let elements = array.iter().map(|element| Placed {
                    value: element.get_ref(),
                    span: element.span(),
                });
                Some(Placed {
                    value: elements.collect(),
                    span,
                })
            }
            other => {
                wrong_type(key, "an array", other, span).report(problems);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        problems: &mut Problems,
        key: &'static str,
        known: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let text = self.needed_text(problems, key, names[0])?;
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text.value) {
            return Some(*value);
        }
        let problem = Problem::new(
            format!("unknown {key} `{}` in {}", text.value, self.title),
            text.span,
            format!("known: {}", listed(&names)),
        );
        let help = match suggestion(&text.value, &names) {
            Some(name) => format!("write `{name}`"),
            None => "write one of the known ones".into(),
        };
        problems.push(problem.help(help));
        None
    }

    /// Reports every key that nobody asked for, and every one that is missing. `elsewhere` are
    /// keys that belong to another kind of this table, with that kind.
    pub(crate) fn finish(mut self, problems: &mut Problems, elsewhere: &[(&str, &str)]) {
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let what = match value.get_ref() {
                DeValue::Table(_) => "table",
                _ => "key",
            };
            let problem = Problem::new(
                format!("unknown {what} `{name}` in {}", self.title),
                key.span(),
                format!("known: {}", listed(&self.asked)),
            );
            let help = if let Some((_, kind)) = elsewhere.iter().find(|(key, _)| *key == name) {
                format!("remove it: it belongs to {kind}")
            } else if let Some(meant) = self.meant(name) {
                format!("write `{meant}`")
            } else {
                "remove it, or write one of the known ones".into()
            };
            problems.push(problem.help(help));
        }
        self.report_missing(problems);
    }

    /// As [`Self::finish`] when it is not known which keys belong here: only what is missing is
    /// reported, and what was probably meant to be it.
    pub(crate) fn abandon(mut self, problems: &mut Problems) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            let missing: Vec<&str> = self.missing.iter().map(|(key, _)| *key).collect();
            if self.asked.contains(&name) || suggestion(name, &missing).is_none() {
                continue;
            }
            if let Some(meant) = self.meant(name) {
                let what = format!("unknown key `{name}` in {}", self.title);
                problems.push(
                    Problem::new(what, key.span(), format!("`{meant}` is needed"))
                        .help(format!("write `{meant}`")),
                );
            }
        }
        self.report_missing(problems);
    }

    /// The known key that `name` was probably meant to be; a missing one is then no longer missed.
    fn meant(&mut self, name: &str) -> Option<&'static str> {
        let meant = suggestion(name, &self.asked)?;
        self.missing.retain(|(key, _)| *key != meant);
        Some(meant)
    }

    fn report_missing(self, problems: &mut Problems) {
        for (_, problem) in self.missing {
            problems.push(problem);
        }
    }
}

fn wrong_type(key: &str, expected: &str, found: &DeValue<'_>, span: Range<usize>) -> Problem {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Problem::new(
        format!("`{key}` is {found}"),
        span,
        format!("{expected} is needed"),
    )
}

fn out_of_range(
    problems: &mut Problems,
    key: &str,
    value: impl std::fmt::Display,
    low: impl std::fmt::Display,
    high: impl std::fmt::Display,
    span: Range<usize>,
) {
    problems.push(Problem::new(
        format!("`{key}` is out of range: `{value}`"),
        span,
        format!("{low} to {high}"),
    ));
}

impl Problem {
    fn report(self, problems: &mut Problems) {
        problems.push(self);
    }
}
