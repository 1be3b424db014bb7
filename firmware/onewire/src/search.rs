//! ROM search: finds every device on the bus (application note 187; data sheet, "ROM Search Process").
//!
//! The ROM codes are a binary tree, first bit at the root. In each step all devices that still take
//! part send a bit, then its complement; the bus is the AND of all. The master writes a bit, and the
//! devices that have the other one fall silent until the next reset:
//!
//! ```text
//! 0 1   all have 0: take 0          0 0   both there, a fork: take the 0, and note that the 1 waits
//! 1 0   all have 1: take 1          1 1   nobody there
//! ```
//!
//! A pass of 64 steps ends at one device. The next pass takes the same way to the last fork where the
//! 0 was taken, and there the 1. So each pass finds a code that is greater (first bit most significant)
//! than the last, and none is found twice. Two devices of one code (a counterfeit) are found as one.
//!
//! Noise can't make up a device: a bit that is misread leads to where nobody is, which the rest of the
//! pass sees, and the CRC sees what is left. But it can hide some: a fork that is misread as a bit is
//! not taken again, and nothing tells. So whoever finds somebody new searches once more.

use embedded_hal_async::delay::DelayNs;
use heapless::Vec;

use crate::{
    Bus, BusError, Line, Rom,
    mutants::{self, Mutant},
    sensor::SEARCH_ROM,
};

/// So many branches that lead to no device, each tried several times, are passed over before the bus
/// itself is the suspect.
pub const REJECTED_MAX: usize = 8;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search<const N: usize> {
    /// The devices, in the order of their bits as they travel; also those found before a search that
    /// ended early.
    pub found: Vec<Rom, N>,
    /// How the search ended.
    pub end: SearchEnd,
    /// Branches that led to nobody or to a CRC that does not fit, each tried several times.
    pub rejected: usize,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// All branches were followed.
    Complete,
    /// There are more devices than the caller has room for.
    Full,
    /// A branch from which somebody had answered was empty when it was followed, again and again: a
    /// device was unplugged meanwhile, or has a bad contact. The others were found, unless there were
    /// more than [`REJECTED_MAX`] such branches.
    Vanished,
    /// More than [`REJECTED_MAX`] branches led to nobody or to a CRC that does not fit.
    Crc,
    /// The bus failed, again and again; [`BusError::Absent`] when it is empty.
    Bus(BusError),
}

impl SearchEnd {
    /// Whether another search at once would find no more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Full)
    }
}

/// Searches the bus for up to `N` devices; with `family`, only for those of this family code. Each pass
/// that fails is tried `attempts` times before the search ends.
///
/// Ends whatever the bus does: after at most `attempts` × (N + [`REJECTED_MAX`] + 1) passes of 67
/// exchanges.
pub async fn search<L: Line, D: DelayNs, const N: usize>(
    bus: &mut Bus<L, D>,
    family: Option<u8>,
    attempts: u8,
) -> Search<N> {
    let mut search = Search {
        found: Vec::new(),
        end: SearchEnd::Complete,
        rejected: 0,
    };
    let mut way = Way::new(family);
    loop {
        let leaf = match follow(bus, &way, attempts).await {
            Ok(leaf) => leaf,
            Err(error) => {
                search.end = SearchEnd::Bus(error);
                return search;
            }
        };
        match leaf.rom() {
            // Not a sign of anything: the family's branch was followed without anybody's word for it.
            None if leaf.steps < way.family_steps && search.found.is_empty() => return search,
            None if search.rejected == REJECTED_MAX => {
                search.end = SearchEnd::Crc;
                return search;
            }
            None => {
                search.rejected += 1;
                if leaf.steps < 64 {
                    search.end = SearchEnd::Vanished;
                }
            }
            Some(_) if leaf.fork.is_none() && mutants::active(Mutant::SearchMissesLast) => {}
            Some(rom) => {
                if search.found.push(rom).is_err() {
                    search.end = SearchEnd::Full;
                    return search;
                }
            }
        }
        let Some(fork) = leaf.fork else {
            return search;
        };
        way.turn(leaf.code, fork);
    }
}

/// The way that a pass is to take: the first `forced` bits of `code`, and then the 0 at each fork.
#[derive(Clone, Copy)]
struct Way {
    code: [u8; 8],
    forced: usize,
    /// The first bits that are the family's: forks among them lead to others, which are not sought.
    family_steps: usize,
}

impl Way {
    fn new(family: Option<u8>) -> Self {
        let steps = if family.is_some() { 8 } else { 0 };
        Self {
            code: [family.unwrap_or(0), 0, 0, 0, 0, 0, 0, 0],
            forced: steps,
            family_steps: steps,
        }
    }

    fn forced(&self, step: usize) -> Option<bool> {
        (step < self.forced).then(|| self.code[step / 8] >> (step % 8) & 1 != 0)
    }

    /// To the fork at which `code` took the 0, and there the 1.
    fn turn(&mut self, code: [u8; 8], fork: usize) {
        self.code = code;
        self.code[fork / 8] |= 1 << (fork % 8);
        self.forced = fork + 1;
    }
}

/// Where a pass ended.
struct Leaf {
    code: [u8; 8],
    /// The steps that somebody answered; 64 at a device.
    steps: usize,
    /// The last fork at which the 0 was taken.
    fork: Option<usize>,
}

impl Leaf {
    fn rom(&self) -> Option<Rom> {
        if self.steps < 64 {
            return None;
        }
        Rom::new(self.code)
    }
}

/// A pass, tried until it ends at a device or the attempts are used up: then its last end.
async fn follow<L: Line, D: DelayNs>(
    bus: &mut Bus<L, D>,
    way: &Way,
    attempts: u8,
) -> Result<Leaf, BusError> {
    let mut result = pass(bus, way).await;
    for _ in 1..attempts {
        match &result {
            Ok(leaf) if leaf.rom().is_some() => break,
            // Every pulse on such a bus costs the line's patience.
            Err(BusError::StuckLow) => break,
            _ => result = pass(bus, way).await,
        }
    }
    result
}

async fn pass<L: Line, D: DelayNs>(bus: &mut Bus<L, D>, way: &Way) -> Result<Leaf, BusError> {
    bus.reset().await?;
    bus.write(&[SEARCH_ROM]).await?;
    let mut leaf = Leaf {
        code: [0; 8],
        steps: 0,
        fork: None,
    };
    let mut branch = None;
    for step in 0..64 {
        let forced = way.forced(step);
        let taken = match bus.fork(branch).await? {
            (true, true) => return Ok(leaf),
            (false, false) => {
                let taken = forced.unwrap_or(false);
                if !taken && step >= way.family_steps {
                    leaf.fork = Some(step);
                }
                taken
            }
            (bit, _) if forced.is_some_and(|forced| bit != forced) => return Ok(leaf),
            (bit, _) => bit,
        };
        leaf.code[step / 8] |= u8::from(taken) << (step % 8);
        leaf.steps += 1;
        branch = Some(taken);
    }
    bus.branch(leaf.code[7] & 0x80 != 0).await?;
    Ok(leaf)
}
