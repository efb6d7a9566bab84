//! Reads facts of a database in one pass while it streams by: its newest revision, its last compaction, its members, and what
//! Kubernetes needs to read its values.
//!
//! The pages of a bbolt file come in the order of their numbers, not in that of its trees, and unused pages lie among them.
//! So this check stores a note for each page that passes. After the last page, it follows the notes from the root that the
//! meta pages name. It never uses a page that no branch leads to.
//!
//! - For a leaf or branch of keys, which most pages are, it stores eight bytes: the last revision in it, or its last child.
//!   The keys of etcd ascend with the revision, so the newest one is the last key of the last leaf.
//! - For the same pages, it stores eight bytes for each record that may be of Kubernetes, and four for each child: only the newest
//!   record of a key counts.
//! - For a leaf of buckets, of etcd's own records or of members, or a branch above these, it stores what the page says of
//!   these facts.
//!
//! etcd rewrites the leaf of the root bucket with every commit, and reuses no page while a snapshot is being read: a
//! database may hold ten stale copies of that leaf for each second that a slow backup once took.
//!
//! It does not check whether the trees are sound: [`Database::walk`](super::bolt::Database::walk) does that.

mod awaited;
mod elements;
mod follow;
mod key_pages;
mod note;
mod notes;
mod other_note;

use std::fmt;

use self::awaited::{ArrivedPart, Awaited, AwaitedPart};
use self::elements::{BRANCH_KEY, LEAF_KEY, key_in, key_range};
use self::key_pages::KeyPages;
use self::note::Noted;
use self::notes::Notes;
use self::other_note::is_wanted;
use super::bolt::FirstPages;
use super::bolt::meta::Meta;
use super::bolt::page::{BRANCH, ELEMENT_SIZE, HEADER_SIZE, LEAF, PageHeader};
use super::mvcc::{REVISION_SIZE, Revision, TOMBSTONE_SIZE};

pub use follow::StreamFacts;

/// Why the facts could not be read: the database is damaged, is not one of etcd, or was crafted to exceed the limits of the notes,
/// which no etcd does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads the [`StreamFacts`] of a snapshot, whose bytes it takes in order, in pieces of any size.
#[derive(Default)]
pub struct StreamCheck {
    first: FirstPages,
    /// The number of bytes that have passed.
    position: u64,
    /// The beginning of a page whose end has not arrived.
    partial: Vec<u8>,
    notes: Notes,
    awaited: Awaited,
    keys: KeyPages,
}

