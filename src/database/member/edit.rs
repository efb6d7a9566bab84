//! Turns the database of a snapshot into that of a new member, by copy-on-write: like bbolt's own transactions, it leaves
//! every page as it is, appends the changed pages, and writes both meta pages last.
//!
//! The result is that of etcdutl 3.5 (`etcdutl/snapshot/v3_snapshot.go` in etcd): the new members replace the old ones, and
//! the consistent index and the term are those of the new log. The pages of keys stay byte for byte what etcd sent. The
//! freed pages need no freelist: without one, bbolt finds free pages itself when it opens the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::membership::Membership;
use super::raft::FIRST_TERM;
use crate::database::bolt::meta::{Meta, NO_FREELIST};
use crate::database::bolt::page::{BRANCH, Bucket, LEAF, LeafEntry, branch, leaf};
use crate::database::bolt::{Buffers, DEPTH_MAX, Database, NamedBucket, Node, damaged, missing_bucket};
use crate::database::mvcc::{Revision, TOMBSTONE_SIZE};
use crate::database::schema::{KEY_BUCKET, MEMBERS_BUCKET, META_BUCKET, SCHEDULED_COMPACTION};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

const MEMBERS_REMOVED_BUCKET: &[u8] = b"members_removed";
const CLUSTER_BUCKET: &[u8] = b"cluster";
const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";
/// `buckets.Auth` and `AuthEnabledKeyName` in etcd's schema.
const AUTHENTICATION_BUCKET: &[u8] = b"auth";
const AUTHENTICATION_ENABLED: &[u8] = b"authEnabled";

/// The most memory for the entries of a bucket that is rewritten: some hundred times what they need in practice.
const SMALL_SIZE_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of memory that an entry takes besides its key and its value.
const ENTRY_SIZE: u64 = size_of::<LeafEntry>() as u64 + 32;

/// Turns the database in `file`, which is open for reading and writing, into that of a member of `membership`. Afterwards
/// the file ends at its high-water mark.
///
/// `raised_to` is a revision above all in it. It becomes the newest revision, and that of a requested compaction.
///
/// # Errors
/// The errors of [`Database::walk`]; [`Kind::NoSpace`](crate::Kind::NoSpace) and [`Kind::Io`](crate::Kind::Io) on writing.
pub fn become_member(
    file: &File,
    membership: &Membership,
    raised_to: Option<i64>,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut edit = Edit::begin(file, interrupt)?;
    edit.set_bucket(MEMBERS_BUCKET, &membership.bucket_entries())?;
    edit.set_bucket(MEMBERS_REMOVED_BUCKET, &[])?;
    if edit.position(CLUSTER_BUCKET).is_err() {
        edit.set_bucket(CLUSTER_BUCKET, &[])?;
    }
    let mut meta = edit.entries(META_BUCKET)?;
    set(&mut meta, CONSISTENT_INDEX, &membership.last_index().to_be_bytes());
    set(&mut meta, TERM, &FIRST_TERM.to_be_bytes());
    if let Some(main) = raised_to {
        let revision = Revision { main, sub: 0 };
        edit.add_last(revision)?;
        set(&mut meta, SCHEDULED_COMPACTION, &revision.to_bytes());
    }
    edit.set_bucket(META_BUCKET, &meta)?;
    edit.finish()
}

/// Turns etcd's own authentication off, in a copy that serves only the program that made it: users, passwords and roles
/// stay, and etcd asks for none of them. For a drill; a restored member must never get this.
///
/// # Errors
/// The errors of [`become_member`].
pub fn turn_authentication_off_in_a_scratch_copy(file: &File, interrupt: &Interrupt) -> Result<()> {
    let mut edit = Edit::begin(file, interrupt)?;
    if edit.position(AUTHENTICATION_BUCKET).is_err() {
        return Ok(());
    }
    let mut entries = edit.entries(AUTHENTICATION_BUCKET)?;
    set(&mut entries, AUTHENTICATION_ENABLED, &[0]);
    edit.set_bucket(AUTHENTICATION_BUCKET, &entries)?;
    edit.finish()
}

/// Inserts or replaces the entry of `key`, in ascending order of keys.
fn set(entries: &mut Vec<LeafEntry>, key: &[u8], value: &[u8]) {
    let entry = (key.to_vec(), value.to_vec(), false);
    match entries.binary_search_by(|(other, ..)| other.as_slice().cmp(key)) {
        Ok(at) => entries[at] = entry,
        Err(at) => entries.insert(at, entry),
    }
}

