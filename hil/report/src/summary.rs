//! `run.json`: what a run came to, for programs.

use std::fs;
use std::io;
use std::path::Path;

use hil_runner::{RecordError, RunSummary};

/// Writes the summary, whole or not at all.
///
/// # Errors
/// When the file can't be written.
pub fn write_summary(path: &Path, summary: &RunSummary) -> Result<(), RecordError> {
    let error = |source: io::Error| RecordError {
        path: path.to_owned(),
        source,
    };
    let mut text = serde_json::to_vec_pretty(summary).map_err(|cause| error(cause.into()))?;
    text.push(b'\n');
    let beside = path.with_extension("json.new");
    fs::write(&beside, text).map_err(error)?;
    fs::rename(&beside, path).map_err(error)
}
