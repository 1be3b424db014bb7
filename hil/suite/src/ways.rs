//! The device's ways to its broker and away from it, each with its time.
//!
//! The latest state is not enough to see how often and how hastily a device tries: this is all of
//! them, as the device tells them over RTT.

use std::time::Duration;

use firmware_wire::{Connection, DeviceBody};
use hil_bench::{Bench, BenchEvent, StampedEvent};
use hil_runner::{Context, ScenarioError, ensure};
use tokio::sync::mpsc::{self, UnboundedReceiver, error::TryRecvError};
use tokio::task::JoinHandle;

use crate::controller::{CONNECTED_WITHIN, Controller, way_to_broker};

/// The device waits at least half of this and at most this before its first attempt to connect
/// again; it doubles with each that fails.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(1);
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long an attempt itself may take, and its telling.
const ATTEMPT_MAX: Duration = Duration::from_millis(750);
/// A session that lasted this long makes the next wait a first one.
pub(crate) const STEADY: Duration = Duration::from_secs(6);

/// What the device says of its connection, from the moment this was made.
///
/// Looked at as it comes: all that the bench tells in a minute is more than its channel holds.
pub(crate) struct Ways {
    ways: UnboundedReceiver<(Duration, Connection)>,
    listener: JoinHandle<()>,
}

impl Ways {
    /// From now on.
    pub(crate) fn of(context: &Context) -> Self {
        let mut events = context.bench_as::<Bench>().subscribe();
        let (sender, ways) = mpsc::unbounded_channel();
        let listener = tokio::spawn(async move {
            // A gap in what the bench told ends this: then nothing is known.
            while let Ok(event) = events.recv().await {
                if let Some(way) = way(&event)
                    && sender.send(way).is_err()
                {
                    return;
                }
            }
        });
        Self { ways, listener }
    }

    /// Waits until the device has a session that it had not before, and returns what it said until
    /// then, that last, with the bench time of each.
    pub(crate) async fn until_connected(
        &mut self,
        controller: &Controller,
    ) -> Result<Vec<(Duration, Connection)>, ScenarioError> {
        let mut said = Vec::new();
        let connected = async {
            loop {
                let way = self.ways.recv().await.ok_or_else(gap)?;
                let arrived = matches!(way.1, Connection::Connected);
                said.push(way);
                if arrived {
                    return Ok::<(), ScenarioError>(());
                }
            }
        };
        match controller.clock.timeout(CONNECTED_WITHIN, connected).await {
            Ok(result) => result.map(|()| said),
            Err(_) => Err(ScenarioError::failure(
                format_args!("an MQTT session within {} s", CONNECTED_WITHIN.as_secs()),
                way_to_broker(said.last().map(|(_, way)| way)),
            )),
        }
    }

    /// What the device has said and was not looked at.
    pub(crate) fn seen(&mut self) -> Result<Vec<(Duration, Connection)>, ScenarioError> {
        let mut said = Vec::new();
        loop {
            match self.ways.try_recv() {
                Ok(way) => said.push(way),
                Err(TryRecvError::Empty) => return Ok(said),
                Err(TryRecvError::Disconnected) => return Err(gap()),
            }
        }
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn gap() -> ScenarioError {
    ScenarioError::Infra {
        reason: "the bench told more than could be listened to".to_owned(),
    }
}

fn way(event: &StampedEvent) -> Option<(Duration, Connection)> {
    match &event.event {
        BenchEvent::Telemetry(frame) => match &frame.body {
            DeviceBody::Connection(way) => Some((event.bench_time(), way.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// Goes on if the waits between the loss of a steady session, the attempts that failed and the one
/// that came to a session are those of a back-off: each within its bounds, doubling.
pub(crate) fn expect_back_off(said: &[(Duration, Connection)]) -> Result<(), ScenarioError> {
    let waits: Vec<Duration> = said
        .windows(2)
        .map(|pair| pair[1].0.saturating_sub(pair[0].0))
        .collect();
    ensure!(
        !waits.is_empty(),
        "a session lost and found"; "the device said {said:?}"
    );
    for (number, wait) in waits.iter().enumerate() {
        let doubled = u32::try_from(number)
            .ok()
            .and_then(|n| 2_u32.checked_pow(n));
        let most = FIRST_WAIT_MAX
            .saturating_mul(doubled.unwrap_or(u32::MAX))
            .min(WAIT_MAX);
        let least = (most / 2).saturating_sub(Duration::from_millis(50));
        ensure!(
            (least..=most + ATTEMPT_MAX).contains(wait),
            "wait {} of a back-off, {:.2} to {:.2} s", number + 1,
            least.as_secs_f64(), (most + ATTEMPT_MAX).as_secs_f64();
            "{:.2} s; the first waits are {:.2?}", wait.as_secs_f64(), &waits[..waits.len().min(8)]
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at_ms: &[u64], expected: bool) {
        let said: Vec<(Duration, Connection)> = at_ms
            .iter()
            .map(|at| (Duration::from_millis(*at), Connection::Connected))
            .collect();
        assert_eq!(expect_back_off(&said).is_ok(), expected, "{at_ms:?}");
    }

    #[test]
    fn waits_must_double() {
        check(&[0, 700], true);
        check(&[0, 500, 1_500, 3_500, 7_500], true);
        check(&[0, 1_000, 3_000, 7_000, 15_000], true);
        check(&[0, 100], false);
        check(&[0, 2_000], false);
        check(&[0, 700, 1_400, 2_100], false);
        check(&[0], false);
    }
}
