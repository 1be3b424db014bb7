//! How fast the chip's time goes: the rules, without threads and without a clock.
//!
//! Waiting is most of what a test does. The bench says what it waits for, and this decides from it whether chip time
//! may run ahead of wall time. The simulator thread asks [`Pacer::next`] what to do, does it, and asks again; wall
//! time comes in as an argument, so the rules can be tested by the microsecond.
//!
//! ```text
//! what holds                                      pace
//! ---------------------------------------------   ------------------------------------------------------------
//! an InFlight guard lives                         lifelike: chip time <= anchor + multiple x wall time
//! the debugger has the hart halted                lifelike: an hour must not pass while a probe attaches
//! bytes crossed a host socket within `settle`     lifelike: whoever got them may want to answer; sooner over when
//!                                                 all who could are seen asleep
//! an alarm is pending                             flat out, up to the earliest alarm
//! a FlatOut guard lives and the hart is awake     flat out
//! none of these                                   lifelike
//! ```
//! A live poller caps every stretch: when its limits are used up the chip stands still until it has polled.

use std::collections::BTreeMap;
use std::time::Duration;

/// How chip time relates to wall time where it has to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Chip time over wall time while something on the host is in flight. 1.0 is real time.
    pub multiple: f64,
    /// Wall time the chip is kept lifelike for after bytes crossed a host socket; at most.
    pub settle: Duration,
    /// Who may be at the other end of the host's sockets.
    pub peers: Peers,
}

/// Who may answer what the device sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peers {
    /// Anybody, in other processes as well: `settle` passes whole.
    #[default]
    Anywhere,
    /// Threads of this process only: once all of them sleep, traffic has settled. On Linux; elsewhere as
    /// [`Peers::Anywhere`].
    Here,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            multiple: 1.0,
            settle: Duration::from_millis(20),
            peers: Peers::default(),
        }
    }
}

/// How far the chip may run between two polls of a [`Poller`](crate::Poller), so that no buffer on the chip
/// overflows before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollLimits {
    /// Chip time between two polls.
    pub chip_time: Duration,
    /// Instructions between two polls; what a busy chip reaches first.
    pub instructions: u64,
}

impl Default for PollLimits {
    /// 100 ms of chip time, 400,000 instructions.
    fn default() -> PollLimits {
        PollLimits {
            chip_time: Duration::from_millis(100),
            instructions: 400_000,
        }
    }
}

/// A poller that does not come for this long, in wall time, is passed over: a dead one must not hang the rig.
pub(crate) const POLL_PATIENCE: Duration = Duration::from_millis(50);
/// When lifelike chip time falls behind by more than this much wall time (the host was busy, or slept), the lag is forgiven
/// instead of made up for: a burst of chip time would be no more lifelike than the lag.
const LAG_MAX: Duration = Duration::from_millis(250);
/// Longest sleep in wall time; only a safety net, everything that matters wakes the thread.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// A busy chip that keeps up runs in stretches of this much wall time.
const STRETCH: Duration = Duration::from_micros(200);
/// Flat out without an alarm runs in stretches of this much chip time.
const FLAT_OUT_STRETCH: Duration = Duration::from_millis(10);

/// What the chip does when it is let run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It executes instructions.
    Busy,
    /// It sleeps until then, in chip time; `None`: until something from outside wakes it.
    Idle(Option<Duration>),
    /// The debugger has it.
    Halted,
}

/// The state of things when [`Pacer::next`] is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Wall time since the rig started.
    pub(crate) wall: Duration,
    /// Chip time.
    pub(crate) chip: Duration,
    /// Instructions executed since the rig started.
    pub(crate) instructions: u64,
    pub(crate) activity: Activity,
    /// Something came from outside: chip time has to be brought up to date first.
    pub(crate) exact: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<A> {
    /// Call this alarm, then ask again.
    Fire(A),
    /// Let the chip run until this chip time or for this many instructions, whichever is first.
    Run { until: Duration, instructions: u64 },
    /// Stand still for a poller, at most until this wall time.
    StandForPoll { until: Duration },
    /// Nothing to do before this wall time, unless woken.
    Sleep { until: Duration },
}

