//! RTT as the bench needs it: at a known address, in one read a poll, never halting the core.
//!
//! probe-rs has RTT too. Its attach reads the channels' names, which lie in flash; on an ESP32-C3
//! that halts the core, and halting turns the firmware's watchdogs off, which are under test. And it
//! trusts the control block from then on, where the bench must notice that a device has started
//! anew or has overwritten it. So each poll reads the whole control block, all channels at once, and
//! checks it; the names are known from the wire.
//!
//! ```text
//! +0   identifier "SEGGER RTT", zeros     16 bytes
//! +16  number of up channels, of down channels
//! +24  per channel: name, buffer, size, write offset, read offset, flags    24 bytes each
//! ```
//! Source: SEGGER UM08001, chapter "RTT", control block.

use crate::event::RttProblem;

const IDENTIFIER: [u8; 16] = *b"SEGGER RTT\0\0\0\0\0\0";
const HEADER_WORDS: usize = 6;
const CHANNEL_WORDS: usize = 6;
/// More than any firmware has: a larger number is no number of channels.
const CHANNELS_MAX: u32 = 16;

/// The memory of a chip, as RTT needs it.
pub(crate) trait Memory {
    type Error;
    /// Reads words from a word-aligned address.
    fn read_words(&mut self, address: u32, words: &mut [u32]) -> Result<(), Self::Error>;
    /// Reads bytes.
    fn read_bytes(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;
    /// Writes bytes.
    fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Writes one word.
    fn write_word(&mut self, address: u32, word: u32) -> Result<(), Self::Error>;
}

/// Why a poll brought nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RttError<E> {
    /// The control block is not as it must be.
    Block(RttProblem),
    /// The memory can't be read.
    Memory(E),
}

impl<E> From<E> for RttError<E> {
    fn from(error: E) -> Self {
        Self::Memory(error)
    }
}

/// One channel as the control block describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Descriptor {
    /// Address of the descriptor itself.
    at: u32,
    buffer: u32,
    size: u32,
    write: u32,
    read: u32,
}

impl Descriptor {
    /// Address of the field with the host's or the device's offset.
    fn write_field(self) -> u32 {
        self.at + 12
    }
    fn read_field(self) -> u32 {
        self.at + 16
    }
}

/// The control block at one moment.
#[derive(Debug)]
struct Block {
    up: Vec<Descriptor>,
    down: Vec<Descriptor>,
}

/// RTT at one address.
#[derive(Debug)]
pub(crate) struct Rtt {
    address: u32,
    /// Where the chip has RAM: a buffer elsewhere is a damaged control block.
    ram: Vec<std::ops::Range<u32>>,
    /// Words of the control block, once its number of channels is known.
    words: Vec<u32>,
}

impl Rtt {
    /// RTT with its control block at `address`.
    pub(crate) fn new(address: u32, ram: Vec<std::ops::Range<u32>>) -> Self {
        Self {
            address,
            ram,
            words: vec![0; HEADER_WORDS],
        }
    }

    /// Wipes the identifier, so that a control block that is seen afterwards is a fresh one. To be
    /// done while the core is halted, after a reset.
    pub(crate) fn clear<M: Memory>(&self, memory: &mut M) -> Result<(), M::Error> {
        memory.write_bytes(self.address, &[0; 16])
    }

    /// Reads what the up channels hold into `channels`, one buffer each, appended, and frees the
    /// room on the device. Returns the number of bytes.
    pub(crate) fn poll<M: Memory>(
        &mut self,
        memory: &mut M,
        channels: &mut [Vec<u8>],
    ) -> Result<usize, RttError<M::Error>> {
        let block = self.read_block(memory)?;
        let mut total = 0;
        for (descriptor, out) in block.up.iter().zip(channels) {
            total += read_up(memory, *descriptor, out)?;
        }
        Ok(total)
    }

