//! Where a run's output goes: `target/hil/<run-id>/`, and `latest`, which points to the newest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

/// The directory of one run.
#[derive(Debug)]
pub(crate) struct Output {
    /// Sorts by time, unique.
    pub(crate) run_id: String,
    /// The directory; it exists.
    pub(crate) directory: PathBuf,
    /// As people are told: `target/hil/latest/`.
    pub(crate) shown: String,
}

impl Output {
    /// A new directory below `base`.
    pub(crate) fn create(base: &Path, project: &Path, now: OffsetDateTime) -> io::Result<Output> {
        fs::create_dir_all(base)?;
        let (run_id, directory) = new_directory(base, now)?;
        let latest = base.join("latest");
        let shown = match point_to(&latest, &run_id) {
            Ok(()) => latest,
            // Without symbolic links the directory itself will do.
            Err(_) => directory.clone(),
        };
        let shown = format!(
            "{}/",
            shown.strip_prefix(project).unwrap_or(&shown).display()
        );
        Ok(Output {
            run_id,
            directory,
            shown,
        })
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// As [`Output::file`]; the file is made, empty, and only its owner can read it, where the system knows owners.
    pub(crate) fn private_file(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.file(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?;
        Ok(path)
    }
}

/// The first free name of this second: `20260101-120000`, `20260101-120000-2`, ...
fn new_directory(base: &Path, now: OffsetDateTime) -> io::Result<(String, PathBuf)> {
    let second = now
        .format(format_description!(
            "[year][month][day]-[hour][minute][second]"
        ))
        .map_err(io::Error::other)?;
    for number in 1_u32.. {
        let run_id = match number {
            1 => second.clone(),
            // Zeros, so that names sort by time also within a second.
            number => format!("{second}-{number:03}"),
        };
        let directory = base.join(&run_id);
        match fs::create_dir(&directory) {
            Ok(()) => return Ok((run_id, directory)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free name"))
}

/// Points `latest` to `run_id`, in one step for whoever looks at it.
#[cfg(unix)]
fn point_to(latest: &Path, run_id: &str) -> io::Result<()> {
    let beside = latest.with_file_name(format!(".latest-{run_id}"));
    std::os::unix::fs::symlink(run_id, &beside)?;
    fs::rename(&beside, latest).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(not(unix))]
fn point_to(_latest: &Path, _run_id: &str) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// The recording that `what` names: a file, a directory of a run, or a run's ID below `base`.
pub(crate) fn find_recording(what: &str, base: &Path) -> Option<PathBuf> {
    let given = PathBuf::from(what);
    [
        given.clone(),
        given.join("events.ndjson"),
        base.join(what).join("events.ndjson"),
    ]
    .into_iter()
    .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn runs_of_one_second_have_names_of_their_own_that_sort() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("target/hil");
        let now = datetime!(2026-01-02 03:04:05 UTC);
        let create = || Output::create(&base, directory.path(), now).unwrap();
        let runs = [create(), create(), create()];
        let ids: Vec<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "20260102-030405",
                "20260102-030405-002",
                "20260102-030405-003"
            ]
        );
        assert!(ids.is_sorted());
        assert!(runs.iter().all(|run| run.directory.is_dir()));
    }

    #[cfg(unix)]
    #[test]
    fn latest_points_to_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("target/hil");
        for now in [
            datetime!(2026-01-02 03:04:05 UTC),
            datetime!(2026-01-02 03:04:06 UTC),
        ] {
            let output = Output::create(&base, directory.path(), now).unwrap();
            assert_eq!(output.shown, "target/hil/latest/");
            assert_eq!(
                fs::read_link(base.join("latest")).unwrap(),
                Path::new(&output.run_id)
            );
            fs::write(output.file("events.ndjson"), "").unwrap();
            assert_eq!(
                find_recording("latest", &base),
                Some(base.join("latest/events.ndjson"))
            );
            assert_eq!(
                find_recording(&output.run_id, &base),
                Some(output.file("events.ndjson"))
            );
        }
        assert_eq!(find_recording("yesterday", &base), None);
        let names: Vec<_> = fs::read_dir(&base)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }
}
