//! The virtual rigs of this process, by the serial number of their probe.
//!
//! probe-rs finds probes through factories without state of their own, so what is running has to be known here.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::shared::Shared;

static RIGS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// All rigs that are running, in the order they were started.
pub(crate) fn running() -> Vec<Arc<Shared>> {
    let rigs = RIGS.lock();
    let alive = rigs.iter().filter_map(Weak::upgrade);
    alive
        .filter(|rig| !rig.is_stopping() && !rig.is_stopped())
        .collect()
}

/// Adds a rig; false when its serial number is taken.
pub(crate) fn add(rig: &Arc<Shared>) -> bool {
    let mut rigs = RIGS.lock();
    rigs.retain(|known| known.strong_count() > 0);
    let taken = rigs
        .iter()
        .filter_map(Weak::upgrade)
        .any(|known| known.serial == rig.serial);
    if !taken {
        rigs.push(Arc::downgrade(rig));
    }
    !taken
}

/// Removes a rig: it will not be found any more, and its serial number is free.
pub(crate) fn remove(rig: &Arc<Shared>) {
    RIGS.lock()
        .retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(rig)));
}
