//! Bytes of overflow pages that have not passed yet.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::database::bolt::page::PageHeader;

/// The largest page that can have such a note, overflow included.
const NOTED_PAGE_SIZE_MAX: usize = 1 << 20;
/// The most bytes of all pages that will have such a note and have not passed as a whole.
pub(super) const UNFINISHED_SIZE_MAX: usize = 4 << 20;
/// The most last keys and last elements in overflow pages that are awaited at the same time.
pub(super) const WAITING_MAX: usize = 1 << 14;
/// The most other parts that are awaited at the same time, and the most bytes of them: no fact depends on them.
pub(super) const COUNTED_MAX: usize = 1 << 14;
const COUNTED_SIZE_MAX: usize = 4 << 20;

/// The part of a page that is awaited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AwaitedPart {
    /// The last key of a leaf of keys.
    LastKey,
    /// The last element of a branch.
    LastElement,
    /// The beginning of a pair in a leaf of keys.
    Pair {
        /// The place of its record.
        record: usize,
        /// Whether it is a deletion.
        deletion: bool,
    },
    /// All elements of a branch, for the children that it names.
    Children {
        /// The place of the first child.
        from: usize,
    },
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
    bytes: Vec<u8>,
    size: usize,
}

/// The awaited parts of pages.
#[derive(Default)]
pub(super) struct Awaited {
    /// By the position of their next byte, and the page to which they belong.
    waiting: BTreeMap<(u64, u64, AwaitedPart), Waiting>,
    /// The number of parts for the count of Kubernetes, and the sum of their sizes.
    counted: usize,
    counted_size: usize,
    /// The sum of the sizes of whole pages.
    pub(super) unfinished_size: usize,
}

impl AwaitedPart {
    /// Whether only the count of Kubernetes needs it.
    fn is_counted(self) -> bool {
        matches!(self, Self::Pair { .. } | Self::Children { .. })
    }
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
            self.waiting.insert((at, header.id, AwaitedPart::Whole), Waiting { bytes: page.to_vec(), size });
        }
    }

    /// Awaits the bytes in `range` of a page of which the first `page` are at hand.
    pub(super) fn part(&mut self, header: PageHeader, page: &[u8], range: Range<usize>, part: AwaitedPart) {
        let size = range.len();
        let inside = range.end <= (header.overflow as usize + 1).saturating_mul(page.len());
        let full = if part.is_counted() {
            self.counted >= COUNTED_MAX || self.counted_size + size > COUNTED_SIZE_MAX
        } else {
            self.waiting.len() - self.counted >= WAITING_MAX
        };
        if !inside || full {
            return;
        }
        if part.is_counted() {
            (self.counted, self.counted_size) = (self.counted + 1, self.counted_size + size);
        }
        let at = header.id * page.len() as u64 + range.start.max(page.len()) as u64;
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(page.get(range.start..).unwrap_or_default());
        self.waiting.insert((at, header.id, part), Waiting { bytes, size });
    }

    /// Takes the awaited bytes out of `bytes`, which begin at `begin`, up to the next part that they complete.
    pub(super) fn next_arrived(&mut self, begin: u64, bytes: &[u8]) -> Option<ArrivedPart> {
        let end = begin + bytes.len() as u64;
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 < end) {
            let ((at, page, part), mut waiting) = entry.remove_entry();
            let available = at.checked_sub(begin).and_then(|from| bytes.get(usize::try_from(from).ok()?..));
            if let Some(available) = available {
                let taken = available.len().min(waiting.size - waiting.bytes.len());
                waiting.bytes.extend_from_slice(&available[..taken]);
                if waiting.bytes.len() < waiting.size {
                    self.waiting.insert((at + taken as u64, page, part), waiting);
                    continue;
                }
            }
            if part == AwaitedPart::Whole {
                self.unfinished_size -= waiting.size;
            } else if part.is_counted() {
                (self.counted, self.counted_size) = (self.counted - 1, self.counted_size - waiting.size);
            }
            if available.is_some() {
                return Some(ArrivedPart { page, part, bytes: waiting.bytes });
            }
        }
        None
    }
}
