//! The program while it runs. It ends with the test at the latest, whatever becomes of that.

#![allow(dead_code, reason = "each test uses its part of this")]

use std::io::BufRead;
use std::process::{Child, Command, Output};

/// A process of the program.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(Some(command.spawn().expect("the program runs")))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it has not been waited for")
    }

    /// As Ctrl-C in its terminal.
    pub(crate) fn interrupt(&mut self) {
        let status = Command::new("kill")
            .args(["-INT", &self.child().id().to_string()])
            .status()
            .expect("`kill` runs");
        assert!(status.success());
    }

    /// Waits for its end; what it said, as far as nobody else has taken the pipes.
    pub(crate) fn end(mut self) -> Output {
        let child = self.0.take().expect("it has not been waited for");
        child.wait_with_output().expect("its end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads lines up to one with `wanted` in it.
pub(crate) fn wait_for_line(lines: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        let read = lines.read_line(&mut line).expect("a line");
        assert_ne!(read, 0, "it ended before `{wanted}`");
    }
}
