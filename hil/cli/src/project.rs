//! Where the project is: the directory with `rigs/` in it, here or above.

use std::env;
use std::path::{Path, PathBuf};

use crate::stop::Stop;

/// The project that the working directory is in.
pub(crate) fn root() -> Result<PathBuf, Stop> {
    let here = env::current_dir()
        .map_err(|error| Stop::usage(format!("there is no working directory: {error}")))?;
    above(&here).ok_or_else(|| {
        Stop::with_help(
            hil_runner::ExitCode::Usage,
            format!(
                "`{}` is in no project: no directory `rigs` here or above",
                here.display()
            ),
            "change into the project, and try again",
        )
    })
}

fn above(here: &Path) -> Option<PathBuf> {
    here.ancestors()
        .find(|directory| directory.join("rigs").is_dir())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::above;

    #[test]
    fn the_nearest_rigs_count() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir_all(directory.path().join("rigs")).unwrap();
        assert_eq!(above(&inner).unwrap(), directory.path());
        std::fs::create_dir_all(directory.path().join("a/rigs")).unwrap();
        assert_eq!(above(&inner).unwrap(), directory.path().join("a"));
    }
}
