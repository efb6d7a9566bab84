//! Turns the database of a snapshot into that of a new member, by copy-on-write: as bbolt's own transactions, it leaves every
//! page as it is, appends the pages that change, and writes both meta pages last.
//!
//! What becomes of it is what etcdutl 3.5 does (`etcdutl/snapshot/v3_snapshot.go` in etcd): the old members go, the new ones
//! come, the consistent index and the term are those of the new log. The pages of keys stay byte for byte what etcd sent. The
//! pages that are no longer used need no list: without one, bbolt finds free pages by itself when it opens the file.

use std::os::unix::fs::FileExt;

use super::file::{Database, NamedBucket, damaged, missing_bucket};
use super::membership::Membership;
use super::meta::{Meta, NO_FREELIST};
use super::mvcc::{KEY_BUCKET, META_BUCKET, Revision, SCHEDULED_COMPACTION};
use super::page::{BRANCH, Bucket, Entry, Header, LEAF, branch, branch_elements, leaf, leaf_elements};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

const MEMBERS_BUCKET: &[u8] = b"members";
const MEMBERS_REMOVED_BUCKET: &[u8] = b"members_removed";
const CLUSTER_BUCKET: &[u8] = b"cluster";
const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";
/// `buckets.Auth` and `AuthEnabledKeyName` in etcd's schema.
const AUTHENTICATION_BUCKET: &[u8] = b"auth";
const AUTHENTICATION_ENABLED: &[u8] = b"authEnabled";
/// The term of the new log, as `etcdutl` has it.
pub(super) const FIRST_TERM: u64 = 1;

/// Raises the revision, so that no watcher of the lost cluster sees a revision twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bump {
    /// Added to the newest revision.
    pub by: i64,
}

impl Bump {
    /// The revision it leads to from `newest`, which is that of the last write or of a compaction above it
    /// ([`Contents::revision`](super::contents::Contents::revision)). etcd goes on from the larger of the two, so a number
    /// added to the last write alone may end below what clients have seen.
    ///
    /// # Errors
    /// [`Kind::Usage`] where there is no such revision above `newest`.
    pub fn target(self, newest: i64) -> Result<i64> {
        let raised = newest.checked_add(self.by);
        raised.filter(|raised| *raised > newest && *raised < i64::MAX).ok_or_else(|| {
            Error::new(Kind::Usage, format!("revision {newest} cannot be raised by {}", self.by))
                .with_hint("name a positive number that leaves room below 2^63")
        })
    }
}

