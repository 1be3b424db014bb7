//! Eight triggers of type `mcontrol`: breakpoints on execution, watchpoints on loads and stores.
//!
//! Source: RISC-V Debug Support 0.13.2, chapter 5; ESP32-C3 TRM, chapter 1 (eight triggers, exact and NAPOT match,
//! `tcontrol`). All fire before the instruction has an effect. A load or store matches when any byte of the access
//! lies in the range, so that a watched word is also protected against byte stores.
//!
//! Not modelled: data match (`select`), size match, chaining, the comparison modes 2 and above: these bits read 0.

use crate::csr::Privilege;
use crate::pmp::Access;

pub(crate) const COUNT: usize = 8;

const LOAD: u32 = 1 << 0;
const STORE: u32 = 1 << 1;
const EXECUTE: u32 = 1 << 2;
const USER: u32 = 1 << 3;
const MACHINE: u32 = 1 << 6;
const MATCH: u32 = 0xf << 7;
const MATCH_NAPOT: u32 = 1 << 7;
const ACTION: u32 = 0xf << 12;
const ACTION_DEBUG: u32 = 1 << 12;
const HIT: u32 = 1 << 20;
const MASKMAX_31: u32 = 31 << 21;
const DMODE: u32 = 1 << 27;
const TYPE_MCONTROL: u32 = 2 << 28;

const TCONTROL_MTE: u32 = 1 << 3;
const TCONTROL_MPTE: u32 = 1 << 7;

/// What a trigger does when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Breakpoint exception, `mcause` 3.
    Exception,
    /// Enter debug mode.
    Debug,
}

#[derive(Debug, Clone, Copy, Default)]
struct Trigger {
    /// `tdata1` without type and maskmax.
    control: u32,
    /// `tdata2`.
    compare: u32,
}

impl Trigger {
    /// The bytes it watches, as start and exclusive end in 64 bits.
    fn range(&self) -> (u64, u64) {
        let compare = u64::from(self.compare);
        if self.control & MATCH == MATCH_NAPOT {
            let size = 2u64 << compare.trailing_ones();
            let start = compare & !(size - 1);
            (start, start + size)
        } else {
            (compare, compare + 1)
        }
    }

    fn watches(&self, access: Access) -> bool {
        let kind = match access {
            Access::Load => LOAD,
            Access::Store => STORE,
            Access::Execute => EXECUTE,
        };
        self.control & kind != 0 && self.control & (MACHINE | USER) != 0
    }
}

/// The trigger module's registers.
#[derive(Debug, Clone)]
pub(crate) struct Triggers {
    select: usize,
    triggers: [Trigger; COUNT],
    control: u32,
    /// Whether `tcontrol` exists and must be set for action-0 triggers to fire in machine mode.
    has_control: bool,
}

impl Triggers {
    pub(crate) fn new(has_control: bool) -> Triggers {
        Triggers {
            select: 0,
            triggers: [Trigger::default(); COUNT],
            control: 0,
            has_control,
        }
    }

    pub(crate) fn select(&self) -> u32 {
        self.select as u32
    }

    /// Writes `tselect`; numbers without a trigger leave it as it is, so that 8 never reads back.
    pub(crate) fn set_select(&mut self, value: u32) {
        if (value as usize) < COUNT {
            self.select = value as usize;
        }
    }

    pub(crate) fn data1(&self) -> u32 {
        TYPE_MCONTROL | MASKMAX_31 | self.triggers[self.select].control
    }

    pub(crate) fn set_data1(&mut self, value: u32, debug_mode: bool) {
        let trigger = &mut self.triggers[self.select];
        if trigger.control & DMODE != 0 && !debug_mode {
            return;
        }
        let mut control = value & (HIT | MACHINE | USER | EXECUTE | STORE | LOAD);
        if debug_mode {
            control |= value & DMODE;
        }
        if value & MATCH == MATCH_NAPOT {
            control |= MATCH_NAPOT;
        }
        // Only a trigger that belongs to the debugger may enter debug mode.
        if value & ACTION == ACTION_DEBUG && control & DMODE != 0 {
            control |= ACTION_DEBUG;
        }
        trigger.control = control;
    }

    pub(crate) fn data2(&self) -> u32 {
        self.triggers[self.select].compare
    }

    pub(crate) fn set_data2(&mut self, value: u32, debug_mode: bool) {
        let trigger = &mut self.triggers[self.select];
        if trigger.control & DMODE == 0 || debug_mode {
            trigger.compare = value;
        }
    }

    pub(crate) fn has_control(&self) -> bool {
        self.has_control
    }

    pub(crate) fn control(&self) -> u32 {
        self.control
    }

    pub(crate) fn set_control(&mut self, value: u32) {
        self.control = value & (TCONTROL_MTE | TCONTROL_MPTE);
    }

    /// Trap entry: `mpte` takes `mte`, which becomes 0, so that a handler can't trigger itself for ever.
    pub(crate) fn enter_trap(&mut self) {
        self.control = if self.control & TCONTROL_MTE != 0 {
            TCONTROL_MPTE
        } else {
            0
        };
    }

    /// `mret`: `mte` takes `mpte`.
    pub(crate) fn leave_trap(&mut self) {
        if self.control & TCONTROL_MPTE != 0 {
            self.control |= TCONTROL_MTE;
        } else {
            self.control &= !TCONTROL_MTE;
        }
    }

    /// The ranges (start, exclusive end) armed triggers watch for this access, whatever the privilege.
    pub(crate) fn watched(&self, access: Access) -> Vec<(u64, u64)> {
        self.triggers
            .iter()
            .filter(|trigger| trigger.watches(access))
            .map(Trigger::range)
            .collect()
    }

    /// What happens on this access, if a trigger fires. Entering debug mode wins over the exception. The triggers that
    /// fire get their `hit` bit.
    pub(crate) fn fire(
        &mut self,
        access: Access,
        address: u32,
        length: u32,
        privilege: Privilege,
    ) -> Option<Action> {
        let (first, end) = (u64::from(address), u64::from(address) + u64::from(length));
        let exceptions_enabled =
            !self.has_control || privilege == Privilege::User || self.control & TCONTROL_MTE != 0;
        let mode = match privilege {
            Privilege::Machine => MACHINE,
            Privilege::User => USER,
        };
        let mut fired = None;
        for trigger in &mut self.triggers {
            let (low, high) = trigger.range();
            if !trigger.watches(access)
                || trigger.control & mode == 0
                || first >= high
                || end <= low
            {
                continue;
            }
            if trigger.control & ACTION == ACTION_DEBUG {
                trigger.control |= HIT;
                fired = Some(Action::Debug);
            } else if exceptions_enabled {
                trigger.control |= HIT;
                fired = fired.or(Some(Action::Exception));
            }
        }
        fired
    }
}
