//! zstd frames: one independent frame for each piece of the snapshot, and skippable frames for everything else.
//!
//! Formats and constants are those of RFC 8878. Version 1 requires every frame to carry its content size and checksum, to be
//! a single segment and to need no dictionary, so that each can be decompressed alone into a buffer of known size.

use std::io::{self, Read};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use crate::error::{Error, Kind, Result};

/// RFC 8878, 3.1.1: magic number of a zstd frame.
pub const ZSTD_MAGIC: u32 = 0xFD2F_B528;
/// RFC 8878, 3.1.2: the sixteen magic numbers of skippable frames.
pub const SKIPPABLE_MAGICS: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
/// The skippable frame that holds the manifest.
pub const MANIFEST_MAGIC: u32 = 0x184D_2A50;
/// The skippable frame that holds the trailer.
pub const TRAILER_MAGIC: u32 = 0x184D_2A51;
/// The skippable frame that holds the seek table, as in the Zstandard Seekable Format.
pub const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Bytes of magic number and size before the content of a skippable frame.
pub const SKIPPABLE_HEADER_SIZE: usize = 8;
/// RFC 8878, 3.1.1: bytes of the checksum behind the last block.
const CHECKSUM_SIZE: usize = 4;
/// RFC 8878, 3.1.1.2.4: no block is larger.
const BLOCK_SIZE_MAX: usize = 128 * 1024;

/// The smallest frame size; every frame size is a multiple of it.
pub const FRAME_SIZE_MIN: u32 = 64 * 1024;
/// The largest frame size.
pub const FRAME_SIZE_MAX: u32 = 16 * 1024 * 1024;
/// The default frame size.
pub const FRAME_SIZE_DEFAULT: u32 = 4 * 1024 * 1024;
/// The most frames of an archive.
pub const FRAMES_MAX: usize = 1 << 20;

/// Whether version 1 allows frames of `size` snapshot bytes.
#[must_use]
pub fn is_frame_size(size: u32) -> bool {
    (FRAME_SIZE_MIN..=FRAME_SIZE_MAX).contains(&size) && size.is_multiple_of(FRAME_SIZE_MIN)
}

/// A skippable frame around `content`.
///
/// # Errors
/// [`Kind::Io`] for content of 4 GiB or more.
pub fn skippable(magic: u32, content: &[u8]) -> Result<Vec<u8>> {
    let size = u32::try_from(content.len())
        .map_err(|_| Error::new(Kind::Io, format!("{} bytes do not fit a skippable frame", content.len())))?;
    let mut frame = Vec::with_capacity(SKIPPABLE_HEADER_SIZE + content.len());
    frame.extend_from_slice(&magic.to_le_bytes());
    frame.extend_from_slice(&size.to_le_bytes());
    frame.extend_from_slice(content);
    Ok(frame)
}

/// Magic number and size of the content, from the header of a skippable frame.
pub(crate) fn parse_skippable_header(header: [u8; SKIPPABLE_HEADER_SIZE]) -> (u32, usize) {
    let [m0, m1, m2, m3, s0, s1, s2, s3] = header;
    (u32::from_le_bytes([m0, m1, m2, m3]), u32::from_le_bytes([s0, s1, s2, s3]) as usize)
}

/// Whether the first nine bytes of a plaintext begin an archive of this format: the manifest's frame with JSON in it. Other
/// tools put skippable frames of the same number first (pzstd does), but without JSON.
#[must_use]
pub fn begins_as_manifest(first: &[u8]) -> bool {
    first.starts_with(&MANIFEST_MAGIC.to_le_bytes()) && begins_as_document(first)
}

