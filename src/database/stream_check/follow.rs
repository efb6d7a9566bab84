//! Follows the notes from the root to the facts.

use super::key_pages::KeyPages;
use super::note::Noted;
use super::notes::Notes;
use super::other_note::{BucketPlace, KnownBucket, OtherNote};
use crate::database::bolt::DEPTH_MAX;
use crate::database::kubernetes::Kubernetes;
use crate::database::schema::MEMBERS_MAX;

/// Pages that are still to be visited at most, while a tree of buckets, of etcd's own records or of members is followed. Each
/// of those has a page or two.
const CHILDREN_MAX: usize = 1 << 16;

/// Facts that a database states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// The newest revision: that of the last write, or of a compaction if that is newer. 1 in an empty etcd.
    pub revision: i64,
    /// The last compaction, done or requested.
    pub compacted: Option<i64>,
    /// The ids of its members, ascending.
    pub members: Vec<u64>,
    /// The target version of a downgrade of etcd in progress.
    pub downgrade: Option<String>,
    /// What it holds of Kubernetes.
    pub kubernetes: Option<Kubernetes>,
}

impl Notes {
    /// The facts of the database whose root bucket begins at page `root`.
    pub(super) fn facts(&self, root: u64, key_pages: &mut KeyPages) -> Result<StreamFacts, String> {
        let mut buckets = Vec::new();
        self.leaves(root, &mut |leaf| {
            if let OtherNote::Buckets(found) = leaf {
                // Four names matter; the first of each does.
                for entry in found {
                    if !buckets.iter().any(|(named, _): &&(KnownBucket, BucketPlace)| *named == entry.0) {
                        buckets.push(entry);
                    }
                }
            }
        })?;
        let bucket =
            |wanted: KnownBucket| buckets.iter().find(|(named, _)| *named == wanted).map(|(_, place)| place);
        let keys = bucket(KnownBucket::Keys).ok_or("it has no bucket \"key\"")?;
        let last = self.last_revision(keys)?;
        let mut compacted = None;
        self.leaves_of(bucket(KnownBucket::Records).ok_or("it has no bucket \"meta\"")?, &mut |leaf| {
            if let OtherNote::Compaction(found) = leaf {
                compacted = compacted.max(*found);
            }
        })?;
        let mut members = Vec::new();
        if let Some(place) = bucket(KnownBucket::Members) {
            self.leaves_of(place, &mut |leaf| {
                if let OtherNote::Members(found) = leaf {
                    let left = (MEMBERS_MAX + 1).saturating_sub(members.len());
                    members.extend(found.iter().take(left));
                }
            })?;
        }
        if members.len() > MEMBERS_MAX {
            return Err("it has more members than any cluster".to_owned());
        }
        members.sort_unstable();
        let mut downgrade = None;
        if let Some(place) = bucket(KnownBucket::Cluster) {
            self.leaves_of(place, &mut |leaf| {
                if let OtherNote::Downgrade(target) = leaf {
                    downgrade.clone_from(target);
                }
            })?;
        }
        let revision = last.max(compacted).unwrap_or(0).max(1);
        let kubernetes = key_pages.count(keys, self);
        Ok(StreamFacts { revision, compacted, members, downgrade, kubernetes })
    }

    /// The revision of the last key in the bucket of keys.
    pub(super) fn last_revision(&self, keys: &BucketPlace) -> Result<Option<i64>, String> {
        let mut id = match keys {
            BucketPlace::Tree(root) => *root,
            BucketPlace::Keys { last, .. } => return Ok(*last),
            BucketPlace::Inline(_) => return Err("its bucket \"key\" holds no keys".to_owned()),
        };
        for _ in 0..=DEPTH_MAX {
            match self.get(id) {
                Noted::Keys(revision) => return Ok(Some(revision)),
                Noted::Branch(child) => id = child,
                Noted::EmptyLeaf => return Ok(None),
                Noted::Nothing => {
                    return Err(format!("page {id}, in the tree of its keys, is not part of one"));
                }
            }
        }
        Err("the tree of its keys is deeper than any of bbolt".to_owned())
    }

    /// Passes the leaves of a small bucket to `take`.
    fn leaves_of<'a>(
        &'a self,
        place: &'a BucketPlace,
        take: &mut dyn FnMut(&'a OtherNote),
    ) -> Result<(), String> {
        match place {
            BucketPlace::Tree(root) => return self.leaves(*root, take),
            BucketPlace::Inline(leaf) => take(leaf),
            BucketPlace::Keys { .. } => {}
        }
        Ok(())
    }

    /// Passes the leaves of a tree that is not of keys to `take`.
    fn leaves<'a>(&'a self, root: u64, take: &mut dyn FnMut(&'a OtherNote)) -> Result<(), String> {
        let mut next = vec![root];
        // No page is the child of two, so there are no more children than notes: what is kept here is bounded by them.
        let mut left = self.other_count();
        while let Some(id) = next.pop() {
            let Some(note) = self.other(id) else {
                match self.get(id) {
                    Noted::EmptyLeaf => continue,
                    _ => return Err(format!("page {id} is not what the page above it says")),
                }
            };
            left = left.checked_sub(1).ok_or("its pages lead in a circle")?;
            match note {
                OtherNote::Children(children) if next.len() + children.len() > CHILDREN_MAX => {
                    return Err(format!("page {id} has more children than there can be"));
                }
                OtherNote::Children(children) => next.extend(children.iter().rev()),
                leaf => take(leaf),
            }
        }
        Ok(())
    }
}
