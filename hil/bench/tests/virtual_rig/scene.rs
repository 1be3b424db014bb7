//! A bench with the real firmware on a virtual rig of its own, for each test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use firmware_wire::{ControlBody, Fault, Hello};
use hil_bench::{Bench, BenchEvent, Crash, CrashWatch, FirmwareImage, OpenOptions, StampedEvent};
use hil_rig::{ResolvedRig, Rig};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The firmware with its test hooks.
pub(crate) fn image() -> FirmwareImage {
    firmware(&["build", "--bins", "--features", "test-hooks"])
}

/// The firmware as it ships.
fn shipping_image() -> FirmwareImage {
    firmware(&["build", "--bins"])
}

fn firmware(arguments: &[&str]) -> FirmwareImage {
    // Both are put in the same place: one is read before the other is built.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    load(&build(arguments), "firmware-app")
}

/// The on-target test program of that name.
pub(crate) fn test_program(name: &str) -> FirmwareImage {
    load(&build(&["test", "--no-run", "--test", name]), name)
}

/// The on-target test program whose tests fail in every way.
pub(crate) fn failing_test_program() -> FirmwareImage {
    let arguments = [
        "test",
        "--no-run",
        "--test",
        "endings",
        "--features",
        "failing-tests",
    ];
    load(&build(&arguments), "endings")
}

/// The path of the firmware's example program of that name.
#[allow(dead_code, reason = "for benchmarks")]
pub(crate) fn example(name: &str) -> PathBuf {
    build(&["build", "--example", name])[name].clone()
}

fn load(built: &BTreeMap<String, PathBuf>, name: &str) -> FirmwareImage {
    let path = built
        .get(name)
        .unwrap_or_else(|| panic!("no `{name}` in {built:?}"));
    FirmwareImage::load(path, "esp32c3").unwrap_or_else(|error| panic!("{error}"))
}

/// Runs cargo in the firmware's workspace; the programs that it made, by name.
fn build(arguments: &[&str]) -> BTreeMap<String, PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // Beside the host's own: cargo's lock there is held while tests are built.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a target directory")
        .join("firmware");
    let output = Command::new(env!("CARGO"))
        .current_dir(root.join("firmware/app"))
        .args(arguments)
        .args([
            "--quiet",
            "--release",
            "--message-format",
            "json",
            "--target-dir",
        ])
        .arg(target)
        .output()
        .expect("cargo can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the firmware can't be built: {said}"
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let program = message["executable"].as_str()?;
            Some((
                message["target"]["name"].as_str()?.to_owned(),
                program.into(),
            ))
        })
        .collect()
}

/// A virtual rig called `name`, with no fixture.
pub(crate) fn rig(name: &str) -> ResolvedRig {
    rig_with(name, "")
}

/// A virtual rig called `name`, with these tables beside those that every rig has.
pub(crate) fn rig_with(name: &str, tables: &str) -> ResolvedRig {
    let text = format!(
        r#"schema = 1
name = "{name}"
[device]
chip = "esp32c3"
firmware = "firmware/app"
device-id = "t1"
[probe]
kind = "virtual"
[network]
driver = "ethernet"
[broker]
kind = "embedded"
{tables}"#
    );
    Rig::parse(Path::new(&format!("{name}.toml")), &text)
        .and_then(|rig| rig.resolve(|_| None))
        .unwrap_or_else(|error| panic!("{error:?}"))
}

/// The contents of a flash with the image, written once for all tests.
async fn flashed(image: &FirmwareImage) -> &'static [u8] {
    static FLASH: OnceCell<Vec<u8>> = OnceCell::const_new();
    let flash = FLASH.get_or_init(|| async {
        let project = tempfile::tempdir().expect("a directory");
        let options = OpenOptions::new(project.path(), "preparing a flash");
        let bench = Bench::open(&rig("preparation"), options)
            .await
            .expect("opens");
        bench.flash(image).await.expect("flashes");
        let state = bench.state_directory().to_owned();
        bench.close().await;
        fs::read(state.join("flash.bin")).expect("the flash was kept")
    });
    flash.await
}

/// A device that has booted, on a bench of its own.
pub(crate) struct Scene {
    pub(crate) bench: Bench,
    pub(crate) hello: Hello,
    pub(crate) events: mpsc::UnboundedReceiver<StampedEvent>,
    /// All crashes since the bench was opened.
    pub(crate) crashes: CrashWatch,
    /// Kept for its drop.
    _project: tempfile::TempDir,
}

impl Scene {
    /// Opens a rig called `name`, which no other test of this program has, and boots its device.
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, |_| {}).await
    }

    /// As [`Scene::new`], with other options.
    pub(crate) async fn with(name: &str, change: impl FnOnce(&mut OpenOptions)) -> Self {
        let image = image();
        let flash = flashed(&image).await;
        Self::open(name, &image, Some(flash), change).await
    }

    /// As [`Scene::new`], with the firmware as it ships.
    pub(crate) async fn shipping(name: &str) -> Self {
        Self::open(name, &shipping_image(), None, |_| {}).await
    }

    /// `flash` holds `image` if it is given.
    async fn open(
        name: &str,
        image: &FirmwareImage,
        flash: Option<&[u8]>,
        change: impl FnOnce(&mut OpenOptions),
    ) -> Self {
        let project = tempfile::tempdir().expect("a directory");
        let rig = rig(name);
        if let Some(flash) = flash {
            let state = rig.rig.state_directory(project.path());
            fs::create_dir_all(&state).expect("a directory");
            fs::write(state.join("flash.bin"), flash).expect("a flash");
        }
        let (sender, events) = mpsc::unbounded_channel();
        let mut options = OpenOptions::new(project.path(), name);
        options.events = Some(sender);
        options.silence = 5 * SECOND;
        change(&mut options);
        let bench = Bench::open(&rig, options).await.expect("opens");
        let crashes = bench.device().crashes();
        if flash.is_none() {
            bench.flash(image).await.expect("flashes");
        }
        bench.listen_to(image).await.expect("listens");
        bench.reset().await.expect("resets");
        let hello = bench.device().wait_boot(10 * SECOND).await.expect("boots");
        Self {
            bench,
            hello,
            events,
            crashes,
            _project: project,
        }
    }

    /// Plays a fault; the answer may get lost in it.
    pub(crate) async fn inject(&self, fault: Fault) {
        self.bench
            .device()
            .demand(ControlBody::Inject(fault))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }

    /// The crash that `fault` leads to.
    pub(crate) async fn crash(&self, fault: Fault) -> Crash {
        let mut crashes = self.bench.device().crashes();
        self.inject(fault).await;
        let crash = self
            .bench
            .clock()
            .timeout(60 * SECOND, crashes.next())
            .await;
        (*crash.expect("a crash")).clone()
    }

    /// All events so far.
    pub(crate) async fn so_far(&mut self) -> Vec<BenchEvent> {
        self.bench.drain().await.expect("open");
        let mut events = vec![];
        while let Ok(event) = self.events.try_recv() {
            events.push(event.event);
        }
        events
    }

    /// Waits for an event that fits, one minute of bench time at most.
    pub(crate) async fn wait_for(&mut self, fits: impl Fn(&BenchEvent) -> bool) -> BenchEvent {
        let clock = self.bench.clock().clone();
        let found = clock.timeout(60 * SECOND, async {
            while let Some(event) = self.events.recv().await {
                if fits(&event.event) {
                    return event.event;
                }
            }
            panic!("the bench was closed");
        });
        found.await.expect("the event comes")
    }
}
