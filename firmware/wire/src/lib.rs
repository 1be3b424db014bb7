//! firmware-wire.
