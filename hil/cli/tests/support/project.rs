//! This project, for tests that run the program in it.

use std::path::{Path, PathBuf};

/// Its root.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project")
}
