//! The sensors: read again and again, told to the controller.
//!
//! Points belong to sensors for good: which sensor has which point is kept in flash, so that one that
//! is missing at boot is reported as missing, and none takes its place. Provisioning with another
//! device id starts over.

mod line;
#[cfg(feature = "test-hooks")]
pub mod simulated;

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::{Delay, Duration, Instant, Timer};
use firmware_control::{Clock as _, Measurement, POINTS, Reading, Tenths};
use firmware_onewire::{Bus, Outcome, Resolution, Rom, Scanner, Settings};
use firmware_wire::{DeviceBody, ScanSample};
pub use line::OneWireLine;
use portable_atomic::{AtomicBool, Ordering::Relaxed};
use static_cell::ConstStaticCell;

use crate::{clock::DeviceClock, desk::Desk, stack, storage, telemetry, watchdog};

/// From the beginning of one scan to that of the next.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Scans from one search for newcomers to the next: a minute.
const SEARCH_EVERY: u16 = 12;

const SETTINGS: Settings = Settings {
    resolution: Resolution::Bits12,
    family: Some(Rom::DS18B20),
    attempts: 3,
    search_every: SEARCH_EVERY,
};

/// Whoever installs the device anew wants all sensors found anew.
static START_OVER: Signal<CriticalSectionRawMutex, ()> = Signal::new();

/// Flash does not hold yet which sensor has which point.
static UNKEPT: AtomicBool = AtomicBool::new(false);

/// Forgets which sensor has which point; the next scan finds them anew.
pub fn start_over() {
    START_OVER.signal(());
}

/// Keeps which sensor has which point once more, after the next scan.
pub fn keep_again() {
    UNKEPT.store(true, Relaxed);
}

/// Reads the sensors for ever.
#[embassy_executor::task]
pub async fn task(desk: &'static Desk, line: OneWireLine) -> ! {
    static SCANNER: ConstStaticCell<Scanner<POINTS>> = ConstStaticCell::new(Scanner::new(SETTINGS));
    let scanner = SCANNER.take();
    let mut bus = Bus::new(line, Delay);
    recall(scanner).await;
    let mut scans = 0_u32;
    let mut due = Instant::now();
    loop {
        stack::arm_guard();
        if START_OVER.try_take().is_some() {
            *scanner = Scanner::new(SETTINGS);
            desk.with(|c| (0..POINTS).for_each(|id| c.measured(DeviceClock.now(), id, None)));
        }
        let started = Instant::now();
        scans = scans.wrapping_add(1);
        let mut sample = scan(desk, scanner, &mut bus).await;
        sample.scans = scans;
        sample.duration_ms = started.elapsed().as_millis() as u32;
        telemetry::send(DeviceBody::Scan(sample));
        watchdog::check_in(watchdog::Task::Sensors);
        due += INTERVAL;
        // After a pause, as at a breakpoint: no burst to make up for it.
        due = due.max(Instant::now());
        Timer::at(due).await;
    }
}

async fn scan(
    desk: &Desk,
    scanner: &mut Scanner<POINTS>,
    bus: &mut Bus<OneWireLine, Delay>,
) -> ScanSample {
    #[cfg(feature = "test-hooks")]
    if let Some(sample) = simulated::scan(desk) {
        return sample;
    }
    let before = scanner.statistics();
    let report = scanner.scan(bus).await;
    if report.newcomers > 0 {
        defmt::info!("{=usize} sensors found", report.newcomers);
        UNKEPT.store(true, Relaxed);
    }
    // Tried again after the next scan when it fails.
    if UNKEPT.load(Relaxed) && remember(scanner).await {
        UNKEPT.store(false, Relaxed);
    }
    let crc_errors = scanner
        .statistics()
        .crc_errors
        .wrapping_sub(before.crc_errors);
    let mut sample = ScanSample {
        crc_errors: u16::try_from(crc_errors).unwrap_or(u16::MAX),
        ..ScanSample::default()
    };
    desk.with(|controller| {
        let now = DeviceClock.now();
        for (id, point) in scanner.points() {
            // Newcomers that the scan could not read any more have no outcome yet.
            let Some(outcome) = point.outcome else {
                continue;
            };
            let reading = reading(outcome);
            count(&mut sample, reading);
            let sensor_id = point.rom.sensor_id();
            controller.measured(now, id, Some(Measurement { sensor_id, reading }));
        }
    });
    sample
}

fn count(sample: &mut ScanSample, reading: Reading) {
    sample.sensors += 1;
    match reading {
        Reading::Temperature(_) => sample.read += 1,
        Reading::Error => sample.failed += 1,
        Reading::Disconnected => sample.absent += 1,
    }
}

/// What the controller makes of an outcome: whatever is no temperature is an error, unless nobody
/// answers.
fn reading(outcome: Outcome) -> Reading {
    match outcome {
        Outcome::Temperature(temperature) => {
            Tenths::new(temperature.tenths()).map_or(Reading::Error, Reading::Temperature)
        }
        Outcome::Absent => Reading::Disconnected,
        Outcome::Crc
        | Outcome::AllZero
        | Outcome::PowerOn
        | Outcome::OutOfRange(_)
        | Outcome::Bus(_) => Reading::Error,
    }
}

/// Bytes of a table of all points' sensors: 8 each, zeros for none.
const TABLE_BYTES: usize = POINTS * 8;

/// Gives the sensors the points that they had.
async fn recall(scanner: &mut Scanner<POINTS>) {
    let mut table = [0; TABLE_BYTES];
    let known = storage::with(|s| Ok(s.kept(storage::Kept::Sensors, &mut table).is_some())).await;
    if known != Ok(true) {
        return;
    }
    for (point, bytes) in table.as_chunks::<8>().0.iter().enumerate() {
        if let Some(rom) = Rom::new(*bytes) {
            scanner.assign(point, rom);
        }
    }
}

/// Keeps which sensor has which point; whether that worked.
async fn remember(scanner: &Scanner<POINTS>) -> bool {
    let mut table = [0; TABLE_BYTES];
    for (point, sensor) in scanner.points() {
        table[point * 8..][..8].copy_from_slice(&sensor.rom.bytes());
    }
    let kept = storage::with(|s| {
        if START_OVER.signaled() {
            // It is just being forgotten.
            return Ok(());
        }
        s.keep(storage::Kept::Sensors, &table)
    })
    .await;
    if let Err(error) = kept {
        defmt::error!("the sensors' points are not kept: {}", error);
    }
    kept.is_ok()
}
