//! What must hold whatever stands in a recording. A function, so that the fuzz target and a test on the
//! host (`tests/foreign_bytes.rs`) run the same.

use std::path::Path;

use hil_report::{Junit, Recording, Style, TerminalText};
use quick_xml::events::Event;

/// Shows `data` as `hil replay` would, and makes JUnit of it.
///
/// # Panics
/// When what is shown could steer a terminal, or the XML is none.
pub fn recording(data: &[u8]) {
    let Ok(recording) = Recording::open(data) else {
        return;
    };
    let mut text = TerminalText::new(Style::Plain);
    let mut junit = Junit::new(Path::new("junit.xml"));
    for event in recording.map_while(Result::ok) {
        for line in text.event(&event) {
            assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        }
        junit.observe(&event);
    }
    let mut xml = vec![];
    junit.write(&mut xml).expect("memory takes everything");
    let xml = String::from_utf8(xml).expect("UTF-8");
    let mut reader = quick_xml::Reader::from_str(&xml);
    while !matches!(reader.read_event().expect("XML"), Event::Eof) {}
}
