//! The configuration from the bench: checked, kept, handed to whoever works with it.

use core::cell::RefCell;

use critical_section::Mutex;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use firmware_control::Clock as _;
use firmware_wire::{NetworkDriver, Provision, Refusal, Security, TopicLevel};

use crate::{
    chip,
    clock::DeviceClock,
    desk::Desk,
    sensors,
    storage::{self, Configuration, StorageError},
};

/// The newest configuration, until the task that works with it has taken it.
pub static PROVISIONED: Signal<CriticalSectionRawMutex, Provision> = Signal::new();

/// Which network runs, once one does.
static RUNNING: Mutex<RefCell<Option<NetworkDriver>>> = Mutex::new(RefCell::new(None));

/// Notes that `network` runs from now on, until the next reset.
pub fn set_running(network: &NetworkDriver) {
    let network = Some(network.clone());
    critical_section::with(|cs| RUNNING.replace(cs, network));
}

/// What was provisioned, once something was: what [`keep_configuration`] keeps beside the rest.
static CURRENT: Mutex<RefCell<Option<Provision>>> = Mutex::new(RefCell::new(None));

/// Notes that the device works with `provision`.
pub fn set_current(provision: &Provision) {
    let provision = Some(provision.clone());
    critical_section::with(|cs| CURRENT.replace(cs, provision));
}

/// Keeps a provisioning that was checked, and works with it once it is kept. What was changed over
/// HTTP or by commands before is gone with it.
///
/// # Errors
/// Why it was not kept; the device goes on with the one before.
pub async fn provision(provision: Provision) -> Result<(), StorageError> {
    let configuration = Configuration {
        provision,
        kept: heapless::Vec::new(),
    };
    let current = critical_section::with(|cs| CURRENT.borrow_ref(cs).clone());
    // Another name is another installation: its sensors are looked for anew.
    let another =
        current.is_none_or(|current| current.device_id != configuration.provision.device_id);
    let kept = storage::with(|storage| {
        if another {
            // First, as power may fail between the two: the bench, which had no answer, asks again,
            // and the new installation never has the old one's sensors.
            storage.forget(storage::Kept::Sensors)?;
        }
        storage.set_configuration(&configuration)
    });
    let kept = kept.await;
    if another {
        match kept {
            Ok(()) => sensors::start_over(),
            // The old installation stays.
            Err(_) => sensors::keep_again(),
        }
    }
    kept?;
    set_current(&configuration.provision);
    PROVISIONED.signal(configuration.provision);
    Ok(())
}

/// Keeps what the controller made of the configuration.
///
/// # Errors
/// Why it was not kept.
pub async fn keep_configuration(kept: &[u8]) -> Result<(), StorageError> {
    let current = critical_section::with(|cs| CURRENT.borrow_ref(cs).clone());
    // Without a provisioning there is no controller at work.
    let provision = current.ok_or(StorageError::NoPartition)?;
    let kept = heapless::Vec::from_slice(kept).map_err(|_| StorageError::TooLong)?;
    let configuration = Configuration { provision, kept };
    storage::with(|storage| storage.set_configuration(&configuration)).await
}

/// Has the controller work with `provision`.
pub fn configure(desk: &Desk, provision: &Provision) {
    let configuration = configuration_of(provision);
    desk.with(|c| c.configure(DeviceClock.now(), configuration));
}

/// The controller's configuration as it is provisioned.
#[must_use]
pub fn configuration_of(provision: &Provision) -> firmware_control::Configuration {
    let broker = &provision.broker;
    let credentials = broker.credentials.clone();
    let (username, password) = credentials
        .map(|c| (c.username, c.password))
        .unwrap_or_default();
    firmware_control::Configuration {
        mqtt_enabled: true,
        broker: broker.host.clone(),
        port: broker.port,
        username,
        password,
        device_name: provision.device_id.clone(),
        telemetry_interval_s: provision.telemetry_interval_s,
        use_tls: broker.security != Security::Plain,
        retain_telemetry: provision.retain_telemetry,
        topic_levels: provision.topic_levels.clone().map(|level| match level {
            TopicLevel::Skip => firmware_control::TopicLevel::default(),
            TopicLevel::Custom(value) => firmware_control::TopicLevel { used: true, value },
        }),
        alarm_relay: None,
    }
}

/// Whether the device can work with `provision`.
///
/// # Errors
/// [`Refusal::OutOfRange`] for a value that is, [`Refusal::Network`] when the image has no driver for
/// that network, or another one already runs: the other driver, or with another access point.
pub fn check(provision: &Provision) -> Result<(), Refusal> {
    let broker = &provision.broker;
    let in_range = (1..=3_600).contains(&provision.telemetry_interval_s)
        && !broker.host.is_empty()
        && broker.port != 0
        && configuration_of(provision).topics().is_some();
    if !in_range {
        return Err(Refusal::OutOfRange);
    }
    if provision.network == NetworkDriver::Ethernet && !chip::HAS_ETHERNET {
        return Err(Refusal::Network);
    }
    let is_running = |running: &NetworkDriver| *running == provision.network;
    let fits = critical_section::with(|cs| RUNNING.borrow_ref(cs).as_ref().is_none_or(is_running));
    if fits { Ok(()) } else { Err(Refusal::Network) }
}
