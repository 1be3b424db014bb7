//! What can go wrong with a virtual rig: in its settings, with its files, with its ports.

use std::io;
use std::path::PathBuf;

use virtual_esp32c3::FlashError;
use virtual_network::GatewayError;

/// A virtual rig could not be started, or can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VirtualRigError {
    /// The serial number would not survive in a probe selector.
    #[error("`{0}` can't be a probe's serial number; use letters, digits, `-`, `_` and `.`")]
    Serial(String),
    /// Another rig of this process has that serial number.
    #[error(
        "a virtual rig with serial `{0}` is already running; choose another serial or stop that one"
    )]
    SerialTaken(String),
    /// The pace is not a usable number.
    #[error("chip time can't run at `{0}` times wall time; choose 0.001 to 1000")]
    Multiple(f64),
    /// The MAC address is a multicast address.
    #[error("`{}` is a group's address; clear the lowest bit of the first byte", mac(.0))]
    Mac([u8; 6]),
    /// There is no such pin, or it is not for fixtures.
    #[error("nothing can hang on GPIO{0}; choose 0 to 10, 20 or 21")]
    Pin(u8),
    /// Two fixtures are on one pin.
    #[error("GPIO{0} is wired twice; give each relay and the 1-Wire bus a pin of its own")]
    PinTaken(u8),
    /// Too many relays.
    #[error("{0} relays are wired; a fixture board has at most 8")]
    Relays(usize),
    /// Too many sensors.
    #[error("{0} sensors are on the bus; a fixture board has places for 60")]
    Sensors(u8),
    /// The serial port of the fixture board could not be made.
    #[error("can't make a serial port for the fixture board")]
    SerialPort(#[source] io::Error),
    /// The flash has an impossible size, or its file can't be used.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The network could not be made.
    #[error("can't make the simulated network")]
    Network(#[from] GatewayError),
    /// The capture file could not be made.
    #[error("can't record frames to `{}`", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("can't start the thread `{name}`")]
    Thread {
        /// What the thread is called.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener can't be asked for its address.
    #[error("can't serve a Black Magic Probe on this port")]
    Listener(#[source] io::Error),
    /// The simulator thread has ended.
    #[error("the virtual rig `{0}` has stopped")]
    Stopped(String),
}

fn mac(mac: &[u8; 6]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}
