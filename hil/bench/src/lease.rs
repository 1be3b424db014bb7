//! A rig is used by one run at a time.
//!
//! On one host a lease is a file that the operating system locks: the lock ends with the process,
//! however that ends, so that nothing is left behind to clean up. The file says who has the rig, for
//! people. Other kinds of lease (a coordinator of a farm) are other implementations of [`Leases`].

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::BenchError;

/// Gives out leases.
pub trait Leases: Send + Sync {
    /// Takes the rig called `rig` for as long as what is returned lives. `purpose` is for people.
    ///
    /// # Errors
    /// [`BenchError::InUse`] with who has it, [`BenchError::Lease`] when that can't be known.
    fn take(&self, rig: &str, purpose: &str) -> Result<Box<dyn Lease>, BenchError>;
}

/// A rig that is taken; given back by dropping this.
pub trait Lease: fmt::Debug + Send + Sync {}

/// Who has a rig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What for.
    pub purpose: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({}", self.pid, self.purpose)?;
        let (hour, minute, second) = self.since.to_hms();
        let date = self.since.date();
        write!(f, ", since {date} {hour:02}:{minute:02}:{second:02} UTC)")
    }
}

/// Leases by files on this host: `<directory>/<rig>/lease`.
#[derive(Clone, Debug)]
pub struct FileLeases {
    directory: PathBuf,
}

impl FileLeases {
    /// Leases kept below `directory`, which is made when missing.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Who has the rig, if anybody.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn holder(&self, rig: &str) -> io::Result<Option<Holder>> {
        let mut file = match File::open(self.path(rig)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            // Nobody holds it; whatever it says is of a run that has ended.
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self, rig: &str) -> PathBuf {
        self.directory.join(rig).join("lease")
    }
}

impl Leases for FileLeases {
    fn take(&self, rig: &str, purpose: &str) -> Result<Box<dyn Lease>, BenchError> {
        let path = self.path(rig);
        let error = |source| BenchError::Lease {
            path: path.clone(),
            source,
        };
        let mut file = open(&path).map_err(error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BenchError::InUse {
                    rig: rig.to_owned(),
                    holder: read_holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        let holder = Holder {
            pid: std::process::id(),
            purpose: purpose.to_owned(),
            since: OffsetDateTime::now_utc(),
        };
        write_holder(&mut file, &holder).map_err(error)?;
        Ok(Box::new(FileLease { file }))
    }
}

/// Opens without truncating: the file may be another run's.
fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    let text = serde_json::to_vec(holder)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)?;
    file.flush()
}

/// What the file says; it may be half-written at this very moment.
fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or_else(|_| Holder {
        pid: 0,
        purpose: "just starting".into(),
        since: OffsetDateTime::now_utc(),
    })
}

#[derive(Debug)]
struct FileLease {
    file: File,
}

impl Lease for FileLease {}

impl Drop for FileLease {
    fn drop(&mut self) {
        // The file stays: removing it would let a third process lock a new one while a second one
        // still waits for this one.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> (tempfile::TempDir, FileLeases) {
        let directory = tempfile::tempdir().expect("a directory");
        let leases = FileLeases::new(directory.path());
        (directory, leases)
    }

    #[test]
    fn a_rig_is_taken_once() {
        let (_directory, leases) = leases();
        let lease = leases.take("attic", "first run").expect("free");
        let error = leases.take("attic", "second run").expect_err("taken");
        let BenchError::InUse { rig, holder } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (rig.as_str(), holder.purpose.as_str()),
            ("attic", "first run")
        );
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains("first run"), "{error}");
        leases.take("cellar", "another rig").expect("free");
        drop(lease);
        assert_eq!(leases.holder("attic").expect("readable"), None);
        leases.take("attic", "third run").expect("free again");
    }

    #[test]
    fn the_holder_can_be_asked_for() {
        let (_directory, leases) = leases();
        assert_eq!(leases.holder("attic").expect("no file"), None);
        let lease = leases.take("attic", "soak").expect("free");
        let holder = leases.holder("attic").expect("readable").expect("taken");
        assert_eq!(holder.purpose, "soak");
        drop(lease);
    }

    #[test]
    fn what_a_killed_run_left_does_not_block() {
        let (directory, leases) = leases();
        let path = directory.path().join("attic/lease");
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        // A run that was killed leaves its name, and the operating system has ended its lock.
        fs::write(
            &path,
            r#"{"pid":1,"purpose":"killed","since":"2026-01-01T00:00:00Z"}"#,
        )
        .expect("a file");
        leases.take("attic", "next run").expect("free");
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_told() {
        let (directory, _) = leases();
        let file = directory.path().join("file");
        fs::write(&file, "").expect("a file");
        let error = FileLeases::new(&file)
            .take("attic", "run")
            .expect_err("no directory");
        assert!(matches!(error, BenchError::Lease { .. }), "{error:?}");
    }
}
