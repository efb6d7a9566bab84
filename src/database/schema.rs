//! The names of etcd's buckets, and of its own records in them (`storage/schema` in etcd).

/// The bucket of keys.
pub(in crate::database) const KEY_BUCKET: &[u8] = b"key";
/// The bucket of etcd's own records.
pub(in crate::database) const META_BUCKET: &[u8] = b"meta";
/// In [`META_BUCKET`]: the last requested compaction, as a revision.
pub(in crate::database) const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
/// In [`META_BUCKET`]: the last completed compaction, as a revision.
pub(in crate::database) const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
/// The bucket of leases.
pub(in crate::database) const LEASE_BUCKET: &[u8] = b"lease";
/// The bucket of members: the id in hexadecimal, and JSON (`membership/store.go` in etcd).
pub(in crate::database) const MEMBERS_BUCKET: &[u8] = b"members";
/// The most members of a cluster. Raft has no limit, but real clusters are far smaller.
pub(in crate::database) const MEMBERS_MAX: usize = 1000;
