//! Whether this process has anything to do: all its other threads asleep.
//!
//! What the device sends travels through the host's sockets to a broker and on to whoever waits for it. When all of
//! these are threads of this process, and all of its threads sleep and go on sleeping, then nobody is about to answer.
//! That is known sooner, and for more certain, than after a fixed time.
//!
//! One look at threads that wake one another may find each asleep in turn. So two looks are compared: the kernel
//! counts how often each thread was given a processor, and where no count has changed, nobody was.
//!
//! Source: proc(5), `/proc/[pid]/task/[tid]/stat`, field 3; Linux, `Documentation/scheduler/sched-stats`, `schedstat`,
//! field 3. Where these are not to be had nobody is ever known to sleep.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often each thread was given a processor; `None` when one of them works.
type Sleepers = Option<BTreeMap<OsString, u64>>;

/// Looks at the other threads of this process, from the thread that made it.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// This thread's directory, which is left out; `None` where there is none.
    own: Option<PathBuf>,
    /// What the look before found.
    before: Sleepers,
}

impl Quiet {
    /// For the calling thread.
    pub(crate) fn new() -> Quiet {
        let own = fs::read_link("/proc/thread-self").ok();
        Quiet {
            own: own.map(|link| Path::new("/proc").join(link)),
            before: None,
        }
    }

    /// Looks; true when all other threads sleep, and have slept since the look before.
    pub(crate) fn look(&mut self) -> bool {
        let now = self.sleepers();
        let slept = now.is_some() && now == self.before;
        self.before = now;
        slept
    }

    /// Whatever was seen is of the past.
    pub(crate) fn forget(&mut self) {
        self.before = None;
    }

    fn sleepers(&self) -> Sleepers {
        let own = self.own.as_ref()?;
        let mut sleepers = BTreeMap::new();
        for task in fs::read_dir(own.parent()?).ok()? {
            let task = task.ok()?.path();
            if task == *own {
                continue;
            }
            match turns_of_sleeper(&task) {
                Ok(turns) => drop(sleepers.insert(task.file_name()?.to_owned(), turns?)),
                // It has ended meanwhile: the look before knew it, so this is another picture.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return None,
            }
        }
        Some(sleepers)
    }
}

/// How often the thread was given a processor; `None` when it has one, or waits for one.
fn turns_of_sleeper(task: &Path) -> io::Result<Option<u64>> {
    let turns = turns(&fs::read_to_string(task.join("schedstat"))?);
    // In this order: whoever got its turn after the count was read is awake, or slept and is counted next time.
    Ok(turns.filter(|_| fs::read(task.join("stat")).is_ok_and(|stat| sleeps(&stat))))
}

fn turns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(2)?.parse().ok()
}

/// Whether a thread sleeps until something wakes it. The name before the state may hold anything, parentheses too.
fn sleeps(stat: &[u8]) -> bool {
    let name_ends = stat.iter().rposition(|byte| *byte == b')');
    let state = name_ends.and_then(|at| stat.get(at + 2));
    state.is_some_and(|state| b"SZXxI".contains(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_behind_any_name() {
        let check = |stat: &str, expected| assert_eq!(sleeps(stat.as_bytes()), expected, "{stat}");
        check("12 (hil-probe) S 1 2 3", true);
        check("12 (hil-probe) R 1 2 3", false);
        check("12 (on disk) D 1 2 3", false);
        check("12 (odd) S (name) R 1 2 3", false);
        check("12 (ended) Z 1 2 3", true);
        check("12 (cut", false);
        check("12 (cut)", false);
        check("", false);
    }

    #[test]
    fn turns_are_the_third_number() {
        assert_eq!(turns("608186 1380420 2\n"), Some(2));
        assert_eq!(turns("608186 1380420"), None);
        assert_eq!(turns("0 0 many"), None);
    }
}
