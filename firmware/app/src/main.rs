//! The temperature controller's firmware: boot, and which task does what.
//!
//! ```text
//!  paint stack ─▶ RTT ─▶ chip ─▶ boot count, configuration ─▶ heap, scheduler ─▶ Hello
//!      ─▶ watchdog, telemetry, control channel ─▶ (provisioned, or wait for it) ─▶ network ─▶ MQTT
//! ```
#![no_std]
#![no_main]

mod panic;

use embassy_executor::Spawner;
use embassy_time::{Duration, with_timeout};
use esp_hal::{clock::CpuClock, timer::timg::TimerGroup};
use firmware_app::{
    FIRMWARE_VERSION, allocation_trace,
    board::Coils,
    boot_memory::BootMemory,
    clock::DeviceClock,
    control_channel, control_loop,
    desk::Desk,
    heap, http, log, mqtt, network,
    provisioning::{self, PROVISIONED},
    reset_reason, rtt,
    sensors::{self, OneWireLine},
    stack, status,
    storage::{self, Configuration, Storage},
    telemetry, watchdog,
};
use firmware_control::{Clock as _, Identity, KEPT_BYTES_MAX, Kept};
use firmware_wire::{DeviceBody, Hello, Provision};
use static_cell::StaticCell;

/// How long a provisioned device waits for a new configuration before it starts with the one it has.
const PROVISIONING_WINDOW: Duration = Duration::from_millis(300);

#[esp_hal::main]
async fn main(spawner: Spawner) {
    stack::paint();
    let channels = rtt::init();
    log::init(channels.log);
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    // First of all, as nothing else drives these pins: a device may wait long to be provisioned.
    let coils = Coils::new(firmware_app::relay_pins!(peripherals));

    let memory = BootMemory::load();
    let reason = reset_reason::reset_reason(memory.panicked);
    // Whatever struck or strikes does so once.
    let fresh = BootMemory {
        boot_count: memory.boot_count,
        ..BootMemory::default()
    };
    fresh.store();
    #[cfg(feature = "test-hooks")]
    firmware_app::faults::strike_before_hello(memory.fault);

    // Flash before the heap: the trace of the heap's first region already carries the boot's number.
    let mut storage = Storage::open(peripherals.FLASH)
        .inspect_err(|error| defmt::error!("no storage: {}", error))
        .ok();
    let (boot_count, configuration) = count_boot(storage.as_mut(), fresh);
    if let Some(storage) = storage {
        storage::share(storage).await;
    }
    allocation_trace::init(channels.trace, boot_count);
    telemetry::init(channels.telemetry, boot_count);
    heap::init();
    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);

    #[cfg(feature = "mutants")]
    firmware_app::mutants::activate_kept().await;
    say_hello(boot_count, reason, configuration.as_ref());
    #[cfg(feature = "test-hooks")]
    firmware_app::faults::strike_after_hello(memory.fault);

    watchdog::start(peripherals.TIMG1);
    // Each task is spawned here only, and once.
    spawner.spawn(telemetry::task().expect("one telemetry"));
    #[cfg(feature = "test-hooks")]
    spawner.spawn(firmware_app::faults::leak_task().expect("one leak"));
    spawner.spawn(control_channel::task(channels.control).expect("one channel"));

    let (provision, kept) = match configuration {
        Some(kept) => {
            // What a provisioning within the window is compared with.
            provisioning::set_current(&kept.provision);
            match with_timeout(PROVISIONING_WINDOW, PROVISIONED.wait()).await {
                Ok(new) => (new, None),
                Err(_) => (kept.provision, Some(kept.kept)),
            }
        }
        None => (watchdog::feed_while(PROVISIONED.wait()).await, None),
    };
    provisioning::set_running(&provision.network);
    provisioning::set_current(&provision);
    let desk = lay_desk(boot_count, &provision, kept.as_deref()).await;
    spawner.spawn(control_loop::task(desk, coils).expect("one control loop"));
    match OneWireLine::new(peripherals.UART1, firmware_app::one_wire_pin!(peripherals)) {
        Ok(line) => {
            // The control loop feeds the watchdog from now on, and waits for this task.
            watchdog::check_in(watchdog::Task::Sensors);
            spawner.spawn(sensors::task(desk, line).expect("one scanner"));
        }
        Err(error) => defmt::error!("no 1-Wire bus: {}", error),
    }
    let stack = network::start(spawner, &provision.network, peripherals.WIFI);
    let boot = mqtt::Boot {
        count: boot_count,
        reason,
    };
    http::start(spawner, stack, desk);
    spawner.spawn(mqtt::task(stack, provision, desk, boot).expect("one client"));
}

