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
    use alloc::{boxed::Box, vec, vec::Vec};
    use core::hint::black_box;

    use embassy_futures::join::join;
    use embassy_time::{Duration, Instant, Timer};
    use esp_hal::{peripherals::Peripherals, timer::timg::TimerGroup};
    use firmware_app::{
        allocation_trace,
        boot_memory::BootMemory,
        call_path, heap, stack,
        storage::{Configuration, Kept, Storage},
    };
    use firmware_wire::{
        Broker, CERTIFICATE_BYTES_MAX, CertificateSlot, DEVICE_FRAME_BYTES_MAX, DeviceBody,
        DeviceFrame, FrameDecoder, NetworkDriver, Provision, Security, TopicLevel, encode,
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