/// Whether the first nine bytes of a skippable frame begin one with a document of this format, manifest or trailer. A file
/// with such a frame is of this format, or was one.
#[must_use]
pub fn begins_as_document(first: &[u8]) -> bool {
    let ours = |magic: &[u8; 4]| [MANIFEST_MAGIC, TRAILER_MAGIC].contains(&u32::from_le_bytes(*magic));
    first.first_chunk().is_some_and(ours)
        && first.get(4..SKIPPABLE_HEADER_SIZE).is_some_and(|size| size != [0; 4])
        && first.get(SKIPPABLE_HEADER_SIZE) == Some(&b'{')
}

/// The level for content that does not shrink, at which it costs next to nothing.
const QUICK_LEVEL: i32 = 1;
/// How much of a frame is sampled to see whether it shrinks, in pieces spread over it.
const SAMPLES: usize = 8;
const SAMPLE_SIZE: usize = 16 * 1024;
/// Content that saves no more than one part in this many does not count as shrinking. Encrypted values between the keys and
/// page headers of a database save about one in twenty.
const WORTHWHILE: usize = 12;

/// Packs frames of one archive. Each thread has its own.
///
/// The resulting frame depends on level, frame size and content alone. On encrypted or compressed content, zstd searches in
/// vain at high levels (level 9 is seventeen times slower than level 1, and saves nothing more), so such a frame is packed
/// at level 1.
pub struct FramePacker {
    compressor: Compressor<'static>,
    /// For content that does not shrink; `None` where the level is no higher than this one.
    quick: Option<Compressor<'static>>,
}

impl FramePacker {
    /// Makes a packer for frames of at most `frame_size` bytes at `level`.
    ///
    /// # Errors
    /// [`Kind::Io`] where zstd refuses the level or has no memory.
    pub fn new(level: i32, frame_size: u32) -> Result<Self> {
        let build = |level| -> io::Result<Compressor<'static>> {
            let mut compressor = Compressor::new(level)?;
            // zstd marks a frame as a single segment only if the window covers all of it.
            let window_log = frame_size.next_power_of_two().trailing_zeros();
            compressor.set_parameter(CParameter::WindowLog(window_log))?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
            compressor.set_parameter(CParameter::DictIdFlag(false))?;
            Ok(compressor)
        };
        let quick = (level > QUICK_LEVEL).then(|| build(QUICK_LEVEL)).transpose();
        build(level)
            .and_then(|compressor| Ok(Self { compressor, quick: quick? }))
            .map_err(|error| Error::io("prepare", "zstd", error))
    }

    /// Packs `content` into one frame, which replaces whatever is in `frame`.
    ///
    /// # Errors
    /// [`Kind::Io`] where zstd fails.
    pub fn pack(&mut self, content: &[u8], frame: &mut Vec<u8>) -> Result<()> {
        frame.clear();
        frame.reserve_exact(zstd::compress_bound(content.len()));
        self.pack_into(content, frame).map_err(|error| Error::io("compress", "a frame", error))
    }

    fn pack_into(&mut self, content: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        if let Some(quick) = &mut self.quick
            && !shrinks(quick, content, frame)?
        {
            return quick.compress_to_buffer(content, frame).map(drop);
        }
        self.compressor.compress_to_buffer(content, frame).map(drop)
    }
}

/// Whether samples of `content` shrink. Uses `room` as a buffer, and leaves it empty.
fn shrinks(compressor: &mut Compressor<'_>, content: &[u8], room: &mut Vec<u8>) -> io::Result<bool> {
    let distance = content.len().div_ceil(SAMPLES).max(SAMPLE_SIZE);
    let (mut tried, mut packed) = (0, 0);
    for part in content.chunks(distance) {
        let sample = &part[..part.len().min(SAMPLE_SIZE)];
        tried += sample.len();
        packed += compressor.compress_to_buffer(sample, room)?;
        room.clear();
    }
    Ok(packed < tried - tried / WORTHWHILE)
}

