//! `run.json` and its like: what a run came to, for programs.

use std::fs;
use std::io;
use std::path::Path;

use hil_runner::RecordError;
use serde::Serialize;

/// Writes a summary as JSON, whole or not at all.
///
/// # Errors
/// When the file can't be written.
pub fn write_summary(path: &Path, summary: &impl Serialize) -> Result<(), RecordError> {
    let error = |source: io::Error| RecordError {
        path: path.to_owned(),
        source,
    };
    let mut text = serde_json::to_vec_pretty(summary).map_err(|cause| error(cause.into()))?;
    text.push(b'\n');
    let beside = path.with_extension("json.new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|cause| {
        // What was begun is of no use to anybody.
        let _ = fs::remove_file(&beside);
        error(cause)
    })
}
