//! The newest revision of a database, without reading all of it: from the last leaf of its keys and its last compaction.

use crate::database::bolt::page::{BRANCH, Bucket, LEAF};
use crate::database::bolt::{Buffers, DEPTH_MAX, Database, Node, damaged};
use crate::database::mvcc::Revision;
use crate::database::schema::{FINISHED_COMPACTION, KEY_BUCKET, META_BUCKET, SCHEDULED_COMPACTION};
use crate::error::Result;
use crate::interrupt::Interrupt;

/// The newest revision: that of the last write, or of a compaction if that is newer. 1 in an empty etcd.
///
/// It checks nothing else: it only finds the revision that a replaced member had reached.
///
/// # Errors
/// The errors of [`Database::walk`].
pub fn newest_revision(database: &Database<'_>, interrupt: &Interrupt) -> Result<i64> {
    let mut newest = last_write(database, interrupt)?.unwrap_or(0);
    database.walk_small_bucket(META_BUCKET, interrupt, &mut |_, key, value| {
        if [SCHEDULED_COMPACTION, FINISHED_COMPACTION].contains(&key)
            && let Some((compaction, _)) = value.whole().and_then(Revision::parse)
        {
            newest = newest.max(compaction.main);
        }
        Ok(())
    })?;
    Ok(newest.max(1))
}

/// The main revision of the last key in the bucket of keys.
fn last_write(database: &Database<'_>, interrupt: &Interrupt) -> Result<Option<i64>> {
    let keys = database.find_bucket(KEY_BUCKET, interrupt)?;
    let mut id = match Bucket::parse(&keys.value) {
        Some(Bucket::Tree { root, .. }) => root,
        Some(Bucket::Inline { page, .. }) => {
            let leaf = Node::inline(page, Buffers::default()).filter(|node| node.header.flags == LEAF);
            return last_in_leaf(leaf.ok_or_else(|| damaged("an inline bucket is no leaf"))?);
        }
        None => return Err(damaged("the bucket of keys is too short")),
    };
    for _ in 0..=DEPTH_MAX {
        let mut node = Node::open(database, id, Buffers::default())?;
        match node.header.flags {
            LEAF => return last_in_leaf(node),
            BRANCH => {
                node.skip_to_last();
                if let Some(child) = node.next_child()? {
                    id = child.page;
                }
            }
            flags => return Err(damaged(format!("page {id} is no part of a tree (flags {flags:#x})"))),
        }
        interrupt.check()?;
    }
    Err(damaged(format!("page {id} lies deeper than any tree of bbolt")))
}

fn last_in_leaf(mut leaf: Node<'_>) -> Result<Option<i64>> {
    leaf.skip_to_last();
    let Some(item) = leaf.next_item()? else { return Ok(None) };
    let revision = Revision::parse(item.key).map(|(revision, _)| revision.main);
    revision.map(Some).ok_or_else(|| damaged("a key in the bucket key is no revision"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::bolt::meta::Meta;
    use crate::database::bolt::page::PageHeader;
    use crate::error::Kind;
    use std::os::unix::fs::FileExt;

    const PAGE_SIZE: u32 = 4096;

    /// A sparse database of `pages` pages, in which one page claims all pages from the third on.
    fn hollow(pages: u64) -> std::fs::File {
        let file = tempfile::tempfile().unwrap();
        let at = |page: u64| page * u64::from(PAGE_SIZE);
        file.set_len(at(pages)).unwrap();
        for id in [0, 1] {
            let meta = Meta {
                page_size: PAGE_SIZE,
                flags: 0,
                root: 2,
                root_sequence: 0,
                freelist: u64::MAX,
                high_water_mark: pages,
                transaction: id,
            };
            file.write_all_at(&meta.to_page(id), at(id)).unwrap();
        }
        let overflow = u32::try_from(pages - 3).unwrap();
        let header = PageHeader { id: 2, flags: LEAF, count: 0, overflow };
        file.write_all_at(&header.to_bytes(), at(2)).unwrap();
        file
    }

    #[test]
    fn a_database_of_holes_is_refused_before_its_pages_are_counted() {
        // 1 TiB, of which four pages are stored. Marking each of its pages would take seconds and 32 MiB.
        let file = hollow(1 << 28);
        let database = Database::open(&file).unwrap();
        let error = newest_revision(&database, &Interrupt::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::DatabaseDamaged);
        assert!(error.to_string().contains("more pages than there can be"), "{error}");
    }
}
