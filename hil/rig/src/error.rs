//! What can be wrong with a rig, as pages for its author.

use std::{fmt, io, path::PathBuf};

use miette::{Diagnostic, NamedSource};

use crate::Problem;

/// Something its author must mend in a rig, or in how it was named.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RigError {
    /// The file can't be read.
    #[error("can't read rig file `{}`", path.display())]
    #[diagnostic(help("check that it is there and may be read"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory of rigs can't be read.
    #[error("can't list the rigs in `{}`", path.display())]
    #[diagnostic(help("run this inside the project, or name a rig file by its path"))]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has mistakes: all of them, each with its place.
    #[error("rig file `{}` has {}", path.display(), count(problems.len()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text; asterisks where a secret may stand.
        #[source_code]
        text: NamedSource<String>,
        /// The mistakes, in the order of the file; at least one.
        #[related]
        problems: Vec<Problem>,
    },
    /// There is no rig of that name.
    #[error("unknown rig `{name}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The rigs there are.
        known: Vec<String>,
        /// What to do.
        help: String,
    },
    /// Environment variables that the rig needs are not set.
    #[error("rig `{rig}` needs {}", Variables(missing))]
    #[diagnostic(help("set them in the environment; they don't belong in the rig file"))]
    Environment {
        /// The rig.
        rig: String,
        /// What is missing; at least one.
        missing: Vec<MissingVariable>,
    },
}

/// An environment variable that is not set, or can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingVariable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub purpose: &'static str,
    /// What is wrong with it: "not set", "too long".
    pub reason: String,
}

struct Variables<'v>(&'v [MissingVariable]);

impl fmt::Display for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let MissingVariable {
                name,
                purpose,
                reason,
            } = variable;
            write!(f, "{separator}`{name}` ({purpose}; {reason})")?;
        }
        Ok(())
    }
}

fn count(problems: usize) -> String {
    match problems {
        1 => "a mistake".into(),
        more => format!("{more} mistakes"),
    }
}
