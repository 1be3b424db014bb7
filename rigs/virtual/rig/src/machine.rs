//! The machine behind the lock: chip, debug module and fixture board, each as the others need it.

use std::collections::BTreeSet;
use std::time::Duration;

use fixture_protocol::{Request, Response};
use virtual_debug::{DebugModule, DebugTarget, ExecuteError, RegisterError, Tap};
use virtual_esp32c3::{Access, Chip, Pause, PinChange, Ticks};
use virtual_hart::{BusFault, Width};

use crate::event::{RigEvent, RigEventKind};
use crate::fixture::{Board, Errand};
use crate::pace::Activity;

/// IDCODE of the ESP32-C3's TAP: Espressif, part 5, version 0.
pub(crate) const IDCODE: u32 = 0x0000_5C25;
/// `dcsr.step`.
const DCSR: u16 = 0x7B0;
const DCSR_STEP: u32 = 1 << 2;
/// Chip time after which a step ends even within a call into the ROM.
const STEP_MAX: Ticks = Ticks::from_millis(100);

pub(crate) struct Machine {
    pub(crate) chip: Chip,
    module: DebugModule,
    board: Board,
    /// The hart can't go on until it is reset, or the debugger puts it elsewhere.
    stuck: bool,
    /// Time that went by for everybody else while the debugger had the hart halted: chip time stands still then, the
    /// rig's time must not.
    halted_for: Duration,
    /// Something was done that the simulator thread should see soon.
    pub(crate) touched: bool,
    /// Events of the rig's own making, not collected yet.
    events: Vec<RigEvent>,
    /// Unmodelled accesses that were told already.
    pub(crate) told: BTreeSet<(String, u32, Access)>,
}

impl Machine {
    /// With `board` wired to `chip`.
    pub(crate) fn new(chip: Chip, board: Board) -> Machine {
        Machine {
            chip,
            module: DebugModule::new(),
            board,
            stuck: false,
            halted_for: Duration::ZERO,
            touched: false,
            events: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// The rig's time: chip time, and the time the hart was halted.
    pub(crate) fn now(&self) -> Duration {
        self.chip.now().as_duration() + self.halted_for
    }

    /// Lets the chip run until this time or for this many instructions.
    pub(crate) fn run(&mut self, until: Duration, instructions: u64) {
        let until = self.board.due().map_or(until, |at| until.min(at));
        if self.chip.is_halted() {
            self.halted_for += until.saturating_sub(self.now());
            let now = self.now();
            self.board.set_clock(&mut self.chip, now);
        } else {
            let until = until.saturating_sub(self.halted_for);
            let pause = self.chip.run(Ticks::from_duration(until), instructions);
            if pause == Pause::PowerFailed {
                self.supply_failed();
            }
        }
        self.attend_board();
    }

    /// A call into the ROM that takes its time counts as busy: somebody waits for its end.
    pub(crate) fn activity(&self) -> Activity {
        if self.chip.is_halted() {
            Activity::Halted
        } else if self.chip.is_idle() || self.stuck || !self.is_powered() {
            let chip = self.chip.next_event();
            let chip = chip.map(|at| at.as_duration() + self.halted_for);
            Activity::Idle(chip.into_iter().chain(self.board.due()).min())
        } else {
            Activity::Busy
        }
    }

    pub(crate) fn take_events(&mut self) -> Vec<RigEvent> {
        let mut events = std::mem::take(&mut self.events);
        for event in self.chip.events() {
            let mut event = RigEvent::from(event);
            event.at += self.halted_for;
            match event.what {
                RigEventKind::BootFailed { .. } | RigEventKind::Lockup { .. } => self.stuck = true,
                RigEventKind::Reset(_) | RigEventKind::Booted { .. } => self.stuck = false,
                _ => {}
            }
            events.push(event);
        }
        events
    }

    pub(crate) fn is_powered(&self) -> bool {
        self.chip.is_powered()
    }

    /// Switches the supply. A cut that was to come is forgotten.
    pub(crate) fn set_power(&mut self, on: bool) {
        self.ask_board(&Request::SetPower { on });
    }

    /// A request to the fixture board that does not come over its serial line.
    pub(crate) fn ask_board(&mut self, request: &Request) -> Response {
        self.touched = true;
        let now = self.now();
        let (response, errands) = self.board.ask(&mut self.chip, now, request);
        self.run_errands(errands);
        response
    }

    /// Bytes for the fixture board came over its serial line.
    pub(crate) fn board_receives(&mut self, bytes: &[u8]) {
        let now = self.now();
        let errands = self.board.receive(&mut self.chip, now, bytes);
        self.run_errands(errands);
        self.attend_board();
    }

    /// The serial line of the fixture board.
    pub(crate) fn board(&mut self) -> &mut Board {
        &mut self.board
    }

    fn supply_failed(&mut self) {
        self.lost_power();
        let now = self.now();
        let errands = self.board.supply_failed(&mut self.chip, now);
        self.run_errands(errands);
    }

    /// What a single step did to the chip's surroundings.
    fn attend_step(&mut self, stepped: Stepped) {
        if stepped.power_failed {
            self.supply_failed();
        }
        if !stepped.pins.is_empty() {
            self.board_sees(&stepped.pins);
        }
    }

    /// The board sees what became of the chip's pins, and does what is due.
    fn attend_board(&mut self) {
        let changes = self.chip.pin_changes();
        self.board_sees(&changes);
    }

    fn board_sees(&mut self, changes: &[PinChange]) {
        let now = self.now();
        let errands = if !changes.is_empty() {
            self.board.pins_changed(&mut self.chip, now, changes)
        } else if self.board.due().is_some_and(|at| at <= now) {
            self.board.attend(&mut self.chip, now)
        } else {
            return;
        };
        self.run_errands(errands);
    }

    fn run_errands(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand {
                Errand::SetPower(on) => self.switch(on),
                Errand::Reboot => {
                    let now = self.now();
                    self.board.restart(&mut self.chip, now);
                    self.switch(true);
                }
            }
        }
    }

    fn switch(&mut self, on: bool) {
        if on == self.is_powered() {
            return;
        }
        if on {
            self.touched = true;
            self.note(RigEventKind::Power { on });
            self.chip.power_on();
        } else {
            self.chip.power_off();
            self.lost_power();
        }
    }

    /// The chip has lost its supply. The debug module loses its state with it.
    fn lost_power(&mut self) {
        self.touched = true;
        self.note(RigEventKind::Power { on: false });
        self.module = DebugModule::new();
    }

    pub(crate) fn set_link(&mut self, up: bool) {
        self.touched = true;
        self.note(RigEventKind::Link { up });
        self.chip.set_link(up);
    }

    /// A whole scan of the selected data register; a chip without power answers with zeros.
    pub(crate) fn scan_dr(&mut self, tap: &mut Tap, value: u64, length: u32) -> u64 {
        if !self.is_powered() {
            return 0;
        }
        let mut target = ChipTarget {
            chip: &mut self.chip,
            touched: &mut self.touched,
            stuck: &mut self.stuck,
            stepped: Stepped::default(),
        };
        let out = tap.scan_dr(&mut self.module, &mut target, value, length);
        let stepped = target.stepped;
        self.attend_step(stepped);
        out
    }

    /// One clock of the port.
    pub(crate) fn clock(&mut self, tap: &mut Tap, tms: bool, tdi: bool) -> bool {
        let mut target = ChipTarget {
            chip: &mut self.chip,
            touched: &mut self.touched,
            stuck: &mut self.stuck,
            stepped: Stepped::default(),
        };
        let tdo = tap.clock(&mut self.module, &mut target, tms, tdi);
        let stepped = target.stepped;
        self.attend_step(stepped);
        tdo && self.is_powered()
    }

    fn note(&mut self, what: RigEventKind) {
        let at = self.now();
        self.events.push(RigEvent { at, what });
    }
}

/// The chip as its debug module wants it.
struct ChipTarget<'a> {
    chip: &'a mut Chip,
    touched: &'a mut bool,
    stuck: &'a mut bool,
    stepped: Stepped,
}

