//! The serial port of the fixture board: a pty whose far end a host opens like any serial port.
//!
//! ```text
//!  host ── path ── pty ── thread: reads ──▶ simulator thread: the board answers
//!                    ▲                                 │
//!                    └───────── writes, unless nobody reads
//! ```
//! The thread only waits and reads; what bytes mean, and when, is the simulator's business. Nothing here ever blocks the
//! simulator: what a host does not read is lost, as on a real board.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

const PTY: Token = Token(0);
const WAKER: Token = Token(1);
/// A pty does not say when its far end is opened: looked for this often, while nobody has it open.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A serial port with its thread. Dropping it hangs up, and the path is gone.
pub(crate) struct SerialPort {
    line: Arc<PtyLine>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the simulator share.
struct PtyLine {
    pty: OwnedFd,
    path: PathBuf,
    state: Mutex<State>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Bytes from the host that nobody took yet.
    incoming: Vec<u8>,
    /// Somebody has the far end open.
    is_open: bool,
    /// It was opened since the last look.
    was_opened: bool,
}

/// What came from the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The port was opened anew, before these bytes.
    pub(crate) opened: bool,
    pub(crate) bytes: Vec<u8>,
}

impl SerialPort {
    /// A new pty. `kick` is called whenever something came.
    pub(crate) fn open(name: &str, kick: impl Fn() + Send + 'static) -> io::Result<SerialPort> {
        let (pty, path) = make_pty()?;
        let line = Arc::new(PtyLine {
            pty,
            path,
            state: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let poll = Poll::new()?;
        let fd = line.pty.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), PTY, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let read = line.clone();
        let thread = std::thread::Builder::new()
            .name(format!("fixture-port {name}"))
            .spawn(move || read.serve(poll, &kick))?;
        Ok(SerialPort {
            line,
            waker,
            thread: Some(thread),
        })
    }

    /// What a host opens.
    pub(crate) fn path(&self) -> &Path {
        &self.line.path
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> Arrived {
        let mut state = self.line.state.lock();
        Arrived {
            opened: std::mem::take(&mut state.was_opened),
            bytes: std::mem::take(&mut state.incoming),
        }
    }

    /// Sends to the host, as far as it reads; the rest is lost. True when somebody has the port open.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        let mut state = self.line.state.lock();
        // What is written for nobody would wait for whoever opens the port next.
        state.is_open &= !self.line.is_hung_up();
        if !state.is_open {
            return false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(&self.line.pty, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        true
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        self.line.stopping.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            tracing::error!("the fixture port's thread can't be woken: {error}");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the fixture port's thread panicked");
        }
    }
}

impl PtyLine {
    fn serve(&self, mut poll: Poll, kick: &dyn Fn()) {
        let mut events = Events::with_capacity(4);
        while !self.stopping.load(Ordering::SeqCst) {
            if self.read() {
                kick();
            }
            let closed = !self.state.lock().is_open;
            match poll.poll(&mut events, closed.then_some(LOOK_EVERY)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return tracing::error!("the fixture port is dead: {error}"),
            }
        }
    }

    /// Nobody has the far end open.
    fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.pty, PollFlags::IN)];
        let no_time = Timespec::default();
        let found = rustix::event::poll(&mut polled, Some(&no_time));
        found.is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }

    /// What the host did not read before it hung up goes nowhere, as with a real port.
    fn forget_unread(&self) -> io::Result<()> {
        let far = open_far(&self.path)?;
        Ok(tcflush(&far, QueueSelector::IFlush)?)
    }

    /// Reads all there is; true when something came.
    fn read(&self) -> bool {
        let mut buffer = [0; 1024];
        let mut came = false;
        loop {
            let count = rustix::io::read(&self.pty, &mut buffer);
            let mut state = self.state.lock();
            match count {
                Err(Errno::INTR) => {}
                // The far end is closed: EIO on Linux, end of file elsewhere.
                Err(Errno::IO) | Ok(0) => {
                    let news = std::mem::take(&mut state.is_open);
                    drop(state);
                    if news && let Err(error) = self.forget_unread() {
                        tracing::warn!("the next host may read what was for this one: {error}");
                    }
                    return came;
                }
                Err(_) => {
                    came |= state.open();
                    return came;
                }
                Ok(count) => {
                    state.open();
                    state.incoming.extend_from_slice(&buffer[..count]);
                    came = true;
                }
            }
        }
    }
}