/// Names an alarm or a poller.
pub(crate) type Id = u64;

#[derive(Clone, Copy, Debug)]
enum Mode {
    FlatOut,
    /// Chip time was `chip` when the wall clock read `wall`.
    Lifelike {
        wall: Duration,
        chip: Duration,
    },
}

#[derive(Clone, Debug)]
struct PollerState {
    limits: PollLimits,
    /// Where the last poll left the chip.
    chip: Duration,
    instructions: u64,
    /// Wall time since which the chip stands still for this poller.
    standing: Option<Duration>,
}

/// The rules and what they need to know. `A` is what an alarm carries.
#[derive(Debug)]
pub(crate) struct Pacer<A> {
    pace: Pace,
    mode: Mode,
    in_flight: u32,
    flat_out: u32,
    traffic: Option<Duration>,
    /// Until when it has not settled, whoever sleeps.
    slow_traffic: Option<Duration>,
    alarms: BTreeMap<(Duration, Id), A>,
    pollers: BTreeMap<Id, PollerState>,
    next_id: Id,
    /// Chip time as last told.
    chip: Duration,
    instructions: u64,
    /// The latest chip time anybody was told; the chip reaches it before anything else is decided.
    promised: Duration,
    missed_polls: u64,
}

impl<A> Pacer<A> {
    pub(crate) fn new(pace: Pace) -> Pacer<A> {
        Pacer {
            pace,
            mode: Mode::Lifelike {
                wall: Duration::ZERO,
                chip: Duration::ZERO,
            },
            in_flight: 0,
            flat_out: 0,
            traffic: None,
            slow_traffic: None,
            alarms: BTreeMap::new(),
            pollers: BTreeMap::new(),
            next_id: 0,
            chip: Duration::ZERO,
            instructions: 0,
            promised: Duration::ZERO,
            missed_polls: 0,
        }
    }

    /// Times the chip went on without a poller that should have come.
    pub(crate) fn missed_polls(&self) -> u64 {
        self.missed_polls
    }

    pub(crate) fn enter_flight(&mut self) {
        self.in_flight += 1;
    }

    pub(crate) fn leave_flight(&mut self) {
        self.in_flight -= 1;
    }

    pub(crate) fn enter_flat_out(&mut self) {
        self.flat_out += 1;
    }

    pub(crate) fn leave_flat_out(&mut self) {
        self.flat_out -= 1;
    }

    /// Bytes left for a host socket or came from one.
    pub(crate) fn note_traffic(&mut self, wall: Duration) {
        self.traffic = Some(wall);
    }

    /// As [`Pacer::note_traffic`], where those who get the bytes may sleep while these are on their way.
    pub(crate) fn note_slow_traffic(&mut self, wall: Duration) {
        self.note_traffic(wall);
        self.slow_traffic = Some(wall + self.pace.settle);
    }

    /// Adds an alarm at this chip time; one in the past fires at the next step.
    pub(crate) fn add_alarm(&mut self, at: Duration, alarm: A) -> Id {
        let id = self.new_id();
        self.alarms.insert((at, id), alarm);
        id
    }

    /// Takes an alarm back; `None` when it has fired.
    pub(crate) fn cancel_alarm(&mut self, at: Duration, id: Id) -> Option<A> {
        self.alarms.remove(&(at, id))
    }

    /// Takes all alarms back, unfired.
    pub(crate) fn cancel_all(&mut self) -> Vec<A> {
        std::mem::take(&mut self.alarms).into_values().collect()
    }

    pub(crate) fn add_poller(&mut self, limits: PollLimits) -> Id {
        let id = self.new_id();
        let state = PollerState {
            limits,
            chip: self.chip,
            instructions: self.instructions,
            standing: None,
        };
        self.pollers.insert(id, state);
        id
    }

    pub(crate) fn remove_poller(&mut self, id: Id) {
        self.pollers.remove(&id);
    }

