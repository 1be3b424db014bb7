//! Sensors and relays on the chip's pins, used by guests as firmware uses them.

use std::time::Duration;

use fixture_protocol::{
    BusFault, Profile, Relays, Request, Resolution, Response, SensorFault, SensorState, Statistics,
};
use probe_rs::MemoryInterface as _;
use virtual_rig::{FixtureSettings, RigEventKind, VirtualRig, VirtualRigSettings};

use crate::one_wire::{Master, Setup, roms, scan};
use crate::support::*;

const READ_ROM: [u8; 9] = [0x33, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
const HEARD: u32 = DATA + 0x20;
/// Chip time that a guest needs for a transaction and more.
const LONG: Duration = Duration::from_millis(200);
/// What a UART hears of its own reset pulse when nobody is there.
const NOBODY: u32 = 0xF0;

fn with_sensors(sensors: u8) -> VirtualRigSettings {
    VirtualRigSettings {
        fixture: FixtureSettings {
            sensors,
            ..FixtureSettings::default()
        },
        ..settings()
    }
}

fn ask(rig: &VirtualRig, request: Request) -> Response {
    rig.ask_fixture(&request).expect("the rig runs")
}

fn done(rig: &VirtualRig, request: Request) {
    assert_eq!(ask(rig, request.clone()), Response::Done, "{request:?}");
}

fn statistics(rig: &VirtualRig) -> Statistics {
    match ask(rig, Request::ReadStatistics) {
        Response::Statistics(statistics) => statistics,
        other => panic!("{other:?}"),
    }
}

fn sensor(rig: &VirtualRig, sensor: u8) -> SensorState {
    match ask(rig, Request::ReadSensor { sensor }) {
        Response::Sensor(state) => state,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn relays(rig: &VirtualRig) -> Relays {
    match ask(rig, Request::ReadRelays) {
        Response::Relays(relays) => relays,
        other => panic!("{other:?}"),
    }
}

/// Memory of the chip.
fn memory(rig: &VirtualRig, address: u32, length: usize) -> Vec<u8> {
    let mut session = attach(rig);
    let mut core = session.core(0).expect("a core");
    let mut bytes = vec![0; length];
    core.read_8(address.into(), &mut bytes)
        .expect("memory is read");
    bytes
}

/// What a guest with this setup hears: after its reset, and as the sensor's code.
fn read_rom(setup: &Setup, settings: VirtualRigSettings) -> (VirtualRig, u32, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::new(setup);
    master.reset();
    master.store_heard(HEARD);
    master.exchange(&READ_ROM, DATA);
    let rig = rig_with_settings(&master.finish(), &directory, settings);
    wait_until(&rig.clock(), LONG);
    let heard = memory(&rig, HEARD, 4).try_into().map(u32::from_le_bytes);
    let rom = memory(&rig, DATA + 1, 8);
    (rig, heard.expect("four bytes"), rom)
}

fn has_conflict(rig: &VirtualRig) -> bool {
    rig.events()
        .try_iter()
        .any(|event| event.what == RigEventKind::PinConflict { pin: 10 })
}

#[test]
fn a_uart_reads_the_code_of_the_sensor_on_its_pin() {
    let (rig, heard, rom) = read_rom(&Setup::RIGHT, with_sensors(1));
    assert_ne!(heard, NOBODY, "a presence pulse");
    assert_eq!(rom, roms(0, 1)[0].bytes());
    assert_eq!(sensor(&rig, 0).rom[..], rom);
    assert_eq!(statistics(&rig).resets, 1);
    assert!(!has_conflict(&rig));
    assert!(rig.statistics().unwrap().unmodelled.is_empty());
}

#[test]
fn an_empty_bus_answers_nothing() {
    let (_rig, heard, rom) = read_rom(&Setup::RIGHT, with_sensors(0));
    assert_eq!((heard, rom), (NOBODY, vec![0xFF; 8]));
}

#[test]
fn the_chips_pull_up_will_do_where_the_bus_has_none() {
    let mut settings = with_sensors(1);
    settings.fixture.one_wire_pull_up = false;
    let (_rig, _, rom) = read_rom(&Setup::RIGHT, settings.clone());
    assert_eq!(rom, roms(0, 1)[0].bytes());
    // Without any the line is low, and a UART hears nothing: the guest waits for ever.
    let none = Setup {
        pull_up: false,
        ..Setup::RIGHT
    };
    let settings = VirtualRigSettings {
        serial: self::settings().serial,
        ..settings
    };
    let (rig, ..) = read_rom(&none, settings);
    assert_eq!(statistics(&rig).resets, 0);
}

#[test]
fn a_push_pull_pin_fights_the_sensors_and_wins() {
    let push_pull = Setup {
        open_drain: false,
        ..Setup::RIGHT
    };
    let (rig, heard, rom) = read_rom(&push_pull, with_sensors(1));
    assert_eq!((heard, rom), (NOBODY, vec![0xFF; 8]));
    assert_eq!(statistics(&rig).resets, 1, "the sensor saw it all the same");
    assert!(has_conflict(&rig));
}

#[test]
fn a_receiver_on_no_pin_hears_nothing() {
    let deaf = Setup {
        listens: false,
        ..Setup::RIGHT
    };
    let (rig, ..) = read_rom(&deaf, with_sensors(1));
    assert_eq!(statistics(&rig).resets, 1);
    // It still waits for the echo of its reset pulse.
    assert!(rig.statistics().unwrap().idle_share > 0.5);
}

#[test]
fn slots_at_the_wrong_rate_are_nonsense_to_the_sensors() {
    let slow = Setup {
        baud: Setup::SLOW,
        ..Setup::RIGHT
    };
    let (rig, heard, rom) = read_rom(&slow, with_sensors(1));
    assert_ne!(heard, NOBODY, "the reset was right");
    assert_ne!(rom, sensor(&rig, 0).rom);
}

#[test]
fn sixty_sensors_are_read_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let roms = roms(0, 60);
    let rig = rig_with_settings(&scan(&roms, 1_000_000), &directory, with_sensors(60));
    for place in 0..60 {
        let temperature_millicelsius = 1_000 * i32::from(place);
        let profile = Profile::Constant {
            temperature_millicelsius,
        };
        done(
            &rig,
            Request::SetProfile {
                sensor: place,
                profile,
                start_us: None,
            },
        );
    }
    // Two scans of some 60 x 20 bytes of 0.7 ms, and a second between them.
    wait_until(&rig.clock(), Duration::from_secs(5));
    let bytes = memory(&rig, DATA, 0x100 + 32 * 60);
    assert!(bytes[0] >= 2, "{} scans", bytes[0]);
    for place in 0..60 {
        let scratchpad = &bytes[0x100 + 32 * place + 10..][..9];
        let register = i16::from_le_bytes([scratchpad[0], scratchpad[1]]);
        assert_eq!(register, 16 * place as i16, "{place}: {scratchpad:x?}");
        assert_eq!(fixture_devices::crc8(scratchpad), 0);
    }
    let statistics = statistics(&rig);
    assert!(statistics.readings >= 120 && statistics.conversions >= 120);
}

#[test]
fn a_bus_that_is_shorted_is_silent_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let roms = roms(0, 1);
    let rig = rig_with_settings(&scan(&roms, 10_000), &directory, with_sensors(1));
    let clock = rig.clock();
    let now = wait_until(&clock, LONG);
    assert!(statistics(&rig).resets > 2);
    done(
        &rig,
        Request::SetBusFault {
            fault: BusFault::ShortToGround,
            for_ms: Some(500),
        },
    );
    // The board takes a line that stays low for one pulse without an end.
    let resets = statistics(&rig).resets;
    let readings = sensor(&rig, 0).readings;
    wait_until(&clock, now + LONG * 2);
    let silent = statistics(&rig).resets;
    assert!(silent <= resets + 1, "{silent} after {resets}");
    assert_eq!(sensor(&rig, 0).readings, readings);
    // The short has ended, and the guest, which has waited for its echo in vain, goes on.
    wait_until(&clock, now + LONG * 5);
    assert!(statistics(&rig).resets > silent + 2);
    assert!(sensor(&rig, 0).readings > readings);
}

#[test]
fn sensors_lose_their_supply_with_the_device_or_not() {
    fn register_after_cut(sensors_on_device_supply: bool) -> i16 {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = with_sensors(1);
        settings.fixture.sensors_on_device_supply = sensors_on_device_supply;
        let roms = roms(0, 1);
        let rig = rig_with_settings(&scan(&roms, 500_000), &directory, settings);
        // One conversion of 0.75 s, and whatever wakes the sensor after it.
        let now = wait_until(&rig.clock(), Duration::from_millis(1_400));
        assert_eq!(sensor(&rig, 0).register, 16 * 20);
        rig.power_off();
        rig.power_on();
        wait_until(&rig.clock(), now + Duration::from_millis(10));
        sensor(&rig, 0).register
    }
    assert_eq!(register_after_cut(false), 16 * 20);
    assert_eq!(register_after_cut(true), 16 * 85);
}

#[test]
fn a_relay_follows_its_pin_after_its_travel() {
    let directory = tempfile::tempdir().unwrap();
    let (gpio, relay_4) = (0x6000_4000, 1 << 4);
    let program = [
        &no_watchdog()[..],
        &store(gpio + 0x0C, relay_4),
        &store(gpio + 0x24, relay_4),
        &store(gpio + 0x08, relay_4),
        &SLEEP,
    ]
    .concat();
    let rig = rig_with(&program, &directory);
    wait_until(&rig.clock(), LONG);
    let state = relays(&rig);
    // GPIO4 is the fourth relay.
    let closed: Vec<bool> = state.iter().map(|relay| relay.closed).collect();
    assert_eq!(
        closed,
        [false, false, false, true, false, false, false, false]
    );
    let booted = event(&rig, |what| {
        matches!(what, RigEventKind::Booted { .. }).then_some(())
    });
    let travel = Duration::from_micros(state[3].since_us) - booted.0;
    assert!(
        (6_000..9_000).contains(&travel.as_micros()),
        "{travel:?} from on to touch"
    );
    let edges = statistics(&rig).relay_edges;
    assert!(edges >= 1, "{edges}");
    let off = rig.clock().now();
    rig.power_off();
    wait_until(&rig.clock(), off + LONG);
    assert!(!relays(&rig)[3].closed, "no power, no coil");
}

#[test]
fn relays_rest_while_the_chip_is_in_reset() {
    // Nothing drives the pins; the chip's pull-ups, which a reset leaves on, are too weak.
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), &directory);
    wait_until(&rig.clock(), LONG);
    assert!(relays(&rig).iter().all(|relay| !relay.closed));
    assert_eq!(statistics(&rig).relay_edges, 0);
}

#[test]
fn a_board_that_starts_again_has_forgotten_everything() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with_settings(
        &[no_watchdog(), SLEEP.to_vec()].concat(),
        &directory,
        with_sensors(1),
    );
    done(
        &rig,
        Request::PlaceSensor {
            sensor: 7,
            rom: roms(9, 1)[0].bytes(),
            resolution: Resolution::Bits9,
        },
    );
    done(
        &rig,
        Request::SetSensorFault {
            sensor: 0,
            fault: SensorFault::NoPresence,
            for_ms: None,
        },
    );
    let now = wait_until(&rig.clock(), LONG);
    done(&rig, Request::SetPower { on: false });
    done(&rig, Request::Reboot);
    assert!(matches!(
        ask(&rig, Request::ReadSensor { sensor: 7 }),
        Response::Refused(_)
    ));
    let (_, ()) = event(&rig, |what| {
        (what == RigEventKind::Power { on: true }).then_some(())
    });
    match ask(&rig, Request::ReadClock) {
        Response::Clock { received_us } => {
            assert!(Duration::from_micros(received_us) < now, "it began anew");
        }
        other => panic!("{other:?}"),
    }
}
