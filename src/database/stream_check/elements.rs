//! The elements of a page, of which not all may be at hand.

use std::ops::Range;

use crate::database::bolt::page::{ELEMENT_SIZE, HEADER_SIZE};
use crate::database::mvcc::Revision;

/// The offsets of the position and the size of the key in an element of a leaf.
pub(super) const LEAF_KEY: (usize, usize) = (4, 8);
/// The same for an element of a branch.
pub(super) const BRANCH_KEY: (usize, usize) = (0, 4);

/// The position of the key of an element, if that element is in `page`.
pub(super) fn key_range(page: &[u8], index: usize, (position, size): (usize, usize)) -> Option<Range<usize>> {
    let at = HEADER_SIZE + index * ELEMENT_SIZE;
    let number = |offset: usize| {
        let bytes = page.get(at + offset..at + offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let begin = at.checked_add(number(position)?)?;
    Some(begin..begin.checked_add(number(size)?)?)
}

/// The size of the value of an element of a leaf, if that element is in `page`. The value follows the key.
pub(super) fn value_size(page: &[u8], index: usize) -> Option<usize> {
    let at = HEADER_SIZE + index * ELEMENT_SIZE + 12;
    let bytes = page.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// The key of an element, if it is in `page`.
pub(super) fn key_in(page: &[u8], index: usize, place: (usize, usize)) -> Option<&[u8]> {
    page.get(key_range(page, index, place)?)
}

/// The main revision of a key of the bucket `key`.
pub(super) fn revision(key: &[u8]) -> Option<i64> {
    Revision::parse(key).map(|(revision, _)| revision.main)
}

/// Parses a member's id as etcd writes it in a key: `strconv.FormatUint(id, 16)`.
pub(super) fn member_id(key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(key).ok()?;
    let canonical = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| canonical)
}
