//! Reads facts of a database in one pass while it streams by: its newest revision, its last compaction and its members.
//!
//! The pages of a bbolt file come in the order of their numbers, not in that of its trees, and unused pages lie among them.
//! So this check stores a note for each page that passes. After the last page, it follows the notes from the root that the
//! meta pages name. It never uses a page that no branch leads to.
//!
//! - For a leaf or branch of keys, which most pages are, it stores eight bytes: the last revision in it, or its last child.
//!   The keys of etcd ascend with the revision, so the newest one is the last key of the last leaf.
//! - For a leaf of buckets, of etcd's own records or of members, or a branch above these, it stores what the page says of
//!   these facts.
//!
//! etcd rewrites the leaf of the root bucket with every commit, and reuses no page while a snapshot is being read: a
//! database may hold ten stale copies of that leaf for each second that a slow backup once took.
//!
//! It does not check whether the trees are sound: [`Database::walk`](super::bolt::Database::walk) does that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::bolt::meta::Meta;
use super::bolt::page::{
    BRANCH, Bucket, ELEMENT_SIZE, HEADER_SIZE, Header, LEAF, LeafElement, branch_elements, leaf_elements,
};
use super::bolt::{DEPTH_MAX, FirstPages};
use super::member::MEMBERS_MAX;
use super::mvcc::{FINISHED_COMPACTION, KEY_BUCKET, META_BUCKET, Revision, SCHEDULED_COMPACTION};

/// The bucket of members: the id in hexadecimal, and JSON (`membership/store.go` in etcd).
const MEMBERS_BUCKET: &[u8] = b"members";
/// Pages that have a note of their own, eight bytes each: those of 8 GiB at the usual 4 KiB a page, the largest database
/// that etcd recommends. Of the pages behind them, the branches and the newest leaves have one, up to the two limits below.
const NOTES_MAX: usize = 2 << 20;
/// The most branches and empty leaves behind those pages: the number in a database of 256 GiB.
const FAR_NOTES_MAX: usize = 1 << 17;
/// The most leaves of keys behind those pages. No stale leaf holds a newer key than the last leaf.
const FAR_LEAVES_MAX: usize = 1 << 12;
/// The most bytes of the notes of leaves of buckets. An hour of stale copies takes less.
const BUCKETS_SIZE_MAX: usize = 12 << 20;
/// The most bytes of all other notes. etcd rewrites such pages only when its members change.
const OTHERS_SIZE_MAX: usize = 4 << 20;
/// The largest page that can have such a note, overflow included.
const NOTED_PAGE_SIZE_MAX: usize = 1 << 20;
/// The most bytes of all pages that will have such a note and have not passed as a whole.
const UNFINISHED_SIZE_MAX: usize = 4 << 20;
/// The most parts of pages in overflow pages that are awaited at the same time.
const WAITING_MAX: usize = 1 << 14;
/// Pages that are still to be visited at most, while a tree of buckets, of etcd's own records or of members is followed. Each
/// of those has a page or two.
const CHILDREN_MAX: usize = 1 << 16;
/// Bytes of a key of the bucket `key`, without the mark of a deletion.
const REVISION_SIZE: usize = 17;

/// Facts that a database states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The newest revision: that of the last write, or of a compaction if that is newer. 1 in an empty etcd.
    pub revision: i64,
    /// The last compaction, done or requested.
    pub compacted: Option<i64>,
    /// The ids of its members, ascending.
    pub members: Vec<u64>,
}

/// Why the facts could not be read: the database is damaged, is not one of etcd, or was crafted to exceed the limits above,
/// which no etcd does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads the [`Facts`] of a snapshot, whose bytes it takes in order, in pieces of any size.
#[derive(Default)]
pub struct StreamCheck {
    first: FirstPages,
    /// The number of bytes that have passed.
    position: u64,
    /// The beginning of a page whose end has not arrived.
    partial: Vec<u8>,
    /// The notes of the pages, by page number.
    notes: Vec<Note>,
    /// The notes of the branches and empty leaves behind the first [`NOTES_MAX`] pages.
    far_notes: HashMap<u64, Note>,
    /// The newest leaves of keys behind those pages: the last revision and the page number.
    far_leaves: BTreeSet<(i64, u64)>,
    /// The notes of pages that need more than eight bytes, by page number.
    other_notes: HashMap<u64, OtherNote>,
    buckets_size: usize,
    others_size: usize,
    /// Awaited bytes of overflow pages, by their position and the page to which they belong.
    waiting: BTreeMap<(u64, u64), Awaited>,
    unfinished_size: usize,
}

