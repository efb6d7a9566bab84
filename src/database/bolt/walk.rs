//! A walk over a database, page by page: every bucket, every key, and every rule of bbolt's trees.
//!
//! bbolt maps its file into memory and trusts it, so that etcd and its tools panic on a damaged page. This module checks
//! every number before it follows it, as `tx_check.go` in go.etcd.io/bbolt does: each page is reached at most once, lies
//! below the high-water mark and is what its flags say, and keys ascend within the bounds that their parent gives.
//!
//! However large the database is and whatever it contains, reading it takes less than 16 MiB of memory, and a bit for each page
//! in use: 6 MiB for the longest possible path of branches, 4 MiB for a leaf, 4 MiB for the root bucket.

use super::database::Database;
use super::fault::{damaged, missing_bucket};
use super::meta::NO_FREELIST;
use super::node::{Buffers, LeafItem, Node};
use super::page::{BRANCH, Bucket, COUNT_FOLLOWS, FREELIST, HEADER_SIZE, LEAF};
use super::page_set::PageSet;
use super::value::Value;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// The most buckets, and the most bytes in the root bucket: etcd has some ten buckets, of a quarter of a page at most.
const BUCKETS_MAX: usize = 1000;
const BUCKETS_SIZE_MAX: usize = 4 * 1024 * 1024;
/// The most bytes in pages of a small bucket: the root bucket and etcd's own records, which fill a page or two.
const SMALL_BUCKET_PAGES_SIZE_MAX: u64 = 8 * 1024 * 1024;
/// The most branches above a leaf. bbolt splits pages so that five or six hold all a file can.
pub(in crate::database) const DEPTH_MAX: usize = 32;
/// Bytes of the freelist that are read at once.
const FREELIST_PIECE: u64 = 32 * 1024;

/// Called by a [`Database::walk`] for each entry: the bucket's name, the key, the value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8], Value<'_>) -> Result<()> + 'a;

/// The result of a walk over the whole database, besides the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Pages in use, both meta pages included.
    pub pages_in_use: u64,
    /// What is wrong with the freelist, if the file has one. No page in use depends on it, and bbolt can do without it, but
    /// its writer, or the disk, was at fault.
    pub freelist_fault: Option<String>,
}

/// An entry of the root bucket.
pub(in crate::database) struct NamedBucket {
    pub(in crate::database) name: Vec<u8>,
    /// In the form that [`Bucket::parse`] reads.
    pub(in crate::database) value: Vec<u8>,
}

impl Database<'_> {
    /// Visits every key of every bucket in order, and checks every page on the way.
    ///
    /// # Errors
    /// [`Kind::DatabaseDamaged`], [`Kind::NotASnapshot`] for content that etcd never writes, [`Kind::Io`],
    /// [`Kind::Interrupted`], and the errors of `visit`.
    pub fn walk(&self, interrupt: &Interrupt, visit: &mut Visit<'_>) -> Result<Walked> {
        let mut walk = TreeWalk::new(self, interrupt);
        let buckets = walk.buckets(self.meta().root)?;
        for NamedBucket { name, value } in &buckets {
            walk.bucket(name, value, visit)?;
        }
        let freelist_fault = match self.meta().freelist {
            NO_FREELIST => None,
            first => walk.freelist(first)?,
        };
        Ok(Walked { pages_in_use: walk.in_use, freelist_fault })
    }

    /// All buckets, in order.
    ///
    /// # Errors
    /// The errors of [`Self::walk`].
    pub(in crate::database) fn buckets(&self, interrupt: &Interrupt) -> Result<Vec<NamedBucket>> {
        TreeWalk::small(self, interrupt).buckets(self.meta().root)
    }

    /// Visits every key of one bucket in order.
    ///
    /// # Errors
    /// The errors of [`Self::walk`]; [`Kind::NotASnapshot`] where there is no such bucket.
    pub fn walk_bucket(&self, name: &[u8], interrupt: &Interrupt, visit: &mut Visit<'_>) -> Result<()> {
        let bucket = self.find_bucket(name, interrupt)?;
        TreeWalk::new(self, interrupt).bucket(name, &bucket.value, visit)
    }

    /// [`Self::walk_bucket`] for a bucket that is small in every etcd. It refuses a large one before that costs time or
    /// memory.
    ///
    /// # Errors
    /// The errors of [`Self::walk_bucket`].
    pub(in crate::database) fn walk_small_bucket(
        &self,
        name: &[u8],
        interrupt: &Interrupt,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let bucket = self.find_bucket(name, interrupt)?;
        TreeWalk::small(self, interrupt).bucket(name, &bucket.value, visit)
    }

    /// The entry `name` of the root bucket.
    ///
    /// # Errors
    /// The errors of [`Self::walk_bucket`].
    pub(in crate::database) fn find_bucket(&self, name: &[u8], interrupt: &Interrupt) -> Result<NamedBucket> {
        let mut buckets = self.buckets(interrupt)?;
        let found = buckets.iter().position(|bucket| bucket.name == name);
        found.map(|at| buckets.swap_remove(at)).ok_or_else(|| missing_bucket(name))
    }
}

