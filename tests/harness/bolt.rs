//! A bbolt file of any page size, written from its entries with whole pages: what other machines' etcds make.

use etcd_seal::low_level::database::bolt::Database;
use etcd_seal::low_level::database::bolt::meta::{Meta, NO_FREELIST};
use etcd_seal::low_level::database::bolt::page::{Bucket, LeafEntry, branch, leaf};
use etcd_seal::low_level::database::mvcc::Revision;
use etcd_seal::low_level::interrupt::Interrupt;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a page of [`chain`].
const PAGE_SIZE: u64 = 4096;

/// Writes a database whose keys lie below `depth` branches of one child each, which claim `pages` pages. Most of it is a hole.
pub fn chain(path: &Path, depth: u64, pages: u64) {
    let revision = Revision { main: 2, sub: 0 }.to_bytes().to_vec();
    let overflow = u32::try_from(pages - 1).unwrap();
    let file = File::create(path).unwrap();
    let write = |page: &[u8], id: u64| file.write_all_at(page, id * PAGE_SIZE).unwrap();
    let (root, first) = (2, 3);
    let last = first + depth * pages;
    for id in (first..last).step_by(usize::try_from(pages).unwrap()) {
        write(&branch(id, &[(revision.clone(), id + pages)], |_| Some(overflow)).unwrap(), id);
    }
    let pair = (revision, b"\x0A\x01a".to_vec(), false);
    write(&leaf(last, &[pair], |_| Some(0)).unwrap(), last);
    let buckets = [
        (b"key".to_vec(), Bucket::tree(first, 0), true),
        (b"meta".to_vec(), Bucket::inline(&leaf(0, &[], |_| Some(0)).unwrap(), 0), true),
    ];
    write(&leaf(root, &buckets, |_| Some(0)).unwrap(), root);
    file.set_len((last + 1) * PAGE_SIZE).unwrap();
    for (id, page) in (0..).zip(metas(4096, root, last + 1)) {
        write(&page, id);
    }
}

/// The two meta pages of a database, of which the first counts.
fn metas(page_size: u32, root: u64, high_water_mark: u64) -> [Vec<u8>; 2] {
    let (freelist, transaction) = (NO_FREELIST, 10);
    let meta = Meta { page_size, flags: 0, root, root_sequence: 0, freelist, high_water_mark, transaction };
    [meta.to_page(0).to_vec(), Meta { transaction: 9, ..meta }.to_page(1).to_vec()]
}

/// Puts the meta pages before the others, which leave room for them.
fn with_metas(mut bytes: Vec<u8>, page_size: usize, root: u64) -> Vec<u8> {
    let high_water_mark = (bytes.len() / page_size) as u64;
    for (id, page) in metas(u32::try_from(page_size).unwrap(), root, high_water_mark).into_iter().enumerate()
    {
        bytes[id * page_size..][..page.len()].copy_from_slice(&page);
    }
    bytes
}

/// A database with these pages, each at its number; all others are zeros.
pub fn of_pages(root: u64, pages: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let page_size = usize::try_from(PAGE_SIZE).unwrap();
    let place = |id: u64| usize::try_from(id).unwrap() * page_size;
    let end = |(id, page): &(u64, Vec<u8>)| place(*id) + page.len().next_multiple_of(page_size);
    let mut bytes = with_metas(vec![0; pages.iter().map(end).max().unwrap()], page_size, root);
    for (id, page) in pages {
        bytes[place(*id)..][..page.len()].copy_from_slice(page);
    }
    bytes
}

/// All buckets of a database, with their entries, as [`database`] takes them.
pub fn buckets(path: &Path) -> Vec<(Vec<u8>, Vec<LeafEntry>)> {
    let file = File::open(path).unwrap();
    let mut buckets: BTreeMap<Vec<u8>, Vec<LeafEntry>> = BTreeMap::new();
    let database = Database::open(&file).unwrap();
    let walked = database.walk(&Interrupt::new(), &mut |bucket, key, value| {
        let entry = (key.to_vec(), value.whole().unwrap().to_vec(), false);
        buckets.entry(bucket.to_vec()).or_default().push(entry);
        Ok(())
    });
    walked.unwrap();
    buckets.into_iter().collect()
}

/// The file, without etcd's digest.
pub fn database(page_size: usize, buckets: &[(Vec<u8>, Vec<LeafEntry>)]) -> Vec<u8> {
    with_leaves_of(page_size, page_size, buckets)
}

/// The file, each of whose buckets is one leaf, however large: bbolt splits no leaf of less than five entries.
pub fn in_one_leaf(page_size: usize, buckets: &[(Vec<u8>, Vec<LeafEntry>)]) -> Vec<u8> {
    with_leaves_of(usize::MAX, page_size, buckets)
}

fn with_leaves_of(leaf_size: usize, page_size: usize, buckets: &[(Vec<u8>, Vec<LeafEntry>)]) -> Vec<u8> {
    let mut writer = Writer { leaf_size, page_size, bytes: vec![0; 2 * page_size] };
    let root: Vec<LeafEntry> = buckets
        .iter()
        .map(|(name, entries)| {
            let value = match entries.len() {
                0 => Bucket::inline(&leaf(0, &[], |_| Some(0)).unwrap(), 0),
                _ => Bucket::tree(writer.tree(entries), 0),
            };
            (name.clone(), value, true)
        })
        .collect();
    let root = writer.tree(&root);
    with_metas(writer.bytes, page_size, root)
}

struct Writer {
    /// Bytes of a leaf with more than one entry, at most.
    leaf_size: usize,
    page_size: usize,
    bytes: Vec<u8>,
}

impl Writer {
    fn next(&self) -> u64 {
        (self.bytes.len() / self.page_size) as u64
    }

    fn append(&mut self, page: &[u8]) -> u64 {
        let id = self.next();
        self.bytes.extend_from_slice(page);
        self.bytes.resize(self.bytes.len().next_multiple_of(self.page_size), 0);
        id
    }

    fn overflow(&self) -> impl Fn(usize) -> Option<u32> + use<> {
        let page_size = self.page_size;
        move |size| u32::try_from(size.div_ceil(page_size) - 1).ok()
    }

    /// Leaves as full as they go, branches above them until there is one root.
    fn tree(&mut self, entries: &[LeafEntry]) -> u64 {
        let mut level: Vec<(Vec<u8>, u64)> = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let mut size = 16;
            let fits = rest.iter().take_while(|(key, value, _)| {
                size += 16 + key.len() + value.len();
                size <= self.leaf_size
            });
            let (taken, after) = rest.split_at(fits.count().max(1));
            let page = leaf(self.next(), taken, self.overflow()).unwrap();
            level.push((taken[0].0.clone(), self.append(&page)));
            rest = after;
        }
        while level.len() > 1 {
            let groups: Vec<_> = level.chunks(30).map(<[_]>::to_vec).collect();
            level = groups
                .into_iter()
                .map(|children| {
                    let page = branch(self.next(), &children, self.overflow()).unwrap();
                    (children[0].0.clone(), self.append(&page))
                })
                .collect();
        }
        level[0].1
    }
}
