//! The configuration from the bench: checked, kept, handed to whoever works with it.

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use firmware_control::Topics;
use firmware_wire::{NetworkDriver, Provision, Refusal, TopicLevel};
use portable_atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use crate::storage::{self, Configuration, StorageError};

/// The newest configuration, until the task that works with it has taken it.
pub static PROVISIONED: Signal<CriticalSectionRawMutex, Provision> = Signal::new();

static MQTT_ENABLED: AtomicBool = AtomicBool::new(true);

/// Which network runs: 0 none, 1 Ethernet, 2 Wi-Fi.
static RUNNING: AtomicU8 = AtomicU8::new(0);

fn kind(network: &NetworkDriver) -> u8 {
    match network {
        NetworkDriver::Ethernet => 1,
        NetworkDriver::Wifi(_) => 2,
    }
}

/// Notes that `network` runs from now on, until the next reset.
pub fn set_running(network: &NetworkDriver) {
    RUNNING.store(kind(network), Relaxed);
}

/// Whether the device is to connect to its broker.
pub fn mqtt_enabled() -> bool {
    MQTT_ENABLED.load(Relaxed)
}

/// Notes whether the device is to connect to its broker.
pub fn set_mqtt_enabled(enabled: bool) {
    MQTT_ENABLED.store(enabled, Relaxed);
}

/// Keeps a configuration that was checked, and works with it once it is kept.
///
/// # Errors
/// Why it was not kept; the device goes on with the one before.
pub async fn change(configuration: Configuration) -> Result<(), StorageError> {
    storage::with(|storage| storage.set_configuration(&configuration)).await?;
    set_mqtt_enabled(configuration.mqtt_enabled);
    PROVISIONED.signal(configuration.provision);
    Ok(())
}

/// Whether the device can work with `provision`.
///
/// # Errors
/// [`Refusal::OutOfRange`] for a value that is, [`Refusal::Network`] when the other network already
/// runs.
pub fn check(provision: &Provision) -> Result<(), Refusal> {
    let broker = &provision.broker;
    let in_range = (1..=3_600).contains(&provision.telemetry_interval_s)
        && !broker.host.is_empty()
        && broker.port != 0
        && topics(provision).is_some();
    if !in_range {
        return Err(Refusal::OutOfRange);
    }
    match RUNNING.load(Relaxed) {
        running if running == 0 || running == kind(&provision.network) => Ok(()),
        _ => Err(Refusal::Network),
    }
}

/// The device's topics; none when a level can't be part of one.
pub fn topics(provision: &Provision) -> Option<Topics> {
    let levels = provision
        .topic_levels
        .iter()
        .filter_map(|level| match level {
            TopicLevel::Skip => None,
            TopicLevel::Custom(value) => Some(value.as_str()),
        });
    Topics::new(levels, &provision.device_id).ok()
}