    /// True while the chip stands still for this poller.
    pub(crate) fn stands_for(&self, id: Id) -> bool {
        self.pollers
            .get(&id)
            .is_some_and(|poller| poller.standing.is_some())
    }

    /// The poller has read what there was: its limits count from here.
    pub(crate) fn polled(&mut self, id: Id) {
        let (chip, instructions) = (self.chip, self.instructions);
        if let Some(poller) = self.pollers.get_mut(&id) {
            poller.restart(chip, instructions);
        }
    }

    /// Chip time at this moment. While the chip is lifelike and its thread sleeps, that is where the chip will be
    /// brought before anything else happens to it; never goes back.
    pub(crate) fn chip_time(&mut self, wall: Duration) -> Duration {
        self.forgive_lag(wall);
        let ceiling = self.ceiling().unwrap_or(Duration::MAX);
        self.promised = self.promised.max(self.allowance(wall).min(ceiling));
        self.promised
    }

    /// Tells where the chip is. [`Pacer::next`] does so too.
    pub(crate) fn observe(&mut self, chip: Duration, instructions: u64) {
        self.chip = chip;
        self.instructions = instructions;
        self.promised = self.promised.max(chip);
    }

    /// Chip time goes no further.
    pub(crate) fn freeze(&mut self) {
        self.mode = Mode::FlatOut;
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Now) -> Step<A> {
        self.observe(now.chip, now.instructions);
        self.forgive_lag(now.wall);
        if let Some(alarm) = self.due_alarm() {
            return Step::Fire(alarm);
        }
        if let Some(until) = self.stand_for_poll(now.wall) {
            return Step::StandForPoll { until };
        }
        if now.chip < self.promised {
            return self.run(self.promised);
        }
        if self.may_fly(&now) {
            self.mode = Mode::FlatOut;
            return self.run(now.chip + FLAT_OUT_STRETCH.max(self.until_alarm(now.chip)));
        }
        self.lifelike(&now)
    }

    /// See [`LAG_MAX`]. A chip that is as far ahead (a debugger's step over a long ROM call) need not wait either.
    fn forgive_lag(&mut self, wall: Duration) {
        let bound = LAG_MAX.mul_f64(self.pace.multiple);
        let allowance = self.allowance(wall);
        let chip = if allowance > self.chip + bound {
            self.chip + bound
        } else if allowance + bound < self.chip {
            self.chip
        } else {
            return;
        };
        self.mode = Mode::Lifelike { wall, chip };
    }

