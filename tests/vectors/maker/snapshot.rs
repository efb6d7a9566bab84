//! Snapshots as etcd streams them: two meta pages of bbolt, a page of buckets, pages that are of no use, SHA-256.
//!
//! The database has one member and one key, written at revision 42.

use sha2::{Digest as _, Sha256};

pub(crate) const PAGE_SIZE: usize = 4096;
pub(crate) const DIGEST_SIZE: usize = 32;
/// The revision of the last write in it.
pub(crate) const REVISION: u64 = 42;
/// The id of its member, as etcd writes ids.
pub(crate) const MEMBER: &str = "fedcba9876543210";
/// The page of buckets.
const ROOT: u64 = 2;

/// Pages of zeros, which compress to nothing.
pub(crate) fn zeros(pages: usize) -> Vec<u8> {
    with_digest(database(pages, |_| 0))
}

/// Pages that no compressor makes smaller, beside that of the buckets.
pub(crate) fn noise(pages: usize) -> Vec<u8> {
    with_digest(database(pages + 1, noise_at))
}

pub(crate) fn with_digest(mut database: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&database);
    database.extend_from_slice(&digest);
    database
}

/// Pages of zeros, then pages that no compressor makes smaller.
pub(crate) fn zeros_and_noise(zeros: usize, noise: usize) -> Vec<u8> {
    with_digest(database(zeros + noise, |at| if at < zeros * PAGE_SIZE { 0 } else { noise_at(at) }))
}

pub(crate) fn database(pages: usize, fill: impl Fn(usize) -> u8) -> Vec<u8> {
    database_of(PAGE_SIZE, pages, fill)
}

/// A database with another size of pages.
pub(crate) fn database_of(page_size: usize, pages: usize, fill: impl Fn(usize) -> u8) -> Vec<u8> {
    let [first, second] = [0, 1].map(|id| Meta::of(id, page_size, pages).page());
    let mut bytes = [first, second, buckets(page_size)].concat();
    bytes.extend((bytes.len()..pages * page_size).map(fill));
    bytes
}

fn noise_at(at: usize) -> u8 {
    let mut mixed = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 29;
    mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes()[5]
}

/// The first or second page of a database.
#[derive(Clone, Copy)]
pub(crate) struct Meta {
    pub id: u64,
    pub flags: u8,
    pub page_size: usize,
    pub high_water_mark: u64,
    pub transaction: u64,
}

impl Meta {
    /// As bbolt writes it: the first page is the newer one.
    pub(crate) fn of(id: u64, page_size: usize, pages: usize) -> Self {
        Self { id, flags: 4, page_size, high_water_mark: pages as u64, transaction: 8 - id }
    }

    pub(crate) fn page(self) -> Vec<u8> {
        meta_page(self)
    }
}

/// Page header (id u64, flags u16, count u16, overflow u32) and the meta structure of bbolt's file version 2.
fn meta_page(meta: Meta) -> Vec<u8> {
    let mut page = Vec::with_capacity(meta.page_size);
    page.extend(meta.id.to_le_bytes());
    page.extend([meta.flags, 0, 0, 0, 0, 0, 0, 0]);
    page.extend(0xED0C_DAED_u32.to_le_bytes());
    page.extend(2_u32.to_le_bytes());
    page.extend(u32::try_from(meta.page_size).unwrap().to_le_bytes());
    // Flags, the root bucket's page and sequence; no freelist.
    page.extend([0; 4]);
    page.extend(ROOT.to_le_bytes());
    page.extend([0; 8]);
    page.extend(u64::MAX.to_le_bytes());
    page.extend(meta.high_water_mark.to_le_bytes());
    page.extend(meta.transaction.to_le_bytes());
    let checksum = page[16..].iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    page.extend(checksum.to_le_bytes());
    page.resize(meta.page_size, 0);
    page
}

/// The leaf of all buckets, which are so small that they lie in it.
fn buckets(page_size: usize) -> Vec<u8> {
    let bucket = |key: &[u8], value: &[u8]| {
        // No root page of its own, and no sequence.
        [vec![0; 16], leaf(0, &[(key, value.to_vec(), 0)])].concat()
    };
    let revision = [&REVISION.to_be_bytes()[..], b"_", &[0; 8]].concat();
    let mut page = leaf(
        ROOT,
        &[
            (b"key", bucket(&revision, b"\x0a\x01a"), 1),
            (b"members", bucket(MEMBER.as_bytes(), b"{}"), 1),
            (b"meta", bucket(b"consistent_index", &[0; 8]), 1),
        ],
    );
    page.resize(page_size, 0);
    page
}

/// A leaf of bbolt: header, elements (flags, position, size of key, size of value), then keys and values.
fn leaf(id: u64, entries: &[(&[u8], Vec<u8>, u32)]) -> Vec<u8> {
    let mut page = id.to_le_bytes().to_vec();
    page.extend([2, 0]);
    page.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    page.extend([0; 4]);
    let mut position = 16 + 16 * entries.len();
    for (index, (key, value, flags)) in entries.iter().enumerate() {
        let from_element = position - (16 + 16 * index);
        page.extend(flags.to_le_bytes());
        for number in [from_element, key.len(), value.len()] {
            page.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        position += key.len() + value.len();
    }
    for (key, value, _) in entries {
        page.extend(*key);
        page.extend(value);
    }
    page
}
