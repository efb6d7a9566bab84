//! Pages of a bbolt database: parses and writes branches, leaves and freelists.
//!
//! `page.go` in go.etcd.io/bbolt: a header of 16 bytes (id u64, flags u16, count u16, overflow u32), then elements of 16
//! bytes, then their contents. A page with overflow `n` takes the `n` pages behind it, too. Data pages have no checksum, so
//! no number in them can be trusted.

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
/// The count of a freelist with more entries than a count can express; the true count is then its first entry.
pub(super) const COUNT_FOLLOWS: u16 = 0xFFFF;

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// The page's own number.
    pub id: u64,
    /// The type: [`BRANCH`], [`LEAF`], [`META`] or [`FREELIST`].
    pub flags: u16,
    /// The number of elements.
    pub count: u16,
    /// The number of further pages that belong to it.
    pub overflow: u32,
}

impl PageHeader {
    /// Parses the header at the beginning of `page`.
    #[must_use]
    pub fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }

    /// The bytes of the header.
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
    /// A lower bound of the keys below `child`.
    pub key: &'a [u8],
    /// The child page.
    pub child: u64,
}

/// One element of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafElement<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; for a bucket, its [`Bucket`].
    pub value: &'a [u8],
    /// Whether it is a bucket.
    pub bucket: bool,
}

/// The position of the contents of an element in a branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BranchPlace {
    pub(super) key: u64,
    pub(super) key_size: u32,
    pub(super) child: u64,
}

impl BranchPlace {
    /// Parses the `element` that lies at `at` in a node of `size` bytes. `None` for one that points out of the node, or
    /// before `behind`, into the contents of another element: keys lie behind the elements, one after the other, so that
    /// together they never exceed the node.
    pub(super) fn parse(element: &[u8], at: u64, behind: u64, size: u64) -> Option<Self> {
        let key = at + u64::from(u32_at(element, 0)?);
        let place = Self { key, key_size: u32_at(element, 4)?, child: u64_at(element, 8)? };
        (key >= behind && place.end() <= size).then_some(place)
    }

    /// Where it ends.
    pub(super) fn end(self) -> u64 {
        self.key + u64::from(self.key_size)
    }
}

/// The position of the contents of an element in a leaf: the key, directly followed by the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeafPlace {
    pub(super) key: u64,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) bucket: bool,
}

impl LeafPlace {
    /// Parses an element as [`BranchPlace::parse`] does.
    pub(super) fn parse(element: &[u8], at: u64, behind: u64, size: u64) -> Option<Self> {
        let key = at + u64::from(u32_at(element, 4)?);
        let bucket = u32_at(element, 0)? & BUCKET_ELEMENT != 0;
        let place = Self { key, key_size: u32_at(element, 8)?, value_size: u32_at(element, 12)?, bucket };
        (key >= behind && place.end() <= size).then_some(place)
    }

    /// Where it ends.
    pub(super) fn end(self) -> u64 {
        self.key + u64::from(self.key_size) + u64::from(self.value_size)
    }
}

/// The elements of the branch `page`, overflow included. `None` in place of one that points out of the page, or into the
/// contents of another.
#[must_use = "nothing is read before"]
pub fn branch_elements(page: &[u8], count: u16) -> impl Iterator<Item = Option<BranchElement<'_>>> {
    let mut behind = element_at(count.into()) as u64;
    (0..usize::from(count)).map(move |index| {
        let at = element_at(index);
        let element = slice(page, at, ELEMENT_SIZE)?;
        let place = BranchPlace::parse(element, at as u64, behind, page.len() as u64)?;
        behind = place.end();
        let key = slice(page, usize::try_from(place.key).ok()?, place.key_size as usize)?;
        Some(BranchElement { key, child: place.child })
    })
}

