//! Tests that end in every way a test can: not the firmware's, but for the tests of `hil runner`. Built with the
//! feature `failing-tests` only, as most of them fail.
#![no_std]
#![no_main]

use firmware_app as _;

#[embedded_test::setup]
fn setup() {
    let channels = firmware_app::rtt::init();
    firmware_app::log::init(channels.log);
}

#[cfg(test)]
#[embedded_test::tests(default_timeout = 10)]
mod tests {
    use core::hint::{black_box, spin_loop};

    #[init]
    fn init() {
        let _ = esp_hal::init(esp_hal::Config::default());
    }

    #[test]
    fn passes() {
        assert_eq!(black_box(1) + 1, 2);
    }

    #[test]
    fn fails() {
        assert_eq!(black_box(1) + 1, 3, "one and one");
    }

    #[test]
    #[timeout(2)]
    fn hangs() {
        loop {
            spin_loop();
        }
    }

    #[test]
    #[should_panic]
    fn panics_as_it_should() {
        panic!("as it should");
    }

    #[test]
    #[should_panic]
    fn should_panic_and_does_not() {}

    #[test]
    fn takes_an_exception() {
        let nowhere = black_box(0x1000_0000) as *const u32;
        // Safety: nothing is there, so the load takes an exception and reads nothing.
        #[allow(unsafe_code)]
        let value = unsafe { nowhere.read_volatile() };
        black_box(value);
    }
}
