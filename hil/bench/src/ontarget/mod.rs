//! Tests that run on the chip: embedded-test and defmt-test binaries, and plain programs.
