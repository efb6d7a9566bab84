//! The set of pages of a database that were reached.

use std::collections::HashMap;

/// Pages of one block.
const BLOCK_PAGES: u64 = 64 * BLOCK_WORDS as u64;
const BLOCK_WORDS: usize = 64;

/// A set of page numbers: a bit for each page, in blocks that are allocated on demand, so that a page number far beyond the
/// others costs no more than one near them.
#[derive(Default)]
pub(super) struct PageSet {
    blocks: HashMap<u64, Box<[u64; BLOCK_WORDS]>>,
}

impl PageSet {
    /// Adds `page`; false where it was already in the set.
    pub(super) fn insert(&mut self, page: u64) -> bool {
        let block = self.blocks.entry(page / BLOCK_PAGES).or_insert_with(|| Box::new([0; BLOCK_WORDS]));
        let word = &mut block[(page % BLOCK_PAGES) as usize / 64];
        let bit = 1 << (page % 64);
        let added = *word & bit == 0;
        *word |= bit;
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_added_once_and_a_far_one_costs_one_block() {
        let mut pages = PageSet::default();
        for page in [0, 1, 63, 64, BLOCK_PAGES - 1, BLOCK_PAGES, u64::MAX] {
            assert!(pages.insert(page), "{page}");
            assert!(!pages.insert(page), "{page}");
        }
        assert!(pages.insert(2));
        assert_eq!(pages.blocks.len(), 3);
    }
}
