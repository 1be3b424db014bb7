//! The rules of pace by the microsecond: chip and wall are numbers that a test moves.

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A pacer with a pretended chip and wall clock.
struct World {
    pacer: Pacer<&'static str>,
    wall: Duration,
    chip: Duration,
    instructions: u64,
    activity: Activity,
}

fn world() -> World {
    World {
        pacer: Pacer::new(Pace::default()),
        wall: Duration::ZERO,
        chip: Duration::ZERO,
        instructions: 0,
        activity: Activity::Idle(None),
    }
}

impl World {
    fn next(&mut self) -> Step<&'static str> {
        self.ask(false)
    }

    fn ask(&mut self, exact: bool) -> Step<&'static str> {
        self.pacer.next(Now {
            wall: self.wall,
            chip: self.chip,
            instructions: self.instructions,
            activity: self.activity,
            exact,
        })
    }

    /// Does what is asked, in no wall time but where it sleeps, until the wall clock reads `end`. Returns what fired.
    fn live(&mut self, end: Duration) -> Vec<(&'static str, Duration)> {
        let mut fired = Vec::new();
        for _ in 0..100_000 {
            match self.next() {
                Step::Fire(name) => fired.push((name, self.chip)),
                Step::Run { until, .. } => {
                    assert!(until > self.chip, "asked to run nowhere: {until:?}");
                    self.chip = until;
                }
                Step::Sleep { until } | Step::StandForPoll { until } => {
                    assert!(until > self.wall, "asked to sleep no time: {until:?}");
                    if until >= end {
                        self.wall = end;
                        return fired;
                    }
                    self.wall = until;
                }
            }
        }
        panic!("never came to rest");
    }
}

fn run(until: Duration) -> Step<&'static str> {
    Step::Run {
        until,
        instructions: u64::MAX,
    }
}

fn sleep(until: Duration) -> Step<&'static str> {
    Step::Sleep { until }
}

const NANO: Duration = Duration::from_nanos(1);
const LONG: Duration = Duration::from_nanos(100_000_001);

#[test]
fn with_nothing_pending_the_chip_is_lifelike() {
    let mut world = world();
    world.activity = Activity::Busy;
    assert_eq!(world.next(), sleep(STRETCH + NANO));
    world.wall = MS * 5;
    assert_eq!(world.next(), run(MS * 5));
    world.chip = MS * 5;
    assert_eq!(world.next(), sleep(MS * 5 + STRETCH + NANO));
}

#[test]
fn an_idle_chip_lets_its_thread_sleep_until_its_next_event() {
    fn check(next: Option<Duration>, expected: Duration) {
        let mut world = world();
        world.activity = Activity::Idle(next);
        assert_eq!(world.next(), sleep(expected), "{next:?}");
    }
    check(None, LONG);
    check(Some(MS * 7), MS * 7 + NANO);
    check(Some(SECOND), LONG);
}

#[test]
fn whatever_comes_from_outside_finds_the_chip_up_to_date() {
    let mut world = world();
    world.activity = Activity::Idle(Some(SECOND));
    world.wall = Duration::from_micros(1234);
    assert_eq!(world.ask(false), sleep(LONG));
    assert_eq!(world.ask(true), run(Duration::from_micros(1234)));
}

#[test]
fn the_multiple_scales_lifelike_time() {
    fn check(multiple: f64, wall: Duration, chip: Duration) {
        let mut world = world();
        world.pacer = Pacer::new(Pace {
            multiple,
            ..Pace::default()
        });
        world.activity = Activity::Busy;
        world.wall = wall;
        assert_eq!(world.next(), run(chip), "{multiple}");
    }
    check(1.0, MS * 10, MS * 10);
    check(4.0, MS * 10, MS * 40);
    check(0.5, MS * 10, MS * 5);
}

#[test]
fn an_alarm_makes_time_fly_up_to_it_and_not_past() {
    let mut world = world();
    world.pacer.add_alarm(SECOND * 3600, "hour");
    assert_eq!(world.next(), run(SECOND * 3600));
    world.chip = SECOND * 3600;
    assert_eq!(world.next(), Step::Fire("hour"));
    assert_eq!(world.next(), sleep(LONG));
}

#[test]
fn alarms_fire_in_order_and_those_in_the_past_at_once() {
    let mut world = world();
    world.chip = SECOND;
    for (at, name) in [(3, "c"), (2, "b1"), (0, "a"), (2, "b2")] {
        world.pacer.add_alarm(SECOND * at, name);
    }
    let fired = world.live(MS);
    assert_eq!(
        fired,
        [
            ("a", SECOND),
            ("b1", SECOND * 2),
            ("b2", SECOND * 2),
            ("c", SECOND * 3)
        ]
    );
    assert_eq!(world.chip, SECOND * 3);
}

