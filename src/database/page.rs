//! Pages of a bbolt database: branches, leaves and lists of free pages, read and written.
//!
//! `page.go` in go.etcd.io/bbolt: a header of 16 bytes (id u64, flags u16, count u16, overflow u32), then elements of 16
//! bytes, then what they point at. A page with overflow `n` takes the `n` pages behind it, too. Data pages have no checksum,
//! so every number in them is taken for what it is: a claim.

use std::ops::Range;

/// Bytes of a page header.
pub const HEADER_SIZE: usize = 16;
/// Bytes of an element, branch or leaf.
pub const ELEMENT_SIZE: usize = 16;
/// `branchPageFlag`.
pub const BRANCH: u16 = 0x01;
/// `leafPageFlag`.
pub const LEAF: u16 = 0x02;
/// `metaPageFlag`.
pub const META: u16 = 0x04;
/// `freelistPageFlag`.
pub const FREELIST: u16 = 0x10;
/// `bucketLeafFlag`: the value of a leaf element is a bucket.
const BUCKET_ELEMENT: u32 = 0x01;
/// A list of free pages with more entries than a count can tell says so with this count, and begins with the true one.
const COUNT_FOLLOWS: u16 = 0xFFFF;

/// What stands before the elements of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The page's own number.
    pub id: u64,
    /// What it is: [`BRANCH`], [`LEAF`], [`META`] or [`FREELIST`].
    pub flags: u16,
    /// Elements.
    pub count: u16,
    /// Pages behind it that belong to it.
    pub overflow: u32,
}

impl Header {
    /// Reads the header at the beginning of `page`.
    #[must_use]
    pub fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }

    /// Writes it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }
}

/// One element of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchElement<'a> {
    /// No key below `child` is smaller.
    pub key: &'a [u8],
    /// The page below.
    pub child: u64,
}

/// One element of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafElement<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; of a bucket, its [`Bucket`].
    pub value: &'a [u8],
    /// Whether it is a bucket.
    pub bucket: bool,
}

/// The elements of the branch `page`, overflow included. `None` in place of one that points out of the page.
#[must_use]
pub fn branch_elements(
    page: &[u8],
    count: u16,
) -> impl DoubleEndedIterator<Item = Option<BranchElement<'_>>> + ExactSizeIterator {
    (0..usize::from(count)).map(move |index| {
        let at = element_at(index);
        let key = at + u32_at(page, at)? as usize;
        let size = u32_at(page, at + 4)? as usize;
        Some(BranchElement { key: slice(page, key, size)?, child: u64_at(page, at + 8)? })
    })
}

/// The elements of the leaf `page`, overflow included. `None` in place of one that points out of the page.
#[must_use]
pub fn leaf_elements(
    page: &[u8],
    count: u16,
) -> impl DoubleEndedIterator<Item = Option<LeafElement<'_>>> + ExactSizeIterator {
    (0..usize::from(count)).map(move |index| {
        let at = element_at(index);
        let flags = u32_at(page, at)?;
        let key = at + u32_at(page, at + 4)? as usize;
        let key_size = u32_at(page, at + 8)? as usize;
        let value_size = u32_at(page, at + 12)? as usize;
        Some(LeafElement {
            key: slice(page, key, key_size)?,
            value: slice(page, key.checked_add(key_size)?, value_size)?,
            bucket: flags & BUCKET_ELEMENT != 0,
        })
    })
}

/// The numbers in the list of free `page`s, overflow included; `None` where it claims more than it has.
#[must_use]
pub fn free_pages(page: &[u8], count: u16) -> Option<impl Iterator<Item = u64> + '_> {
    let (count, begin) = match count {
        COUNT_FOLLOWS => (usize::try_from(u64_at(page, HEADER_SIZE)?).ok()?, HEADER_SIZE + 8),
        count => (usize::from(count), HEADER_SIZE),
    };
    let numbers = slice(page, begin, count.checked_mul(8)?)?;
    Some(numbers.chunks_exact(8).filter_map(|number| u64_at(number, 0)))
}

/// The value of a leaf element that is a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket<'a> {
    /// A tree of its own.
    Tree {
        /// Its root page.
        root: u64,
        /// bbolt's counter, which etcd does not use.
        sequence: u64,
    },
    /// So small that its only leaf lies in the value itself: a page without a number.
    Inline {
        /// The leaf.
        page: &'a [u8],
        /// bbolt's counter, which etcd does not use.
        sequence: u64,
    },
}

impl<'a> Bucket<'a> {
    /// Bytes before the leaf of an inline bucket.
    const SIZE: usize = 16;

    /// Reads the value of a bucket element.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (root, sequence) = (u64_at(value, 0)?, u64_at(value, 8)?);
        if root != 0 {
            return Some(Self::Tree { root, sequence });
        }
        Some(Self::Inline { page: value.get(Self::SIZE..)?, sequence })
    }

    /// The value of an element whose bucket is a tree.
    #[must_use]
    pub fn tree(root: u64, sequence: u64) -> Vec<u8> {
        [root.to_le_bytes(), sequence.to_le_bytes()].concat()
    }

    /// The value of an element whose bucket is the leaf `page`.
    #[must_use]
    pub fn inline(page: &[u8], sequence: u64) -> Vec<u8> {
        [&Self::tree(0, sequence), page].concat()
    }
}

/// What a leaf of one's own is made of: key, value and whether it is a bucket, in ascending order of keys.
pub type Entry = (Vec<u8>, Vec<u8>, bool);

