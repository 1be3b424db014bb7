//! libFuzzer target: bodies for the HTTP configuration, and what flash may hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| firmware_control_fuzz::configuration(data));