#[test]
fn a_cancelled_alarm_neither_fires_nor_speeds_up_time() {
    let mut world = world();
    let id = world.pacer.add_alarm(SECOND, "never");
    assert_eq!(world.pacer.cancel_alarm(SECOND, id), Some("never"));
    assert_eq!(world.pacer.cancel_alarm(SECOND, id), None);
    assert_eq!(world.live(MS * 10), []);
    assert!(world.chip <= MS * 10);
}

#[test]
fn an_operation_in_flight_holds_time_back() {
    let mut world = world();
    world.activity = Activity::Busy;
    world.pacer.add_alarm(SECOND, "alarm");
    world.pacer.enter_flight();
    assert_eq!(world.live(MS * 30), []);
    assert!(
        world.chip > MS * 28 && world.chip <= MS * 30,
        "{:?}",
        world.chip
    );
    world.pacer.leave_flight();
    assert_eq!(world.live(MS * 31), [("alarm", SECOND)]);
}

#[test]
fn an_alarm_that_comes_due_in_flight_fires_on_time() {
    let mut world = world();
    world.pacer.enter_flight();
    world.pacer.add_alarm(MS * 7, "seven");
    assert_eq!(world.live(MS * 20), [("seven", MS * 7)]);
}

#[test]
fn guards_count() {
    let mut world = world();
    world.pacer.add_alarm(SECOND, "alarm");
    world.pacer.enter_flight();
    world.pacer.enter_flight();
    world.pacer.leave_flight();
    assert_eq!(world.live(MS), []);
    world.pacer.leave_flight();
    assert_eq!(world.live(MS * 2), [("alarm", SECOND)]);
}

#[test]
fn traffic_holds_time_back_until_it_has_settled() {
    let mut world = world();
    world.pacer.add_alarm(SECOND, "alarm");
    world.wall = MS * 100;
    world.pacer.note_traffic(MS * 100);
    assert_eq!(world.next(), run(MS * 100));
    world.chip = MS * 100;
    assert_eq!(world.next(), sleep(MS * 120));
    assert_eq!(world.live(MS * 119), []);
    assert_eq!(world.live(MS * 121), [("alarm", SECOND)]);
}

#[test]
fn traffic_has_settled_when_nobody_is_left_who_could_answer() {
    let mut world = world();
    world.pacer = Pacer::new(Pace {
        peers: Peers::Here,
        ..Pace::default()
    });
    assert!(!world.pacer.waits_for_peers(MS), "no traffic yet");
    world.pacer.note_traffic(MS);
    assert!(!world.pacer.waits_for_peers(MS), "no alarm to fly to");
    world.pacer.add_alarm(SECOND, "alarm");
    assert!(world.pacer.waits_for_peers(MS));
    assert!(!world.pacer.waits_for_peers(MS * 21), "settled anyway");
    world.pacer.enter_flight();
    assert!(!world.pacer.waits_for_peers(MS), "held by somebody else");
    world.pacer.leave_flight();
    assert_eq!(world.live(MS * 5), []);
    world.pacer.settle();
    assert_eq!(world.live(MS * 6), [("alarm", SECOND)]);
}

#[test]
fn traffic_that_is_slow_settles_no_sooner() {
    let mut world = world();
    world.pacer = Pacer::new(Pace {
        peers: Peers::Here,
        ..Pace::default()
    });
    world.pacer.add_alarm(SECOND, "alarm");
    world.pacer.note_slow_traffic(MS);
    world.pacer.note_traffic(MS * 10);
    assert!(!world.pacer.waits_for_peers(MS * 20));
    assert!(world.pacer.waits_for_peers(MS * 21));
}

#[test]
fn whoever_is_in_another_process_gets_the_whole_time_to_answer() {
    let mut world = world();
    world.pacer.add_alarm(SECOND, "alarm");
    world.pacer.note_traffic(MS);
    assert!(!world.pacer.waits_for_peers(MS));
}

#[test]
fn a_halted_hart_never_makes_time_fly() {
    let mut world = world();
    world.activity = Activity::Halted;
    world.pacer.add_alarm(SECOND, "alarm");
    assert_eq!(world.live(MS * 150), []);
    assert!(world.chip <= MS * 150);
    assert_eq!(world.live(SECOND * 2), [("alarm", SECOND)]);
    assert!(world.wall >= SECOND);
}

#[test]
fn a_flat_out_guard_makes_a_busy_chip_fly_without_an_alarm() {
    let mut world = world();
    world.pacer.enter_flat_out();
    assert_eq!(world.next(), sleep(LONG));
    world.activity = Activity::Busy;
    assert_eq!(world.next(), run(FLAT_OUT_STRETCH));
    world.pacer.enter_flight();
    assert_eq!(world.next(), sleep(STRETCH + NANO));
    world.pacer.leave_flight();
    world.pacer.leave_flat_out();
    assert_eq!(world.next(), sleep(STRETCH + NANO));
}