/// Unpacks frames. Each thread has its own.
pub struct FrameUnpacker(Decompressor<'static>);

impl FrameUnpacker {
    /// An unpacker.
    ///
    /// # Errors
    /// [`Kind::Io`] where zstd has no memory.
    pub fn new() -> Result<Self> {
        Decompressor::new().map(Self).map_err(|error| Error::io("prepare", "zstd", error))
    }

    /// Unpacks `frame` into `content`, whose old bytes it replaces. zstd checks that the size is exactly the promised one,
    /// and the checksum.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`].
    pub fn unpack(&mut self, frame: &[u8], promised: u32, content: &mut Vec<u8>) -> Result<()> {
        let promised = promised as usize;
        content.clear();
        content.reserve_exact(promised);
        match self.0.decompress_to_buffer(frame, content) {
            Ok(_) if content.len() == promised => Ok(()),
            Ok(_) => Err(damaged("a zstd frame does not hold what its header says")),
            Err(error) => Err(damaged("a zstd frame cannot be decompressed").with_source(error)),
        }
    }
}

/// The fields of a zstd frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of content, where the header gives them.
    pub content_size: Option<u64>,
    /// Whether the frame is a single segment.
    pub single_segment: bool,
    /// Bytes of the content that a reader must keep in memory: all of them for a single segment.
    pub window_size: u64,
    /// Whether a checksum follows the last block.
    pub checksum: bool,
    /// Whether it needs a dictionary.
    pub dictionary: bool,
}

impl FrameHeader {
    /// Returns the number of content bytes if version 1 allows such a frame.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`].
    pub fn version_1_content_size(&self) -> Result<u32> {
        if self.dictionary || !self.checksum || !self.single_segment {
            return Err(damaged(
                "a zstd frame is not a single segment with a checksum and without a dictionary",
            ));
        }
        self.content_size
            .and_then(|size| u32::try_from(size).ok())
            .filter(|size| (1..=FRAME_SIZE_MAX).contains(size))
            .ok_or_else(|| damaged("a zstd frame holds no allowed number of bytes"))
    }
}

/// Reads one zstd frame behind its magic number, block by block. It appends every piece, the magic number first, to `frame`,
/// and then calls `look` with it and the frame's header; `look` may take bytes out of `frame`. It decompresses nothing, so
/// it adds no more than a block at a time.
///
/// # Errors
/// [`Kind::StructureDamaged`] for what is no frame; the errors of `input` and `look`.
pub fn walk_frame(
    input: &mut impl ReadExactly,
    frame: &mut Vec<u8>,
    mut look: impl FnMut(&FrameHeader, &mut Vec<u8>) -> Result<()>,
) -> Result<FrameHeader> {
    let (header, bytes) = read_frame_header(input)?;
    frame.extend_from_slice(&ZSTD_MAGIC.to_le_bytes());
    frame.extend_from_slice(&bytes);
    look(&header, frame)?;
    loop {
        let mut block_header = [0; 3];
        input.read_exactly(&mut block_header)?;
        let fields = u32::from_le_bytes([block_header[0], block_header[1], block_header[2], 0]);
        let (last, block_type, size) = (fields & 1 == 1, fields >> 1 & 3, (fields >> 3) as usize);
        // RFC 8878, 3.1.1.2: a run-length block stores one byte whatever its size, which has the same limit as for other
        // blocks; type 3 is reserved.
        let stored = match block_type {
            1 if size <= BLOCK_SIZE_MAX => 1,
            0 if size <= BLOCK_SIZE_MAX => size,
            // A compressed block has a header of its own.
            2 if (1..=BLOCK_SIZE_MAX).contains(&size) => size,
            _ => return Err(damaged("a zstd frame has an impossible block")),
        };
        frame.extend_from_slice(&block_header);
        input.append_exactly(stored, frame)?;
        look(&header, frame)?;
        if last {
            break;
        }
    }
    if header.checksum {
        input.append_exactly(CHECKSUM_SIZE, frame)?;
        look(&header, frame)?;
    }
    Ok(header)
}

