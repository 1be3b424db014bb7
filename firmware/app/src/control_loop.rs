//! The control loop: does what the controller decides, online and offline, and feeds the watchdog.
//!
//! It never waits for the network: contacts are switched here and now, messages go into the outbox,
//! or stay with the controller until that has room. What it does wait for is flash, for milliseconds.
//! Whoever blocks it keeps the watchdog from being
//! fed, and so does a sampling that has stopped.

use core::task::Poll;

use embassy_futures::{poll_once, select::select};
use embassy_time::{Duration, Instant, Timer};
use firmware_control::{Action, Clock as _, KEPT_BYTES_MAX, Keeper, Kept, NotKept};

use crate::{
    board::Coils,
    clock::DeviceClock,
    desk::Desk,
    mqtt::Topic,
    provisioning, stack, status,
    storage::{self, StorageError},
    watchdog,
};

/// The loop comes around at least this often, or the watchdog bites.
const AROUND: Duration = Duration::from_secs(1);

/// Runs the loop.
#[embassy_executor::task]
pub async fn task(desk: &'static Desk, mut coils: Coils) -> ! {
    loop {
        stack::arm_guard();
        // Before the asking: a touch while an action is carried out is not missed.
        desk.touched.reset();
        while let Some(action) = desk.next_action() {
            carry_out(desk, action, &mut coils).await;
        }
        watchdog::feed_if_all_is_well();
        let due = Instant::from_millis(desk.next_action_ms());
        select(
            desk.touched.wait(),
            Timer::at(due.min(Instant::now() + AROUND)),
        )
        .await;
    }
}

async fn carry_out(desk: &Desk, action: Action, coils: &mut Coils) {
    let now = DeviceClock.now();
    let published = match action {
        Action::SwitchRelay { relay, on } => {
            coils.set(relay, on);
            Ok(())
        }
        Action::PublishAlarm(change) => desk.publish(Topic::Alarm, |_, out| change.write(out)),
        Action::PublishRelay(change) => desk.publish(Topic::Relay, |_, out| change.write(out)),
        Action::PublishSummary => desk.publish(Topic::Summary, |c, out| c.write_summary(now, out)),
        Action::PublishTelemetry => {
            let temperature =
                desk.publish(Topic::Temperature, |c, out| c.write_temperature(now, out));
            let status = status::device_status();
            let system = desk.publish(Topic::System, |c, out| c.write_system(now, &status, out));
            temperature.and(system)
        }
        Action::Keep(kept) => {
            keep(desk, kept).await;
            Ok(())
        }
        Action::Reconnect => {
            desk.reconnect.signal(());
            Ok(())
        }
    };
    if published.is_err() {
        defmt::error!("a message is too long for its buffer");
    }
}

async fn keep(desk: &Desk, kept: Kept) {
    let mut buffer = [0; KEPT_BYTES_MAX];
    let Ok(bytes) = desk.look(|c| c.keep(kept, &mut buffer).map(<[u8]>::len)) else {
        defmt::error!("what is to be kept is too long");
        return;
    };
    if let Err(error) = write(kept, &buffer[..bytes]).await {
        defmt::error!("not kept: {}", error);
        desk.with_quietly(|c| c.not_kept(DeviceClock.now(), kept));
    }
}

async fn write(kept: Kept, bytes: &[u8]) -> Result<(), StorageError> {
    match kept {
        Kept::Configuration => provisioning::keep_configuration(bytes).await,
        Kept::Schedules => storage::with(|s| s.keep(storage::Kept::Schedules, bytes)).await,
        Kept::Thresholds => storage::with(|s| s.keep(storage::Kept::Thresholds, bytes)).await,
    }
}

/// Flash, for a command that is answered once its change is kept.
pub(crate) struct Flash;

impl Keeper for Flash {
    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), NotKept> {
        // Nobody waits while it works with the storage: whoever asks finds it free.
        match poll_once(write(kept, bytes)) {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => {
                defmt::error!("not kept: {}", error);
                Err(NotKept)
            }
            Poll::Pending => Err(NotKept),
        }
    }
}
