//! A database in a file, read page by page: every bucket, every key, and every rule bbolt has for its trees.
//!
//! bbolt maps its file into memory and trusts it, so that etcd and its tools panic where a page lies. Here every number is
//! checked before it is followed, as `tx_check.go` in go.etcd.io/bbolt would: each page is reached at most once and lies
//! below the high-water mark, is what its flags say, and keys ascend within what their parent promises.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::meta::{META_END, Meta, NO_FREELIST};
use super::page::{
    BRANCH, Bucket, FREELIST, Header, LEAF, LeafElement, branch_elements, free_pages, leaf_elements,
};
use super::snapshot::FirstPages;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// Pages of one node at most, in bytes: some 25 times the largest request anybody lets etcd take. A damaged page must not
/// make us take all memory.
const NODE_SIZE_MAX: u64 = 256 * 1024 * 1024;
/// The largest page of any platform, as in [`Meta::parse`].
const LARGEST_PAGE: usize = 64 * 1024;
/// Branches above a leaf at most. bbolt splits pages so that five or six hold all a file can.
const DEPTH_MAX: usize = 32;

/// What takes the keys and values of a [`Database::walk`]: the bucket's name, the key, the value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8], &[u8]) -> Result<()> + 'a;

/// An open database.
#[derive(Debug)]
pub struct Database<'a> {
    file: &'a File,
    meta: Meta,
}

/// What a walk over all of it found beside the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Pages in use, both meta pages included.
    pub pages_in_use: u64,
    /// What is wrong with the list of free pages, where one is kept. Nothing that is in use depends on it, and bbolt can do
    /// without, but whoever wrote it was at fault or damaged.
    pub freelist_fault: Option<String>,
}

/// A bucket in the bucket of all buckets.
pub(super) struct NamedBucket {
    pub(super) name: Vec<u8>,
    /// As [`Bucket::parse`] reads it.
    pub(super) value: Vec<u8>,
}

/// An error of the database itself.
pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::DatabaseDamaged, format!("the database is damaged: {what}"))
}

impl<'a> Database<'a> {
    /// Reads the meta pages. What lies behind the high-water mark is not the database's.
    ///
    /// # Errors
    /// [`Kind::NotASnapshot`], [`Kind::SnapshotLength`] where the file is shorter than the meta pages say, [`Kind::Io`].
    pub fn open(file: &'a File) -> Result<Self> {
        let mut head = vec![0; LARGEST_PAGE + META_END];
        let read = read_at(file, &mut head, 0)?;
        let mut pages = FirstPages::default();
        pages.update(&head[..read])?;
        let meta = *pages.meta().ok_or_else(|| damaged("it ends before its second page"))?;
        let length = file.metadata().map_err(cannot_read)?.len();
        match meta.database_size() {
            Some(size) if size <= length => Ok(Self { file, meta }),
            size => Err(Error::new(
                Kind::SnapshotLength,
                format!(
                    "the database is {length} bytes long, but its first page says {}",
                    size.unwrap_or(u64::MAX)
                ),
            )),
        }
    }

