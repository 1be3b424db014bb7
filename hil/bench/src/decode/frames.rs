//! A stream of numbered frames: decodes them, notices new boots and counts what is missing.

use firmware_wire::{
    DEVICE_FRAME_BYTES_MAX, DecodeError, DeviceFrame, Frame, FrameDecoder, TraceFrame,
};

/// A frame that carries its boot and its number.
pub(crate) trait Numbered: Frame {
    /// The boot it belongs to.
    fn boot(&self) -> u32;
    /// Its number within the boot, from 0.
    fn sequence(&self) -> u32;
}

impl Numbered for DeviceFrame {
    fn boot(&self) -> u32 {
        self.boot
    }
    fn sequence(&self) -> u32 {
        self.sequence
    }
}

impl Numbered for TraceFrame {
    fn boot(&self) -> u32 {
        self.boot
    }
    fn sequence(&self) -> u32 {
        self.sequence
    }
}

/// What came out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received<F> {
    /// A frame.
    Frame(F),
    /// The frames from here on belong to another boot than those before.
    NewBoot {
        /// The number of the boot before, none for the first.
        before: Option<u32>,
    },
    /// Frames are missing before the next one.
    Lost(u32),
    /// Bytes that are no frame.
    Garbled(usize),
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct FrameStream {
    // The telemetry frames are the longest of all.
    decoder: FrameDecoder<DEVICE_FRAME_BYTES_MAX>,
    boot: Option<u32>,
    /// The number that must come next.
    next: u32,
}

impl FrameStream {
    pub(crate) fn new() -> Self {
        Self {
            decoder: FrameDecoder::new(),
            boot: None,
            next: 0,
        }
    }

    /// Forgets a frame that has begun: the stream starts anew.
    pub(crate) fn restart(&mut self) {
        self.decoder.clear();
    }

    /// Forgets which boot it was, too: what comes next is the first that is known.
    pub(crate) fn forget(&mut self) {
        *self = Self::new();
    }

    /// Takes `bytes` and hands on what they hold.
    pub(crate) fn push<F: Numbered>(&mut self, bytes: &[u8], mut out: impl FnMut(Received<F>)) {
        for byte in bytes {
            match self.decoder.push::<F>(*byte) {
                None => {}
                Some(Err(DecodeError::Malformed { bytes } | DecodeError::TooLong { bytes })) => {
                    out(Received::Garbled(bytes));
                }
                Some(Ok(frame)) => self.number(frame, &mut out),
            }
        }
    }

    fn number<F: Numbered>(&mut self, frame: F, out: &mut impl FnMut(Received<F>)) {
        let (boot, sequence) = (frame.boot(), frame.sequence());
        if self.boot != Some(boot) {
            out(Received::NewBoot { before: self.boot });
            // A bench that joins a running device can't know what came before; one that saw the
            // device before can: the frames of a boot are numbered from 0.
            self.next = if self.boot.is_some() { 0 } else { sequence };
            self.boot = Some(boot);
        }
        let lost = sequence.wrapping_sub(self.next);
        // A number that goes back within a boot would be a mistake of the sender: not a loss of
        // four thousand million frames.
        if lost != 0 && lost < u32::MAX / 2 {
            out(Received::Lost(lost));
        }
        self.next = sequence.wrapping_add(1);
        out(Received::Frame(frame));
    }
}

#[cfg(test)]
mod tests {
    use firmware_wire::{TraceEvent, encode};
    use proptest::prelude::*;

    use super::*;

    fn frame(boot: u32, sequence: u32) -> TraceFrame {
        TraceFrame {
            boot,
            sequence,
            uptime_us: 1,
            event: TraceEvent::Freed {
                address: 2,
                size: 3,
            },
        }
    }

    fn bytes(frame: &TraceFrame) -> Vec<u8> {
        let mut buffer = [0; 96];
        encode(frame, &mut buffer).expect("fits").to_vec()
    }

    fn feed(stream: &mut FrameStream, bytes: &[u8]) -> Vec<Received<TraceFrame>> {
        let mut received = vec![];
        stream.push(bytes, |what| received.push(what));
        received
    }

    /// What a fresh stream makes of frames with these boots and numbers.
    #[track_caller]
    fn check(frames: &[(u32, u32)], expected: &[Received<TraceFrame>]) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(boot, sequence)| bytes(&frame(*boot, *sequence)))
            .collect();
        assert_eq!(feed(&mut FrameStream::new(), &bytes), expected);
    }

    use Received::{Frame as Got, Garbled, Lost, NewBoot};

    #[test]
    fn frames_in_order_lose_nothing() {
        check(
            &[(1, 0), (1, 1)],
            &[NewBoot { before: None }, Got(frame(1, 0)), Got(frame(1, 1))],
        );
    }

    #[test]
    fn a_gap_is_counted() {
        check(
            &[(1, 0), (1, 4)],
            &[
                NewBoot { before: None },
                Got(frame(1, 0)),
                Lost(3),
                Got(frame(1, 4)),
            ],
        );
    }

    #[test]
    fn joining_late_is_no_loss() {
        check(&[(1, 9)], &[NewBoot { before: None }, Got(frame(1, 9))]);
    }

    #[test]
    fn a_new_boot_is_noticed_and_its_first_frames_are_missed() {
        check(
            &[(1, 7), (2, 2)],
            &[
                NewBoot { before: None },
                Got(frame(1, 7)),
                NewBoot { before: Some(1) },
                Lost(2),
                Got(frame(2, 2)),
            ],
        );
    }

    #[test]
    fn a_number_that_goes_back_is_no_loss() {
        check(
            &[(1, 7), (1, 3), (1, 4)],
            &[
                NewBoot { before: None },
                Got(frame(1, 7)),
                Got(frame(1, 3)),
                Got(frame(1, 4)),
            ],
        );
    }

    #[test]
    fn numbers_wrap() {
        check(
            &[(1, u32::MAX), (1, 0)],
            &[
                NewBoot { before: None },
                Got(frame(1, u32::MAX)),
                Got(frame(1, 0)),
            ],
        );
    }

    #[test]
    fn a_garbled_frame_is_counted_as_bytes_and_as_a_loss() {
        let mut garbled = bytes(&frame(1, 1));
        garbled[2] ^= 0x10;
        let length = garbled.len() - 1;
        let stream = [bytes(&frame(1, 0)), garbled, bytes(&frame(1, 2))].concat();
        assert_eq!(
            feed(&mut FrameStream::new(), &stream),
            [
                NewBoot { before: None },
                Got(frame(1, 0)),
                Garbled(length),
                Lost(1),
                Got(frame(1, 2))
            ]
        );
    }

    #[test]
    fn a_frame_cut_by_a_reset_is_forgotten() {
        let mut stream = FrameStream::new();
        feed(&mut stream, &bytes(&frame(1, 0)));
        assert_eq!(feed(&mut stream, &bytes(&frame(1, 1))[..5]), []);
        stream.restart();
        assert_eq!(
            feed(&mut stream, &bytes(&frame(2, 0))),
            [NewBoot { before: Some(1) }, Got(frame(2, 0))]
        );
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_does_not_matter(cuts in proptest::collection::vec(1_usize..20, 1..20)) {
            let stream: Vec<u8> = (0..10).flat_map(|n| bytes(&frame(1, n * 2))).collect();
            let whole = feed(&mut FrameStream::new(), &stream);
            let mut pieces = FrameStream::new();
            let (mut rest, mut received) = (&stream[..], vec![]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                received.extend(feed(&mut pieces, piece));
                rest = after;
            }
            prop_assert_eq!(received, whole);
        }
    }
}
