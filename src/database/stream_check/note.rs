//! Notes of eight bytes, for leaves and branches of keys.

use super::elements::revision;

/// A note of eight bytes: two bits for the kind, and a number.
#[derive(Clone, Copy, Default)]
pub(super) struct Note(u64);

/// A [`Note`], unpacked.
pub(super) enum Noted {
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

    pub(super) fn new(noted: &Noted) -> Self {
        let (kind, number) = match noted {
            Noted::Nothing => (0, 0),
            Noted::EmptyLeaf => (1, 0),
            Noted::Keys(revision) => (2, revision.cast_unsigned()),
            Noted::Branch(child) => (3, *child),
        };
        // No valid number is as large.
        if number >> Self::SHIFT == 0 { Self(kind << Self::SHIFT | number) } else { Self(0) }
    }

    pub(super) fn get(self) -> Noted {
        let number = self.0 & !(3 << Self::SHIFT);
        match self.0 >> Self::SHIFT {
            1 => Noted::EmptyLeaf,
            2 => Noted::Keys(number.cast_signed()),
            3 => Noted::Branch(number),
            _ => Noted::Nothing,
        }
    }
}

impl Noted {
    /// The note for a leaf of keys.
    pub(super) fn keys(last_key: &[u8]) -> Self {
        revision(last_key).map_or(Self::Nothing, Self::Keys)
    }

    /// The note for a branch; the page number is the second half of an element.
    pub(super) fn branch(last_element: &[u8]) -> Self {
        let child = last_element.last_chunk().map(|child| u64::from_le_bytes(*child));
        child.map_or(Self::Nothing, Self::Branch)
    }
}
