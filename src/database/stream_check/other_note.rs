//! Notes that need more than eight bytes, for pages of the few buckets besides that of keys.

use super::elements::{LEAF_KEY, key_in, member_id, revision};
use crate::database::bolt::page::{
    BRANCH, Bucket, HEADER_SIZE, LEAF, LeafElement, PageHeader, branch_elements, leaf_elements,
};
use crate::database::schema::{
    CLUSTER_BUCKET, CLUSTER_VERSION, DOWNGRADE, FINISHED_COMPACTION, KEY_BUCKET, MEMBERS_BUCKET, META_BUCKET,
    SCHEDULED_COMPACTION, downgrade_target,
};

/// A note that needs more than eight bytes.
pub(super) enum OtherNote {
    /// The children of a branch.
    Children(Vec<u64>),
    /// A leaf of buckets: the places of those of keys, of etcd's own records, of members and of the cluster, if they are
    /// in it.
    Buckets(Vec<(KnownBucket, BucketPlace)>),
    /// A leaf of etcd's own records: the last compaction.
    Compaction(Option<i64>),
    /// A leaf of members: their ids.
    Members(Vec<u64>),
    /// A leaf of what concerns the whole cluster: the target of a downgrade in progress.
    Downgrade(Option<String>),
}

/// A bucket that this check uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownBucket {
    Keys,
    Records,
    Members,
    Cluster,
}

/// The place of a bucket's entries.
pub(super) enum BucketPlace {
    /// In a tree with this root.
    Tree(u64),
    /// Inline, for the bucket of keys: the last revision, and the leaf.
    Keys { last: Option<i64>, inline: Vec<u8> },
    /// Inline, for another bucket.
    Inline(OtherNote),
}

impl KnownBucket {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            KEY_BUCKET => Some(Self::Keys),
            META_BUCKET => Some(Self::Records),
            MEMBERS_BUCKET => Some(Self::Members),
            CLUSTER_BUCKET => Some(Self::Cluster),
            _ => None,
        }
    }
}

impl OtherNote {
    /// The approximate number of bytes it takes.
    pub(super) fn size(&self) -> usize {
        // The table of a hash map is less than half full after it has grown, and grows beside the old one.
        3 * size_of::<(u64, Self)>() + self.size_on_heap()
    }

    fn size_on_heap(&self) -> usize {
        /// What an allocation takes beside its bytes.
        const HEADER_SIZE: usize = 16;
        let bytes = match self {
            Self::Children(numbers) | Self::Members(numbers) => numbers.capacity() * size_of::<u64>(),
            Self::Buckets(buckets) => {
                let inline = buckets.iter().map(|(_, place)| match place {
                    BucketPlace::Inline(note) => note.size_on_heap(),
                    BucketPlace::Keys { inline, .. } => HEADER_SIZE + inline.capacity(),
                    BucketPlace::Tree(_) => 0,
                });
                buckets.capacity() * size_of::<(KnownBucket, BucketPlace)>() + inline.sum::<usize>()
            }
            Self::Downgrade(Some(target)) => target.capacity(),
            Self::Compaction(_) | Self::Downgrade(None) => return 0,
        };
        HEADER_SIZE + bytes
    }

    /// The note for a complete branch, or a complete leaf that holds no keys.
    pub(super) fn of(page: &[u8]) -> Option<Self> {
        let header = PageHeader::parse(page)?;
        if header.flags == BRANCH {
            let children = branch_elements(page, header.count).map(|element| Some(element?.child));
            return children.collect::<Option<_>>().map(Self::Children);
        }
        let elements: Vec<LeafElement<'_>> = leaf_elements(page, header.count).collect::<Option<_>>()?;
        if elements.iter().any(|element| element.bucket) {
            let named =
                elements.iter().filter_map(|element| Some((KnownBucket::of(element.key)?, element.value)));
            let buckets = named.map(|(named, value)| Some((named, BucketPlace::of(named, value)?)));
            return buckets.collect::<Option<_>>().map(Self::Buckets);
        }
        if elements.iter().any(|element| [CLUSTER_VERSION, DOWNGRADE].contains(&element.key)) {
            let downgrade = elements.iter().find(|element| element.key == DOWNGRADE);
            return Some(Self::Downgrade(downgrade.and_then(|element| downgrade_target(element.value))));
        }
        let members: Option<Vec<u64>> = elements.iter().map(|element| member_id(element.key)).collect();
        Some(
            members
                .filter(|members| !members.is_empty())
                .map_or_else(|| Self::Compaction(compaction(&elements)), Self::Members),
        )
    }
}

impl BucketPlace {
    fn of(named: KnownBucket, bucket: &[u8]) -> Option<Self> {
        let page = match Bucket::parse(bucket)? {
            Bucket::Tree { root, .. } => return Some(Self::Tree(root)),
            Bucket::Inline { page, .. } => page,
        };
        let header = PageHeader::parse(page).filter(|header| header.flags == LEAF)?;
        if named != KnownBucket::Keys {
            return OtherNote::of(page).map(Self::Inline);
        }
        match leaf_elements(page, header.count).last() {
            None => Some(Self::Keys { last: None, inline: Vec::new() }),
            Some(last) => {
                let last = Some(revision(last?.key)?);
                Some(Self::Keys { last, inline: page.to_vec() })
            }
        }
    }
}

/// The last compaction, done or requested.
fn compaction(records: &[LeafElement<'_>]) -> Option<i64> {
    let compactions =
        records.iter().filter(|record| [SCHEDULED_COMPACTION, FINISHED_COMPACTION].contains(&record.key));
    compactions.filter_map(|record| revision(record.value)).max()
}

/// Whether a leaf may be one of the few that this check uses: it holds buckets, etcd's own records, or members.
pub(super) fn is_wanted(header: PageHeader, page: &[u8]) -> bool {
    /// `bucketLeafFlag` of bbolt, as the first byte of an element's flags.
    const IS_BUCKET: u8 = 1;
    let first_is_bucket = page.get(HEADER_SIZE).is_some_and(|flags| flags & IS_BUCKET != 0);
    let mut keys = (0..usize::from(header.count)).map_while(|index| key_in(page, index, LEAF_KEY));
    first_is_bucket
        || keys.any(|key| {
            member_id(key).is_some()
                || [SCHEDULED_COMPACTION, FINISHED_COMPACTION, b"consistent_index"].contains(&key)
                || [CLUSTER_VERSION, DOWNGRADE].contains(&key)
        })
}