impl StreamCheck {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let begin = self.position;
        self.position += bytes.len() as u64;
        if self.first.meta().is_none() && self.first.update(bytes).is_err() {
            return;
        }
        let Some(meta) = self.first.meta().copied() else { return };
        // The meta pages are complete by then, and nothing behind them has been skipped.
        let database = meta.database_size().unwrap_or(0).saturating_sub(begin);
        let bytes = &bytes[..usize::try_from(database).unwrap_or(usize::MAX).min(bytes.len())];
        self.pages(begin, bytes, &meta);
        while let Some(arrived) = self.awaited.next_arrived(begin, bytes) {
            self.arrived(&arrived, meta.root);
        }
    }

    /// Reads every page that ends in `bytes`, which begin at `begin`.
    fn pages(&mut self, begin: u64, bytes: &[u8], meta: &Meta) {
        let page_size = meta.page_size as usize;
        let mut rest = bytes;
        // The rest of the meta pages, or of a page that was read in part.
        let mut position = begin;
        let data_begin = 2 * page_size as u64;
        if position < data_begin {
            let skipped = usize::try_from(data_begin - position).unwrap_or(usize::MAX).min(rest.len());
            rest = &rest[skipped..];
            position += skipped as u64;
        }
        if !self.partial.is_empty() {
            let missing = (page_size - self.partial.len()).min(rest.len());
            self.partial.extend_from_slice(&rest[..missing]);
            (rest, position) = (&rest[missing..], position + missing as u64);
            if self.partial.len() == page_size {
                let page = std::mem::take(&mut self.partial);
                self.page(position / page_size as u64 - 1, &page, meta);
            }
        }
        let pages = rest.chunks_exact(page_size);
        let remainder = pages.remainder();
        for page in pages {
            self.page(position / page_size as u64, page, meta);
            position += page_size as u64;
        }
        self.partial.extend_from_slice(remainder);
    }

    /// Reads a page, which may be the first of a page with overflow.
    fn page(&mut self, id: u64, page: &[u8], meta: &Meta) {
        let Some(header) = PageHeader::parse(page).filter(|header| header.id == id) else { return };
        let noted = match header.flags {
            LEAF if header.count == 0 => Noted::EmptyLeaf,
            LEAF => self.leaf(header, page, meta),
            BRANCH if header.count > 0 => self.branch(header, page, meta),
            _ => Noted::Nothing,
        };
        self.notes.set(id, &noted);
    }

    fn leaf(&mut self, header: PageHeader, page: &[u8], meta: &Meta) -> Noted {
        let Some(first) = key_in(page, 0, LEAF_KEY) else {
            // Keys begin behind the elements. bbolt splits a leaf long before elements fill a page.
            return Noted::Nothing;
        };
        if Revision::parse(first).is_none() {
            if is_wanted(header, page) || header.id == meta.root {
                self.note_other(header, page, meta);
            }
            return Noted::Nothing;
        }
        self.keys.leaf(header, page, &mut self.awaited);
        let last = usize::from(header.count) - 1;
        let Some(range) = key_range(page, last, LEAF_KEY) else { return Noted::Nothing };
        if ![REVISION_SIZE, TOMBSTONE_SIZE].contains(&range.len()) {
            return Noted::Nothing;
        }
        let Some(key) = page.get(range.clone()) else {
            self.awaited.part(header, page, range, AwaitedPart::LastKey);
            return Noted::Nothing;
        };
        Noted::keys(key)
    }

    fn branch(&mut self, header: PageHeader, page: &[u8], meta: &Meta) -> Noted {
        // A branch with so many elements that its first key is in an overflow page is one of keys: no other bucket is so
        // large.
        let of_keys = key_in(page, 0, BRANCH_KEY).is_none_or(|key| Revision::parse(key).is_some());
        if !of_keys {
            self.note_other(header, page, meta);
            return Noted::Nothing;
        }
        self.keys.branch(header, page, &mut self.awaited);
        let last = HEADER_SIZE + (usize::from(header.count) - 1) * ELEMENT_SIZE;
        let range = last..last + ELEMENT_SIZE;
        let Some(element) = page.get(range.clone()) else {
            self.awaited.part(header, page, range, AwaitedPart::LastElement);
            return Noted::Nothing;
        };
        Noted::branch(element)
    }

    /// Stores the note of a page that is neither a leaf nor a branch of keys, once the page is complete.
    fn note_other(&mut self, header: PageHeader, page: &[u8], meta: &Meta) {
        let is_root = header.id == meta.root;
        if header.overflow == 0 {
            self.notes.set_other(header.id, page, is_root);
        } else {
            self.awaited.whole(header, page, is_root);
        }
    }

    /// Stores the note of a page whose awaited part has arrived.
    fn arrived(&mut self, ArrivedPart { page, part, bytes }: &ArrivedPart, root: u64) {
        match *part {
            AwaitedPart::LastKey => self.notes.set(*page, &Noted::keys(bytes)),
            AwaitedPart::LastElement => self.notes.set(*page, &Noted::branch(bytes)),
            AwaitedPart::Pair { record, deletion } => self.keys.pair(record, bytes, deletion),
            AwaitedPart::Children { from } => self.keys.children(from, bytes),
            AwaitedPart::Whole => self.notes.set_other(*page, bytes, *page == root),
        }
    }

    /// Follows the notes from the root.
    ///
    /// # Errors
    /// [`Unreadable`], where they lack what every database of etcd has.
    pub fn finish(mut self) -> Result<StreamFacts, Unreadable> {
        let meta = self.first.meta().ok_or_else(|| Unreadable("its meta pages are missing".to_owned()))?;
        self.notes.facts(meta.root, &mut self.keys).map_err(Unreadable)
    }
}

#[cfg(test)]
mod tests;
