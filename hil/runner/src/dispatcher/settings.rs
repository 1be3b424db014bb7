//! How a run is to be done, and how it is asked to end.

use std::time::Duration;

use tokio::sync::watch;

/// How a run is to be done.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// The source of all chance.
    pub seed: u64,
    /// How often a scenario is tried again after infra.
    pub retries: u32,
    /// Whether the run ends with the first fail or crash.
    pub fail_fast: bool,
    /// Limit for getting the device ready, bench time.
    pub prepare_timeout: Duration,
    /// Limit of wall time for the whole run.
    pub deadline: Option<Duration>,
    /// The wall clock ends a unit after this multiple of its timeout, and not before
    /// `backstop_min`: bench time may run slower than wall time, but not stand still.
    pub backstop_factor: u32,
    /// See `backstop_factor`.
    pub backstop_min: Duration,
    /// What to type to try one scenario again, without its ID: `hil run`, and the rig and the seed.
    pub again: (String, String),
}

impl Default for RunSettings {
    fn default() -> Self {
        RunSettings {
            seed: 0,
            retries: 1,
            fail_fast: false,
            prepare_timeout: Duration::from_secs(120),
            deadline: None,
            backstop_factor: 4,
            backstop_min: Duration::from_secs(60),
            again: ("hil run".to_owned(), String::new()),
        }
    }
}

/// Asks a run to end in order. Cheap to clone; the first reason counts.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Sender<Option<String>>);

impl Cancel {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Cancel(watch::Sender::new(None))
    }

    /// Asks for the end. Says why, in a few words: `Ctrl-C`.
    pub fn request(&self, reason: &str) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    /// Whether somebody has asked, and why.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Ends when somebody asks.
    pub async fn requested(&self) -> String {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so this can't fail.
        let reason = receiver
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Cancel::new()
    }
}