    /// Writes as much of `bytes` to a down channel as there is room for; returns how many.
    pub(crate) fn write<M: Memory>(
        &mut self,
        memory: &mut M,
        channel: usize,
        bytes: &[u8],
    ) -> Result<usize, RttError<M::Error>> {
        let block = self.read_block(memory)?;
        let Some(down) = block.down.get(channel).filter(|down| down.size > 0) else {
            return Err(RttError::Block(RttProblem::Damaged {
                address: self.address,
                what: format!("it has no down channel {channel}"),
            }));
        };
        // One byte stays free, so that full and empty differ.
        let room = (down.read + down.size - down.write - 1) % down.size;
        let bytes = &bytes[..bytes.len().min(room as usize)];
        let to_end = bytes.len().min((down.size - down.write) as usize);
        let (first, second) = bytes.split_at(to_end);
        if !first.is_empty() {
            memory.write_bytes(down.buffer + down.write, first)?;
        }
        if !second.is_empty() {
            memory.write_bytes(down.buffer, second)?;
        }
        if !bytes.is_empty() {
            let write = (down.write + bytes.len() as u32) % down.size;
            memory.write_word(down.write_field(), write)?;
        }
        Ok(bytes.len())
    }

    fn read_block<M: Memory>(&mut self, memory: &mut M) -> Result<Block, RttError<M::Error>> {
        memory.read_words(self.address, &mut self.words)?;
        let (up, down) = self.header()?;
        let words = HEADER_WORDS + CHANNEL_WORDS * (up + down);
        if self.words.len() != words {
            // First contact, or another firmware.
            self.words = vec![0; words];
            memory.read_words(self.address, &mut self.words)?;
            if self.header()? != (up, down) {
                return Err(self.damaged("it changes while it is read".into()));
            }
        }
        let descriptors: Vec<Descriptor> = (0..up + down)
            .map(|index| self.descriptor(index))
            .collect::<Result<_, _>>()
            .map_err(RttError::Block)?;
        let (up, down) = descriptors.split_at(up);
        Ok(Block {
            up: up.to_vec(),
            down: down.to_vec(),
        })
    }

