//! The application image: header, segments, checksum, hash; checked before anything is loaded.
//!
//! Format: ESP-IDF documentation, "App Image Format" (`esp_image_header_t`, `esp_image_segment_header_t`).

use std::fmt;
use std::ops::Range;

use sha2::{Digest, Sha256};

const MAGIC: u8 = 0xE9;
const CHIP_ID: u16 = 5;
const HEADER_BYTES: u32 = 24;
const SEGMENT_HEADER_BYTES: u32 = 8;
const SEGMENTS_MAX: u8 = 16;
const CHECKSUM_SEED: u8 = 0xEF;
const HASH_BYTES: u32 = 32;
/// Segments with a load address below this are padding.
const PADDING_BELOW: u32 = 0x1000_0000;
/// Bytes of a page of the flash MMU.
const MMU_PAGE_BYTES: u32 = 0x1_0000;

/// Where segments may go: start, end (exclusive).
const RAM: [(u32, u32); 3] = [
    (0x3FC8_0000, 0x3FCE_0000),
    (0x4037_C000, 0x403E_0000),
    (0x5000_0000, 0x5000_2000),
];
/// Where segments are mapped rather than copied.
const WINDOWS: [(u32, u32); 2] = [(0x3C00_0000, 0x3C80_0000), (0x4200_0000, 0x4280_0000)];

/// Part of a segment to be copied to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) address: u32,
    /// Which flash bytes.
    pub(crate) flash: Range<usize>,
}

/// One MMU entry to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Number of the entry, 0..128: both windows share the table.
    pub(crate) entry: usize,
    /// Flash page of 64 KiB it shows.
    pub(crate) page: u32,
}

/// An image that may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Flash offset of its header, bytes.
    pub(crate) offset: u32,
    /// Length with checksum and hash, bytes.
    pub(crate) bytes: u32,
    /// Address of the first instruction.
    pub(crate) entry: u32,
    /// Segments for RAM and RTC memory.
    pub(crate) loads: Vec<Load>,
    /// Segments for the flash windows.
    pub(crate) mappings: Vec<Mapping>,
}

/// Why an image was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// Something else is there, or nothing (all ones). `word` is the first word.
    Magic { word: u32 },
    /// It ends after `available` bytes, but goes on to `needed` at least.
    Truncated { needed: u64, available: u32 },
    /// For another chip.
    Chip { id: u16 },
    /// For other revisions of this chip, in hundreds of the major revision: 101 is v1.1.
    Revision {
        needed: u16,
        chip: u16,
        newest: bool,
    },
    /// No segments, or more than a bootloader accepts.
    Segments { count: u8 },
    /// Segment `index` goes where there is no memory.
    Address { index: u8, address: u32, bytes: u32 },
    /// Segment `index` can't be mapped: flash offset and address differ below the page size.
    Alignment { index: u8, address: u32, flash: u32 },
    /// The XOR of all segment bytes is not the one stored.
    Checksum { stored: u8, computed: u8 },
    /// The SHA-256 at the end is not that of the bytes before it.
    Hash,
    /// The first instruction is not in any segment.
    Entry { entry: u32 },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ImageError::Magic { word: u32::MAX } => write!(f, "no image: flash is erased there"),
            ImageError::Magic { word } => write!(
                f,
                "no image: first byte is {:#04x}, an image starts with {MAGIC:#04x}",
                word & 0xFF
            ),
            ImageError::Truncated { needed, available } => write!(
                f,
                "image is truncated: it needs {needed} bytes, there is room for {available}"
            ),
            ImageError::Chip { id } => match chip_name(id) {
                Some(name) => write!(
                    f,
                    "image is for chip id {id} (`{name}`), this is {CHIP_ID} (`esp32c3`)"
                ),
                None => write!(
                    f,
                    "image is for unknown chip id {id}, this is {CHIP_ID} (`esp32c3`)"
                ),
            },
            ImageError::Revision {
                needed,
                chip,
                newest,
            } => write!(
                f,
                "image needs chip revision v{}.{} or {}, this is v{}.{}",
                needed / 100,
                needed % 100,
                if newest { "older" } else { "newer" },
                chip / 100,
                chip % 100
            ),
            ImageError::Segments { count } => write!(
                f,
                "image has {count} segments, a bootloader takes 1 to {SEGMENTS_MAX}"
            ),
            ImageError::Address {
                index,
                address,
                bytes,
            } => write!(
                f,
                "segment {index} ({bytes} bytes) is outside memory: no RAM or flash window at {address:#010x}"
            ),
            ImageError::Alignment {
                index,
                address,
                flash,
            } => write!(
                f,
                "segment {index} can't be mapped: address {address:#010x} and flash offset {flash:#x} differ within a 64 KiB page"
            ),
            ImageError::Checksum { stored, computed } => write!(
                f,
                "checksum is wrong: image says {stored:#04x}, its bytes give {computed:#04x}"
            ),
            ImageError::Hash => write!(f, "SHA-256 is wrong: the image is damaged"),
            ImageError::Entry { entry } => {
                write!(f, "entry point {entry:#010x} is in none of its segments")
            }
        }
    }
}

