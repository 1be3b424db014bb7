//! JUnit XML, as CI systems read it.
//!
//! Verdicts map to what the format has: fail and crash are `failure`, infra is `error`, blocked is
//! `skipped`. An attempt that was followed by another is a `flakyError` of the last one.
//! Source: <https://github.com/testmoapp/junitxml>, and Maven Surefire's schema for `flakyError`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hil_runner::{Category, Event, RecordError, Sink, UnitKey, Verdict, What};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Collects a run, and writes it when it has ended.
#[derive(Debug)]
pub struct Junit {
    path: PathBuf,
    product: String,
    rig: String,
    seed: u64,
    started_us: u64,
    categories: HashMap<String, Category>,
    cases: Vec<Case>,
    said: HashMap<UnitKey, String>,
}

#[derive(Debug)]
struct Case {
    unit: UnitKey,
    verdict: Verdict,
    took_us: u64,
    reason: String,
    details: String,
    retried: bool,
}

impl Junit {
    /// Will write to `path`.
    pub fn new(path: &Path) -> Self {
        Junit {
            path: path.to_owned(),
            product: String::new(),
            rig: String::new(),
            seed: 0,
            started_us: 0,
            categories: HashMap::new(),
            cases: Vec::new(),
            said: HashMap::new(),
        }
    }

    /// Takes one more event in.
    pub fn observe(&mut self, event: &Event) {
        match &event.what {
            What::RunStarted {
                product, rig, seed, ..
            } => {
                self.product.clone_from(product);
                self.rig.clone_from(rig);
                self.seed = *seed;
                self.started_us = event.stamp.wall_us;
            }
            What::Planned { units } => {
                self.categories
                    .extend(units.iter().map(|unit| (unit.name.clone(), unit.category)));
            }
            What::UnitFinished {
                verdict,
                took_us,
                reason,
                failure,
                crash,
                again,
                retried,
            } => {
                let Some(unit) = event.unit.clone() else {
                    return;
                };
                let mut details = String::new();
                if let Some(failure) = failure {
                    details.push_str(&format!(
                        "expected: {}\nobserved: {}\n",
                        failure.expected, failure.observed
                    ));
                    details.extend(failure.at.iter().map(|at| format!("at: {at}\n")));
                    details.extend(failure.notes.iter().map(|note| format!("note: {note}\n")));
                }
                for frame in crash.iter().flat_map(|crash| &crash.backtrace) {
                    let function = frame.function.as_deref().unwrap_or("?");
                    let at = frame.at.as_deref().unwrap_or("?");
                    details.push_str(&format!("{:#010x} {function} ({at})\n", frame.pc));
                }
                details.push_str(&format!("again: {again}\n"));
                self.cases.push(Case {
                    unit,
                    verdict: *verdict,
                    took_us: *took_us,
                    reason: reason.clone().unwrap_or_default(),
                    details,
                    retried: *retried,
                });
            }
            What::Measured {
                figure,
                value,
                unit_of_measure: unit,
            } => self.say(event, format!("{figure}: {value} {unit}\n")),
            What::Note { text } => self.say(event, format!("{text}\n")),
            _ => {}
        }
    }

    /// Figures and notes come before the end of their unit.
    fn say(&mut self, event: &Event, text: String) {
        if let Some(unit) = &event.unit {
            self.said.entry(unit.clone()).or_default().push_str(&text);
        }
    }

