//! A node of a tree, read piece by piece.
//!
//! A node is a page with its overflow, whose header can claim up to 16 TiB. Only windows of it are in memory. Their size is
//! fixed, whatever the node says, and so the memory for reading a database is bounded.
//!
//! - Keys have 32 KiB at most, a limit of bbolt itself, so that every key fits into a window.
//! - Values have 2 GiB at most. Those of up to [`WHOLE_MAX`] are handed out in memory; longer ones, which only an etcd with
//!   a raised `--max-request-bytes` has, are handed out as a [`Stretch`] of the source.

use super::database::Database;
use super::fault::damaged;
use super::page::{BranchPlace, ELEMENT_SIZE, HEADER_SIZE, LEAF, LeafPlace, PageHeader};
use super::source::PageSource;
use super::value::{Stretch, Value};
use crate::error::Result;

/// `MaxKeySize` in bbolt's `bucket.go`.
pub(in crate::database) const KEY_SIZE_MAX: usize = 32_768;
/// The longest value that is handed out in memory. etcd accepts requests of 1.5 MiB by default.
pub(in crate::database) const WHOLE_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one read. A key fits in, and so does a page of any size.
const WINDOW_SIZE: usize = 64 * 1024;

/// The windows of a node, reused for the next one.
#[derive(Debug, Default)]
pub(in crate::database) struct Buffers {
    elements: Window,
    contents: Window,
}

/// An open node.
pub(in crate::database) struct Node<'f> {
    /// Its header.
    pub(in crate::database) header: PageHeader,
    /// Where it is read from; `None` if the whole node is in the window.
    source: Option<&'f dyn PageSource>,
    begin: u64,
    size: u64,
    buffers: Buffers,
    /// The element to be read next.
    next: u16,
    /// The contents of the next element begin here, or later.
    behind: u64,
}

/// An element of a branch.
pub(in crate::database) struct Child<'n> {
    /// A lower bound of the keys below `page`.
    pub(in crate::database) key: &'n [u8],
    /// The child page.
    pub(in crate::database) page: u64,
}

/// An element of a leaf.
pub(in crate::database) struct LeafItem<'n> {
    /// The key.
    pub(in crate::database) key: &'n [u8],
    /// The value; for a bucket, its [`Bucket`](super::page::Bucket).
    pub(in crate::database) value: Value<'n>,
    /// Whether it is a bucket.
    pub(in crate::database) bucket: bool,
}

impl<'f> Node<'f> {
    /// Reads the beginning of page `id`, and checks its header.
    pub(in crate::database) fn open(database: &Database<'f>, id: u64, mut buffers: Buffers) -> Result<Self> {
        let (source, meta) = (database.source(), database.meta());
        let page_size = u64::from(meta.page_size);
        let inside = |end: Option<u64>| end.is_some_and(|end| end <= meta.high_water_mark);
        if id < 2 || !inside(id.checked_add(1)) {
            return Err(damaged(format!(
                "page {id} is referred to, but there are only {}",
                meta.high_water_mark
            )));
        }
        let begin = id * page_size;
        buffers.contents.forget();
        buffers.elements.load(source, begin, 0, meta.page_size as usize)?;
        let header = PageHeader::parse(&buffers.elements.bytes)
            .ok_or_else(|| damaged(format!("page {id} has no header")))?;
        if header.id != id {
            return Err(damaged(format!("page {id} calls itself {}", header.id)));
        }
        let pages = u64::from(header.overflow) + 1;
        if !inside(id.checked_add(pages)) {
            return Err(damaged(format!("page {id} claims {} more pages", header.overflow)));
        }
        let size = pages * page_size;
        if header.flags != LEAF {
            // As many of these may exist as a path is long, and the buffers they reuse may come from a large leaf.
            buffers.elements.shrink();
            buffers.contents.shrink();
        }
        match usize::try_from(size) {
            Ok(size) if header.flags == LEAF && header.overflow > 0 && size <= WHOLE_MAX => {
                buffers.elements.load(source, begin, 0, size)?;
            }
            _ => {}
        }
        Ok(Self::of(header, Some(source), begin, size, buffers))
    }

    /// The page of an inline bucket.
    pub(in crate::database) fn inline(page: &[u8], mut buffers: Buffers) -> Option<Self> {
        let header = PageHeader::parse(page)?;
        buffers.contents.forget();
        buffers.elements.hold(page);
        Some(Self::of(header, None, 0, page.len() as u64, buffers))
    }

    fn of(
        header: PageHeader,
        source: Option<&'f dyn PageSource>,
        begin: u64,
        size: u64,
        buffers: Buffers,
    ) -> Self {
        let behind = element_at(header.count);
        Self { header, source, begin, size, buffers, next: 0, behind }
    }

    /// The number of pages it occupies.
    pub(in crate::database) fn pages(&self) -> u64 {
        u64::from(self.header.overflow) + 1
    }

    /// The number of bytes it occupies.
    pub(in crate::database) fn size(&self) -> u64 {
        self.size
    }

    /// Its buffers, for another node.
    pub(in crate::database) fn into_buffers(self) -> Buffers {
        self.buffers
    }

    /// Passes over all elements but the last, which are not read.
    pub(in crate::database) fn skip_to_last(&mut self) {
        self.next = self.header.count.saturating_sub(1);
    }

