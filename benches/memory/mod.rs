//! The input of both benchmarks: a snapshot in memory, like that of a real cluster, the same each time.

#[path = "../peers/data.rs"]
mod data;

use data::DataSet;
use etcd_seal::low_level::database::bolt::page::{LeafEntry, leaf};
use etcd_seal::low_level::database::mvcc::Revision;
use sha2::{Digest, Sha256};

const PAGE_SIZE: usize = 4096;
/// Keys in a page.
const KEYS: usize = 8;
/// Bytes of the value of each: what a page has left beside its header, the elements and the keys.
const VALUE_SIZE: usize = (PAGE_SIZE - 16) / KEYS - 16 - 17;

/// A valid snapshot of about `size` bytes: two meta pages, leaves full of a cluster's keys, etcd's digest.
pub(crate) fn snapshot(size: usize) -> Vec<u8> {
    let pages = (size / PAGE_SIZE).max(4);
    let mut bytes = meta_page(pages, 2);
    bytes.extend(meta_page(pages, 1));
    let mut content = DataSet::new(1).flat_map(|(key, value)| (key + &value).into_bytes());
    let mut revision = Revision { main: 1, sub: 0 };
    for number in 2..pages {
        let entries: Vec<LeafEntry> = (0..KEYS)
            .map(|_| {
                revision.main += 1;
                (revision.to_bytes().to_vec(), content.by_ref().take(VALUE_SIZE).collect(), false)
            })
            .collect();
        bytes.extend(leaf(number as u64, &entries, |_| Some(0)).expect("a leaf"));
        bytes.resize((number + 1) * PAGE_SIZE, 0);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// A meta page as bbolt writes it; etcd-seal's `database::meta` has the layout.
fn meta_page(pages: usize, transaction: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE_SIZE];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(transaction % 2).to_le_bytes());
    put(8, &4_u16.to_le_bytes());
    put(16, &0xED0C_DAED_u32.to_le_bytes());
    put(20, &2_u32.to_le_bytes());
    put(24, &4096_u32.to_le_bytes());
    put(48, &u64::MAX.to_le_bytes());
    put(56, &(pages as u64).to_le_bytes());
    put(64, &transaction.to_le_bytes());
    let checksum = page[16..72].iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    page[72..80].copy_from_slice(&checksum.to_le_bytes());
    page
}
