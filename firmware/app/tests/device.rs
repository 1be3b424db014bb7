//! The firmware's modules on the chip itself: `cargo test` hands this to `hil runner`, one reset a test.
//!
//! Only what needs the chip is here; what can run on the host is tested there.
#![no_std]
#![no_main]

extern crate alloc;

use firmware_app as _;

/// Before each test: logs, and the painted stack.
#[embedded_test::setup]
fn setup() {
    firmware_app::stack::paint();
    let channels = firmware_app::rtt::init();
    firmware_app::log::init(channels.log);
    // Off until a test turns it on.
    firmware_app::allocation_trace::init(channels.trace, 1);
    firmware_app::allocation_trace::set_enabled(false);
}

#[cfg(test)]
#[embedded_test::tests(default_timeout = 10, executor = esp_rtos::embassy::Executor::new())]
mod tests {
    use alloc::{boxed::Box, format, vec, vec::Vec};
    use core::{
        ffi::c_void,
        hint::black_box,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use embassy_futures::join::join;
    use embassy_time::{Delay, Duration, Instant, Timer};
    use esp_hal::{peripherals::Peripherals, timer::timg::TimerGroup};
    use firmware_app::{
        allocation_trace,
        boot_memory::BootMemory,
        call_path, heap, provisioning,
        sensors::OneWireLine,
        stack,
        storage::{self, Configuration, Kept, Storage},
        threads, tls, watchdog,
    };
    use firmware_onewire::{Bus, Outcome, Resolution, Rom, Scanner, Settings};
    use firmware_wire::{
        Broker, CERTIFICATE_BYTES_MAX, CertificateSlot, DEVICE_FRAME_BYTES_MAX, DeviceBody,
        DeviceFrame, FrameDecoder, NetworkDriver, Provision, Refusal, Security, TopicLevel, Wifi,
        encode,
    };

    #[init]
    fn init() -> Peripherals {
        let peripherals = esp_hal::init(esp_hal::Config::default());
        heap::init();
        peripherals
    }

    #[test]
    fn heap_balances() {
        let before = heap::sample();
        let blocks: Vec<Box<[u8]>> = (1..20).map(|n| vec![n; 100].into_boxed_slice()).collect();
        let during = heap::sample();
        defmt::assert!(during.free + 1_900 <= before.free);
        defmt::assert!(during.allocations >= before.allocations + 20);
        drop(black_box(blocks));
        let after = heap::sample();
        defmt::assert_eq!(after.free, before.free);
        defmt::assert_eq!(
            after.allocations - before.allocations,
            after.frees - before.frees
        );
        defmt::assert!(after.free_min <= during.free);
    }

    #[test]
    fn the_allocation_trace_costs_a_few_times_what_it_traces() {
        // So many that all events fit the channel: skipping one is cheaper than sending it.
        const PAIRS: u32 = 100;
        let time = || {
            let begin = esp_hal::time::Instant::now();
            for _ in 0..PAIRS {
                drop(black_box(vec![0_u8; 64]));
            }
            let ns = begin.elapsed().as_micros() * 1_000 / u64::from(PAIRS);
            // At 80 MHz, at which a test runs.
            ns * 80 / 1_000
        };
        let off = time();
        allocation_trace::set_enabled(true);
        let on = time();
        allocation_trace::set_enabled(false);
        defmt::info!(
            "an allocation and its free: {=u64} cycles untraced, {=u64} traced",
            off,
            on
        );
        defmt::assert!(off > 50 && off < on);
        defmt::assert!(on < 20 * off, "{=u64} and {=u64} cycles", off, on);
    }

    #[test]
    async fn timers_that_are_due_together_each_run_once(peripherals: Peripherals) {
        let timers = TimerGroup::new(peripherals.TIMG0);
        esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
        let begin = Instant::now();
        let due = begin + Duration::from_millis(30);
        let (first, second) = join(Timer::at(due), async {
            Timer::after_millis(10).await;
            let early = Instant::now();
            Timer::at(due).await;
            early
        })
        .await;
        let () = first;
        let late = Instant::now() - due;
        defmt::assert!(second - begin >= Duration::from_millis(10) && second < due);
        defmt::assert!(
            late < Duration::from_millis(2),
            "{=u64} us",
            late.as_micros()
        );
        // One in the past is due at once.
        Timer::at(begin).await;
        defmt::assert!(Instant::now() - due < Duration::from_millis(3));
    }

    #[test]
    fn searching_the_largest_block_changes_nothing() {
        let before = heap::sample();
        defmt::assert_eq!(before.largest_free_block, before.free);
        let hole = vec![0_u8; 1_000];
        let wall = vec![0_u8; 1_000];
        drop(black_box(hole));
        let holed = heap::sample();
        defmt::assert!(holed.largest_free_block < holed.free);
        defmt::assert!(heap::sample() == holed);
        drop(black_box(wall));
        let after = heap::sample();
        defmt::assert_eq!(after.largest_free_block, before.largest_free_block);
    }

    #[test]
    fn a_refused_allocation_is_counted() {
        let layout = core::alloc::Layout::from_size_align(1_000_000, 4).unwrap();
        #[allow(unsafe_code)]
        // Safety: the layout's size is not 0.
        let block = black_box(unsafe { alloc::alloc::alloc(black_box(layout)) });
        defmt::assert!(block.is_null());
        defmt::assert_eq!(heap::sample().failed, 1);
    }

    #[test]
    #[should_panic]
    fn too_large_a_vector_panics() {
        black_box(vec![0_u8; 1_000_000]);
    }

    #[test]
    async fn a_timer_runs(peripherals: Peripherals) {
        let timers = TimerGroup::new(peripherals.TIMG0);
        esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
        let begin = Instant::now();
        Timer::after_millis(50).await;
        let elapsed = begin.elapsed().as_millis();
        defmt::assert!((50..60).contains(&elapsed), "{=u64} ms", elapsed);
    }

    #[test]
    fn the_stack_s_mark_falls_by_what_is_used() {
        let before = stack::sample();
        defmt::assert!(before.used_max < before.size / 2);
        use_stack(before.used_max as usize + 8_192);
        let after = stack::sample();
        defmt::assert!(after.used_max >= before.used_max + 8_000);
        defmt::assert_eq!(after.size, before.size);
    }

    #[test]
    async fn a_thread_s_stack_is_seen_from_its_first_step_to_its_end(peripherals: Peripherals) {
        let timers = TimerGroup::new(peripherals.TIMG0);
        esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
        defmt::assert!(threads::samples().is_empty());
        let free = heap::sample().free;
        // The second has the first one's memory, used before: its paint is fresh all the same.
        for (name, used) in [("thread-1", 4_096_usize), ("thread-2", 512)] {
            END_THREAD.store(false, Relaxed);
            // Safety: the function takes any parameter.
            #[allow(unsafe_code)]
            unsafe {
                let parameter = core::ptr::without_provenance_mut(used);
                esp_radio_rtos_driver::task_create("test", thread, parameter, 1, None, 8_192);
            }
            Timer::after_millis(20).await;
            let samples = threads::samples();
            let [sample] = samples.as_slice() else {
                defmt::panic!("{=usize} threads", samples.len());
            };
            defmt::assert!(sample.name == name, "{=str}", sample.name.as_str());
            defmt::assert!((8_192..8_448).contains(&sample.size), "{=u32}", sample.size);
            let used = used as u32;
            defmt::assert!(
                (used..used + 1_536).contains(&sample.used_max),
                "{=u32}",
                sample.used_max
            );
            END_THREAD.store(true, Relaxed);
            Timer::after_millis(20).await;
            defmt::assert!(threads::samples().is_empty());
        }
        defmt::assert_eq!(heap::sample().free, free);
    }

    static END_THREAD: AtomicBool = AtomicBool::new(false);

    /// Uses as much of its stack as `bytes` says, and waits for its end.
    extern "C" fn thread(bytes: *mut c_void) {
        black_box(use_stack(bytes.addr()));
        while !END_THREAD.load(Relaxed) {
            esp_radio_rtos_driver::usleep(1_000);
        }
    }

    /// Recurses until `bytes` of stack are used.
    #[inline(never)]
    fn use_stack(bytes: usize) -> u8 {
        let frame = black_box([1_u8; 256]);
        if bytes < 256 {
            return frame[bytes];
        }
        use_stack(bytes - 256).wrapping_add(frame[bytes % 256])
    }

    #[test]
    fn a_call_path_leads_outwards() {
        let inner = path_of_a_callee();
        defmt::assert!(inner.len() >= 2);
        // Code in flash, and no address twice in a row.
        defmt::assert!(inner.iter().all(|a| (0x4038_0000..0x4280_0000).contains(a)));
        defmt::assert!(inner.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[inline(never)]
    fn path_of_a_callee() -> heapless::Vec<u32, 8> {
        let mut path = heapless::Vec::new();
        call_path::capture(&mut path);
        black_box(path)
    }

    #[test]
    fn boot_memory_keeps_what_it_is_given_and_knows_garbage() {
        let memory = BootMemory {
            boot_count: 41,
            panicked: true,
            fault: 3,
        };
        memory.store();
        defmt::assert!(BootMemory::load() == memory);
        firmware_app::boot_memory::mark_panic();
        defmt::assert!(BootMemory::load().panicked);
        BootMemory::default().store();
        defmt::assert!(BootMemory::load() == BootMemory::default());
    }

    #[test]
    fn storage_keeps_what_it_is_given(peripherals: Peripherals) {
        let mut storage = Storage::open(peripherals.FLASH).unwrap();
        let count = storage.boot_count();
        storage.set_boot_count(count + 1).unwrap();
        defmt::assert_eq!(storage.boot_count(), count + 1);
        storage.set_configuration(&configuration("first")).unwrap();
        storage.set_configuration(&configuration("second")).unwrap();
        defmt::assert!(storage.configuration() == Some(configuration("second")));
        let mut buffer = [0; CERTIFICATE_BYTES_MAX];
        storage
            .set_certificate(CertificateSlot::ClientKey, &[7; CERTIFICATE_BYTES_MAX])
            .unwrap();
        let kept = storage.certificate(CertificateSlot::ClientKey, &mut buffer);
        defmt::assert!(kept == Some(&[7; CERTIFICATE_BYTES_MAX][..]));
        storage
            .set_certificate(CertificateSlot::ClientKey, &[])
            .unwrap();
        defmt::assert!(
            storage
                .certificate_bytes(CertificateSlot::ClientKey)
                .is_none()
        );
        storage.keep(Kept::Schedules, b"at noon").unwrap();
        defmt::assert!(storage.kept(Kept::Schedules, &mut buffer) == Some(&b"at noon"[..]));
        defmt::assert!(storage.kept(Kept::Thresholds, &mut buffer).is_none());
        storage.erase().unwrap();
        defmt::assert!(storage.configuration().is_none());
        defmt::assert_eq!(storage.boot_count(), 0);
    }

    #[test]
    fn a_kept_configuration_that_can_not_be_used_counts_as_none(peripherals: Peripherals) {
        let mut storage = Storage::open(peripherals.FLASH).unwrap();
        // What another version, with other limits, may have taken.
        let spoils: [fn(&mut Provision); 5] = [
            |provision| provision.telemetry_interval_s = 0,
            |provision| provision.telemetry_interval_s = 3_601,
            |provision| provision.broker.port = 0,
            |provision| provision.broker.host.clear(),
            |provision| provision.device_id = "a/b".try_into().unwrap(),
        ];
        for spoil in spoils {
            let mut kept = configuration("kept");
            storage.set_configuration(&kept).unwrap();
            defmt::assert!(storage.configuration() == Some(kept.clone()));
            spoil(&mut kept.provision);
            storage.set_configuration(&kept).unwrap();
            defmt::assert!(storage.configuration().is_none());
        }
        storage.erase().unwrap();
    }

    #[test]
    fn a_configuration_is_shown_without_what_the_controller_keeps() {
        let shown = format!("{:?}", configuration("dev"));
        defmt::assert!(shown.contains("10.0.2.2") && shown.contains("kept: 17 bytes"));
        // The bytes of "of the controller", as a list shows them.
        defmt::assert!(!shown.contains("111, 102"));
    }

    #[test]
    fn storage_goes_round_all_pages_and_loses_nothing(peripherals: Peripherals) {
        let mut storage = Storage::open(peripherals.FLASH).unwrap();
        let mut buffer = [0; CERTIFICATE_BYTES_MAX];
        storage.set_configuration(&configuration("here")).unwrap();
        for round in 0..9 {
            let bytes = vec![round; CERTIFICATE_BYTES_MAX];
            storage
                .set_certificate(CertificateSlot::Authority, &bytes)
                .unwrap();
            storage.set_boot_count(u32::from(round)).unwrap();
            let kept = storage.certificate(CertificateSlot::Authority, &mut buffer);
            defmt::assert!(kept == Some(&bytes[..]));
        }
        defmt::assert!(storage.configuration() == Some(configuration("here")));
        defmt::assert_eq!(storage.boot_count(), 8);
        storage.erase().unwrap();
    }

    #[test]
    fn a_request_leaves_the_reserve() {
        let free = heap::sample().free as usize;
        let most = heap::vec(free - heap::RESERVE_BYTES - 64).unwrap();
        defmt::assert!(heap::vec(1_024).is_err());
        defmt::assert_eq!(heap::sample().refused, 1);
        drop(black_box(most));
        defmt::assert!(heap::vec(1_024).is_ok());
        defmt::assert_eq!(heap::sample().refused, 1);
        defmt::assert_eq!(heap::sample().free as usize, free);
    }

    #[test]
    fn a_tls_session_wants_a_block_not_only_a_sum() {
        let needs = || heap::may_take(tls::SESSION_BYTES_MAX, tls::SESSION_BLOCK_BYTES);
        defmt::assert!(needs());
        // Holes that are each too small for a record, with walls between them.
        let (mut holes, mut walls) = (Vec::with_capacity(8), Vec::with_capacity(8));
        loop {
            let mut hole: Vec<u8> = Vec::new();
            if hole.try_reserve_exact(15 * 1024).is_err() {
                break;
            }
            holes.push(hole);
            walls.push(vec![0_u8; 16]);
        }
        let refused = heap::sample().refused;
        drop(black_box(holes));
        let sample = heap::sample();
        defmt::assert!(sample.free as usize >= tls::SESSION_BYTES_MAX + heap::RESERVE_BYTES);
        defmt::assert!((sample.largest_free_block as usize) < tls::SESSION_BLOCK_BYTES);
        defmt::assert!(!needs());
        defmt::assert_eq!(heap::sample().refused, refused + 1);
        drop(black_box(walls));
        defmt::assert!(needs());
    }

    #[test]
    fn without_memory_a_key_is_refused_and_nothing_panics() {
        let garbage = [0x30; 64];
        let check = |slot| tls::check(slot, &garbage);
        defmt::assert!(check(CertificateSlot::ClientKey) == Err(tls::Unsound::Malformed));
        defmt::assert!(check(CertificateSlot::Authority) == Err(tls::Unsound::Malformed));
        let mut taken = Vec::with_capacity(16);
        loop {
            let mut block: Vec<u8> = Vec::new();
            let largest = heap::largest_free_block() as usize;
            if largest == 0 || block.try_reserve_exact(largest).is_err() {
                break;
            }
            taken.push(block);
        }
        defmt::assert!(check(CertificateSlot::ClientKey) == Err(tls::Unsound::NoMemory));
        defmt::assert!(check(CertificateSlot::Authority) == Err(tls::Unsound::NoMemory));
        drop(black_box(taken));
        defmt::assert!(check(CertificateSlot::ClientKey) == Err(tls::Unsound::Malformed));
    }

    #[test]
    #[timeout(100)]
    async fn the_watchdog_waits_for_a_task_from_its_start_on(peripherals: Peripherals) {
        let timers = TimerGroup::new(peripherals.TIMG0);
        esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
        // Not started: nobody waits for it, however long.
        Timer::after_secs(42).await;
        defmt::assert!(watchdog::all_is_well());
        watchdog::check_in(watchdog::Task::Sensors);
        Timer::after_secs(38).await;
        defmt::assert!(watchdog::all_is_well());
        Timer::after_secs(4).await;
        defmt::assert!(!watchdog::all_is_well());
        watchdog::check_in(watchdog::Task::Sensors);
        defmt::assert!(watchdog::all_is_well());
    }

    #[test]
    async fn only_another_installation_forgets_the_sensors_points(peripherals: Peripherals) {
        storage::share(Storage::open(peripherals.FLASH).unwrap()).await;
        async fn kept() -> bool {
            let kept = storage::with(|s| Ok(s.kept(Kept::Sensors, &mut [0; 8]).is_some()));
            kept.await.unwrap()
        }
        storage::with(|s| s.keep(Kept::Sensors, &[7; 8]))
            .await
            .unwrap();
        // As at boot, with this configuration in flash.
        provisioning::set_current(&provision("same"));
        let mut again = provision("same");
        again.telemetry_interval_s = 5;
        provisioning::provision(again).await.unwrap();
        defmt::assert!(kept().await);
        provisioning::provision(provision("other")).await.unwrap();
        defmt::assert!(!kept().await);
        storage::with(Storage::erase).await.unwrap();
    }

    #[test]
    fn another_network_than_the_running_one_is_refused() {
        let over = |network: &NetworkDriver| Provision {
            network: network.clone(),
            ..provision("t")
        };
        let wifi = |ssid: &str, passphrase: &str| {
            NetworkDriver::Wifi(Wifi {
                ssid: ssid.try_into().unwrap(),
                passphrase: passphrase.try_into().unwrap(),
            })
        };
        let all = [
            wifi("attic", "correct horse"),
            wifi("attic", "battery staple"),
            wifi("cellar", "correct horse"),
            NetworkDriver::Ethernet,
        ];
        for network in &all {
            defmt::assert!(provisioning::check(&over(network)).is_ok());
        }
        for running in &all {
            provisioning::set_running(running);
            for network in &all {
                let expected = if network == running {
                    Ok(())
                } else {
                    Err(Refusal::Network)
                };
                defmt::assert!(provisioning::check(&over(network)) == expected);
            }
        }
    }

    #[test]
    #[timeout(20)]
    async fn all_sensors_of_the_bus_are_found_and_read(peripherals: Peripherals) {
        let timers = TimerGroup::new(peripherals.TIMG0);
        esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
        let line =
            OneWireLine::new(peripherals.UART1, firmware_app::one_wire_pin!(peripherals)).unwrap();
        let mut bus = Bus::new(line, Delay);
        let mut scanner = Box::new(Scanner::<60>::new(Settings {
            resolution: Resolution::Bits12,
            family: Some(Rom::DS18B20),
            attempts: 1,
            search_every: 12,
        }));
        // The first finds them.
        let newcomers = scanner.scan(&mut bus).await.newcomers;
        defmt::assert!(newcomers > 0, "the rig needs sensors on its bus");
        let report = scanner.scan(&mut bus).await;
        defmt::assert_eq!(report.newcomers, 0);
        let mut read = 0;
        for (_, point) in scanner.points() {
            defmt::assert_eq!(point.rom.family(), Rom::DS18B20);
            // What the runner sets before the tests.
            let Some(Outcome::Temperature(temperature)) = point.outcome else {
                defmt::panic!("{}", defmt::Debug2Format(&point.outcome));
            };
            defmt::assert_eq!(temperature.tenths(), 250);
            read += 1;
        }
        defmt::assert_eq!(read, newcomers);
        defmt::assert_eq!(scanner.statistics().crc_errors, 0);
    }

    fn configuration(device_id: &str) -> Configuration {
        Configuration {
            provision: provision(device_id),
            kept: heapless::Vec::from_slice(b"of the controller").unwrap(),
        }
    }

    fn provision(device_id: &str) -> Provision {
        Provision {
            device_id: device_id.try_into().unwrap(),
            network: NetworkDriver::Ethernet,
            broker: Broker {
                host: "10.0.2.2".try_into().unwrap(),
                port: 1883,
                keep_alive_s: 30,
                credentials: None,
                security: Security::Plain,
            },
            topic_levels: [const { TopicLevel::Skip }; 3],
            telemetry_interval_s: 60,
            retain_telemetry: false,
            time_server: heapless::String::new(),
        }
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let frame = DeviceFrame {
            boot: 7,
            sequence: u32::MAX,
            uptime_us: u64::MAX,
            body: DeviceBody::Panic {
                message: core::iter::repeat_n('x', 320).collect(),
            },
        };
        let mut buffer = [0; DEVICE_FRAME_BYTES_MAX];
        let bytes = encode(&frame, &mut buffer).unwrap();
        let mut decoder = FrameDecoder::<DEVICE_FRAME_BYTES_MAX>::new();
        let decoded = bytes
            .iter()
            .find_map(|byte| decoder.push::<DeviceFrame>(*byte));
        defmt::assert!(decoded == Some(Ok(frame)));
    }
}