    /// The next element of a branch.
    pub(in crate::database) fn next_child(&mut self) -> Result<Option<Child<'_>>> {
        let Some((at, behind)) = self.next_element() else { return Ok(None) };
        let size = self.size;
        let place = BranchPlace::parse(self.element(at)?, at, behind, size)
            .filter(|place| place.key_size as usize <= KEY_SIZE_MAX)
            .ok_or_else(|| self.points_outside())?;
        self.behind = place.end();
        Ok(Some(Child { key: self.bytes(place.key, place.key_size as usize)?, page: place.child }))
    }

    /// The next element of a leaf.
    pub(in crate::database) fn next_item(&mut self) -> Result<Option<LeafItem<'_>>> {
        let Some((at, behind)) = self.next_element() else { return Ok(None) };
        let size = self.size;
        let place = LeafPlace::parse(self.element(at)?, at, behind, size)
            .filter(|place| place.key_size as usize <= KEY_SIZE_MAX)
            .ok_or_else(|| self.points_outside())?;
        self.behind = place.end();
        let (key_size, value_size) = (place.key_size as usize, place.value_size as usize);
        let bucket = place.bucket;
        if value_size <= WHOLE_MAX || self.source.is_none() {
            let (key, value) = self.bytes(place.key, key_size + value_size)?.split_at(key_size);
            return Ok(Some(LeafItem { key, value: Value::Whole(value), bucket }));
        }
        let (source, begin) = (self.source, self.begin);
        let key = self.bytes(place.key, key_size)?;
        let value = match source {
            Some(source) => Value::Long(Stretch::new(
                source,
                begin + place.key + u64::from(place.key_size),
                u64::from(place.value_size),
            )),
            None => Value::Whole(&[]),
        };
        Ok(Some(LeafItem { key, value, bucket }))
    }

    /// The position of the next element, and the lowest position of its contents.
    fn next_element(&mut self) -> Option<(u64, u64)> {
        (self.next < self.header.count).then(|| {
            let at = element_at(self.next);
            self.next += 1;
            (at, self.behind)
        })
    }

    /// The element at `at`; an error where the node ends before.
    fn element(&mut self, at: u64) -> Result<&[u8]> {
        if at + ELEMENT_SIZE as u64 > self.size {
            return Err(self.points_outside());
        }
        if !self.buffers.elements.holds(at, ELEMENT_SIZE) {
            let ahead = WINDOW_SIZE.min(usize::try_from(self.size - at).unwrap_or(WINDOW_SIZE));
            self.buffers.elements.load_from(self.source, self.begin, at, ahead)?;
        }
        self.buffers.elements.get(at, ELEMENT_SIZE)
    }

    /// `size` bytes from `at` on, which must lie in the node.
    pub(in crate::database) fn bytes(&mut self, at: u64, size: usize) -> Result<&[u8]> {
        if self.buffers.elements.holds(at, size) {
            return self.buffers.elements.get(at, size);
        }
        if !self.buffers.contents.holds(at, size) {
            let left = usize::try_from(self.size - at).unwrap_or(WINDOW_SIZE);
            self.buffers.contents.load_from(self.source, self.begin, at, size.max(WINDOW_SIZE.min(left)))?;
        }
        self.buffers.contents.get(at, size)
    }

    fn points_outside(&self) -> crate::Error {
        damaged(format_args!("{} has an element that points out of it", self.name()))
    }

    /// The node's name in an error.
    pub(in crate::database) fn name(&self) -> String {
        match self.source {
            Some(_) => format!("page {}", self.header.id),
            None => "the page inside it".to_owned(),
        }
    }
}

fn element_at(index: u16) -> u64 {
    HEADER_SIZE as u64 + u64::from(index) * ELEMENT_SIZE as u64
}

/// The part of a node that is in memory.
#[derive(Debug, Default)]
struct Window {
    begin: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Frees the memory beyond one window.
    fn shrink(&mut self) {
        self.bytes.shrink_to(WINDOW_SIZE);
    }

    /// Copies a whole node.
    fn hold(&mut self, node: &[u8]) {
        self.begin = 0;
        self.bytes.clear();
        self.bytes.extend_from_slice(node);
    }

    fn holds(&self, at: u64, size: usize) -> bool {
        at >= self.begin && at - self.begin + size as u64 <= self.bytes.len() as u64
    }

    fn get(&self, at: u64, size: usize) -> Result<&[u8]> {
        let begin = usize::try_from(at - self.begin).ok();
        begin
            .and_then(|begin| self.bytes.get(begin..begin.checked_add(size)?))
            .ok_or_else(|| damaged("it ends in the middle of a page"))
    }

    fn load_from(&mut self, source: Option<&dyn PageSource>, node: u64, at: u64, size: usize) -> Result<()> {
        let source = source.ok_or_else(|| damaged("a bucket ends in the middle of its page"))?;
        self.load(source, node, at, size)
    }

    /// Reads `size` bytes from `at` on of the node that begins at `node`.
    fn load(&mut self, source: &dyn PageSource, node: u64, at: u64, size: usize) -> Result<()> {
        self.begin = at;
        self.bytes.resize(size, 0);
        source.read_at(&mut self.bytes, node + at)
    }
}
