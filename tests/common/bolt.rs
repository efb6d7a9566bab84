//! A bbolt file of any page size, written from its entries with whole pages: what other machines' etcds make.

use etcd_seal::database::meta::{Meta, NO_FREELIST};
use etcd_seal::database::page::{Bucket, Entry, branch, leaf};

/// The file, without etcd's digest.
pub fn database(page_size: usize, buckets: &[(Vec<u8>, Vec<Entry>)]) -> Vec<u8> {
    let mut writer = Writer { page_size, bytes: vec![0; 2 * page_size] };
    let root: Vec<Entry> = buckets
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
    let meta = Meta {
        page_size: u32::try_from(page_size).unwrap(),
        flags: 0,
        root,
        root_sequence: 0,
        freelist: NO_FREELIST,
        high_water_mark: (writer.bytes.len() / page_size) as u64,
        transaction: 10,
    };
    for (id, transaction) in [(0, 10), (1, 9)] {
        let at = usize::try_from(id).unwrap() * page_size;
        let page = Meta { transaction, ..meta }.to_page(id);
        writer.bytes[at..at + page.len()].copy_from_slice(&page);
    }
    writer.bytes
}

struct Writer {
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
    fn tree(&mut self, entries: &[Entry]) -> u64 {
        let mut level: Vec<(Vec<u8>, u64)> = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let mut size = 16;
            let fits = rest.iter().take_while(|(key, value, _)| {
                size += 16 + key.len() + value.len();
                size <= self.page_size
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
