//! The controller's board: which pin is what. The only place that names pins.
//!
//! | what | ESP32-C3 | ESP32-C6 |
//! |---|---|---|
//! | 1-Wire bus | GPIO 10 | GPIO 18 |
//! | relay 1 to 8 | GPIO 0, 1, 3, 4, 5, 6, 7, 20 | GPIO 0, 1, 2, 3, 6, 7, 10, 11 |
//!
//! Left alone on the C3: 2, 8 and 9 decide how the chip boots, 11 to 17 are the flash's, 18 and 19
//! USB, 21 the console of the boot ROM. On the C6: 4, 5, 8, 9 and 15 decide how it boots, 12 and 13
//! are USB, 16 and 17 the console, 24 to 30 the flash's.

use esp_hal::{
    gpio::{AnyPin, Level, Output, OutputConfig},
    peripherals,
};
use firmware_control::{RELAYS, RelayId};

/// The 1-Wire bus's pin.
#[cfg(feature = "esp32c3")]
pub type OneWirePin<'d> = peripherals::GPIO10<'d>;
/// The 1-Wire bus's pin.
#[cfg(feature = "esp32c6")]
pub type OneWirePin<'d> = peripherals::GPIO18<'d>;

/// Takes the relays' pins out of the chip's peripherals, relay 1 first.
#[cfg(feature = "esp32c3")]
#[macro_export]
macro_rules! relay_pins {
    ($peripherals:ident) => {
        [
            $peripherals.GPIO0.into(),
            $peripherals.GPIO1.into(),
            $peripherals.GPIO3.into(),
            $peripherals.GPIO4.into(),
            $peripherals.GPIO5.into(),
            $peripherals.GPIO6.into(),
            $peripherals.GPIO7.into(),
            $peripherals.GPIO20.into(),
        ]
    };
}

/// Takes the relays' pins out of the chip's peripherals, relay 1 first.
#[cfg(feature = "esp32c6")]
#[macro_export]
macro_rules! relay_pins {
    ($peripherals:ident) => {
        [
            $peripherals.GPIO0.into(),
            $peripherals.GPIO1.into(),
            $peripherals.GPIO2.into(),
            $peripherals.GPIO3.into(),
            $peripherals.GPIO6.into(),
            $peripherals.GPIO7.into(),
            $peripherals.GPIO10.into(),
            $peripherals.GPIO11.into(),
        ]
    };
}

/// Takes the 1-Wire bus's pin out of the chip's peripherals.
#[cfg(feature = "esp32c3")]
#[macro_export]
macro_rules! one_wire_pin {
    ($peripherals:ident) => {
        $peripherals.GPIO10
    };
}

/// Takes the 1-Wire bus's pin out of the chip's peripherals.
#[cfg(feature = "esp32c6")]
#[macro_export]
macro_rules! one_wire_pin {
    ($peripherals:ident) => {
        $peripherals.GPIO18
    };
}

/// The relays' coils, active high; all off until something else is said.
#[allow(missing_debug_implementations)]
pub struct Coils([Output<'static>; RELAYS]);

impl Coils {
    /// Takes the pins, relay 1 first.
    #[must_use]
    pub fn new(pins: [AnyPin<'static>; RELAYS]) -> Self {
        Self(pins.map(|pin| Output::new(pin, Level::Low, OutputConfig::default())))
    }

    /// Drives one coil.
    pub fn set(&mut self, relay: RelayId, on: bool) {
        self.0[relay.index()].set_level(Level::from(on));
    }
}
