//! The RTT channels: three up, one down.
//!
//! All up channels skip what does not fit instead of waiting for the host: a device must not
//! behave differently because nobody listens. A frame is written in one piece, so it is there whole
//! or not at all, and its sequence number is used up either way: loss is seen.

use rtt_target::{ChannelMode, DownChannel, UpChannel, rtt_init};

/// The channels, by what they carry.
#[allow(missing_debug_implementations)]
pub struct Channels {
    /// Up 0: log frames of defmt.
    pub log: UpChannel,
    /// Up 1: [`firmware_wire::DeviceFrame`].
    pub telemetry: UpChannel,
    /// Up 2: [`firmware_wire::TraceFrame`].
    pub trace: UpChannel,
    /// Down 0: [`firmware_wire::ControlFrame`].
    pub control: DownChannel,
}

// `rtt_init!` wants literals, as it makes C strings of them.
const _: () = {
    const fn same(a: &str, b: &str) -> bool {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let mut i = 0;
        while i < a.len() && i < b.len() && a[i] == b[i] {
            i += 1;
        }
        i == a.len() && i == b.len()
    }
    assert!(same(firmware_wire::CHANNEL_DEFMT, "defmt"));
    assert!(same(firmware_wire::CHANNEL_TELEMETRY, "telemetry"));
    assert!(same(firmware_wire::CHANNEL_TRACE, "trace"));
    assert!(same(firmware_wire::CHANNEL_CONTROL, "control"));
};

/// Sets up the control block (symbol `_SEGGER_RTT`) and its channels. Call once, first thing.
#[allow(unsafe_code)]
pub fn init() -> Channels {
    // Safety: `rtt_init!` holds the only references to statics that it declares itself, and defines
    // a symbol that makes a second expansion fail to link; this function is called once, by `main`
    // or by a test's set-up.
    let channels = rtt_init! {
        up: {
            0: { size: 4096, mode: ChannelMode::NoBlockSkip, name: "defmt" }
            1: { size: 4096, mode: ChannelMode::NoBlockSkip, name: "telemetry" }
            2: { size: 8192, mode: ChannelMode::NoBlockSkip, name: "trace" }
        }
        down: {
            0: { size: 1024, name: "control" }
        }
    };
    Channels {
        log: channels.up.0,
        telemetry: channels.up.1,
        trace: channels.up.2,
        control: channels.down.0,
    }
}

/// Writes `bytes` to `channel` whole or not at all, and says which.
///
/// rtt-target commits nothing when a single write does not fit, but returns how far it came.
pub fn write_whole(channel: &mut UpChannel, bytes: &[u8]) -> bool {
    channel.write(bytes) == bytes.len()
}