/// The changed buckets, and the pages appended for them.
struct Edit<'e> {
    file: &'e File,
    database: Database<'e>,
    interrupt: &'e Interrupt,
    buckets: Vec<NamedBucket>,
    /// The next page to write. New pages start at the high-water mark, where the database has none.
    next_page: u64,
}

impl<'e> Edit<'e> {
    fn begin(file: &'e File, interrupt: &'e Interrupt) -> Result<Self> {
        let database = Database::open(file)?;
        let buckets = database.buckets(interrupt)?;
        let next_page = database.meta().high_water_mark;
        Ok(Self { file, database, interrupt, buckets, next_page })
    }

    fn page_size(&self) -> usize {
        self.database.meta().page_size as usize
    }

    /// The index of the bucket, or the one at which it belongs.
    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.buckets.binary_search_by(|bucket| bucket.name.as_slice().cmp(name))
    }

    fn bucket(&self, name: &[u8]) -> Result<Bucket<'_>> {
        let at = self.position(name).map_err(|_| missing_bucket(name))?;
        Bucket::parse(&self.buckets[at].value).ok_or_else(|| damaged("a bucket is too short"))
    }

    /// All entries of a small bucket.
    fn entries(&self, name: &[u8]) -> Result<Vec<LeafEntry>> {
        let mut entries = Vec::new();
        let mut size = 0;
        self.database.walk_bucket(name, self.interrupt, &mut |_, key, value| {
            size += key.len() as u64 + value.size() + ENTRY_SIZE;
            match value.whole() {
                Some(value) if size <= SMALL_SIZE_MAX => {
                    entries.push((key.to_vec(), value.to_vec(), false));
                    Ok(())
                }
                _ => {
                    let name = String::from_utf8_lossy(name);
                    Err(damaged(format!("the bucket {name:?} is larger than any etcd has")))
                }
            }
        })?;
        Ok(entries)
    }

    /// Replaces all entries of the bucket `name`.
    fn set_bucket(&mut self, name: &[u8], entries: &[LeafEntry]) -> Result<()> {
        // `inlineable` and `maxInlineBucketSize` in bbolt's `bucket.go`.
        let size: usize =
            entries.iter().map(|(key, value, _)| key.len() + value.len() + 16).sum::<usize>() + 16;
        let value = if size <= self.page_size() / 4 {
            Bucket::inline(&leaf(0, entries, |_| Some(0)).ok_or_else(too_many)?, 0)
        } else {
            Bucket::tree(self.append(|id, overflow| leaf(id, entries, overflow))?, 0)
        };
        self.set_value(name, value);
        Ok(())
    }

    fn set_value(&mut self, name: &[u8], value: Vec<u8>) {
        match self.position(name) {
            Ok(at) => self.buckets[at].value = value,
            Err(at) => self.buckets.insert(at, NamedBucket { name: name.to_vec(), value }),
        }
    }

    /// Appends the page that `make` builds for a given page number, and returns that number.
    fn append(
        &mut self,
        make: impl FnOnce(u64, &dyn Fn(usize) -> Option<u32>) -> Option<Vec<u8>>,
    ) -> Result<u64> {
        let page_size = self.page_size();
        let id = self.next_page;
        let overflow = |size: usize| u32::try_from(size.div_ceil(page_size) - 1).ok();
        let mut page = make(id, &overflow).ok_or_else(too_many)?;
        page.resize(page.len().next_multiple_of(page_size), 0);
        self.next_page += (page.len() / page_size) as u64;
        self.write(&page, id)?;
        Ok(id)
    }

    /// Writes `page` as page `id`.
    fn write(&self, page: &[u8], id: u64) -> Result<()> {
        let at = id.checked_mul(self.page_size() as u64).ok_or_else(too_large)?;
        self.file.write_all_at(page, at).map_err(|error| Error::io("write", "the database", error))
    }

    /// Adds an empty value under a revision above all others (`unsafeBumpBucketsRevision` in `v3_snapshot.go`).
    fn add_last(&mut self, revision: Revision) -> Result<()> {
        let (root, sequence) = match self.bucket(KEY_BUCKET)? {
            Bucket::Tree { root, sequence } => (root, sequence),
            Bucket::Inline { .. } => {
                let mut entries = self.entries(KEY_BUCKET)?;
                entries.push((revision.to_bytes().to_vec(), Vec::new(), false));
                return self.set_bucket(KEY_BUCKET, &entries);
            }
        };
        let mut branches = self.right_edge(root)?;
        let last = branches.pop().ok_or_else(|| damaged("the bucket key has no leaf"))?;
        let new_leaf = {
            let entries = [(revision.to_bytes().to_vec(), Vec::new(), false)];
            self.append(|id, overflow| leaf(id, &entries, overflow))?
        };
        let mut child = (revision.to_bytes().to_vec(), new_leaf);
        if branches.is_empty() {
            // The leaf was the root: now both leaves are below a new root, unless the old one is empty.
            if let Some(first_key) = self.first_key(last)? {
                let children = [(first_key, last), child];
                child = (Vec::new(), self.append(|id, overflow| branch(id, &children, overflow))?);
            }
        }
        // Copies each branch, from the lowest up. A branch may have overflow pages, so that none has to be split.
        for (height, id) in branches.into_iter().rev().enumerate() {
            let mut children = self.children(id)?;
            if height > 0
                && let Some((key, _)) = children.pop()
            {
                child.0 = key;
            }
            children.push(child);
            child = (Vec::new(), self.append(|id, overflow| branch(id, &children, overflow))?);
        }
        self.set_value(KEY_BUCKET, Bucket::tree(child.1, sequence));
        Ok(())
    }

    /// The pages from `root` to the last leaf.
    fn right_edge(&self, root: u64) -> Result<Vec<u64>> {
        let mut path = Vec::new();
        let mut id = root;
        while path.len() <= DEPTH_MAX {
            path.push(id);
            let mut node = Node::open(&self.database, id, Buffers::default())?;
            match node.header.flags {
                LEAF => return Ok(path),
                BRANCH => {
                    while let Some(child) = node.next_child()? {
                        id = child.page;
                    }
                }
                _ => break,
            }
        }
        Err(damaged(format!("page {id} is no part of a tree")))
    }

    /// The first key of the leaf `id`.
    fn first_key(&self, id: u64) -> Result<Option<Vec<u8>>> {
        let mut node = Node::open(&self.database, id, Buffers::default())?;
        Ok(node.next_item()?.map(|item| item.key.to_vec()))
    }

    /// The children of the branch `id` of the bucket `key`: the first key and the page of each. Its keys are revisions, so
    /// that 65535 of them, the most that a page can count, take 4 MiB.
    fn children(&self, id: u64) -> Result<Vec<(Vec<u8>, u64)>> {
        let mut node = Node::open(&self.database, id, Buffers::default())?;
        let mut children = Vec::new();
        while let Some(child) = node.next_child()? {
            if child.key.len() > TOMBSTONE_SIZE {
                return Err(damaged(format!("page {id} has a key in it that is no revision")));
            }
            children.push((child.key.to_vec(), child.page));
        }
        Ok(children)
    }

    /// Writes the root bucket, and finally the meta pages.
    fn finish(mut self) -> Result<()> {
        let buckets: Vec<LeafEntry> =
            self.buckets.drain(..).map(|bucket| (bucket.name, bucket.value, true)).collect();
        let root = self.append(|id, overflow| leaf(id, &buckets, overflow))?;
        let old = *self.database.meta();
        let meta = Meta {
            root,
            freelist: NO_FREELIST,
            high_water_mark: self.next_page,
            transaction: old
                .transaction
                .checked_add(1)
                .ok_or_else(|| damaged("it has no transactions left"))?,
            ..old
        };
        let end = meta.database_size().ok_or_else(too_large)?;
        let newer = meta.transaction % 2;
        let older = Meta { transaction: old.transaction, ..meta };
        let cut = self.file.set_len(end);
        cut.map_err(|error| Error::io("write", "the database", error))?;
        self.write(&older.to_page(1 - newer), 1 - newer)?;
        self.write(&meta.to_page(newer), newer)
    }
}

fn too_large() -> Error {
    damaged("it is as long as a database can be")
}

fn too_many() -> Error {
    damaged("a bucket has more entries than fit in one page of its kind")
}