/// A leaf with `entries` under the number `id`, as long as it needs to be; the caller pads it to whole pages, whose surplus
/// over the first is `overflow`.
///
/// `None` where there are more than a page can count.
#[must_use]
pub fn leaf(id: u64, entries: &[Entry], overflow: impl FnOnce(usize) -> Option<u32>) -> Option<Vec<u8>> {
    let contents: usize = entries.iter().map(|(key, value, _)| key.len() + value.len()).sum();
    let size = HEADER_SIZE + entries.len() * ELEMENT_SIZE + contents;
    let count = u16::try_from(entries.len()).ok().filter(|count| *count < COUNT_FOLLOWS)?;
    let header = Header { id, flags: LEAF, count, overflow: overflow(size)? };
    let mut page = Vec::with_capacity(size);
    page.extend_from_slice(&header.to_bytes());
    let mut position = HEADER_SIZE + entries.len() * ELEMENT_SIZE;
    for (key, value, bucket) in entries {
        let offset = u32::try_from(position - page.len()).ok()?;
        for number in
            [u32::from(*bucket), offset, u32::try_from(key.len()).ok()?, u32::try_from(value.len()).ok()?]
        {
            page.extend_from_slice(&number.to_le_bytes());
        }
        position += key.len() + value.len();
    }
    for (key, value, _) in entries {
        page.extend_from_slice(key);
        page.extend_from_slice(value);
    }
    Some(page)
}

/// A branch with `children`, first key and page of each; otherwise as [`leaf`].
#[must_use]
pub fn branch(
    id: u64,
    children: &[(Vec<u8>, u64)],
    overflow: impl FnOnce(usize) -> Option<u32>,
) -> Option<Vec<u8>> {
    let contents: usize = children.iter().map(|(key, _)| key.len()).sum();
    let size = HEADER_SIZE + children.len() * ELEMENT_SIZE + contents;
    let count = u16::try_from(children.len()).ok().filter(|count| *count < COUNT_FOLLOWS)?;
    let header = Header { id, flags: BRANCH, count, overflow: overflow(size)? };
    let mut page = Vec::with_capacity(size);
    page.extend_from_slice(&header.to_bytes());
    let mut position = HEADER_SIZE + children.len() * ELEMENT_SIZE;
    for (key, child) in children {
        let offset = u32::try_from(position - page.len()).ok()?;
        page.extend_from_slice(&offset.to_le_bytes());
        page.extend_from_slice(&u32::try_from(key.len()).ok()?.to_le_bytes());
        page.extend_from_slice(&child.to_le_bytes());
        position += key.len();
    }
    for (key, _) in children {
        page.extend_from_slice(key);
    }
    Some(page)
}

fn element_at(index: usize) -> usize {
    HEADER_SIZE + index * ELEMENT_SIZE
}

fn slice(bytes: &[u8], begin: usize, size: usize) -> Option<&[u8]> {
    bytes.get(Range { start: begin, end: begin.checked_add(size)? })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    slice(bytes, at, 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    slice(bytes, at, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    slice(bytes, at, 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_read_as_written() {
        let entries = [(b"a".to_vec(), b"one".to_vec(), false), (b"bb".to_vec(), Vec::new(), true)];
        let page = leaf(7, &entries, |size| Some(u32::from(size > 4096))).unwrap();
        let header = Header::parse(&page).unwrap();
        assert_eq!(header, Header { id: 7, flags: LEAF, count: 2, overflow: 0 });
        let read: Vec<_> = leaf_elements(&page, header.count).map(Option::unwrap).collect();
        assert_eq!(read[0], LeafElement { key: b"a", value: b"one", bucket: false });
        assert_eq!(read[1], LeafElement { key: b"bb", value: b"", bucket: true });
    }

    #[test]
    fn a_branch_is_read_as_written() {
        let page = branch(9, &[(b"a".to_vec(), 3), (b"m".to_vec(), 4)], |_| Some(0)).unwrap();
        let header = Header::parse(&page).unwrap();
        assert_eq!(header, Header { id: 9, flags: BRANCH, count: 2, overflow: 0 });
        let read: Vec<_> = branch_elements(&page, 2).map(Option::unwrap).collect();
        assert_eq!(read[1], BranchElement { key: b"m", child: 4 });
    }

    #[test]
    fn elements_that_point_out_of_the_page_are_none() {
        let entries = [(b"a".to_vec(), b"one".to_vec(), false)];
        let page = leaf(7, &entries, |_| Some(0)).unwrap();
        for (at, what) in [(20, "position"), (24, "key size"), (28, "value size")] {
            for value in [5_u32, 100, u32::MAX] {
                let mut page = page.clone();
                page[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if at != 20 || value != 5 {
                    assert_eq!(leaf_elements(&page, 1).next(), Some(None), "{what} {value}");
                }
            }
        }
        assert_eq!(leaf_elements(&page, 2).nth(1), Some(None));
    }

    #[test]
    fn a_list_of_free_pages_may_be_longer_than_its_count() {
        let mut page = vec![0; HEADER_SIZE];
        page.extend(70_000_u64.to_le_bytes());
        page.extend((0..70_000_u64).flat_map(u64::to_le_bytes));
        assert_eq!(free_pages(&page, COUNT_FOLLOWS).unwrap().last(), Some(69_999));
        assert_eq!(free_pages(&page, 2).unwrap().collect::<Vec<_>>(), [70_000, 0]);
        page.truncate(page.len() - 1);
        assert!(free_pages(&page, COUNT_FOLLOWS).is_none());
    }
}
