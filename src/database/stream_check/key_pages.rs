//! The records of the bucket of keys, page by page, for a count of what Kubernetes keeps in it.
//!
//! A page's records are stored when it passes, and counted only if the tree of keys reaches it. Unlike the facts of the other
//! notes, the count needs every leaf and every child of every branch. In a database with more of them than below, which no
//! Kubernetes cluster has, nothing is counted.

use std::ops::Range;

use super::awaited::{Awaited, AwaitedPart};
use super::elements::{LEAF_KEY, key_range, value_size};
use super::notes::Notes;
use super::other_note::BucketPlace;
use crate::database::bolt::DEPTH_MAX;
use crate::database::bolt::page::{ELEMENT_SIZE, HEADER_SIZE, PageHeader, leaf_elements};
use crate::database::kubernetes::{Census, KEY_SIZE_MAX, Kubernetes, Record, VALUE_BEGINNING};
use crate::database::mvcc::{PairBeginning, TOMBSTONE_SIZE};

/// The most records: 16 MiB.
const RECORDS_MAX: usize = 2 << 20;
/// The most leaves with records, and the most children of branches: 8 MiB each.
const LEAVES_MAX: usize = 1 << 20;
const CHILDREN_MAX: usize = 2 << 20;
/// The most branches: 1 MiB.
const BRANCHES_MAX: usize = 1 << 17;
/// The bytes of a pair that suffice: key, value, and the numbers between them.
const PAIR_BEGINNING: usize = KEY_SIZE_MAX + VALUE_BEGINNING + 64;

/// The first pages of leaves or branches, ascending, each with what it has in a common list.
struct Spans<T> {
    /// The page, and where its part of the list begins.
    pages: Vec<(u32, u32)>,
    list: Vec<T>,
}

impl<T> Default for Spans<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), list: Vec::new() }
    }
}

impl<T> Spans<T> {
    /// Adds page `id`, whose part of the list begins at `begin` and is the last.
    fn add(&mut self, id: u64, begin: usize) -> Option<()> {
        self.pages.push((u32::try_from(id).ok()?, u32::try_from(begin).ok()?));
        Some(())
    }

    /// The number of page `id` in `pages`.
    fn find(&self, id: u64) -> Option<usize> {
        let id = u32::try_from(id).ok()?;
        self.pages.binary_search_by_key(&id, |(page, _)| *page).ok()
    }

    /// The part of the list that belongs to the page with this number.
    fn of(&self, number: usize) -> &[T] {
        let begin = self.pages[number].1 as usize;
        let end = self.pages.get(number + 1).map_or(self.list.len(), |(_, next)| *next as usize);
        &self.list[begin..end]
    }
}

/// What passed of the bucket of keys.
#[derive(Default)]
pub(super) struct KeyPages {
    census: Census,
    leaves: Spans<Record>,
    branches: Spans<u32>,
    /// Whether there was more than may be stored.
    overflowed: bool,
}

impl KeyPages {
    /// Stores the records of the leaf whose first page is `page`. Those whose beginning is in an overflow page are awaited.
    pub(super) fn leaf(&mut self, header: PageHeader, page: &[u8], awaited: &mut Awaited) {
        if self.overflowed {
            return;
        }
        let begin = self.leaves.list.len();
        for index in 0..usize::from(header.count) {
            let Some((range, deletion)) = pair_range(page, index) else {
                // bbolt splits a leaf long before elements fill a page.
                self.leaves.list.push(Record::UNREAD);
                break;
            };
            let at_hand = page.get(range.clone());
            let beginning = at_hand.unwrap_or_else(|| page.get(range.start..).unwrap_or_default());
            match self.record(beginning, deletion, at_hand.is_some()) {
                Some(Record::NONE) => {}
                Some(record) => self.leaves.list.push(record),
                None => {
                    let part = AwaitedPart::Pair { record: self.leaves.list.len(), deletion };
                    self.leaves.list.push(Record::UNREAD);
                    awaited.part(header, page, range, part);
                }
            }
        }
        let full = self.leaves.list.len() > RECORDS_MAX || self.leaves.pages.len() >= LEAVES_MAX;
        if full || (self.leaves.list.len() > begin && self.leaves.add(header.id, begin).is_none()) {
            self.give_up();
        }
    }

    /// Stores a record that was awaited.
    pub(super) fn pair(&mut self, record: usize, bytes: &[u8], deletion: bool) {
        let read = self.record(bytes, deletion, true).unwrap_or(Record::NONE);
        if let Some(place) = self.leaves.list.get_mut(record) {
            *place = read;
        }
    }

