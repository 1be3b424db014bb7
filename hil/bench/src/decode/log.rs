//! The defmt channel: bytes to log lines with level, place and device time.
//!
//! The usual encoding, rzCOBS, ends each frame with a zero, so a cut or garbled frame costs itself
//! and perhaps the next, and the stream goes on. A firmware built with defmt's `encoding-raw` has no
//! such marks: after a damaged frame nothing more can be told apart until the device starts anew.

use defmt_decoder::{DecodeError, Encoding, Frame};

use crate::{
    event::{LogLevel, LogLine},
    image::{Defmt, FirmwareImage},
};

/// What came out of the log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    /// A line, with the device's time in microseconds, if the firmware stamps its lines in a way
    /// that can be read as time.
    Line(LogLine, Option<u64>),
    /// Bytes that are no frame.
    Garbled(usize),
}

/// Longer than any frame: what grows beyond has lost its end.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// See the file's header.
pub(crate) struct LogStream {
    image: FirmwareImage,
    /// Bytes of a frame whose end has not come.
    pending: Vec<u8>,
    /// The stream has no marks and was damaged.
    lost: bool,
}

impl LogStream {
    pub(crate) fn new(image: FirmwareImage) -> Self {
        Self {
            image,
            pending: vec![],
            lost: false,
        }
    }

    /// Forgets a frame that has begun: the device started anew.
    pub(crate) fn restart(&mut self) {
        self.pending.clear();
        self.lost = false;
    }

    /// Takes `bytes` and hands on what they hold.
    pub(crate) fn push(&mut self, bytes: &[u8], out: impl FnMut(Logged)) {
        // Cheap: the image is shared. It keeps the table alive while `self` is changed.
        let image = self.image.clone();
        let Some(defmt) = image.defmt() else {
            return;
        };
        match defmt.table.encoding() {
            Encoding::Rzcobs => self.push_delimited(defmt, bytes, out),
            _ => self.push_raw(defmt, bytes, out),
        }
    }

    fn push_delimited(&mut self, defmt: &Defmt, bytes: &[u8], mut out: impl FnMut(Logged)) {
        for piece in bytes.split_inclusive(|byte| *byte == 0) {
            self.pending.extend_from_slice(piece);
            let ended = piece.ends_with(&[0]);
            if !ended && self.pending.len() <= FRAME_BYTES_MAX {
                continue;
            }
            let length = self.pending.len() - usize::from(ended);
            if length > 0 {
                let line = ended.then(|| decode_one(defmt, &self.pending)).flatten();
                out(line.unwrap_or(Logged::Garbled(length)));
            }
            self.pending.clear();
        }
    }

    fn push_raw(&mut self, defmt: &Defmt, bytes: &[u8], mut out: impl FnMut(Logged)) {
        if self.lost {
            out(Logged::Garbled(bytes.len()));
            return;
        }
        self.pending.extend_from_slice(bytes);
        loop {
            match defmt.table.decode(&self.pending) {
                Ok((frame, consumed)) => {
                    out(line(defmt, &frame));
                    self.pending.drain(..consumed);
                }
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => {
                    out(Logged::Garbled(self.pending.len()));
                    self.pending.clear();
                    self.lost = true;
                    break;
                }
            }
        }
    }
}

/// One frame with its zero.
fn decode_one(defmt: &Defmt, frame: &[u8]) -> Option<Logged> {
    let mut decoder = defmt.table.new_stream_decoder();
    decoder.received(frame);
    let frame = decoder.decode().ok()?;
    Some(line(defmt, &frame))
}

fn line(defmt: &Defmt, frame: &Frame<'_>) -> Logged {
    let location = defmt.locations.get(&frame.index());
    let level = frame.level().map(|level| match level.as_str() {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        _ => LogLevel::Error,
    });
    let time = frame
        .display_timestamp()
        .and_then(|time| microseconds(&time.to_string()));
    let line = LogLine {
        level,
        message: frame.display_message().to_string(),
        module: location.map(|location| location.module.clone()),
        file: location.map(|location| location.file.display().to_string()),
        line: location.and_then(|location| u32::try_from(location.line).ok()),
    };
    Logged::Line(line, time)
}