impl State {
    /// The far end is open; true when that is news.
    fn open(&mut self) -> bool {
        let news = !self.is_open;
        self.is_open = true;
        self.was_opened |= news;
        news
    }
}

/// A pty that passes bytes on as they are, and the path of its far end.
fn make_pty() -> io::Result<(OwnedFd, PathBuf)> {
    let pty = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&pty)?;
    rustix::pty::unlockpt(&pty)?;
    let name = rustix::pty::ptsname(&pty, Vec::new())?;
    let path = PathBuf::from(String::from_utf8_lossy(name.as_bytes()).into_owned());
    // Opened and closed once: only then does the near end say that nobody is there.
    let far = open_far(&path)?;
    let mut attributes = tcgetattr(&far)?;
    attributes.make_raw();
    tcsetattr(&far, OptionalActions::Now, &attributes)?;
    rustix::io::ioctl_fionbio(&pty, true)?;
    Ok((pty, path))
}

fn open_far(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read as _, Write as _};

    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn port() -> (SerialPort, Receiver<()>) {
        let (kick, kicked) = bounded(1);
        let port = SerialPort::open("test", move || {
            // Full: a kick is pending already.
            let _ = kick.try_send(());
        });
        (port.expect("a pty"), kicked)
    }

    fn host(port: &SerialPort) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.open(port.path()).expect("the port opens")
    }

    fn wait_closed(port: &SerialPort) {
        let closed = std::time::Instant::now();
        while port.line.state.lock().is_open {
            assert!(closed.elapsed() < PATIENCE, "the end is seen");
            std::thread::yield_now();
        }
    }

    /// Waits for so many bytes.
    fn arrived(port: &SerialPort, kicked: &Receiver<()>, count: usize) -> Arrived {
        let mut all = Arrived::default();
        while all.bytes.len() < count || !all.opened && count == 0 {
            kicked.recv_timeout(PATIENCE).expect("bytes come");
            let more = port.take();
            all.opened |= more.opened;
            all.bytes.extend(more.bytes);
        }
        all
    }

    #[test]
    fn bytes_pass_as_they_are() {
        let (port, kicked) = port();
        assert!(!port.send(b"nobody is there"));
        let mut host = host(&port);
        let all: Vec<u8> = (0..=255).collect();
        host.write_all(&all).expect("written");
        let expected = Arrived {
            opened: true,
            bytes: all.clone(),
        };
        assert_eq!(arrived(&port, &kicked, 256), expected);
        assert!(port.send(&all));
        let mut got = [0; 256];
        host.read_exact(&mut got).expect("read");
        assert_eq!(got[..], all);
    }

    #[test]
    fn each_opening_is_told() {
        let (port, kicked) = port();
        for _ in 0..2 {
            let host = host(&port);
            assert!(arrived(&port, &kicked, 0).opened);
            drop(host);
            wait_closed(&port);
        }
    }

    #[test]
    fn what_one_host_did_not_read_is_not_for_the_next() {
        let (port, kicked) = port();
        let first = host(&port);
        assert!(arrived(&port, &kicked, 0).opened);
        assert!(port.send(b"first"));
        drop(first);
        wait_closed(&port);
        let mut second = host(&port);
        assert!(arrived(&port, &kicked, 0).opened);
        assert!(port.send(b"second"));
        let mut got = [0; 6];
        second.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"second");
    }

    #[test]
    fn a_host_that_does_not_read_holds_nobody_up() {
        let (port, kicked) = port();
        let host = host(&port);
        assert!(arrived(&port, &kicked, 0).opened);
        for _ in 0..1000 {
            port.send(&[0x55; 1000]);
        }
        drop(host);
    }

    #[test]
    fn a_dropped_port_is_gone() {
        let (port, _kicked) = port();
        let path = port.path().to_owned();
        let mut host = host(&port);
        drop(port);
        assert!(!path.exists());
        let mut byte = [0];
        assert!(!matches!(host.read(&mut byte), Ok(1)));
    }
}
