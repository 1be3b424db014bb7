//! The fixture board on bad days: over the virtual rig's pseudo-terminal, with everything that can be
//! wrong with a serial line and a board. The device has nothing in its flash: it is not what these
//! tests are about.

use std::time::Instant;

use fixture_protocol::{
    BusFault, CutTrigger, Profile, RelayFault, RelayWiring, Request, Response, SensorFault,
};
use hil_bench::{Bench, BenchError, BenchEvent, OpenOptions, StampedEvent, event::FixtureEvent};
use tokio::sync::mpsc;
use virtual_rig::{LineFault, VirtualRig};

use crate::scene::{SECOND, rig_with};

/// Wall time in which anything at all happens.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

struct Scene {
    bench: Bench,
    events: mpsc::UnboundedReceiver<StampedEvent>,
    /// Kept for its drop.
    _project: tempfile::TempDir,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let project = tempfile::tempdir().expect("a directory");
        let (sender, events) = mpsc::unbounded_channel();
        let mut options = OpenOptions::new(project.path(), name);
        options.events = Some(sender);
        let rig = rig_with(name, "[fixture]\nkind = \"virtual\"\n");
        let bench = Bench::open(&rig, options).await.expect("opens");
        Self {
            bench,
            events,
            _project: project,
        }
    }

    fn rig(&self) -> &VirtualRig {
        self.bench.virtual_rig().expect("a virtual one")
    }

    fn plug(&self) {
        self.rig().plug_fixture_cable().expect("a pty");
    }

    /// What relay 1 is wired to.
    fn wire(&self, wiring: RelayWiring) {
        let wired = self.rig().ask_fixture(&Request::SetRelayWiring {
            relay: 0,
            wiring,
            settle_us: 1_000,
        });
        wired.expect("it is wired");
    }

    /// Relay 1 opens: first its input is pulled low, as by a closed contact, and then it is not.
    async fn open_relay(&self) {
        self.wire(RelayWiring::Coil { active_high: true });
        // The board sees its pin when chip time passes.
        self.bench.clock().sleep(SECOND / 10).await;
        self.wire(RelayWiring::Contact);
    }

    /// The next event of the fixture that `wanted` picks; others are passed over.
    async fn event<T>(&mut self, wanted: impl Fn(&FixtureEvent) -> Option<T>) -> T {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the bench is open");
                if let BenchEvent::Fixture(event) = &event.event
                    && let Some(found) = wanted(event)
                {
                    return found;
                }
            }
        });
        found.await.expect("it is told")
    }

    async fn outage(&mut self) {
        self.event(|event| matches!(event, FixtureEvent::Outage { .. }).then_some(()))
            .await;
    }

    async fn back(&mut self) {
        let back = |event: &FixtureEvent| match event {
            FixtureEvent::Reopened { helped: true, .. } => Some(()),
            _ => None,
        };
        self.event(back).await;
    }

    async fn trouble(&mut self) -> String {
        let trouble = |event: &FixtureEvent| match event {
            FixtureEvent::Trouble { what } => Some(what.clone()),
            _ => None,
        };
        self.event(trouble).await
    }

    /// A request that is answered as if nothing were wrong.
    async fn place_and_see(&self) {
        let sensors = self.bench.sensors().expect("there are sensors");
        sensors.place(2).await.expect("placed");
        sensors.set_temperature(1, 31.5).await.expect("set");
        let state = sensors.state(1).await.expect("read");
        assert_eq!(state.temperature_millicelsius, 31_500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_pulled_while_nobody_asks_is_told_and_the_board_found_again() {
    let mut scene = Scene::new("pulled-idle").await;
    scene.place_and_see().await;
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    // Longer than it takes to find out at once: it must be looked for again.
    tokio::time::sleep(SECOND / 2).await;
    scene.plug();
    scene.back().await;
    let sensors = scene.bench.sensors().expect("there are sensors");
    let state = sensors.state(1).await.expect("it has not forgotten");
    assert_eq!(state.temperature_millicelsius, 31_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_survives_a_cable_that_is_pulled_under_it() {
    let mut scene = Scene::new("pulled-asking").await;
    scene.place_and_see().await;
    // The board does it, and its answer is lost with the line.
    scene.rig().set_line_fault(&LineFault::Silence);
    let sensors = scene.bench.sensors().expect("there are sensors");
    let asked = tokio::spawn(async move {
        sensors.break_sensor(1, SensorFault::Unplugged).await?;
        sensors.mend_sensor(1).await
    });
    tokio::time::sleep(SECOND / 10).await;
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    scene.rig().set_line_fault(&LineFault::None);
    scene.plug();
    scene.back().await;
    asked.await.expect("no panic").expect("done after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_cable_and_no_board_is_an_error_of_the_port() {
    let mut scene = Scene::new("pulled-for-good").await;
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    let error = scene.bench.look_at_fixture().await.expect_err("no board");
    assert!(matches!(error, BenchError::FixturePort { .. }), "{error:?}");
    let failed = |event: &FixtureEvent| match event {
        FixtureEvent::Reopened { helped: false, .. } => Some(()),
        _ => None,
    };
    scene.event(failed).await;
    // Nothing hangs when it is closed.
    scene.bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_nobody_could_see_is_known_to_be_missing() {
    let mut scene = Scene::new("pulled-watching").await;
    let relays = scene.bench.relays().expect("there are relays");
    let mut edges = relays.watch().await.expect("watches");
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    scene.open_relay().await;
    let clock = scene.bench.clock().clone();
    assert!(clock.timeout(SECOND, edges.next_of(1)).await.is_err());
    scene.plug();
    let lost = |event: &FixtureEvent| match event {
        FixtureEvent::Lost { frames } => Some(*frames),
        _ => None,
    };
    assert!(scene.event(lost).await >= 1);
    scene.back().await;
    // What happens from now on is told again.
    // Five seconds are five seconds, also on a computer that is busy.
    let held = clock.in_flight();
    scene.open_relay().await;
    let edge = clock.timeout(5 * SECOND, edges.next_of(1)).await;
    drop(held);
    assert!(!edge.expect("an edge").closed);
    assert!(!relays.state(1).await.expect("read").closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_behind_a_pulled_cable_is_a_cut_all_the_same() {
    let mut scene = Scene::new("pulled-cutting").await;
    let power = scene.bench.power().expect("it switches");
    let clock = scene.bench.clock().clone();
    // The second until the cut is one until the cable is pulled.
    let held = clock.in_flight();
    let cutting = tokio::spawn(async move {
        let trigger = CutTrigger::After {
            delay_us: 1_000_000,
        };
        power.cut(trigger, SECOND / 10, 3_600 * SECOND).await
    });
    // The board knows of the cut before the cable is pulled, and carries it out afterwards.
    loop {
        let state = scene.rig().ask_fixture(&Request::ReadPower);
        match state.expect("the rig runs") {
            Response::Power(state) if state.cut_pending => break,
            _ => tokio::task::yield_now().await,
        }
    }
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    drop(held);
    clock.sleep(SECOND + SECOND / 2).await;
    scene.plug();
    scene.back().await;
    let cut = cutting.await.expect("no panic").expect("no error");
    assert!(cut, "the device lost its power");
    scene.bench.reset().await.expect("and is attached to again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_does_not_come_is_taken_back() {
    let scene = Scene::new("no-cut").await;
    let power = scene.bench.power().expect("it switches");
    let never = CutTrigger::FlashOperation {
        kind: fixture_protocol::FlashOperation::Erase,
        nth: 1,
        delay_us: None,
    };
    let cut = power.cut(never, SECOND, SECOND).await.expect("no error");
    assert!(!cut);
    let state = power.state().await.expect("read");
    assert!(state.on && !state.cut_pending);
    let now = power.cut(CutTrigger::Now, SECOND, SECOND).await;
    assert!(now.expect("no error"));
    scene.bench.reset().await.expect("attached");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_lost_bytes_cost_a_moment_at_most() {
    let mut scene = Scene::new("noise").await;
    let rig = scene.rig();
    rig.set_line_fault(&LineFault::Garbage(vec![0x55; 40]));
    scene.place_and_see().await;
    rig.set_line_fault(&LineFault::Drop(7));
    scene.place_and_see().await;
    // The board says that it could not read, and nobody waits for an answer in vain.
    rig.set_line_fault(&LineFault::DropFromHost(3));
    let asked = Instant::now();
    scene.bench.look_at_fixture().await.expect("answered");
    let took = asked.elapsed();
    assert!(took < SECOND / 2, "{took:?}");
    let line = |event: &FixtureEvent| matches!(event, FixtureEvent::Line { .. }).then_some(());
    scene.event(line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_says_nothing_is_an_error_and_comes_back() {
    let mut scene = Scene::new("silent").await;
    scene.rig().set_line_fault(&LineFault::Silence);
    let error = scene.bench.look_at_fixture().await.expect_err("silent");
    assert!(
        matches!(error, BenchError::FixtureSilent { .. }),
        "{error:?}"
    );
    scene.outage().await;
    scene.rig().set_line_fault(&LineFault::None);
    scene.back().await;
    scene.place_and_see().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_another_version_is_named() {
    let scene = Scene::new("other-version").await;
    let version = fixture_protocol::VERSION + 1;
    scene
        .rig()
        .set_line_fault(&LineFault::OtherVersion(version));
    let error = scene.bench.look_at_fixture().await.expect_err("refused");
    let BenchError::FixtureVersion { board, host } = error else {
        panic!("{error:?}");
    };
    assert_eq!((board, host), (version, fixture_protocol::VERSION));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_starts_anew_is_trouble_with_and_without_its_cable() {
    let mut scene = Scene::new("restarts-board").await;
    scene.place_and_see().await;
    let reboot = || scene.rig().ask_fixture(&Request::Reboot);
    reboot().expect("it does");
    assert!(scene.trouble().await.contains("started anew"));
    scene.place_and_see().await;
    scene.rig().pull_fixture_cable();
    scene.outage().await;
    let reboot = || scene.rig().ask_fixture(&Request::Reboot);
    reboot().expect("it does");
    scene.plug();
    assert!(scene.trouble().await.contains("started anew"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_follows_what_a_logger_wrote() {
    let scene = Scene::new("recorded").await;
    let sensors = scene.bench.sensors().expect("there are sensors");
    sensors.place(1).await.expect("placed");
    // More points than one request carries: up by a degree each second.
    let lines = (0..30).map(|second| format!("{second},{second}.0\n"));
    let text: String = lines.collect();
    sensors.follow_csv(0, &text).await.expect("follows");
    scene.bench.clock().sleep(26 * SECOND).await;
    let measured = sensors.state(0).await.expect("read");
    let measured = measured.temperature_millicelsius;
    assert!((26_000..29_000).contains(&measured), "{measured}");
    scene.bench.clock().sleep(10 * SECOND).await;
    let last = sensors.state(0).await.expect("read");
    assert_eq!(last.temperature_millicelsius, 29_000);
    let error = sensors.follow_csv(0, "0,20\n1,warm\n").await;
    let error = error.expect_err("no number").to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_set_and_taken_off_and_what_is_not_there_is_refused() {
    let scene = Scene::new("faults").await;
    let sensors = scene.bench.sensors().expect("there are sensors");
    sensors.place(1).await.expect("placed");
    for fault in [Some(BusFault::ShortToGround), None] {
        sensors.set_bus_fault(fault).await.expect("set");
    }
    let relays = scene.bench.relays().expect("there are relays");
    let fault = Some(RelayFault::CoilOpen);
    relays.set_fault(1, fault).await.expect("set");
    relays.set_fault(1, None).await.expect("taken off");
    scene.wire(RelayWiring::Contact);
    let error = relays.set_fault(1, fault).await.expect_err("a real one");
    assert!(
        matches!(error, BenchError::FixtureRefused { .. }),
        "{error:?}"
    );
    let error = relays.set_fault(9, fault).await.expect_err("no relay 9");
    assert!(
        matches!(error, BenchError::FixtureRefused { .. }),
        "{error:?}"
    );
    let profile = Profile::Constant {
        temperature_millicelsius: 0,
    };
    let error = sensors.follow(7, profile).await.expect_err("no sensor 7");
    assert!(
        matches!(error, BenchError::FixtureRefused { .. }),
        "{error:?}"
    );
}