fn named_bucket(item: &LeafItem<'_>) -> Result<NamedBucket> {
    if !item.bucket {
        return Err(damaged("there is a key outside all buckets"));
    }
    let value = item.value.whole().ok_or_else(too_many_buckets)?;
    Ok(NamedBucket { name: item.key.to_vec(), value: value.to_vec() })
}

fn too_many_buckets() -> Error {
    damaged("it has more or larger buckets than any etcd")
}

/// Called for each element of a tree.
type TakeItem<'v> = dyn FnMut(LeafItem<'_>) -> Result<()> + 'v;

/// A walk in progress.
struct TreeWalk<'d, 'f> {
    database: &'d Database<'f>,
    interrupt: &'d Interrupt,
    reached: PageSet,
    /// Pages in use so far, both meta pages included.
    in_use: u64,
    /// The most pages that may be in use.
    in_use_max: u64,
    /// Buffers of nodes, for reuse.
    buffers: Vec<Buffers>,
}

/// The bounds that a parent gives for the keys below a child: at least `from`, and less than `below`.
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

impl<'d, 'f> TreeWalk<'d, 'f> {
    fn new(database: &'d Database<'f>, interrupt: &'d Interrupt) -> Self {
        let in_use_max = database.meta().high_water_mark;
        Self { database, interrupt, reached: PageSet::default(), in_use: 2, in_use_max, buffers: Vec::new() }
    }

    /// A walk over a bucket that is small in every etcd.
    fn small(database: &'d Database<'f>, interrupt: &'d Interrupt) -> Self {
        let in_use_max = 2 + SMALL_BUCKET_PAGES_SIZE_MAX / u64::from(database.meta().page_size);
        Self { in_use_max, ..Self::new(database, interrupt) }
    }

    /// The root bucket.
    fn buckets(&mut self, root: u64) -> Result<Vec<NamedBucket>> {
        let (mut buckets, mut size) = (Vec::new(), 0);
        self.tree(root, &mut |item| {
            size += item.key.len() as u64 + item.value.size();
            if size > BUCKETS_SIZE_MAX as u64 || buckets.len() == BUCKETS_MAX {
                return Err(too_many_buckets());
            }
            named_bucket(&item).map(|bucket| buckets.push(bucket))
        })?;
        Ok(buckets)
    }

