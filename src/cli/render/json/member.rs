//! The fields of the result of `restore --data-dir` and `restore --output-dir`.

use super::Report;
use super::contents::{Contents, SealedBy};
use super::data_directory::DataDirectoryReport;
use super::source::SourceReport;
use super::units::milliseconds;
use crate::archive::contents::Kubernetes;
use crate::archive::manifest::Digest;
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::database;
use crate::database::member::{Member, Membership};
use crate::database::versions::Release;
use crate::pipeline::age::Clock;
use crate::pipeline::instructions::etcd_flags;
use crate::pipeline::member::Restored;
use crate::pipeline::salvage::Found;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct MemberReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) archive: String,
    pub(crate) duration_ms: u64,
    pub(crate) cluster_id: String,
    pub(crate) initial_cluster: String,
    pub(crate) initial_cluster_token: String,
    pub(crate) members: Vec<MadeMember>,
    pub(crate) database: DatabaseReport,
    pub(crate) snapshot_size: u64,
    pub(crate) digest: Digest,
    #[serde(flatten)]
    pub(crate) source: SourceReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed_by: Option<SealedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Contents>,
    /// What was found in the data directory that it was restored from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_directory: Option<DataDirectoryReport>,
    /// The release of the data, the lowest that is to run on them.
    #[serde(skip)]
    pub(crate) release: Option<Release>,
}

/// The directories of a single member on this host; members of a cluster are still to be copied to their hosts.
pub(crate) struct MemberDirectories {
    /// `--data-dir`, absolute.
    pub(crate) data_dir: PathBuf,
    /// `--wal-dir`, absolute.
    pub(crate) wal_dir: Option<PathBuf>,
}

/// The members that were made.
pub(crate) struct Made<'a> {
    /// The new cluster.
    pub(crate) membership: &'a Membership,
    /// The names of the members, some or all of the cluster.
    pub(crate) names: &'a [String],
    /// The directories of a single member.
    pub(crate) directories: Option<&'a MemberDirectories>,
    /// What was found in the data directory that they were restored from.
    pub(crate) found: Option<&'a Found>,
}

/// A restored member.
#[derive(Serialize)]
pub(crate) struct MadeMember {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) etcd_flags: Vec<String>,
}

impl MadeMember {
    fn new(member: &Member, directories: Option<&MemberDirectories>, size: u64) -> Self {
        let data_dir = directories.map(|directories| directories.data_dir.as_path());
        let wal_dir = directories.and_then(|directories| directories.wal_dir.as_deref());
        Self {
            name: member.name.clone(),
            id: format!("{:016x}", member.id),
            peer_urls: member.peer_urls.clone(),
            etcd_flags: etcd_flags(member, data_dir, wal_dir, size),
        }
    }
}

/// The contents of its database.
#[derive(Serialize)]
pub(crate) struct DatabaseReport {
    pub(crate) revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compact_revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bumped_by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bumped_to: Option<i64>,
    pub(crate) entries: u64,
    pub(crate) leases: u64,
    pub(crate) users: u64,
    pub(crate) roles: u64,
    pub(crate) auth_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) downgrade: Option<String>,
    pub(crate) alarms: Vec<String>,
    pub(crate) alarm_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kubernetes: Option<Kubernetes>,
}

impl DatabaseReport {
    pub(crate) fn new(contents: database::contents::DatabaseContents, raised_to: Option<i64>) -> Self {
        Self {
            revision: contents.revision,
            compact_revision: contents.compacted,
            bumped_by: raised_to.map(|raised| raised - contents.revision),
            bumped_to: raised_to,
            entries: contents.entries,
            leases: contents.leases,
            users: contents.users,
            roles: contents.roles,
            auth_enabled: contents.auth_enabled,
            cluster_version: contents.cluster_version,
            storage_version: contents.storage_version,
            downgrade: contents.downgrade,
            alarms: contents.alarms.iter().map(|alarm| alarm.kind.to_string()).collect(),
            alarm_count: contents.alarm_count,
            kubernetes: contents.kubernetes.as_ref().map(Kubernetes::from),
        }
    }
}

impl MemberReport {
    /// The report on members restored from `archive`.
    #[must_use]
    pub(crate) fn new(
        restored: Restored,
        archive: Option<&Path>,
        made: &Made<'_>,
        clock: Clock,
        took: Duration,
    ) -> Self {
        let Made { membership, names, directories, found } = made;
        let proved = match Proved::by(restored.digest) {
            Proved::AsAsked => found.map_or(Proved::AsAsked, DataDirectoryReport::proved),
            worse => worse,
        };
        let (verdict, path) = Verdict::of_published("restore", proved, Some(restored.published));
        let members = membership.members().iter().filter(|member| names.contains(&member.name));
        let mut members: Vec<MadeMember> =
            members.map(|member| MadeMember::new(member, *directories, restored.snapshot_size)).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let manifest = restored.opened.as_ref().and_then(|opened| opened.manifest.as_ref());
        let description = manifest.map(|manifest| manifest.description.clone());
        Self {
            verdict,
            path,
            archive: shown(archive),
            duration_ms: milliseconds(took + found.map_or(Duration::ZERO, |found| found.took)),
            source: SourceReport::new(description, Some(restored.snapshot_size), clock),
            sealed_by: restored.opened.is_some().then_some(SealedBy::Unknown),
            cluster_id: format!("{:016x}", membership.cluster_id()),
            initial_cluster: membership.initial_cluster(),
            initial_cluster_token: membership.token().to_owned(),
            members,
            release: restored.contents.versions().release(),
            database: DatabaseReport::new(restored.contents, restored.raised_to),
            snapshot_size: restored.snapshot_size,
            digest: restored.digest,
            snapshot: restored.opened.map(Contents::of),
            data_directory: found.map(DataDirectoryReport::new),
        }
    }
}

impl Report for MemberReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }
}