/// A time stamp as the firmware prints it: seconds with a fraction (`1.234567`, defmt's `{=u64:us}`),
/// or as hours, minutes and seconds (`0:00:01.234567`).
fn microseconds(shown: &str) -> Option<u64> {
    let (whole, fraction) = shown.trim().split_once('.').unwrap_or((shown.trim(), ""));
    let mut seconds = 0_u64;
    for part in whole.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    seconds
        .checked_mul(1_000_000)?
        .checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestElf, defmt_image};

    #[track_caller]
    fn check_time(shown: &str, expected: Option<u64>) {
        assert_eq!(microseconds(shown), expected, "for {shown}");
    }

    #[test]
    fn time_stamps_are_read() {
        check_time("1.234567", Some(1_234_567));
        check_time("0.5", Some(500_000));
        check_time("12", Some(12_000_000));
        check_time("1:00:01.000002", Some(3_601_000_002));
        check_time("<time>", None);
        check_time("", None);
    }

    fn feed(stream: &mut LogStream, bytes: &[u8]) -> Vec<Logged> {
        let mut logged = vec![];
        stream.push(bytes, |what| logged.push(what));
        logged
    }

    fn info(message: &str) -> Logged {
        let line = LogLine {
            level: Some(LogLevel::Info),
            message: message.into(),
            module: None,
            file: None,
            line: None,
        };
        Logged::Line(line, None)
    }

    /// `defmt::info!("answer {=u8}", n)` as it travels: rzCOBS of the little-endian index and the
    /// value. The index is that of the first entry of the test's image.
    fn answer(n: u8) -> Vec<u8> {
        let index = TestElf::FIRST_LOG_INDEX.to_le_bytes();
        crate::testing::rzcobs(&[index[0], index[1], n])
    }

    #[test]
    fn lines_are_decoded() {
        let mut stream = LogStream::new(defmt_image());
        let bytes = [answer(42), answer(0)].concat();
        assert_eq!(
            feed(&mut stream, &bytes),
            [info("answer 42"), info("answer 0")]
        );
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut stream = LogStream::new(defmt_image());
        let bytes = answer(42);
        assert_eq!(feed(&mut stream, &bytes[..1]), []);
        assert_eq!(feed(&mut stream, &bytes[1..]), [info("answer 42")]);
    }

    #[test]
    fn a_garbled_line_is_counted_and_the_next_one_is_read() {
        let mut stream = LogStream::new(defmt_image());
        let bytes = [&[0x13, 0x37, 0x81, 0][..], &answer(7)].concat();
        assert_eq!(
            feed(&mut stream, &bytes),
            [Logged::Garbled(3), info("answer 7")]
        );
    }

    #[test]
    fn a_line_cut_without_its_end_costs_itself_and_the_next() {
        let mut stream = LogStream::new(defmt_image());
        let whole = answer(1);
        let bytes = [&whole[..2], &answer(2), &answer(3)].concat();
        let logged = feed(&mut stream, &bytes);
        assert_eq!(logged.last(), Some(&info("answer 3")), "{logged:?}");
        assert!(!logged.contains(&info("answer 1")), "{logged:?}");
    }

    #[test]
    fn endless_bytes_do_not_pile_up() {
        let mut stream = LogStream::new(defmt_image());
        let logged = feed(&mut stream, &vec![0x55; 3 * FRAME_BYTES_MAX]);
        assert_eq!(logged, [Logged::Garbled(3 * FRAME_BYTES_MAX)]);
        assert!(stream.pending.is_empty());
    }

    #[test]
    fn a_restart_forgets_half_a_line() {
        let mut stream = LogStream::new(defmt_image());
        feed(&mut stream, &answer(1)[..2]);
        stream.restart();
        assert_eq!(feed(&mut stream, &answer(2)), [info("answer 2")]);
    }
}
