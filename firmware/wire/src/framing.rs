//! Frames to bytes and back: postcard, then a CRC, then COBS.
//!
//! The CRC is CRC-16/IBM-SDLC over the postcard bytes, low byte first. Without it a flipped bit in
//! a number would be a wrong measurement instead of a lost frame.
//!
//! The decoder is for a stream that may begin in the middle of a frame and may hold cut or garbled
//! frames: it skips to the next zero and says what it skipped.

use crc::{CRC_16_IBM_SDLC, Crc};
use postcard::ser_flavors::{Cobs, Slice, crc::CrcModifier};
use serde::{Serialize, de::DeserializeOwned};

const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// A type that travels as one frame.
pub trait Frame: Serialize + DeserializeOwned {
    /// The longest encoded frame, COBS and the trailing zero included, bytes.
    const BYTES_MAX: usize;
}

impl Frame for crate::DeviceFrame {
    const BYTES_MAX: usize = crate::DEVICE_FRAME_BYTES_MAX;
}
impl Frame for crate::TraceFrame {
    const BYTES_MAX: usize = crate::TRACE_FRAME_BYTES_MAX;
}
impl Frame for crate::ControlFrame {
    const BYTES_MAX: usize = crate::CONTROL_FRAME_BYTES_MAX;
}

/// The frame did not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

/// A stretch of the stream that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Between two zeros were bytes that do not decode: a frame cut or garbled.
    Malformed {
        /// Bytes skipped, without the zero.
        bytes: usize,
    },
    /// More bytes than any frame has came without a zero.
    TooLong {
        /// Bytes skipped, without the zero.
        bytes: usize,
    },
}

/// Encodes `frame` into `buffer`; the trailing zero is the last byte of the result.
///
/// # Errors
/// [`EncodeError`] when `buffer` is too short; [`Frame::BYTES_MAX`] bytes always do.
pub fn encode<'b, F: Frame>(frame: &F, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
    let cobs = Cobs::try_new(Slice::new(buffer)).map_err(|_| EncodeError)?;
    postcard::serialize_with_flavor(frame, CrcModifier::new(cobs, CHECK.digest()))
        .map(|bytes| &*bytes)
        .map_err(|_| EncodeError)
}

/// Cuts a stream of bytes into frames. `N` is at least the frame's [`Frame::BYTES_MAX`].
#[derive(Clone, Debug)]
pub struct FrameDecoder<const N: usize> {
    buffer: [u8; N],
    /// Bytes in `buffer`.
    length: usize,
    /// Bytes beyond `buffer` since the last zero.
    overflow: usize,
}

impl<const N: usize> Default for FrameDecoder<N> {
    fn default() -> Self {
        Self {
            buffer: [0; N],
            length: 0,
            overflow: 0,
        }
    }
}

impl<const N: usize> FrameDecoder<N> {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte; a frame or an error when it ends one.
    pub fn push<F: Frame>(&mut self, byte: u8) -> Option<Result<F, DecodeError>> {
        if byte != 0 {
            if self.length < N {
                self.buffer[self.length] = byte;
                self.length += 1;
            } else {
                self.overflow += 1;
            }
            return None;
        }
        let (length, overflow) = (self.length, self.overflow);
        self.clear();
        if length == 0 {
            // A lone zero: the sender closes a frame it may have left open.
            return None;
        }
        if overflow > 0 {
            return Some(Err(DecodeError::TooLong {
                bytes: length + overflow,
            }));
        }
        Some(decode(&mut self.buffer[..length]).ok_or(DecodeError::Malformed { bytes: length }))
    }

    /// Forgets a frame that has begun, as after a reset of the device.
    pub fn clear(&mut self) {
        self.length = 0;
        self.overflow = 0;
    }
}