/// RFC 8878, 3.1.1.1.
fn read_frame_header(input: &mut impl ReadExactly) -> Result<(FrameHeader, Vec<u8>)> {
    let mut descriptor = [0];
    input.read_exactly(&mut descriptor)?;
    let descriptor = descriptor[0];
    if descriptor & 0b1000 != 0 {
        return Err(damaged("a zstd frame header uses a reserved bit"));
    }
    let single_segment = descriptor & 0b10_0000 != 0;
    let window_descriptor_size = usize::from(!single_segment);
    let dictionary_size = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let content_size_size = match descriptor >> 6 {
        0 => usize::from(single_segment),
        flag => 1 << flag,
    };
    let mut bytes = vec![descriptor];
    bytes.resize(1 + window_descriptor_size + dictionary_size + content_size_size, 0);
    input.read_exactly(&mut bytes[1..])?;
    let mut content_size = [0; 8];
    content_size[..content_size_size].copy_from_slice(&bytes[1 + window_descriptor_size + dictionary_size..]);
    let content_size = u64::from_le_bytes(content_size) + if content_size_size == 2 { 256 } else { 0 };
    let header = FrameHeader {
        content_size: (content_size_size > 0).then_some(content_size),
        single_segment,
        window_size: if single_segment { content_size } else { window_size(bytes[1]) },
        checksum: descriptor & 0b100 != 0,
        dictionary: bytes[1 + window_descriptor_size..][..dictionary_size].iter().any(|byte| *byte != 0),
    };
    Ok((header, bytes))
}

/// RFC 8878, 3.1.1.1.2.
fn window_size(descriptor: u8) -> u64 {
    let (exponent, mantissa) = (descriptor >> 3, u64::from(descriptor & 7));
    let base = 1 << (10 + exponent);
    base + base / 8 * mantissa
}

/// A source that words the error of its early end itself.
pub trait ReadExactly {
    /// Fills `buffer`.
    ///
    /// # Errors
    /// The errors of the source, including its early end.
    fn read_exactly(&mut self, buffer: &mut [u8]) -> Result<()>;

    /// Appends `length` bytes to `bytes`.
    ///
    /// # Errors
    /// The errors of [`read_exactly`](Self::read_exactly).
    fn append_exactly(&mut self, length: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let before = bytes.len();
        bytes.resize(before + length, 0);
        self.read_exactly(&mut bytes[before..])
    }
}

impl<R: Read> ReadExactly for R {
    fn read_exactly(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.read_exact(buffer)
            .map_err(|error| damaged("the zstd stream ends inside a frame").with_source(error))
    }
}

