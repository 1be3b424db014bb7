//! What must hold whatever comes over RTT. A function, so that the fuzz target and a test on the host
//! (`tests/foreign_bytes.rs`) run the same.

use firmware_wire::{
    CONTROL_FRAME_BYTES_MAX, ControlFrame, DecodeError, DeviceFrame, Frame, FrameDecoder,
    TraceFrame, encode,
};

/// Decodes `data` as each kind of frame; what is a frame must be one again, encoded and decoded, and every
/// byte must be accounted for.
///
/// # Panics
/// When it is not.
pub fn frames(data: &[u8]) {
    decode::<DeviceFrame>(data);
    decode::<TraceFrame>(data);
    decode::<ControlFrame>(data);
}

const N: usize = CONTROL_FRAME_BYTES_MAX;

fn decode<F: Frame + PartialEq + core::fmt::Debug>(data: &[u8]) {
    let mut decoder = FrameDecoder::<N>::new();
    let mut since_zero = 0;
    for &byte in data {
        let ended = decoder.push::<F>(byte);
        since_zero += usize::from(byte != 0);
        match ended {
            None => assert!(byte != 0 || since_zero == 0, "bytes passed over in silence"),
            Some(Ok(frame)) => {
                let mut buffer = [0; N];
                let encoded = encode(&frame, &mut buffer).expect("it fitted before");
                let mut again = FrameDecoder::<N>::new();
                let decoded = encoded.iter().find_map(|&byte| again.push::<F>(byte));
                assert_eq!(decoded, Some(Ok(frame)));
            }
            Some(Err(DecodeError::Malformed { bytes } | DecodeError::TooLong { bytes })) => {
                assert_eq!(bytes, since_zero);
            }
        }
        if byte == 0 {
            since_zero = 0;
        }
    }
}
