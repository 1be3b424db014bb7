//! hil-rig.
