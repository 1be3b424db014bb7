//! Whether this process has anything to do: all its other threads asleep.
//!
//! What the device sends travels through the host's sockets to a broker and on to whoever waits for it. When all of
//! these are threads of this process, and all of its threads sleep, then nobody is about to answer: each was woken
//! in the moment its bytes came, and went back to sleep when it had seen to them. That is known sooner, and for more
//! certain, than after a fixed time.
//!
//! Source: proc(5), `/proc/[pid]/task/[tid]/stat`, field 3. Elsewhere than on Linux nobody is ever known to sleep.

use std::fs;
use std::path::PathBuf;

/// Looks at the other threads of this process, from the thread that made it.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// This thread's directory, which is left out; `None` where there is none.
    own: Option<PathBuf>,
    /// The last look found all asleep.
    once: bool,
}

impl Quiet {
    /// For the calling thread.
    pub(crate) fn new() -> Quiet {
        let own = fs::read_link("/proc/thread-self").ok();
        Quiet {
            own: own.map(|link| PathBuf::from("/proc").join(link)),
            once: false,
        }
    }

    /// Looks; true when all other threads sleep and did at the look before. Twice, because what the kernel has not
    /// delivered yet wakes nobody.
    pub(crate) fn look(&mut self) -> bool {
        let now = self.all_sleep();
        let before = std::mem::replace(&mut self.once, now);
        before && self.once
    }

    /// Whatever was seen is of the past.
    pub(crate) fn forget(&mut self) {
        self.once = false;
    }

    fn all_sleep(&self) -> bool {
        let Some(own) = &self.own else { return false };
        let Some(tasks) = own.parent().and_then(|tasks| fs::read_dir(tasks).ok()) else {
            return false;
        };
        tasks.flatten().all(|task| {
            let task = task.path();
            // One that has ended meanwhile does nothing more.
            task == *own || fs::read(task.join("stat")).map_or(true, |stat| sleeps(&stat))
        })
    }
}

/// Whether a thread sleeps until something wakes it. The name before the state may hold anything, parentheses too.
fn sleeps(stat: &[u8]) -> bool {
    let name_ends = stat.iter().rposition(|byte| *byte == b')');
    let state = name_ends.and_then(|at| stat.get(at + 2));
    state.is_some_and(|state| b"SZXxIt".contains(state))
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
}