/// A note that needs more than eight bytes.
enum OtherNote {
    /// The children of a branch.
    Children(Vec<u64>),
    /// A leaf of buckets: the places of those of keys, of etcd's own records and of members, if they are in it.
    Buckets(Vec<(Named, Place)>),
    /// A leaf of etcd's own records: the last compaction.
    Compaction(Option<i64>),
    /// A leaf of members: their ids.
    Members(Vec<u64>),
}

/// A bucket that this check uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Keys,
    Records,
    Members,
}

/// The place of a bucket's entries.
enum Place {
    /// In a tree with this root.
    Tree(u64),
    /// Inline, for the bucket of keys: the last revision.
    Revision(Option<i64>),
    /// Inline, for another bucket.
    Inline(OtherNote),
}

impl Named {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            KEY_BUCKET => Some(Self::Keys),
            META_BUCKET => Some(Self::Records),
            MEMBERS_BUCKET => Some(Self::Members),
            _ => None,
        }
    }
}

impl OtherNote {
    /// The approximate number of bytes it takes.
    fn size(&self) -> usize {
        // The table of a hash map is less than half full after it has grown, and grows beside the old one.
        3 * size_of::<(u64, Self)>() + self.size_on_heap()
    }

    fn size_on_heap(&self) -> usize {
        /// What an allocation takes beside its bytes.
        const HEADER_SIZE: usize = 16;
        let bytes = match self {
            Self::Children(numbers) | Self::Members(numbers) => numbers.capacity() * size_of::<u64>(),
            Self::Buckets(buckets) => {
                let inline = buckets.iter().map(|(_, place)| match place {
                    Place::Inline(note) => note.size_on_heap(),
                    Place::Tree(_) | Place::Revision(_) => 0,
                });
                buckets.capacity() * size_of::<(Named, Place)>() + inline.sum::<usize>()
            }
            Self::Compaction(_) => return 0,
        };
        HEADER_SIZE + bytes
    }

    /// The note for a complete branch, or a complete leaf that holds no keys.
    fn of(page: &[u8]) -> Option<Self> {
        let header = Header::parse(page)?;
        if header.flags == BRANCH {
            let children = branch_elements(page, header.count).map(|element| Some(element?.child));
            return children.collect::<Option<_>>().map(Self::Children);
        }
        let elements: Vec<LeafElement<'_>> = leaf_elements(page, header.count).collect::<Option<_>>()?;
        if elements.iter().any(|element| element.bucket) {
            let named = elements.iter().filter_map(|element| Some((Named::of(element.key)?, element.value)));
            let buckets = named.map(|(named, value)| Some((named, Place::of(named, value)?)));
            return buckets.collect::<Option<_>>().map(Self::Buckets);
        }
        let members: Option<Vec<u64>> = elements.iter().map(|element| member_id(element.key)).collect();
        Some(
            members
                .filter(|members| !members.is_empty())
                .map_or_else(|| Self::Compaction(compaction(&elements)), Self::Members),
        )
    }
}

impl Place {
    fn of(named: Named, bucket: &[u8]) -> Option<Self> {
        let page = match Bucket::parse(bucket)? {
            Bucket::Tree { root, .. } => return Some(Self::Tree(root)),
            Bucket::Inline { page, .. } => page,
        };
        let header = Header::parse(page).filter(|header| header.flags == LEAF)?;
        if named != Named::Keys {
            return OtherNote::of(page).map(Self::Inline);
        }
        match leaf_elements(page, header.count).last() {
            None => Some(Self::Revision(None)),
            Some(last) => revision(last?.key).map(Some).map(Self::Revision),
        }
    }
}