fn chip_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "esp32",
        2 => "esp32s2",
        5 => "esp32c3",
        9 => "esp32s3",
        12 => "esp32c2",
        13 => "esp32c6",
        16 => "esp32h2",
        18 => "esp32p4",
        20 => "esp32c61",
        23 => "esp32c5",
        _ => return None,
    })
}

impl Image {
    /// Checks the image at `offset` of `flash`, of which at most `room` bytes belong to it, for a chip of `revision`.
    ///
    /// # Errors
    /// [`ImageError`], the first thing found wrong in the order the bootloader looks.
    pub(crate) fn parse(
        flash: &[u8],
        offset: u32,
        room: u32,
        revision: (u8, u8),
    ) -> Result<Image, ImageError> {
        let reader = Reader::new(flash, offset, room);
        let word = u32::from_le_bytes(reader.array(0)?);
        if word as u8 != MAGIC {
            return Err(ImageError::Magic { word });
        }
        let header: [u8; HEADER_BYTES as usize] = reader.array(0)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if half(12) != CHIP_ID {
            return Err(ImageError::Chip { id: half(12) });
        }
        check_revision(half(15), half(17), revision)?;
        let count = header[1];
        if count == 0 || count > SEGMENTS_MAX {
            return Err(ImageError::Segments { count });
        }
        let entry = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let mut image = Image {
            offset,
            bytes: 0,
            entry,
            loads: Vec::new(),
            mappings: Vec::new(),
        };

        let mut position = HEADER_BYTES;
        let mut checksum = CHECKSUM_SEED;
        let mut entry_found = false;
        for index in 0..count {
            let [a, b, c, d, e, f, g, h] = reader.array(position)?;
            let address = u32::from_le_bytes([a, b, c, d]);
            let bytes = u32::from_le_bytes([e, f, g, h]);
            position += SEGMENT_HEADER_BYTES;
            let data = reader.slice(position, bytes)?;
            checksum = data.iter().fold(checksum, |sum, byte| sum ^ byte);
            image.place(index, address, offset + position, bytes)?;
            entry_found |= entry.wrapping_sub(address) < bytes;
            position += bytes;
        }
        // The checksum is the last byte of a block of 16.
        let end = (position | 15) + 1;
        let [stored] = reader.array(end - 1)?;
        if stored != checksum {
            return Err(ImageError::Checksum {
                stored,
                computed: checksum,
            });
        }
        image.bytes = end;
        if header[23] == 1 {
            let hash: [u8; HASH_BYTES as usize] = reader.array(end)?;
            if Sha256::digest(reader.slice(0, end)?)[..] != hash {
                return Err(ImageError::Hash);
            }
            image.bytes += HASH_BYTES;
        }
        if !entry_found {
            return Err(ImageError::Entry { entry });
        }
        Ok(image)
    }

    /// Notes where a segment goes.
    fn place(&mut self, index: u8, address: u32, flash: u32, bytes: u32) -> Result<(), ImageError> {
        let inside = |(start, end): (u32, u32)| {
            address >= start && u64::from(address) + u64::from(bytes) <= u64::from(end)
        };
        if address < PADDING_BELOW || bytes == 0 {
            return Ok(());
        }
        if WINDOWS.into_iter().any(inside) {
            if !(address ^ flash).is_multiple_of(MMU_PAGE_BYTES) {
                return Err(ImageError::Alignment {
                    index,
                    address,
                    flash,
                });
            }
            let first_entry = (address & 0x7F_FFFF) / MMU_PAGE_BYTES;
            let first_page = flash / MMU_PAGE_BYTES;
            let pages = (flash % MMU_PAGE_BYTES + bytes).div_ceil(MMU_PAGE_BYTES);
            self.mappings.extend((0..pages).map(|page| Mapping {
                entry: (first_entry + page) as usize,
                page: first_page + page,
            }));
            return Ok(());
        }
        if RAM.into_iter().any(inside) {
            let start = flash as usize;
            self.loads.push(Load {
                address,
                flash: start..start + bytes as usize,
            });
            return Ok(());
        }
        Err(ImageError::Address {
            index,
            address,
            bytes,
        })
    }
}

/// `min` and `max` as in the header: 0 or 65535 for `max` means none.
fn check_revision(min: u16, max: u16, revision: (u8, u8)) -> Result<(), ImageError> {
    let chip = u16::from(revision.0) * 100 + u16::from(revision.1);
    let error = |needed, newest| ImageError::Revision {
        needed,
        chip,
        newest,
    };
    if chip < min {
        return Err(error(min, false));
    }
    if max != 0 && max != u16::MAX && chip > max {
        return Err(error(max, true));
    }
    Ok(())
}