#[test]
fn a_change_of_pace_starts_from_here_and_now() {
    let mut world = world();
    world.pacer.add_alarm(SECOND * 100, "alarm");
    world.wall = MS * 3;
    world.live(MS * 4);
    world.activity = Activity::Busy;
    world.wall = MS * 24;
    // The 96 s of flight are not held against the chip, nor are they a credit.
    assert_eq!(world.next(), run(SECOND * 100 + MS * 21));
}

#[test]
fn a_poller_stops_the_chip_and_lets_it_go() {
    let mut world = world();
    world.pacer.add_alarm(SECOND, "alarm");
    let poller = world.pacer.add_poller(PollLimits::default());
    let limited = |until| Step::Run {
        until,
        instructions: 400_000,
    };
    assert_eq!(world.next(), limited(MS * 100));
    world.chip = MS * 100;
    assert_eq!(
        world.next(),
        Step::StandForPoll {
            until: POLL_PATIENCE
        }
    );
    assert!(world.pacer.stands_for(poller));
    world.pacer.polled(poller);
    assert!(!world.pacer.stands_for(poller));
    assert_eq!(world.next(), limited(MS * 200));
}

#[test]
fn a_poller_counts_instructions_too() {
    let mut world = world();
    world.pacer.add_poller(PollLimits::default());
    world.pacer.add_alarm(SECOND, "alarm");
    world.instructions = 399_999;
    let expected = Step::Run {
        until: MS * 100,
        instructions: 1,
    };
    assert_eq!(world.next(), expected);
    world.instructions = 400_000;
    assert_eq!(
        world.next(),
        Step::StandForPoll {
            until: POLL_PATIENCE
        }
    );
}

#[test]
fn a_dead_poller_does_not_hang_the_rig() {
    let mut world = world();
    world.pacer.add_poller(PollLimits::default());
    world.pacer.add_alarm(SECOND, "alarm");
    assert_eq!(world.live(POLL_PATIENCE * 9 + MS), [("alarm", SECOND)]);
    assert_eq!(world.pacer.missed_polls(), 9);
}

#[test]
fn a_removed_poller_stops_nothing() {
    let mut world = world();
    let poller = world.pacer.add_poller(PollLimits::default());
    world.chip = MS * 100;
    assert_eq!(
        world.next(),
        Step::StandForPoll {
            until: POLL_PATIENCE
        }
    );
    world.pacer.remove_poller(poller);
    assert_eq!(world.next(), sleep(MS * 200 + NANO));
}

#[test]
fn the_clock_shows_lifelike_time_while_the_thread_sleeps() {
    let mut world = world();
    world.activity = Activity::Idle(Some(SECOND));
    world.next();
    assert_eq!(world.pacer.chip_time(MS * 42), MS * 42);
    // What was shown comes true before anything else is decided.
    world.wall = MS * 42;
    world.pacer.add_alarm(SECOND * 10, "alarm");
    assert_eq!(world.next(), run(MS * 42));
}

#[test]
fn the_clock_stands_where_the_chip_must_stop() {
    let mut world = world();
    world.pacer.enter_flight();
    world.pacer.add_alarm(MS * 5, "alarm");
    assert_eq!(world.pacer.chip_time(MS * 42), MS * 5);
    world.pacer.add_poller(PollLimits {
        chip_time: MS * 2,
        ..PollLimits::default()
    });
    // It was 5 ms already: the clock never goes back.
    assert_eq!(world.pacer.chip_time(MS * 42), MS * 5);
}

#[test]
fn the_clock_never_goes_back_when_the_pace_changes() {
    let mut world = world();
    world.next();
    assert_eq!(world.pacer.chip_time(MS * 42), MS * 42);
    world.pacer.enter_flat_out();
    assert_eq!(world.pacer.chip_time(MS * 10), MS * 42);
}

#[test]
fn a_leap_ahead_is_forgiven() {
    let mut world = world();
    world.next();
    world.chip = SECOND * 60;
    assert_eq!(world.next(), sleep(LONG));
    world.wall = MS * 101;
    assert_eq!(world.next(), run(SECOND * 60 + MS * 101));
}

#[test]
fn a_long_lag_is_forgiven() {
    let mut world = world();
    world.activity = Activity::Busy;
    world.wall = SECOND * 10;
    assert_eq!(world.pacer.chip_time(world.wall), LAG_MAX);
    assert_eq!(world.next(), run(LAG_MAX));
    world.chip = LAG_MAX;
    // From here lifelike again, 9.75 s behind for good: no burst.
    assert_eq!(world.next(), sleep(SECOND * 10 + STRETCH + NANO));
}
