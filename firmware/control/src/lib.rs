//! firmware-control.