/// The controller as it was before the reset.
async fn lay_desk(boot_count: u32, provision: &Provision, kept: Option<&[u8]>) -> &'static Desk {
    static DESK: StaticCell<Desk> = StaticCell::new();
    let identity = Identity::new(FIRMWARE_VERSION, boot_count);
    let configuration = provisioning::configuration_of(provision);
    let desk = DESK.init_with(|| Desk::new(identity, configuration));
    if let Some(bytes) = kept.filter(|bytes| !bytes.is_empty()) {
        restore(desk, Kept::Configuration, bytes);
    }
    for (of_controller, of_storage) in [
        (Kept::Thresholds, storage::Kept::Thresholds),
        (Kept::Schedules, storage::Kept::Schedules),
    ] {
        let mut buffer = [0; KEPT_BYTES_MAX];
        let read = storage::with(|storage| {
            let kept = storage.kept(of_storage, &mut buffer);
            Ok(kept.map_or(0, <[u8]>::len))
        });
        // Without storage there is nothing kept.
        let length = read.await.unwrap_or(0);
        if length > 0 {
            restore(desk, of_controller, &buffer[..length]);
        }
    }
    desk
}

fn restore(desk: &Desk, kept: Kept, bytes: &[u8]) {
    if desk
        .with(|c| c.restore(DeviceClock.now(), kept, bytes))
        .is_err()
    {
        defmt::warn!(
            "what was kept is of another firmware: {}",
            defmt::Debug2Format(&kept)
        );
    }
}

/// This boot's number, kept in flash and in RTC memory, and the configuration in flash.
///
/// The higher of the two counts is the true one: power may have failed before flash had it.
fn count_boot(storage: Option<&mut Storage>, memory: BootMemory) -> (u32, Option<Configuration>) {
    let Some(storage) = storage else {
        let boot_count = memory.boot_count.saturating_add(1);
        keep_boot_count(boot_count, memory);
        return (boot_count, None);
    };
    let boot_count = storage
        .boot_count()
        .max(memory.boot_count)
        .saturating_add(1);
    keep_boot_count(boot_count, memory);
    if let Err(error) = storage.set_boot_count(boot_count) {
        defmt::error!("boot count not kept: {}", error);
    }
    (boot_count, storage.configuration())
}

fn keep_boot_count(boot_count: u32, memory: BootMemory) {
    status::set_boot_count(boot_count);
    BootMemory {
        boot_count,
        ..memory
    }
    .store();
}

fn say_hello(
    boot_count: u32,
    reason: firmware_wire::ResetReason,
    configuration: Option<&Configuration>,
) {
    defmt::info!(
        "firmware {=str}, boot {=u32}: {=str}",
        FIRMWARE_VERSION,
        boot_count,
        reset_reason::name(reason)
    );
    telemetry::send(DeviceBody::Hello(Hello {
        wire_version: firmware_wire::VERSION,
        firmware_version: FIRMWARE_VERSION.chars().take(24).collect(),
        device_id: configuration
            .map(|kept| kept.provision.device_id.clone())
            .unwrap_or_default(),
        boot_count,
        reset_reason: reason,
        provisioned: configuration.is_some(),
        test_hooks: cfg!(feature = "test-hooks"),
    }));
}
