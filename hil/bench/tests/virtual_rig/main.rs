//! The bench with the real firmware on the virtual rig: through real probe-rs, over real RTT.

mod bad_days;
mod fixture;
mod good_days;
mod on_command;
mod ontarget;
mod scene;
