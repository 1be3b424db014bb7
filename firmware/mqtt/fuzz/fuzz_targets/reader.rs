//! What a hostile broker may send: `cargo +nightly fuzz run reader`, in `firmware/mqtt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| firmware_mqtt_fuzz::reader(data));
