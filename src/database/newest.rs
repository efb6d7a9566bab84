//! The newest revision of a database, without reading all of it: from the last leaf of its keys and its last compaction.

use super::file::{Database, damaged, missing_bucket};
use super::mvcc::{FINISHED_COMPACTION, KEY_BUCKET, META_BUCKET, Revision, SCHEDULED_COMPACTION};
use super::page::{BRANCH, Bucket, Header, LEAF, branch_elements, leaf_elements};
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Branches above a leaf at most, as in [`Database::walk`].
const DEPTH_MAX: usize = 32;

/// The newest revision: that of the last write, or of a compaction if that is newer. 1 in an empty etcd.
///
/// Nothing else is checked: it tells what a member that goes out of use had reached.
///
/// # Errors
/// Those of [`Database::walk`].
pub fn newest_revision(database: &Database<'_>, interrupt: &Interrupt) -> Result<i64> {
    let mut newest = last_write(database, interrupt)?.unwrap_or(0);
    database.walk_bucket(META_BUCKET, interrupt, &mut |_, key, value| {
        if [SCHEDULED_COMPACTION, FINISHED_COMPACTION].contains(&key)
            && let Some((compaction, _)) = Revision::parse(value)
        {
            newest = newest.max(compaction.main);
        }
        Ok(())
    })?;
    Ok(newest.max(1))
}

/// The last key of the bucket of keys.
fn last_write(database: &Database<'_>, interrupt: &Interrupt) -> Result<Option<i64>> {
    let buckets = database.buckets(interrupt)?;
    let keys = buckets.iter().find(|bucket| bucket.name == KEY_BUCKET);
    let keys = keys.ok_or_else(|| missing_bucket(KEY_BUCKET))?;
    let root = match Bucket::parse(&keys.value) {
        Some(Bucket::Tree { root, .. }) => root,
        Some(Bucket::Inline { page, .. }) => {
            let header = Header::parse(page).filter(|header| header.flags == LEAF);
            return last_in_leaf(page, header.ok_or_else(|| damaged("an inline bucket is no leaf"))?.count);
        }
        None => return Err(damaged("the bucket of keys is too short")),
    };
    let (mut id, mut page) = (root, Vec::new());
    for _ in 0..=DEPTH_MAX {
        let header = database.page(id, &mut page)?;
        match header.flags {
            LEAF => return last_in_leaf(&page, header.count),
            BRANCH => {
                let last = branch_elements(&page, header.count).last().flatten();
                id = last.ok_or_else(|| damaged(format!("page {id} has no last child")))?.child;
            }
            flags => return Err(damaged(format!("page {id} is no part of a tree (flags {flags:#x})"))),
        }
    }
    Err(damaged(format!("page {id} lies deeper than any tree of bbolt")))
}

fn last_in_leaf(page: &[u8], count: u16) -> Result<Option<i64>> {
    let Some(last) = leaf_elements(page, count).last() else { return Ok(None) };
    let revision = last.and_then(|last| Revision::parse(last.key));
    revision.map(|(revision, _)| Some(revision.main)).ok_or_else(|| damaged("its last key is no revision"))
}
