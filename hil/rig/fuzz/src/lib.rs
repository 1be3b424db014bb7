//! What must hold whatever stands in a rig file. A function, so that the fuzz target and a test on the
//! host (`tests/foreign_bytes.rs`) run the same.

use std::path::Path;

use hil_rig::{Rig, RigError};
use miette::{GraphicalReportHandler, GraphicalTheme};

/// Reads `data` as a rig file; every mistake must have its place inside of it, and make a page.
///
/// # Panics
/// When a mistake points elsewhere.
pub fn rig_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let error = match Rig::parse(Path::new("rigs/attic.toml"), text) {
        Ok(rig) => {
            assert!(!rig.name.is_empty());
            // Missing variables are mistakes like others.
            match rig.resolve(|_| None) {
                Ok(_) => return,
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    if let RigError::Invalid { problems, .. } = &error {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(problem.offset() <= text.len(), "{problem}");
        }
    }
    let mut page = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .render_report(&mut page, &error)
        .expect("a page can be written");
}
