//! What may stand in a recording that somebody sent: `cargo +nightly fuzz run recording`, in `hil/report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hil_report_fuzz::recording(data));
