//! Snapshots made without an etcd, for tests of how bytes travel.

use super::bolt::of_pages;
use etcd_seal::low_level::database::bolt::page::{Bucket, leaf};
use sha2::{Digest, Sha256};

/// Random bytes.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Bytes of a page of [`snapshot`].
pub const PAGE_SIZE: usize = 4096;

/// What [`snapshot`] is at, and what it is of: as much as a [`Script`](super::fake::Script) says of itself.
const REVISION: u64 = 3;
const MEMBER: &[u8] = b"2";

/// A snapshot of a database in which an etcd of one member has written once. Beside that its `pages` are of no use and
/// random, so that it hardly compresses. For tests of how bytes travel.
pub fn snapshot(pages: usize) -> Vec<u8> {
    snapshot_of(&random(pages * PAGE_SIZE))
}

/// The same with these bytes in the pages that are of no use.
pub fn snapshot_of(unused: &[u8]) -> Vec<u8> {
    assert!(unused.len().is_multiple_of(PAGE_SIZE));
    let mut pages = vec![(2, buckets())];
    pages.extend((3..).zip(unused.chunks(PAGE_SIZE).map(<[u8]>::to_vec)));
    with_digest(of_pages(2, &pages))
}

/// A database with etcd's digest behind it.
pub fn with_digest(mut database: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&database);
    database.extend(digest);
    database
}

/// The page of all buckets, which lie in it.
fn buckets() -> Vec<u8> {
    let bucket = |name: &[u8], key: &[u8], value: &[u8]| {
        let content = leaf(0, &[(key.to_vec(), value.to_vec(), false)], |_| Some(0)).unwrap();
        (name.to_vec(), Bucket::inline(&content, 0), true)
    };
    let revision = [&REVISION.to_be_bytes()[..], b"_", &[0; 8]].concat();
    let buckets = [
        bucket(b"key", &revision, b"\x0a\x01a"),
        bucket(b"members", MEMBER, br#"{"id":2}"#),
        bucket(b"meta", b"consistent_index", &[0; 8]),
    ];
    leaf(2, &buckets, |_| Some(0)).unwrap()
}
