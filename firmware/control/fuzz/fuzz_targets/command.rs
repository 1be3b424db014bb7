//! libFuzzer target: requests, as they come from a broker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| firmware_control_fuzz::command(data));
