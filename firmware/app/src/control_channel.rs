//! Frames from the bench over RTT down channel 0, each answered by number.
//!
//! RTT raises no interrupt, so the channel is polled: often while somebody talks, seldom otherwise,
//! as each poll wakes the chip.

use embassy_time::{Duration, Instant, Timer};
use firmware_wire::{
    CONTROL_FRAME_BYTES_MAX, ControlBody, ControlFrame, DeviceBody, Fault, FrameDecoder, Outcome,
    Provision, Refusal,
};
use rtt_target::DownChannel;

use crate::{
    allocation_trace, certificates::Assembly, clock, log, provisioning, stack,
    storage::Configuration, telemetry,
};

/// Between two polls while frames come, and for [`ATTENTIVE`] after boot.
const POLL_OFTEN: Duration = Duration::from_millis(5);
/// Between two polls otherwise.
const POLL_SELDOM: Duration = Duration::from_millis(100);
/// How long the last byte keeps the polls frequent.
const ATTENTIVE: Duration = Duration::from_secs(2);
/// How long a reset waits for the host to read what was sent.
const DRAIN_MAX: Duration = Duration::from_millis(100);

/// Serves the channel.
#[embassy_executor::task]
pub async fn task(mut channel: DownChannel) -> ! {
    let mut certificates = Assembly::default();
    let mut decoder = FrameDecoder::<CONTROL_FRAME_BYTES_MAX>::new();
    let mut last_byte = Instant::now();
    loop {
        stack::arm_guard();
        let mut bytes = [0; 64];
        let count = channel.read(&mut bytes);
        for byte in &bytes[..count] {
            match decoder.push::<ControlFrame>(*byte) {
                Some(Ok(frame)) => handle(frame, &mut certificates).await,
                Some(Err(error)) => {
                    defmt::warn!("control frame lost: {}", defmt::Debug2Format(&error));
                    // Its number is lost with it.
                    answer(0, Err(Refusal::Malformed));
                }
                None => {}
            }
        }
        if count > 0 {
            last_byte = Instant::now();
        } else {
            let attentive = last_byte.elapsed() < ATTENTIVE;
            Timer::after(if attentive { POLL_OFTEN } else { POLL_SELDOM }).await;
        }
    }
}

fn answer(sequence: u32, result: Result<(), Refusal>) {
    let outcome = match result {
        Ok(()) => Outcome::Done,
        Err(refusal) => Outcome::Refused(refusal),
    };
    telemetry::send(DeviceBody::Answer { sequence, outcome });
}

async fn handle(frame: ControlFrame, certificates: &mut Assembly) {
    let ControlFrame { sequence, body } = frame;
    let result = match body {
        ControlBody::Ping => Ok(()),
        ControlBody::Provision(provision) => provision_with(provision).await,
        ControlBody::SetTime { unix_ms } => {
            clock::set_unix_us(unix_ms.saturating_mul(1_000));
            Ok(())
        }
        ControlBody::SetTelemetryInterval { interval_ms } => {
            if (10..=60_000).contains(&interval_ms) {
                telemetry::set_interval(Duration::from_millis(interval_ms.into()));
                Ok(())
            } else {
                Err(Refusal::OutOfRange)
            }
        }
        ControlBody::SetTrace { enabled } => {
            allocation_trace::set_enabled(enabled);
            Ok(())
        }
        ControlBody::Reset => {
            answer(sequence, Ok(()));
            drain().await;
            esp_hal::system::software_reset()
        }
        ControlBody::Certificate(piece) => certificates.take(&piece).await,
        // No image has sensors of its own yet.
        ControlBody::SimulateSensors { .. } | ControlBody::SetSimulatedSensor { .. } => {
            Err(Refusal::NoTestHooks)
        }
        ControlBody::Inject(Fault::Mutant { number }) => keep_mutant(number).await,
        #[cfg(feature = "test-hooks")]
        ControlBody::Inject(fault) => {
            defmt::warn!("fault: {}", defmt::Debug2Format(&fault));
            telemetry::send(DeviceBody::Fault(fault));
            answer(sequence, Ok(()));
            drain().await;
            // The waiting above let interrupts in.
            stack::arm_guard();
            crate::faults::play(fault);
            return;
        }
        #[cfg(not(feature = "test-hooks"))]
        ControlBody::Inject(_) => Err(Refusal::NoTestHooks),
    };
    answer(sequence, result);
}

/// Announces the deliberate bug that the next boot is to have, and keeps it in flash.
#[cfg(feature = "mutants")]
async fn keep_mutant(number: u16) -> Result<(), Refusal> {
    crate::storage::with(|storage| storage.set_mutant(number))
        .await
        .map_err(|_| Refusal::Storage)?;
    telemetry::send(DeviceBody::Fault(Fault::Mutant { number }));
    Ok(())
}

#[cfg(not(feature = "mutants"))]
async fn keep_mutant(_: u16) -> Result<(), Refusal> {
    Err(Refusal::NoMutants)
}

async fn provision_with(provision: Provision) -> Result<(), Refusal> {
    provisioning::check(&provision)?;
    defmt::info!("provisioned as {=str}", provision.device_id.as_str());
    let configuration = Configuration {
        provision,
        mqtt_enabled: true,
    };
    provisioning::change(configuration).await.map_err(|error| {
        defmt::error!("configuration not kept: {}", error);
        Refusal::Storage
    })
}

/// Lets the host read what was sent, for a while.
async fn drain() {
    let until = Instant::now() + DRAIN_MAX;
    while Instant::now() < until && !(telemetry::is_drained() && log::is_drained()) {
        Timer::after(Duration::from_millis(1)).await;
    }
}
