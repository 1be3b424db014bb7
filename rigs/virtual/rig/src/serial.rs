//! The serial line of the fixture board: a pseudo-terminal, which a host opens as it opens a real board's port.
//!
//! ```text
//!  host ── slave end ══ master end ──▶ reader thread ──▶ board (behind the machine's lock)
//!                                  ◀── writer thread ◀── channel ◀── whatever the board says, in order
//! ```
//! Bytes are handed to the board as soon as they are there; the chip pauses for them as it does for a probe, so that a
//! request is done at the chip time at which it came. For tests of whoever sits at the other end the line can be spoilt:
//! [`LineFault`].

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use serialport::{SerialPort, TTYPort};

use crate::shared::Shared;

/// How long a read blocks at most, so that the thread sees that it must end.
const READ_MAX: Duration = Duration::from_millis(50);

/// What is wrong with the line, for what is sent to the host from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// These bytes come first, once.
    Garbage(Vec<u8>),
    /// This many bytes are lost.
    Drop(usize),
    /// Nothing comes any more, as from a board that hangs.
    Silence,
    /// The line is sound again.
    None,
}

#[derive(Debug, Default)]
struct Faults {
    garbage: Vec<u8>,
    drop: usize,
    silent: bool,
}

/// The line and its threads. Dropping it ends both; the path is gone then, as with a cable that is pulled.
pub(crate) struct SerialLine {
    path: PathBuf,
    faults: Arc<Mutex<Faults>>,
    stop: Arc<AtomicBool>,
    /// Kept open, or the master's reads fail whenever no host has the port open.
    slave: Option<TTYPort>,
    threads: Vec<JoinHandle<()>>,
}

impl SerialLine {
    /// Opens a pseudo-terminal for `shared`'s board, whose words come through `words`.
    pub(crate) fn open(shared: &Arc<Shared>, words: Receiver<Vec<u8>>) -> io::Result<SerialLine> {
        let (mut master, slave) = TTYPort::pair()?;
        master.set_timeout(READ_MAX)?;
        let path = PathBuf::from(slave.name().unwrap_or_default());
        let writing = master.try_clone_native()?;
        let faults = Arc::<Mutex<Faults>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (shared, stop) = (shared.clone(), stop.clone());
            thread(&shared.serial.clone(), "in", move || {
                read(master, &shared, &stop)
            })?
        };
        let writer = {
            let (faults, stop) = (faults.clone(), stop.clone());
            thread(&shared.serial, "out", move || {
                write(writing, &words, &faults, &stop);
            })?
        };
        Ok(SerialLine {
            path,
            faults,
            stop,
            slave: Some(slave),
            threads: vec![reader, writer],
        })
    }

    /// What a host opens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_fault(&self, fault: LineFault) {
        let mut faults = self.faults.lock();
        match fault {
            LineFault::Garbage(bytes) => faults.garbage = bytes,
            LineFault::Drop(bytes) => faults.drop = bytes,
            LineFault::Silence => faults.silent = true,
            LineFault::None => *faults = Faults::default(),
        }
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.slave = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the fixture's serial line panicked");
            }
        }
    }
}

/// The way of the board's words to the line.
pub(crate) fn words() -> (Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    unbounded()
}

fn thread(
    serial: &str,
    which: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("fixture-{which} {serial}"))
        .spawn(work)
}

fn read(mut master: TTYPort, shared: &Shared, stop: &AtomicBool) {
    let mut buffer = [0; 1_024];
    while !stop.load(Ordering::SeqCst) && !shared.is_stopped() {
        match master.read(&mut buffer) {
            Ok(length) => {
                let bytes = &buffer[..length];
                if shared
                    .operate(|machine| machine.board_receives(bytes))
                    .is_err()
                {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            // The port was closed; another host may open it.
            Err(_) => std::thread::sleep(READ_MAX),
        }
    }
}

fn write(
    mut master: TTYPort,
    words: &Receiver<Vec<u8>>,
    faults: &Mutex<Faults>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::SeqCst) {
        let mut bytes = match words.recv_timeout(READ_MAX) {
            Ok(bytes) => bytes,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => continue,
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
        };
        {
            let mut faults = faults.lock();
            if faults.silent {
                continue;
            }
            let lost = faults.drop.min(bytes.len());
            faults.drop -= lost;
            bytes.drain(..lost);
            if !faults.garbage.is_empty() {
                bytes.splice(0..0, std::mem::take(&mut faults.garbage));
            }
        }
        // A host that does not read loses what the line can't hold, as on a real board.
        let _ = master.write_all(&bytes);
    }
}