    /// The record of a pair of which this is the beginning; `None` where more of it is needed, unless this is `all`.
    fn record(&mut self, beginning: &[u8], deletion: bool, all: bool) -> Option<Record> {
        let Some(pair) = PairBeginning::parse(beginning) else { return all.then_some(Record::NONE) };
        let enough = pair.value.len() as u64 >= pair.value_size.min(VALUE_BEGINNING as u64);
        let whole = deletion || pair.value_size > 0;
        (all || (enough && whole))
            .then(|| self.census.record(pair.key, pair.value, deletion).unwrap_or(Record::NONE))
    }

    /// Stores the children of the branch whose first page is `page`.
    pub(super) fn branch(&mut self, header: PageHeader, page: &[u8], awaited: &mut Awaited) {
        if self.overflowed {
            return;
        }
        let begin = self.branches.list.len();
        let count = usize::from(header.count);
        let full = begin + count > CHILDREN_MAX || self.branches.pages.len() >= BRANCHES_MAX;
        if full || self.branches.add(header.id, begin).is_none() {
            return self.give_up();
        }
        // Page 0 is no child: that of one that does not arrive.
        self.branches.list.resize(begin + count, 0);
        let range = HEADER_SIZE..HEADER_SIZE + count * ELEMENT_SIZE;
        match page.get(range.clone()) {
            Some(elements) => self.children(begin, elements),
            None => awaited.part(header, page, range, AwaitedPart::Children { from: begin }),
        }
    }

    /// Stores the children that the `elements` of a branch name, `from` that place of the list on.
    pub(super) fn children(&mut self, from: usize, elements: &[u8]) {
        let children = elements.chunks_exact(ELEMENT_SIZE).filter_map(|element| element.last_chunk());
        for (place, child) in self.branches.list.iter_mut().skip(from).zip(children) {
            *place = u32::try_from(u64::from_le_bytes(*child)).unwrap_or(0);
        }
    }

    /// The records of an inline leaf.
    pub(super) fn inline(&mut self, page: &[u8]) -> Vec<Record> {
        let count = PageHeader::parse(page).map_or(0, |header| header.count);
        let elements = leaf_elements(page, count).map_while(|element| element);
        elements
            .filter_map(|element| self.record(element.value, element.key.len() == TOMBSTONE_SIZE, true))
            .collect()
    }

    fn give_up(&mut self) {
        let census = std::mem::take(&mut self.census);
        *self = Self { census, overflowed: true, ..Self::default() };
    }

    /// What the tree of keys holds of Kubernetes; `None` for nothing.
    pub(super) fn count(&mut self, keys: &BucketPlace, notes: &Notes) -> Option<Kubernetes> {
        let root = match keys {
            BucketPlace::Tree(root) => *root,
            BucketPlace::Keys { inline, .. } => {
                let records = self.inline(inline);
                return self.census.count(&records.iter().rev().copied());
            }
            BucketPlace::Inline(_) => return None,
        };
        if self.overflowed {
            return Some(Kubernetes::Uncounted);
        }
        let Some(leaves) = self.newest_first(root, notes) else { return Some(Kubernetes::Uncounted) };
        let records = leaves.iter().flat_map(|leaf| self.leaves.of(*leaf as usize).iter().rev().copied());
        self.census.count(&records)
    }

    /// The numbers of the leaves with records below page `root`, from the last to the first; `None` where a page below it is
    /// no part of a tree.
    fn newest_first(&self, root: u64, notes: &Notes) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        let mut next = vec![(root, 0)];
        // No page is the child of two.
        let mut left = self.branches.list.len() + 1;
        while let Some((id, depth)) = next.pop() {
            left = left.checked_sub(1)?;
            if let Some(leaf) = self.leaves.find(id) {
                found.push(u32::try_from(leaf).ok()?);
            } else if let Some(branch) = self.branches.find(id).filter(|_| depth < DEPTH_MAX) {
                // The last child is the next.
                next.extend(self.branches.of(branch).iter().map(|child| (u64::from(*child), depth + 1)));
            } else if !notes.is_known(id) {
                return None;
            }
        }
        Some(found)
    }
}

/// Where the beginning of a pair is in a leaf, and whether it is a deletion.
fn pair_range(page: &[u8], index: usize) -> Option<(Range<usize>, bool)> {
    let key = key_range(page, index, LEAF_KEY)?;
    let size = value_size(page, index)?.min(PAIR_BEGINNING);
    Some((key.end..key.end.checked_add(size)?, key.len() == TOMBSTONE_SIZE))
}