/// Bytes that the bucket of all buckets, or a bucket that is rewritten, has at most: some hundred times what they ever have.
/// What is larger was made to take our memory.
const SMALL_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Makes `database`, whose file is open for writing, that of a member of `membership`. Its file ends at its high-water mark
/// afterwards.
///
/// `raised_to` is a revision above all in it, which becomes the newest, and that of a compaction to be done.
///
/// # Errors
/// Those of [`Database::walk`]; [`Kind::NoSpace`] and [`Kind::Io`] on writing.
pub fn become_member(
    database: &Database<'_>,
    membership: &Membership,
    raised_to: Option<i64>,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut edit = Edit::begin(database, interrupt)?;
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

/// Turns etcd's own authentication off, in a copy that serves nobody but who made it: users, passwords and roles stay, and
/// etcd asks for none of them. For a drill; a restored member must never get this.
///
/// # Errors
/// Those of [`become_member`].
pub fn turn_authentication_off_in_a_scratch_copy(
    database: &Database<'_>,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut edit = Edit::begin(database, interrupt)?;
    if edit.position(AUTHENTICATION_BUCKET).is_err() {
        return Ok(());
    }
    let mut entries = edit.entries(AUTHENTICATION_BUCKET)?;
    set(&mut entries, AUTHENTICATION_ENABLED, &[0]);
    edit.set_bucket(AUTHENTICATION_BUCKET, &entries)?;
    edit.finish()
}

/// Puts `value` under `key`, in its place.
fn set(entries: &mut Vec<Entry>, key: &[u8], value: &[u8]) {
    let entry = (key.to_vec(), value.to_vec(), false);
    match entries.binary_search_by(|(other, ..)| other.as_slice().cmp(key)) {
        Ok(at) => entries[at] = entry,
        Err(at) => entries.insert(at, entry),
    }
}

/// Pages to be appended, and the buckets as they will be.
struct Edit<'e, 'd> {
    database: &'e Database<'d>,
    interrupt: &'e Interrupt,
    buckets: Vec<NamedBucket>,
    /// New pages from the high-water mark on.
    appended: Vec<u8>,
}

impl<'e, 'd> Edit<'e, 'd> {
    fn begin(database: &'e Database<'d>, interrupt: &'e Interrupt) -> Result<Self> {
        let buckets = database.buckets(interrupt)?;
        Ok(Self { database, interrupt, buckets, appended: Vec::new() })
    }

    fn page_size(&self) -> usize {
        self.database.meta().page_size as usize
    }

    /// Where the bucket is, or belongs.
    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.buckets.binary_search_by(|bucket| bucket.name.as_slice().cmp(name))
    }

    fn bucket(&self, name: &[u8]) -> Result<Bucket<'_>> {
        let at = self.position(name).map_err(|_| missing_bucket(name))?;
        Bucket::parse(&self.buckets[at].value).ok_or_else(|| damaged("a bucket is too short"))
    }

    /// All entries of a small bucket.
    fn entries(&self, name: &[u8]) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut size = 0;
        self.database.walk_bucket(name, self.interrupt, &mut |_, key, value| {
            size += key.len() + value.len();
            if size > SMALL_SIZE_MAX {
                let name = String::from_utf8_lossy(name);
                return Err(damaged(format!("the bucket {name:?} is larger than any etcd has")));
            }
            entries.push((key.to_vec(), value.to_vec(), false));
            Ok(())
        })?;
        Ok(entries)
    }

    /// Gives the bucket `name` these entries and no others.
    fn set_bucket(&mut self, name: &[u8], entries: &[Entry]) -> Result<()> {
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

    /// Appends the page that `write` makes under the number it is given, and returns that.
    fn append(
        &mut self,
        write: impl FnOnce(u64, &dyn Fn(usize) -> Option<u32>) -> Option<Vec<u8>>,
    ) -> Result<u64> {
        let page_size = self.page_size();
        let id = self.next_page();
        let overflow = |size: usize| u32::try_from(size.div_ceil(page_size) - 1).ok();
        let page = write(id, &overflow).ok_or_else(too_many)?;
        self.appended.extend_from_slice(&page);
        self.appended.resize(self.appended.len().next_multiple_of(page_size), 0);
        Ok(id)
    }

    fn next_page(&self) -> u64 {
        self.database.meta().high_water_mark + (self.appended.len() / self.page_size()) as u64
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
        let mut path = self.right_edge(root)?;
        let last = path.pop().ok_or_else(|| damaged("the bucket key has no leaf"))?;
        let new_leaf = {
            let entries = [(revision.to_bytes().to_vec(), Vec::new(), false)];
            self.append(|id, overflow| leaf(id, &entries, overflow))?
        };
        let mut child = (revision.to_bytes().to_vec(), new_leaf);
        if path.is_empty() {
            // The leaf was the root: now both are below a new one, unless the old one is empty.
            if let Some(first_key) = last.first_key {
                let children = [(first_key, last.id), child];
                child = (Vec::new(), self.append(|id, overflow| branch(id, &children, overflow))?);
            }
        }
        // Each branch from the lowest up gets a copy. A branch may have overflow pages, so that none has to be split.
        for (height, Edge { mut children, .. }) in path.into_iter().rev().enumerate() {
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
    fn right_edge(&self, root: u64) -> Result<Vec<Edge>> {
        let mut path = Vec::new();
        let mut id = root;
        loop {
            let mut page = Vec::new();
            let header = self.database.page(id, &mut page)?;
            let edge = Edge::read(&header, &page)
                .ok_or_else(|| damaged(format!("page {id} is no part of a tree")))?;
            let child = edge.children.last().map(|(_, child)| *child);
            path.push(edge);
            match child {
                // The whole tree was walked before: it has no circles.
                Some(child) => id = child,
                None => return Ok(path),
            }
        }
    }

    /// Writes the bucket of all buckets and everything appended, and at last the meta pages.
    fn finish(mut self) -> Result<()> {
        let buckets: Vec<Entry> =
            self.buckets.drain(..).map(|bucket| (bucket.name, bucket.value, true)).collect();
        let root = self.append(|id, overflow| leaf(id, &buckets, overflow))?;
        let old = *self.database.meta();
        let meta = Meta {
            root,
            freelist: NO_FREELIST,
            high_water_mark: self.next_page(),
            transaction: old
                .transaction
                .checked_add(1)
                .ok_or_else(|| damaged("it has no transactions left"))?,
            ..old
        };
        let (Some(end), Some(old_end)) = (meta.database_size(), old.database_size()) else {
            return Err(damaged("it is as long as a database can be"));
        };
        let file = self.database.file();
        let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, at);
        let newer = meta.transaction % 2;
        let older = Meta { transaction: old.transaction, ..meta };
        file.set_len(end)
            .and_then(|()| write(&self.appended, old_end))
            .and_then(|()| write(&older.to_page(1 - newer), (1 - newer) * u64::from(meta.page_size)))
            .and_then(|()| write(&meta.to_page(newer), newer * u64::from(meta.page_size)))
            .map_err(|error| Error::io("write", "the database", error))
    }
}

/// One page of the right edge of a tree.
struct Edge {
    id: u64,
    /// Of a branch.
    children: Vec<(Vec<u8>, u64)>,
    /// Of a leaf with entries.
    first_key: Option<Vec<u8>>,
}

impl Edge {
    fn read(header: &Header, page: &[u8]) -> Option<Self> {
        let mut edge = Self { id: header.id, children: Vec::new(), first_key: None };
        match header.flags {
            BRANCH => {
                for element in branch_elements(page, header.count) {
                    let element = element?;
                    edge.children.push((element.key.to_vec(), element.child));
                }
                (!edge.children.is_empty()).then_some(edge)
            }
            LEAF => {
                if let Some(first) = leaf_elements(page, header.count).next() {
                    edge.first_key = Some(first?.key.to_vec());
                }
                Some(edge)
            }
            _ => None,
        }
    }
}

fn too_many() -> Error {
    damaged("a bucket has more entries than fit in one page of its kind")
}
