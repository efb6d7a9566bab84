//! Snapshots as etcd streams them, small and empty: two meta pages of bbolt, other pages, SHA-256.

use sha2::{Digest as _, Sha256};

pub(crate) const PAGE_SIZE: usize = 4096;
pub(crate) const DIGEST_SIZE: usize = 32;

/// Pages of zeros, which compress to nothing.
pub(crate) fn zeros(pages: usize) -> Vec<u8> {
    with_digest(database(pages, |_| 0))
}

/// Pages that no compressor makes smaller.
pub(crate) fn noise(pages: usize) -> Vec<u8> {
    with_digest(database(pages, noise_at))
}

pub(crate) fn with_digest(mut database: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&database);
    database.extend_from_slice(&digest);
    database
}

pub(crate) fn database(pages: usize, fill: impl Fn(usize) -> u8) -> Vec<u8> {
    let mut bytes = [meta_page(0, pages), meta_page(1, pages)].concat();
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
    page.extend([0; 20]);
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
