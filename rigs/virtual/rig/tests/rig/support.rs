//! Rigs, sessions and little programs for the tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use probe_rs::probe::list::Lister;
use probe_rs::probe::{DebugProbeSelector, Probe};
use probe_rs::{Core, MemoryInterface, Permissions, Session};
use virtual_rig::{
    Alarm, ChipClock, RigEventKind, VirtualRig, VirtualRigSettings, register_plugin,
};

/// Where programs go: SRAM as the instruction bus sees it.
pub(crate) const CODE: u32 = 0x4038_0000;
/// Where programs leave results: SRAM as the data bus sees it, far from the code.
pub(crate) const DATA: u32 = 0x3FC9_8000;
/// Longest wait for anything, in wall time. Only a failing test ever waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Counts in a0 and at [`DATA`] (address in a1), and by two in a2, for ever. Four instructions a round.
pub(crate) const COUNT: [u32; 4] = [
    0x0015_0513, // addi a0, a0, 1
    0x00A5_A023, // sw a0, 0(a1)
    0x0026_0613, // addi a2, a2, 2
    0xFF5F_F06F, // j -12
];
/// Sleeps for ever.
pub(crate) const SLEEP: [u32; 2] = [0x1050_0073, 0xFFDF_F06F]; // wfi; j -4

/// Settings with a serial number no other test has.
pub(crate) fn settings() -> VirtualRigSettings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    VirtualRigSettings::new(format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// A rig with nothing in its flash.
pub(crate) fn rig() -> VirtualRig {
    start(settings())
}

pub(crate) fn start(settings: VirtualRigSettings) -> VirtualRig {
    probe_rs_espressif::register_plugin();
    register_plugin();
    VirtualRig::start(settings).expect("a rig starts")
}

/// A rig whose flash holds this program.
pub(crate) fn rig_with(program: &[u32], directory: &tempfile::TempDir) -> VirtualRig {
    rig_with_settings(program, directory, settings())
}

/// A rig of these settings whose flash holds this program.
pub(crate) fn rig_with_settings(
    program: &[u32],
    directory: &tempfile::TempDir,
    settings: VirtualRigSettings,
) -> VirtualRig {
    let file = directory.path().join("flash.bin");
    std::fs::write(&file, image(program)).expect("a temporary file can be written");
    start(VirtualRigSettings {
        flash_file: Some(file),
        ..settings
    })
}

pub(crate) fn open(selector: &str) -> Probe {
    let selector: DebugProbeSelector = selector.parse().expect("a selector");
    Lister::new().open(selector).expect("the probe opens")
}

pub(crate) fn attach(rig: &VirtualRig) -> Session {
    open(&rig.selector())
        .attach("esp32c3", Permissions::default())
        .expect("the session attaches")
}

/// Halts the core, loads a program and lets it run from its first word.
pub(crate) fn load(core: &mut Core, program: &[u32]) {
    core.halt(PATIENCE).expect("the core halts");
    core.write_32(CODE.into(), program)
        .expect("code is written");
    core.write_core_reg(core.program_counter(), CODE)
        .expect("pc is written");
    core.write_core_reg(probe_rs::RegisterId(0x100B), DATA)
        .expect("a1 is written");
}

/// Waits for chip time to reach `at`. The wall clock is only for the case that it never does.
pub(crate) fn wait_until(clock: &ChipClock, at: Duration) -> Duration {
    let (_alarm, fired) = alarm(clock, at);
    fired.recv_timeout(PATIENCE).expect("the alarm fires")
}

/// An alarm that sends the chip time at which it fired.
pub(crate) fn alarm(clock: &ChipClock, at: Duration) -> (Alarm, Receiver<Duration>) {
    let (fire, fired) = bounded(1);
    let now = clock.clone();
    let alarm = clock.call_at(
        at,
        Box::new(move || {
            let _ = fire.send(now.now());
        }),
    );
    (alarm, fired)
}

/// The next event that `wanted` picks; others are passed over.
pub(crate) fn event<T>(
    rig: &VirtualRig,
    mut wanted: impl FnMut(RigEventKind) -> Option<T>,
) -> (Duration, T) {
    let events = rig.events();
    loop {
        let event = events.recv_timeout(PATIENCE).expect("the event comes");
        if let Some(found) = wanted(event.what) {
            return (event.at, found);
        }
    }
}

pub(crate) fn lui(register: u32, value: u32) -> u32 {
    (value.wrapping_add(0x800) & 0xFFFF_F000) | register << 7 | 0x37
}

pub(crate) fn addi(register: u32, source: u32, value: u32) -> u32 {
    value << 20 | source << 15 | register << 7 | 0x13
}

/// A call of the address in `target`.
pub(crate) fn jalr(link: u32, target: u32) -> u32 {
    target << 15 | link << 7 | 0x67
}

/// `*address = value`, with t0 and t1.
pub(crate) fn store(address: u32, value: u32) -> [u32; 5] {
    let (t0, t1) = (5, 6);
    [
        lui(t0, address),
        addi(t0, t0, address & 0xFFF),
        lui(t1, value),
        addi(t1, t1, value & 0xFFF),
        t1 << 20 | t0 << 15 | 0b010 << 12 | 0x23, // sw t1, 0(t0)
    ]
}

/// What firmware does first: turns off the watchdog that the boot loader left on.
pub(crate) fn no_watchdog() -> Vec<u32> {
    [store(0x6000_80A8, 0x50D8_3AA1), store(0x6000_8090, 0)].concat()
}

/// A 4 MiB flash with a partition table and this program as the application, loaded to [`CODE`].
pub(crate) fn image(program: &[u32]) -> Vec<u8> {
    let code: Vec<u8> = program.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut table = vec![0xAA, 0x50, 0, 0];
    table.extend(0x1_0000u32.to_le_bytes());
    table.extend(0x10_0000u32.to_le_bytes());
    table.extend(b"factory\0\0\0\0\0\0\0\0\0");
    table.extend([0; 4]);

    let mut app = vec![0xE9, 1, 2, 0x2F];
    app.extend(CODE.to_le_bytes());
    app.extend([0xEE, 0, 0, 0]); // no write-protect pin, default drive
    app.extend(5u16.to_le_bytes()); // ESP32-C3
    app.extend([0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0]); // any revision
    app.push(0); // no hash behind
    app.extend(CODE.to_le_bytes());
    app.extend((code.len() as u32).to_le_bytes());
    app.extend(&code);
    while app.len() % 16 != 15 {
        app.push(0);
    }
    app.push(code.iter().fold(0xEF, |sum, byte| sum ^ byte));

    let mut flash = vec![0xFF; 4 << 20];
    flash[0x8000..][..table.len()].copy_from_slice(&table);
    flash[0x1_0000..][..app.len()].copy_from_slice(&app);
    // The boot loader is emulated, but there has to be one.
    flash[..app.len()].copy_from_slice(&app);
    flash
}
