//! virtual-hart.
