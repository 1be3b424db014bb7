//! Capture of all frames as pcapng (draft-ietf-opsawg-pcapng), for Wireshark and tshark.
//!
//! The tap sits at the device's socket: its frames are recorded as it sent them, those for it as they
//! arrive. A frame that a fault touched carries a comment saying so, lost ones included. Time stamps are
//! chip time on the wall epoch, in nanoseconds, so that a capture lines up with the device's own log.

use std::io::{self, BufWriter, Write};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
const LINK_TYPE_ETHERNET: u16 = 1;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_SECTION_APPLICATION: u16 = 4;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_INTERFACE_RESOLUTION: u16 = 9;
const OPTION_PACKET_FLAGS: u16 = 2;

/// Which way a frame went, as pcapng's `epb_flags` count it: seen from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToDevice = 1,
    FromDevice = 2,
}

/// A capture being written.
pub(crate) struct Capture {
    writer: BufWriter<Box<dyn Write + Send>>,
    epoch_unix_nanos: u64,
    block: Vec<u8>,
}

impl Capture {
    /// Begins a capture: writes its section and interface headers.
    pub(crate) fn begin(writer: Box<dyn Write + Send>, epoch_unix_nanos: u64) -> io::Result<Self> {
        let mut capture = Self {
            writer: BufWriter::with_capacity(64 * 1024, writer),
            epoch_unix_nanos,
            block: Vec::with_capacity(2_048),
        };
        capture.write_block(SECTION_HEADER, |block| {
            block.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
            block.extend_from_slice(&1_u16.to_le_bytes()); // version 1.0
            block.extend_from_slice(&0_u16.to_le_bytes());
            block.extend_from_slice(&u64::MAX.to_le_bytes()); // section of unknown length
            option(block, OPTION_SECTION_APPLICATION, b"virtual-network");
            option(block, OPTION_END, b"");
        })?;
        capture.write_block(INTERFACE_DESCRIPTION, |block| {
            block.extend_from_slice(&LINK_TYPE_ETHERNET.to_le_bytes());
            block.extend_from_slice(&0_u16.to_le_bytes());
            block.extend_from_slice(&0_u32.to_le_bytes()); // no limit on the length
            option(block, OPTION_INTERFACE_NAME, b"device");
            option(block, OPTION_INTERFACE_RESOLUTION, &[9]); // 10^-9 s
            option(block, OPTION_END, b"");
        })?;
        capture.writer.flush()?;
        Ok(capture)
    }

    /// Records one frame at chip time `now_nanos`. `comment` is empty for a frame no fault touched.
    pub(crate) fn frame(
        &mut self,
        now_nanos: u64,
        direction: Direction,
        frame: &[u8],
        comment: &str,
    ) -> io::Result<()> {
        let stamp = self.epoch_unix_nanos.saturating_add(now_nanos);
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.write_block(ENHANCED_PACKET, |block| {
            block.extend_from_slice(&0_u32.to_le_bytes()); // interface
            block.extend_from_slice(&((stamp >> 32) as u32).to_le_bytes());
            block.extend_from_slice(&(stamp as u32).to_le_bytes());
            block.extend_from_slice(&length.to_le_bytes());
            block.extend_from_slice(&length.to_le_bytes());
            block.extend_from_slice(frame);
            pad(block);
            option(
                block,
                OPTION_PACKET_FLAGS,
                &(direction as u32).to_le_bytes(),
            );
            if !comment.is_empty() {
                option(block, OPTION_COMMENT, comment.as_bytes());
            }
            option(block, OPTION_END, b"");
        })
    }

    /// Hands everything recorded so far to the writer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// A block: type, total length, body, total length again.
    fn write_block(&mut self, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.block.clear();
        self.block.extend_from_slice(&kind.to_le_bytes());
        self.block.extend_from_slice(&[0; 4]);
        fill(&mut self.block);
        let total = (self.block.len() as u32 + 4).to_le_bytes();
        self.block[4..8].copy_from_slice(&total);
        self.block.extend_from_slice(&total);
        self.writer.write_all(&self.block)
    }
}

fn option(block: &mut Vec<u8>, code: u16, value: &[u8]) {
    block.extend_from_slice(&code.to_le_bytes());
    block.extend_from_slice(&(value.len() as u16).to_le_bytes());
    block.extend_from_slice(value);
    pad(block);
}

/// Fills up to a multiple of 32 bits. Every block begins at one, so the length of the block will do.
fn pad(block: &mut Vec<u8>) {
    block.resize(block.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::{Block, PcapNgReader};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn another_crate_reads_back_what_was_written() {
        let file = Shared::default();
        let mut capture =
            Capture::begin(Box::new(file.clone()), 1_795_392_000_000_000_000).unwrap();
        capture
            .frame(1_500_000_007, Direction::FromDevice, &[0x11; 61], "")
            .unwrap();
        capture
            .frame(
                2_000_000_000,
                Direction::ToDevice,
                &[0x22; 64],
                "fault: lost",
            )
            .unwrap();
        capture.flush().unwrap();
        let bytes = file.0.lock().unwrap().clone();

        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                let mut flags = 0;
                let mut comment = String::new();
                for option in &packet.options {
                    match option {
                        EnhancedPacketOption::Flags(value) => flags = *value,
                        EnhancedPacketOption::Comment(text) => comment = text.to_string(),
                        _ => {}
                    }
                }
                packets.push((
                    packet.timestamp.as_nanos(),
                    packet.data.to_vec(),
                    flags,
                    comment,
                ));
            }
        }
        assert_eq!(
            packets,
            [
                (1_795_392_001_500_000_007, vec![0x11; 61], 2, String::new()),
                (
                    1_795_392_002_000_000_000,
                    vec![0x22; 64],
                    1,
                    "fault: lost".to_owned()
                ),
            ]
        );
    }
}