    /// The numbers of channels, if the identifier is right.
    fn header<E>(&self) -> Result<(usize, usize), RttError<E>> {
        let mut identifier = [0; 16];
        for (bytes, word) in identifier.chunks_mut(4).zip(&self.words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        if identifier != IDENTIFIER {
            let address = self.address;
            return Err(RttError::Block(if identifier == [0; 16] {
                RttProblem::Missing { address }
            } else {
                RttProblem::Overwritten {
                    address,
                    found: identifier.escape_ascii().to_string(),
                }
            }));
        }
        let (up, down) = (self.words[4], self.words[5]);
        if up > CHANNELS_MAX || down > CHANNELS_MAX {
            return Err(self.damaged(format!("{up} up and {down} down channels")));
        }
        Ok((up as usize, down as usize))
    }

    fn descriptor(&self, index: usize) -> Result<Descriptor, RttProblem> {
        let first = HEADER_WORDS + CHANNEL_WORDS * index;
        let words = &self.words[first..first + CHANNEL_WORDS];
        let descriptor = Descriptor {
            at: self.address + 4 * first as u32,
            buffer: words[1],
            size: words[2],
            write: words[3],
            read: words[4],
        };
        let Descriptor {
            buffer,
            size,
            write,
            read,
            ..
        } = descriptor;
        if size == 0 {
            // A channel that the firmware has not set up.
            return Ok(Descriptor::default());
        }
        let damaged = |what| RttProblem::Damaged {
            address: self.address,
            what,
        };
        let end = buffer.checked_add(size);
        let in_ram = end.is_some_and(|end| {
            let holds = |ram: &std::ops::Range<u32>| ram.start <= buffer && end <= ram.end;
            self.ram.iter().any(holds)
        });
        if !in_ram {
            let what = format!("channel {index} has {size} bytes at {buffer:#010x}, no RAM");
            return Err(damaged(what));
        }
        if write >= size || read >= size {
            let what = format!("channel {index} is at {write} and {read} of {size} bytes");
            return Err(damaged(what));
        }
        Ok(descriptor)
    }

    fn damaged<E>(&self, what: String) -> RttError<E> {
        RttError::Block(RttProblem::Damaged {
            address: self.address,
            what,
        })
    }
}

fn read_up<M: Memory>(
    memory: &mut M,
    up: Descriptor,
    out: &mut Vec<u8>,
) -> Result<usize, M::Error> {
    let Descriptor {
        buffer,
        size,
        write,
        read,
        ..
    } = up;
    if write == read {
        return Ok(0);
    }
    let start = out.len();
    let mut append = |from: u32, to: u32| {
        let at = out.len();
        out.resize(at + (to - from) as usize, 0);
        memory.read_bytes(buffer + from, &mut out[at..])
    };
    if read < write {
        append(read, write)?;
    } else {
        append(read, size)?;
        if write > 0 {
            append(0, write)?;
        }
    }
    let length = out.len() - start;
    memory.write_word(up.read_field(), write)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: u32 = 0x3fc8_0000;
    const BLOCK: u32 = BASE + 0x10;
    const SIZE: u32 = 16;
    const UP: u32 = BASE + 0x100;
    const DOWN: u32 = BASE + 0x200;

    /// A RAM, and the firmware's side of RTT with one channel each way.
    struct Ram(Vec<u8>);

    impl Ram {
        fn new() -> Self {
            let mut ram = Self(vec![0; 0x1000]);
            ram.write_bytes(BLOCK, &IDENTIFIER).expect("in RAM");
            let up = [1, 1, 0, UP, SIZE, 0, 0, 0];
            let down = [0, DOWN, SIZE, 0, 0, 0];
            for (index, word) in up.into_iter().chain(down).enumerate() {
                ram.write_word(BLOCK + 16 + 4 * index as u32, word)
                    .expect("in RAM");
            }
            ram
        }

        fn word(&mut self, address: u32) -> u32 {
            let mut word = [0];
            self.read_words(address, &mut word).expect("in RAM");
            word[0]
        }

        /// What the firmware does to send.
        fn send(&mut self, bytes: &[u8]) {
            let at = BLOCK + 24;
            for byte in bytes {
                let write = self.word(at + 12);
                self.write_bytes(UP + write, &[*byte]).expect("in RAM");
                self.write_word(at + 12, (write + 1) % SIZE)
                    .expect("in RAM");
            }
        }

        /// What the firmware does to receive.
        fn receive(&mut self) -> Vec<u8> {
            let at = BLOCK + 48;
            let mut received = vec![];
            loop {
                let (write, read) = (self.word(at + 12), self.word(at + 16));
                if write == read {
                    return received;
                }
                received.push(self.0[(DOWN + read - BASE) as usize]);
                self.write_word(at + 16, (read + 1) % SIZE).expect("in RAM");
            }
        }
    }

    impl Memory for Ram {
        type Error = std::convert::Infallible;

        fn read_words(&mut self, address: u32, words: &mut [u32]) -> Result<(), Self::Error> {
            for (index, word) in words.iter_mut().enumerate() {
                let at = (address - BASE) as usize + 4 * index;
                *word = u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"));
            }
            Ok(())
        }

        fn read_bytes(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
            let at = (address - BASE) as usize;
            bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
            Ok(())
        }

        fn write_bytes(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error> {
            let at = (address - BASE) as usize;
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn write_word(&mut self, address: u32, word: u32) -> Result<(), Self::Error> {
            self.write_bytes(address, &word.to_le_bytes())
        }
    }

    fn rtt() -> Rtt {
        Rtt::new(BLOCK, std::iter::once(BASE..BASE + 0x1000).collect())
    }

    #[track_caller]
    fn check_poll(rtt: &mut Rtt, ram: &mut Ram, expected: &[u8]) {
        let mut channels = [vec![]];
        assert_eq!(rtt.poll(ram, &mut channels), Ok(expected.len()));
        assert_eq!(channels[0], expected);
    }

    #[test]
    fn what_the_firmware_sends_is_read_once() {
        let (mut rtt, mut ram) = (rtt(), Ram::new());
        check_poll(&mut rtt, &mut ram, b"");
        ram.send(b"hello");
        check_poll(&mut rtt, &mut ram, b"hello");
        check_poll(&mut rtt, &mut ram, b"");
        // Around the end of the ring.
        ram.send(b"0123456789abcd");
        check_poll(&mut rtt, &mut ram, b"0123456789abcd");
    }

    #[test]
    fn what_does_not_fit_down_is_left_to_the_caller() {
        let (mut rtt, mut ram) = (rtt(), Ram::new());
        assert_eq!(rtt.write(&mut ram, 0, b"0123456789abcdefgh"), Ok(15));
        assert_eq!(rtt.write(&mut ram, 0, b"x"), Ok(0));
        assert_eq!(ram.receive(), b"0123456789abcde");
        assert_eq!(rtt.write(&mut ram, 0, b"fgh"), Ok(3));
        assert_eq!(ram.receive(), b"fgh");
    }

    #[track_caller]
    fn check_problem(damage: impl FnOnce(&mut Ram), expected: &str) {
        let (mut rtt, mut ram) = (rtt(), Ram::new());
        check_poll(&mut rtt, &mut ram, b"");
        damage(&mut ram);
        match rtt.poll(&mut ram, &mut [vec![]]) {
            Err(RttError::Block(problem)) => assert_eq!(problem.to_string(), expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_damaged_control_block_is_named() {
        check_problem(
            |ram| rtt().clear(ram).expect("in RAM"),
            "no control block at 0x3fc80010: the firmware has not set it up",
        );
        check_problem(
            |ram| ram.write_bytes(BLOCK, b"BROKEN\x01").expect("in RAM"),
            "the control block at 0x3fc80010 was overwritten: it begins with \
             `BROKEN\\x01RTT\\x00\\x00\\x00\\x00\\x00\\x00`",
        );
        check_problem(
            |ram| ram.write_word(BLOCK + 16, 1_000).expect("in RAM"),
            "the control block at 0x3fc80010 is damaged: 1000 up and 1 down channels",
        );
        check_problem(
            |ram| ram.write_word(BLOCK + 28, 0x10).expect("in RAM"),
            "the control block at 0x3fc80010 is damaged: channel 0 has 16 bytes at 0x00000010, no RAM",
        );
        check_problem(
            |ram| ram.write_word(BLOCK + 36, 16).expect("in RAM"),
            "the control block at 0x3fc80010 is damaged: channel 0 is at 16 and 0 of 16 bytes",
        );
    }

    #[test]
    fn a_firmware_that_starts_anew_is_followed() {
        let (mut rtt, mut ram) = (rtt(), Ram::new());
        ram.send(b"before");
        check_poll(&mut rtt, &mut ram, b"before");
        ram = Ram::new();
        ram.send(b"after");
        check_poll(&mut rtt, &mut ram, b"after");
    }

    #[test]
    fn a_channel_that_is_not_set_up_is_empty() {
        let (mut rtt, mut ram) = (rtt(), Ram::new());
        ram.write_word(BLOCK + 32, 0).expect("in RAM");
        check_poll(&mut rtt, &mut ram, b"");
    }

    proptest! {
        #[test]
        fn bytes_pass_in_order_whatever_the_rhythm(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 0..20)
        ) {
            let (mut rtt, mut ram) = (rtt(), Ram::new());
            for piece in pieces {
                ram.send(&piece);
                let mut channels = [vec![]];
                prop_assert_eq!(rtt.poll(&mut ram, &mut channels), Ok(piece.len()));
                prop_assert_eq!(&channels[0], &piece);
                prop_assert_eq!(rtt.write(&mut ram, 0, &piece), Ok(piece.len()));
                prop_assert_eq!(ram.receive(), piece);
            }
        }
    }
}