    /// The document.
    ///
    /// # Errors
    /// When `output` can't be written.
    pub fn write(&self, output: impl Write) -> io::Result<()> {
        let mut writer = Writer::new_with_indent(output, b' ', 2);
        writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let counts = self.counts();
        let timestamp = OffsetDateTime::from_unix_timestamp((self.started_us / 1_000_000) as i64)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_default();
        let suite = writer
            .create_element("testsuites")
            .with_attributes(counts.iter().map(|(name, value)| (*name, value.as_str())));
        suite.write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", format!("{} on {}", self.product, self.rig).as_str()))
                .with_attributes(counts.iter().map(|(name, value)| (*name, value.as_str())))
                .with_attribute(("timestamp", timestamp.as_str()))
                .write_inner_content(|writer| self.write_cases(writer))?;
            Ok(())
        })?;
        writer.into_inner().write_all(b"\n")
    }

    fn counts(&self) -> [(&'static str, String); 5] {
        let last = || self.cases.iter().filter(|case| !case.retried);
        let count = |verdicts: &[Verdict]| {
            last()
                .filter(|case| verdicts.contains(&case.verdict))
                .count()
                .to_string()
        };
        let time: u64 = self.cases.iter().map(|case| case.took_us).sum();
        [
            ("tests", last().count().to_string()),
            ("failures", count(&[Verdict::Fail, Verdict::Crash])),
            ("errors", count(&[Verdict::Infra])),
            ("skipped", count(&[Verdict::Blocked])),
            ("time", seconds(time)),
        ]
    }

    fn write_cases<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        writer
            .create_element("properties")
            .write_inner_content(|writer| {
                writer
                    .create_element("property")
                    .with_attribute(("name", "seed"))
                    .with_attribute(("value", self.seed.to_string().as_str()))
                    .write_empty()?;
                Ok(())
            })?;
        for case in self.cases.iter().filter(|case| !case.retried) {
            let category = self
                .categories
                .get(&case.unit.name)
                .map_or("run", |category| category.name());
            writer
                .create_element("testcase")
                .with_attribute(("classname", format!("{}.{category}", self.product).as_str()))
                .with_attribute((
                    "name",
                    format!("{} {}", case.unit.id, case.unit.name).as_str(),
                ))
                .with_attribute(("time", seconds(case.took_us).as_str()))
                .write_inner_content(|writer| self.write_case(writer, case))?;
        }
        Ok(())
    }

    fn write_case<W: Write>(&self, writer: &mut Writer<W>, case: &Case) -> io::Result<()> {
        let element = match case.verdict {
            Verdict::Pass => None,
            Verdict::Fail | Verdict::Crash => Some("failure"),
            Verdict::Infra => Some("error"),
            Verdict::Blocked => Some("skipped"),
        };
        if let Some(element) = element {
            write_reason(writer, element, case)?;
        }
        let earlier = self.cases.iter().filter(|other| {
            other.retried && other.unit.id == case.unit.id && other.unit.name == case.unit.name
        });
        for attempt in earlier {
            write_reason(writer, "flakyError", attempt)?;
        }
        if let Some(said) = self.said.get(&case.unit) {
            writer
                .create_element("system-out")
                .write_text_content(BytesText::new(&printable(said)))?;
        }
        Ok(())
    }
}

fn write_reason<W: Write>(writer: &mut Writer<W>, element: &str, case: &Case) -> io::Result<()> {
    let element = writer
        .create_element(element)
        .with_attribute(("message", printable(&case.reason).as_str()))
        .with_attribute(("type", case.verdict.name().to_lowercase().as_str()));
    match case.verdict {
        Verdict::Blocked => element.write_empty()?,
        _ => element.write_text_content(BytesText::new(&printable(&case.details)))?,
    };
    Ok(())
}

fn seconds(micros: u64) -> String {
    format!("{:.3}", micros as f64 / 1e6)
}

/// What XML 1.0 can't hold, even escaped (section 2.2), is replaced: a device may say anything.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

impl Sink for Junit {
    fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        self.observe(event);
        if !matches!(event.what, What::RunFinished { .. }) {
            return Ok(());
        }
        let written = File::create(&self.path).and_then(|file| {
            let mut output = BufWriter::new(file);
            self.write(&mut output)?;
            output.flush()
        });
        written.map_err(|source| RecordError {
            path: self.path.clone(),
            source,
        })
    }
}
