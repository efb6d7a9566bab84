//! The names of etcd's buckets, and of its own records in them (`storage/schema` in etcd).

use serde::Deserialize;

use super::versions::VERSION_SIZE_MAX;

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
/// The bucket of what concerns the whole cluster.
pub(in crate::database) const CLUSTER_BUCKET: &[u8] = b"cluster";
/// In [`CLUSTER_BUCKET`]: the version that the members had agreed on.
pub(in crate::database) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
/// In [`CLUSTER_BUCKET`]: the downgrade that was asked for last, in JSON.
pub(in crate::database) const DOWNGRADE: &[u8] = b"downgrade";
/// The most members of a cluster. Raft has no limit, but real clusters are far smaller.
pub(in crate::database) const MEMBERS_MAX: usize = 1000;
/// The target version of a downgrade in progress, which the value of [`DOWNGRADE`] tells (`DowngradeInfo` in etcd's
/// `membership/downgrade.go`).
pub(in crate::database) fn downgrade_target(value: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Downgrade {
        #[serde(rename = "target-version", default)]
        target: String,
        #[serde(default)]
        enabled: bool,
    }
    let downgrade: Downgrade = serde_json::from_slice(value).ok()?;
    Some(downgrade.target).filter(|target| downgrade.enabled && target.len() <= VERSION_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_downgrade_in_progress_counts() {
        let target = downgrade_target(br#"{"target-version":"3.4.0","enabled":true}"#);
        assert_eq!(target.as_deref(), Some("3.4.0"));
        assert_eq!(downgrade_target(br#"{"target-version":"","enabled":false}"#), None);
        assert_eq!(downgrade_target(b"null"), None);
    }
}
