//! What an archive records: the manifest, from the options of the caller and the answers of etcd.

use jiff::Timestamp;

use super::{Seal, Texts};
use crate::archive::manifest::{Description, FORMAT, FORMAT_VERSION, Manifest, Source, StatusAfter};
use crate::archive::member::{Condition, Tls};
use crate::etcd::{self, MemberStatus, Snapshot};
use crate::pipeline::salvage::Found;
use crate::store::name::ArchiveName;

/// The name of this library in the description of every archive that it seals.
const TOOL: &str = concat!("etcd-seal ", env!("CARGO_PKG_VERSION"));

/// The manifest of a snapshot from `source`, sealed at `sealed_at`, of which nothing more is known.
pub(super) fn manifest(seal: &Seal<'_>, source: Source, sealed_at: Timestamp) -> Manifest {
    let Texts { cluster_name, host, note, tags } = seal.texts.clone();
    let description = Description {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        tool: TOOL.to_owned(),
        sealed_at: sealed_at.to_string(),
        cluster_name,
        cluster_id: None,
        member_id: None,
        etcd_version: None,
        storage_version: None,
        revision: None,
        snapshot_size: None,
        frame_size: seal.options.frame_size,
        level: seal.options.level,
        source,
        snapshot_started_at: None,
    };
    Manifest {
        description,
        endpoint: None,
        member_name: None,
        tls: None,
        conditions: Vec::new(),
        host,
        tags,
        note,
        recipients: seal.recipients.names().to_vec(),
    }
}

/// Adds what etcd reported. The announced size may or may not include etcd's 32 bytes of digest, so the first page tells it.
pub(super) fn of_etcd(mut manifest: Manifest, snapshot: &Snapshot, requested: Timestamp) -> Manifest {
    let status = &snapshot.status;
    let description = &mut manifest.description;
    description.cluster_id = id(status.cluster_id);
    description.member_id = id(status.member_id);
    description.etcd_version = etcd::present(&status.version);
    description.storage_version = snapshot.storage_version.clone().or_else(|| status.storage_version.clone());
    description.revision = positive(status.revision);
    description.snapshot_started_at = Some(requested.to_string());
    manifest.endpoint = Some(snapshot.endpoint.clone());
    manifest.tls = Some(tls(snapshot.tls));
    manifest.conditions = conditions(&snapshot.conditions);
    for condition in &manifest.conditions {
        tracing::warn!("{}: the member reports {condition}", snapshot.endpoint);
    }
    manifest.member_name.clone_from(&snapshot.member_name);
    manifest
}

/// Adds what is known of the member whose data directory the snapshot was salvaged from. The time of the snapshot stays unknown:
/// nothing tells when that member was alive last.
pub(super) fn of_data_directory(mut manifest: Manifest, found: &Found) -> Manifest {
    let description = &mut manifest.description;
    description.cluster_id = id(found.cluster_id);
    description.member_id = id(found.member_id);
    description.etcd_version = etcd::present(&found.etcd_version);
    description.revision = positive(found.revision);
    manifest
}

/// The automatic name of the archive with `manifest`, whose snapshot is as old as `time`.
pub(super) fn archive_name(manifest: &Manifest, time: Timestamp) -> ArchiveName {
    let description = &manifest.description;
    let cluster = description.cluster_name.as_deref().or(description.cluster_id.as_deref());
    ArchiveName::new(cluster.unwrap_or_default(), time, description.revision.unwrap_or(0))
}

/// Converts to the trailer's type; `None` for an implausible status.
pub(super) fn status_after(status: &MemberStatus) -> Option<StatusAfter> {
    Some(StatusAfter {
        revision: positive(status.revision)?,
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        database_size: positive(status.database_size),
        conditions: conditions(&status.conditions_alone()),
    })
}

/// Formats a 64-bit id as 16 hex digits.
fn hex_id(id: u64) -> String {
    format!("{id:016x}")
}

/// Formats an id; `None` for 0, which is no id.
fn id(id: u64) -> Option<String> {
    (id != 0).then(|| hex_id(id))
}

/// `None` for an unknown number, which etcd reports as 0.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|&number| number > 0)
}

/// Converts to the manifest's type.
fn tls(tls: etcd::TlsMode) -> Tls {
    match tls {
        etcd::TlsMode::Verified => Tls::Verified,
        etcd::TlsMode::Unverified => Tls::Unverified,
        etcd::TlsMode::None => Tls::None,
    }
}

/// Converts to the type of manifest and trailer.
fn conditions(reported: &[etcd::MemberCondition]) -> Vec<Condition> {
    let recorded = reported.iter().map(|condition| match condition {
        etcd::MemberCondition::NoLeader => Condition::NoLeader,
        etcd::MemberCondition::Corrupt(member) => Condition::Corrupt { member_id: hex_id(*member) },
        etcd::MemberCondition::Nospace(member) => Condition::Nospace { member_id: hex_id(*member) },
        etcd::MemberCondition::Learner => Condition::Learner,
        etcd::MemberCondition::Lagging(behind) => Condition::Lagging { behind: *behind },
        etcd::MemberCondition::Other(text) => Condition::other(text),
    });
    Condition::bounded(recorded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_does_not_know_is_left_out() {
        assert_eq!(id(0), None);
        assert_eq!(id(0xcdf8_181d_0ba7).as_deref(), Some("0000cdf8181d0ba7"));
        assert_eq!(etcd::present(""), None);
        assert_eq!((positive(-1), positive(0), positive(7)), (None, None, Some(7)));
    }
}
