//! The seek table: the last frame of an archive, in the Zstandard Seekable Format.
//!
//! A skippable frame of one entry for each frame before it (compressed size u32, decompressed size u32, little-endian;
//! no checksums), then the number of frames u32, a descriptor byte of 0 and the magic number 0x8F92EAB1. From
//! `contrib/seekable_format/zstd_seekable_compression_format.md` in the zstd repository.

use super::frame::{FRAMES_MAX, SEEK_TABLE_MAGIC, SKIPPABLE_HEADER_SIZE, damaged, skippable};
use crate::error::Result;

/// `Seekable_Magic_Number`.
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Number of frames, descriptor, magic number.
pub const FOOTER_SIZE: usize = 9;
/// Bytes of an entry: compressed and decompressed size.
const ENTRY_SIZE: usize = 8;
/// The frames that hold no part of the snapshot: manifest and trailer.
const METADATA_FRAMES: usize = 2;
/// The most frames of the snapshot in one archive.
pub const SNAPSHOT_FRAMES_MAX: u64 = (FRAMES_MAX - METADATA_FRAMES) as u64;

/// The sizes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes of the whole frame in the zstd stream.
    pub compressed: u32,
    /// Bytes it decompresses to; 0 for manifest and trailer.
    pub decompressed: u32,
}

/// The entries of all frames, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeekTable {
    /// The manifest first, then every frame of the snapshot, then the trailer.
    pub entries: Vec<Entry>,
}

impl SeekTable {
    /// Adds the next frame.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`](crate::Kind::StructureDamaged) for more frames than version 1 allows.
    pub fn push(&mut self, compressed: usize, decompressed: u32) -> Result<()> {
        let compressed = u32::try_from(compressed).map_err(|_| damaged("a frame is 4 GiB or larger"))?;
        if self.entries.len() >= FRAMES_MAX {
            return Err(damaged(format!("there are more than {FRAMES_MAX} frames")));
        }
        self.entries.push(Entry { compressed, decompressed });
        Ok(())
    }

    /// The whole skippable frame of the table.
    ///
    /// # Errors
    /// No error for a table that [`push`](Self::push) built.
    pub fn to_frame(&self) -> Result<Vec<u8>> {
        let mut content = Vec::with_capacity(self.entries.len() * ENTRY_SIZE + FOOTER_SIZE);
        for entry in &self.entries {
            content.extend_from_slice(&entry.compressed.to_le_bytes());
            content.extend_from_slice(&entry.decompressed.to_le_bytes());
        }
        let count = u32::try_from(self.entries.len()).map_err(|_| damaged("too many frames"))?;
        content.extend_from_slice(&count.to_le_bytes());
        content.push(0);
        content.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
        skippable(SEEK_TABLE_MAGIC, &content)
    }

    /// The size of the whole skippable frame whose last [`FOOTER_SIZE`] bytes are `footer`.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`](crate::Kind::StructureDamaged) where `footer` is not of version 1.
    pub fn frame_size(footer: &[u8; FOOTER_SIZE]) -> Result<usize> {
        let [c0, c1, c2, c3, descriptor, m0, m1, m2, m3] = *footer;
        if u32::from_le_bytes([m0, m1, m2, m3]) != SEEKABLE_MAGIC || descriptor != 0 {
            return Err(damaged("the seek table has no footer of version 1"));
        }
        let count = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
        if !(METADATA_FRAMES + 1..=FRAMES_MAX).contains(&count) {
            return Err(damaged(format!("the seek table counts {count} frames")));
        }
        Ok(SKIPPABLE_HEADER_SIZE + count * ENTRY_SIZE + FOOTER_SIZE)
    }

    /// Parses a whole skippable frame.
    ///
    /// # Errors
    /// [`Kind::StructureDamaged`](crate::Kind::StructureDamaged).
    pub fn parse(frame: &[u8]) -> Result<Self> {
        let footer =
            frame.last_chunk::<FOOTER_SIZE>().ok_or_else(|| damaged("the seek table is cut short"))?;
        let size = Self::frame_size(footer)?;
        if frame.len() != size {
            return Err(damaged("the seek table is not as long as it says"));
        }
        let entries = frame[SKIPPABLE_HEADER_SIZE..size - FOOTER_SIZE]
            .as_chunks::<ENTRY_SIZE>()
            .0
            .iter()
            .map(|&[c0, c1, c2, c3, d0, d1, d2, d3]| Entry {
                compressed: u32::from_le_bytes([c0, c1, c2, c3]),
                decompressed: u32::from_le_bytes([d0, d1, d2, d3]),
            })
            .collect();
        let table = Self { entries };
        if table.to_frame()? != frame {
            return Err(damaged("the seek table does not begin as one"));
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn table() -> SeekTable {
        let mut table = SeekTable::default();
        for (compressed, decompressed) in [(300, 0), (1000, 65_536), (70, 12), (200, 0)] {
            table.push(compressed, decompressed).unwrap();
        }
        table
    }

    #[test]
    fn what_is_written_is_read() {
        let frame = table().to_frame().unwrap();
        assert_eq!(frame.len(), 8 + 4 * 8 + 9);
        assert_eq!(SeekTable::frame_size(frame.last_chunk().unwrap()).unwrap(), frame.len());
        assert_eq!(SeekTable::parse(&frame).unwrap(), table());
    }

    #[test]
    fn the_bytes_are_those_of_the_seekable_format() {
        let frame = table().to_frame().unwrap();
        assert_eq!(frame[..8], [0x5E, 0x2A, 0x4D, 0x18, 41, 0, 0, 0]);
        assert_eq!(frame[8..16], [0x2C, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frame[frame.len() - 9..], [4, 0, 0, 0, 0, 0xB1, 0xEA, 0x92, 0x8F]);
    }

    #[test]
    fn entries_are_at_least_three_and_at_most_as_many_as_frames() {
        let footer = |count: usize| {
            let mut footer = [0, 0, 0, 0, 0, 0xB1, 0xEA, 0x92, 0x8F];
            footer[..4].copy_from_slice(&u32::try_from(count).unwrap().to_le_bytes());
            footer
        };
        for (count, good) in [(2, false), (3, true), (FRAMES_MAX, true), (FRAMES_MAX + 1, false)] {
            assert_eq!(SeekTable::frame_size(&footer(count)).is_ok(), good, "{count}");
        }
        let mut full = SeekTable { entries: vec![Entry { compressed: 1, decompressed: 1 }; FRAMES_MAX - 1] };
        full.push(1, 0).unwrap();
        let frame = full.to_frame().unwrap();
        assert_eq!(SeekTable::parse(&frame).unwrap(), full);
        assert_eq!(full.push(1, 0).unwrap_err().kind(), Kind::StructureDamaged);
    }

    #[test]
    fn every_truncation_and_every_changed_frame_byte_is_refused() {
        let frame = table().to_frame().unwrap();
        for length in 0..frame.len() {
            assert_eq!(SeekTable::parse(&frame[..length]).unwrap_err().kind(), Kind::StructureDamaged);
        }
        for at in (0..SKIPPABLE_HEADER_SIZE).chain(frame.len() - FOOTER_SIZE..frame.len()) {
            let mut bad = frame.clone();
            bad[at] ^= 0x80;
            assert!(SeekTable::parse(&bad).is_err(), "byte {at}");
        }
    }
}