    /// A bucket of etcd's, which contains no buckets.
    fn bucket(&mut self, name: &[u8], value: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let mut take = |item: LeafItem<'_>| {
            if item.bucket {
                let message = format!("not an etcd snapshot: the bucket {shown:?} holds another bucket");
                return Err(Error::new(Kind::NotASnapshot, message));
            }
            visit(name, item.key, item.value)
        };
        let walked = match Bucket::parse(value) {
            Some(Bucket::Tree { root, .. }) => self.tree(root, &mut take),
            Some(Bucket::Inline { page, .. }) => self.inline(page, &mut take),
            None => Err(damaged("it is too short")),
        };
        walked.map_err(|error| match error.kind() {
            Kind::DatabaseDamaged => error.within(format_args!("bucket {shown:?}")),
            _ => error,
        })
    }

    fn tree(&mut self, root: u64, take: &mut TakeItem<'_>) -> Result<()> {
        self.node(root, Bounds { from: None, below: None }, 0, take)
    }

    fn node(&mut self, id: u64, bounds: Bounds<'_>, depth: usize, take: &mut TakeItem<'_>) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(damaged(format!("page {id} lies deeper than any tree of bbolt")));
        }
        self.interrupt.check()?;
        let buffers = self.buffers.pop().unwrap_or_default();
        let mut node = Node::open(self.database, id, buffers)?;
        self.reach(id, node.pages())?;
        match node.header.flags {
            LEAF => leaf(&mut node, bounds, take)?,
            BRANCH => self.branch(&mut node, bounds, depth, take)?,
            flags => return Err(damaged(format!("page {id} is no part of a tree (flags {flags:#x})"))),
        }
        self.buffers.push(node.into_buffers());
        Ok(())
    }

    /// Only one child of a branch and the bounds of its keys are in memory at a time.
    fn branch(
        &mut self,
        node: &mut Node<'_>,
        bounds: Bounds<'_>,
        depth: usize,
        take: &mut TakeItem<'_>,
    ) -> Result<()> {
        let name = node.name();
        let Some(first) = node.next_child()? else {
            return Err(damaged(format!("{name} is a branch without children")));
        };
        let (mut key, mut child) = (first.key.to_vec(), first.page);
        loop {
            if !bounds.hold(&key) {
                return Err(out_of_order(&name));
            }
            let Some(next) = node.next_child()? else {
                let bounds = Bounds { from: Some(&key), below: bounds.below };
                return self.node(child, bounds, depth + 1, take);
            };
            if next.key <= &key[..] {
                return Err(out_of_order(&name));
            }
            let next = (next.key.to_vec(), next.page);
            self.node(child, Bounds { from: Some(&key), below: Some(&next.0) }, depth + 1, take)?;
            (key, child) = next;
        }
    }

    /// A bucket stored inline in its parent.
    fn inline(&mut self, page: &[u8], take: &mut TakeItem<'_>) -> Result<()> {
        let buffers = self.buffers.pop().unwrap_or_default();
        match Node::inline(page, buffers) {
            Some(mut node) if node.header.flags == LEAF => {
                leaf(&mut node, Bounds { from: None, below: None }, take)?;
                self.buffers.push(node.into_buffers());
                Ok(())
            }
            _ => Err(damaged("the page inside it is no leaf")),
        }
    }

    /// Marks `pages` pages from `id` on, which lie below the high-water mark, as in use.
    fn reach(&mut self, id: u64, pages: u64) -> Result<()> {
        self.in_use += pages;
        if self.in_use > self.in_use_max {
            return Err(damaged(format!("page {id} belongs to more pages than there can be")));
        }
        match (id..id + pages).find(|&page| !self.reached.insert(page)) {
            Some(page) => Err(damaged(format!("page {page} is used twice"))),
            None => Ok(()),
        }
    }

    /// What is wrong with the freelist.
    fn freelist(&mut self, first: u64) -> Result<Option<String>> {
        let buffers = self.buffers.pop().unwrap_or_default();
        match Node::open(self.database, first, buffers).and_then(|node| self.check_freelist(node)) {
            Err(error) if error.kind() == Kind::DatabaseDamaged => Ok(Some(error.to_string())),
            checked => checked,
        }
    }

    fn check_freelist(&mut self, mut node: Node<'_>) -> Result<Option<String>> {
        if node.header.flags != FREELIST {
            return Ok(Some(format!("{} should be the list of free pages and is not", node.name())));
        }
        self.reach(node.header.id, node.pages())?;
        let begin = HEADER_SIZE as u64;
        let (mut at, count) = match node.header.count {
            COUNT_FOLLOWS => (begin + 8, number(node.bytes(begin, 8)?)),
            count => (begin, u64::from(count)),
        };
        let Some(list_end) = count.checked_mul(8).and_then(|size| size.checked_add(at)) else {
            return Ok(Some(TOO_LONG_FREELIST.to_owned()));
        };
        if list_end > node.size() {
            return Ok(Some(TOO_LONG_FREELIST.to_owned()));
        }
        while at < list_end {
            self.interrupt.check()?;
            let size = FREELIST_PIECE.min(list_end - at);
            let piece = node.bytes(at, usize::try_from(size).unwrap_or_default())?;
            for free in piece.chunks_exact(8).map(number) {
                if let Some(fault) = self.free(free) {
                    return Ok(Some(fault));
                }
            }
            at += size;
        }
        let lost = self.database.meta().high_water_mark - self.in_use - count;
        Ok((lost > 0).then(|| format!("{lost} pages are neither used nor listed as free")))
    }

    /// Why page `free` cannot be free.
    fn free(&mut self, free: u64) -> Option<String> {
        let end = self.database.meta().high_water_mark;
        if !(2..end).contains(&free) {
            return Some(format!("page {free}, of {end}, is listed as free"));
        }
        let unused = self.reached.insert(free);
        (!unused).then(|| format!("page {free} is listed as free, but is used or listed twice"))
    }
}

const TOO_LONG_FREELIST: &str = "the list of free pages claims more than it has";

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Passes the elements of a leaf to `take`.
fn leaf(node: &mut Node<'_>, bounds: Bounds<'_>, take: &mut TakeItem<'_>) -> Result<()> {
    let mut previous: Option<Vec<u8>> = None;
    let name = node.name();
    while let Some(item) = node.next_item()? {
        if previous.as_ref().is_some_and(|previous| &previous[..] >= item.key) || !bounds.hold(item.key) {
            return Err(out_of_order(&name));
        }
        let previous = previous.get_or_insert_default();
        previous.clear();
        previous.extend_from_slice(item.key);
        take(item)?;
    }
    Ok(())
}

fn out_of_order(node: &str) -> Error {
    damaged(format_args!("the keys in {node} are out of order"))
}