/// An error about the layers inside the encryption.
pub(crate) fn damaged(message: impl Into<String>) -> Error {
    Error::new(Kind::StructureDamaged, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content that compresses well, but not to nothing.
    fn content(size: u32) -> Vec<u8> {
        (0..size).map(|at| (at / 7).to_le_bytes()[0]).collect()
    }

    fn pack(content: &[u8]) -> Vec<u8> {
        pack_as(1, FRAME_SIZE_DEFAULT, content)
    }

    fn pack_as(level: i32, frame_size: u32, content: &[u8]) -> Vec<u8> {
        let mut frame = b"of the frame before".to_vec();
        FramePacker::new(level, frame_size).unwrap().pack(content, &mut frame).unwrap();
        frame
    }

    fn unpack(frame: &[u8], content_size: u32) -> Result<Vec<u8>> {
        let mut content = vec![7; 100_000];
        FrameUnpacker::new().unwrap().unpack(frame, content_size, &mut content)?;
        Ok(content)
    }

    fn walk(frame: &[u8]) -> Result<(FrameHeader, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut rest = &frame[4..];
        let header = walk_frame(&mut rest, &mut seen, |_, _| Ok(()))?;
        assert!(rest.is_empty());
        Ok((header, seen))
    }

    #[test]
    fn packed_frames_are_what_version_1_wants() {
        for size in [1, 255, 256, 65_535, 65_536, 65_792, 300_000, 3_000_000, FRAME_SIZE_DEFAULT] {
            let content = content(size);
            let frame = pack(&content);
            let (header, seen) = walk(&frame).unwrap();
            assert_eq!(seen, frame);
            assert_eq!(header.version_1_content_size().unwrap(), size);
            assert_eq!(unpack(&frame, size).unwrap(), content);
        }
    }

    #[test]
    fn frames_of_every_allowed_size_are_single_segments() {
        for frame_size in [FRAME_SIZE_MIN, 3 * FRAME_SIZE_MIN, FRAME_SIZE_MAX] {
            for level in [1, 3, 19] {
                let content = vec![1; frame_size as usize];
                let frame = pack_as(level, frame_size, &content);
                assert_eq!(walk(&frame).unwrap().0.version_1_content_size().unwrap(), frame_size);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_packed_as_at_level_1() {
        let content = content(FRAME_SIZE_DEFAULT);
        // Encrypted content; the key does not matter.
        let cipher = crate::archive::payload::PayloadKey::derive(&[7; 16], &[9; 16]).cipher();
        let mut random = content.clone();
        for chunk in random.chunks_mut(crate::archive::payload::CHUNK_SIZE) {
            cipher.seal(1, crate::archive::payload::Position::NotLast, chunk).unwrap();
        }
        assert_eq!(pack_as(9, FRAME_SIZE_DEFAULT, &random), pack(&random));
        assert!(pack_as(9, FRAME_SIZE_DEFAULT, &content).len() < pack(&content).len());
        // Like the pages of a database full of encrypted values: the little that shrinks, level 9 would pack smaller.
        for page in random.chunks_mut(4096) {
            page[..160].copy_from_slice(&content[2_000_000..2_000_160]);
        }
        assert_eq!(pack_as(9, FRAME_SIZE_DEFAULT, &random), pack(&random));
        // Half of it shrinks, so the search is worth its time.
        let mixed = [&content[..2_000_000], &random[..2_000_000]].concat();
        assert_ne!(pack_as(9, FRAME_SIZE_DEFAULT, &mixed), pack(&mixed));
    }

    #[test]
    fn a_truncated_frame_is_damage() {
        let frame = pack(&content(70_000));
        for length in 4..frame.len() {
            let error = walk_frame(&mut &frame[4..length], &mut Vec::new(), |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), Kind::StructureDamaged);
        }
    }

    #[test]
    fn a_frame_that_holds_more_or_less_than_it_says_is_damage() {
        let bytes = pack(&content(70_000));
        for content_size in [69_999, 70_001] {
            assert_eq!(unpack(&bytes, content_size).unwrap_err().kind(), Kind::StructureDamaged);
        }
    }

    /// One of zstd's decoders takes it, and the other does not.
    #[test]
    fn a_compressed_block_of_no_bytes_is_damage() {
        let mut frame = pack(&content(70_000));
        let first_block = frame.len() - walked_from_first_block(&frame).len();
        frame.splice(first_block..first_block, [2 << 1, 0, 0]);
        assert_eq!(walk(&frame).unwrap_err().kind(), Kind::StructureDamaged);
    }

    /// What follows the header of a frame.
    fn walked_from_first_block(frame: &[u8]) -> Vec<u8> {
        let mut rest = &frame[4..];
        read_frame_header(&mut rest).unwrap();
        rest.to_vec()
    }

    #[test]
    fn frame_sizes_are_multiples_of_64_kib_up_to_16_mib() {
        assert!(
            is_frame_size(FRAME_SIZE_MIN)
                && is_frame_size(FRAME_SIZE_MAX)
                && is_frame_size(FRAME_SIZE_DEFAULT)
        );
        assert!(
            !is_frame_size(0) && !is_frame_size(FRAME_SIZE_MIN + 1) && !is_frame_size(FRAME_SIZE_MAX * 2)
        );
    }
}
