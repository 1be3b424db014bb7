//! A virtual rig of a test's own, so that no test waits for another's lease; its reports are its own too.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::project;

/// `rigs/virtual.toml` under another name.
pub(crate) struct OwnRig {
    directory: tempfile::TempDir,
    /// Its file.
    pub(crate) file: PathBuf,
}

impl OwnRig {
    /// A rig called `name`, in whose file `changes` are made: what, for what.
    pub(crate) fn new(name: &str, changes: &[(&str, &str)]) -> OwnRig {
        let directory = tempfile::tempdir().expect("a directory");
        let text = std::fs::read_to_string(project().join("rigs/virtual.toml")).expect("the rig");
        let named = format!("name = \"{name}\"");
        let changes = [&[("name = \"virtual\"", &*named)], changes].concat();
        let text = changes.iter().fold(text, |text, (what, with)| {
            assert!(text.contains(what), "`{what}` is not in the rig file");
            text.replace(what, with)
        });
        let file = directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).expect("a file");
        OwnRig { directory, file }
    }

    /// `hil` with these arguments, in the project, on this rig.
    pub(crate) fn hil(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hil"));
        command
            .args(arguments)
            .arg("--rig")
            .arg(&self.file)
            .arg("--output")
            .arg(self.output())
            .current_dir(project())
            .env("NO_COLOR", "1");
        command
    }

    /// A file of the latest report.
    #[allow(
        dead_code,
        reason = "not every test that includes this looks at a report"
    )]
    pub(crate) fn report(&self, file: &str) -> PathBuf {
        self.output().join("latest").join(file)
    }

    fn output(&self) -> PathBuf {
        Path::new(self.directory.path()).join("out")
    }
}