/// The elements of the leaf `page`, overflow included. `None` as for [`branch_elements`].
#[must_use = "nothing is read before"]
pub fn leaf_elements(page: &[u8], count: u16) -> impl Iterator<Item = Option<LeafElement<'_>>> {
    let mut behind = element_at(count.into()) as u64;
    (0..usize::from(count)).map(move |index| {
        let at = element_at(index);
        let element = slice(page, at, ELEMENT_SIZE)?;
        let place = LeafPlace::parse(element, at as u64, behind, page.len() as u64)?;
        behind = place.end();
        let key = usize::try_from(place.key).ok()?;
        let value = key + place.key_size as usize;
        Some(LeafElement {
            key: slice(page, key, place.key_size as usize)?,
            value: slice(page, value, place.value_size as usize)?,
            bucket: place.bucket,
        })
    })
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
    /// A small bucket whose only leaf lies in the value itself: a page without a number.
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

    /// Parses the value of a bucket element.
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

/// An entry of a leaf to be written: key, value and whether it is a bucket. Entries ascend by key.
pub type LeafEntry = (Vec<u8>, Vec<u8>, bool);

/// A leaf with `entries` under the number `id`, without padding; the caller pads it to whole pages, and `overflow` gives the
/// number of pages beyond the first.
///
/// `None` where there are more entries than a page can count.
#[must_use]
pub fn leaf(id: u64, entries: &[LeafEntry], overflow: impl FnOnce(usize) -> Option<u32>) -> Option<Vec<u8>> {
    let contents: usize = entries.iter().map(|(key, value, _)| key.len() + value.len()).sum();
    let size = HEADER_SIZE + entries.len() * ELEMENT_SIZE + contents;
    let count = u16::try_from(entries.len()).ok().filter(|count| *count < COUNT_FOLLOWS)?;
    let header = PageHeader { id, flags: LEAF, count, overflow: overflow(size)? };
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

/// A branch with `children`, the first key and page of each; otherwise as [`leaf`].
#[must_use]
pub fn branch(
    id: u64,
    children: &[(Vec<u8>, u64)],
    overflow: impl FnOnce(usize) -> Option<u32>,
) -> Option<Vec<u8>> {
    let contents: usize = children.iter().map(|(key, _)| key.len()).sum();
    let size = HEADER_SIZE + children.len() * ELEMENT_SIZE + contents;
    let count = u16::try_from(children.len()).ok().filter(|count| *count < COUNT_FOLLOWS)?;
    let header = PageHeader { id, flags: BRANCH, count, overflow: overflow(size)? };
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
        let header = PageHeader::parse(&page).unwrap();
        assert_eq!(header, PageHeader { id: 7, flags: LEAF, count: 2, overflow: 0 });
        let read: Vec<_> = leaf_elements(&page, header.count).map(Option::unwrap).collect();
        assert_eq!(read[0], LeafElement { key: b"a", value: b"one", bucket: false });
        assert_eq!(read[1], LeafElement { key: b"bb", value: b"", bucket: true });
    }

    #[test]
    fn a_branch_is_read_as_written() {
        let page = branch(9, &[(b"a".to_vec(), 3), (b"m".to_vec(), 4)], |_| Some(0)).unwrap();
        let header = PageHeader::parse(&page).unwrap();
        assert_eq!(header, PageHeader { id: 9, flags: BRANCH, count: 2, overflow: 0 });
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
    fn elements_that_share_bytes_are_none() {
        let entries = [(b"a".to_vec(), b"one".to_vec(), false), (b"b".to_vec(), b"two".to_vec(), false)];
        let mut page = leaf(7, &entries, |_| Some(0)).unwrap();
        assert!(leaf_elements(&page, 2).all(|element| element.is_some()));
        // The contents of the second element begin where those of the first do; its offset is 16 bytes smaller.
        let first = u32_at(&page, 20).unwrap();
        page[36..40].copy_from_slice(&(first - 16).to_le_bytes());
        assert_eq!(leaf_elements(&page, 2).nth(1), Some(None));
        // Nor may the contents of the first begin within the elements.
        page[20..24].copy_from_slice(&16_u32.to_le_bytes());
        assert_eq!(leaf_elements(&page, 2).next(), Some(None));
        let mut page = branch(9, &[(b"a".to_vec(), 3), (b"m".to_vec(), 4)], |_| Some(0)).unwrap();
        let first = u32_at(&page, 16).unwrap();
        page[32..36].copy_from_slice(&(first - 16).to_le_bytes());
        assert_eq!(branch_elements(&page, 2).nth(1), Some(None));
    }
}
