//! virtual-esp32c3.