/// The last compaction, done or requested.
fn compaction(records: &[LeafElement<'_>]) -> Option<i64> {
    let compactions =
        records.iter().filter(|record| [SCHEDULED_COMPACTION, FINISHED_COMPACTION].contains(&record.key));
    compactions.filter_map(|record| revision(record.value)).max()
}

/// A note of eight bytes: two bits for the kind, and a number.
#[derive(Clone, Copy, Default)]
struct Note(u64);

/// A [`Note`], unpacked.
enum Noted {
    Nothing,
    /// A leaf without elements.
    EmptyLeaf,
    /// A leaf of keys, and the revision of its last key.
    Keys(i64),
    /// A branch above leaves of keys, and its last child.
    Branch(u64),
}

impl Note {
    const SHIFT: u32 = 62;

    fn new(noted: &Noted) -> Self {
        let (kind, number) = match noted {
            Noted::Nothing => (0, 0),
            Noted::EmptyLeaf => (1, 0),
            Noted::Keys(revision) => (2, revision.cast_unsigned()),
            Noted::Branch(child) => (3, *child),
        };
        // No valid number is as large.
        if number >> Self::SHIFT == 0 { Self(kind << Self::SHIFT | number) } else { Self(0) }
    }

    fn get(self) -> Noted {
        let number = self.0 & !(3 << Self::SHIFT);
        match self.0 >> Self::SHIFT {
            1 => Noted::EmptyLeaf,
            2 => Noted::Keys(number.cast_signed()),
            3 => Noted::Branch(number),
            _ => Noted::Nothing,
        }
    }
}

/// Bytes that have not arrived yet.
struct Awaited {
    what: Part,
    bytes: Vec<u8>,
    size: usize,
}

/// The part of a page that is awaited.
enum Part {
    /// The last key of a leaf of keys.
    LastKey,
    /// The last element of a branch.
    LastElement,
    /// All of a page that needs an [`OtherNote`].
    Whole,
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
        self.arrive(begin, bytes, &meta);
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
        let Some(header) = Header::parse(page).filter(|header| header.id == id) else { return };
        let noted = match header.flags {
            LEAF if header.count == 0 => Noted::EmptyLeaf,
            LEAF => self.leaf(header, page, meta),
            BRANCH if header.count > 0 => self.branch(header, page, meta),
            _ => Noted::Nothing,
        };
        self.note(id, &noted);
    }

    fn note(&mut self, id: u64, noted: &Noted) {
        match (usize::try_from(id), noted) {
            (Ok(at), Noted::Nothing) if at >= self.notes.len() => {}
            (Ok(at), _) if at < NOTES_MAX => {
                if at >= self.notes.len() {
                    self.notes.resize(at + 1, Note::default());
                }
                self.notes[at] = Note::new(noted);
            }
            (_, Noted::Nothing) => {}
            (_, Noted::Keys(revision)) => {
                self.far_leaves.insert((*revision, id));
                if self.far_leaves.len() > FAR_LEAVES_MAX {
                    self.far_leaves.pop_first();
                }
            }
            _ if self.far_notes.len() < FAR_NOTES_MAX => drop(self.far_notes.insert(id, Note::new(noted))),
            _ => {}
        }
    }

    fn noted(&self, id: u64) -> Noted {
        let near = usize::try_from(id).ok().filter(|at| *at < NOTES_MAX);
        if let Some(at) = near {
            return self.notes.get(at).map_or(Noted::Nothing, |note| note.get());
        }
        let leaf = self.far_leaves.iter().rev().find(|(_, leaf)| *leaf == id);
        let branch = || self.far_notes.get(&id).map_or(Noted::Nothing, |note| note.get());
        leaf.map_or_else(branch, |(revision, _)| Noted::Keys(*revision))
    }

    fn leaf(&mut self, header: Header, page: &[u8], meta: &Meta) -> Noted {
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
        let last = usize::from(header.count) - 1;
        let Some((position, size)) = key_range(page, last, LEAF_KEY) else { return Noted::Nothing };
        if size != REVISION_SIZE && size != REVISION_SIZE + 1 {
            return Noted::Nothing;
        }
        let Some(key) = page.get(position..position + size) else {
            self.wait(header, position, size, Part::LastKey, meta);
            return Noted::Nothing;
        };
        keys_noted(key)
    }

    fn branch(&mut self, header: Header, page: &[u8], meta: &Meta) -> Noted {
        // A branch with so many elements that its first key is in an overflow page is one of keys: no other bucket is so
        // large.
        let of_keys = key_in(page, 0, BRANCH_KEY).is_none_or(|key| Revision::parse(key).is_some());
        if !of_keys {
            self.note_other(header, page, meta);
            return Noted::Nothing;
        }
        let last = HEADER_SIZE + (usize::from(header.count) - 1) * ELEMENT_SIZE;
        let Some(element) = page.get(last..last + ELEMENT_SIZE) else {
            self.wait(header, last, ELEMENT_SIZE, Part::LastElement, meta);
            return Noted::Nothing;
        };
        child_noted(element)
    }

    /// Stores the note of a page that is neither a leaf nor a branch of keys, once the page is complete. There is always
    /// room for the root.
    fn note_other(&mut self, header: Header, page: &[u8], meta: &Meta) {
        let size = (header.overflow as usize + 1).saturating_mul(page.len());
        if header.overflow == 0 {
            self.put_other_note(header.id, page, meta);
        } else if size <= NOTED_PAGE_SIZE_MAX
            && (self.unfinished_size + size <= UNFINISHED_SIZE_MAX || header.id == meta.root)
        {
            self.unfinished_size += size;
            let at = (header.id + 1) * page.len() as u64;
            self.waiting.insert((at, header.id), Awaited { what: Part::Whole, bytes: page.to_vec(), size });
        }
    }

    fn put_other_note(&mut self, id: u64, page: &[u8], meta: &Meta) {
        let Some(note) = OtherNote::of(page) else { return };
        let (sum, limit) = match note {
            OtherNote::Buckets(_) => (&mut self.buckets_size, BUCKETS_SIZE_MAX),
            _ => (&mut self.others_size, OTHERS_SIZE_MAX),
        };
        let size = note.size();
        if *sum + size <= limit || id == meta.root {
            *sum += size;
            self.other_notes.insert(id, note);
        }
    }

    /// Awaits `size` bytes at `position` in a page, behind its first page.
    fn wait(&mut self, header: Header, position: usize, size: usize, what: Part, meta: &Meta) {
        let page_size = meta.page_size as usize;
        let inside =
            position.saturating_add(size) <= (header.overflow as usize + 1).saturating_mul(page_size);
        if !inside || self.waiting.len() >= WAITING_MAX {
            return;
        }
        let at = header.id * u64::from(meta.page_size) + position as u64;
        self.waiting.insert((at, header.id), Awaited { what, bytes: Vec::with_capacity(size), size });
    }

    /// Takes the awaited bytes out of `bytes`, which begin at `begin`.
    fn arrive(&mut self, begin: u64, bytes: &[u8], meta: &Meta) {
        let end = begin + bytes.len() as u64;
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 < end) {
            let ((at, id), mut awaited) = entry.remove_entry();
            let available = at.checked_sub(begin).and_then(|from| bytes.get(usize::try_from(from).ok()?..));
            let Some(available) = available else { continue };
            let taken = available.len().min(awaited.size - awaited.bytes.len());
            awaited.bytes.extend_from_slice(&available[..taken]);
            if awaited.bytes.len() < awaited.size {
                self.waiting.insert((at + taken as u64, id), awaited);
                continue;
            }
            match awaited.what {
                Part::LastKey => self.note(id, &keys_noted(&awaited.bytes)),
                Part::LastElement => self.note(id, &child_noted(&awaited.bytes)),
                Part::Whole => {
                    self.unfinished_size -= awaited.size;
                    self.put_other_note(id, &awaited.bytes, meta);
                }
            }
        }
    }

    /// Follows the notes from the root.
    ///
    /// # Errors
    /// [`Unreadable`], where they lack what every database of etcd has.
    pub fn finish(self) -> Result<Facts, Unreadable> {
        self.facts().map_err(Unreadable)
    }

    fn facts(&self) -> Result<Facts, String> {
        let meta = self.first.meta().ok_or("its meta pages are missing")?;
        let mut buckets = Vec::new();
        self.leaves(meta.root, &mut |leaf| {
            if let OtherNote::Buckets(found) = leaf {
                // Three names matter; the first of each does.
                for entry in found {
                    if !buckets.iter().any(|(named, _): &&(Named, Place)| *named == entry.0) {
                        buckets.push(entry);
                    }
                }
            }
        })?;
        let bucket =
            |wanted: Named| buckets.iter().find(|(named, _)| *named == wanted).map(|(_, place)| place);
        let last = self.last_revision(bucket(Named::Keys).ok_or("it has no bucket \"key\"")?)?;
        let mut compacted = None;
        self.leaves_of(bucket(Named::Records).ok_or("it has no bucket \"meta\"")?, &mut |leaf| {
            if let OtherNote::Compaction(found) = leaf {
                compacted = compacted.max(*found);
            }
        })?;
        let mut members = Vec::new();
        if let Some(place) = bucket(Named::Members) {
            self.leaves_of(place, &mut |leaf| {
                if let OtherNote::Members(found) = leaf {
                    let room = (MEMBERS_MAX + 1).saturating_sub(members.len());
                    members.extend(found.iter().take(room));
                }
            })?;
        }
        if members.len() > MEMBERS_MAX {
            return Err("it has more members than any cluster".to_owned());
        }
        members.sort_unstable();
        Ok(Facts { revision: last.max(compacted).unwrap_or(0).max(1), compacted, members })
    }

    /// The revision of the last key in the bucket of keys.
    fn last_revision(&self, keys: &Place) -> Result<Option<i64>, String> {
        let mut id = match keys {
            Place::Tree(root) => *root,
            Place::Revision(last) => return Ok(*last),
            Place::Inline(_) => return Err("its bucket \"key\" holds no keys".to_owned()),
        };
        for _ in 0..=DEPTH_MAX {
            match self.noted(id) {
                Noted::Keys(revision) => return Ok(Some(revision)),
                Noted::Branch(child) => id = child,
                Noted::EmptyLeaf => return Ok(None),
                Noted::Nothing => {
                    return Err(format!("page {id}, in the tree of its keys, is not part of one"));
                }
            }
        }
        Err("the tree of its keys is deeper than any of bbolt".to_owned())
    }

    /// Passes the leaves of a small bucket to `take`.
    fn leaves_of<'a>(&'a self, place: &'a Place, take: &mut dyn FnMut(&'a OtherNote)) -> Result<(), String> {
        match place {
            Place::Tree(root) => return self.leaves(*root, take),
            Place::Inline(leaf) => take(leaf),
            Place::Revision(_) => {}
        }
        Ok(())
    }

    /// Passes the leaves of a tree that is not of keys to `take`.
    fn leaves<'a>(&'a self, root: u64, take: &mut dyn FnMut(&'a OtherNote)) -> Result<(), String> {
        let mut next = vec![root];
        // No page is the child of two, so there are no more children than notes: what is kept here is bounded by them.
        let mut left = self.other_notes.len();
        while let Some(id) = next.pop() {
            let Some(note) = self.other_notes.get(&id) else {
                match self.noted(id) {
                    Noted::EmptyLeaf => continue,
                    _ => return Err(format!("page {id} is not what the page above it says")),
                }
            };
            left = left.checked_sub(1).ok_or("its pages lead in a circle")?;
            match note {
                OtherNote::Children(children) if next.len() + children.len() > CHILDREN_MAX => {
                    return Err(format!("page {id} has more children than there can be"));
                }
                OtherNote::Children(children) => next.extend(children.iter().rev()),
                leaf => take(leaf),
            }
        }
        Ok(())
    }
}