    /// The meta page in force.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        self.file
    }

    /// Visits every key of every bucket in order, and checks every page on the way.
    ///
    /// # Errors
    /// [`Kind::DatabaseDamaged`], [`Kind::NotASnapshot`] where there is what etcd never writes, [`Kind::Io`],
    /// [`Kind::Interrupted`], and those of `visit`.
    pub fn walk(&self, interrupt: &Interrupt, visit: &mut Visit<'_>) -> Result<Walked> {
        let mut walk = Walk::new(self, interrupt);
        let mut buckets = Vec::new();
        walk.tree(self.meta.root, &mut |element| named_bucket(&element).map(|bucket| buckets.push(bucket)))?;
        for NamedBucket { name, value } in &buckets {
            walk.bucket(name, value, visit)?;
        }
        let freelist_fault = match self.meta.freelist {
            NO_FREELIST => None,
            first => walk.freelist(first)?,
        };
        Ok(Walked { pages_in_use: walk.in_use, freelist_fault })
    }

    /// All buckets, in order.
    ///
    /// # Errors
    /// Those of [`Self::walk`].
    pub(super) fn buckets(&self, interrupt: &Interrupt) -> Result<Vec<NamedBucket>> {
        let mut buckets = Vec::new();
        Walk::new(self, interrupt)
            .tree(self.meta.root, &mut |element| named_bucket(&element).map(|bucket| buckets.push(bucket)))?;
        Ok(buckets)
    }

    /// Visits every key of one bucket in order.
    ///
    /// # Errors
    /// Those of [`Self::walk`]; [`Kind::NotASnapshot`] where there is no such bucket.
    pub fn walk_bucket(&self, name: &[u8], interrupt: &Interrupt, visit: &mut Visit<'_>) -> Result<()> {
        let buckets = self.buckets(interrupt)?;
        let bucket = buckets.iter().find(|bucket| bucket.name == name).ok_or_else(|| missing_bucket(name))?;
        Walk::new(self, interrupt).bucket(name, &bucket.value, visit)
    }

    /// Reads page `id` with its overflow into `page`.
    pub(super) fn page(&self, id: u64, page: &mut Vec<u8>) -> Result<Header> {
        let page_size = u64::from(self.meta.page_size);
        let inside = |end: Option<u64>| end.filter(|end| *end <= self.meta.high_water_mark);
        if id < 2 || inside(id.checked_add(1)).is_none() {
            return Err(damaged(format!(
                "page {id} is referred to, but there are only {}",
                self.meta.high_water_mark
            )));
        }
        page.resize(self.meta.page_size as usize, 0);
        self.read_exactly(page, id * page_size)?;
        let header = Header::parse(page).ok_or_else(|| damaged(format!("page {id} has no header")))?;
        if header.id != id {
            return Err(damaged(format!("page {id} calls itself {}", header.id)));
        }
        let pages = u64::from(header.overflow) + 1;
        if inside(id.checked_add(pages)).is_none() || pages * page_size > NODE_SIZE_MAX {
            return Err(damaged(format!("page {id} claims {} more pages", header.overflow)));
        }
        if header.overflow > 0 {
            let size =
                usize::try_from(pages * page_size).map_err(|_| damaged(format!("page {id} is too large")))?;
            page.resize(size, 0);
            self.read_exactly(&mut page[self.meta.page_size as usize..], (id + 1) * page_size)?;
        }
        Ok(header)
    }

    fn read_exactly(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.file.read_exact_at(buffer, at).map_err(cannot_read)
    }
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("read", "the database", error)
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read(error)),
        }
    }
    Ok(filled)
}

/// A database of bbolt's that has no bucket `name` was not written by etcd.
pub(super) fn missing_bucket(name: &[u8]) -> Error {
    Error::new(
        Kind::NotASnapshot,
        format!(
            "a bbolt database, but not one of etcd: it has no bucket {:?}",
            String::from_utf8_lossy(name)
        ),
    )
}

fn named_bucket(element: &LeafElement<'_>) -> Result<NamedBucket> {
    if !element.bucket {
        return Err(damaged("there is a key outside all buckets"));
    }
    Ok(NamedBucket { name: element.key.to_vec(), value: element.value.to_vec() })
}

/// What takes the elements of a tree.
type TakeElement<'v> = dyn FnMut(LeafElement<'_>) -> Result<()> + 'v;

/// A walk under way.
struct Walk<'d, 'f> {
    database: &'d Database<'f>,
    interrupt: &'d Interrupt,
    /// A bit for each page that was reached.
    reached: Vec<u64>,
    in_use: u64,
    /// Buffers for pages, used again.
    buffers: Vec<Vec<u8>>,
}

/// What a parent promises of the keys below a child: from the first on, and below the second.
#[derive(Clone, Copy)]
struct Bounds<'k> {
    from: Option<&'k [u8]>,
    below: Option<&'k [u8]>,
}

impl Bounds<'_> {
    fn hold(self, key: &[u8]) -> bool {
        self.from.is_none_or(|from| from <= key) && self.below.is_none_or(|below| key < below)
    }
}

impl<'d, 'f> Walk<'d, 'f> {
    fn new(database: &'d Database<'f>, interrupt: &'d Interrupt) -> Self {
        Self { database, interrupt, reached: Vec::new(), in_use: 2, buffers: Vec::new() }
    }