    fn new_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }

    fn due_alarm(&mut self) -> Option<A> {
        let entry = self.alarms.first_entry()?;
        (entry.key().0 <= self.chip).then(|| entry.remove())
    }

    fn until_alarm(&self, chip: Duration) -> Duration {
        self.first_alarm()
            .map_or(Duration::ZERO, |at| at.saturating_sub(chip))
    }

    fn first_alarm(&self) -> Option<Duration> {
        self.alarms.first_key_value().map(|((at, _), _)| *at)
    }

    /// True while the chip stands still for any poller.
    pub(crate) fn stands(&self) -> bool {
        self.pollers
            .values()
            .any(|poller| poller.standing.is_some())
    }

    /// Marks the pollers whose limits are used up. Says until when to stand still, if for any.
    fn stand_for_poll(&mut self, wall: Duration) -> Option<Duration> {
        let (chip, instructions) = (self.chip, self.instructions);
        let mut until = None;
        for poller in self.pollers.values_mut() {
            if poller.standing.is_none() && poller.is_due(chip, instructions) {
                poller.standing = Some(wall);
            }
            if let Some(since) = poller.standing {
                if wall >= since + POLL_PATIENCE {
                    poller.restart(chip, instructions);
                    self.missed_polls += 1;
                } else {
                    until = until.max(Some(since + POLL_PATIENCE));
                }
            }
        }
        until
    }

    /// True while only traffic that may be answered keeps the chip from flying, and who may answer is known: a look at
    /// them is worth its while.
    pub(crate) fn waits_for_peers(&self, wall: Duration) -> bool {
        self.pace.peers == Peers::Here
            && self.slow_traffic.is_none_or(|end| wall >= end)
            && self.in_flight == 0
            && !self.alarms.is_empty()
            && self.settling(wall).is_some()
    }

    /// Nobody will answer the traffic so far.
    pub(crate) fn settle(&mut self) {
        self.traffic = None;
    }

    fn settling(&self, wall: Duration) -> Option<Duration> {
        let end = self.traffic? + self.pace.settle;
        (wall < end).then_some(end)
    }

    fn may_fly(&self, now: &Now) -> bool {
        // Nobody waits for a sleeping chip unless they said until when.
        let awaited =
            !self.alarms.is_empty() || (self.flat_out > 0 && now.activity == Activity::Busy);
        awaited
            && self.in_flight == 0
            && now.activity != Activity::Halted
            && self.settling(now.wall).is_none()
    }

    fn lifelike(&mut self, now: &Now) -> Step<A> {
        if let Mode::FlatOut = self.mode {
            self.mode = Mode::Lifelike {
                wall: now.wall,
                chip: now.chip,
            };
        }
        let allowance = self.allowance(now.wall);
        // Where the chip next has something to do, or somebody wants to be told.
        let scaled = |wall: Duration| now.chip + wall.mul_f64(self.pace.multiple);
        let wanted = match now.activity {
            Activity::Busy => scaled(STRETCH),
            Activity::Idle(Some(next)) => next.max(now.chip).min(scaled(SLEEP_MAX)),
            Activity::Idle(None) | Activity::Halted => scaled(SLEEP_MAX),
        };
        let wanted = self.ceiling().map_or(wanted, |ceiling| wanted.min(ceiling));
        if allowance > now.chip && (now.exact || wanted <= allowance) {
            return self.run(allowance);
        }
        // When the traffic has settled the pace may change.
        let settled = self.settling(now.wall).unwrap_or(Duration::MAX);
        Step::Sleep {
            until: self.wall_of(wanted).min(settled),
        }
    }

    fn run(&self, until: Duration) -> Step<A> {
        let until = self.ceiling().map_or(until, |ceiling| until.min(ceiling));
        let instructions = self
            .pollers
            .values()
            .map(|poller| poller.instructions_left(self.instructions));
        Step::Run {
            until,
            instructions: instructions.min().unwrap_or(u64::MAX),
        }
    }

    /// Chip time nobody may pass without asking: the earliest alarm, the nearest poll.
    fn ceiling(&self) -> Option<Duration> {
        let polls = self
            .pollers
            .values()
            .map(|poller| poller.chip + poller.limits.chip_time);
        polls.chain(self.first_alarm()).min()
    }

    /// Where a lifelike chip may be at this wall time.
    fn allowance(&self, wall: Duration) -> Duration {
        match self.mode {
            Mode::FlatOut => self.chip,
            Mode::Lifelike { wall: since, chip } => {
                chip + wall.saturating_sub(since).mul_f64(self.pace.multiple)
            }
        }
    }

    /// The first wall time, to the nanosecond above, at which a lifelike chip may be at this chip time.
    fn wall_of(&self, at: Duration) -> Duration {
        match self.mode {
            Mode::FlatOut => Duration::ZERO,
            Mode::Lifelike { wall, chip } => {
                wall + at.saturating_sub(chip).div_f64(self.pace.multiple) + Duration::from_nanos(1)
            }
        }
    }
}

impl PollerState {
    fn restart(&mut self, chip: Duration, instructions: u64) {
        (self.chip, self.instructions, self.standing) = (chip, instructions, None);
    }

    fn is_due(&self, chip: Duration, instructions: u64) -> bool {
        chip.saturating_sub(self.chip) >= self.limits.chip_time
            || self.instructions_left(instructions) == 0
    }

    fn instructions_left(&self, instructions: u64) -> u64 {
        (self.instructions + self.limits.instructions).saturating_sub(instructions)
    }
}

#[cfg(test)]
mod tests;