/// The offsets of the position and the size of the key in an element of a leaf.
const LEAF_KEY: (usize, usize) = (4, 8);
/// The same for an element of a branch.
const BRANCH_KEY: (usize, usize) = (0, 4);

/// Position and size of the key of an element, if that element is in `page`.
fn key_range(page: &[u8], index: usize, (position, size): (usize, usize)) -> Option<(usize, usize)> {
    let at = HEADER_SIZE + index * ELEMENT_SIZE;
    let number = |offset: usize| {
        let bytes = page.get(at + offset..at + offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    Some((at.checked_add(number(position)?)?, number(size)?))
}

/// The key of an element, if it is in `page`.
fn key_in(page: &[u8], index: usize, place: (usize, usize)) -> Option<&[u8]> {
    let (position, size) = key_range(page, index, place)?;
    page.get(position..position.checked_add(size)?)
}

fn revision(key: &[u8]) -> Option<i64> {
    Revision::parse(key).map(|(revision, _)| revision.main)
}

fn keys_noted(last_key: &[u8]) -> Noted {
    revision(last_key).map_or(Noted::Nothing, Noted::Keys)
}

/// The page number is the second half of an element of a branch.
fn child_noted(element: &[u8]) -> Noted {
    let child = element.last_chunk().map(|child| u64::from_le_bytes(*child));
    child.map_or(Noted::Nothing, Noted::Branch)
}

/// Whether a leaf may be one of the few that this check uses: it holds buckets, etcd's own records, or members.
fn is_wanted(header: Header, page: &[u8]) -> bool {
    /// `bucketLeafFlag` of bbolt, as the first byte of an element's flags.
    const IS_BUCKET: u8 = 1;
    let first_is_bucket = page.get(HEADER_SIZE).is_some_and(|flags| flags & IS_BUCKET != 0);
    let mut keys = (0..usize::from(header.count)).map_while(|index| key_in(page, index, LEAF_KEY));
    first_is_bucket
        || keys.any(|key| {
            member_id(key).is_some()
                || [SCHEDULED_COMPACTION, FINISHED_COMPACTION, b"consistent_index"].contains(&key)
        })
}

/// Parses a member's id as etcd writes it in a key: `strconv.FormatUint(id, 16)`.
fn member_id(key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(key).ok()?;
    let canonical = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::bolt::meta::NO_FREELIST;
    use crate::database::bolt::page::{Entry, branch, leaf};

    const PAGE_SIZE: usize = 4096;

    /// A database with these pages; all others are zeros.
    fn database(root: u64, pages: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let end =
            |(id, page): &(u64, Vec<u8>)| usize::try_from(*id).unwrap() + page.len().div_ceil(PAGE_SIZE);
        let high_water_mark = pages.iter().map(end).max().unwrap();
        let mut bytes = vec![0; high_water_mark * PAGE_SIZE];
        let meta = Meta {
            page_size: u32::try_from(PAGE_SIZE).unwrap(),
            flags: 0,
            root,
            root_sequence: 0,
            freelist: NO_FREELIST,
            high_water_mark: high_water_mark as u64,
            transaction: 7,
        };
        let metas = [(0, meta.to_page(0).to_vec()), (1, Meta { transaction: 6, ..meta }.to_page(1).to_vec())];
        for (id, page) in metas.iter().chain(pages) {
            let at = usize::try_from(*id).unwrap() * PAGE_SIZE;
            bytes[at..at + page.len()].copy_from_slice(page);
        }
        bytes
    }

    fn overflow(size: usize) -> Option<u32> {
        u32::try_from(size.div_ceil(PAGE_SIZE) - 1).ok()
    }

    fn key(main: i64) -> Vec<u8> {
        Revision { main, sub: 0 }.to_bytes().to_vec()
    }

    fn keys(id: u64, revisions: &[i64], value_size: usize) -> (u64, Vec<u8>) {
        let entries: Vec<Entry> =
            revisions.iter().map(|main| (key(*main), vec![1; value_size], false)).collect();
        (id, leaf(id, &entries, overflow).unwrap())
    }

    fn branch_of(id: u64, children: &[(i64, u64)]) -> (u64, Vec<u8>) {
        let children: Vec<(Vec<u8>, u64)> =
            children.iter().map(|(main, child)| (key(*main), *child)).collect();
        (id, branch(id, &children, overflow).unwrap())
    }

    /// The leaf of the root bucket, with a bucket of keys that is a tree, two members and a compaction at 5.
    fn root(id: u64, keys: u64) -> (u64, Vec<u8>) {
        let inline = |name: &[u8], entries: &[Entry]| {
            (name.to_vec(), Bucket::inline(&leaf(0, entries, |_| Some(0)).unwrap(), 0), true)
        };
        let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec(), false);
        let compaction = Revision { main: 5, sub: 0 }.to_bytes();
        let buckets = [
            (KEY_BUCKET.to_vec(), Bucket::tree(keys, 0), true),
            inline(MEMBERS_BUCKET, &[entry(b"8e9e05c52164694d", b"{}"), entry(b"a", b"{}")]),
            inline(META_BUCKET, &[entry(FINISHED_COMPACTION, &compaction)]),
        ];
        (id, leaf(id, &buckets, overflow).unwrap())
    }

    fn read(database: &[u8], piece: usize) -> Result<Facts, Unreadable> {
        let mut check = StreamCheck::default();
        database.chunks(piece).for_each(|piece| check.update(piece));
        check.finish()
    }

    fn expected(revision: i64) -> Facts {
        Facts { revision, compacted: Some(5), members: vec![0xa, 0x8e9e_05c5_2164_694d] }
    }

    #[test]
    fn facts_are_read_in_pieces_of_any_size() {
        let pages = [
            root(9, 3),
            branch_of(3, &[(1, 5), (100, 4)]),
            keys(4, &[100, 101], 10),
            keys(5, &[1, 2, 99], 10),
        ];
        let database = [database(9, &pages), vec![0xFF; 32]].concat();
        for piece in [1, 7, 80, 4095, 4096, 4097, 10_000, usize::MAX] {
            assert_eq!(read(&database, piece), Ok(expected(101)), "pieces of {piece}");
        }
    }

    #[test]
    fn what_the_tree_does_not_reach_is_not_believed() {
        let pages = [
            root(2, 3),
            keys(3, &[7, 8], 10),
            // Unused leaves, and one within the value of the leaf before it.
            keys(4, &[900], 10),
            keys(5, &[6], 3 * PAGE_SIZE),
            keys(6, &[901], 10),
        ];
        assert_eq!(read(&database(2, &pages), 5000), Ok(expected(8)));
    }

    #[test]
    fn the_last_key_may_lie_in_an_overflow_page_that_another_page_claims() {
        // An unused page claims a page that the tree uses.
        let stale = keys(3, &[1, 2], 5 * PAGE_SIZE);
        let stale = (3, stale.1[..PAGE_SIZE].to_vec());
        for piece in [1000, 4096, 9000, 1 << 20] {
            let pages = [stale.clone(), root(4, 5), keys(5, &[20, 21, 22], 2 * PAGE_SIZE)];
            assert_eq!(read(&database(4, &pages), piece), Ok(expected(22)));
        }
    }

    #[test]
    fn a_branch_may_have_overflow_pages() {
        let children: Vec<(i64, u64)> =
            (0..400).map(|number| (number * 10 + 1, 5)).chain([(9000, 6)]).collect();
        let branch = branch_of(7, &children);
        assert!(branch.1.len() > 3 * PAGE_SIZE);
        let pages = [root(2, 7), keys(5, &[1], 1), keys(6, &[9000, 9001], 1), branch];
        for piece in [1000, 4096, 1 << 20] {
            assert_eq!(read(&database(2, &pages), piece), Ok(expected(9001)));
        }
    }

    #[test]
    fn the_buckets_may_be_a_tree() {
        let (_, all) = root(2, 3);
        let entries: Vec<Entry> = leaf_elements(&all, 3)
            .map(|element| {
                element.map(|element| (element.key.to_vec(), element.value.to_vec(), true)).unwrap()
            })
            .collect();
        let children = [(b"key".to_vec(), 5), (b"meta".to_vec(), 4)];
        let pages = [
            (2, branch(2, &children, overflow).unwrap()),
            keys(3, &[7], 10),
            (4, leaf(4, &entries[2..], overflow).unwrap()),
            (5, leaf(5, &entries[..2], overflow).unwrap()),
        ];
        assert_eq!(read(&database(2, &pages), 4096), Ok(expected(7)));
    }

    #[test]
    fn a_compaction_may_be_newer_than_the_last_write() {
        let empty = (3, leaf(3, &[], overflow).unwrap());
        assert_eq!(read(&database(2, &[root(2, 3), empty]), 4096), Ok(expected(5)));
        assert_eq!(read(&database(2, &[root(2, 3), keys(3, &[4], 1)]), 4096), Ok(expected(5)));
    }

    #[test]
    fn what_leads_nowhere_is_said() {
        let why = |root_page: u64, pages: &[(u64, Vec<u8>)]| {
            read(&database(root_page, pages), 4096).unwrap_err().to_string()
        };
        insta::assert_snapshot!(why(2, &[root(2, 3), keys(4, &[1], 1)]), @"page 3, in the tree of its keys, is not part of one");
        insta::assert_snapshot!(why(3, &[root(2, 3), keys(4, &[1], 1)]), @"page 3 is not what the page above it says");
        insta::assert_snapshot!(why(2, &[root(2, 3), branch_of(3, &[(1, 3)])]), @"the tree of its keys is deeper than any of bbolt");
        insta::assert_snapshot!(why(2, &[(2, leaf(2, &[], overflow).unwrap())]), @r#"it has no bucket "key""#);
        let circle = (2, branch(2, &[(b"key".to_vec(), 2)], overflow).unwrap());
        insta::assert_snapshot!(why(2, &[circle]), @"its pages lead in a circle");
        insta::assert_snapshot!(read(b"short", 4096).unwrap_err(), @"its meta pages are missing");
        insta::assert_snapshot!(read(&[7; 9000], 100).unwrap_err(), @"its meta pages are missing");
    }

    #[test]
    fn stale_copies_of_the_root_do_no_harm() {
        let mut pages = vec![keys(2, &[20], 10)];
        pages.extend((3..9000).map(|id| root(id, 2)));
        let mut check = StreamCheck::default();
        check.update(&database(8999, &pages));
        assert!(check.buckets_size < BUCKETS_SIZE_MAX / 2, "{}", check.buckets_size);
        assert_eq!(check.finish(), Ok(expected(20)));
    }

    #[test]
    fn there_is_always_room_for_the_root() {
        let pages = [keys(2, &[20], 10), root(3, 2)];
        let mut check = StreamCheck { buckets_size: BUCKETS_SIZE_MAX, ..StreamCheck::default() };
        check.update(&database(3, &pages));
        assert_eq!(check.finish(), Ok(expected(20)));
    }

    #[test]
    fn pages_far_behind_are_followed_too() {
        let first = NOTES_MAX as u64;
        let mut check = StreamCheck::default();
        check.note(first, &Noted::Branch(first + 3));
        check.note(first + 1, &Noted::EmptyLeaf);
        check.note(first + 2, &Noted::Keys(900));
        check.note(first + 3, &Noted::Keys(20));
        check.note(first + 4, &Noted::Nothing);
        assert!(check.notes.is_empty());
        assert_eq!(check.last_revision(&Place::Tree(first)), Ok(Some(20)));
        assert_eq!(check.last_revision(&Place::Tree(first + 1)), Ok(None));
        assert!(check.last_revision(&Place::Tree(first + 4)).is_err());
        (0..2 * FAR_LEAVES_MAX as u64).for_each(|id| check.note(first + 10 + id, &Noted::Keys(10)));
        assert_eq!(check.far_leaves.len(), FAR_LEAVES_MAX);
        assert_eq!(check.last_revision(&Place::Tree(first)), Ok(Some(20)));
    }

    #[test]
    fn memory_is_bounded_whatever_the_pages_claim() {
        let mut check = StreamCheck::default();
        let entry = |key: &[u8]| [(key.to_vec(), Vec::new(), false)];
        // Pages that look relevant, and pages whose last key is far away.
        let pages: Vec<(u64, Vec<u8>)> = (2..6000)
            .map(|id| {
                let mut page = match id % 2 {
                    0 => leaf(id, &entry(b"consistent_index"), |_| Some(200)).unwrap(),
                    _ => keys(id, &[1, 2], 2000).1,
                };
                page[12..16].copy_from_slice(&200_u32.to_le_bytes());
                if id % 2 == 1 {
                    // The offset of the second key.
                    page[36..40].copy_from_slice(&700_000_u32.to_le_bytes());
                }
                (id, page)
            })
            .collect();
        check.update(&database(2, &pages));
        assert!(check.unfinished_size <= UNFINISHED_SIZE_MAX, "{}", check.unfinished_size);
        assert!(check.waiting.len() <= WAITING_MAX + UNFINISHED_SIZE_MAX / PAGE_SIZE);
        assert!(check.notes.len() <= NOTES_MAX);
        check.finish().unwrap_err();
    }

    /// Each page below is its own child so often that following it takes more memory each time.
    #[test]
    fn a_tree_that_leads_in_a_circle_is_refused_in_little_memory() {
        let children: Vec<(Vec<u8>, u64)> =
            (0..150_u64).map(|at| (format!("b{at:03}").into_bytes(), 2)).collect();
        let circle = |id: u64| (id, branch(id, &children, overflow).unwrap());
        let pages: Vec<(u64, Vec<u8>)> = (1..1000).map(|at| circle(2 * at)).collect();
        let error = read(&database(2, &pages), 1 << 20).unwrap_err();
        assert!(error.to_string().contains("more children than there can be"), "{error}");
    }

    #[test]
    fn no_cluster_has_so_many_members() {
        let names: Vec<Vec<u8>> = (0..=MEMBERS_MAX).map(|id| format!("a{id:04x}").into_bytes()).collect();
        let empty = || Bucket::inline(&leaf(0, &[], |_| Some(0)).unwrap(), 0);
        let buckets = [
            (KEY_BUCKET.to_vec(), empty(), true),
            (MEMBERS_BUCKET.to_vec(), Bucket::tree(3, 0), true),
            (META_BUCKET.to_vec(), empty(), true),
        ];
        let with = |names: &[Vec<u8>]| {
            let mut pages = vec![(2, leaf(2, &buckets, overflow).unwrap())];
            let mut children = Vec::new();
            for (id, names) in (4..).zip(names.chunks(100)) {
                let entries: Vec<Entry> =
                    names.iter().map(|name| (name.clone(), b"{}".to_vec(), false)).collect();
                pages.push((id, leaf(id, &entries, overflow).unwrap()));
                children.push((names[0].clone(), id));
            }
            pages.push((3, branch(3, &children, overflow).unwrap()));
            read(&database(2, &pages), 4096)
        };
        assert_eq!(with(&names[1..]).unwrap().members.len(), MEMBERS_MAX);
        assert!(with(&names).unwrap_err().to_string().contains("more members"));
    }
}
