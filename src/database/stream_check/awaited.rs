//! Bytes of overflow pages that have not passed yet.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::database::bolt::meta::Meta;
use crate::database::bolt::page::PageHeader;

/// The largest page that can have such a note, overflow included.
const NOTED_PAGE_SIZE_MAX: usize = 1 << 20;
/// The most bytes of all pages that will have such a note and have not passed as a whole.
pub(super) const UNFINISHED_SIZE_MAX: usize = 4 << 20;
/// The most parts of pages in overflow pages that are awaited at the same time.
pub(super) const WAITING_MAX: usize = 1 << 14;

/// The part of a page that is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedPart {
    /// The last key of a leaf of keys.
    LastKey,
    /// The last element of a branch.
    LastElement,
    /// All of a page that needs an [`OtherNote`](super::other_note::OtherNote).
    Whole,
}

/// A part of a page that has arrived.
pub(super) struct ArrivedPart {
    /// The page.
    pub(super) page: u64,
    pub(super) part: AwaitedPart,
    pub(super) bytes: Vec<u8>,
}

struct Waiting {
    part: AwaitedPart,
    bytes: Vec<u8>,
    size: usize,
}

/// The awaited parts of pages.
#[derive(Default)]
pub(super) struct Awaited {
    /// By the position of their next byte and the page to which they belong.
    waiting: BTreeMap<(u64, u64), Waiting>,
    /// The sum of the sizes of whole pages.
    pub(super) unfinished_size: usize,
}

impl Awaited {
    /// The number of awaited parts.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Awaits the rest of a page that begins with `page`, if there is room. There always is for the root.
    pub(super) fn whole(&mut self, header: PageHeader, page: &[u8], is_root: bool) {
        let size = (header.overflow as usize + 1).saturating_mul(page.len());
        if size <= NOTED_PAGE_SIZE_MAX && (self.unfinished_size + size <= UNFINISHED_SIZE_MAX || is_root) {
            self.unfinished_size += size;
            let at = (header.id + 1) * page.len() as u64;
            self.waiting
                .insert((at, header.id), Waiting { part: AwaitedPart::Whole, bytes: page.to_vec(), size });
        }
    }

    /// Awaits the bytes in `range` of a page, which lie behind its first page.
    pub(super) fn part(&mut self, header: PageHeader, range: Range<usize>, part: AwaitedPart, meta: &Meta) {
        let page_size = meta.page_size as usize;
        let inside = range.end <= (header.overflow as usize + 1).saturating_mul(page_size);
        if !inside || self.waiting.len() >= WAITING_MAX {
            return;
        }
        let at = header.id * u64::from(meta.page_size) + range.start as u64;
        let size = range.len();
        self.waiting.insert((at, header.id), Waiting { part, bytes: Vec::with_capacity(size), size });
    }

    /// Takes the awaited bytes out of `bytes`, which begin at `begin`, up to the next part that they complete.
    pub(super) fn next_arrived(&mut self, begin: u64, bytes: &[u8]) -> Option<ArrivedPart> {
        let end = begin + bytes.len() as u64;
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 < end) {
            let ((at, page), mut waiting) = entry.remove_entry();
            let available = at.checked_sub(begin).and_then(|from| bytes.get(usize::try_from(from).ok()?..));
            let Some(available) = available else { continue };
            let taken = available.len().min(waiting.size - waiting.bytes.len());
            waiting.bytes.extend_from_slice(&available[..taken]);
            if waiting.bytes.len() < waiting.size {
                self.waiting.insert((at + taken as u64, page), waiting);
                continue;
            }
            if waiting.part == AwaitedPart::Whole {
                self.unfinished_size -= waiting.size;
            }
            return Some(ArrivedPart { page, part: waiting.part, bytes: waiting.bytes });
        }
        None
    }
}
