//! From a name or a path to a rig.

use std::{
    fs,
    path::{Path, PathBuf},
};

use miette::NamedSource;

use crate::{
    Rig, RigError, check,
    problem::{listed, suggestion, without_secrets},
};

impl Rig {
    /// Reads and checks the rig file at `path`.
    ///
    /// # Errors
    /// [`RigError::Read`], or [`RigError::Invalid`] with every mistake in it.
    pub fn load(path: &Path) -> Result<Self, RigError> {
        let text = fs::read_to_string(path).map_err(|source| RigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a rig file; `path` is what messages call it.
    ///
    /// # Errors
    /// [`RigError::Invalid`] with every mistake in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, RigError> {
        check::rig(path, text).map_err(|problems| RigError::Invalid {
            path: path.to_owned(),
            text: NamedSource::new(path.display().to_string(), without_secrets(text, &problems)),
            problems,
        })
    }

    /// The rig that `name_or_path` means: the file itself when it is a path (it holds a `/` or
    /// ends in `.toml`), else `rigs/<name>.toml` of the project.
    ///
    /// # Errors
    /// As [`Rig::load`]; [`RigError::Unknown`] with the names there are.
    pub fn find(name_or_path: &str, project_root: &Path) -> Result<Self, RigError> {
        let is_path = name_or_path.ends_with(".toml") || name_or_path.contains(['/', '\\']);
        if is_path {
            return Self::load(Path::new(name_or_path));
        }
        let path = file_of(name_or_path, project_root);
        if path.is_file() {
            return Self::load(&path);
        }
        let known = Self::list(project_root)?;
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = match (names.is_empty(), suggestion(name_or_path, &names)) {
            (true, _) => format!("there are none: write `rigs/{name_or_path}.toml`"),
            (_, Some(meant)) => format!("write `{meant}`; known rigs: {}", listed(&names)),
            (_, None) => format!("known rigs: {}", listed(&names)),
        };
        Err(RigError::Unknown {
            name: name_or_path.to_owned(),
            help,
            known,
        })
    }

    /// The names of the project's rigs, sorted: the files `rigs/*.toml`. They are not read, so
    /// that a broken one doesn't hide the others.
    ///
    /// # Errors
    /// [`RigError::List`] when there is no such directory.
    pub fn list(project_root: &Path) -> Result<Vec<String>, RigError> {
        let directory = project_root.join("rigs");
        let error = |source| RigError::List {
            path: directory.clone(),
            source,
        };
        let mut names = vec![];
        for entry in fs::read_dir(&directory).map_err(error)? {
            let path = entry.map_err(error)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
                && path.is_file()
            {
                names.extend(
                    path.file_stem()
                        .map(|name| name.to_string_lossy().into_owned()),
                );
            }
        }
        names.sort();
        Ok(names)
    }
}

fn file_of(name: &str, project_root: &Path) -> PathBuf {
    project_root.join("rigs").join(format!("{name}.toml"))
}