/// One frame from its COBS bytes without the zero. All bytes must be used: a frame that decodes
/// from a part of its bytes is a garbled one.
fn decode<F: Frame>(bytes: &mut [u8]) -> Option<F> {
    let length = cobs::decode_in_place(bytes).ok()?;
    let (frame, rest) =
        postcard::de_flavors::crc::take_from_bytes_u16(bytes.get(..length)?, CHECK.digest())
            .ok()?;
    rest.is_empty().then_some(frame)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use heapless::String;
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::*;

    const N: usize = CONTROL_FRAME_BYTES_MAX;

    fn text<const L: usize>(text: &str) -> String<L> {
        String::try_from(text).expect("fits")
    }

    fn full<const L: usize>() -> String<L> {
        (0..L).map(|_| 'x').collect()
    }

    fn memory(sequence: u32) -> DeviceFrame {
        let stack = StackSample {
            name: text("main"),
            size: 200_000,
            used_max: 2_900,
        };
        DeviceFrame {
            boot: 3,
            sequence,
            uptime_us: 1_000_000,
            body: DeviceBody::Memory(MemorySample {
                heap: HeapSample {
                    size: 65_536,
                    free: 60_000,
                    free_min: 59_000,
                    largest_free_block: 58_000,
                    allocations: 10,
                    frees: 4,
                    failed: 0,
                    refused: 0,
                },
                stacks: heapless::Vec::from_slice(&[stack]).expect("fits"),
                buffers: BufferSample {
                    mqtt_used_max: 4_738,
                    ..BufferSample::default()
                },
            }),
        }
    }

    fn bytes<F: Frame>(frame: &F) -> Vec<u8> {
        let mut buffer = [0; N];
        encode(frame, &mut buffer).expect("fits").to_vec()
    }

    fn feed<F: Frame>(stream: &[u8]) -> Vec<Result<F, DecodeError>> {
        let mut decoder = FrameDecoder::<N>::new();
        stream.iter().filter_map(|b| decoder.push(*b)).collect()
    }

    fn check_round_trip<F: Frame + PartialEq + core::fmt::Debug>(frame: F) {
        let encoded = bytes(&frame);
        assert!(encoded.len() <= F::BYTES_MAX, "{} bytes", encoded.len());
        assert_eq!(feed::<F>(&encoded), [Ok(frame)]);
    }

    #[test]
    fn the_longest_frames_fit() {
        check_round_trip(DeviceFrame {
            boot: u32::MAX,
            sequence: u32::MAX,
            uptime_us: u64::MAX,
            body: DeviceBody::Panic { message: full() },
        });
        let stack = StackSample {
            name: full(),
            size: u32::MAX,
            used_max: u32::MAX,
        };
        let most = u32::MAX;
        check_round_trip(DeviceFrame {
            boot: most,
            sequence: most,
            uptime_us: u64::MAX,
            body: DeviceBody::Memory(MemorySample {
                heap: HeapSample {
                    size: most,
                    free: most,
                    free_min: most,
                    largest_free_block: most,
                    allocations: most,
                    frees: most,
                    failed: most,
                    refused: most,
                },
                stacks: core::iter::repeat_n(stack, 6).collect(),
                buffers: BufferSample {
                    mqtt_used_max: most,
                    json_used_max: most,
                    outbox_used_max: most,
                    http_used_max: most,
                },
            }),
        });
        check_round_trip(ControlFrame {
            sequence: u32::MAX,
            body: ControlBody::Provision(Provision {
                device_id: full(),
                network: NetworkDriver::Wifi(Wifi {
                    ssid: full(),
                    passphrase: full(),
                }),
                broker: Broker {
                    host: full(),
                    port: u16::MAX,
                    keep_alive_s: u16::MAX,
                    credentials: Some(Credentials {
                        username: full(),
                        password: full(),
                    }),
                    security: Security::Tls {
                        server_name: full(),
                        client_certificate: true,
                    },
                },
                topic_levels: core::array::from_fn(|_| TopicLevel::Custom(full())),
                telemetry_interval_s: u32::MAX,
                retain_telemetry: true,
                time_server: full(),
            }),
        });
        check_round_trip(ControlFrame {
            sequence: u32::MAX,
            body: ControlBody::Certificate(CertificateChunk {
                slot: CertificateSlot::ClientKey,
                offset: u16::MAX,
                total: u16::MAX,
                bytes: heapless::Vec::from_slice(&[0xFF; 512]).expect("fits"),
            }),
        });
        check_round_trip(TraceFrame {
            boot: u32::MAX,
            sequence: u32::MAX,
            uptime_us: u64::MAX,
            event: TraceEvent::Allocated {
                address: u32::MAX,
                size: u32::MAX,
                path: (0..8).map(|_| u32::MAX).collect(),
            },
        });
    }

    #[test]
    fn a_stream_that_begins_in_the_middle_finds_the_next_frame() {
        let mut stream = bytes(&memory(0))[5..].to_vec();
        let skipped = stream.len() - 1;
        stream.extend(bytes(&memory(1)));
        assert_eq!(
            feed::<DeviceFrame>(&stream),
            [
                Err(DecodeError::Malformed { bytes: skipped }),
                Ok(memory(1))
            ]
        );
    }

    #[test]
    fn a_frame_cut_without_its_zero_costs_itself_and_the_next_one_only() {
        let whole = bytes(&memory(0));
        let mut stream = whole[..whole.len() / 2].to_vec();
        stream.extend(bytes(&memory(1)));
        stream.extend(bytes(&memory(2)));
        let got = feed::<DeviceFrame>(&stream);
        assert!(matches!(got[0], Err(DecodeError::Malformed { .. })));
        assert_eq!(got[1..], [Ok(memory(2))]);
    }

    #[test]
    fn endless_bytes_without_a_zero_are_reported_once() {
        let mut stream = std::vec![7; 3 * N];
        stream.push(0);
        stream.extend(bytes(&memory(4)));
        assert_eq!(
            feed::<DeviceFrame>(&stream),
            [Err(DecodeError::TooLong { bytes: 3 * N }), Ok(memory(4))]
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = bytes(&memory(0));
        for bit in 0..8 * (whole.len() - 1) {
            let mut garbled = whole.clone();
            garbled[bit / 8] ^= 1 << (bit % 8);
            for frame in feed::<DeviceFrame>(&garbled) {
                assert!(frame.is_err(), "bit {bit} flipped, and still {frame:?}");
            }
        }
    }

    #[test]
    fn lone_zeros_are_nothing() {
        let mut stream = std::vec![0, 0];
        stream.extend(bytes(&memory(4)));
        stream.push(0);
        assert_eq!(feed::<DeviceFrame>(&stream), [Ok(memory(4))]);
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = std::format!(
            "{:?} {:?}",
            Wifi {
                ssid: text("attic"),
                passphrase: text("hunter22")
            },
            Credentials {
                username: text("device"),
                password: text("hunter22")
            }
        );
        assert!(shown.contains("attic") && shown.contains("device"));
        assert!(!shown.contains("hunter22"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(stream in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            feed::<DeviceFrame>(&stream);
            feed::<TraceFrame>(&stream);
            feed::<ControlFrame>(&stream);
        }

        #[test]
        fn trace_frames_round_trip(boot: u32, sequence: u32, uptime_us: u64, address: u32, size: u32,
                                   path in proptest::collection::vec(any::<u32>(), 0..=8)) {
            check_round_trip(TraceFrame { boot, sequence, uptime_us,
                event: TraceEvent::Allocated { address, size, path: path.into_iter().collect() } });
            check_round_trip(TraceFrame { boot, sequence, uptime_us, event: TraceEvent::Freed { address, size } });
        }
    }
}
