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

pub(crate) fn database(pages: usize, fill: impl Fn(usize) -> u8) -> Vec<u8> {
    let mut bytes = [meta_page(0, pages), meta_page(1, pages), buckets()].concat();
    bytes.extend((bytes.len()..pages * PAGE_SIZE).map(fill));
    bytes
}

fn noise_at(at: usize) -> u8 {
    let mut mixed = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 29;
    mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes()[5]
}

/// Page header (id u64, flags u16, count u16, overflow u32) and the meta structure of bbolt's file version 2.
fn meta_page(id: u64, pages: usize) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_SIZE);
    page.extend(id.to_le_bytes());
    page.extend([4, 0, 0, 0, 0, 0, 0, 0]);
    page.extend(0xED0C_DAED_u32.to_le_bytes());
    page.extend(2_u32.to_le_bytes());
    page.extend(u32::try_from(PAGE_SIZE).unwrap().to_le_bytes());
    // Flags, the root bucket's page and sequence; no freelist.
    page.extend([0; 4]);
    page.extend(ROOT.to_le_bytes());
    page.extend([0; 8]);
    page.extend(u64::MAX.to_le_bytes());
    page.extend((pages as u64).to_le_bytes());
    page.extend((8 - id).to_le_bytes());
    let checksum = page[16..].iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    page.extend(checksum.to_le_bytes());
    page.resize(PAGE_SIZE, 0);
    page
}

/// The leaf of all buckets, which are so small that they lie in it.
fn buckets() -> Vec<u8> {
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
    page.resize(PAGE_SIZE, 0);
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