/// What single steps did outside of the chip.
#[derive(Default)]
struct Stepped {
    pins: Vec<PinChange>,
    power_failed: bool,
}

impl DebugTarget for ChipTarget<'_> {
    fn is_halted(&self) -> bool {
        self.chip.is_halted()
    }

    fn halt(&mut self) {
        *self.touched = true;
        self.chip.halt();
    }

    /// A single step is taken at once: the debugger waits for it, and the pacer may have reasons to wait too. A call
    /// into the emulated ROM counts as one instruction; where nothing can be executed the step ends all the same.
    fn resume(&mut self) {
        *self.touched = true;
        *self.stuck = false;
        let dcsr = self.chip.read_register(DCSR).unwrap_or_default();
        self.chip.resume();
        if dcsr & DCSR_STEP == 0 {
            return;
        }
        let limit = self.chip.now() + STEP_MAX;
        while !self.chip.is_halted() {
            match self.chip.run(limit, 1) {
                Pause::Idle | Pause::Limit => self.chip.halt(),
                // The chip goes on once somebody has looked.
                Pause::PinChanged => self.stepped.pins.extend(self.chip.pin_changes()),
                Pause::PowerFailed => {
                    self.stepped.power_failed = true;
                    return;
                }
                _ => {}
            }
        }
    }

    fn read_register(&mut self, number: u16) -> Result<u32, RegisterError> {
        self.chip
            .read_register(number)
            .ok_or(RegisterError::Exception)
    }

    fn write_register(&mut self, number: u16, value: u32) -> Result<(), RegisterError> {
        let exists = self.chip.write_register(number, value);
        exists.then_some(()).ok_or(RegisterError::Exception)
    }

    fn execute(&mut self, program: &[u32]) -> Result<(), ExecuteError> {
        *self.touched = true;
        self.chip.execute(program).map_err(|_| ExecuteError)
    }

    fn bus_read(&mut self, address: u32, width: Width) -> Result<u32, BusFault> {
        self.chip.bus_read(address, width)
    }

    fn bus_write(&mut self, address: u32, width: Width, value: u32) -> Result<(), BusFault> {
        *self.touched = true;
        self.chip.bus_write(address, value, width)
    }

    fn reset_hart(&mut self) {
        *self.touched = true;
        self.chip.reset_hart();
    }

    fn reset_system(&mut self) {
        *self.touched = true;
        self.chip.reset_system();
    }

    fn has_reset(&self) -> bool {
        self.chip.have_reset()
    }

    fn acknowledge_reset(&mut self) {
        self.chip.ack_have_reset();
    }
}
