//! virtual-rig.