    /// A bucket of etcd's, which holds no buckets.
    fn bucket(&mut self, name: &[u8], value: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let mut take = |element: LeafElement<'_>| {
            if element.bucket {
                let message = format!("not an etcd snapshot: the bucket {shown:?} holds another bucket");
                return Err(Error::new(Kind::NotASnapshot, message));
            }
            visit(name, element.key, element.value)
        };
        let walked = match Bucket::parse(value) {
            Some(Bucket::Tree { root, .. }) => self.tree(root, &mut take),
            Some(Bucket::Inline { page, .. }) => inline(page, &mut take),
            None => Err(damaged("it is too short")),
        };
        walked.map_err(|error| match error.kind() {
            Kind::DatabaseDamaged => error.within(format_args!("bucket {shown:?}")),
            _ => error,
        })
    }

    fn tree(&mut self, root: u64, take: &mut TakeElement<'_>) -> Result<()> {
        self.node(root, Bounds { from: None, below: None }, 0, take)
    }

    fn node(&mut self, id: u64, bounds: Bounds<'_>, depth: usize, take: &mut TakeElement<'_>) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(damaged(format!("page {id} lies deeper than any tree of bbolt")));
        }
        self.interrupt.check()?;
        let mut page = self.buffers.pop().unwrap_or_default();
        let header = self.database.page(id, &mut page)?;
        self.reach(id, u64::from(header.overflow) + 1)?;
        match header.flags {
            LEAF => leaf(&page, header.count, bounds, take, &format_args!("page {id}"))?,
            BRANCH => self.branch(&page, header, bounds, depth, take)?,
            flags => return Err(damaged(format!("page {id} is no part of a tree (flags {flags:#x})"))),
        }
        self.buffers.push(page);
        Ok(())
    }

    fn branch(
        &mut self,
        page: &[u8],
        header: Header,
        bounds: Bounds<'_>,
        depth: usize,
        take: &mut TakeElement<'_>,
    ) -> Result<()> {
        let id = header.id;
        if header.count == 0 {
            return Err(damaged(format!("page {id} is a branch without children")));
        }
        let mut elements = branch_elements(page, header.count).peekable();
        while let Some(element) = elements.next() {
            let element = element.ok_or_else(|| points_outside(&format_args!("page {id}")))?;
            let below = match elements.peek() {
                Some(Some(next)) if next.key <= element.key => {
                    return Err(out_of_order(&format_args!("page {id}")));
                }
                Some(Some(next)) => Some(next.key),
                Some(None) => return Err(points_outside(&format_args!("page {id}"))),
                None => bounds.below,
            };
            if !bounds.hold(element.key) {
                return Err(out_of_order(&format_args!("page {id}")));
            }
            self.node(element.child, Bounds { from: Some(element.key), below }, depth + 1, take)?;
        }
        Ok(())
    }

    /// Marks `pages` pages from `id` on, which lie below the high-water mark.
    fn reach(&mut self, id: u64, pages: u64) -> Result<()> {
        for page in id..id + pages {
            if !self.mark(page)? {
                return Err(damaged(format!("page {page} is used twice")));
            }
            self.in_use += 1;
        }
        Ok(())
    }

    /// Whether `page` was not marked yet.
    fn mark(&mut self, page: u64) -> Result<bool> {
        let word = usize::try_from(page / 64).map_err(|_| damaged("it has too many pages"))?;
        if self.reached.len() <= word {
            self.reached.resize(word + 1, 0);
        }
        let bit = 1 << (page % 64);
        let free = self.reached[word] & bit == 0;
        self.reached[word] |= bit;
        Ok(free)
    }

    /// What is wrong with the list of free pages.
    fn freelist(&mut self, first: u64) -> Result<Option<String>> {
        let mut page = Vec::new();
        let header = match self.database.page(first, &mut page) {
            Ok(header) => header,
            Err(error) if error.kind() == Kind::DatabaseDamaged => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        if header.flags != FREELIST {
            return Ok(Some(format!("page {first} should be the list of free pages and is not")));
        }
        if let Err(error) = self.reach(first, u64::from(header.overflow) + 1) {
            return Ok(Some(error.to_string()));
        }
        let Some(free) = free_pages(&page, header.count) else {
            return Ok(Some("the list of free pages claims more than it has".to_owned()));
        };
        let end = self.database.meta.high_water_mark;
        let mut count = 0;
        for free in free {
            if !(2..end).contains(&free) {
                return Ok(Some(format!("page {free}, of {end}, is listed as free")));
            }
            if !self.mark(free)? {
                return Ok(Some(format!("page {free} is listed as free, but is used or listed twice")));
            }
            count += 1;
        }
        let lost = end - self.in_use - count;
        Ok((lost > 0).then(|| format!("{lost} pages are neither used nor listed as free")))
    }
}

/// The bucket that lies in its parent.
fn inline(page: &[u8], take: &mut TakeElement<'_>) -> Result<()> {
    match Header::parse(page) {
        Some(Header { flags: LEAF, count, .. }) => {
            leaf(page, count, Bounds { from: None, below: None }, take, &"the page inside it")
        }
        _ => Err(damaged("the page inside it is no leaf")),
    }
}

/// Takes the elements of a leaf.
fn leaf(
    page: &[u8],
    count: u16,
    bounds: Bounds<'_>,
    take: &mut TakeElement<'_>,
    name: &dyn std::fmt::Display,
) -> Result<()> {
    let mut previous: Option<&[u8]> = None;
    for element in leaf_elements(page, count) {
        let element = element.ok_or_else(|| points_outside(name))?;
        if previous.is_some_and(|previous| previous >= element.key) || !bounds.hold(element.key) {
            return Err(out_of_order(name));
        }
        previous = Some(element.key);
        take(element)?;
    }
    Ok(())
}

fn points_outside(page: &dyn std::fmt::Display) -> Error {
    damaged(format_args!("{page} has an element that points out of it"))
}

fn out_of_order(page: &dyn std::fmt::Display) -> Error {
    damaged(format_args!("the keys in {page} are out of order"))
}
