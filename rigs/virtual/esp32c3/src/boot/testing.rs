//! Golden images for tests: written from the format's description, sharing nothing with the parser.

use sha2::{Digest, Sha256};

/// An application image in the making.
#[derive(Clone)]
pub(crate) struct ImageBuilder {
    entry: u32,
    segments: Vec<(u32, Vec<u8>)>,
    hash: bool,
}

impl ImageBuilder {
    /// An image that starts at `entry`.
    pub(crate) fn new(entry: u32) -> ImageBuilder {
        ImageBuilder {
            entry,
            segments: Vec::new(),
            hash: true,
        }
    }

    /// With another segment, loaded at `address`.
    pub(crate) fn segment(mut self, address: u32, data: &[u8]) -> ImageBuilder {
        self.segments.push((address, data.to_vec()));
        self
    }

    /// Without the SHA-256 at the end.
    pub(crate) fn without_hash(mut self) -> ImageBuilder {
        self.hash = false;
        self
    }

    /// The bytes, for flash offset `offset`. Segments for the flash windows are preceded by padding where the MMU
    /// needs it.
    pub(crate) fn build(&self, offset: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let mut count = 0_u8;
        let mut sum = 0xEF_u8;
        for (address, data) in &self.segments {
            let window = matches!(address >> 24, 0x3C | 0x42);
            let wanted = *address as usize % 0x1_0000;
            let at = (offset + 24 + body.len() + 8) % 0x1_0000;
            if window && at != wanted {
                let gap = (wanted + 0x2_0000 - at - 8) % 0x1_0000;
                body.extend(0_u32.to_le_bytes());
                body.extend((gap as u32).to_le_bytes());
                body.resize(body.len() + gap, 0);
                count += 1;
            }
            body.extend(address.to_le_bytes());
            body.extend((data.len() as u32).to_le_bytes());
            body.extend(data);
            sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
            count += 1;
        }
        let mut image = vec![0xE9, count, 2, 0x20];
        image.extend(self.entry.to_le_bytes());
        image.extend([0xEE, 0, 0, 0, 5, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0]);
        image.push(u8::from(self.hash));
        image.extend(body);
        while image.len() % 16 != 15 {
            image.push(0);
        }
        image.push(sum);
        if self.hash {
            let hash = Sha256::digest(&image);
            image.extend(hash);
        }
        image
    }
}

/// A partition table in the making.
#[derive(Clone)]
pub(crate) struct PartitionBuilder(Vec<u8>);

impl PartitionBuilder {
    /// An empty table.
    pub(crate) fn new() -> PartitionBuilder {
        PartitionBuilder(Vec::new())
    }

    /// With another entry.
    pub(crate) fn entry(
        mut self,
        kind: u8,
        subtype: u8,
        offset: u32,
        bytes: u32,
        label: &str,
    ) -> PartitionBuilder {
        let mut entry = vec![0xAA, 0x50, kind, subtype];
        entry.extend(offset.to_le_bytes());
        entry.extend(bytes.to_le_bytes());
        entry.extend(label.as_bytes());
        entry.resize(32, 0);
        self.0.extend(entry);
        self
    }

    /// The bytes, with the MD5 entry and the end mark.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut table = self.0.clone();
        let sum = crate::rom::md5(&table);
        table.extend([0xEB, 0xEB]);
        table.extend([0xFF; 14]);
        table.extend(sum);
        table.extend([0xFF; 32]);
        table
    }
}

/// One copy of `otadata`.
pub(crate) fn ota_select(sequence: u32, state: u32) -> [u8; 32] {
    let mut copy = [0xFF; 32];
    copy[..4].copy_from_slice(&sequence.to_le_bytes());
    copy[24..28].copy_from_slice(&state.to_le_bytes());
    let crc = crate::rom::crc32_le(u32::MAX, &sequence.to_le_bytes());
    copy[28..].copy_from_slice(&crc.to_le_bytes());
    copy
}

/// A flash of 1 MiB with a bootloader, the usual partition table and `app` as factory application.
pub(crate) fn flash_with(app: &ImageBuilder) -> Vec<u8> {
    let mut flash = vec![0xFF; 1 << 20];
    let mut put = |at: usize, bytes: &[u8]| flash[at..at + bytes.len()].copy_from_slice(bytes);
    // The bootloader is never run: one that loops will do.
    let bootloader = ImageBuilder::new(0x403C_C000).segment(0x403C_C000, &[0x01, 0xA0]);
    put(0, &bootloader.build(0));
    let table = PartitionBuilder::new()
        .entry(1, 2, 0x9000, 0x6000, "nvs")
        .entry(1, 1, 0xF000, 0x1000, "phy_init")
        .entry(0, 0, 0x1_0000, 0xF_0000, "factory")
        .build();
    put(0x8000, &table);
    put(0x1_0000, &app.build(0x1_0000));
    flash
}
