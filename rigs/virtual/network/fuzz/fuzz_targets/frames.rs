//! What a device may put on its cable: `cargo +nightly fuzz run frames`, in `rigs/virtual/network`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtual_network_fuzz::frames(data));
