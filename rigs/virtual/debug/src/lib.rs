//! virtual-debug.
