//! Chip time and wall time, with a live chip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use virtual_rig::{PollLimits, VirtualRig};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// A chip that sleeps.
fn asleep(directory: &tempfile::TempDir) -> VirtualRig {
    rig_with(&[no_watchdog(), SLEEP.to_vec()].concat(), directory)
}

#[test]
fn alarms_fire_in_order_at_their_time() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let (fire, fired) = unbounded();
    let hold = clock.in_flight();
    let start = clock.now();
    let alarms: Vec<_> = [3u32, 1, 2]
        .into_iter()
        .map(|after| {
            let (fire, clock_then) = (fire.clone(), clock.clone());
            let callback = move || fire.send((after, clock_then.now())).unwrap();
            clock.call_at(start + SECOND * after, Box::new(callback))
        })
        .collect();
    drop(hold);
    for expected in [1, 2, 3] {
        let (after, at) = fired.recv_timeout(PATIENCE).unwrap();
        assert_eq!(after, expected);
        assert!(
            at >= start + SECOND * after && at < start + SECOND * after + SECOND / 100,
            "{at:?}"
        );
    }
    drop(alarms);
}

#[test]
fn a_dropped_alarm_does_not_fire() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let hold = clock.in_flight();
    let (cancelled, fired) = alarm(&clock, clock.now() + SECOND);
    drop(cancelled);
    drop(hold);
    wait_until(&clock, clock.now() + SECOND * 2);
    assert!(fired.try_recv().is_err());
}

#[test]
fn an_idle_hour_costs_what_its_polls_cost() {
    // Chip time over wall time of a chip that never rests, before and after: the computer may get
    // busy in between.
    let before = speed_when_busy();
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let (stop, polls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let poller = clock.poller(PollLimits::default());
    let thread = {
        let (stop, polls) = (stop.clone(), polls.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if poller.wait(Duration::from_millis(20)) {
                    polls.fetch_add(1, Ordering::Relaxed);
                    poller.done();
                }
            }
        })
    };
    let executed = rig.statistics().unwrap().instructions;
    let part = SECOND * 600;
    let speed = (0..6).map(|_| {
        let started = Instant::now();
        wait_until(&clock, clock.now() + part);
        part.as_secs_f64() / started.elapsed().as_secs_f64()
    });
    let speed = speed.fold(0.0, f64::max);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let executed = rig.statistics().unwrap().instructions - executed;
    drop(rig);
    let busy = before.max(speed_when_busy());

    // One stop every 100 ms: the chip neither ran past its poller nor stopped for nothing.
    let polls = polls.load(Ordering::Relaxed);
    assert!((35_900..=36_100).contains(&polls), "{polls} polls");
    // A chip that idles by executing would have executed 5.8e11.
    assert!(executed < 1_000_000, "{executed} instructions");
    println!("idle {speed:.0}, busy {busy:.1} s of chip time a second");
    assert!(
        speed > IDLE_SPEED_UP * busy,
        "idle {speed:.0}, busy {busy:.1} s of chip time a second"
    );
}

/// The least by which a chip that only waits must be ahead of one that never does.
const IDLE_SPEED_UP: f64 = 50.0;

/// Seconds of chip time in a second of wall time, flat out, while a chip executes without a pause.
fn speed_when_busy() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    // addi a0, a0, 1; addi a2, a2, 2; j -8
    let counts = vec![0x0015_0513, 0x0026_0613, 0xFF9F_F06F];
    let program = [no_watchdog(), counts].concat();
    let rig = rig_with(&program, &directory);
    let clock = rig.clock();
    let _flies = clock.flat_out();
    let part = SECOND / 5;
    // Once to warm up.
    wait_until(&clock, clock.now() + part);
    let speeds = (0..3).map(|_| {
        let started = Instant::now();
        wait_until(&clock, clock.now() + part);
        part.as_secs_f64() / started.elapsed().as_secs_f64()
    });
    speeds.fold(0.0, f64::max)
}

#[test]
fn a_poller_stops_a_busy_chip_by_instructions() {
    let directory = tempfile::tempdir().unwrap();
    let rig = rig_with(&[no_watchdog(), vec![0x0000_006F]].concat(), &directory);
    let clock = rig.clock();
    let _flies = clock.flat_out();
    let poller = clock.poller(PollLimits {
        chip_time: SECOND,
        instructions: 50_000,
    });
    let mut last = None;
    for _ in 0..20 {
        assert!(poller.wait(PATIENCE));
        let now = rig.statistics().unwrap().instructions;
        if let Some(before) = last {
            let ran = now - before;
            assert!(
                (50_000..51_000).contains(&ran),
                "{ran} instructions between two polls"
            );
        }
        last = Some(now);
        poller.done();
    }
}

#[test]
fn nothing_flies_while_something_is_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let _hold = clock.in_flight();
    let (wall, chip) = (Instant::now(), clock.now());
    let at = wait_until(&clock, chip + SECOND / 5);
    let went_by = wall.elapsed();
    assert!(
        went_by + Duration::from_millis(1) >= at - chip,
        "{:?} of chip time in {went_by:?}",
        at - chip
    );
}

#[test]
fn the_clock_never_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let mut last = clock.now();
    for round in 0..200u32 {
        let guard = (round % 3 == 0).then(|| clock.in_flight());
        if round % 20 == 5 {
            wait_until(&clock, clock.now() + Duration::from_millis(3));
        }
        let now = clock.now();
        assert!(now >= last, "{last:?} -> {now:?}");
        last = now;
        drop(guard);
    }
}

#[test]
fn an_idle_rig_leaves_the_processor_alone() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let _hold = clock.in_flight();
    let before = rig.statistics().unwrap();
    wait_until(&clock, clock.now() + SECOND / 2);
    let after = rig.statistics().unwrap();
    let (busy, wall) = (
        after.busy_time - before.busy_time,
        after.wall_time - before.wall_time,
    );
    assert!(busy * 4 < wall, "busy for {busy:?} of {wall:?}");
    assert!(after.idle_share > 0.9, "{}", after.idle_share);
}

#[test]
fn the_end_of_a_rig_strands_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let rig = asleep(&directory);
    let clock = rig.clock();
    let hold = clock.in_flight();
    let (_alarm, fired) = alarm(&clock, clock.now() + SECOND * 1000);
    let poller = clock.poller(PollLimits {
        chip_time: SECOND * 1000,
        instructions: u64::MAX / 2,
    });
    let waiting = std::thread::spawn(move || poller.wait(PATIENCE));
    drop(rig);
    assert!(
        fired.recv_timeout(PATIENCE).is_err(),
        "an alarm fired after the end"
    );
    assert!(!waiting.join().unwrap());
    drop(hold);
    assert_eq!(clock.now(), clock.now());
    let (_late, fired) = alarm(&clock, Duration::ZERO);
    assert!(fired.recv_timeout(PATIENCE).is_err());
}
