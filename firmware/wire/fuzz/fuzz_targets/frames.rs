//! What may come over RTT: `cargo +nightly fuzz run frames`, in `firmware/wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| firmware_wire_fuzz::frames(data));
