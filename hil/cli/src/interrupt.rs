//! Ctrl-C: once to end in order, twice to end at once.

use hil_runner::{Cancel, ExitCode};

use crate::stop::say;

/// What the first Ctrl-C, or a request of the system to end, asks. The second ends the program.
pub(crate) fn listen() -> Cancel {
    let cancel = Cancel::new();
    let asked = cancel.clone();
    // Listens from here on, not from when the task first runs.
    let mut signals = Signals::new();
    tokio::spawn(async move {
        asked.request(signals.next().await);
        signals.next().await;
        say("stopped at once; the report is not complete");
        std::process::exit(ExitCode::Interrupted.code().into());
    });
    cancel
}

#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Signals {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    async fn next(&mut self) -> &'static str {
        async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
            let received = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if received.is_none() {
                std::future::pending::<()>().await;
            }
        }
        tokio::select! {
            () = received(&mut self.interrupt) => "Ctrl-C",
            () = received(&mut self.terminate) => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Signals
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