/// The bytes that may belong to the image.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(flash: &'a [u8], offset: u32, room: u32) -> Reader<'a> {
        let start = flash.len().min(offset as usize);
        let end = flash.len().min(start.saturating_add(room as usize));
        Reader {
            bytes: &flash[start..end],
        }
    }

    fn slice(&self, position: u32, length: u32) -> Result<&'a [u8], ImageError> {
        let needed = u64::from(position) + u64::from(length);
        if needed > self.bytes.len() as u64 {
            return Err(ImageError::Truncated {
                needed,
                available: self.bytes.len() as u32,
            });
        }
        Ok(&self.bytes[position as usize..needed as usize])
    }

    fn array<const N: usize>(&self, position: u32) -> Result<[u8; N], ImageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(position, N as u32)?);
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::ImageBuilder;
    use super::*;

    fn parse(builder: &ImageBuilder) -> Result<Image, ImageError> {
        parse_bytes(&builder.build(0x1_0000))
    }

    fn parse_bytes(image: &[u8]) -> Result<Image, ImageError> {
        let mut flash = vec![0xFF; 0x1_0000];
        flash.extend_from_slice(image);
        Image::parse(&flash, 0x1_0000, 0x10_0000, (0, 4))
    }

    fn small() -> ImageBuilder {
        ImageBuilder::new(0x4038_0000).segment(0x4038_0000, &[0x13; 8])
    }

    #[test]
    fn segments_are_copied_or_mapped() {
        let image = parse(
            &ImageBuilder::new(0x4200_0020)
                .segment(0x3C01_0020, &vec![7; 0x1_8000])
                .segment(0x3FC8_0000, &[8; 12])
                .segment(0x5000_0000, &[9; 4]),
        );
        // The entry point must be somewhere.
        assert_eq!(image, Err(ImageError::Entry { entry: 0x4200_0020 }));
        let image = parse(
            &ImageBuilder::new(0x3C01_0020)
                .segment(0x3C01_0020, &vec![7; 0x1_8000])
                .segment(0x3FC8_0000, &[8; 12])
                .segment(0x5000_0000, &[9; 4]),
        )
        .unwrap();
        let mapping = |entry, page| Mapping { entry, page };
        assert_eq!(image.mappings, [mapping(1, 1), mapping(2, 2)]);
        assert_eq!(
            image.loads,
            [
                Load {
                    address: 0x3FC8_0000,
                    flash: 0x2_8028..0x2_8034
                },
                Load {
                    address: 0x5000_0000,
                    flash: 0x2_803C..0x2_8040
                },
            ]
        );
        assert_eq!(image.bytes % 16, 0);
    }

    #[test]
    fn bad_images_are_refused_in_words() {
        let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let mut bytes = small().build(0x1_0000);
            change(&mut bytes);
            let error = parse_bytes(&bytes).expect_err(expected);
            assert_eq!(error.to_string(), expected);
        };
        check(
            &|image| image[0] = 0x7F,
            "no image: first byte is 0x7f, an image starts with 0xe9",
        );
        check(
            &|image| image[12] = 13,
            "image is for chip id 13 (`esp32c6`), this is 5 (`esp32c3`)",
        );
        check(
            &|image| image[13] = 1,
            "image is for unknown chip id 261, this is 5 (`esp32c3`)",
        );
        check(
            &|image| image[15] = 101,
            "image needs chip revision v1.1 or newer, this is v0.4",
        );
        check(
            &|image| image[17..19].copy_from_slice(&[3, 0]),
            "image needs chip revision v0.3 or older, this is v0.4",
        );
        check(
            &|image| image[1] = 0,
            "image has 0 segments, a bootloader takes 1 to 16",
        );
        check(
            &|image| image[24..28].copy_from_slice(&0x2000_0000_u32.to_le_bytes()),
            "segment 0 (8 bytes) is outside memory: no RAM or flash window at 0x20000000",
        );
        check(
            &|image| image[24..28].copy_from_slice(&0x4200_0000_u32.to_le_bytes()),
            "segment 0 can't be mapped: address 0x42000000 and flash offset 0x10020 differ within a 64 KiB page",
        );
        check(
            &|image| image[32] ^= 1,
            "checksum is wrong: image says 0xef, its bytes give 0xee",
        );
        check(
            &|image| {
                let last = image.len() - 1;
                image[last] ^= 1;
            },
            "SHA-256 is wrong: the image is damaged",
        );
        check(
            &|image| image.truncate(50),
            "image is truncated: it needs 80 bytes, there is room for 50",
        );
        check(
            &|image| image[28..32].copy_from_slice(&u32::MAX.to_le_bytes()),
            "image is truncated: it needs 4294967327 bytes, there is room for 80",
        );
    }

    #[test]
    fn hash_is_optional() {
        let image = parse(&small().without_hash()).unwrap();
        assert_eq!(image.bytes, 48);
        assert_eq!(parse(&small()).unwrap().bytes, 80);
    }

    #[test]
    fn padding_is_skipped() {
        let image = parse(&small().segment(0, &[0; 100])).unwrap();
        assert_eq!(image.loads.len(), 1);
    }
}
