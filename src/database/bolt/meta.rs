//! bbolt's meta pages: page size and high-water mark.
//!
//! Layout and constants are those of `db.go` and `page.go` in go.etcd.io/bbolt, file version 2, which every etcd 3.x
//! writes: a page header of 16 bytes, then magic u32, version u32, page size u32, flags u32, root bucket (page id u64,
//! sequence u64), freelist page id u64, high-water mark u64, transaction id u64, FNV-1a-64 of the 56 bytes before it.
//! All little-endian.

use super::page::{HEADER_SIZE as PAGE_HEADER_SIZE, META, PageHeader};

/// Bytes of the meta structure, checksum included.
const META_SIZE: usize = 64;
/// Bytes from the beginning of a page that hold its meta structure.
pub const META_END: usize = PAGE_HEADER_SIZE + META_SIZE;
/// `magic` in bbolt's `db.go`.
const MAGIC: u32 = 0xED0C_DAED;
/// `version` in bbolt's `db.go`.
const VERSION: u32 = 2;
/// bbolt's `page.go`: a page number and its page size must be able to address the file; 64 KiB is the largest page of any
/// platform Go runs on, 512 the smallest block.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// `pgidNoFreelist` in bbolt's `db.go`: there is no freelist; bbolt finds free pages itself.
pub const NO_FREELIST: u64 = u64::MAX;

/// One valid meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: u32,
    /// bbolt's flags, which it does not use.
    pub flags: u32,
    /// The page where the root bucket begins.
    pub root: u64,
    /// bbolt's counter of the root bucket, which etcd does not use.
    pub root_sequence: u64,
    /// The page where the freelist begins, or [`NO_FREELIST`].
    pub freelist: u64,
    /// The first page id never used: the database ends there.
    pub high_water_mark: u64,
    /// The transaction that wrote it.
    pub transaction: u64,
}

/// Why a page is not a meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaFault {
    /// The magic number is missing.
    Magic,
    /// Another version of bbolt's format.
    Version(u32),
    /// Its checksum or its numbers are wrong.
    Damaged,
}

impl Meta {
    /// Parses the first [`META_END`] bytes of a page.
    ///
    /// # Errors
    /// A [`MetaFault`] where these bytes are no valid meta page.
    pub fn parse(page: &[u8; META_END]) -> Result<Self, MetaFault> {
        let u32_at = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(16) != MAGIC {
            return Err(MetaFault::Magic);
        }
        if u32_at(20) != VERSION {
            return Err(MetaFault::Version(u32_at(20)));
        }
        let meta = Self {
            page_size: u32_at(24),
            flags: u32_at(28),
            root: u64_at(32),
            root_sequence: u64_at(40),
            freelist: u64_at(48),
            high_water_mark: u64_at(56),
            transaction: u64_at(64),
        };
        let plausible = PAGE_SIZES.contains(&meta.page_size)
            && meta.page_size.is_power_of_two()
            && meta.high_water_mark >= 2
            && meta.database_size().is_some();
        if u64_at(72) != fnv_1a(&page[PAGE_HEADER_SIZE..72]) || !plausible {
            return Err(MetaFault::Damaged);
        }
        Ok(meta)
    }

    /// The first [`META_END`] bytes of the meta page number `id`, 0 or 1, with this content.
    #[must_use]
    pub fn to_page(&self, id: u64) -> [u8; META_END] {
        let mut page = [0; META_END];
        let header = PageHeader { id, flags: META, count: 0, overflow: 0 };
        page[..PAGE_HEADER_SIZE].copy_from_slice(&header.to_bytes());
        page[16..20].copy_from_slice(&MAGIC.to_le_bytes());
        page[20..24].copy_from_slice(&VERSION.to_le_bytes());
        page[24..28].copy_from_slice(&self.page_size.to_le_bytes());
        page[28..32].copy_from_slice(&self.flags.to_le_bytes());
        let numbers = [self.root, self.root_sequence, self.freelist, self.high_water_mark, self.transaction];
        for (place, number) in page[32..72].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv_1a(&page[PAGE_HEADER_SIZE..72]);
        page[72..].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    /// Bytes of the database up to its high-water mark; `None` where that is no possible file size.
    #[must_use]
    pub fn database_size(&self) -> Option<u64> {
        self.high_water_mark.checked_mul(u64::from(self.page_size)).filter(|size| *size < 1 << 62)
    }
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// A valid meta page for tests: page number `id`, as bbolt would write it.
#[cfg(test)]
pub(crate) fn meta_page(page_size: u32, high_water_mark: u64, transaction: u64) -> Vec<u8> {
    let meta = Meta {
        page_size,
        flags: 0,
        root: 0,
        root_sequence: 0,
        freelist: NO_FREELIST,
        high_water_mark,
        transaction,
    };
    let mut page = meta.to_page(transaction % 2).to_vec();
    page.resize(page_size as usize, 0);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(page: &[u8]) -> [u8; META_END] {
        page[..META_END].try_into().unwrap()
    }

    #[test]
    fn a_meta_page_is_read() {
        let meta = Meta::parse(&head(&meta_page(4096, 137, 9))).unwrap();
        assert_eq!((meta.page_size, meta.high_water_mark, meta.transaction), (4096, 137, 9));
        assert_eq!((meta.root, meta.freelist), (0, NO_FREELIST));
        assert_eq!(meta.database_size(), Some(137 * 4096));
    }

    #[test]
    fn every_flipped_bit_of_the_structure_is_noticed() {
        let good = meta_page(4096, 137, 9);
        for bit in PAGE_HEADER_SIZE * 8..META_END * 8 {
            let mut page = head(&good);
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::parse(&page).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn impossible_numbers_are_refused_even_with_a_right_checksum() {
        for (page_size, high_water_mark) in [(4097, 10), (131_072, 10), (4096, 1), (4096, u64::MAX / 2)] {
            let mut page = meta_page(4096, high_water_mark, 1);
            page[24..28].copy_from_slice(&u32::to_le_bytes(page_size));
            let checksum = fnv_1a(&page[16..72]);
            page[72..80].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(Meta::parse(&head(&page)), Err(MetaFault::Damaged));
        }
    }
}
