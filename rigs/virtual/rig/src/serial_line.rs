//! The serial line between the fixture board and its host: a port, and what can be wrong with it.
//!
//! Bytes pass in both directions whenever the simulator looks, at the chip time of that moment. Faults are for tests of
//! whoever sits at the other end. A board of another version is the one fault that has to know frames: it is made by
//! giving each frame another version byte and the CRC that goes with it. Both, and the framing, are the parts of the
//! protocol that never change.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use crc::{CRC_16_IBM_SDLC, Crc};
use parking_lot::Mutex;

use crate::serial_port::{Arrived, SerialPort};
use crate::shared::Shared;

const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// Something wrong with the serial line of the fixture board; see
/// [`VirtualRig::set_line_fault`](crate::VirtualRig::set_line_fault).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// These bytes come to the host once, from nowhere.
    Garbage(Vec<u8>),
    /// The next bytes to the host are lost: a frame cut in half, a response that never comes.
    Drop(usize),
    /// The next bytes from the host are lost.
    DropFromHost(usize),
    /// Nothing comes to the host any more, as from a board that hangs.
    Silence,
    /// From now on the board speaks this version of the protocol, and knows frames of ours for another one's.
    OtherVersion(u8),
    /// The line is sound again, and what was cut is forgotten.
    None,
}

/// Finds the serial port of a virtual rig's fixture board, however often the cable is pulled; can be sent anywhere.
#[derive(Clone)]
pub struct FixturePort(Arc<Mutex<SerialLine>>);

impl FixturePort {
    pub(crate) fn new(line: Arc<Mutex<SerialLine>>) -> FixturePort {
        FixturePort(line)
    }

    /// What a host opens; none while the cable is pulled.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.0.lock().path()
    }
}

impl fmt::Debug for FixturePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FixturePort({:?})", self.path())
    }
}

/// The line as the simulator has it. Locked before the machine.
#[derive(Default)]
pub(crate) struct SerialLine {
    port: Option<SerialPort>,
    /// Nothing is opened by itself any more: somebody has pulled the cable.
    pulled: bool,
    faults: LineFaults,
}

impl SerialLine {
    /// Makes the port, unless there is one or the cable is pulled.
    pub(crate) fn open(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        if self.port.is_none() && !self.pulled {
            let kicked = shared.clone();
            self.port = Some(SerialPort::open(&shared.serial, move || kicked.kick())?);
        }
        Ok(())
    }

    /// The cable is pulled: what is returned is the port, whose end nobody should wait for under a lock.
    pub(crate) fn pull(&mut self) -> Option<SerialPort> {
        self.pulled = true;
        self.port.take()
    }

    /// The cable is plugged in again.
    pub(crate) fn plug(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        self.pulled = false;
        self.open(shared)
    }

    /// Something goes wrong.
    pub(crate) fn set_fault(&mut self, fault: &LineFault) {
        if let LineFault::Garbage(bytes) = fault
            && let Some(port) = &self.port
        {
            port.send(bytes);
        }
        self.faults.begin(fault);
    }

    fn path(&self) -> Option<PathBuf> {
        self.port.as_ref().map(|port| port.path().to_owned())
    }

    /// Carries bytes both ways; true when there were any, or somebody opened the port.
    pub(crate) fn serve(&mut self, shared: &Shared) -> bool {
        let Arrived { opened, bytes } =
            self.port.as_ref().map(SerialPort::take).unwrap_or_default();
        let bytes = self.faults.inward(bytes);
        let mut machine = shared.lock();
        if opened {
            machine.board().opened();
        }
        if !bytes.is_empty() {
            machine.board_receives(&bytes);
        }
        let answer = machine.board().take_outgoing();
        drop(machine);
        let answer = self.faults.outward(answer);
        let sent = !answer.is_empty() && self.port.as_ref().is_some_and(|port| port.send(&answer));
        opened || !bytes.is_empty() || sent
    }
}

/// What is wrong with the bytes.
#[derive(Debug, Default)]
struct LineFaults {
    lose_to_host: usize,
    lose_from_host: usize,
    silent: bool,
    version: Option<u8>,
    /// Frames that have begun, while versions are changed.
    to_host: Vec<u8>,
    from_host: Vec<u8>,
}

impl LineFaults {
    fn begin(&mut self, fault: &LineFault) {
        match fault {
            LineFault::Garbage(_) => {}
            LineFault::Drop(count) => self.lose_to_host += count,
            LineFault::DropFromHost(count) => self.lose_from_host += count,
            LineFault::Silence => self.silent = true,
            LineFault::OtherVersion(version) => self.version = Some(*version),
            LineFault::None => *self = LineFaults::default(),
        }
    }

    /// What the host gets of these bytes.
    fn outward(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.silent {
            return Vec::new();
        }
        let bytes = match self.version {
            Some(version) => with_version(version, &mut self.to_host, bytes),
            None => bytes,
        };
        lose(&mut self.lose_to_host, bytes)
    }

