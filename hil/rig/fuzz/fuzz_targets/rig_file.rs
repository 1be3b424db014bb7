//! What may stand in a rig file: `cargo +nightly fuzz run rig_file`, in `hil/rig`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hil_rig_fuzz::rig_file(data));