    /// What the board gets of these bytes.
    fn inward(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = lose(&mut self.lose_from_host, bytes);
        match self.version {
            Some(version) => with_version(version, &mut self.from_host, bytes),
            None => bytes,
        }
    }
}

fn lose(count: &mut usize, mut bytes: Vec<u8>) -> Vec<u8> {
    let lost = bytes.len().min(*count);
    *count -= lost;
    bytes.drain(..lost);
    bytes
}

/// Gives each whole frame of a stream another version; what is no frame passes as it is. `begun` holds the frame that is
/// not whole yet.
fn with_version(version: u8, begun: &mut Vec<u8>, bytes: Vec<u8>) -> Vec<u8> {
    let mut passed = Vec::new();
    for byte in bytes {
        begun.push(byte);
        if byte == 0 {
            let frame = std::mem::take(begun);
            passed.extend(reframe(&frame, version).unwrap_or(frame));
        }
    }
    passed
}

/// A frame, its zero included, in another version; `None` when it is no frame.
fn reframe(frame: &[u8], version: u8) -> Option<Vec<u8>> {
    let mut plain = frame.strip_suffix(&[0])?.to_vec();
    let length = cobs::decode_in_place(&mut plain).ok()?;
    plain.truncate(length);
    let check = plain.split_off(length.checked_sub(2)?);
    if CHECK.checksum(&plain).to_le_bytes() != check[..] {
        return None;
    }
    *plain.first_mut()? = version;
    plain.extend(CHECK.checksum(&plain).to_le_bytes());
    let mut framed = vec![0; cobs::max_encoding_length(plain.len())];
    let length = cobs::encode(&plain, &mut framed);
    framed.truncate(length);
    framed.push(0);
    Some(framed)
}

#[cfg(test)]
mod tests {
    use fixture_protocol::{
        DecodeError, FrameDecoder, REQUEST_FRAME_BYTES_MAX, Request, RequestFrame, VERSION, encode,
    };

    use super::*;

    fn frame(sequence: u32) -> Vec<u8> {
        let frame = RequestFrame {
            sequence,
            body: Request::Hello,
        };
        let mut buffer = [0; REQUEST_FRAME_BYTES_MAX];
        encode(&frame, &mut buffer).expect("it fits").to_vec()
    }

    fn decoded(bytes: &[u8]) -> Vec<Result<u32, DecodeError>> {
        let mut decoder = FrameDecoder::<REQUEST_FRAME_BYTES_MAX>::new();
        bytes
            .iter()
            .filter_map(|byte| decoder.push::<RequestFrame>(*byte))
            .map(|frame| frame.map(|frame| frame.sequence))
            .collect()
    }

    #[test]
    fn a_good_line_passes_everything() {
        let mut line = LineFaults::default();
        let bytes = [frame(1), frame(2)].concat();
        assert_eq!(line.outward(bytes.clone()), bytes);
        assert_eq!(line.inward(bytes.clone()), bytes);
    }

    #[test]
    fn lost_bytes_cut_a_frame_in_half() {
        let mut line = LineFaults::default();
        line.begin(&LineFault::Drop(4));
        let (first, rest) = (
            line.outward(frame(1)[..2].to_vec()),
            line.outward(frame(1)[2..].to_vec()),
        );
        assert!(first.is_empty());
        assert!(decoded(&rest).iter().all(Result::is_err));
        assert_eq!(decoded(&line.outward(frame(2))), [Ok(2)]);
        assert_eq!(decoded(&line.inward(frame(3))), [Ok(3)]);
    }

    #[test]
    fn a_silent_board_says_nothing_and_hears_all() {
        let mut line = LineFaults::default();
        line.begin(&LineFault::Silence);
        assert!(line.outward(frame(1)).is_empty());
        assert_eq!(line.inward(frame(1)), frame(1));
        line.begin(&LineFault::None);
        assert_eq!(decoded(&line.outward(frame(2))), [Ok(2)]);
    }

    #[test]
    fn another_version_is_a_whole_frame_of_another_version() {
        let mut line = LineFaults::default();
        let version = VERSION + 1;
        line.begin(&LineFault::OtherVersion(version));
        let bytes = [frame(1), b"\x03no\0".to_vec(), frame(2)].concat();
        let (head, tail) = bytes.split_at(5);
        let passed = [line.outward(head.to_vec()), line.outward(tail.to_vec())].concat();
        let other = Err(DecodeError::OtherVersion { version });
        let malformed = Err(DecodeError::Malformed { bytes: 3 });
        assert_eq!(decoded(&passed), [other, malformed, other]);
        assert_eq!(decoded(&line.inward(frame(1))), [other]);
        line.begin(&LineFault::None);
        assert_eq!(decoded(&line.outward(frame(1))), [Ok(1)]);
    }
}
